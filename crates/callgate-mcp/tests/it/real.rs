//! The wrapper around processes: the demonstration server, dying ones, and servers of others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callgate_gate::Gate;
use callgate_mcp::{Ended, WrapError, WrapOptions, wrap};
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, ReadHalf, WriteHalf, duplex, split,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::rig::{WAIT, gate, options};

/// What each kind of tool of a filesystem server may do.
const FILES: &str = r#"
version: v1
rules:
  - {id: read, match: {tools: ["files.read*", "files.list*"]}, decision: allow}
  - {id: write, match: {tools: [files.write_file]}, decision: allow_with_constraints, constraints: {max_runtime_sec: 10, max_retries: 1}}
  - {id: move, match: {tools: [files.move_file]}, decision: require_approval, reason: "moves need a person"}
  - {id: tree, match: {tools: [files.directory_tree]}, decision: throttle, throttle: {retry_after: 2s}}
"#;

pub(crate) struct Wrapped {
    pub(crate) read: BufReader<ReadHalf<DuplexStream>>,
    pub(crate) write: WriteHalf<DuplexStream>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) wrapper: JoinHandle<Result<Ended, WrapError>>,
}

impl Wrapped {
    pub(crate) async fn around(rules: &str, command: &Path, args: &[&str]) -> Self {
        let gate = gate(rules).await;
        let options =
            WrapOptions { command: command.into(), args: args.iter().map(Into::into).collect(), ..options() };
        let (ours, theirs) = duplex(1 << 16);
        let (client_in, client_out) = split(theirs);
        let wrapper =
            tokio::spawn(wrap(Arc::clone(&gate), options, client_in, client_out, Arc::new(|_: &str| {})));
        let (read, write) = split(ours);
        Self { read: BufReader::new(read), write, gate, wrapper }
    }

    async fn next(&mut self) -> Value {
        let mut line = String::new();
        timeout(WAIT, self.read.read_line(&mut line)).await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"))
    }

