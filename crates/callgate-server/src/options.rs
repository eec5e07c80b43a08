//! Settings of a server. Everything has a limit.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Where lines for the operator go. Never given a key or anything of a request.
#[derive(Clone)]
pub struct Log(Arc<dyn Fn(&str) + Send + Sync>);

impl Log {
    /// A sink that is called with one line at a time, from any thread.
    pub fn new(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Writes one line; what could forge another one is escaped.
    pub(crate) fn line(&self, text: &str) {
        if text.chars().any(char::is_control) {
            (self.0)(&text.escape_debug().to_string());
        } else {
            (self.0)(text);
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

/// What a client may cost.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// The body of a request, in bytes; 256 KiB.
    pub body_bytes: usize,
    /// The body of a request about policy, which may be a whole bundle, in bytes; 16 MiB.
    pub policy_bytes: usize,
    /// Request line and headers together, in bytes; 16 KiB, and at least 8 KiB.
    pub header_bytes: usize,
    /// Headers in a request; 64.
    pub headers: usize,
    /// From the first byte of a request, or a new connection, to the end of its headers; 5 s.
    pub header_time: Duration,
    /// From the end of the headers to the end of the body; 5 s.
    pub body_time: Duration,
    /// From the end of the headers to the answer; 10 s.
    pub request_time: Duration,
    /// The same for requests about policy, which may simulate; 10 minutes.
    pub policy_time: Duration,
    /// How long a client may take no byte of an answer that waits for it; 5 s.
    pub write_time: Duration,
    /// How long a connection may stay open between requests; 60 s.
    pub idle_time: Duration,
    /// How long requests under way may take once the server stops; 5 s.
    pub drain_time: Duration,
    /// Open connections over TCP, and as many over the socket; 1,024. One more is told so and closed.
    pub connections: usize,
    /// Decisions, outcomes and reads under way, those whose client hung up included; 2,048.
    pub in_flight: usize,
    /// Requests in one batch; 64.
    pub batch: usize,
    /// Subscribers to events; 64, of which half may be agents.
    pub subscribers: usize,
    /// How often a subscriber hears something, though nothing happens; 15 s.
    pub heartbeat_time: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            body_bytes: 256 * 1024,
            policy_bytes: 16 * 1024 * 1024,
            header_bytes: 16 * 1024,
            headers: 64,
            header_time: Duration::from_secs(5),
            body_time: Duration::from_secs(5),
            request_time: Duration::from_secs(10),
            policy_time: Duration::from_secs(600),
            write_time: Duration::from_secs(5),
            idle_time: Duration::from_secs(60),
            drain_time: Duration::from_secs(5),
            connections: 1024,
            in_flight: 2048,
            batch: 64,
            subscribers: 64,
            heartbeat_time: Duration::from_secs(15),
        }
    }
}

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The address to listen on; `127.0.0.1:8081`.
    pub listen: SocketAddr,
    /// Development: no authentication, loopback only, and every response says so.
    pub dev: bool,
    /// What a client may cost.
    pub limits: ServerLimits,
    /// Where lines for the operator go; nowhere by default.
    pub log: Log,
    /// How many threads decide, beside those that read and write connections: whoever asks for more than they can do
    /// keeps nobody from hearing that the gate is there, nor stops from taking effect. By default those of the caller
    /// do both.
    pub workers: Option<usize>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081),
            dev: false,
            limits: ServerLimits::default(),
            log: Log::new(|_| ()),
            workers: None,
        }
    }
}
