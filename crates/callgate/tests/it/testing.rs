//! `callgate test` and `callgate explain`, as people and programs meet them.

use std::path::Path;

use serde_json::Value;

use crate::program::{decide, folder, public_key, request, run, write};

const PASSING: &str = "version: v1
defaults: {agent: {id: bot}, tool: {server: s}, pep: {id: test, enforces: [max_runtime_ms]}}
tests:
  - {name: reading is allowed, request: {tool: {name: read}}, expect: {decision: ALLOW, rule: read}}
  - {name: moving waits, request: {tool: {name: move}}, expect: {decision: REQUIRE_APPROVAL, reviewers: ['role:ops']}}
";

const FAILING: &str = "version: v1
defaults: {agent: {id: bot}, tool: {server: s}}
tests:
  - {name: 'dropping <is> \"allowed\" & more', request: {tool: {name: drop}}, expect: {decision: ALLOW, rule: read}}
  - name: reading twice
    steps:
      - {request: {tool: {name: read}}, expect: {decision: ALLOW}}
      - {at: 5m, request: {tool: {name: slow}}, expect: {decision: ALLOW, code: none}}
";

/// A whole element tree is closed as it was opened, attributes are quoted, and only the five entities are used.
fn elements(xml: &str) -> Vec<String> {
    let (mut open, mut all, mut rest) = (Vec::new(), Vec::new(), xml);
    while let Some((text, after)) = rest.split_once('<') {
        assert!(!text.contains('>'), "{text}");
        for entity in text.split('&').skip(1) {
            assert!(
                ["amp;", "lt;", "gt;", "quot;", "apos;"].iter().any(|known| entity.starts_with(known)),
                "{entity}"
            );
        }
        let (tag, after) = after.split_once('>').unwrap();
        rest = after;
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap().to_owned();
        if tag.starts_with('?') {
        } else if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else {
            all.push(name.clone());
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
    all
}

fn shown(dir: &Path, args: &[&str]) -> String {
    let ran = run(dir, args);
    format!("exit {}\n--- out\n{}--- err\n{}", ran.code, ran.out, ran.err)
}

#[test]
fn tests_that_pass() {
    let dir = folder();
    write(dir.path(), "bundle/tests/a.yaml", PASSING);
    insta::assert_snapshot!("test_pass", shown(dir.path(), &["test", "bundle"]));
    insta::assert_snapshot!(
        "test_coverage",
        shown(dir.path(), &["test", "bundle", "--coverage", "--require-coverage"])
    );
    insta::assert_snapshot!("test_filter", shown(dir.path(), &["test", "bundle", "--filter", "moving"]));
}

#[test]
fn tests_that_fail_show_why() {
    let dir = folder();
    write(dir.path(), "bundle/tests/a.yaml", PASSING);
    write(dir.path(), "bundle/tests/b.yaml", FAILING);
    insta::assert_snapshot!("test_fail", shown(dir.path(), &["test", "bundle"]));
    insta::assert_snapshot!("test_fail_json", shown(dir.path(), &["test", "bundle", "--format", "json"]));
    let ran = run(dir.path(), &["test", "bundle", "--format", "junit"]);
    assert_eq!(ran.code, 21, "{}", ran.err);
    insta::assert_snapshot!("test_fail_junit", ran.out);
    let all = elements(&ran.out);
    let count = |name: &str| all.iter().filter(|one| *one == name).count();
    assert_eq!((count("testsuite"), count("testcase"), count("failure")), (2, 4, 2));
}

#[test]
fn a_run_that_tested_nothing_did_not_pass() {
    let dir = folder();
    insta::assert_snapshot!("test_none", shown(dir.path(), &["test", "bundle"]));
    write(dir.path(), "bundle/tests/a.yaml", PASSING);
    insta::assert_snapshot!(
        "test_filter_none",
        shown(dir.path(), &["test", "bundle", "--filter", "no such"])
    );
}

#[test]
fn wrong_tests_and_wrong_usage() {
    let dir = folder();
    write(
        dir.path(),
        "wrong/rules/r.yaml",
        "version: v1\nrules: [{id: a, match: {tools: [x]}, decision: deny}]\n",
    );
    write(
        dir.path(),
        "wrong/tests/a.yaml",
        "version: v1\ntests:\n  - {name: a, requst: {}, expect: {decision: ALLOW}}\n  - {name: b, request: {}}\n",
    );
    insta::assert_snapshot!("test_wrong", shown(dir.path(), &["test", "wrong"]));
    assert_eq!(run(dir.path(), &["check", "wrong"]).code, 20);
    for args in [
        &["test"][..],
        &["test", "bundle", "--format", "xml"],
        &["test", "bundle", "--filter", "x", "--require-coverage"],
        &["test", "none"],
        &["explain", "request.json"],
        &["explain", "--bundle", "bundle", "--data", "data", "0"],
        &["explain", "--bundle", "bundle", "--key", "k", "0"],
        &["explain", "--bundle", "bundle", "none.json"],
        &["explain", "--data", "data", "0"],
    ] {
        let ran = run(dir.path(), args);
        assert!(
            ran.code == 2 && ran.out.is_empty() && !ran.err.is_empty(),
            "{args:?}: {} {}",
            ran.code,
            ran.err
        );
    }
}

#[test]
fn explaining_a_request() {
    let dir = folder();
    for tool in ["read", "write", "move", "drop", "other"] {
        write(dir.path(), "request.json", &request(tool, "s"));
        let args = ["explain", "--bundle", "bundle", "request.json"];
        insta::assert_snapshot!(format!("explain_{tool}"), shown(dir.path(), &args));
        let [decided, explained] =
            [&["decide", "--bundle", "bundle", "--request", "request.json"][..], &args]
                .map(|args| run(dir.path(), args).code);
        assert_eq!(decided, explained, "{tool}");
    }
    write(dir.path(), "request.json", "{");
    insta::assert_snapshot!(
        "explain_malformed",
        shown(dir.path(), &["explain", "--bundle", "bundle", "request.json"])
    );
}

#[test]
fn explaining_a_receipt() {
    let dir = folder();
    let index = decide(dir.path(), "move", "one")["receipt_index"].as_u64().unwrap().to_string();
    decide(dir.path(), "read", "one");
    let key = public_key(&dir.path().join("data")).display().to_string();
    let verified = ["explain", "--data", "data", "--key", &key, &index];
    insta::assert_snapshot!("explain_receipt", shown(dir.path(), &verified));
    // The same as was explained before it was recorded: one evaluation, whenever it is looked at.
    write(dir.path(), "request.json", &request("move", "one"));
    let [before, after] = [
        &["explain", "--bundle", "bundle", "request.json", "--format", "json"][..],
        &["explain", "--data", "data", &index, "--format", "json"],
    ]
    .map(|args| serde_json::from_str::<Value>(&run(dir.path(), args).out).unwrap());
    assert_eq!(before, after);
    insta::assert_snapshot!("explain_no_decision", shown(dir.path(), &["explain", "--data", "data", "0"]));
    insta::assert_snapshot!("explain_unknown", shown(dir.path(), &["explain", "--data", "data", "99"]));
    insta::assert_snapshot!(
        "explain_no_number",
        shown(dir.path(), &["explain", "--data", "data", "request.json"])
    );
}
