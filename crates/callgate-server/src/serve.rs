//! The accept loop: connections under limits, and an end that waits for what is under way.
//!
//! Must never take down the gate with it: closing that is its owner's to do, after this returned.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use callgate_gate::Gate;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::app::{self, App};
use crate::error::ServeError;
use crate::events::Lasts;
use crate::listen::{self, Entrance, Listener};
use crate::options::{ServerLimits, ServerOptions};
use crate::pace::{Lasting, Pace, Paced};
use crate::problem;
use crate::workers::Workers;

/// How long to wait when the system gives no connection, for lack of file descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a refused client may take to read that it was.
const REFUSAL_TIME: Duration = Duration::from_millis(500);
/// How many refusals are seen to their end at once; beyond, one is written and the connection closed.
const REFUSALS: usize = 64;

/// Serves a gate until `shutdown` is ready, then lets requests under way end, for a limited time.
///
/// The gate stays open; close it afterwards.
///
/// # Errors
/// [`ServeError`] when the settings do not allow to start.
pub async fn serve(
    gate: Arc<Gate>,
    listeners: Vec<Listener>,
    options: ServerOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    listen::check(&listeners, options.dev)?;
    check_limits(&options.limits)?;
    if options.dev {
        options.log.line("development mode: no authentication, anyone on this machine may ask as any agent");
    }
    let workers = Workers::start(options.workers).map_err(ServeError::Workers)?;
    let (stop, stopping) = watch::channel(false);
    let server = Arc::new(Server::new(gate, options, workers, stopping.clone()));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(Arc::clone(&server).accept(listener, stopping.clone()));
    }
    shutdown.await;
    // Nobody listens only when every loop has ended, and they end by this.
    let _ = stop.send(true);
    while accepting.join_next().await.is_some() {}
    let drain_time = server.app.limits.drain_time;
    if tokio::time::timeout(drain_time, server.app.settled()).await.is_err() {
        server.app.log.line("requests were still under way when the server stopped");
    }
    Ok(())
}

fn check_limits(limits: &ServerLimits) -> Result<(), ServeError> {
    let floors = [
        ("body_bytes", limits.body_bytes, 1024),
        ("header_bytes", limits.header_bytes, 1024),
        ("headers", limits.headers, 8),
        ("connections", limits.connections, 1),
        ("batch", limits.batch, 1),
        ("in_flight", limits.in_flight, limits.batch),
    ];
    for (name, value, least) in floors {
        if value < least {
            return Err(ServeError::Limit { name, least });
        }
    }
    Ok(())
}

