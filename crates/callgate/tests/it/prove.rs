//! The proof of block, a sample of each fault; `make prove` plays all of it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::program::{run, succeed};

fn played(args: &[&str]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &[&["prove", "--quick", "--format", "json"], args].concat());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

/// Every fault at every point, as the list has them.
#[test]
fn nothing_runs_that_no_receipt_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let listed = succeed(dir.path(), &["prove", "--list", "--format", "json"]);
    let listed = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let named =
        |fault: &Value, point: &Value| format!("{}@{}", fault.as_str().unwrap(), point.as_str().unwrap());
    let wanted: BTreeSet<String> = listed
        .flat_map(|line| {
            let points = line["points"].as_array().unwrap().clone();
            points.into_iter().map(move |point| named(&line["fault"], &point))
        })
        .collect();
    let report = played(&[]);
    let rows = report["rows"].as_array().unwrap();
    let found: BTreeSet<String> = rows.iter().map(|row| named(&row["fault"], &row["point"])).collect();
    assert_eq!(found, wanted);
    assert!(wanted.len() > 120, "{}", wanted.len());
    assert_eq!(report["proven"], true);
    for row in rows {
        let count = |name: &str| row[name].as_u64().unwrap();
        let backed = count("receipts") + count("unchecked") + count("unrecorded");
        assert!(count("effects") <= backed, "{row}");
        // Only an agent of a low tier goes on without its gate, and only where a journal is destroyed is a record gone.
        assert!(count("unchecked") == 0 || row["point"] == "leased", "{row}");
        assert!(count("unrecorded") == 0 || row["group"] == "lease", "{row}");
        assert!(
            row["effects"].as_u64() > Some(0),
            "a suite in which nothing ever runs proves nothing: {row}"
        );
    }
}

/// Points that do it wrong, and a disk that lies.
#[test]
fn the_suite_catches_what_is_wrong_on_purpose() {
    let found = played(&["--self-test"]);
    let found = found.as_array().unwrap();
    assert!(found.len() >= 11 && found.iter().all(|one| one["caught"] == true), "{found:?}");
}

#[test]
fn a_name_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["prove", "--only", "gate-kiled"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("`gate-kiled` is no fault"), "{}", ran.err);
}
