//! The programs that stand on the far side of an enforcement point, or embed one: started by the suite itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callgate_gate::clock::SystemClock;
use callgate_gate::{Gate, GateOptions};
use callgate_store::{OsRandom, RealFs};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, stdin, stdout};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::call::{BURST, Call, LAST, PAY, Phase, SAVE, SIGN, SPEND, TRIP, WIPE};
use crate::files;
use crate::ledger::Ledger;
use crate::points::{Answer, Embedded};
use crate::trouble::Trouble;

/// How long the embedding program waits for its own gate.
const PATIENCE: Duration = Duration::from_secs(5);

/// The protected thing as an MCP server on standard input and output: each call is a line in the ledger, and nothing
/// else. It knows nothing of a gate.
///
/// # Errors
/// [`Trouble`] when the ledger or a stream fails.
pub async fn protected_server(ledger: &Path) -> Result<(), Trouble> {
    let ledger = Ledger::open(ledger)?;
    let act = move |tool: &str, args: &Value| {
        let done = ledger.act(tool, args);
        let text = done.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned());
        json!({"content": [{"type": "text", "text": text}], "isError": done.is_err()})
    };
    let mut lines = BufReader::new(stdin()).lines();
    let mut out = stdout();
    while let Some(line) = lines.next_line().await.map_err(Trouble::at("standard input"))? {
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        if let Some(answer) = answer(&message, &act) {
            out.write_all(format!("{answer}\n").as_bytes()).await.map_err(Trouble::at("standard output"))?;
            out.flush().await.map_err(Trouble::at("standard output"))?;
        }
    }
    Ok(())
}

/// What both programs answer to all but a call.
fn answer(message: &Value, act: &impl Fn(&str, &Value) -> Value) -> Option<Value> {
    let (id, method) = (message.get("id")?, message.get("method")?.as_str()?);
    let result = match method {
        "initialize" => json!({
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
            "serverInfo": {"name": "vault", "version": env!("CARGO_PKG_VERSION")},
        }),
        "tools/list" => {
            let tools = [PAY, WIPE, SIGN, LAST, SPEND, SAVE, BURST, TRIP]
                .map(|name| json!({"name": name, "inputSchema": {"type": "object"}}));
            json!({ "tools": tools })
        }
        "tools/call" => {
            let none = json!({});
            let tool = message.pointer("/params/name").and_then(Value::as_str).unwrap_or_default();
            act(tool, message.pointer("/params/arguments").unwrap_or(&none))
        }
        _ => json!({}),
    };
    Some(json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

/// A program that embeds the gate and the protected thing in one process, and is told over standard input what to try.
/// It speaks as an MCP server does, so that it is asked like one.
///
/// # Errors
/// [`Trouble`] when the gate does not open, or a stream fails.
pub async fn embedding_program(data: &Path, bundle: &Path, ledger: &Path) -> Result<(), Trouble> {
    let bundle = files::read_bundle(bundle)?;
    let fs = RealFs::new(data).map_err(Trouble::at("the data folder"))?;
    let (clock, random) = (Arc::new(SystemClock), Arc::new(OsRandom));
    let opened = Gate::open(Arc::new(fs), clock, random, Some(&bundle), GateOptions::default()).await;
    let gate = opened.map_err(Trouble::at("the gate does not open"))?.gate;
    let point = Arc::new(Embedded::new(Arc::clone(&gate), Ledger::open(ledger)?, PATIENCE));
    let (answers, mut said) = unbounded_channel::<Value>();
    let writing = tokio::spawn(async move {
        let mut out = stdout();
        while let Some(answer) = said.recv().await {
            let written = out.write_all(format!("{answer}\n").as_bytes()).await;
            if written.is_err() || out.flush().await.is_err() {
                break;
            }
        }
    });
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await.map_err(Trouble::at("standard input"))? {
        if let Ok(message) = serde_json::from_str::<Value>(&line) {
            told(&point, message, answers.clone());
        }
    }
    drop((point, answers));
    // What is under way ends with its answers.
    let _ended = writing.await;
    gate.close();
    Ok(())
}

/// Tries what it was told, beside everything else it was told.
fn told(point: &Arc<Embedded>, message: Value, answers: UnboundedSender<Value>) {
    if message.get("method").and_then(Value::as_str) != Some("tools/call") {
        if let Some(answer) = answer(&message, &|_, _| json!({})) {
            let _nobody_listens = answers.send(answer);
        }
        return;
    }
    let point = Arc::clone(point);
    tokio::spawn(async move {
        let tool = message.pointer("/params/name").and_then(Value::as_str).unwrap_or_default();
        let args = message.pointer("/params/arguments").cloned().unwrap_or_default();
        let n = args.get("n").and_then(Value::as_str).and_then(|n| n.parse().ok()).unwrap_or(0);
        let call = Call { args, ..Call::new(n, tool, Phase::Control) };
        let result = match point.call(&call).await {
            Answer::Ran | Answer::RanUnchecked => json!({"content": [], "isError": false}),
            Answer::Refused(code) => {
                json!({"content": [], "isError": true, "_meta": {"callgate/code": code}})
            }
            Answer::Silent(why) => {
                json!({"content": [], "isError": true, "_meta": {"callgate/outcome": why}})
            }
        };
        let id = message.get("id").cloned().unwrap_or_default();
        let _nobody_listens = answers.send(json!({"jsonrpc": "2.0", "id": id, "result": result}));
    });
}
