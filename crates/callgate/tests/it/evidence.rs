//! `callgate log`: on a copy, with another key, after a changed byte, without the keys of the requests.

use std::path::Path;

use serde_json::Value;

use crate::program::{decide, folder, public_key, run, succeed};

/// A folder with a log of four decisions, and the public key's path.
fn logged() -> (tempfile::TempDir, String) {
    let dir = folder();
    for tool in ["read", "write", "move", "drop"] {
        decide(dir.path(), tool, "one");
    }
    let key = public_key(&dir.path().join("data")).display().to_string();
    (dir, key)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn json(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&succeed(dir, args)).unwrap()
}

#[test]
fn verifying_needs_the_log_and_a_key_and_nothing_else() {
    let (dir, key) = logged();
    // Another place, nothing but the segments, nothing writable.
    copy(&dir.path().join("data/log"), &dir.path().join("copy"));
    let report = json(dir.path(), &["log", "verify", "--data", "copy", "--key", &key, "--format", "json"]);
    assert_eq!(report["receipts"], 6, "{report}");
    assert_eq!(report["decisions"]["DENY"], 1);
    let shown = json(dir.path(), &["log", "show", "2", "--data", "copy", "--key", &key, "--format", "json"]);
    assert_eq!(shown["verified"]["included_in"], 6);
    assert_eq!(shown["statement"]["predicate"]["decision"], "ALLOW");
    // Deciding again needs the requests, and those are sealed.
    let refused = run(dir.path(), &["log", "replay", "--data", "copy", "--key", &key]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("key ring"), "{}", refused.err);
}

#[test]
fn another_gates_key_verifies_nothing() {
    let ((dir, _), (_other, key)) = (logged(), logged());
    for args in
        [vec!["verify"], vec!["show", "3"], vec!["tail"], vec!["replay"], vec!["export", "3", "--out", "out"]]
    {
        let mut all = vec!["log"];
        all.extend(args);
        all.extend(["--data", "data", "--key", &key]);
        let refused = run(dir.path(), &all);
        assert_eq!(refused.code, 30, "{all:?}: {}", refused.err);
        assert!(refused.out.is_empty(), "{}", refused.out);
        assert!(refused.err.contains("receipt "), "{}", refused.err);
    }
    assert!(!dir.path().join("out").exists(), "what does not verify is not exported");
}

#[test]
fn any_changed_byte_is_found_and_named() {
    let (dir, key) = logged();
    let segment = dir.path().join("data/log/00000001.seg");
    let whole = std::fs::read(&segment).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for at in (0..=end).step_by(701) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        std::fs::write(&segment, &bytes).unwrap();
        let refused = run(dir.path(), &["log", "verify", "--data", "data", "--key", &key]);
        assert_eq!(refused.code, 30, "byte {at}: {}{}", refused.out, refused.err);
        assert!(refused.err.contains("receipt "), "byte {at}: {}", refused.err);
    }
}

#[test]
fn a_cut_or_exchanged_log_is_found_by_an_older_checkpoint() {
    let (dir, key) = logged();
    let note = dir.path().join("data/checkpoint");
    std::fs::copy(&note, dir.path().join("held.note")).unwrap();
    let verify = ["log", "verify", "--data", "copy", "--key", &key, "--checkpoint", "held.note"];
    copy(&dir.path().join("data/log"), &dir.path().join("copy"));
    succeed(dir.path(), &verify);
    // The last group is gone, and with it what lay beside the log.
    let segment = dir.path().join("copy/00000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let last = bytes.windows(8).rposition(|w| w == b"decision").unwrap() / 512 * 512;
    bytes[last - 512 * 8..].fill(0);
    std::fs::write(&segment, bytes).unwrap();
    let refused = run(dir.path(), &verify);
    assert_eq!(refused.code, 30, "{}{}", refused.out, refused.err);
    assert!(refused.err.contains("shorter than the checkpoint you hold"), "{}", refused.err);
}

#[test]
fn erasing_a_session_leaves_its_receipts_valid() {
    let (dir, key) = logged();
    decide(dir.path(), "read", "two");
    let before = json(dir.path(), &["log", "replay", "--data", "data", "--key", &key, "--format", "json"]);
    assert_eq!((&before["same"], &before["erased"]), (&5.into(), &0.into()), "{before}");
    let index =
        succeed(dir.path(), &["log", "erase", "--data", "data", "--agent", "bot", "--session", "one"]);
    assert_eq!(index.trim(), "7");
    let after = json(dir.path(), &["log", "replay", "--data", "data", "--key", &key, "--format", "json"]);
    assert_eq!((&after["same"], &after["erased"]), (&1.into(), &4.into()), "{after}");
    succeed(dir.path(), &["log", "verify", "--data", "data", "--key", &key]);
    let unknown = run(dir.path(), &["log", "erase", "--data", "data", "--agent", "bot", "--session", "none"]);
    assert_eq!(unknown.code, 2, "{}", unknown.err);
}

#[test]
fn an_exported_receipt_stands_alone() {
    let (dir, key) = logged();
    let files = succeed(dir.path(), &["log", "export", "5", "--data", "data", "--key", &key, "--out", "out"]);
    let names = ["payload.json", "receipt.dsse.json", "receipt.tlog-proof", "key.pub.pem", "vkey.txt"];
    assert_eq!(files.lines().map(|line| line.rsplit('/').next().unwrap()).collect::<Vec<_>>(), names);
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop");
    let openssl = std::process::Command::new("openssl").arg("version").output();
    if openssl.is_ok_and(|found| found.status.success()) {
        let checked = std::process::Command::new("sh")
            .arg(scripts.join("openssl.sh"))
            .arg(dir.path().join("out"))
            .output();
        let checked = checked.unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    } else {
        eprintln!("skipped: openssl is not installed");
    }
}

#[test]
fn tail_prints_the_newest_and_follows() {
    use std::io::{BufRead as _, BufReader};
    let (dir, key) = logged();
    let two =
        succeed(dir.path(), &["log", "tail", "-n", "2", "--data", "data", "--key", &key, "--format", "json"]);
    let indices: Vec<u64> = two
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["receipt_index"].as_u64().unwrap())
        .collect();
    assert_eq!(indices, [4, 5]);
    let mut following = crate::program::command()
        .current_dir(dir.path())
        .args(["log", "tail", "-n", "1", "--follow", "--data", "data", "--format", "json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next =
        || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["receipt_index"].clone();
    assert_eq!(next(), 5);
    decide(dir.path(), "drop", "later");
    assert_eq!(next(), 6);
    following.kill().unwrap();
    following.wait().unwrap();
}
