//! The same gate over HTTP: a key, a fresh request, and three that are not what they claim.

use std::sync::Arc;

use callgate_core::request::DEFAULT_TENANT;
use callgate_core::state::Holder;
use callgate_gate::{Gate, GateOptions};
use callgate_server::{Listener, ServerOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{Place, unexpected};
use crate::failure::Failure;
use crate::opening;
use crate::output::{self, Paint};

/// A request and what must come of it.
struct Ask<'a> {
    wish: &'a str,
    key: Option<&'a str>,
    body: Value,
    expected: (&'a str, &'a str),
    shows: &'a str,
}

pub(super) fn play(place: &Place) -> Result<(), Failure> {
    output::line(&Paint::stdout().bold("\nThe same gate over HTTP, with a key for `web-agent`"))?;
    opening::block_on(async {
        let gate = opening::open(&place.data, None, GateOptions::default()).await?.gate;
        let holder = Holder::Agent {
            agent: "web-agent".to_owned(),
            owner: None,
            team: None,
            tenant: DEFAULT_TENANT.to_owned(),
        };
        let (_, secret) = gate.create_key(holder, "operator").await.map_err(unexpected)?;
        let options = ServerOptions { listen: ([127, 0, 0, 1], 0).into(), ..ServerOptions::default() };
        let listener = callgate_server::bind(&options).await.map_err(unexpected)?;
        let Listener::Tcp(tcp) = &listener else { return Err(unexpected("no address")) };
        let address = tcp.local_addr().map_err(unexpected)?.to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let until = async { drop(stopped.await) };
        let serving = tokio::spawn(callgate_server::serve(Arc::clone(&gate), vec![listener], options, until));
        let asked = ask_all(&gate, &address, secret.reveal()).await;
        drop(stop);
        serving.await.map_err(unexpected)?.map_err(unexpected)?;
        gate.close();
        asked
    })
}

async fn ask_all(gate: &Gate, address: &str, key: &str) -> Result<(), Failure> {
    let now = gate.now_ms();
    let request = |agent: &str, nonce: &str, ts_ms: i64| {
        json!({"agent": {"id": agent}, "tool": {"server": "files", "name": "read_text_file"},
            "args": {"path": "notes.txt"}, "session": {"id": "web-1"}, "nonce": nonce, "ts_ms": ts_ms})
    };
    let (fresh, old) =
        (request("web-agent", "n-1", now), request("web-agent", "n-2", now.saturating_sub(600_000)));
    let asks = [
        Ask { wish: "read a file", key: Some(key), body: fresh.clone(), expected: ("ALLOW", ""), shows: "" },
        Ask {
            wish: "send that once more",
            key: Some(key),
            body: fresh.clone(),
            expected: ("DENY", "REPLAY_NONCE"),
            shows: "a recorded request cannot be played again",
        },
        Ask {
            wish: "ask with an old request",
            key: Some(key),
            body: old,
            expected: ("DENY", "STALE_TIMESTAMP"),
            shows: "ten minutes are too many",
        },
        Ask {
            wish: "ask as another agent",
            key: Some(key),
            body: request("root", "n-3", now),
            expected: ("DENY", "INVALID_REQUEST"),
            shows: "who asks is what the key says",
        },
        Ask {
            wish: "ask without a key",
            key: None,
            body: fresh,
            expected: ("401", ""),
            shows: "nobody is asked in",
        },
    ];
    for ask in &asks {
        one(address, ask).await?;
    }
    Ok(())
}

async fn one(address: &str, ask: &Ask<'_>) -> Result<(), Failure> {
    let (status, reply) = post(address, ask.key, &ask.body).await?;
    let text = |name: &str| reply.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let found =
        if status == 200 { (text("decision"), text("code")) } else { (status.to_string(), String::new()) };
    if (found.0.as_str(), found.1.as_str()) != ask.expected {
        return Err(unexpected(format!("`{}` was answered with {status} {reply}", ask.wish)));
    }
    let index = reply.get("receipt_index").map(ToString::to_string).unwrap_or_default();
    let paint = Paint::stdout();
    let word = if status == 200 {
        paint.decision(&format!("{:<22}", found.0))
    } else {
        format!("{:<22}", "not asked: 401")
    };
    output::line(format!("{index:>7}  {:<24} {word} {:<17} {}", ask.wish, found.1, ask.shows).trim_end())
}

/// One request over a connection of its own.
async fn post(address: &str, key: Option<&str>, body: &Value) -> Result<(u16, Value), Failure> {
    let body = body.to_string();
    let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    let head = format!(
        "POST /api/v1/decide HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{key}\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.map_err(unexpected)?;
    stream.write_all(head.as_bytes()).await.map_err(unexpected)?;
    stream.write_all(body.as_bytes()).await.map_err(unexpected)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(unexpected)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let status = status.ok_or_else(|| unexpected("the answer is not HTTP"))?;
    Ok((status, serde_json::from_str(body).map_err(unexpected)?))
}
