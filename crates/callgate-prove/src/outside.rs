//! A gate as a program of its own, to be killed, stopped, starved and started again.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use callgate_gate::clock::SystemClock;
use callgate_log::VerifyingKey;
use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use crate::call::{AGENT, SERVER};
use crate::points::{Client, Errand, HttpPoint, LinePoint, Manner, Point, Wrapper, limited};
use crate::round::Round;
use crate::trouble::Trouble;
use crate::wire::Proxy;

/// How long a program may take to say that it is ready; other programs may want the machine, too.
const START: Duration = Duration::from_secs(30);
/// How long one may take to end.
const END: Duration = Duration::from_secs(20);

/// A running gate and a client of its point.
pub(crate) struct Outside {
    child: Child,
    pub(crate) client: Arc<Client>,
    pub(crate) key: VerifyingKey,
    proxy: Option<Proxy>,
}

/// A point that outlived its gate.
pub(crate) struct Orphan {
    pub(crate) client: Arc<Client>,
    pub(crate) key: VerifyingKey,
    proxy: Proxy,
}

/// How one is started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) point: Point,
    pub(crate) patience: Duration,
    pub(crate) manner: Manner,
    /// Whether writing beyond a limit shall be an error and not the end of the program.
    pub(crate) limited: bool,
}

impl Outside {
    /// Starts the program on the round's folder; `Ok(Err(…))` when it refuses to, which is an answer.
    pub(crate) async fn start(
        how: Start,
        round: &Round,
        program: &Path,
    ) -> Result<Result<Self, String>, Trouble> {
        if matches!(how.point, Point::Http | Point::Remote | Point::Leased) {
            return match Self::serving(how, round, program).await? {
                Ok((child, address)) => Self::asking(how, round, program, (child, address)).await.map(Ok),
                Err(said) => Ok(Err(said)),
            };
        }
        let (mut child, err) = spawned(how, round, program)?;
        let said = tokio::spawn(all(err));
        let pipes = (child.stdout.take(), child.stdin.take());
        let (Some(out), Some(to)) = pipes else { return Err(Trouble::new("the program has no pipes")) };
        let point = LinePoint::new(out, to, how.patience);
        if !point.greet(START).await {
            return refused(child, said.await.unwrap_or_default()).await.map(Err);
        }
        let key = round.pinned()?;
        Ok(Ok(Self { child, client: Arc::new(Client::Lines(point)), key, proxy: None }))
    }

    /// A gate that serves, and where; `Ok(Err(…))` when it refuses to.
    async fn serving(
        how: Start,
        round: &Round,
        program: &Path,
    ) -> Result<Result<(Child, SocketAddr), String>, Trouble> {
        let (child, err) = spawned(how, round, program)?;
        let mut said = String::new();
        let ready = tokio::time::timeout(START, greeting(err, &mut said)).await;
        match ready.map_err(|_| Trouble::new("the gate did not start in time"))? {
            Some(address) => Ok(Ok((child, address))),
            None => refused(child, said).await.map(Err),
        }
    }

    /// The point in front of a gate that serves.
    async fn asking(
        how: Start,
        round: &Round,
        program: &Path,
        (child, address): (Child, SocketAddr),
    ) -> Result<Self, Trouble> {
        let (key, clock) = (round.pinned()?, Arc::new(SystemClock));
        if how.point.is_wrapper() {
            // What outlives its gate finds the next one where the first was.
            let proxy = if how.point == Point::Leased { Some(Proxy::before(address).await?) } else { None };
            let address = proxy.as_ref().map_or(address, Proxy::address);
            let errand = Errand::of(how.point, how.patience);
            let wrapper = Wrapper::start(address, &key, round, program, &errand).await?;
            return Ok(Self { child, client: Arc::new(Client::Remote(Box::new(wrapper))), key, proxy });
        }
        let point = HttpPoint::new(address, key, round.ledger()?, clock, how.patience)?;
        let client = Arc::new(Client::Http(Box::new(point.with_manner(how.manner))));
        Ok(Self { child, client, key, proxy: None })
    }

    /// Ends the gate as a power cut would, and leaves its point.
    pub(crate) async fn orphan(mut self) -> Result<Orphan, Trouble> {
        self.child.kill().await.map_err(Trouble::at("the program"))?;
        let proxy = self.proxy.ok_or_else(|| Trouble::new("this point does not outlive its gate"))?;
        Ok(Orphan { client: self.client, key: self.key, proxy })
    }