struct Server {
    app: Arc<App>,
    router: Router,
    http: http1::Builder,
    /// Over TCP.
    connections: Arc<Semaphore>,
    /// Over the socket. Its callers are the operator's, and whoever fills up the others must not keep them out.
    local: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

/// A connection that came in.
enum Arrival {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Server {
    fn new(
        gate: Arc<Gate>,
        options: ServerOptions,
        workers: Workers,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let mut http = http1::Builder::new();
        // `Paced` limits the time that headers take, and tells it from the time a connection rests.
        http.max_headers(options.limits.headers)
            .max_header_size(options.limits.header_bytes)
            .header_read_timeout(None);
        let places = options.limits.connections.min(Semaphore::MAX_PERMITS);
        let app = Arc::new(App::new(gate, options, workers, stopping));
        Self {
            router: app::router(Arc::clone(&app)),
            app,
            http,
            connections: Arc::new(Semaphore::new(places)),
            local: Arc::new(Semaphore::new(places)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
        }
    }

    /// Accepts until told to stop, then waits for its connections.
    async fn accept(self: Arc<Self>, listener: Listener, stopping: watch::Receiver<bool>) {
        let mut open = JoinSet::new();
        let mut stop = stopping.clone();
        loop {
            tokio::select! {
                () = stopped(&mut stop) => break,
                Some(_) = open.join_next() => {}
                arrival = arrive(&listener) => match arrival {
                    Ok(arrival) => self.admit(arrival, &mut open, &stopping),
                    Err(error) => self.pause(&error).await,
                },
            }
        }
        drop(listener);
        let ended = async { while open.join_next().await.is_some() {} };
        if tokio::time::timeout(self.app.limits.drain_time, ended).await.is_err() {
            self.app.log.line("connections were cut: their requests did not end in time");
        }
        open.shutdown().await;
    }

    async fn pause(&self, error: &io::Error) {
        // A client that was gone before it was accepted is no trouble of ours.
        if error.kind() != io::ErrorKind::ConnectionAborted {
            self.app
                .log
                .line(&format!("could not accept a connection: {error}; raise the limit of open files?"));
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }

    fn admit(self: &Arc<Self>, arrival: Arrival, open: &mut JoinSet<()>, stopping: &watch::Receiver<bool>) {
        let places = match arrival {
            Arrival::Tcp(_) => &self.connections,
            Arrival::Unix(_) => &self.local,
        };
        match Arc::clone(places).try_acquire_owned() {
            Ok(place) => {
                open.spawn(Arc::clone(self).connect(arrival, place, stopping.clone()));
            }
            Err(_) => match Arc::clone(&self.refusals).try_acquire_owned() {
                Ok(place) => drop(open.spawn(refuse(arrival, place))),
                // A client that sees nothing could take the gate for gone.
                Err(_) => drop(refuse_at_once(arrival)),
            },
        }
    }

    async fn connect(
        self: Arc<Self>,
        arrival: Arrival,
        place: OwnedSemaphorePermit,
        stopping: watch::Receiver<bool>,
    ) {
        match arrival {
            Arrival::Tcp(stream) => self.converse(stream, Entrance::Tcp, stopping).await,
            Arrival::Unix(stream) => self.converse(stream, Entrance::Unix, stopping).await,
        }
        drop(place);
    }

    /// Answers one connection's requests, one after the other.
    async fn converse<S>(&self, stream: S, entrance: Entrance, mut stopping: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pace = Arc::new(Pace::default());
        let paced = Paced::new(stream, Arc::clone(&pace), &self.app.limits);
        let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
            pace.request_began();
            let (router, pace) = (self.router.clone(), Arc::clone(&pace));
            async move {
                let response = app::answer(&self.app, router, entrance, request.map(Body::new)).await;
                Ok::<_, Infallible>(ending(response, pace))
            }
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(paced), service));
        // A connection that fails has nobody left to tell: its client broke it, or was too slow.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = stopped(&mut stopping) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// Has the request end with its answer, whenever that is.
fn ending(response: Response, pace: Arc<Pace>) -> Response {
    if response.extensions().get::<Lasts>().is_some() {
        return response.map(|body| Body::new(Lasting { body, pace }));
    }
    pace.request_ended();
    response
}

/// Ready once the server stops, or is gone.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn arrive(listener: &Listener) -> io::Result<Arrival> {
    match listener {
        Listener::Tcp(tcp) => {
            let (stream, _) = tcp.accept().await?;
            // Answers are one write each, so there is nothing to gather. Fails only for a client that is gone already.
            let _ = stream.set_nodelay(true);
            Ok(Arrival::Tcp(stream))
        }
        Listener::Unix(unix) => unix.accept().await.map(|(stream, _)| Arrival::Unix(stream)),
    }
}

/// Says no without waiting for anything.
fn refuse_at_once(arrival: Arrival) -> io::Result<()> {
    match arrival {
        Arrival::Tcp(stream) => stream.into_std()?.write_all(&problem::refusal()),
        Arrival::Unix(stream) => stream.into_std()?.write_all(&problem::refusal()),
    }
}

async fn refuse(arrival: Arrival, place: OwnedSemaphorePermit) {
    let refused = async {
        match arrival {
            Arrival::Tcp(stream) => turn_away(stream).await,
            Arrival::Unix(stream) => turn_away(stream).await,
        }
    };
    // Whether the client read it or not, it is closed now.
    let _ = tokio::time::timeout(REFUSAL_TIME, refused).await;
    drop(place);
}

/// Says no, and takes what the client sends until it hangs up: closing on unread bytes would reset the
/// connection and lose the answer.
async fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    stream.write_all(&problem::refusal()).await?;
    stream.shutdown().await?;
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
