//! Listeners, and where a connection came in.
//!
//! Must never let a development server listen where another machine could reach it.

use std::net::SocketAddr;

use tokio::net::{TcpListener, UnixListener};

use crate::error::ServeError;
use crate::options::ServerOptions;

/// Where connections come in.
#[derive(Debug)]
pub enum Listener {
    /// TCP: callers show a key.
    Tcp(TcpListener),
    /// A Unix socket: whoever may open it acts for the operator. Whoever binds it sets its mode to 0600.
    Unix(UnixListener),
}

/// How a connection came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrance {
    Tcp,
    Unix,
}

/// Listens on the options' address.
///
/// # Errors
/// [`ServeError`] when development mode would reach beyond loopback, or the system refuses.
pub async fn bind(options: &ServerOptions) -> Result<Listener, ServeError> {
    let address = options.listen;
    check_reach(address, options.dev)?;
    let listener = TcpListener::bind(address).await;
    listener.map(Listener::Tcp).map_err(|source| ServeError::Bind { address, source })
}

/// Holds listeners that somebody else bound to the same rule.
pub(crate) fn check(listeners: &[Listener], dev: bool) -> Result<(), ServeError> {
    if listeners.is_empty() {
        return Err(ServeError::NoListener);
    }
    for listener in listeners {
        if let Listener::Tcp(tcp) = listener {
            check_reach(tcp.local_addr().map_err(ServeError::Listener)?, dev)?;
        }
    }
    Ok(())
}

fn check_reach(address: SocketAddr, dev: bool) -> Result<(), ServeError> {
    if dev && !address.ip().to_canonical().is_loopback() {
        return Err(ServeError::DevelopmentOffLoopback(address));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn development_stays_on_loopback() {
        for (address, reachable) in [
            ("127.0.0.1:8081", true),
            ("127.9.9.9:0", true),
            ("[::1]:8081", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:8081", false),
            ("[::]:8081", false),
            ("192.168.1.4:8081", false),
            ("[::ffff:10.0.0.1]:1", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(check_reach(address, true).is_ok(), reachable, "{address}");
            assert!(check_reach(address, false).is_ok(), "{address}");
        }
    }

    #[test]
    fn refusing_says_what_to_do() {
        let refused = check_reach("0.0.0.0:8081".parse().unwrap(), true).unwrap_err().to_string();
        assert!(refused.contains("`0.0.0.0:8081`") && refused.contains("`127.0.0.1:8081`"), "{refused}");
    }
}
