//! Between client and server: one loop owns all state of the session; reading, writing, deciding and
//! recording happen beside it.
//!
//! Calls are decided one at a time in the order they arrive, so that contract steps, limits and
//! retries see that order. Outcomes are recorded while the answer is on its way to the client, and
//! ending waits for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use callgate_gate::{AnyGate, Asked, Decided, Ground, OutcomeReport, Unavailable};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::call::Call;
use crate::error::WrapError;
use crate::heartbeat::Heart;
use crate::holding::{Holding, Waited};
use crate::ledger::Ledger;
use crate::line::{Line, LineReader};
use crate::listing::Listed;
use crate::notes::Notebook;
use crate::options::{Notes, WrapOptions};
use crate::outbox::Outbox;
use crate::pending::Pending;
use crate::upstream::Upstream;

/// How a wrapper ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// Decided calls that reached the server.
    pub forwarded: u64,
    /// Decided calls that did not.
    pub refused: u64,
}

/// A decision that came back.
pub(crate) type Judged = (Box<Call>, Result<Decided, Unavailable>);

/// All state of one session.
pub(crate) struct Relay {
    pub(crate) gate: AnyGate,
    pub(crate) options: Arc<WrapOptions>,
    pub(crate) client: Outbox,
    /// `None` once the server's input was closed.
    pub(crate) upstream: Option<Upstream>,
    pub(crate) pending: Pending,
    /// Calls that wait for the one before them to be decided.
    pub(crate) waiting: VecDeque<Box<Call>>,
    pub(crate) decisions: JoinSet<Judged>,
    /// Calls that wait for people, and how their waiting ends.
    pub(crate) holding: Holding,
    pub(crate) waited: JoinSet<Waited>,
    /// Lists of tools that the gate looks through.
    pub(crate) lists: JoinSet<Listed>,
    pub(crate) heart: Heart,
    pub(crate) outcomes: JoinSet<Result<(), (u64, String)>>,
    pub(crate) ledger: Ledger,
    pub(crate) notes: Notebook,
    pub(crate) ended: Ended,
    pub(crate) unreported: usize,
    client_here: bool,
    server_here: bool,
    /// How many requests waited when the server ended before the client did.
    lost: Option<usize>,
    /// When the server's time to end is over.
    ends_at: Option<Instant>,
}

/// One side's lines as they are read, and its writer.
struct Side {
    /// Reads until the side leaves or this is dropped.
    _reader: JoinSet<()>,
    lines: mpsc::Receiver<Line>,
    writer: JoinHandle<std::io::Result<()>>,
    written: bool,
}

/// Stands between a client and a server that both run already. See [`wrap`](crate::wrap()).
///
/// # Errors
/// [`WrapError::ServerEnded`] and [`WrapError::Unreported`].
pub async fn relay<CR, CW, SR, SW>(
    gate: impl Into<AnyGate>,
    options: WrapOptions,
    client: (CR, CW),
    server: (SR, SW),
    notes: Notes,
) -> Result<Ended, WrapError>
where
    CR: AsyncRead + Send + Unpin + 'static,
    CW: AsyncWrite + Send + Unpin + 'static,
    SR: AsyncRead + Send + Unpin + 'static,
    SW: AsyncWrite + Send + Unpin + 'static,
{
    if options.server.as_str().contains('.') {
        return Err(WrapError::Name("it has no dots; write `-` instead".to_owned()));
    }
    let bounds = options.bounds.clone();
    let (to_client, client_writer) = Outbox::start(client.1, bounds.queued_bytes);
    let (to_server, server_writer) = Outbox::start(server.1, bounds.queued_bytes);
    let mut client = Side::new(client.0, bounds.message_bytes, client_writer);
    let mut server = Side::new(server.0, bounds.message_bytes, server_writer);
    let gate = gate.into();
    let heart = Heart::new(gate.halts());
    let mut relay = Relay {
        gate,
        options: Arc::new(options),
        client: to_client,
        upstream: Some(Upstream::new(to_server)),
        pending: Pending::default(),
        waiting: VecDeque::new(),
        decisions: JoinSet::new(),
        holding: Holding::default(),
        waited: JoinSet::new(),
        lists: JoinSet::new(),
        heart,
        outcomes: JoinSet::new(),
        ledger: Ledger::default(),
        notes: Notebook::new(notes),
        ended: Ended::default(),
        unreported: 0,
        client_here: true,
        server_here: true,
        lost: None,
        ends_at: None,
    };
    while !relay.is_over() {
        relay.turn(&mut client, &mut server).await;
    }
    relay.end(client).await
}

