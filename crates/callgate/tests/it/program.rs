//! Running the program: once to its end, or as a server that can be killed.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// What one run came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
    command.env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

pub(crate) fn run(dir: &Path, args: &[&str]) -> Ran {
    let output = command().current_dir(dir).args(args).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs it and expects success; gives standard output.
pub(crate) fn succeed(dir: &Path, args: &[&str]) -> String {
    let ran = run(dir, args);
    assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.out, ran.err);
    ran.out
}

/// A folder with a small bundle in `bundle`.
pub(crate) fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bundle/rules/a.yaml", RULES);
    dir
}

const RULES: &str = "version: v1
rules:
  - {id: read, match: {tools: [s.read]}, decision: allow}
  - {id: write, match: {tools: [s.write]}, decision: allow_with_constraints, constraints: {max_runtime_sec: 5}}
  - {id: slow, match: {tools: [s.slow]}, decision: throttle, throttle: {retry_after: 2s}}
  - id: move
    match: {tools: [s.move]}
    decision: require_approval
    reason: A person must agree
    approval: {reviewers: [\"role:ops\"], quorum: 2, expires: 10m}
  - {id: drop, match: {tools: [s.drop]}, decision: deny, reason: Nothing is dropped}
";

pub(crate) fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A request of agent `bot` for a tool of server `s`.
pub(crate) fn request(tool: &str, session: &str) -> String {
    format!(
        r#"{{"agent":{{"id":"bot"}},"session":{{"id":"{session}"}},"tool":{{"server":"s","name":"{tool}"}},
        "pep":{{"id":"test","enforces":["max_runtime_ms"]}}}}"#
    )
}

/// Decides for good on the command line; gives the reply.
pub(crate) fn decide(dir: &Path, tool: &str, session: &str) -> Value {
    write(dir, "request.json", &request(tool, session));
    let ran = run(
        dir,
        &["decide", "--bundle", "bundle", "--data", "data", "--request", "request.json", "--format", "json"],
    );
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}", ran.err))
}

/// The gate's public key.
pub(crate) fn public_key(data: &Path) -> PathBuf {
    let mut names = std::fs::read_dir(data.join("keys")).unwrap().map(|entry| entry.unwrap().path());
    names.find(|path| path.to_string_lossy().ends_with(".pub.pem")).unwrap()
}

/// A running `callgate serve`.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
    said: Receiver<String>,
}

impl Server {
    /// Starts it on `dir/data` and `dir/bundle` with a free port.
    pub(crate) fn start(dir: &Path, more: &[&str]) -> Self {
        let mut command = command();
        command.args(["serve", "--bundle", "bundle", "--data", "data", "--listen", "127.0.0.1:0"]).args(more);
        Self::spawn(dir, command).unwrap_or_else(|said| panic!("{said}"))
    }

    /// Waits until it serves, or gives what it said before it ended.
    pub(crate) fn spawn(dir: &Path, mut command: Command) -> Result<Self, String> {
        let mut child =
            command.current_dir(dir).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let err = BufReader::new(child.stderr.take().unwrap());
        let (sender, said) = channel();
        thread::spawn(move || err.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let (mut all, mut address) = (String::new(), None);
        while let Ok(line) = said.recv_timeout(Duration::from_secs(30)) {
            writeln!(all, "{line}").unwrap();
            address = address.or(line.split_once("http://").map(|(_, address)| address.to_owned()));
            // The last line of the greeting.
            if line.trim_start().starts_with("bundle") {
                return Ok(Self { child, address: address.unwrap(), said });
            }
        }
        child.wait().unwrap();
        Err(all)
    }

    /// Ends it as a power cut would: at once, whatever it is doing.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop; gives its exit code and what it said.
    pub(crate) fn stop(&mut self) -> (i32, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.wait()
    }

    /// Waits for its end; gives its exit code and what it said.
    pub(crate) fn wait(&mut self) -> (i32, String) {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        (code, self.said.iter().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request over a connection of its own; `None` when the server is gone.
pub(crate) fn http(
    address: &str,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: &str,
) -> Option<(u16, Value)> {
    let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{key}\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    // An answer that was cut off is none.
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    if length != Some(body.len()) {
        return None;
    }
    Some((head.split(' ').nth(1)?.parse().ok()?, serde_json::from_str(body).unwrap_or(Value::Null)))
}

/// Asks for a decision; `None` when the server is gone.
pub(crate) fn ask(address: &str, body: &str) -> Option<(u16, Value)> {
    http(address, "POST", "/api/v1/decide", None, body)
}
