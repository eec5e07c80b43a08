//! `callgate simulate` and `callgate diff`, as people and programs meet them.

use std::path::Path;

use serde_json::Value;

use crate::program::{Server, decide, folder, request, run, write};

/// The bundle of [`folder`], but reading is asked of people and dropping is not denied by a rule.
const STRICTER: &str = "version: v1
rules:
  - {id: read, match: {tools: [s.read]}, decision: require_approval, approval: {reviewers: ['role:ops']}}
  - {id: write, match: {tools: [s.write]}, decision: allow_with_constraints, constraints: {max_runtime_sec: 9}}
  - {id: slow, match: {tools: [s.slow]}, decision: allow}
  - id: move
    match: {tools: [s.move]}
    when: args.size() == 0
    decision: require_approval
    reason: A person must agree
    approval: {reviewers: [\"role:ops\"], quorum: 2, expires: 10m}
";

const TOOLS: [&str; 5] = ["read", "write", "slow", "move", "drop"];

/// The folder with a second bundle, and a corpus of one call of each tool.
fn two() -> tempfile::TempDir {
    let dir = folder();
    write(dir.path(), "next/rules/a.yaml", STRICTER);
    let lines: Vec<String> = TOOLS.iter().map(|tool| request(tool, "s").replace('\n', " ")).collect();
    write(dir.path(), "corpus/a.jsonl", &lines.join("\n"));
    dir
}

fn shown(dir: &Path, args: &[&str]) -> String {
    let ran = run(dir, args);
    format!("exit {}\n--- out\n{}--- err\n{}", ran.code, ran.out, ran.err)
}

fn json(dir: &Path, args: &[&str]) -> Value {
    let ran = run(dir, &[args, &["--format", "json"]].concat());
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}", ran.err))
}

#[test]
fn a_corpus_shows_what_flips() {
    let dir = two();
    let args = ["simulate", "next", "--corpus", "corpus", "--baseline", "bundle"];
    insta::assert_snapshot!("simulate_corpus", shown(dir.path(), &args));
    let loose: [&[&str]; 2] = [&args, &["--max-loosen", "50", "--max-tighten", "40"]];
    let ran = run(dir.path(), &loose.concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.out);
    let alone = ["simulate", "next", "--corpus", "corpus/a.jsonl"];
    insta::assert_snapshot!("simulate_alone", shown(dir.path(), &alone));
}

#[test]
fn bad_lines_are_named_and_the_others_count() {
    let dir = two();
    let more = format!("{}\n{{\"agent\": 1}}\nnonsense\n", request("read", "s").replace('\n', " "));
    write(dir.path(), "bad.jsonl", &more);
    write(dir.path(), "corpus/notes.txt", "");
    insta::assert_snapshot!(
        "simulate_bad_lines",
        shown(dir.path(), &["simulate", "next", "--corpus", "bad.jsonl"])
    );
    let ran = run(dir.path(), &["simulate", "next", "--corpus", "corpus"]);
    assert!(ran.err.contains("1 file in `corpus` not ending in `.jsonl`"), "{}", ran.err);
}

#[test]
fn a_request_is_explained() {
    let dir = two();
    write(dir.path(), "r.json", &request("read", "s"));
    let args = ["simulate", "next", "--request", "r.json", "--baseline", "bundle"];
    insta::assert_snapshot!("simulate_request", shown(dir.path(), &args));
    let stays = run(dir.path(), &["simulate", "bundle", "--request", "r.json"]);
    assert!(stays.code == 0 && stays.out.contains("ALLOW  by `read`"), "{}", stays.out);
}

#[test]
fn a_log_is_decided_again_beside_the_gate_that_writes_it() {
    let dir = two();
    for tool in TOOLS {
        decide(dir.path(), tool, "s");
    }
    let mut server = Server::start(dir.path(), &["--dev"]);
    let before = std::fs::read(dir.path().join("data/log/00000001.seg")).unwrap();
    let report = json(dir.path(), &["simulate", "next", "--data", "data"]);
    assert_eq!(report["totals"]["evaluated"], 5);
    assert_eq!(report["totals"]["tightened"], 1);
    assert_eq!(report["totals"]["loosened"], 1);
    assert_eq!(report["totals"]["constraints_changed"], 1);
    assert_eq!(report["inputs"]["recorded_by"]["v1"], 5);
    assert_eq!(report["approvals"]["newly"], 1);
    assert_eq!(report["by_rule"]["shown"][0]["was"], "read");
    assert_eq!(report, json(dir.path(), &["simulate", "next", "--data", "data"]));
    let denied =
        json(dir.path(), &["simulate", "next", "--data", "data", "--decision", "deny", "--since", "1d"]);
    assert_eq!((&denied["totals"]["decisions"], &denied["totals"]["filtered_out"]), (&1.into(), &4.into()));
    let own = json(dir.path(), &["simulate", "v1", "--data", "data", "--snapshot", "v1"]);
    assert_eq!(own["totals"]["same"], 5);
    assert!(before == std::fs::read(dir.path().join("data/log/00000001.seg")).unwrap(), "only looked at");
    server.kill();
    // More than the bundle allows: 5 % looser, 20 % stricter.
    let ran = run(dir.path(), &["simulate", "next", "--data", "data"]);
    assert_eq!(ran.code, 21);
    assert!(
        ran.err.contains("20 % of the decisions become more permissive; 5 % is the limit"),
        "{}",
        ran.err
    );
    assert!(ran.out.contains("REQUIRE_APPROVAL") && ran.out.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn a_diff_is_of_rules_and_decisions() {
    let dir = two();
    insta::assert_snapshot!("diff_rules", shown(dir.path(), &["diff", "bundle", "next"]));
    let both = json(dir.path(), &["diff", "bundle", "next", "--corpus", "corpus"]);
    assert_eq!(both["rules"]["removed"][0]["id"], "drop");
    assert_eq!(both["decisions"]["totals"]["tightened"], 1);
    for tool in TOOLS {
        decide(dir.path(), tool, "s");
    }
    let recorded = json(dir.path(), &["diff", "v1", "next", "--data", "data"]);
    assert_eq!(recorded["decisions"]["totals"]["loosened"], 1);
    assert_eq!(recorded["rules"], both["rules"]);
    let rules = json(dir.path(), &["diff", "v1", "next", "--data", "data", "--rules-only"]);
    assert!(rules.get("decisions").is_none());
    let same = run(dir.path(), &["diff", "v1", "bundle", "--data", "data", "--rules-only"]);
    assert_eq!(same.out, "the two are the same\n");
}

#[test]
fn what_cannot_be_used_says_what_to_write() {
    let dir = two();
    decide(dir.path(), "read", "s");
    write(dir.path(), "r.json", "{}");
    let cases: [(&[&str], &str); 9] = [
        (&["simulate", "next"], "give `--data DIR`, `--corpus FILE` or `--request FILE`"),
        (&["simulate", "v1", "--corpus", "corpus"], "give that log with `--data DIR`"),
        (&["simulate", "v7", "--data", "data"], "there is no snapshot `v7`; this log has v1"),
        (&["simulate", "next", "--data", "data", "--since", "soon"], "write `2026-11-20`"),
        (&["simulate", "next", "--data", "data", "--decision", "maybe"], "write one of ALLOW"),
        (&["simulate", "next", "--corpus", "corpus", "--agent", "bot"], "leave them out"),
        (&["simulate", "next", "--request", "r.json"], "`agent` is missing"),
        (&["simulate", "next", "--data", "none"], "there is no log in `none`"),
        (&["diff", "bundle", "nowhere"], "nowhere"),
    ];
    for (args, wanted) in cases {
        let ran = run(dir.path(), args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert!(ran.err.contains(wanted), "{args:?}: {}", ran.err);
    }
    let ran =
        run(dir.path(), &["simulate", "next", "--data", "data", "--agent", "none", "--max-loosen", "5"]);
    assert_eq!(ran.code, 21);
    assert!(ran.err.contains("nothing is known about flips"), "{}", ran.err);
}