impl Side {
    fn new<R>(from: R, limit: usize, writer: JoinHandle<std::io::Result<()>>) -> Self
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let (send, lines) = mpsc::channel(4);
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            let mut from = LineReader::new(from, limit);
            // A side that cannot be read has left.
            while let Ok(Some(line)) = from.next().await {
                if send.send(line).await.is_err() {
                    break;
                }
            }
        });
        Self { _reader: reader, lines, writer, written: false }
    }
}

impl Relay {
    /// Waits for one thing to happen and answers it.
    async fn turn(&mut self, client: &mut Side, server: &mut Side) {
        let room = self.client.has_room() && self.upstream.as_ref().is_none_or(|up| up.out().has_room());
        let (deadline, ends_at) = (self.pending.next_deadline(), self.ends_at);
        let beat_at = self.next_beat();
        tokio::select! {
            line = client.lines.recv(), if room && self.client_here => match line {
                Some(line) => self.client_says(line),
                None => self.client_left(),
            },
            line = server.lines.recv(), if room && self.server_here => match line {
                Some(line) => self.server_says(line),
                None => self.server_left(),
            },
            Some(judged) = self.decisions.join_next(), if !self.decisions.is_empty() => self.decided(judged),
            Some(listed) = self.lists.join_next(), if !self.lists.is_empty() => self.listed(listed),
            Some(waited) = self.waited.join_next(), if !self.waited.is_empty() => self.waited(waited),
            Some(done) = self.outcomes.join_next(), if !self.outcomes.is_empty() => self.recorded(done),
            Ok(()) = self.heart.halts.changed() => self.beat(),
            () = at(beat_at), if beat_at.is_some() => self.beat(),
            Some(beat) = self.heart.asked.join_next(), if !self.heart.asked.is_empty() => self.heard(beat),
            () = at(deadline), if deadline.is_some() => self.out_of_time(),
            () = at(ends_at), if ends_at.is_some() => self.grace_is_over(),
            written = &mut client.writer, if !client.written => {
                client.written = true;
                drop(written);
                self.client_gone();
            }
            written = &mut server.writer, if !server.written => {
                server.written = true;
                if !matches!(written, Ok(Ok(()))) {
                    self.server_left();
                }
            }
            () = self.client.drained(), if !room => {}
            () = upstream_drained(self.upstream.as_ref()), if !room => {}
        }
        self.ask_next();
        self.close_when_quiet();
    }

    fn is_over(&self) -> bool {
        let under_way = self.decisions.len().saturating_add(self.lists.len());
        !self.server_here && under_way == 0 && self.waiting.is_empty() && self.holding.is_empty()
    }

    /// Whether the client may still ask.
    pub(crate) const fn client_here(&self) -> bool {
        self.client_here && self.server_here
    }

    /// The client sends no more, but may still read: what it asked for is finished first.
    fn client_left(&mut self) {
        self.client_here = false;
        self.give_up_held();
        self.ends_at = Some(self.after_grace());
    }

    /// The client reads no more either.
    fn client_gone(&mut self) {
        self.client_here = false;
        self.give_up_held();
        self.upstream = None;
        self.ends_at = Some(self.after_grace());
    }

