//! The MCP wrapper between a scripted client and a scripted server. What it cannot say is skipped, with the reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use callgate_core::name::Name;
use callgate_core::request::Agent;
use callgate_gate::{Credential, Gate};
use callgate_mcp::WrapOptions;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex, split};

use crate::case::{Answer, Case};
use crate::http;

type Request = Map<String, Value>;

pub(crate) async fn ask(case: &Case) -> Result<Vec<Answer>, String> {
    let requests =
        case.asks.iter().map(|asked| asked.request().ok_or("no request")).collect::<Result<Vec<_>, _>>()?;
    expressible(case, &requests)?;
    let dir = tempfile::tempdir().unwrap();
    let gate = http::gate(case, dir.path()).await;
    let ran = Arc::new(AtomicUsize::new(0));
    let ((client, client_in), (server, server_in)) = (duplex(1 << 20), duplex(1 << 20));
    tokio::spawn(serve(server, Arc::clone(&ran)));
    let (client_ends, server_ends) = (split(client_in), split(server_in));
    let options = options(requests[0]);
    let relaying = tokio::spawn(callgate_mcp::relay(
        Arc::clone(&gate),
        options,
        client_ends,
        server_ends,
        Arc::new(|_: &str| ()),
    ));
    let mut client = Client { lines: BufReader::new(client), next: 0 };
    let mut answers = Vec::new();
    for (asked, request) in case.asks.iter().zip(&requests) {
        let before = ran.load(Ordering::SeqCst);
        let result = client.call(request).await;
        let answer = answer(&gate, &result);
        let permitted = answer.decision.starts_with("ALLOW");
        assert_eq!(ran.load(Ordering::SeqCst) - before, usize::from(permitted), "{}: {result}", case.name);
        assert_eq!(result["isError"] == true, !permitted, "{}: {result}", case.name);
        let _ = asked;
        answers.push(answer);
    }
    drop(client);
    relaying.await.unwrap().unwrap();
    gate.close();
    Ok(answers)
}

/// Fields the wrapper fills in itself, or has no place for.
const OTHERS: [&str; 7] = ["topic", "risk_tags", "labels", "cost", "confidence", "nonce", "ts_ms"];
/// What the wrapper declares.
const ENFORCES: [&str; 3] = ["max_runtime_ms", "max_retries", "max_bytes"];

fn expressible(case: &Case, requests: &[&Request]) -> Result<(), String> {
    if case.key.is_some() {
        return Err("the wrapper shows no key".to_owned());
    }
    for request in requests {
        if request.get("tool").is_none_or(|tool| tool["server"].is_null()) {
            return Err("it calls no tool of a server".to_owned());
        }
        if let Some(field) = OTHERS.iter().find(|field| request.contains_key(**field)) {
            return Err(format!("`{field}` is not the client's to say"));
        }
        if request.get("pep").is_some_and(|pep| pep["enforces"] != json!(ENFORCES)) {
            return Err("the wrapper declares itself what it enforces".to_owned());
        }
        if who(request) != who(requests[0]) {
            return Err("one wrapper is one agent in one session".to_owned());
        }
    }
    // What is not enforced elsewhere is enforced here.
    if case.asks.iter().any(|asked| asked.expect.code.as_deref() == Some("CONSTRAINT_UNENFORCEABLE")) {
        return Err("the wrapper declares what it enforces".to_owned());
    }
    Ok(())
}

/// What the operator says, not the client.
fn who(request: &Request) -> Value {
    let get = |field: &str| request.get(field).cloned().unwrap_or_default();
    json!([get("agent"), get("tenant"), get("environment"), get("session")["id"], get("tool")["server"]])
}

fn options(request: &Request) -> WrapOptions {
    let name = |value: &Value| value.as_str().map(|text| Name::new(text).unwrap());
    let get = |field: &str| request.get(field).cloned().unwrap_or_default();
    let agent = get("agent");
    let chain = agent["chain"].as_array().cloned().unwrap_or_default();
    let agent = Agent {
        id: name(&agent["id"]).unwrap(),
        team: name(&agent["team"]),
        chain: chain.iter().filter_map(name).collect(),
        on_behalf_of: name(&agent["on_behalf_of"]),
    };
    let tenant = name(&get("tenant")).unwrap_or_else(|| Name::new("default").unwrap());
    let server = name(&get("tool")["server"]).unwrap();
    let mut options = WrapOptions::new(server, agent, tenant, "unused".into(), Vec::new());
    options.bounds.hold = std::time::Duration::ZERO;
    options.session = name(&get("session")["id"]);
    options.environment = name(&get("environment"));
    options
}

/// A server that does whatever it is told, and counts.
async fn serve(stream: DuplexStream, ran: Arc<AtomicUsize>) {
    let (from, mut to) = split(stream);
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let message: Value = serde_json::from_str(&line).unwrap();
        if message["method"] == "tools/call" {
            ran.fetch_add(1, Ordering::SeqCst);
            let result = json!({"content": [{"type": "text", "text": "done"}]});
            let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
            to.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
        }
    }
}

struct Client {
    lines: BufReader<DuplexStream>,
    next: u64,
}

impl Client {
    async fn call(&mut self, request: &Request) -> Value {
        self.next += 1;
        let mut meta = Map::new();
        let session = request.get("session").cloned().unwrap_or_default();
        for claim in ["step", "function", "action_type"] {
            if session[claim].is_string() {
                meta.insert(format!("callgate/{claim}"), session[claim].clone());
            }
        }
        let mut params = json!({"name": request["tool"]["name"], "_meta": meta});
        if let Some(args) = request.get("args") {
            params["arguments"] = args.clone();
        }
        let message = json!({"jsonrpc": "2.0", "id": self.next, "method": "tools/call", "params": params});
        self.lines.get_mut().write_all(format!("{message}\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        self.lines.read_line(&mut line).await.unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(answer["id"], self.next);
        answer["result"].clone()
    }
}

/// What the gate decided, from the receipt the answer names.
fn answer(gate: &Gate, result: &Value) -> Answer {
    let index =
        result["_meta"]["callgate/receipt_index"].as_u64().unwrap_or_else(|| panic!("no receipt: {result}"));
    let receipt = gate.receipt(index, &Credential::Local).unwrap();
    Answer::from_json(&receipt.statement["predicate"])
}
