//! `files_server DIR`: the demonstration server over standard input and output.

use std::io;
use std::path::PathBuf;

fn main() -> io::Result<()> {
    let root = std::env::args_os().nth(1).map(PathBuf::from);
    let root = root.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "usage: files_server DIR"))?;
    callgate_mcp::demo_server::serve_folder(&root, io::stdin().lock(), io::stdout().lock())
}
