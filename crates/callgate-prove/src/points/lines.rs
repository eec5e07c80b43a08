//! The agent's side of a point that speaks MCP over two streams: many calls at once, each answer to its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Answer;
use crate::audit::text;
use crate::call::Call;

type Out = Box<dyn AsyncWrite + Send + Unpin>;
type Waiting = Arc<Mutex<Option<BTreeMap<u64, oneshot::Sender<Value>>>>>;

/// A client of an MCP server.
pub(crate) struct LinePoint {
    out: tokio::sync::Mutex<Option<Out>>,
    waiting: Waiting,
    next: AtomicU64,
    patience: Duration,
    reading: JoinHandle<()>,
}

impl std::fmt::Debug for LinePoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinePoint").field("next", &self.next).finish_non_exhaustive()
    }
}

impl LinePoint {
    /// Listens on one stream and speaks on another.
    pub(crate) fn new(
        from: impl AsyncRead + Send + Unpin + 'static,
        to: impl AsyncWrite + Send + Unpin + 'static,
        patience: Duration,
    ) -> Self {
        let waiting: Waiting = Arc::new(Mutex::new(Some(BTreeMap::new())));
        let reading = tokio::spawn(read(BufReader::new(from), Arc::clone(&waiting)));
        let out: Out = Box::new(to);
        let out = tokio::sync::Mutex::new(Some(out));
        Self { out, waiting, next: AtomicU64::new(1), patience, reading }
    }

    /// Introduces itself; whether anybody answered.
    pub(crate) async fn greet(&self, patience: Duration) -> bool {
        let info = json!({"name": "callgate-prove", "version": env!("CARGO_PKG_VERSION")});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info});
        let answered = self.request("initialize", &params, patience).await.is_some();
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        answered && self.raw(&format!("{ready}\n")).await
    }

    /// Writes bytes as they are; whether anybody takes them.
    pub(crate) async fn raw(&self, bytes: &str) -> bool {
        let mut out = self.out.lock().await;
        let Some(out) = out.as_mut() else { return false };
        let writing = async { out.write_all(bytes.as_bytes()).await.is_ok() && out.flush().await.is_ok() };
        tokio::time::timeout(self.patience, writing).await.unwrap_or(false)
    }

    /// Leaves.
    pub(crate) async fn leave(&self) {
        if let Some(mut out) = self.out.lock().await.take() {
            let _gone = out.shutdown().await;
        }
    }

    async fn request(&self, method: &str, params: &Value, patience: Duration) -> Option<Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().as_mut()?.insert(id, sender);
        let line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        if !self.raw(&format!("{line}\n")).await {
            return None;
        }
        tokio::time::timeout(patience, receiver).await.ok()?.ok()
    }

    pub(crate) async fn call(&self, call: &Call) -> Answer {
        let params = json!({"name": call.tool, "arguments": call.args});
        match self.request("tools/call", &params, self.patience).await {
            None => Answer::Silent("no answer".to_owned()),
            Some(message) => understood(&message),
        }
    }
}

impl Drop for LinePoint {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read(from: BufReader<impl AsyncRead + Unpin>, waiting: Waiting) {
    let mut lines = from.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        let id = message.get("id").and_then(Value::as_u64);
        let sender = id.and_then(|id| waiting.lock().as_mut()?.remove(&id));
        if let Some(sender) = sender {
            let _gave_up = sender.send(message);
        }
    }
    // Nobody is answered any more.
    waiting.lock().take();
}

fn understood(message: &Value) -> Answer {
    if let Some(error) = message.get("error") {
        return Answer::Refused(format!("error {}", error.get("code").unwrap_or(&Value::Null)));
    }
    if message.pointer("/result/isError").and_then(Value::as_bool) != Some(true) {
        let decision = text(message, "/result/_meta/callgate~1decision");
        return if decision == Some("UNCHECKED") { Answer::RanUnchecked } else { Answer::Ran };
    }
    let outcome = text(message, "/result/_meta/callgate~1outcome");
    let code = text(message, "/result/_meta/callgate~1code");
    match (outcome, code) {
        (Some("not_run"), _) => Answer::Refused("not run".to_owned()),
        (Some(outcome), _) => Answer::Silent(outcome.to_owned()),
        (None, Some(code)) => Answer::Refused(code.to_owned()),
        (None, None) => Answer::Silent("failed".to_owned()),
    }
}
