//! A gate in this program, on a disk and under a clock that the suite holds, with each point in front of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callgate_core::name::Name;
use callgate_core::request::{Agent, DEFAULT_TENANT};
use callgate_gate::clock::Clock;
use callgate_gate::{Credential, Gate, GateOptions};
use callgate_log::VerifyingKey;
use callgate_mcp::WrapOptions;
use callgate_policy::Bundle;
use callgate_server::{Log, ServerLimits, ServerOptions};
use callgate_store::OsRandom;
use tokio::io::{duplex, split};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::call::{AGENT, SERVER};
use crate::disk::Disk;
use crate::points::{Client, Embedded, Errand, HttpPoint, LinePoint, Manner, Point, Wrapper};
use crate::round::Round;
use crate::trouble::Trouble;
use crate::wire::Proxy;

/// Small, so that making a disk costs little.
const SEGMENT: u64 = 4 << 20;

/// How a gate is set up.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) point: Point,
    pub(crate) bundle: Option<Bundle>,
    /// The gate's clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// The asking program's clock, where it has one of its own.
    pub(crate) own_clock: Arc<dyn Clock>,
    pub(crate) deadline: Duration,
    pub(crate) patience: Duration,
    pub(crate) manner: Manner,
    /// Whether a proxy stands between point and gate, where there is a wire between them.
    pub(crate) proxied: bool,
    /// After how many receipts the state is saved beside the log.
    pub(crate) save_every: u64,
}

/// A gate and a point in front of it.
pub(crate) struct Inside {
    pub(crate) gate: Arc<Gate>,
    pub(crate) client: Arc<Client>,
    pub(crate) key: VerifyingKey,
    pub(crate) proxy: Option<Proxy>,
    address: Option<SocketAddr>,
    leave: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

impl Inside {
    /// Opens the gate on `disk`; `Ok(Err(…))` when it refuses to open, which is an answer.
    pub(crate) async fn open(
        disk: &Disk,
        setting: &Setting,
        round: &Round,
        program: &Path,
    ) -> Result<Result<Self, String>, Trouble> {
        let options = GateOptions {
            segment_bytes: SEGMENT,
            deadline: setting.deadline,
            save_every: setting.save_every,
            ..GateOptions::default()
        };
        let (fs, clock) = (Arc::new(disk.clone()), Arc::clone(&setting.clock));
        let opened = Gate::open(fs, clock, Arc::new(OsRandom), setting.bundle.as_ref(), options).await;
        let gate = match opened {
            Ok(opened) => opened.gate,
            Err(refused) => return Ok(Err(refused.to_string())),
        };
        let key = gate.verifying_key();
        let client = Arc::new(Client::None);
        let inside = Self { gate, client, key, proxy: None, address: None, leave: None, serving: None };
        match setting.point {
            Point::Embedded => inside.embedded(setting, round),
            Point::Http => inside.http(setting, round).await,
            Point::Remote | Point::Leased => inside.remote(setting, round, program).await,
            Point::Mcp => inside.mcp(setting, round, program).await,
        }
        .map(Ok)
    }

    fn embedded(self, setting: &Setting, round: &Round) -> Result<Self, Trouble> {
        let point = Embedded::new(Arc::clone(&self.gate), round.ledger()?, setting.patience);
        Ok(Self { client: Arc::new(Client::Embedded(point)), ..self })
    }

    async fn http(self, setting: &Setting, round: &Round) -> Result<Self, Trouble> {
        let (served, address) = self.served(setting).await?;
        let (key, clock) = (served.key, Arc::clone(&setting.own_clock));
        let point = HttpPoint::new(address, key, round.ledger()?, clock, setting.patience)?;
        let client = Arc::new(Client::Http(Box::new(point.with_manner(setting.manner))));
        Ok(Self { client, ..served })
    }

    async fn remote(self, setting: &Setting, round: &Round, program: &Path) -> Result<Self, Trouble> {
        let (served, address) = self.served(setting).await?;
        let served = Self { address: Some(address), ..served };
        let client = served.wrapper(&Errand::of(setting.point, setting.patience), round, program).await?;
        Ok(Self { client, ..served })
    }

