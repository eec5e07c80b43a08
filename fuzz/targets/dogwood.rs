#![no_main]
//! Text as `policies/fuzz.dogwood`: checked, and if accepted decided by.

libfuzzer_sys::fuzz_target!(|text: &[u8]| callgate_fuzz::bundle("policies/fuzz.dogwood", text));
