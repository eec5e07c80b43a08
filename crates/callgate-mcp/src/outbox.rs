//! What waits to be written to one side. Putting something in never blocks; how much may wait is
//! bounded by no longer reading the other side while this one is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// A queue of lines to one side.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    lines: mpsc::UnboundedSender<String>,
    waiting: Arc<Waiting>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: AtomicUsize,
    less: Notify,
}

impl Outbox {
    /// Starts writing to `to`; the handle ends when everything was written after [`Outbox`] is
    /// dropped, or when writing fails, and says which.
    pub(crate) fn start<W>(to: W, limit: usize) -> (Self, JoinHandle<std::io::Result<()>>)
    where
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let (lines, queue) = mpsc::unbounded_channel();
        let waiting = Arc::new(Waiting::default());
        let writer = tokio::spawn(write_all(to, queue, Arc::clone(&waiting)));
        (Self { lines, waiting, limit }, writer)
    }

    /// Queues one line, without its end. A side that is gone gets nothing.
    pub(crate) fn put(&self, line: String) {
        let size = line.len();
        self.waiting.bytes.fetch_add(size, Ordering::Relaxed);
        if self.lines.send(line).is_err() {
            self.waiting.bytes.fetch_sub(size, Ordering::Relaxed);
        }
    }

    /// Whether the other side may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.bytes.load(Ordering::Relaxed) < self.limit
    }

    /// Waits until something was written.
    pub(crate) async fn drained(&self) {
        self.waiting.less.notified().await;
    }
}

async fn write_all<W: AsyncWrite + Unpin>(
    mut to: W,
    mut queue: mpsc::UnboundedReceiver<String>,
    waiting: Arc<Waiting>,
) -> std::io::Result<()> {
    while let Some(mut line) = queue.recv().await {
        let size = line.len();
        line.push('\n');
        let written = to.write_all(line.as_bytes()).await;
        waiting.bytes.fetch_sub(size, Ordering::Relaxed);
        waiting.less.notify_one();
        written?;
        if queue.is_empty() {
            to.flush().await?;
        }
    }
    to.shutdown().await
}
