//! A connection's bytes under time limits.
//!
//! Between requests a connection may rest; once a request has begun, its headers must arrive soon, and an answer
//! must be taken while it is offered. Must never limit how long a decision takes: that is the gate's to say.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use hyper::body::{Bytes, Frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::options::ServerLimits;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Owes the rest of a request's headers.
    Head,
    /// Has a request under way.
    Busy,
    /// Rests between requests.
    Idle,
}

/// What a connection is doing, and since when, shared between its bytes and its requests.
#[derive(Debug)]
pub(crate) struct Pace(Mutex<(Doing, Instant)>);

impl Default for Pace {
    /// A new connection owes headers.
    fn default() -> Self {
        Self(Mutex::new((Doing::Head, Instant::now())))
    }
}

impl Pace {
    /// A request has been read to the end of its headers.
    pub(crate) fn request_began(&self) {
        *self.state() = (Doing::Busy, Instant::now());
    }

    /// Its answer is on the way.
    pub(crate) fn request_ended(&self) {
        *self.state() = (Doing::Idle, Instant::now());
    }

    /// Between requests, bytes begin one.
    fn bytes_came(&self) {
        let mut state = self.state();
        if state.0 == Doing::Idle {
            *state = (Doing::Head, Instant::now());
        }
    }

    fn state(&self) -> MutexGuard<'_, (Doing, Instant)> {
        // Nothing can panic while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body whose request is under way until it ends or is dropped.
#[derive(Debug)]
pub(crate) struct Lasting {
    pub(crate) body: Body,
    pub(crate) pace: Arc<Pace>,
}

impl hyper::body::Body for Lasting {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        self.pace.request_ended();
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
    /// Since when the connection does what the read timer is set for.
    armed: Option<Instant>,
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
            // A timer for no time at all would fire for ever.
            idle_time: limits.idle_time.max(Duration::from_millis(1)),
            write_time: limits.write_time,
            armed: None,
            read_timer: Box::pin(tokio::time::sleep(limits.header_time)),
            write_timer: None,
        }
    }

    /// No byte came: how long may that go on?
    ///
    /// The timer runs while a request is under way, too. It limits nothing then; but whoever reads may have
    /// asked for bytes before the answer was ready and not ask again, and then only the timer leads back here.
    fn awaits(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (doing, since) = *self.pace.state();
        if self.armed != Some(since) {
            self.arm(since, if doing == Doing::Head { self.head_time } else { self.idle_time });
            self.armed = Some(since);
        }
        while self.read_timer.as_mut().poll(cx).is_ready() {
            if doing != Doing::Busy {
                return Poll::Ready(Err(late("the request did not come in time")));
            }
            self.arm(Instant::now(), self.idle_time);
        }
        Poll::Pending
    }

    fn arm(&mut self, since: Instant, span: Duration) {
        // A span too long to be added is as good as a day.
        let day = || Instant::now().checked_add(Duration::from_secs(86_400));
        if let Some(due) = since.checked_add(span).or_else(day) {
            self.read_timer.as_mut().reset(due);
        }
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
        if buf.filled().len() > before {
            me.pace.bytes_came();
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

    /// Whoever reads asked while the answer was not ready, and sleeps since.
    #[tokio::test]
    async fn rest_is_limited_though_nobody_asks_for_bytes_again() {
        let (_peer, stream) = tokio::io::duplex(64);
        let pace = Arc::new(Pace::default());
        let mut paced = Paced::new(stream, Arc::clone(&pace), &limits());
        pace.request_began();
        let read = tokio::spawn(async move { paced.read_u8().await });
        tokio::time::sleep(Duration::from_millis(10)).await;
        pace.request_ended();
        let cut = tokio::time::timeout(Duration::from_secs(5), read).await.unwrap().unwrap();
        assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_is_cut() {
        let (_peer, stream) = tokio::io::duplex(64);
        let mut paced = Paced::new(stream, Arc::default(), &limits());
        let error = paced.write_all(&[0; 65]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
