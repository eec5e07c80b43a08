//! The wrapper as the enforcement point of a gate that runs already.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use std::time::Duration;

use callgate_core::digest::Digest;
use callgate_gate::clock::SystemClock;
use callgate_gate::{Away, Claim, Stopgap};
use callgate_log::VerifyingKey;
use callgate_mcp::WrapOptions;
use callgate_store::{OsRandom, RealFs};
use tokio::task::JoinSet;

use super::{Args, UntilTold, finished, health, options, session};
use crate::carrier::Way;
use crate::evidence::public_key_file;
use crate::failure::Failure;
use crate::opening::Stop;
use crate::remote::{SOCKET, key_in};
use crate::{Outcome, files, output, stdio};

/// How long handing in may take when the wrapper ends.
const LEAVING: Duration = Duration::from_secs(3);

/// Runs the wrapper on the gate at `address`.
pub(super) async fn wrap(address: &str, args: &Args) -> Outcome {
    let mut stop = Stop::listen()?;
    let pinned = args.gate_key.as_deref().ok_or_else(|| Failure::usage("give `--gate-key FILE`, too"))?;
    let pinned = files::read_key(pinned)?;
    let key = args.key_file.as_deref().map(key_in).transpose()?;
    let way = Way::new(address, key)?;
    let listener = match &args.health {
        Some(address) => Some(health::listen(address).await?),
        None => None,
    };
    let mut options = options(args)?;
    let shown = way.shown();
    let gate = Away::new(Arc::new(way), pinned, Arc::new(SystemClock), Arc::new(OsRandom))
        .with_notes(|text| output::note(&format!("callgate: {text}")));
    let gate = Arc::new(match stopgap(args, &options, &pinned) {
        Ok(stopgap) => gate.with_stopgap(stopgap),
        Err(problem) => {
            output::warn(&format!("nothing runs while the gate is away: {problem}"));
            gate
        }
    });
    gate.begin().await;
    if options.session.is_none() {
        options.session = Some(session(&gate.nonce().map_err(Failure::unavailable)?)?);
    }
    output::note(&format!(
        "callgate: server `{}`, agent `{}`, session `{}`, gate at {shown}",
        options.server,
        options.agent.id,
        options.session.as_ref().map_or("", callgate_core::name::Name::as_str),
    ));
    let mut beside = JoinSet::new();
    beside.spawn(Arc::clone(&gate).keep());
    if let Some(listener) = listener {
        beside.spawn(health::serve(listener, Arc::clone(&gate)));
    }
    let client_in =
        UntilTold { from: stdio::input(), told: Box::pin(async move { stop.told().await }), over: false };
    let notes = Arc::new(|text: &str| output::note(&format!("callgate: {text}")));
    let ended = callgate_mcp::wrap(Arc::clone(&gate), options, client_in, stdio::output(), notes).await;
    beside.shutdown().await;
    // What ran unchecked since the last look; whatever is left waits in the folder.
    drop(tokio::time::timeout(LEAVING, gate.tend()).await);
    finished(ended)
}

/// The lease and the journal, in the folder of this gate, agent and server.
fn stopgap(args: &Args, options: &WrapOptions, pinned: &VerifyingKey) -> Result<Stopgap, String> {
    let (agent, server, tenant) = (&options.agent.id, &options.server, &options.tenant);
    let point = format!("mcp-{server}");
    let claim = Claim {
        agent: agent.to_string(),
        enforces: callgate_mcp::enforced().map(str::to_owned).collect(),
        point: point.clone(),
        team: options.agent.team.as_ref().map(ToString::to_string),
        tenant: tenant.to_string(),
    };
    let folder = match &args.journal {
        Some(folder) => folder.clone(),
        None => {
            let whole = format!("{}\0{tenant}\0{agent}\0{point}", pinned.key_id());
            let digest = Digest::of(whole.as_bytes()).hex();
            let name = digest.get(..16).unwrap_or(&digest);
            files::default_points().ok_or("there is no state folder; give `--journal DIR`")?.join(name)
        }
    };
    let fs = RealFs::new(&folder).map_err(|e| format!("`{}`: {e}", folder.display()))?;
    files::is_ours(&folder)?;
    Stopgap::open(Arc::new(fs), claim, pinned).map_err(|e| format!("`{}`: {e}", folder.display()))
}

/// Where a data folder does not open because its gate runs: what to write instead.
pub(super) fn instead(failure: Failure, data: &Path) -> Failure {
    let socket = data.join(SOCKET);
    if UnixStream::connect(&socket).is_err() {
        return failure;
    }
    let key =
        public_key_file(data).map_or_else(|_| "GATE.pub.pem".to_owned(), |key| key.display().to_string());
    Failure::unavailable(format!(
        "a gate runs on `{}` already; use it with `callgate mcp --gate unix:{} --gate-key {key} -- COMMAND`",
        data.display(),
        socket.display()
    ))
}