    async fn tell(&mut self, message: &Value) {
        self.write.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    async fn ask(&mut self, id: u64, method: &str, params: Value) -> Value {
        self.tell(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        loop {
            let answer = self.next().await;
            if answer["id"] == id && answer.get("method").is_none() {
                return answer;
            }
        }
    }

    async fn call(&mut self, id: u64, tool: &str, args: Value) -> Value {
        self.ask(id, "tools/call", json!({"name": tool, "arguments": args})).await
    }

    async fn begin(&mut self) -> Value {
        let client = json!({"name": "test", "version": "0"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        let answer = self.ask(0, "initialize", params).await;
        self.tell(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        answer
    }

    async fn leave(mut self) -> Result<Ended, WrapError> {
        self.write.shutdown().await.unwrap();
        timeout(WAIT, self.wrapper).await.unwrap().unwrap()
    }
}

/// The demonstration server, which is built beside the tests.
pub(crate) fn demo_server() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    here.parent().unwrap().parent().unwrap().join("examples/files_server")
}

/// Calls of each kind have the effect they should, or none.
async fn plays_a_session(command: &Path, before: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::write(root.join("a.txt"), "hello").unwrap();
    let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
    let arguments: Vec<&str> = before.iter().copied().chain([root.to_str().unwrap()]).collect();
    let mut wrapped = Wrapped::around(FILES, command, &arguments).await;
    assert!(wrapped.begin().await["result"]["serverInfo"]["name"].is_string());

    let listed = wrapped.ask(1, "tools/list", json!({})).await;
    let names: Vec<&str> =
        listed["result"]["tools"].as_array().unwrap().iter().filter_map(|t| t["name"].as_str()).collect();
    assert!(
        names.contains(&"read_text_file") && names.contains(&"move_file") && !names.contains(&"edit_file"),
        "{names:?}"
    );

    let read = wrapped.call(2, "read_text_file", json!({"path": path("a.txt")})).await;
    assert_eq!(read["result"]["content"][0]["text"], "hello");
    assert!(read["result"]["_meta"]["callgate/receipt_index"].is_u64());
    wrapped.call(3, "write_file", json!({"path": path("b.txt"), "content": "new"})).await;
    assert_eq!(std::fs::read_to_string(root.join("b.txt")).unwrap(), "new");

    let moved =
        wrapped.call(4, "move_file", json!({"source": path("a.txt"), "destination": path("c.txt")})).await;
    assert_eq!(moved["result"]["_meta"]["callgate/code"], "APPROVAL_REQUIRED");
    let tree = wrapped.call(5, "directory_tree", json!({"path": path("")})).await;
    assert_eq!(tree["result"]["_meta"]["callgate/code"], "RATE_EXCEEDED");
    let edits = json!([{"oldText": "hello", "newText": "bye"}]);
    let edited = wrapped.call(6, "edit_file", json!({"path": path("a.txt"), "edits": edits})).await;
    assert_eq!(edited["result"]["_meta"]["callgate/code"], "NO_POLICY_MATCH");
    assert_eq!(std::fs::read_to_string(root.join("a.txt")).unwrap(), "hello");
    assert!(!root.join("c.txt").exists());

    // Two decisions that ran, two outcomes, three that did not, and the log's own two.
    let gate = Arc::clone(&wrapped.gate);
    assert_eq!(wrapped.leave().await.unwrap(), ended(2, 3));
    assert_eq!(gate.size(), 9);
}

fn ended(forwarded: u64, refused: u64) -> Ended {
    let mut ended = Ended::default();
    (ended.forwarded, ended.refused) = (forwarded, refused);
    ended
}

#[tokio::test]
async fn the_demonstration_server_behind_the_gate() {
    plays_a_session(&demo_server(), &[]).await;
}

/// The official filesystem server, where `CALLGATE_TEST_MCP_DIR` names a folder that has it in
/// `node_modules`.
#[tokio::test]
#[expect(clippy::print_stderr, reason = "an optional part of the surroundings")]
async fn the_official_filesystem_server_behind_the_gate() {
    let Ok(folder) = std::env::var("CALLGATE_TEST_MCP_DIR") else {
        return eprintln!("skipped: CALLGATE_TEST_MCP_DIR is not set");
    };
    let server =
        Path::new(&folder).join("node_modules/@modelcontextprotocol/server-filesystem/dist/index.js");
    plays_a_session(Path::new("node"), &[server.to_str().unwrap()]).await;
}

/// The time server from PyPI, where `CALLGATE_TEST_MCP_PYTHON` names a Python that has it. It speaks
/// both revisions.
#[tokio::test]
#[expect(clippy::print_stderr, reason = "an optional part of the surroundings")]
async fn the_time_server_behind_the_gate() {
    let Ok(python) = std::env::var("CALLGATE_TEST_MCP_PYTHON") else {
        return eprintln!("skipped: CALLGATE_TEST_MCP_PYTHON is not set");
    };
    let rules =
        "version: v1\nrules:\n  - {id: now, match: {tools: [files.get_current_time]}, decision: allow}\n";
    let mut wrapped = Wrapped::around(rules, Path::new(&python), &["-m", "mcp_server_time"]).await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let found = wrapped.ask(1, "server/discover", json!({"_meta": meta})).await;
    assert!(found["result"].is_object(), "{found}");
    let listed = wrapped.ask(2, "tools/list", json!({"_meta": meta})).await;
    assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["result"]["cacheScope"], "private");
    let call = |tool: &str, args: Value| json!({"name": tool, "arguments": args, "_meta": meta});
    let now =
        wrapped.ask(3, "tools/call", call("get_current_time", json!({"timezone": "Europe/Vienna"}))).await;
    assert!(now["result"].is_object() && now["result"]["isError"] != true, "{now}");
    let denied = wrapped.ask(4, "tools/call", call("convert_time", json!({}))).await;
    assert_eq!(
        (&denied["result"]["isError"], &denied["result"]["resultType"]),
        (&json!(true), &json!("complete"))
    );
    assert_eq!(wrapped.leave().await.unwrap(), ended(1, 1));
}

#[tokio::test]
async fn a_command_that_is_not_there_says_so() {
    let wrapped = Wrapped::around(FILES, Path::new("/no/such/server"), &[]).await;
    let problem = timeout(WAIT, wrapped.wrapper).await.unwrap().unwrap().unwrap_err().to_string();
    assert!(
        problem.contains("could not start `/no/such/server`") && problem.contains("installed"),
        "{problem}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_server_that_exits_is_named_with_its_status() {
    let wrapped = Wrapped::around(FILES, Path::new("sh"), &["-c", "exit 3"]).await;
    let problem = timeout(WAIT, wrapped.wrapper).await.unwrap().unwrap().unwrap_err().to_string();
    assert!(problem.contains("exit status: 3"), "{problem}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_ignores_the_end_is_killed_with_what_it_started() {
    let script = r#"trap '' TERM; sleep 600 & echo "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/pid\",\"params\":$!}"; wait; sleep 600"#;
    let mut wrapped = Wrapped::around(FILES, Path::new("sh"), &["-c", script]).await;
    let pid = wrapped.next().await["params"].as_u64().unwrap();
    let child = PathBuf::from(format!("/proc/{pid}"));
    assert!(child.exists());
    wrapped.leave().await.unwrap();
    for _ in 0..200 {
        // A killed process stays in the table until its new parent has waited for it.
        let state = std::fs::read_to_string(child.join("stat")).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("process {pid} is still there");
}
