//! The demonstration is a test, too.

use std::path::Path;

use crate::program::{run, succeed};

fn check(out: &str) {
    for part in [
        "ALLOW_WITH_CONSTRAINTS",
        "RATE_EXCEEDED",
        "APPROVAL_REQUIRED",
        "DENIED_BY_RULE",
        "NO_POLICY_MATCH",
        "REPLAY_NONCE",
        "STALE_TIMESTAMP",
        "INVALID_REQUEST",
        "verified",
        "replayed",
        "tampered",
    ] {
        assert!(out.contains(part), "{part} is missing:\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "no colours without a terminal");
    assert!(out.lines().count() <= 60, "too long:\n{out}");
}

#[test]
fn it_plays_with_the_small_server() {
    let dir = tempfile::tempdir().unwrap();
    let out = succeed(dir.path(), &["demo", "--mcp-dir", "nothing-here"]);
    assert!(out.contains("missing"), "{out}");
    check(&out);
}

#[test]
fn it_plays_with_the_official_server() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/demo");
    if !dir.join("node_modules/@modelcontextprotocol/server-filesystem").is_dir() {
        eprintln!("skipped: the official server is not installed; run `npm ci --prefix examples/demo`");
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let out = succeed(temporary.path(), &["demo", "--mcp-dir", dir.to_str().unwrap(), "--keep", "kept"]);
    check(&out);
    let again = run(temporary.path(), &["demo", "--keep", "kept"]);
    assert_eq!(again.code, 2, "a folder that is there stays as it is");
    // What was kept can be looked at.
    let key = crate::program::public_key(&temporary.path().join("kept/data")).display().to_string();
    succeed(temporary.path(), &["log", "verify", "--data", "kept/data", "--key", &key]);
}
