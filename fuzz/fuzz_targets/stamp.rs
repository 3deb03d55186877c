//! Fuzzes time stamps.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| properties::stamp(input));
