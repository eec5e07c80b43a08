//! Why a server does not start, or stops.

use std::io;
use std::net::SocketAddr;

/// A server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Without authentication, only this machine may ask.
    #[error(
        "development mode has no authentication, so it listens on loopback only, not on `{0}`; \
         use `127.0.0.1:{port}`, or leave out `--dev` and create keys",
        port = .0.port()
    )]
    DevelopmentOffLoopback(SocketAddr),
    /// The address cannot be had.
    #[error("could not listen on `{address}`: {source}; stop what uses it, or choose another address")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A listener has no address.
    #[error("could not read a listener's address: {0}; bind it again")]
    Listener(io::Error),
    /// Nothing to accept on.
    #[error("there is nothing to listen on; give at least one address or socket")]
    NoListener,
    /// A limit is too low to serve anything.
    #[error("the limit `{name}` is too low; give at least {least}")]
    Limit {
        /// The setting.
        name: &'static str,
        /// The least value.
        least: usize,
    },
    /// There are no threads to decide on.
    #[error("could not start threads to decide on: {0}")]
    Workers(io::Error),
}
