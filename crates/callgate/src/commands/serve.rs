//! `callgate serve`: the gate over HTTP and a Unix socket, until it is told to stop or its store fails.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callgate_gate::{Gate, GateOptions, Opened, PublishError};
use callgate_policy::{Bundle, Severity};
use callgate_server::{Listener, Log, ServerOptions};
use callgate_store::Recovery;
use tokio::net::UnixListener;

use crate::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::judge::JudgeArgs;
use crate::opening::Stop;
use crate::output::{self, Paint, counted};
use crate::remote::SOCKET;
use crate::webhooks::WebhookArgs;
use crate::{files, judge, opening, span, webhooks};

/// How often the store's health is looked at.
const PULSE: Duration = Duration::from_millis(100);
/// How often approvals are looked at that nobody decided in time.
const EXPIRY: Duration = Duration::from_secs(2);
/// How long a changed bundle must stay the same before it is taken.
const SETTLING: Duration = Duration::from_millis(500);

/// Arguments of `callgate serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle's folder, read again every `--reload`; the snapshot in force if left out
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// The data folder: log, state and keys. One gate owns it at a time
    #[arg(long, value_name = "DIR", required_unless_present = "dev")]
    data: Option<PathBuf>,
    /// The address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Development: no authentication, loopback only; without `--data`, a log and a key that are thrown away
    #[arg(long)]
    dev: bool,
    /// How often the bundle is read again
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = span::parse)]
    reload: Duration,
    /// The folder of the policy over the gate's own actions; the one in the log, else the default, if left out
    #[arg(long, value_name = "DIR")]
    control: Option<PathBuf>,
    /// Start once although the log's very end is damaged, and lose what was there
    #[arg(long)]
    discard_damaged_tail: bool,
    #[command(flatten)]
    judge: JudgeArgs,
    #[command(flatten)]
    webhooks: WebhookArgs,
}

pub(crate) fn run(args: Args) -> Outcome {
    let throwaway = match &args.data {
        Some(_) => None,
        None => {
            Some(tempfile::tempdir().map_err(|e| Failure::unexpected(format!("no temporary folder: {e}")))?)
        }
    };
    let data = args.data.clone().or_else(|| throwaway.as_ref().map(|dir| dir.path().to_owned()));
    let data = data.ok_or_else(|| Failure::usage("give `--data DIR`"))?;
    opening::block_on(serve(args, &data))
}

async fn serve(args: Args, data: &Path) -> Outcome {
    let stop = Stop::listen()?;
    let bundle = args.bundle.as_deref().map(files::read_bundle).transpose()?;
    let gate_options = GateOptions {
        discard_damaged_tail: args.discard_damaged_tail,
        control: args.control.as_deref().map(files::read_bundle).transpose()?,
        judge: args.judge.open()?,
        ..GateOptions::default()
    };
    let addressees = args.webhooks.read()?;
    let log = Log::new(output::note);
    // As many threads to decide as the machine runs, beside those that answer connections.
    let workers = Some(std::thread::available_parallelism().map_or(1, NonZero::get));
    let options =
        ServerOptions { listen: args.listen, dev: args.dev, log, workers, ..ServerOptions::default() };
    // The address first: one that cannot be had must not leave a new data folder behind.
    let tcp = callgate_server::bind(&options).await.map_err(Failure::usage)?;
    let opened = opening::open(data, bundle.as_ref(), gate_options).await?;
    let socket = data.join(SOCKET);
    let listeners: Vec<Listener> = std::iter::once(tcp).chain(unix(&socket)).collect();
    announce(&opened, data, &listeners, &args, addressees.len());
    let gate = opened.gate;
    let outbox = webhooks::start(&gate, addressees).await?;
    let reloading = args.bundle.map(|dir| tokio::spawn(reload(Arc::clone(&gate), dir, args.reload)));
    let expiring = tokio::spawn(expire(Arc::clone(&gate)));
    let until = ended(Arc::clone(&gate), stop);
    let served = callgate_server::serve(Arc::clone(&gate), listeners, options, until).await;
    expiring.abort();
    if let Some(reloading) = reloading {
        reloading.abort();
    }
    webhooks::stop(outbox).await;
    gate.close();
    // The socket is of no use without a gate; a leftover one is replaced at the next start.
    let _ = files::clear_socket(&socket);
    served.map_err(Failure::usage)?;
    match gate.failure() {
        Some(failure) => Err(Failure::unavailable(failure)),
        None => {
            output::note("stopped");
            Ok(Exit::Ok)
        }
    }
}

/// Writes down the approvals that nobody decided in time, so that whoever listens hears of it.
async fn expire(gate: Arc<Gate>) {
    loop {
        tokio::time::sleep(EXPIRY).await;
        // What cannot be recorded now is met again; the store's health is looked at elsewhere.
        let _met_again = gate.expire_approvals().await;
    }
}

/// Ready when the program is told to stop, or the store has failed.
async fn ended(gate: Arc<Gate>, mut stop: Stop) {
    let failed = async {
        while gate.failure().is_none() {
            tokio::time::sleep(PULSE).await;
        }
        output::complain("the store has failed: the gate stops, and nothing more is decided");
    };
    tokio::select! {
        () = stop.told() => output::note("told to stop; requests under way are finished first"),
        () = failed => {}
    }
}

