//! Standard input and output of a wrapper, without a thread hop per message where that is possible.
//!
//! MCP clients start servers with pipes or socket pairs, which the runtime can wait for itself. Anything
//! else (a terminal, a file) goes through the runtime's blocking threads, which is slower and always works.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixStream, unix::pipe};

/// Standard input.
pub(crate) fn input() -> Box<dyn AsyncRead + Send + Unpin> {
    let direct = io::stdin().as_fd().try_clone_to_owned().and_then(|fd| match kind(&fd)? {
        Kind::Pipe => Ok(Box::new(pipe::Receiver::from_owned_fd(fd)?) as Box<dyn AsyncRead + Send + Unpin>),
        Kind::Socket => Ok(Box::new(socket(fd)?) as Box<dyn AsyncRead + Send + Unpin>),
        Kind::Other => Err(io::ErrorKind::Unsupported.into()),
    });
    direct.unwrap_or_else(|_| Box::new(tokio::io::stdin()))
}

/// Standard output.
pub(crate) fn output() -> Box<dyn AsyncWrite + Send + Unpin> {
    let direct = io::stdout().as_fd().try_clone_to_owned().and_then(|fd| match kind(&fd)? {
        Kind::Pipe => Ok(Box::new(pipe::Sender::from_owned_fd(fd)?) as Box<dyn AsyncWrite + Send + Unpin>),
        Kind::Socket => Ok(Box::new(socket(fd)?) as Box<dyn AsyncWrite + Send + Unpin>),
        Kind::Other => Err(io::ErrorKind::Unsupported.into()),
    });
    direct.unwrap_or_else(|_| Box::new(tokio::io::stdout()))
}

enum Kind {
    Pipe,
    Socket,
    Other,
}

fn kind(fd: &OwnedFd) -> io::Result<Kind> {
    let kind = File::from(fd.try_clone()?).metadata()?.file_type();
    Ok(match (kind.is_fifo(), kind.is_socket()) {
        (true, _) => Kind::Pipe,
        (_, true) => Kind::Socket,
        _ => Kind::Other,
    })
}

fn socket(fd: OwnedFd) -> io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(fd);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}