    /// Starts a gate for a point that lost the one before.
    pub(crate) async fn adopt(
        orphan: Orphan,
        how: Start,
        round: &Round,
        program: &Path,
    ) -> Result<Self, Trouble> {
        let serving = Self::serving(how, round, program).await?;
        let (child, address) = serving.map_err(Trouble::at("a gate that was killed did not start again"))?;
        orphan.proxy.lead_to(address);
        Ok(Self { child, client: orphan.client, key: orphan.key, proxy: Some(orphan.proxy) })
    }

    fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    /// Sends a signal to the gate's program, which the suite started.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Trouble> {
        let pid = self.pid().ok_or_else(|| Trouble::new("the program has ended"))?;
        rustix::process::kill_process(pid, signal).map_err(Trouble::at("a signal"))
    }

    /// From now on no file of the program can grow.
    pub(crate) fn starve(&self) -> Result<(), Trouble> {
        // Nobody's limit would be our own.
        let pid = self.pid().ok_or_else(|| Trouble::new("the program has ended"))?;
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        let limited = rustix::process::prlimit(Some(pid), Resource::Fsize, none);
        limited.map(|_| ()).map_err(Trouble::at("the limit on files"))
    }

    /// Ends it as a power cut would, whatever it is doing.
    pub(crate) async fn kill(mut self) -> Result<(), Trouble> {
        self.child.kill().await.map_err(Trouble::at("the program"))?;
        if let Client::Remote(wrapper) = self.client.as_ref() {
            wrapper.abandon().await?;
        }
        Ok(())
    }

    /// Tells it to stop, and waits; kills it if it does not.
    pub(crate) async fn stop(mut self) -> Result<(), Trouble> {
        match self.client.as_ref() {
            Client::Lines(client) => client.leave().await,
            Client::Remote(wrapper) => {
                wrapper.leave().await?;
                drop(self.signal(Signal::TERM));
            }
            // It may have ended by itself.
            _ => drop(self.signal(Signal::TERM)),
        }
        if tokio::time::timeout(END, self.child.wait()).await.is_err() {
            self.child.kill().await.map_err(Trouble::at("the program"))?;
        }
        Ok(())
    }
}

/// What a program said that refused to start, once it ended.
async fn refused(mut child: Child, said: String) -> Result<String, Trouble> {
    let ended = tokio::time::timeout(END, child.wait()).await;
    ended
        .map_err(|_| Trouble::new("a gate that refused to start did not end"))?
        .map_err(Trouble::at("the program"))?;
    Ok(said)
}

fn spawned(how: Start, round: &Round, program: &Path) -> Result<(Child, ChildStderr), Trouble> {
    let mut child = command(how, round, program).spawn().map_err(Trouble::at("the program"))?;
    let err = child.stderr.take().ok_or_else(|| Trouble::new("the program has no standard error"))?;
    Ok((child, err))
}

fn command(how: Start, round: &Round, program: &Path) -> Command {
    let mut command = limited(program, how.limited);
    let (data, bundle, ledger) = (round.data(), round.bundle(), round.ledger_path());
    match how.point {
        Point::Embedded => {
            command.args(["prove-part", "embed"]).args([data, bundle, ledger]);
        }
        Point::Http | Point::Remote | Point::Leased => {
            command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--reload", "200ms", "--bundle"]);
            command.arg(bundle).arg("--data").arg(data);
        }
        Point::Mcp => {
            command.args(["mcp", "--server", SERVER, "--agent", AGENT, "--session", "mcp", "--hold", "1ms"]);
            command.arg("--bundle").arg(bundle).arg("--data").arg(data).arg("--");
            command.arg(program).args(["prove-part", "server"]).arg(ledger);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The address a gate says it listens on; `None` when it ended before.
async fn greeting(err: ChildStderr, said: &mut String) -> Option<SocketAddr> {
    let (mut lines, mut address) = (BufReader::new(err).lines(), None);
    while let Ok(Some(line)) = lines.next_line().await {
        address = address.or(line.split_once("http://").and_then(|(_, address)| address.parse().ok()));
        // Writing to a string cannot fail.
        let _ = writeln!(said, "{line}");
        // The last line of the greeting.
        if line.trim_start().starts_with("bundle") {
            // What it says later must not block it.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return address;
        }
    }
    None
}

async fn all(err: ChildStderr) -> String {
    let (mut lines, mut said) = (BufReader::new(err).lines(), String::new());
    while let Ok(Some(line)) = lines.next_line().await {
        let _ = writeln!(said, "{line}");
    }
    said
}
