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
    /// The gate is asked about this amount instead of the one in the request.
    Swaps(&'static str, &'static str),
}

/// The proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    wire: Arc<Mutex<Wire>>,
    recorded: Arc<Mutex<Vec<u8>>>,
    felt: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Stands before a gate.
    pub(crate) async fn before(gate: SocketAddr) -> Result<Self, Trouble> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Trouble::at("the proxy"))?;
        let address = listener.local_addr().map_err(Trouble::at("the proxy"))?;
        let wire = Arc::new(Mutex::new(Wire::Passes));
        let recorded: Arc<Mutex<Vec<u8>>> = Arc::default();
        let felt: Arc<AtomicU64> = Arc::default();
        let (ways, record, count) = (Arc::clone(&wire), Arc::clone(&recorded), Arc::clone(&felt));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let way = ways.lock().clone();
                if !matches!(way, Wire::Passes) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                let record = Arc::clone(&record);
                tokio::spawn(async move {
                    // A client that has gone is part of the game.
                    let _gone = exchange(client, gate, way, &record).await;
                });
            }
        });
        Ok(Self { address, wire, recorded, felt, accepting })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, wire: Wire) {
        *self.wire.lock() = wire;
    }

    /// The gate's last answer, as it came.
    pub(crate) fn recorded(&self) -> Vec<u8> {
        self.recorded.lock().clone()
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
    recorded: &Mutex<Vec<u8>>,
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
    recorded.lock().clone_from(&answer);
    match wire {
        Wire::CutAfterDecision => return Ok(()),
        Wire::Delays(span) => tokio::time::sleep(span).await,
        Wire::Flips(share) => flip(&mut answer, share),
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

fn flip(bytes: &mut [u8], share: u64) {
    let length = u64::try_from(bytes.len()).unwrap_or(0);
    let at = length.saturating_mul(share).checked_div(10_000).unwrap_or(0);
    if let Some(byte) = usize::try_from(at).ok().and_then(|at| bytes.get_mut(at)) {
        *byte ^= 1;
    }
}
