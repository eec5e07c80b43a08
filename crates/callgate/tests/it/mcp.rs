//! `callgate mcp`: how the wrapper starts and ends as a program. What it decides is tested elsewhere.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::program::{command, folder, public_key, run, succeed, write};

const RULES: &str = "version: v1
rules:
  - {id: read, match: {tools: [files.read_text_file]}, decision: allow}
  - {id: list, match: {tools: [files.list_directory]}, decision: require_approval}
";

/// A wrapped small server on the folder `work`.
struct Wrapped {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Wrapped {
    fn start(dir: &Path) -> Self {
        write(dir, "bundle/rules/a.yaml", RULES);
        write(dir, "work/notes.txt", "hello");
        let mut program = command();
        program.args([
            "mcp", "--bundle", "bundle", "--data", "data", "--server", "files", "--agent", "bot", "--",
        ]);
        program.arg(env!("CARGO_BIN_EXE_callgate")).args(["demo-server", "work"]);
        program.current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut wrapped = Self { child, out };
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        wrapped.ask("initialize", &params);
        wrapped
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        let message = json!({"jsonrpc": "2.0", "id": method, "method": method, "params": params});
        writeln!(self.child.stdin.as_mut().unwrap(), "{message}").unwrap();
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["result"].clone()
    }

    fn call(&mut self, tool: &str, path: &Path) -> Value {
        self.ask("tools/call", &json!({"name": tool, "arguments": {"path": path}}))
    }

    fn ended(self) -> (i32, String) {
        let output = self.child.wait_with_output().unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr).unwrap())
    }
}

/// Every action has its outcome in a log that verifies.
fn closed(dir: &Path) {
    let key = public_key(&dir.join("data")).display().to_string();
    let report = succeed(dir, &["log", "verify", "--data", "data", "--key", &key, "--format", "json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["outcomes"], &report["without_outcome"]), (&1.into(), &0.into()), "{report}");
}

#[test]
fn it_ends_with_its_client() {
    let dir = folder();
    let mut wrapped = Wrapped::start(dir.path());
    let notes = dir.path().join("work/notes.txt");
    assert_eq!(wrapped.call("read_text_file", &notes)["content"][0]["text"], "hello");
    let held = wrapped.call("list_directory", &dir.path().join("work"));
    assert_eq!(
        (&held["isError"], &held["_meta"]["callgate/code"]),
        (&true.into(), &"APPROVAL_REQUIRED".into())
    );
    drop(wrapped.child.stdin.take());
    let (code, said) = wrapped.ended();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("server `files`, agent `bot`, session `mcp-"), "{said}");
    closed(dir.path());
}

#[test]
fn it_ends_when_it_is_told_to() {
    let dir = folder();
    let mut wrapped = Wrapped::start(dir.path());
    wrapped.call("read_text_file", &dir.path().join("work/notes.txt"));
    rustix::process::kill_process(Pid::from_child(&wrapped.child), Signal::TERM).unwrap();
    let (code, said) = wrapped.ended();
    assert_eq!(code, 0, "{said}");
    closed(dir.path());
}

#[test]
fn it_says_why_there_is_no_server() {
    let dir = folder();
    let wrap =
        |command: &str| run(dir.path(), &["mcp", "--bundle", "bundle", "--data", "data", "--", command]);
    let missing = wrap("no-such-program");
    assert_eq!(missing.code, 2, "{}", missing.err);
    assert!(missing.err.contains("could not start `no-such-program`"), "{}", missing.err);
    let named =
        run(dir.path(), &["mcp", "--server", "a.b", "--bundle", "bundle", "--data", "data", "--", "true"]);
    assert_eq!(named.code, 2, "{}", named.err);
    assert!(named.err.contains("no dots"), "{}", named.err);
    assert_eq!(run(dir.path(), &["mcp", "--bundle", "bundle"]).code, 2, "a command is required");
}
