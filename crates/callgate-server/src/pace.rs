//! A connection's bytes under time limits.
//!
//! Between requests a connection may rest; once a request has begun, its headers must arrive soon, and an answer
//! must be taken while it is offered. Must never limit how long a decision takes: that is the gate's to say.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::options::ServerLimits;

const HEAD: u8 = 0;
const BUSY: u8 = 1;
const IDLE: u8 = 2;

/// What a connection is doing, shared between its bytes and its requests. A new one owes headers.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU8);

impl Pace {
    /// A request has been read to the end of its headers.
    pub(crate) fn request_began(&self) {
        self.0.store(BUSY, Ordering::Relaxed);
    }

    /// Its answer is on the way.
    pub(crate) fn request_ended(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }

    /// Bytes came; between requests that begins one. Returns whether it did.
    fn bytes_came(&self) -> bool {
        self.0.compare_exchange(IDLE, HEAD, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn now(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream that fails with [`io::ErrorKind::TimedOut`] when its peer keeps it waiting.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
    head_time: Duration,
    idle_time: Duration,
    write_time: Duration,
    /// What the read timer is set for.
    armed: Option<u8>,
    read_timer: Pin<Box<Sleep>>,
    /// Runs only while the peer does not take what is offered.
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S, pace: Arc<Pace>, limits: &ServerLimits) -> Self {
        Self {
            stream,
            pace,
            head_time: limits.header_time,
            idle_time: limits.idle_time,
            write_time: limits.write_time,
            armed: None,
            read_timer: Box::pin(tokio::time::sleep(limits.header_time)),
            write_timer: None,
        }
    }

    /// No byte came: how long may that go on?
    fn awaits(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let doing = self.pace.now();
        let allowed = match doing {
            HEAD => self.head_time,
            IDLE => self.idle_time,
            _ => return Poll::Pending,
        };
        if self.armed != Some(doing) {
            let Some(until) = Instant::now().checked_add(allowed) else { return Poll::Pending };
            self.read_timer.as_mut().reset(until);
            self.armed = Some(doing);
        }
        self.read_timer.as_mut().poll(cx).map(|()| Err(late("the request did not come in time")))
    }

    /// No byte was taken: how long may that go on?
    fn offers<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        let span = self.write_time;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(span)));
        timer.as_mut().poll(cx).map(|()| Err(late("the answer was not taken in time")))
    }
}

fn late(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, message)
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut me.stream).poll_read(cx, buf);
        if read.is_pending() {
            return me.awaits(cx);
        }
        if buf.filled().len() > before && me.pace.bytes_came() {
            me.armed = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let written = Pin::new(&mut me.stream).poll_write(cx, data);
        me.offers(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let written = Pin::new(&mut me.stream).poll_write_vectored(cx, data);
        me.offers(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let flushed = Pin::new(&mut me.stream).poll_flush(cx);
        me.offers(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let shut = Pin::new(&mut me.stream).poll_shutdown(cx);
        me.offers(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn limits() -> ServerLimits {
        ServerLimits {
            header_time: Duration::from_millis(20),
            idle_time: Duration::from_millis(200),
            write_time: Duration::from_millis(20),
            ..ServerLimits::default()
        }
    }

    #[tokio::test]
    async fn a_silent_peer_is_cut() {
        let (_peer, stream) = tokio::io::duplex(64);
        let mut paced = Paced::new(stream, Arc::default(), &limits());
        let error = paced.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn rest_between_requests_is_longer_than_a_head_may_take() {
        let (mut peer, stream) = tokio::io::duplex(64);
        let pace = Arc::new(Pace::default());
        let mut paced = Paced::new(stream, Arc::clone(&pace), &limits());
        for _ in 0..2 {
            pace.request_began();
            pace.request_ended();
            // The head's limit passes while the connection rests.
            let rested = tokio::time::timeout(Duration::from_millis(60), paced.read_u8()).await;
            assert!(rested.is_err());
            peer.write_u8(b'G').await.unwrap();
            assert_eq!(paced.read_u8().await.unwrap(), b'G');
        }
        // One byte of a head came, no more do.
        let cut = tokio::time::timeout(Duration::from_millis(150), paced.read_u8()).await;
        assert_eq!(cut.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_decision_under_way_is_not_cut() {
        let (_peer, stream) = tokio::io::duplex(64);
        let pace = Arc::new(Pace::default());
        let mut paced = Paced::new(stream, Arc::clone(&pace), &limits());
        pace.request_began();
        assert!(tokio::time::timeout(Duration::from_millis(60), paced.read_u8()).await.is_err());
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_is_cut() {
        let (_peer, stream) = tokio::io::duplex(64);
        let mut paced = Paced::new(stream, Arc::default(), &limits());
        let error = paced.write_all(&[0; 65]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
