#![no_main]
//! Text as `policies/fuzz.rego`: checked, and if accepted decided by.

libfuzzer_sys::fuzz_target!(|text: &[u8]| callgate_fuzz::bundle("policies/fuzz.rego", text));
