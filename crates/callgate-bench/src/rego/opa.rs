//! OPA's server on loopback, asked over one connection that stays open.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// The binary that the variable `OPA` names, or the one on the path.
pub(super) fn binary() -> Option<PathBuf> {
    let named = std::env::var_os("OPA").filter(|name| !name.is_empty()).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("opa"));
    named.or_else(|| found.find(|file| file.is_file()))
}

/// A server that is stopped when it is dropped.
pub(super) struct Server {
    child: Child,
    connection: BufReader<TcpStream>,
    _folder: TempDir,
}

impl Server {
    /// Starts one that knows one module.
    pub(super) fn start(module: &str) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let folder = tempfile::tempdir().map_err(text)?;
        let file = folder.path().join("bench.rego");
        std::fs::write(&file, module).map_err(text)?;
        // A port that is free now.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = address.map_err(text)?;
        let mut command = Command::new(binary().ok_or("there is no opa")?);
        command.args(["run", "--server", "--disable-telemetry", "--log-level", "error", "--addr"]);
        command.arg(address.to_string()).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(text)?;
        for _ in 0..600 {
            std::thread::sleep(Duration::from_millis(100));
            if let Ok(stream) = TcpStream::connect(address) {
                stream.set_nodelay(true).map_err(text)?;
                return Ok(Self { child, connection: BufReader::new(stream), _folder: folder });
            }
        }
        let _ = child.kill();
        Err("it does not listen after a minute".to_owned())
    }

    /// The body of the answer for `input`.
    pub(super) fn ask(&mut self, input: &str) -> Result<String, String> {
        self.exchange(input).map_err(|error| error.to_string())
    }

    fn exchange(&mut self, input: &str) -> std::io::Result<String> {
        let body = format!("{{\"input\":{input}}}");
        let request = format!(
            "POST /v1/data/bench/decision HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.connection.get_mut().write_all(request.as_bytes())?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.connection.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            let header = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            length = header.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(length);
        }
        let mut answer = vec![0; length];
        self.connection.read_exact(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
