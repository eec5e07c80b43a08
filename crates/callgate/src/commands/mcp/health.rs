//! How an enforcement point is, over HTTP on this machine: `/healthz`, `/readyz` and `/metrics`, and nothing else.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callgate_gate::{Away, PointHealth};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::failure::Failure;

/// The longest head of a request.
const MAX_HEAD: usize = 8 * 1024;
/// How long one caller may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many callers are answered at a time.
const CALLERS: usize = 16;

/// Listens at `address`, which is on this machine.
pub(super) async fn listen(address: &str) -> Result<TcpListener, Failure> {
    let wrong = |problem: &dyn std::fmt::Display| Failure::usage(format!("`--health {address}`: {problem}"));
    let parsed: SocketAddr = address.parse().map_err(|_| wrong(&"write it like `127.0.0.1:8091`"))?;
    if !parsed.ip().is_loopback() {
        return Err(wrong(&"it is not on this machine; write `127.0.0.1:PORT`"));
    }
    TcpListener::bind(parsed).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            wrong(&"another program listens there; give each enforcement point a port of its own")
        }
        _ => wrong(&error),
    })
}

/// Answers for as long as it is polled. A caller that goes away or takes too long has no answer, and keeps nobody
/// else from one.
pub(super) async fn serve(listener: TcpListener, gate: Arc<Away>) {
    let mut answering = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let gate = Arc::clone(&gate);
                answering.spawn(async move { tokio::time::timeout(PATIENCE, answer(stream, &gate)).await });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        while answering.try_join_next().is_some() {}
        if answering.len() >= CALLERS {
            answering.join_next().await;
        }
    }
}

async fn answer(mut stream: TcpStream, gate: &Away) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, kind, body) = page(method, path, &gate.health());
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// Nothing can run.
const CLOSED: &str = "closed";
const JSON: &str = "application/json";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

fn page(method: &str, path: &str, health: &PointHealth) -> (&'static str, &'static str, String) {
    let told = || serde_json::to_string(health).unwrap_or_else(|_| "{}".to_owned());
    match (method, path) {
        ("GET", "/healthz") => ("200 OK", JSON, r#"{"status":"alive"}"#.to_owned()),
        ("GET", "/readyz") if health.status == CLOSED => ("503 Service Unavailable", JSON, told()),
        ("GET", "/readyz") => ("200 OK", JSON, told()),
        ("GET", "/metrics") => ("200 OK", METRICS, metrics(health)),
        _ => ("404 Not Found", JSON, r#"{"status":"there are /healthz, /readyz and /metrics"}"#.to_owned()),
    }
}

/// The text format of Prometheus. Numbers alone: nothing that an agent or a gate says can get into it.
fn metrics(health: &PointHealth) -> String {
    let seconds = |ms: i64| format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000));
    let rows = [
        (
            "ready",
            "gauge",
            "Whether calls can run: the gate is there, or a lease holds.",
            u8::from(health.status != CLOSED).to_string(),
        ),
        (
            "gate_reachable",
            "gauge",
            "Whether the gate answered last time.",
            u8::from(health.gate_reachable).to_string(),
        ),
        ("gate_since_timestamp_seconds", "gauge", "Since when that is so.", seconds(health.since_ms)),
        (
            "lease_until_timestamp_seconds",
            "gauge",
            "Until when actions may run unchecked; NaN while none may.",
            health.lease_until_ms.map_or_else(|| "NaN".to_owned(), seconds),
        ),
        (
            "unchecked_actions_total",
            "counter",
            "Actions that ran unchecked since the program began.",
            health.unchecked.to_string(),
        ),
        (
            "backlog_actions",
            "gauge",
            "Actions in the journal that the gate does not have yet.",
            health.backlog.to_string(),
        ),
    ];
    let row = |(name, kind, help, value): (&str, &str, &str, String)| {
        format!(
            "# HELP callgate_point_{name} {help}\n# TYPE callgate_point_{name} {kind}\ncallgate_point_{name} {value}\n"
        )
    };
    rows.map(row).concat()
}
