//! `callgate mcp --gate`: a wrapper that asks a gate elsewhere.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use callgate_log::VerifyingKey;
use rustix::process::{Pid, Resource, Rlimit};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::{LinePoint, Point};
use crate::call::{AGENT, LEASED, SERVER};
use crate::files;
use crate::round::Round;
use crate::trouble::Trouble;

/// How long it may take to answer; it looks for its gate first.
const START: Duration = Duration::from_secs(30);
/// How long one may take to end once its client has left.
const END: Duration = Duration::from_secs(20);
/// The same where its gate is gone.
const ABANDONED: Duration = Duration::from_millis(1500);
/// How long it may take to hand in what ran unchecked, once its gate is back.
const HANDING_IN: Duration = Duration::from_secs(20);

/// What a wrapper is started for.
#[derive(Debug, Clone)]
pub(crate) struct Errand {
    pub(crate) agent: &'static str,
    /// What policy calls the server behind it, after which the point is named.
    pub(crate) server: &'static str,
    /// Where the lease and the journal lie; one folder of the round unless it is named.
    pub(crate) journal: Option<PathBuf>,
    /// How long a call waits for its answer.
    pub(crate) patience: Duration,
    /// Whether writing beyond a limit shall be an error and not the end of the program.
    pub(crate) limited: bool,
}

impl Errand {
    /// As a point goes about it.
    pub(crate) const fn of(point: Point, patience: Duration) -> Self {
        let agent = if matches!(point, Point::Leased) { LEASED } else { AGENT };
        Self { agent, server: SERVER, journal: None, patience, limited: false }
    }
}

/// A wrapper that runs, and its client.
#[derive(Debug)]
pub(crate) struct Wrapper {
    pub(crate) point: LinePoint,
    pub(crate) journal: PathBuf,
    child: tokio::sync::Mutex<Child>,
}

impl Wrapper {
    /// Starts one that asks the gate at `address` and believes `key`.
    pub(crate) async fn start(
        address: SocketAddr,
        key: &VerifyingKey,
        round: &Round,
        program: &Path,
        errand: &Errand,
    ) -> Result<Self, Trouble> {
        let own = round.dir().join("point");
        let (gate_key, key_file) = (own.join("gate.pub.pem"), own.join("key"));
        let pem = key.to_spki_pem().map_err(Trouble::at("the gate's key"))?;
        files::write(&gate_key, pem.as_bytes())?;
        // The gate runs in development mode and asks nobody for a key; the wrapper wants one to show.
        files::write(&key_file, b"cg_none")?;
        let journal = errand.journal.clone().unwrap_or_else(|| round.journal());
        let mut command = limited(program, errand.limited);
        command.args(["mcp", "--server", errand.server, "--agent", errand.agent]);
        command.args(["--session", "mcp", "--hold", "1ms"]);
        command.arg("--gate").arg(format!("http://{address}"));
        command.arg("--gate-key").arg(gate_key).arg("--key-file").arg(key_file);
        command.arg("--journal").arg(&journal).arg("--");
        command.arg(program).args(["prove-part", "server"]).arg(round.ledger_path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().map_err(Trouble::at("the wrapper"))?;
        let (Some(out), Some(to)) = (child.stdout.take(), child.stdin.take()) else {
            return Err(Trouble::new("the wrapper has no pipes"));
        };
        let point = LinePoint::new(out, to, errand.patience);
        if !point.greet(START).await {
            return Err(Trouble::new("the wrapper did not answer"));
        }
        Ok(Self { point, journal, child: tokio::sync::Mutex::new(child) })
    }

    /// Its client leaves, and it ends.
    pub(crate) async fn leave(&self) -> Result<(), Trouble> {
        self.leave_within(END).await
    }

    /// The same without its gate, which it would look for a while to tell it of outcomes.
    pub(crate) async fn abandon(&self) -> Result<(), Trouble> {
        self.leave_within(ABANDONED).await
    }

    async fn leave_within(&self, span: Duration) -> Result<(), Trouble> {
        self.point.leave().await;
        let mut child = self.child.lock().await;
        if tokio::time::timeout(span, child.wait()).await.is_err() {
            child.kill().await.map_err(Trouble::at("the wrapper"))?;
        }
        Ok(())
    }

    /// Ends it as a power cut would, whatever it is doing.
    pub(crate) async fn kill(&self) -> Result<(), Trouble> {
        self.child.lock().await.kill().await.map_err(Trouble::at("the wrapper"))
    }

    /// From now on no file of the program can grow; those of the server behind it can.
    pub(crate) async fn starve(&self) -> Result<(), Trouble> {
        let id = self.child.lock().await.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        // Nobody's limit would be our own.
        let id = id.ok_or_else(|| Trouble::new("the wrapper has ended"))?;
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        let limited = rustix::process::prlimit(Some(id), Resource::Fsize, none);
        limited.map(|_| ()).map_err(Trouble::at("the limit on files"))
    }

    /// The journals that the gate does not have yet.
    pub(crate) fn journals(&self) -> Vec<PathBuf> {
        let names = files::names_in(&self.journal).into_iter().filter(|name| name.ends_with(".jsonl"));
        names.map(|name| self.journal.join(name)).collect()
    }

    /// Waits until the gate has every journal; whether it does.
    pub(crate) async fn handed_in(&self) -> bool {
        let begun = Instant::now();
        while !self.journals().is_empty() {
            if begun.elapsed() > HANDING_IN {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }
}

/// A program, which may be one that hears of a limit as an error.
pub(crate) fn limited(program: &Path, limited: bool) -> Command {
    if !limited {
        return Command::new(program);
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(program);
    shell
}
