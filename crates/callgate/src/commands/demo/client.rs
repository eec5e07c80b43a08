//! The agent's side: an MCP client that starts `callgate mcp` and speaks to it over pipes.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::unexpected;
use crate::failure::Failure;
use crate::files;

/// How long an answer may take; a node that starts cold is slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `callgate mcp` and the pipes to it.
pub(super) struct Client {
    child: Child,
    to: Option<ChildStdin>,
    from: Receiver<Value>,
    said: PathBuf,
    next: u64,
}

impl Client {
    /// Starts this program again with `args`; what it says to people goes to the file `said`.
    pub(super) fn start(args: &[OsString], said: PathBuf) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(unexpected)?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(files::create(&said)?);
        let mut child = command.spawn().map_err(unexpected)?;
        let to = child.stdin.take();
        let out = child.stdout.take().ok_or_else(|| unexpected("no pipe"))?;
        let (sender, from) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            // Ends with the pipe, or when nobody listens any more.
            let _ = lines
                .filter_map(|line| serde_json::from_str(&line).ok())
                .try_for_each(|value| sender.send(value));
        });
        let mut client = Self { child, to, from, said, next: 1 };
        client.greet()?;
        Ok(client)
    }

    fn greet(&mut self) -> Result<(), Failure> {
        let info = json!({"name": "callgate-demo", "version": env!("CARGO_PKG_VERSION")});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info});
        self.request("initialize", &params)?;
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
    }

    fn send(&mut self, message: &Value) -> Result<(), Failure> {
        let sent = self.to.as_mut().map(|to| writeln!(to, "{message}").and_then(|()| to.flush()));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(self.broken("the wrapper does not listen")),
        }
    }

    /// Sends a request and waits for its result.
    pub(super) fn request(&mut self, method: &str, params: &Value) -> Result<Value, Failure> {
        let id = self.next;
        self.next = id.saturating_add(1);
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        loop {
            let mut message = match self.from.recv_timeout(PATIENCE) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => return Err(self.broken("no answer came")),
                Err(RecvTimeoutError::Disconnected) => return Err(self.broken("the wrapper ended")),
            };
            if message.get("id") != Some(&json!(id)) {
                continue;
            }
            let result = message.get_mut("result").map(Value::take);
            return result.ok_or_else(|| unexpected(format!("`{method}` was answered with {message}")));
        }
    }

    fn broken(&self, what: &str) -> Failure {
        let said = files::read(&self.said).unwrap_or_default();
        unexpected(format!("{what}; it said:\n{}", String::from_utf8_lossy(&said)))
    }

    /// Leaves, and waits until the wrapper has ended properly.
    pub(super) fn leave(mut self) -> Result<(), Failure> {
        drop(self.to.take());
        let status = self.child.wait().map_err(unexpected)?;
        if status.success() { Ok(()) } else { Err(self.broken(&format!("the wrapper ended with {status}"))) }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
