//! HTTP: a real server on a real gate, with keys where a case has one.

use std::sync::Arc;

use callgate_gate::clock::{Clock as _, SystemClock};
use callgate_gate::{Gate, GateOptions};
use callgate_server::{Listener, ServerOptions};
use callgate_store::{OsRandom, RealFs};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::case::{Answer, Case};

/// A gate of its own for a case.
pub(crate) async fn gate(case: &Case, dir: &std::path::Path) -> Arc<Gate> {
    let options = GateOptions { segment_bytes: 2 << 20, ..GateOptions::default() };
    let fs = Arc::new(RealFs::new(dir).unwrap());
    let opened = Gate::open(fs, Arc::new(SystemClock), Arc::new(OsRandom), Some(&case.bundle), options).await;
    opened.unwrap_or_else(|e| panic!("{}: {e}", case.name)).gate
}

pub(crate) async fn ask(case: &Case) -> Result<Vec<Answer>, String> {
    let dir = tempfile::tempdir().unwrap();
    let gate = gate(case, dir.path()).await;
    let key = match &case.key {
        Some(key) => {
            let created = gate
                .create_key(
                    callgate_core::state::Holder::Agent {
                        agent: key.agent.clone(),
                        owner: None,
                        team: key.team.clone(),
                        tenant: key.tenant.clone(),
                    },
                    "operator",
                )
                .await;
            Some(created.unwrap().1.reveal().to_owned())
        }
        None => None,
    };
    let options =
        ServerOptions { listen: ([127, 0, 0, 1], 0).into(), dev: key.is_none(), ..ServerOptions::default() };
    let listener = callgate_server::bind(&options).await.unwrap();
    let Listener::Tcp(tcp) = &listener else { panic!("no address") };
    let address = tcp.local_addr().unwrap().to_string();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let until = async { drop(stopped.await) };
    let serving = tokio::spawn(callgate_server::serve(Arc::clone(&gate), vec![listener], options, until));
    let mut answers = Vec::new();
    for asked in &case.asks {
        let (status, reply) = post(&address, key.as_deref(), &asked.bytes(SystemClock.now_ms())).await;
        assert_eq!(status, 200, "{}: {reply}", case.name);
        assert!(reply["receipt_index"].is_u64() && reply["proof"].is_string(), "{}", case.name);
        answers.push(Answer::from_json(&reply));
    }
    drop(stop);
    serving.await.unwrap().unwrap();
    gate.close();
    Ok(answers)
}

async fn post(address: &str, key: Option<&str>, body: &[u8]) -> (u16, Value) {
    post_to("/api/v1/decide", address, key, body).await
}

/// Posts to any path; the status and what was answered.
pub(crate) async fn post_to(path: &str, address: &str, key: Option<&str>, body: &[u8]) -> (u16, Value) {
    let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{key}\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}
