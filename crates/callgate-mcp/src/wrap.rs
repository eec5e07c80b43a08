//! Starting the server and standing before it.

use std::sync::Arc;

use callgate_gate::Gate;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::WrapError;
use crate::options::{Notes, WrapOptions};

/// How a wrapper ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Calls that reached the server.
    pub forwarded: u64,
    /// Calls that did not.
    pub refused: u64,
}

/// Starts the server of `options` and stands between it and the client until one of them leaves.
///
/// # Errors
/// [`WrapError`]: the server does not start or ended first, or an outcome could not be recorded.
pub async fn wrap<R, W>(
    _gate: Arc<Gate>,
    _options: WrapOptions,
    _client_in: R,
    _client_out: W,
    _notes: Notes,
) -> Result<Ended, WrapError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    Err(WrapError::Unreported(0))
}
