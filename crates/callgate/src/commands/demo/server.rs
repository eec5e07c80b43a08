//! The MCP server behind the gate: the official one from npm, or the small one in this program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;

/// The official server inside a folder with `node_modules`.
const OFFICIAL: &str = "node_modules/@modelcontextprotocol/server-filesystem";
/// The hidden command that runs the small one.
pub(crate) const COMMAND: &str = "demo-server";

/// A server to start: its program and arguments, but for the folder to serve.
pub(super) struct Server {
    pub(super) title: String,
    pub(super) program: OsString,
    pub(super) args: Vec<OsString>,
    /// What is missing for the official one.
    pub(super) missing: Option<String>,
}

/// Arguments of the hidden `callgate demo-server`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// The folder to serve
    dir: PathBuf,
}

/// The official server if it can run here, else the small one and what is missing.
pub(super) fn find(dir: &Path) -> Server {
    match official(dir) {
        Ok(server) => server,
        Err(missing) => Server {
            title: "the small MCP server in this program".to_owned(),
            program: std::env::current_exe().map_or_else(|_| "callgate".into(), PathBuf::into_os_string),
            args: vec![COMMAND.into()],
            missing: Some(missing),
        },
    }
}

fn official(dir: &Path) -> Result<Server, String> {
    let node = Command::new("node").arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let node = node.ok().filter(|found| found.status.success()).ok_or("`node` is not installed")?;
    let home = dir.join(OFFICIAL);
    let package = crate::files::read(&home.join("package.json"));
    let package = package.ok().and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    let version = package.as_ref().and_then(|package| package.get("version")?.as_str());
    let entry = home.join("dist/index.js");
    match (version, entry.canonicalize()) {
        (Some(version), Ok(entry)) => Ok(Server {
            title: format!(
                "@modelcontextprotocol/server-filesystem {version} on node {}",
                String::from_utf8_lossy(&node.stdout).trim()
            ),
            program: "node".into(),
            args: vec![entry.into_os_string()],
            missing: None,
        }),
        _ => Err(format!(
            "the official server is not installed in `{}`; run `npm ci --prefix examples/demo` in the repository",
            dir.display()
        )),
    }
}

/// Runs the small server on standard input and output.
pub(crate) fn run(args: &ServerArgs) -> Outcome {
    let served =
        callgate_mcp::demo_server::serve_folder(&args.dir, std::io::stdin().lock(), std::io::stdout().lock());
    served.map_err(|e| Failure::unexpected(format!("the server stopped: {e}")))?;
    Ok(Exit::Ok)
}
