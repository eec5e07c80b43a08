#![no_main]
//! Text as the condition of a rule that denies: checked, and if accepted evaluated.

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let quoted = text.replace('\'', "''");
    let file = format!(
        "version: v1\nrules:\n  - id: fuzz\n    match: {{tools: [\"shop.refund\"]}}\n    when: '{quoted}'\n    decision: deny\n"
    );
    callgate_fuzz::bundle("rules/fuzz.yaml", file.as_bytes());
});
