//! What the program prints, word for word. Ids, times and places are made the same for every run.

use std::path::Path;

use insta::assert_snapshot;

use crate::program::{Ran, decide, folder, public_key, request, run, write};

/// Standard output, standard error and exit code, with what differs from run to run named instead.
fn shown(dir: &Path, ran: &Ran) -> String {
    let mut text = format!("exit {}\n--- out\n{}--- err\n{}", ran.code, ran.out, ran.err);
    text = text.replace(&dir.canonicalize().unwrap().display().to_string(), "[dir]");
    text = text.replace(&dir.display().to_string(), "[dir]");
    text = replace(&text, "callgate.log/", 16, |c| c.is_ascii_hexdigit(), "[origin]");
    text =
        replace(&text, "MCowBQYDK2VwAyEA", 44, |c| c.is_ascii_alphanumeric() || "+/=".contains(c), "[key]");
    text = replace(&text, "", 64, |c| c.is_ascii_hexdigit(), "[hash]");
    text = replace(&text, "20", 18, |c| c.is_ascii_digit() || "-T:.Z".contains(c), "[time]");
    replace(&text, "17", 11, |c| c.is_ascii_digit(), "[ms]")
}

/// Replaces `prefix` and the run of at least `least` characters of a kind behind it.
fn replace(text: &str, prefix: &str, least: usize, kind: impl Fn(char) -> bool, with: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let fresh = out.chars().last().is_none_or(|c| !c.is_ascii_alphanumeric() || prefix.len() > 2);
        let run = rest.strip_prefix(prefix).map_or(0, |rest| rest.find(|c| !kind(c)).unwrap_or(rest.len()));
        if fresh && run >= least {
            out.push_str(with);
            rest = &rest[prefix.len() + run..];
        } else {
            let c = rest.chars().next().unwrap();
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

fn print(dir: &Path, args: &[&str]) -> String {
    shown(dir, &run(dir, args))
}

#[test]
fn help() {
    let dir = folder();
    assert_snapshot!("help", print(dir.path(), &["--help"]));
    assert_snapshot!("help_log", print(dir.path(), &["log", "--help"]));
    assert_snapshot!("no_command", print(dir.path(), &[]));
    assert_snapshot!("unknown_command", print(dir.path(), &["serv"]));
    assert_eq!(run(dir.path(), &["--version"]).out, format!("callgate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_reference_is_what_the_program_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let now = run(Path::new("."), &["docs-cli"]).out;
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == now, "docs/cli.md is not what the program says; run the tests with UPDATE_DOCS=1");
}

#[test]
fn completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(Path::new("."), &["completions", shell]);
        assert!(ran.code == 0 && ran.out.contains("callgate"), "{shell}");
    }
}

#[test]
fn check() {
    let dir = folder();
    assert_snapshot!("check_ok", print(dir.path(), &["check", "bundle"]));
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/quickstart");
    let schema = print(dir.path(), &["check", example, "--schema"]);
    assert!(schema.contains("action \"files.read_text_file\""), "{schema}");
    assert_snapshot!("check_ok_json", print(dir.path(), &["check", "bundle", "--format", "json"]));
    write(
        dir.path(),
        "bad/rules/a.yaml",
        "version: v1\nrules:\n  - {id: a, decison: deny}\n  - {id: a, match: {tools: [\"s.x y\"]}, decision: alow}\n",
    );
    write(dir.path(), "bad/rules/x.json", "{}");
    write(dir.path(), "bad/policies/p.cedar", "permit(principal, action, resource);");
    assert_snapshot!("check_errors", print(dir.path(), &["check", "bad"]));
    assert_snapshot!("check_errors_json", print(dir.path(), &["check", "bad", "--format", "json"]));
    assert_snapshot!("check_errors_sarif", print(dir.path(), &["check", "bad", "--format", "sarif"]));
    assert_snapshot!("check_missing", print(dir.path(), &["check", "none"]));
    write(dir.path(), "empty/README.md", "nothing");
    assert_snapshot!("check_empty", print(dir.path(), &["check", "empty"]));
}

#[test]
fn dry_decisions() {
    let dir = folder();
    for tool in ["read", "write", "slow", "move", "drop", "other"] {
        write(dir.path(), "request.json", &request(tool, "s"));
        let args = ["decide", "--bundle", "bundle", "--request", "request.json"];
        assert_snapshot!(format!("decide_{tool}"), print(dir.path(), &args));
    }
    write(dir.path(), "request.json", "{\"agent\": 5}");
    let args = ["decide", "--bundle", "bundle", "--request", "request.json", "--format", "json"];
    assert_snapshot!("decide_malformed_json", print(dir.path(), &args));
    assert_snapshot!(
        "decide_no_request",
        print(dir.path(), &["decide", "--bundle", "bundle", "--request", "none.json"])
    );
    write(dir.path(), "bad/rules/a.yaml", "version: v1\nrules: []\n");
    assert_snapshot!(
        "decide_bad_bundle",
        print(dir.path(), &["decide", "--bundle", "bad", "--request", "request.json"])
    );
}

#[test]
fn log() {
    let dir = folder();
    for tool in ["read", "write", "slow", "move", "drop"] {
        decide(dir.path(), tool, "one");
    }
    write(dir.path(), "request.json", &request("drop", "one"));
    assert_snapshot!(
        "decide_receipted",
        print(dir.path(), &["decide", "--data", "data", "--request", "request.json"])
    );
    let key = public_key(&dir.path().join("data")).display().to_string();
    let pinned = ["--data", "data", "--key", key.as_str()];
    let with = |args: &[&str]| print(dir.path(), &[&["log"], args, &pinned].concat());
    assert_snapshot!("log_verify", with(&["verify"]));
    assert_snapshot!("log_verify_json", with(&["verify", "--format", "json"]));
    assert_snapshot!("log_tail", with(&["tail"]));
    assert_snapshot!("log_show_start", with(&["show", "0"]));
    assert_snapshot!("log_show", with(&["show", "5"]));
    assert_snapshot!("log_show_unknown", with(&["show", "99"]));
    assert_snapshot!("log_replay", with(&["replay"]));
    assert_snapshot!("log_show_unverified", print(dir.path(), &["log", "show", "6", "--data", "data"]));
    assert_snapshot!("log_no_log", print(dir.path(), &["log", "verify", "--data", "bundle", "--key", &key]));
    assert_snapshot!("log_no_key", print(dir.path(), &["log", "verify", "--data", "data"]));
    assert_snapshot!(
        "log_bad_key",
        print(dir.path(), &["log", "verify", "--data", "data", "--key", "data/keys/gate.key"])
    );
}
