//! `callgate mcp --gate`: wrappers that share a running gate, and what they do when it is not itself.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::program::{Server, command, public_key, run, succeed, write};

pub(crate) const RULES: &str = "version: v1
rules:
  - {id: write, match: {tools: [files.write_file]}, decision: allow_with_constraints, constraints: {max_runtime_ms: 20000}}
  - {id: read, match: {tools: [files.read_text_file]}, decision: allow}
  - {id: never, match: {tools: [files.move_file]}, decision: deny}
";

/// A folder with a bundle and a folder `work`.
pub(crate) fn place(settings: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bundle/rules/a.yaml", RULES);
    write(dir.path(), "bundle/callgate.yaml", settings);
    write(dir.path(), "work/notes.txt", "hello");
    dir
}

/// A wrapper of the small server on `work`.
pub(crate) struct Point {
    pub(crate) child: Child,
    out: BufReader<ChildStdout>,
    work: PathBuf,
}

impl Point {
    pub(crate) fn start(dir: &Path, agent: &str, gate: &str, more: &[&str]) -> Self {
        let key = public_key(&dir.join("data"));
        let mut program = command();
        program.args(["mcp", "--gate", gate, "--server", "files", "--agent", agent]);
        program.arg("--gate-key").arg(key).args(more).arg("--");
        program.arg(env!("CARGO_BIN_EXE_callgate")).args(["demo-server", "work"]);
        Self::spawn(dir, program)
    }

    fn spawn(dir: &Path, mut program: Command) -> Self {
        program.current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut point = Self { child, out, work: dir.join("work") };
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        point.ask("initialize", &params);
        point
    }

    pub(crate) fn send(&mut self, method: &str, params: &Value) {
        let message = json!({"jsonrpc": "2.0", "id": method, "method": method, "params": params});
        writeln!(self.child.stdin.as_mut().unwrap(), "{message}").unwrap();
    }

    pub(crate) fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap_or_else(|e| panic!("{e}: {line}"))["result"].clone()
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.send(method, params);
        self.answer()
    }

    /// Writes the file `name` in `work`.
    pub(crate) fn write(&mut self, name: &str) -> Value {
        let arguments = json!({"path": self.work.join(name), "content": "x"});
        self.ask("tools/call", &json!({"name": "write_file", "arguments": arguments}))
    }

    /// Whether the side effect of [`Self::write`] is there.
    pub(crate) fn wrote(&self, name: &str) -> bool {
        self.work.join(name).exists()
    }

    /// The client leaves; the exit code and what was said.
    pub(crate) fn leave(mut self) -> (i32, String) {
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output().unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr).unwrap())
    }
}

pub(crate) const SOCKET: &str = "unix:data/gate.sock";

/// What `log verify` says of a log that verifies.
pub(crate) fn verified(dir: &Path) -> Value {
    let key = public_key(&dir.join("data")).display().to_string();
    let report = succeed(dir, &["log", "verify", "--data", "data", "--key", &key, "--format", "json"]);
    serde_json::from_str(&report).unwrap()
}

/// Somebody who answers at a port as a test says, whatever is asked.
struct Impostor {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Impostor {
    /// `says` gives the body of the answer to a path and a body; `None` never answers.
    fn new(says: impl Fn(&str, &str) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut first, mut length) = (String::new(), 0);
                reader.read_line(&mut first).unwrap();
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                seen.lock().unwrap().push(path.clone());
                match says(&path, &String::from_utf8_lossy(&body)) {
                    Some(answer) => drop(stream.write_all(&answer)),
                    // Hung: the connection stays open for longer than anybody waits.
                    None => drop(thread::spawn(move || {
                        thread::sleep(Duration::from_secs(30));
                        drop(stream);
                    })),
                }
            }
        });
        Self { address, asked }
    }
}

fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into()
}

#[test]
fn two_wrappers_share_a_running_gate() {
    let dir = place("version: v1\n");
    let mut gate = Server::start(dir.path(), &[]);
    let mut a = Point::start(dir.path(), "a", SOCKET, &[]);
    let mut b = Point::start(dir.path(), "b", SOCKET, &[]);
    for (point, name) in [(&mut a, "one.txt"), (&mut b, "two.txt")] {
        let answer = point.write(name);
        assert!(answer["_meta"]["callgate/receipt_index"].is_u64(), "{answer}");
        assert!(point.wrote(name));
    }
    let moved =
        json!({"source": dir.path().join("work/one.txt"), "destination": dir.path().join("work/x.txt")});
    let denied = a.ask("tools/call", &json!({"name": "move_file", "arguments": moved}));
    assert_eq!(denied["_meta"]["callgate/code"], "DENIED_BY_RULE", "{denied}");
    for point in [a, b] {
        let (code, said) = point.leave();
        assert_eq!(code, 0, "{said}");
    }
    assert_eq!(gate.stop().0, 0);
    let report = verified(dir.path());
    assert_eq!((&report["outcomes"], &report["without_outcome"]), (&2.into(), &0.into()), "{report}");
}