    /// A wrapper that asks this gate, as far as the wire lets it.
    pub(crate) async fn wrapper(
        &self,
        errand: &Errand,
        round: &Round,
        program: &Path,
    ) -> Result<Arc<Client>, Trouble> {
        let address = self.address.ok_or_else(|| Trouble::new("this gate is reached by no wire"))?;
        let wrapper = Wrapper::start(address, &self.key, round, program, errand).await?;
        Ok(Arc::new(Client::Remote(Box::new(wrapper))))
    }

    /// The gate over HTTP, and where it is reached.
    async fn served(self, setting: &Setting) -> Result<(Self, SocketAddr), Trouble> {
        // Nothing but what the case breaks shall cut a connection: a thousand at once take their time.
        let long = Duration::from_secs(90);
        let limits = ServerLimits {
            header_time: long,
            body_time: long,
            request_time: long,
            write_time: long,
            connections: 4096,
            ..ServerLimits::default()
        };
        let options = ServerOptions {
            limits,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            dev: true,
            log: Log::new(|_| ()),
            workers: None,
        };
        let listener = callgate_server::bind(&options).await.map_err(Trouble::at("a listener"))?;
        let callgate_server::Listener::Tcp(tcp) = &listener else {
            return Err(Trouble::new("the listener has no address"));
        };
        let mut address = tcp.local_addr().map_err(Trouble::at("a listener"))?;
        let (leave, left) = oneshot::channel();
        let gate = Arc::clone(&self.gate);
        let serving = tokio::spawn(async move {
            // What it could not serve, the point met.
            let _met =
                callgate_server::serve(gate, vec![listener], options, async move { drop(left.await) }).await;
        });
        let proxy = if setting.proxied { Some(Proxy::before(address).await?) } else { None };
        if let Some(proxy) = &proxy {
            address = proxy.address();
        }
        Ok((Self { proxy, leave: Some(leave), serving: Some(serving), ..self }, address))
    }

    async fn mcp(self, setting: &Setting, round: &Round, program: &Path) -> Result<Self, Trouble> {
        let name = |text: &str| Name::new(text).map_err(Trouble::at("a name"));
        let agent = Agent { id: name(AGENT)?, team: None, chain: Vec::new(), on_behalf_of: None };
        let args = ["prove-part".into(), "server".into(), round.ledger_path().into_os_string()];
        let mut options =
            WrapOptions::new(name(SERVER)?, agent, name(DEFAULT_TENANT)?, program.into(), args.to_vec());
        options.session = Some(name("mcp")?);
        options.credential = Credential::Local;
        options.bounds.hold = Duration::ZERO;
        options.bounds.outcome_grace = Duration::from_secs(2);
        let (ours, theirs) = duplex(1 << 16);
        let (client_in, client_out) = split(theirs);
        let gate = Arc::clone(&self.gate);
        let serving = tokio::spawn(async move {
            let notes = Arc::new(|_: &str| ());
            // How it ended shows in what was answered.
            let _shown = callgate_mcp::wrap(gate, options, client_in, client_out, notes).await;
        });
        let (from, to) = split(ours);
        let point = LinePoint::new(from, to, setting.patience);
        // One that does not answer answers no call either, and that is what counts.
        let _answered = point.greet(Duration::from_secs(10)).await;
        Ok(Self { client: Arc::new(Client::Lines(point)), serving: Some(serving), ..self })
    }

    /// Ends point and gate.
    pub(crate) async fn close(mut self) -> VerifyingKey {
        match self.client.as_ref() {
            Client::Lines(client) => client.leave().await,
            // One that does not end was killed when it is dropped.
            Client::Remote(wrapper) => drop(wrapper.leave().await),
            _ => {}
        }
        drop(self.leave.take());
        if let Some(mut serving) = self.serving.take()
            && tokio::time::timeout(Duration::from_secs(15), &mut serving).await.is_err()
        {
            serving.abort();
        }
        let gate = Arc::clone(&self.gate);
        // It waits for threads, which may hang on a disk that does.
        let _closed = tokio::task::spawn_blocking(move || gate.close()).await;
        self.key
    }
}
