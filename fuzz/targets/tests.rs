#![no_main]
//! Text as `tests/fuzz.yaml`: checked, and if accepted decided by.

libfuzzer_sys::fuzz_target!(|text: &[u8]| callgate_fuzz::bundle("tests/fuzz.yaml", text));
