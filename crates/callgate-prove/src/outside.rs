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
use crate::points::{Client, HttpPoint, LinePoint, Manner, Point, Wrapper};
use crate::round::Round;
use crate::trouble::Trouble;

/// How long a program may take to say that it is ready; other programs may want the machine, too.
const START: Duration = Duration::from_secs(30);
/// How long one may take to end.
const END: Duration = Duration::from_secs(20);

/// A running gate and a client of its point.
pub(crate) struct Outside {
    child: Child,
    pub(crate) client: Arc<Client>,
    pub(crate) key: VerifyingKey,
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
        let mut command = command(how, round, program);
        let mut child = command.spawn().map_err(Trouble::at("the program"))?;
        let err = child.stderr.take().ok_or_else(|| Trouble::new("the program has no standard error"))?;
        if matches!(how.point, Point::Http | Point::Remote) {
            let mut said = String::new();
            let ready = tokio::time::timeout(START, greeting(err, &mut said)).await;
            let Some(address) = ready.map_err(|_| Trouble::new("the gate did not start in time"))? else {
                return Self::refused(child, said).await;
            };
            let (key, clock) = (round.pinned()?, Arc::new(SystemClock));
            if how.point == Point::Remote {
                let wrapper = Wrapper::start(address, &key, round, program, how.patience).await?;
                return Ok(Ok(Self { child, client: Arc::new(Client::Remote(Box::new(wrapper))), key }));
            }
            let point = HttpPoint::new(address, key, round.ledger()?, clock, how.patience)?;
            return Ok(Ok(Self {
                child,
                client: Arc::new(Client::Http(Box::new(point.with_manner(how.manner)))),
                key,
            }));
        }
        let said = tokio::spawn(all(err));
        let pipes = (child.stdout.take(), child.stdin.take());
        let (Some(out), Some(to)) = pipes else { return Err(Trouble::new("the program has no pipes")) };
        let point = LinePoint::new(out, to, how.patience);
        if !point.greet(START).await {
            return Self::refused(child, said.await.unwrap_or_default()).await;
        }
        let key = round.pinned()?;
        Ok(Ok(Self { child, client: Arc::new(Client::Lines(point)), key }))
    }

    async fn refused(mut child: Child, said: String) -> Result<Result<Self, String>, Trouble> {
        let ended = tokio::time::timeout(END, child.wait()).await;
        ended
            .map_err(|_| Trouble::new("a gate that refused to start did not end"))?
            .map_err(Trouble::at("the program"))?;
        Ok(Err(said))
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
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        let limited = rustix::process::prlimit(self.pid(), Resource::Fsize, none);
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

fn command(how: Start, round: &Round, program: &Path) -> Command {
    let mut command = if how.limited {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(program);
        shell
    } else {
        Command::new(program)
    };
    let (data, bundle, ledger) = (round.data(), round.bundle(), round.ledger_path());
    match how.point {
        Point::Embedded => {
            command.args(["prove-part", "embed"]).args([data, bundle, ledger]);
        }
        Point::Http | Point::Remote => {
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
