//! Fuzzes what a web server sends through a FastCGI connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| properties::fastcgi(input));
