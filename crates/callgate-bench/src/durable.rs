//! Decide, sign, make durable: over HTTP, in the process, and the bare loop nothing can beat.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use callgate_gate::clock::SystemClock;
use callgate_gate::{Asked, Credential, Gate, GateOptions};
use callgate_log::SigningKey;
use callgate_log::dsse;
use callgate_log::merkle::{Frontier, leaf_hash};
use callgate_policy::Bundle;
use callgate_server::{Listener, ServerOptions};
use callgate_store::{Fs, OsRandom, RealFs};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stats::{Samples, load, nanos};

const SECONDS: f64 = 3.0;
const CLIENTS: [usize; 3] = [1, 64, 256];

/// One row: receipts per second and latency.
struct Row {
    count: usize,
    seconds: f64,
    samples: Samples,
}

impl Row {
    fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    fn print(&mut self, name: &str, clients: usize, bare: Option<f64>) {
        let share =
            bare.map_or_else(String::new, |bare| format!("{:>8.0} %", 100.0 * self.per_second() / bare));
        println!(
            "{clients:>8} {name:<34} {:>10.0}/s {:>16} ms {share}",
            self.per_second(),
            self.samples.p50_p99_ms()
        );
    }
}

/// Sign, append, sync: groups of as many receipts as there are clients, on one thread, each payload as
/// long as a real one. No policy, no HTTP, no state, nobody to wake.
fn bare(folder: &Path, group: usize, payload: &[u8]) -> Row {
    const SEGMENT: usize = 64 << 20;
    let fs = match RealFs::new(folder) {
        Ok(fs) => fs,
        Err(e) => panic!("{e}"),
    };
    let key = SigningKey::from_seed(&[7; 32]);
    let file = match fs.create("bare.seg") {
        Ok(file) => file,
        Err(e) => panic!("{e}"),
    };
    let written = file.write_at(&vec![0; SEGMENT], 0).and_then(|()| file.sync_data());
    assert!(written.is_ok(), "{written:?}");
    let mut frontier = Frontier::new();
    let mut samples = Samples::default();
    let (mut count, mut offset) = (0, 0usize);
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < SECONDS {
        let (_, took) = nanos(|| {
            let mut bytes = Vec::with_capacity(group * (payload.len() + 128));
            for _ in 0..group {
                let signature = dsse::sign(&key, payload);
                frontier.append(leaf_hash(payload));
                bytes.extend_from_slice(payload);
                bytes.extend_from_slice(&signature);
            }
            let root = frontier.root();
            bytes.extend_from_slice(&key.sign(root.as_bytes()));
            if offset + bytes.len() > SEGMENT {
                offset = 0;
            }
            let at = u64::try_from(offset).unwrap_or(0);
            let written = file.write_at(&bytes, at).and_then(|()| file.sync_data());
            assert!(written.is_ok(), "{written:?}");
            offset += bytes.len();
        });
        count += group;
        samples.push(took);
    }
    Row { count, seconds: start.elapsed().as_secs_f64(), samples }
}

fn body(client: usize, call: usize) -> Vec<u8> {
    format!(
        r#"{{"agent":{{"id":"bot-{client}","team":"support"}},"session":{{"id":"session-{client}"}},"tool":{{"server":"files","name":"read_text_file"}},"args":{{"path":"notes/{call}.txt","head":20}},"environment":"prod","nonce":"n-{client}-{call}","ts_ms":{},"pep":{{"id":"bench","enforces":["max_runtime_ms","max_retries"]}}}}"#,
        callgate_gate::clock::Clock::now_ms(&SystemClock)
    )
    .into_bytes()
}

/// Clients that each ask again as soon as they are answered, in this process.
async fn in_process(gate: &Arc<Gate>, clients: usize, round: usize) -> Row {
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let gate = Arc::clone(gate);
            tokio::spawn(async move {
                let mut samples = Samples::default();
                let mut call = round * 1_000_000;
                while start.elapsed().as_secs_f64() < SECONDS {
                    call += 1;
                    let begun = Instant::now();
                    let asked = Asked::Bytes(body(client, call));
                    let decided = gate.decide(asked, Credential::Development).await;
                    assert!(decided.is_ok_and(|d| d.permit.is_some()), "every bench call is allowed");
                    samples.push(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
                }
                samples
            })
        })
        .collect();
    gather(tasks, start).await
}

async fn gather(tasks: Vec<tokio::task::JoinHandle<Samples>>, start: Instant) -> Row {
    let mut all = Samples::default();
    for task in tasks {
        match task.await {
            Ok(samples) => all.extend(&samples),
            Err(e) => panic!("a client failed: {e}"),
        }
    }
    Row { count: all.len(), seconds: start.elapsed().as_secs_f64(), samples: all }
}

/// The same over HTTP/1.1, one kept connection per client; clients share the machine.
async fn over_http(address: std::net::SocketAddr, clients: usize, round: usize) -> Row {
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            tokio::spawn(async move {
                let mut samples = Samples::default();
                let stream = TcpStream::connect(address).await;
                let Ok(mut stream) = stream else { panic!("cannot connect") };
                let _ = stream.set_nodelay(true);
                let mut buffer = Vec::with_capacity(16 << 10);
                let mut call = round * 1_000_000;
                while start.elapsed().as_secs_f64() < SECONDS {
                    call += 1;
                    let begun = Instant::now();
                    let ok = exchange(&mut stream, &mut buffer, &body(client, call)).await;
                    assert!(ok, "every bench call is allowed");
                    samples.push(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
                }
                samples
            })
        })
        .collect();
    gather(tasks, start).await
}

