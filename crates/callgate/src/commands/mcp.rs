//! `callgate mcp -- COMMAND…`: the gate in front of one stdio MCP server.
//!
//! Standard input and output belong to the protocol; everything said to people goes to standard error.

mod away;
mod health;

use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use callgate_core::name::Name;
use callgate_core::request::{Agent, DEFAULT_TENANT};
use callgate_gate::{Gate, GateOptions};
use callgate_mcp::{Ended, WrapError, WrapOptions};
use callgate_server::{Log, ServerOptions};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::oneshot;

use crate::Outcome;
use crate::commands::serve;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::judge::JudgeArgs;
use crate::opening::Stop;
use crate::remote::SOCKET;
use crate::{files, judge, opening, output, span, stdio};

/// Arguments of `callgate mcp`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle's folder; the snapshot in force if left out
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// The data folder; `callgate` in the user's state folder if left out
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A gate that runs already, to ask instead of opening a data folder: `unix:DATA/gate.sock` or `http://127.0.0.1:8081`
    #[arg(long, value_name = "GATE", requires = "gate_key", conflicts_with_all = ["bundle", "data"])]
    gate: Option<String>,
    /// The public key that this gate proves itself with; see `callgate keys public`
    #[arg(long, value_name = "FILE", requires = "gate")]
    gate_key: Option<PathBuf>,
    /// The file with the agent's key for this gate; over its socket the caller is its operator
    #[arg(long, value_name = "FILE", requires = "gate")]
    key_file: Option<PathBuf>,
    /// The folder for the lease of this gate and the journal of what runs while it is away; one in the user's state folder if left out
    #[arg(long, value_name = "DIR", requires = "gate")]
    journal: Option<PathBuf>,
    /// Where to tell how this enforcement point is, such as `127.0.0.1:8091`
    #[arg(long, value_name = "ADDRESS", requires = "gate")]
    health: Option<String>,
    /// What policy calls the server: the part before the dot in `files.read_file`. COMMAND's name if left out
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// The agent that asks
    #[arg(long, value_name = "ID", default_value = "local")]
    agent: String,
    /// The agent's team
    #[arg(long)]
    team: Option<String>,
    /// The agent's tenant
    #[arg(long, default_value = DEFAULT_TENANT)]
    tenant: String,
    /// The person or account the agent acts for
    #[arg(long, value_name = "WHO")]
    on_behalf_of: Option<String>,
    /// The session that the calls belong to; a random one if left out
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// The environment, such as `prod`
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// How long a call may run unless policy says otherwise
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = span::parse)]
    timeout: Duration,
    /// How long a call waits for people who must agree, before it is answered with a reference to come back with
    #[arg(long, value_name = "TIME", default_value = "45s", value_parser = span::parse)]
    hold: Duration,
    /// How long a throttled call waits for its turn, before it is answered with when to come back;
    /// not at all unless given
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    throttle_wait: Option<Duration>,
    #[command(flatten)]
    judge: JudgeArgs,
    /// The server's program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: Args) -> Outcome {
    // One wrapper serves one client; on one thread no message waits for another thread to wake.
    opening::block_on_one_thread(wrap(args))
}

async fn wrap(args: Args) -> Outcome {
    if let Some(gate) = &args.gate {
        return away::wrap(gate, &args).await;
    }
    let mut stop = Stop::listen()?;
    let data = args.data.clone().or_else(files::default_data);
    let data =
        data.ok_or_else(|| Failure::usage("there is no state folder to keep data in; give `--data DIR`"))?;
    let bundle = args.bundle.as_deref().map(files::read_bundle).transpose()?;
    let mut options = options(&args)?;
    let gate_options = GateOptions { judge: args.judge.open()?, ..GateOptions::default() };
    let opened = opening::open(&data, bundle.as_ref(), gate_options).await;
    let gate = opened.map_err(|failure| away::instead(failure, &data))?.gate;
    if options.session.is_none() {
        let random = gate.nonce().map_err(Failure::unavailable)?;
        options.session = Some(session(&random)?);
    }
    announce(&gate, &options, &data);
    judge::warn_if_missing(&gate);
    // People who must agree reach the gate through its socket, as under `callgate serve`.
    let (leave, left) = oneshot::channel::<()>();
    let desk = desk(&gate, &data, async move { drop(left.await) });
    let client_in =
        UntilTold { from: stdio::input(), told: Box::pin(async move { stop.told().await }), over: false };
    let notes = Arc::new(|text: &str| output::note(&format!("callgate: {text}")));
    let ended = callgate_mcp::wrap(Arc::clone(&gate), options, client_in, stdio::output(), notes).await;
    let trouble = gate.failure();
    drop(leave);
    if let Some(desk) = desk {
        // It has nothing to finish that anybody waits for.
        desk.abort();
        let _ = files::clear_socket(&data.join(SOCKET));
    }
    gate.close();
    trouble.map_or_else(|| finished(ended), |trouble| Err(Failure::unavailable(trouble)))
}

