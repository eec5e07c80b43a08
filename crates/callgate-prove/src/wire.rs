//! A proxy between a point and its gate that breaks what passes through it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::trouble::Trouble;

/// What becomes of one exchange.
#[derive(Debug, Clone)]
pub(crate) enum Wire {
    /// It passes.
    Passes,
    /// The request passes, the gate decides, and the answer is kept here instead of handed on.
    CutAfterDecision,
    /// The answer comes so much later.
    Delays(Duration),
    /// The connection is closed at once; the gate hears nothing.
    CutBefore,
    /// The gate hears nothing and nobody ever answers.
    Hangs,
    /// These bytes come instead of an answer; the gate hears nothing.
    Says(Vec<u8>),
    /// The gate is asked, and the byte at this share (of 10,000) of its answer is changed on the way.
    Flips(u64),
    /// The gate is asked, and its answer ends at this share (of 10,000).
    Truncates(u64),
    /// The gate is asked about this amount instead of the one in the request.
    Swaps(&'static str, &'static str),
}

/// Decisions that came back.
#[derive(Debug, Default)]
struct Recorded {
    last: Vec<u8>,
    allow: Vec<u8>,
}

impl Recorded {
    /// Keeps an answer, if the question was about an action.
    fn keep(&mut self, request: &[u8], answer: &[u8]) {
        if request.starts_with(b"POST /api/v1/decide ") {
            self.last = answer.to_vec();
            let permits = br#""decision":"ALLOW"#;
            if answer.windows(permits.len()).any(|part| part == permits) {
                self.allow = answer.to_vec();
            }
        }
    }
}

/// The proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    gate: Arc<Mutex<SocketAddr>>,
    wire: Arc<Mutex<Wire>>,
    recorded: Arc<Mutex<Recorded>>,
    felt: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Stands before a gate.
    pub(crate) async fn before(gate: SocketAddr) -> Result<Self, Trouble> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Trouble::at("the proxy"))?;
        let address = listener.local_addr().map_err(Trouble::at("the proxy"))?;
        let wire = Arc::new(Mutex::new(Wire::Passes));
        let recorded: Arc<Mutex<Recorded>> = Arc::default();
        let felt: Arc<AtomicU64> = Arc::default();
        let (ways, record, count) = (Arc::clone(&wire), Arc::clone(&recorded), Arc::clone(&felt));
        let gate = Arc::new(Mutex::new(gate));
        let behind = Arc::clone(&gate);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let way = ways.lock().clone();
                if !matches!(way, Wire::Passes) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                let (record, gate) = (Arc::clone(&record), *behind.lock());
                tokio::spawn(async move {
                    // A client that has gone is part of the game.
                    let _gone = exchange(client, gate, way, &record).await;
                });
            }
        });
        Ok(Self { address, gate, wire, recorded, felt, accepting })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Another gate is behind it from now on.
    pub(crate) fn lead_to(&self, gate: SocketAddr) {
        *self.gate.lock() = gate;
    }

    pub(crate) fn set(&self, wire: Wire) {
        *self.wire.lock() = wire;
    }

    /// The gate's last decision, as it came.
    pub(crate) fn recorded(&self) -> Vec<u8> {
        self.recorded.lock().last.clone()
    }

    /// Its last allow.
    pub(crate) fn allow(&self) -> Vec<u8> {
        self.recorded.lock().allow.clone()
    }

    /// How many exchanges were broken.
    pub(crate) fn felt(&self) -> u64 {
        self.felt.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn exchange(
    mut client: TcpStream,
    gate: SocketAddr,
    wire: Wire,
    recorded: &Mutex<Recorded>,
) -> std::io::Result<()> {
    if matches!(wire, Wire::CutBefore) {
        return Ok(());
    }
    let mut request = request(&mut client).await?;
    match &wire {
        Wire::Hangs => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            return Ok(());
        }
        Wire::Says(bytes) => {
            client.write_all(bytes).await?;
            return client.shutdown().await;
        }
        Wire::Swaps(from, to) => request = swapped(&request, from, to),
        _ => {}
    }
    let mut upstream = TcpStream::connect(gate).await?;
    upstream.write_all(&closing(&request)).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    recorded.lock().keep(&request, &answer);
    match wire {
        Wire::CutAfterDecision => return Ok(()),
        Wire::Delays(span) => tokio::time::sleep(span).await,
        Wire::Flips(share) => flip(&mut answer, share),
        Wire::Truncates(share) => answer.truncate(at(answer.len(), share)),
        _ => {}
    }
    client.write_all(&answer).await?;
    client.shutdown().await
}

/// The whole request of a client that says how long it is.
async fn request(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(head) = head.map(|at| at.saturating_add(4)) {
            let text = String::from_utf8_lossy(bytes.get(..head).unwrap_or_default()).into_owned();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if bytes.len() >= head.saturating_add(length.unwrap_or(0usize)) {
                return Ok(bytes);
            }
        }
        let read = client.read(&mut part).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(part.get(..read).unwrap_or_default());
    }
}

/// The request of a client that would keep its connection, as one that does not: its answer ends with it.
fn closing(bytes: &[u8]) -> Vec<u8> {
    let line = bytes.windows(2).position(|two| two == b"\r\n");
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0);
    let text = String::from_utf8_lossy(bytes.get(..head).unwrap_or_default()).to_ascii_lowercase();
    match line {
        Some(line) if !text.contains("\r\nconnection:") => {
            let (first, rest) = bytes.split_at(line);
            [first, b"\r\nconnection: close", rest].concat()
        }
        _ => bytes.to_vec(),
    }
}

/// Replaces text in the body of a request, and says how long it is now.
fn swapped(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return bytes.to_vec() };
    let body = body.replace(from, to);
    let length = format!("content-length: {}", body.len());
    let head: Vec<&str> = head
        .lines()
        .map(|line| if line.starts_with("content-length:") { length.as_str() } else { line })
        .collect();
    format!("{}\r\n\r\n{body}", head.join("\r\n")).into_bytes()
}

/// The place at a share (of 10,000) of a length, which is before its end.
fn at(length: usize, share: u64) -> usize {
    let length = u64::try_from(length).unwrap_or(0);
    let at = length.saturating_mul(share.min(9_999)).checked_div(10_000).unwrap_or(0);
    usize::try_from(at).unwrap_or(0)
}

fn flip(bytes: &mut [u8], share: u64) {
    let at = at(bytes.len(), share);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
}