/// A socket for programs of the same user, who act for the operator; without it the gate serves all the same.
pub(crate) fn unix(path: &Path) -> Option<Listener> {
    let bound = files::clear_socket(path).and_then(|()| {
        let listener = UnixListener::bind(path);
        let listener =
            listener.map_err(|e| Failure::usage(format!("could not listen on `{}`: {e}", path.display())))?;
        files::close_to_others(path)?;
        Ok(Listener::Unix(listener))
    });
    match bound {
        Ok(listener) => Some(listener),
        Err(failure) => {
            output::warn(&format!("{failure}; there is no local socket"));
            None
        }
    }
}

fn announce(opened: &Opened, data: &Path, listeners: &[Listener], args: &Args, receivers: usize) {
    let (gate, paint) = (&opened.gate, Paint::stderr());
    let field =
        |name: &str, text: String| output::note(&format!("  {}  {text}", paint.dim(&format!("{name:<10}"))));
    output::note(&paint.bold(concat!("callgate ", env!("CARGO_PKG_VERSION"))));
    for listener in listeners {
        let (name, place) = match listener {
            Listener::Tcp(tcp) => ("address", format!("http://{}", tcp.local_addr().unwrap_or(args.listen))),
            Listener::Unix(_) => ("socket", data.join(SOCKET).display().to_string()),
        };
        field(name, place);
    }
    let (version, digest) = gate.snapshot();
    field("snapshot", format!("{version} {digest}"));
    field("log", format!("`{}`: {}", data.display(), recovered(&opened.recovery)));
    field("origin", gate.identity().origin().to_owned());
    field("public key", data.join(gate.identity().public_key_file()).display().to_string());
    if receivers > 0 {
        field("webhooks", counted(u64::try_from(receivers).unwrap_or(u64::MAX), "receiver"));
    }
    match &args.bundle {
        Some(dir) => field("bundle", format!("`{}`, read again every {:?}", dir.display(), args.reload)),
        None => field("bundle", "the snapshot in force, from the log".to_owned()),
    }
    judge::warn_if_missing(gate);
    if args.dev {
        let lost = if args.data.is_none() { "; the log and its key are thrown away at the end" } else { "" };
        output::warn(&format!("development mode: anyone on this machine may ask as any agent{lost}"));
    } else if gate.keys().is_empty() {
        output::warn("no agent has a key yet, so nobody may ask; stop, then run `callgate keys create`");
    }
}

fn recovered(recovery: &Recovery) -> String {
    let mut text = counted(recovery.receipts, "receipt");
    if let Some((file, from, to)) = &recovery.cut {
        let what = if recovery.discarded {
            "a damaged tail was discarded"
        } else {
            "an unfinished write was cut off"
        };
        text.push_str(&format!("; {what} (`{file}`, bytes {from} to {to})"));
    }
    for (file, why) in &recovery.ignored {
        text.push_str(&format!("; `{file}` was left aside: {why}"));
    }
    text
}

/// Reads the bundle again and again; a broken one is reported once, and the snapshot before it stays in force.
async fn reload(gate: Arc<Gate>, dir: PathBuf, every: Duration) {
    let mut last = String::new();
    loop {
        tokio::time::sleep(every).await;
        let said = match settled(&gate, &dir).await {
            Ok(None) => continue,
            Ok(Some(bundle)) => publish(&gate, &bundle).await,
            Err(failure) => {
                Some(format!("the bundle cannot be read, so the snapshot in force stays: {failure}"))
            }
        };
        let said = said.unwrap_or_default();
        if said != last && !said.is_empty() {
            output::warn(&said);
        }
        last = said;
    }
}

/// The bundle, once nobody writes to it any more: half a file could be a policy, too.
async fn settled(gate: &Gate, dir: &Path) -> Result<Option<Bundle>, Failure> {
    let first = read(dir).await;
    if let Ok(bundle) = &first
        && bundle.digest().to_string() == gate.snapshot().1
    {
        return first.map(Some);
    }
    tokio::time::sleep(SETTLING).await;
    match (first, read(dir).await) {
        (Ok(first), Ok(second)) => Ok(Some(second).filter(|second| first == *second)),
        (Err(_), Ok(_)) => Ok(None),
        (_, Err(failure)) => Err(failure),
    }
}

async fn read(dir: &Path) -> Result<Bundle, Failure> {
    let dir = dir.to_owned();
    let read = tokio::task::spawn_blocking(move || files::read_bundle(&dir)).await;
    read.unwrap_or_else(|e| Err(Failure::unexpected(e)))
}

/// Puts a bundle in force if it is another one; gives what went wrong.
async fn publish(gate: &Arc<Gate>, bundle: &Bundle) -> Option<String> {
    match gate.publish(bundle, "operator").await {
        Ok(false) => None,
        Ok(true) => {
            let (version, digest) = gate.snapshot();
            output::note(&format!("snapshot {version} is in force: {digest}"));
            judge::warn_if_missing(gate);
            None
        }
        Err(PublishError::Invalid(report)) => Some(format!(
            "the bundle has {}, so the snapshot in force stays:\n{}",
            counted(u64::try_from(report.count(Severity::Error)).unwrap_or(u64::MAX), "error"),
            report.render().trim_end()
        )),
        Err(error @ (PublishError::Control(_) | PublishError::Unavailable(_))) => {
            Some(format!("the bundle could not be put in force: {error}"))
        }
    }
}
