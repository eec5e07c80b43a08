//! What the operator says of one wrapped server. Nothing here can come from the client.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use callgate_core::name::Name;
use callgate_core::request::Agent;
use callgate_gate::Credential;

/// Where the wrapper says what happened, one line at a time; for people, never for the protocol.
pub type Notes = Arc<dyn Fn(&str) + Send + Sync>;

/// Settings of one wrapped server.
#[derive(Debug, Clone)]
pub struct WrapOptions {
    /// The server's name in policy: what stands before the dot in `files.read_file`. Has no dots.
    pub server: Name,
    /// Who asks. The client's own claims about itself are not used.
    pub agent: Agent,
    /// The agent's tenant.
    pub tenant: Name,
    /// The session all calls belong to; one wrapper is one session.
    pub session: Option<Name>,
    /// The environment, such as `prod`.
    pub environment: Option<Name>,
    /// Who vouches for `agent`.
    pub credential: Credential,
    /// The server's program.
    pub command: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Sizes and times.
    pub bounds: Bounds,
}

/// Bounds on messages, calls and waiting.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// The longest message, either way, in bytes; 4 MiB.
    pub message_bytes: usize,
    /// The most requests of the client that wait for an answer; 1,024.
    pub in_flight: usize,
    /// How much may wait to be written to one side before the other is no longer read; 8 MiB.
    pub queued_bytes: usize,
    /// How long a call may run unless `max_runtime_ms` says otherwise; 60 s.
    pub default_timeout: Duration,
    /// How long a call waits for people who must agree, before the client gets a reference to come back
    /// with; 45 s, below the usual patience of clients.
    pub hold: Duration,
    /// How long a throttled call waits for its turn before the client is told to come back; not at all.
    pub throttle: Duration,
    /// How often a client that gave a progress token hears that its call still waits; 5 s.
    pub progress: Duration,
    /// How often the gate is asked whether running calls may go on; at once when something was stopped. 2 s.
    pub heartbeat: Duration,
    /// How long the server may take to end once the client has left; 5 s.
    pub grace: Duration,
    /// How long outcomes may take to be recorded at the end; 10 s.
    pub outcome_grace: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            message_bytes: 4 << 20,
            in_flight: 1024,
            queued_bytes: 8 << 20,
            default_timeout: Duration::from_secs(60),
            hold: Duration::from_secs(45),
            throttle: Duration::ZERO,
            progress: Duration::from_secs(5),
            heartbeat: Duration::from_secs(2),
            grace: Duration::from_secs(5),
            outcome_grace: Duration::from_secs(10),
        }
    }
}

impl WrapOptions {
    /// A wrapper around `command` for `agent`, which the operator vouches for by starting it.
    #[must_use]
    pub fn new(server: Name, agent: Agent, tenant: Name, command: OsString, args: Vec<OsString>) -> Self {
        Self {
            server,
            agent,
            tenant,
            session: None,
            environment: None,
            credential: Credential::Local,
            command,
            args,
            bounds: Bounds::default(),
        }
    }
}
