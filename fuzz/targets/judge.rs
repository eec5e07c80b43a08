#![no_main]
//! Bytes as the answer of a model.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = callgate_judge::answer::read(bytes, "q-0123456789abcdef");
});
