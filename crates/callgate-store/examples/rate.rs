//! How many receipts a second become durable, beside a bare loop that signs, appends and syncs on the same disk.
//!
//! `cargo run --release -p callgate-store --example rate -- FOLDER`
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![expect(clippy::print_stdout, clippy::arithmetic_side_effects, reason = "a measurement prints its numbers")]

use std::error::Error;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use callgate_log::SigningKey;
use callgate_store::{CheckpointSigner, Entry, Fold, FoldError, Options, RealFs, SegmentStore};

const RECEIPT: usize = 600;
const RUN: Duration = Duration::from_secs(2);

struct Count(u64);

impl Fold for Count {
    type Delta = ();
    type Conflict = ();

    fn decode(_: &[u8]) -> Result<(), FoldError> {
        Ok(())
    }

    fn check(&self, (): &()) -> Result<(), ()> {
        Ok(())
    }

    fn apply(&mut self, _: u64, _: &[u8; 32], (): &()) {
        self.0 += 1;
    }
}

struct Signer(SigningKey);

impl CheckpointSigner for Signer {
    fn sign(&self, size: u64, root: &[u8; 32]) -> Vec<u8> {
        let mut note = [size.to_be_bytes().as_slice(), root].concat();
        let signature = self.0.sign(&note);
        note.extend_from_slice(&signature);
        note
    }

    fn verify(&self, note: &[u8]) -> Option<(u64, [u8; 32])> {
        let (size, rest) = note.split_first_chunk::<8>()?;
        let (root, _) = rest.split_first_chunk::<32>()?;
        Some((u64::from_be_bytes(*size), *root))
    }
}

fn signed(key: &SigningKey, n: u64) -> Entry<()> {
    let mut payload = vec![b'x'; RECEIPT];
    payload.iter_mut().zip(n.to_be_bytes()).for_each(|(byte, digit)| *byte = digit);
    let signature = key.sign(&payload);
    Entry { payload, signature, delta_bytes: vec![0; 40], delta: (), attachment: vec![0; 300] }
}

/// Signs `group` receipts, appends them to a zeroed file and syncs, over and over.
fn bare(folder: &std::path::Path, key: &SigningKey, group: u64) -> Result<f64, Box<dyn Error>> {
    let file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(folder.join("bare"))?;
    let length = 64_u64 << 20;
    file.write_all_at(&vec![0; 64 << 20], 0)?;
    file.sync_all()?;
    let (start, mut count, mut at) = (Instant::now(), 0, 0);
    while start.elapsed() < RUN {
        let mut bytes = Vec::new();
        for n in 0..group {
            let entry = signed(key, n);
            bytes.extend_from_slice(&entry.payload);
            bytes.extend_from_slice(&entry.signature);
            bytes.extend_from_slice(&entry.delta_bytes);
            bytes.extend_from_slice(&entry.attachment);
        }
        let len = u64::try_from(bytes.len())?;
        at = if at + len > length { 0 } else { at };
        file.write_all_at(&bytes, at)?;
        file.sync_data()?;
        (count, at) = (count + group, at + len);
    }
    Ok(rate(count, start.elapsed()))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

async fn store(folder: &std::path::Path, key: SigningKey, clients: u64) -> Result<f64, Box<dyn Error>> {
    let fs = Arc::new(RealFs::new(folder.join(format!("store-{clients}")))?);
    let options = Options::new([1; 32]);
    let (store, _) = SegmentStore::open(fs, options, Box::new(Signer(key.clone())), Count(0))?;
    let (store, count, key) = (Arc::new(store), Arc::new(AtomicU64::new(0)), Arc::new(key));
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let (store, count, key) = (Arc::clone(&store), Arc::clone(&count), Arc::clone(&key));
        tasks.spawn(async move {
            while start.elapsed() < RUN {
                let entry = signed(&key, count.load(Ordering::Relaxed));
                if store.commit(entry).await.is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    Ok(rate(count.load(Ordering::Relaxed), start.elapsed()))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(|| "rate-data".into(), std::path::PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    for clients in [1, 8, 64, 256] {
        let key = SigningKey::from_seed(&[7; 32]);
        let bare = bare(&folder, &key, clients)?;
        let store = store(&folder, key, clients).await?;
        println!(
            "{clients:>4} clients: bare loop {bare:>9.0}/s, store {store:>9.0}/s, {:.2} of it",
            store / bare
        );
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