#[test]
fn a_folder_whose_gate_runs_says_how_to_use_it() {
    let dir = place("version: v1\n");
    let _gate = Server::start(dir.path(), &[]);
    let refused = run(dir.path(), &["mcp", "--data", "data", "--", "true"]);
    assert_eq!(refused.code, 31, "{}", refused.err);
    assert!(refused.err.contains("--gate unix:data/gate.sock --gate-key data/keys/"), "{}", refused.err);
}

impl Point {
    /// The names of the tools that the client is shown.
    fn tools(&mut self) -> Vec<String> {
        let listed = self.ask("tools/list", &json!({}));
        let tools = listed["tools"].as_array().unwrap_or_else(|| panic!("{listed}"));
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// What is denied whatever its arguments is not shown, as by a wrapper that has the gate in it. A list that the gate
/// does not look through is whole: a client must not take tools for gone, and each call is decided all the same.
#[test]
fn tools_that_never_run_are_not_shown_while_the_gate_is_there() {
    let dir = place("version: v1\n");
    let mut gate = Server::start(dir.path(), &[]);
    let decisions = || verified(dir.path())["decisions"].clone();
    let mut point = Point::start(dir.path(), "a", SOCKET, &[]);
    let mut shown = point.tools();
    shown.sort_unstable();
    assert_eq!(shown, ["read_text_file", "write_file"]);
    gate.kill();
    let before = decisions();
    let whole = point.tools();
    assert!(whole.len() > 2 && whole.contains(&"move_file".to_owned()), "{whole:?}");
    let mut gate = Server::start(dir.path(), &[]);
    assert_eq!(point.tools().len(), 2);
    point.leave();
    assert_eq!(gate.stop().0, 0);
    let lies: Vec<Says> = vec![
        Box::new(|| Some(ok(r#"{"hidden":[true]}"#))),
        Box::new(|| Some(ok(r#"{"hidden":"all"}"#))),
        Box::new(|| Some(ok("[]"))),
        Box::new(|| Some(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n".to_vec())),
        Box::new(|| None),
    ];
    for lie in lies {
        let impostor =
            Impostor::new(move |path, _| if path == "/api/v1/tools/hidden" { lie() } else { Some(ok("{}")) });
        let key = dir.path().join("agent.key");
        write(dir.path(), "agent.key", "cg_x");
        let mut point =
            Point::start(dir.path(), "a", &impostor.address, &["--key-file", key.to_str().unwrap()]);
        assert_eq!(point.tools(), whole);
        assert!(impostor.asked.lock().unwrap().iter().any(|path| path == "/api/v1/tools/hidden"));
        point.leave();
    }
    assert_eq!(decisions(), before, "nothing is receipted for a list");
}

/// What an impostor says to whatever it is asked.
type Says = Box<dyn Fn() -> Option<Vec<u8>> + Send>;

#[test]
fn nothing_runs_on_what_an_impostor_says() {
    let dir = place("version: v1\n");
    let key_file = dir.path().join("agent.key");
    let (recorded, forged) = {
        let mut gate = Server::start(dir.path(), &[]);
        write(dir.path(), "agent.key", "cg_x");
        // A true answer of the true gate, for the very action that is asked for later.
        let body = json!({"agent": {"id": "a"}, "session": {"id": "s1"}, "nonce": "n1", "ts_ms": now_ms(),
            "tool": {"server": "files", "name": "write_file"},
            "args": {"path": dir.path().join("work/replayed.txt"), "content": "x"},
            "labels": {"mcp.server": "files", "mcp.method": "tools/call"},
            "pep": {"id": "mcp", "enforces": ["max_runtime_ms", "max_retries", "max_bytes"]}});
        let recorded = over_socket(&dir.path().join("data/gate.sock"), &body.to_string());
        assert_eq!(serde_json::from_str::<Value>(&recorded).unwrap()["decision"], "ALLOW_WITH_CONSTRAINTS");
        gate.stop();
        // The same with another nonce written over the unsigned part.
        let forged = json!({"decision": "ALLOW", "reasons": [], "constraints": {}, "expires_at_ms": i64::MAX,
            "snapshot": "v1", "snapshot_digest": "sha256:0", "receipt_index": 1});
        (recorded, forged.to_string())
    };
    let cut = ok(&recorded)[..400].to_vec();
    let answers: Vec<(&str, Says)> = vec![
        ("a recorded answer", {
            let it = recorded.clone();
            Box::new(move || Some(ok(&it)))
        }),
        ("an unsigned answer", {
            let it = forged;
            Box::new(move || Some(ok(&it)))
        }),
        ("an answer cut off", Box::new(move || Some(cut.clone()))),
        ("garbage", Box::new(|| Some(vec![0xff; 3000]))),
        ("nothing", Box::new(|| Some(Vec::new()))),
        ("an error", Box::new(|| Some(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec()))),
        (
            "a redirect",
            Box::new(|| {
                Some(b"HTTP/1.1 302 No\r\nlocation: /api/v1/decide\r\ncontent-length: 0\r\n\r\n".to_vec())
            }),
        ),
        ("silence", Box::new(|| None)),
    ];
    for (what, answer) in answers {
        let impostor = Impostor::new(move |_, _| answer());
        let more = ["--session", "s1", "--key-file", key_file.to_str().unwrap()];
        let mut point = Point::start(dir.path(), "a", &impostor.address, &more);
        let refused = point.write("replayed.txt");
        assert_eq!(refused["isError"], true, "{what}: {refused}");
        assert_eq!(refused["_meta"]["callgate/code"], "GATE_UNAVAILABLE", "{what}: {refused}");
        assert!(!point.wrote("replayed.txt"), "{what}");
        assert!(impostor.asked.lock().unwrap().iter().any(|path| path == "/api/v1/decide"), "{what}");
        point.leave();
    }
}

pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Posts a request to the socket of a gate; the body of the answer.
fn over_socket(socket: &Path, body: &str) -> String {
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let head = format!(
        "POST /api/v1/decide HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

const OPEN: &str = "version: v1
tiers: {low: [helper], high: [payer]}
fail_open: {tiers: [low], max_actions: 2, window: 10m, deadline: 1s}
";

fn journal(point: &str) -> [&str; 2] {
    ["--journal", point]
}

/// Every statement of the log.
fn statements(dir: &Path) -> Vec<Value> {
    let key = public_key(&dir.join("data")).display().to_string();
    let said =
        succeed(dir, &["log", "tail", "--data", "data", "--key", &key, "-n", "1000", "--format", "json"]);
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_low_agent_goes_on_within_its_lease_and_all_of_it_is_receipted() {
    let dir = place(OPEN);
    let mut gate = Server::start(dir.path(), &[]);
    let mut low = Point::start(dir.path(), "helper", SOCKET, &journal("low"));
    let mut high = Point::start(dir.path(), "payer", SOCKET, &journal("high"));
    let mut nobody = Point::start(dir.path(), "stranger", SOCKET, &journal("nobody"));
    assert!(low.write("before.txt")["_meta"]["callgate/receipt_index"].is_u64());
    gate.kill();
    for (n, name) in ["one.txt", "two.txt"].into_iter().enumerate() {
        let ran = low.write(name);
        assert_eq!(ran["_meta"]["callgate/decision"], "UNCHECKED", "{ran}");
        assert!(low.wrote(name), "{n}");
    }
    // The lease says two.
    let third = low.write("three.txt");
    assert_eq!(third["_meta"]["callgate/code"], "GATE_UNAVAILABLE", "{third}");
    assert!(!low.wrote("three.txt"));
    for (point, name) in [(&mut high, "high.txt"), (&mut nobody, "nobody.txt")] {
        let refused = point.write(name);
        assert_eq!(refused["_meta"]["callgate/code"], "GATE_UNAVAILABLE", "{refused}");
        assert!(!point.wrote(name));
    }
    // The wrapper ends as a power cut would end it, too: its journal does not forget what it counted.
    low.child.kill().unwrap();
    low.child.wait().unwrap();
    let mut low = Point::start(dir.path(), "helper", SOCKET, &journal("low"));
    assert_eq!(low.write("four.txt")["_meta"]["callgate/code"], "GATE_UNAVAILABLE");
    assert!(!low.wrote("four.txt"));
    let mut gate = Server::start(dir.path(), &[]);
    let mut handed_in = false;
    for n in 0..100 {
        let ran = low.write(&format!("after-{n}.txt"));
        assert!(ran["_meta"]["callgate/receipt_index"].is_u64(), "{ran}");
        handed_in = std::fs::read_dir(dir.path().join("low"))
            .unwrap()
            .all(|entry| !entry.unwrap().file_name().to_string_lossy().ends_with(".jsonl"));
        if handed_in {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert!(handed_in);
    let (code, said) = low.leave();
    assert!(code == 0 && said.contains("2 action(s), 0 beyond the lease"), "{said}");
    high.leave();
    nobody.leave();
    assert_eq!(gate.stop().0, 0);
    let report = verified(dir.path());
    assert_eq!(report["decisions"]["UNCHECKED"], 2, "{report}");
    let all = serde_json::to_string(&statements(dir.path())).unwrap();
    assert!(all.contains("unchecked.window") && all.contains("point.leased"), "{all}");
    let key = public_key(&dir.path().join("data")).display().to_string();
    let replayed = succeed(dir.path(), &["log", "replay", "--data", "data", "--key", &key]);
    assert!(!replayed.contains("differs"), "{replayed}");
}