    fn after_grace(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.options.bounds.grace).unwrap_or(now)
    }

    /// Once nothing is under way for a client that left, the server's input ends, too.
    fn close_when_quiet(&mut self) {
        let quiet = self.pending.is_quiet() && self.waiting.is_empty() && self.decisions.is_empty();
        if !self.client_here && quiet && self.upstream.take().is_some() {
            self.ends_at = Some(self.after_grace());
        }
    }

    /// First the server's input ends; if that does not end the server, the wrapper goes without it.
    fn grace_is_over(&mut self) {
        if self.upstream.take().is_some() {
            self.ends_at = Some(self.after_grace());
        } else {
            self.server_left();
        }
    }

    fn server_left(&mut self) {
        self.server_here = false;
        self.give_up_held();
        self.upstream = None;
        self.ends_at = None;
        if self.client_here {
            self.lost = Some(self.pending.len());
        }
        self.give_up_all("the server ended before it answered, so nobody knows whether it ran.");
    }

    /// Asks the gate about the next call, when none is being decided.
    fn ask_next(&mut self) {
        if !self.decisions.is_empty() {
            return;
        }
        let Some(call) = self.waiting.pop_front() else { return };
        let (gate, credential) = (self.gate.clone(), self.options.credential.clone());
        self.decisions.spawn(async move {
            let asked = Asked::Request(Box::new(call.request.clone()));
            let decided = gate.decide(asked, credential).await;
            (call, decided)
        });
    }

    /// Records an outcome beside everything else. It steps aside for a moment: an agent that calls again at
    /// once would otherwise wait for this receipt's sync before its own, and decide twice.
    pub(crate) fn report(&mut self, ground: Ground, report: OutcomeReport) {
        let (gate, credential) = (self.gate.clone(), self.options.credential.clone());
        self.outcomes.spawn(async move {
            tokio::time::sleep(STEP_ASIDE).await;
            let receipt = report.receipt_index;
            let plain = OutcomeReport { result_sha256: None, ..report.clone() };
            let recorded = match gate.report(ground, report, &credential).await {
                // What binds the result may have been erased; how the call ended still counts.
                Err(callgate_gate::OutcomeError::Invalid(_)) => gate.report(ground, plain, &credential).await,
                other => other,
            };
            recorded.map_err(|problem| (receipt, problem.to_string()))
        });
    }

    fn recorded(&mut self, done: Result<Result<(), (u64, String)>, tokio::task::JoinError>) {
        let (receipt, problem) = match done {
            Ok(Ok(())) => return,
            Ok(Err((receipt, problem))) => (receipt.to_string(), problem),
            Err(stopped) => ("of a call".to_owned(), stopped.to_string()),
        };
        self.unreported = self.unreported.saturating_add(1);
        self.notes.note(&format!("the outcome behind receipt {receipt} could not be recorded: {problem}"));
    }

    /// Waits for outcomes and for the client to have read what was said.
    async fn end(mut self, client: Side) -> Result<Ended, WrapError> {
        let Side { writer, written, .. } = client;
        let (span, grace) = (self.options.bounds.outcome_grace, self.options.bounds.grace);
        let all = async {
            while let Some(done) = self.outcomes.join_next().await {
                self.recorded(done);
            }
        };
        if tokio::time::timeout(span, all).await.is_err() {
            self.unreported = self.unreported.saturating_add(self.outcomes.len());
        }
        drop(self.client);
        if !written {
            // A client that does not read what is left has gone.
            drop(tokio::time::timeout(grace, writer).await);
        }
        match (self.lost, self.unreported) {
            (_, unreported @ 1..) => Err(WrapError::Unreported(unreported)),
            (Some(in_flight), 0) => {
                Err(WrapError::ServerEnded { status: "its output ended".to_owned(), in_flight })
            }
            (None, 0) => Ok(self.ended),
        }
    }
}

/// How long an outcome waits before it is recorded: a few calls of an agent in a tight loop.
const STEP_ASIDE: Duration = Duration::from_millis(5);

pub(crate) async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn upstream_drained(upstream: Option<&Upstream>) {
    match upstream {
        Some(upstream) => upstream.out().drained().await,
        None => std::future::pending().await,
    }
}