/// One request and its whole reply; `true` when it is an allow.
async fn exchange(stream: &mut TcpStream, buffer: &mut Vec<u8>, body: &[u8]) -> bool {
    let head = format!(
        "POST /api/v1/decide HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut message = head.into_bytes();
    message.extend_from_slice(body);
    if stream.write_all(&message).await.is_err() {
        return false;
    }
    buffer.clear();
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|t| t.lines().next());
            let length: usize = length.and_then(|t| t.trim().parse().ok()).unwrap_or(0);
            if buffer.len() >= end + 4 + length {
                return head.starts_with("http/1.1 200")
                    && buffer[end..].starts_with(b"\r\n\r\n{\"decision\":\"ALLOW");
            }
        }
        match stream.read_buf(buffer).await {
            Ok(read) if read > 0 => {}
            _ => return false,
        }
    }
}

async fn open(folder: &Path) -> Arc<Gate> {
    let rules =
        "version: v1\nrules:\n  - id: read\n    match: {tools: [\"files.read_*\"]}\n    decision: allow\n";
    let files = [("rules/r.yaml".to_owned(), rules.to_owned())].into();
    let bundle = Bundle::new(files, std::collections::BTreeMap::new());
    let fs: Arc<dyn Fs> = match RealFs::new(folder) {
        Ok(fs) => Arc::new(fs),
        Err(e) => panic!("{e}"),
    };
    let opened =
        Gate::open(fs, Arc::new(SystemClock), Arc::new(OsRandom), Some(&bundle), GateOptions::default())
            .await;
    match opened {
        Ok(opened) => opened.gate,
        Err(e) => panic!("{e}"),
    }
}

pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let Ok(runtime) = runtime else { panic!("no runtime") };
    let Ok(folder) = tempfile::tempdir_in(".") else { panic!("no folder") };
    println!(
        "\n## Durable receipts: decide + sign + append + sync (p50/p99 ms), clients on the same machine"
    );
    println!("{:>8} {:<34} {:>12} {:>19} {:>10}", "clients", "path", "receipts", "latency", "of bare");
    for (round, clients) in CLIENTS.into_iter().enumerate() {
        let gate = runtime.block_on(open(&folder.path().join(format!("gate-{clients}"))));
        let payload = runtime.block_on(sample_payload(&gate));
        let mut row = bare(&folder.path().join(format!("bare-{clients}")), clients, &payload);
        let per_second = row.per_second();
        row.print("bare sign + append + sync, 1 thread", clients, None);
        runtime.block_on(in_process(&gate, clients, round + 1)).print(
            "gate, in process",
            clients,
            Some(per_second),
        );
        let hearing = runtime.block_on(async { subscribers(&gate) });
        runtime.block_on(in_process(&gate, clients, round + 21)).print(
            "the same, with 64 subscribers",
            clients,
            Some(per_second),
        );
        hearing.iter().for_each(tokio::task::JoinHandle::abort);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let ways = [("gate, HTTP on loopback", None), ("the same, as `callgate serve` does", Some(cores))];
        for (way, (path, workers)) in ways.into_iter().enumerate() {
            let mut row = runtime.block_on(served(&gate, workers, clients, round + 11 + 20 * way));
            row.print(path, clients, Some(per_second));
        }
        gate.close();
    }
    println!("load average after: {}", load());
}

/// Over HTTP; `workers` threads decide beside those that read and write connections.
async fn served(gate: &Arc<Gate>, workers: Option<usize>, clients: usize, round: usize) -> Row {
    let Ok(listener) = tokio::net::TcpListener::bind("127.0.0.1:0").await else { panic!("no port") };
    let Ok(address) = listener.local_addr() else { panic!("no address") };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let options = ServerOptions { listen: address, dev: true, workers, ..ServerOptions::default() };
    let listeners = vec![Listener::Tcp(listener)];
    let served = tokio::spawn(callgate_server::serve(Arc::clone(gate), listeners, options, async {
        let _ = stopped.await;
    }));
    let row = over_http(address, clients, round).await;
    let _ = stop.send(());
    let _ = served.await;
    row
}

/// Live readers of events, as many as the server takes; what happens here is none for them.
fn subscribers(gate: &Arc<Gate>) -> Vec<tokio::task::JoinHandle<()>> {
    let hear = |_| {
        let mut events = gate.events(None);
        tokio::spawn(async move { while let Ok(Some(_)) = events.next().await {} })
    };
    (0..64).map(hear).collect()
}

/// A receipt of the kind this run writes, so that the bare loop signs and appends as much.
async fn sample_payload(gate: &Gate) -> Vec<u8> {
    let decided = gate.decide(Asked::Bytes(body(999, 0)), Credential::Development).await;
    let index = decided.ok().and_then(|d| d.reply.receipt_index).unwrap_or(0);
    let receipts: Vec<_> = gate.scan().collect();
    let stored = usize::try_from(index).ok().and_then(|at| receipts.into_iter().nth(at));
    match stored {
        Some(Ok(receipt)) => receipt.payload,
        _ => panic!("the sample receipt cannot be read"),
    }
}
