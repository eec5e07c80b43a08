//! How an enforcement point is, over HTTP on this machine: `/healthz`, `/readyz` and `/metrics`, and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callgate_gate::{Away, PointHealth};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::failure::Failure;

/// The longest head of a request.
const MAX_HEAD: usize = 8 * 1024;
/// How long one caller may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens at `address`, which is on this machine.
pub(super) async fn listen(address: &str) -> Result<TcpListener, Failure> {
    let wrong = |problem: &dyn std::fmt::Display| Failure::usage(format!("`--health {address}`: {problem}"));
    let parsed: SocketAddr = address.parse().map_err(|_| wrong(&"write it like `127.0.0.1:8091`"))?;
    if !parsed.ip().is_loopback() {
        return Err(wrong(&"it is not on this machine; write `127.0.0.1:PORT`"));
    }
    TcpListener::bind(parsed).await.map_err(|e| wrong(&e))
}

/// Answers for as long as it is polled, one caller after the other.
pub(super) async fn serve(listener: TcpListener, gate: Arc<Away>) {
    loop {
        match listener.accept().await {
            // A caller that goes away or takes too long has no answer.
            Ok((stream, _)) => drop(tokio::time::timeout(PATIENCE, answer(stream, &gate)).await),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
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

const JSON: &str = "application/json";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

fn page(method: &str, path: &str, health: &PointHealth) -> (&'static str, &'static str, String) {
    let told = || serde_json::to_string(health).unwrap_or_else(|_| "{}".to_owned());
    match (method, path) {
        ("GET", "/healthz") => ("200 OK", JSON, r#"{"status":"alive"}"#.to_owned()),
        ("GET", "/readyz") if health.status == "closed" => ("503 Service Unavailable", JSON, told()),
        ("GET", "/readyz") => ("200 OK", JSON, told()),
        ("GET", "/metrics") => ("200 OK", METRICS, metrics(health)),
        _ => ("404 Not Found", JSON, r#"{"status":"there are /healthz, /readyz and /metrics"}"#.to_owned()),
    }
}

fn metrics(health: &PointHealth) -> String {
    let rows = [
        ("gate_reachable", "gauge", i64::from(health.gate_reachable)),
        ("gate_since_timestamp_ms", "gauge", health.since_ms),
        ("lease_until_timestamp_ms", "gauge", health.lease_until_ms.unwrap_or(0)),
        ("unchecked_total", "counter", i64::try_from(health.unchecked).unwrap_or(i64::MAX)),
        ("journal_backlog", "gauge", i64::try_from(health.backlog).unwrap_or(i64::MAX)),
    ];
    let row = |(name, kind, value): (&str, &str, i64)| {
        format!("# TYPE callgate_point_{name} {kind}\ncallgate_point_{name} {value}\n")
    };
    rows.map(row).concat()
}
