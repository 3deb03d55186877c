//! Fuzzes the script for the primary server of zones.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| properties::script(input));