/// How the program ends.
fn finished(ended: Result<Ended, WrapError>) -> Outcome {
    match ended {
        Ok(_) => Ok(Exit::Ok),
        Err(error @ (WrapError::Name(_) | WrapError::Start { .. })) => Err(Failure::usage(error)),
        Err(error @ WrapError::Unreported(_)) => Err(Failure::unavailable(error)),
        Err(error) => Err(Failure::unexpected(error)),
    }
}

/// Answers on the socket in the data folder until told to leave.
fn desk(
    gate: &Arc<Gate>,
    data: &Path,
    left: impl Future<Output = ()> + Send + 'static,
) -> Option<tokio::task::JoinHandle<()>> {
    let listener = serve::unix(&data.join(SOCKET))?;
    let gate = Arc::clone(gate);
    let options = ServerOptions { log: Log::new(output::note), ..ServerOptions::default() };
    Some(tokio::spawn(async move {
        // Without it the wrapper goes on; people then cannot answer, and held calls come back.
        if let Err(error) = callgate_server::serve(gate, vec![listener], options, left).await {
            output::warn(&error.to_string());
        }
    }))
}

fn announce(gate: &Gate, options: &WrapOptions, data: &Path) {
    let (version, digest) = gate.snapshot();
    let session = options.session.as_ref().map_or("", Name::as_str);
    output::note(&format!(
        "callgate: server `{}`, agent `{}`, session `{session}`, snapshot {version} ({digest}), log in `{}`",
        options.server,
        options.agent.id,
        data.display()
    ));
}

fn name(flag: &str, text: &str) -> Result<Name, Failure> {
    Name::new(text).map_err(|e| Failure::usage(format!("`--{flag}`: {e}")))
}

fn options(args: &Args) -> Result<WrapOptions, Failure> {
    let optional = |flag, text: &Option<String>| text.as_deref().map(|text| name(flag, text)).transpose();
    let (command, rest) =
        args.command.split_first().ok_or_else(|| Failure::usage("give the server's COMMAND"))?;
    let server = match &args.server {
        Some(server) => server.clone(),
        None => stem(command),
    };
    let agent = Agent {
        id: name("agent", &args.agent)?,
        team: optional("team", &args.team)?,
        chain: Vec::new(),
        on_behalf_of: optional("on-behalf-of", &args.on_behalf_of)?,
    };
    let (server, tenant) = (name("server", &server)?, name("tenant", &args.tenant)?);
    let mut options = WrapOptions::new(server, agent, tenant, command.clone(), rest.to_vec());
    options.session = optional("session", &args.session)?;
    options.environment = optional("environment", &args.environment)?;
    options.bounds.default_timeout = args.timeout;
    options.bounds.hold = args.hold;
    options.bounds.throttle = args.throttle_wait.unwrap_or_default();
    Ok(options)
}

/// A server's name from its program; names in policy have no dots.
fn stem(command: &OsStr) -> String {
    let stem = Path::new(command).file_stem().map(|stem| stem.to_string_lossy().replace('.', "-"));
    stem.unwrap_or_else(|| "server".to_owned())
}

/// One wrapper is one session.
fn session(random: &str) -> Result<Name, Failure> {
    name("session", &format!("mcp-{}", random.get(..16).unwrap_or(random)))
}

/// What the client says, until the program is told to stop; then it reads as if the client had left.
struct UntilTold<R> {
    from: R,
    told: Pin<Box<dyn Future<Output = ()> + Send>>,
    over: bool,
}

impl<R: AsyncRead + Unpin> AsyncRead for UntilTold<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.over || self.told.as_mut().poll(cx).is_ready() {
            self.over = true;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.from).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_called_after_its_program() {
        assert_eq!(stem(OsStr::new("/usr/bin/mcp-server-time")), "mcp-server-time");
        assert_eq!(stem(OsStr::new("server.v2.py")), "server-v2");
        assert_eq!(stem(OsStr::new("/")), "server");
    }
}
