//! The wrapper as the enforcement point of a gate that runs already.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use callgate_gate::Away;
use callgate_gate::clock::SystemClock;
use callgate_store::OsRandom;

use super::{Args, UntilTold, finished, options, session};
use crate::carrier::Way;
use crate::evidence::public_key_file;
use crate::failure::Failure;
use crate::opening::Stop;
use crate::remote::{SOCKET, key_in};
use crate::{Outcome, files, output, stdio};

/// Runs the wrapper on the gate at `address`.
pub(super) async fn wrap(address: &str, args: &Args) -> Outcome {
    let mut stop = Stop::listen()?;
    let pinned = args.gate_key.as_deref().ok_or_else(|| Failure::usage("give `--gate-key FILE`, too"))?;
    let pinned = files::read_key(pinned)?;
    let key = args.key_file.as_deref().map(key_in).transpose()?;
    let way = Way::new(address, key)?;
    let mut options = options(args)?;
    let shown = way.shown();
    let gate = Arc::new(Away::new(Arc::new(way), pinned, Arc::new(SystemClock), Arc::new(OsRandom)));
    if options.session.is_none() {
        options.session = Some(session(&gate.nonce().map_err(Failure::unavailable)?)?);
    }
    output::note(&format!(
        "callgate: server `{}`, agent `{}`, session `{}`, gate at {shown}",
        options.server,
        options.agent.id,
        options.session.as_ref().map_or("", callgate_core::name::Name::as_str),
    ));
    let client_in =
        UntilTold { from: stdio::input(), told: Box::pin(async move { stop.told().await }), over: false };
    let notes = Arc::new(|text: &str| output::note(&format!("callgate: {text}")));
    finished(callgate_mcp::wrap(gate, options, client_in, stdio::output(), notes).await)
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
