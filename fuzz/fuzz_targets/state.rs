//! Fuzzes the state and the hosts file.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| properties::state(input));
