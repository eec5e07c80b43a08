//! Starting the server and ending it.

use std::process::{ExitStatus, Stdio};

use callgate_gate::AnyGate;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::{Child, Command};

use crate::error::WrapError;
use crate::options::{Notes, WrapOptions};
use crate::relay::{Ended, relay};

/// The environment variable with the judge's key, which is kept from the wrapped server.
pub const JUDGE_KEY: &str = "CALLGATE_JUDGE_KEY";

/// The environment variable with a caller's key, which is kept from the wrapped server, too.
const GATE_KEY: &str = "CALLGATE_TOKEN";

/// Starts the server of `options` and stands between it and the client until one of them leaves.
/// Its standard error stays this process's own.
///
/// To end it, end `client_in`; dropping the future kills the server and leaves the outcomes of
/// running calls open in the log.
///
/// # Errors
/// [`WrapError`]: the server does not start or ended first, or an outcome could not be recorded.
pub async fn wrap<R, W>(
    gate: impl Into<AnyGate>,
    options: WrapOptions,
    client_in: R,
    client_out: W,
    notes: Notes,
) -> Result<Ended, WrapError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let mut server = Server(start(&options)?);
    let grace = options.bounds.grace;
    let no_pipe =
        || WrapError::Start { command: shown(&options), reason: "it has no standard streams".to_owned() };
    let server_in = server.0.stdout.take().ok_or_else(no_pipe)?;
    let server_out = server.0.stdin.take().ok_or_else(no_pipe)?;
    let ended = relay(gate, options, (client_in, client_out), (server_in, server_out), notes).await;
    let status = tokio::time::timeout(grace, server.0.wait()).await;
    server.kill();
    match ended {
        Err(WrapError::ServerEnded { in_flight, .. }) => {
            let status = status.ok().and_then(Result::ok);
            Err(WrapError::ServerEnded { status: in_words(status), in_flight })
        }
        other => other,
    }
}

fn start(options: &WrapOptions) -> Result<Child, WrapError> {
    let mut command = Command::new(&options.command);
    command.args(&options.args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    // The wrapped server has no business with the judge.
    command.env_remove(JUDGE_KEY);
    // Nor with the keys of people and agents.
    command.env_remove(GATE_KEY);
    // A group of its own, so that whatever the server starts can be ended with it.
    #[cfg(unix)]
    command.process_group(0);
    command.kill_on_drop(true);
    command.spawn().map_err(|e| WrapError::Start { command: shown(options), reason: e.to_string() })
}

fn shown(options: &WrapOptions) -> String {
    options.command.to_string_lossy().into_owned()
}

fn in_words(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "it closed its output and was killed".to_owned(), |status| status.to_string())
}

/// The child; what it started goes with it.
struct Server(Child);

impl Server {
    fn kill(&mut self) {
        #[cfg(unix)]
        if let Some(group) = self.group() {
            // It may be gone already.
            let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        drop(self.0.start_kill());
    }

    /// The group's id is the child's; once the child was waited for, the number may be another's.
    #[cfg(unix)]
    fn group(&self) -> Option<rustix::process::Pid> {
        self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
