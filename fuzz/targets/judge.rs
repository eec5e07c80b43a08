#![no_main]
//! Bytes as the answer of a model.

use callgate_core::digest::Digest;
use callgate_core::finding::Question;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let question = Question {
        digest: Digest::of(b"q"),
        model: "m".into(),
        instructions: "Judge.".to_owned(),
        data: "{}".to_owned(),
        max_tokens: 64,
        timeout_ms: 800,
    };
    let _ = callgate_voice::judge::read(&question, bytes);
});
