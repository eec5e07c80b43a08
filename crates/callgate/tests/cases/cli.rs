//! The command line: `callgate decide --data`, one program per question, and its exit code.

use std::path::Path;
use std::process::Command;

use callgate_gate::clock::{Clock as _, SystemClock};
use serde_json::Value;

use crate::case::{Answer, Case};

pub(crate) fn ask(case: &Case) -> Result<Vec<Answer>, String> {
    if case.key.is_some() {
        return Err("the command line acts for the operator, without a key".to_owned());
    }
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in case.bundle.files() {
        let path = dir.path().join("bundle").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    Ok(case.asks.iter().map(|asked| one(case, dir.path(), &asked.bytes(SystemClock.now_ms()))).collect())
}

fn one(case: &Case, dir: &Path, request: &[u8]) -> Answer {
    std::fs::write(dir.join("request.json"), request).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
    command.current_dir(dir).envs(&case.env);
    command.args([
        "decide",
        "--bundle",
        "bundle",
        "--data",
        "data",
        "--request",
        "request.json",
        "--format",
        "json",
    ]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let reply: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{}: {e}: {said}", case.name));
    let answer = Answer::from_json(&reply);
    let code = match answer.decision.as_str() {
        "ALLOW" | "ALLOW_WITH_CONSTRAINTS" => 0,
        "DENY" => 10,
        "REQUIRE_APPROVAL" => 11,
        "THROTTLE" => 12,
        other => panic!("{other}"),
    };
    assert_eq!(output.status.code(), Some(code), "{}: {said}", case.name);
    answer
}
