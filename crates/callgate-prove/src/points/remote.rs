//! `callgate mcp --gate`: a wrapper that asks a gate elsewhere.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use callgate_log::VerifyingKey;
use tokio::process::{Child, Command};

use super::LinePoint;
use crate::call::{AGENT, SERVER};
use crate::files;
use crate::round::Round;
use crate::trouble::Trouble;

/// How long it may take to answer; it looks for its gate first.
const START: Duration = Duration::from_secs(30);
/// How long it may take to end once its client has left.
const END: Duration = Duration::from_secs(20);

/// The same where its gate is gone.
const ABANDONED: Duration = Duration::from_millis(1500);

/// A wrapper that runs, and its client.
#[derive(Debug)]
pub(crate) struct Wrapper {
    pub(crate) point: LinePoint,
    child: tokio::sync::Mutex<Child>,
}

impl Wrapper {
    /// Starts one that asks the gate at `address` and believes `key`.
    pub(crate) async fn start(
        address: SocketAddr,
        key: &VerifyingKey,
        round: &Round,
        program: &Path,
        patience: Duration,
    ) -> Result<Self, Trouble> {
        let own = round.dir().join("point");
        let (gate_key, key_file) = (own.join("gate.pub.pem"), own.join("key"));
        let pem = key.to_spki_pem().map_err(Trouble::at("the gate's key"))?;
        files::write(&gate_key, pem.as_bytes())?;
        // The gate runs in development mode and asks nobody for a key; the wrapper wants one to show.
        files::write(&key_file, b"cg_none")?;
        let mut command = Command::new(program);
        command.args(["mcp", "--server", SERVER, "--agent", AGENT, "--session", "mcp", "--hold", "1ms"]);
        command.arg("--gate").arg(format!("http://{address}"));
        command.arg("--gate-key").arg(gate_key).arg("--key-file").arg(key_file);
        command.arg("--journal").arg(own.join("journal")).arg("--");
        command.arg(program).args(["prove-part", "server"]).arg(round.ledger_path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().map_err(Trouble::at("the wrapper"))?;
        let (Some(out), Some(to)) = (child.stdout.take(), child.stdin.take()) else {
            return Err(Trouble::new("the wrapper has no pipes"));
        };
        let point = LinePoint::new(out, to, patience);
        if !point.greet(START).await {
            return Err(Trouble::new("the wrapper did not answer"));
        }
        Ok(Self { point, child: tokio::sync::Mutex::new(child) })
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
}
