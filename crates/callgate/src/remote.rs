//! Speaking to a running gate: over the socket in its data folder, or over HTTP with a person's key.
//!
//! HTTP to another machine would show the key to the network, so it is refused; a tunnel or a proxy on this
//! machine takes it there. A key is read from a file or a variable, never from the command line.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;

/// The socket in the data folder of a running gate.
pub(crate) const SOCKET: &str = "gate.sock";
/// The variable that holds a key.
const TOKEN: &str = "CALLGATE_TOKEN";
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// How long a gate may take to answer, beside what it was asked to wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much longer something may take that looks at the whole log.
const LONG: Duration = Duration::from_secs(600);

/// Which gate, and as whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Reach {
    /// The data folder of a gate that runs on this machine: the caller is its operator
    #[arg(long, value_name = "DIR", conflicts_with = "url", required_unless_present = "url")]
    data: Option<PathBuf>,
    /// The address of a running gate, such as `http://127.0.0.1:8081`
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The file with the caller's key; `CALLGATE_TOKEN` if left out
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Where a running gate answers.
pub(crate) enum Place {
    /// At its socket.
    Socket(PathBuf),
    /// Host and port.
    Tcp(String),
}

impl Place {
    /// The loopback address in a URL.
    pub(crate) fn tcp(url: &str) -> Result<Self, String> {
        authority(url).map(Self::Tcp)
    }
}

/// The header that shows the key in a file.
pub(crate) fn key_in(path: &Path) -> Result<HeaderValue, Failure> {
    bearer(&String::from_utf8_lossy(&files::read(path)?))
}

fn bearer(key: &str) -> Result<HeaderValue, Failure> {
    let value = HeaderValue::from_str(&format!("Bearer {}", key.trim()));
    let mut value = value.map_err(|_| Failure::usage("the key has characters that no key has"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A running gate.
pub(crate) struct Remote {
    place: Place,
    key: Option<HeaderValue>,
}

impl Reach {
    /// Opens nothing yet.
    pub(crate) fn remote(&self) -> Result<Remote, Failure> {
        let place = match (&self.data, &self.url) {
            (Some(data), None) => Place::Socket(data.join(SOCKET)),
            (None, Some(url)) => Place::Tcp(authority(url).map_err(Failure::usage)?),
            _ => return Err(Failure::usage("give `--data DIR` or `--url URL`")),
        };
        Ok(Remote { place, key: self.key()? })
    }

    fn key(&self) -> Result<Option<HeaderValue>, Failure> {
        let text = match &self.token_file {
            Some(path) => Some(String::from_utf8_lossy(&files::read(path)?).into_owned()),
            // Over the socket the operator needs none, and a stray variable must not make them another.
            None if self.data.is_some() => None,
            None => files::variable(TOKEN),
        };
        text.as_deref().map(bearer).transpose()
    }
}

/// A path with a query; empty values are left out.
pub(crate) fn query(path: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let mut out = path.to_owned();
    for (name, value) in pairs {
        if let Some(value) = value {
            out.push(if out.contains('?') { '&' } else { '?' });
            out.push_str(name);
            out.push('=');
            out.push_str(&encoded(value));
        }
    }
    out
}

/// Percent-encoding of everything but RFC 3986's unreserved characters.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Host and port of a loopback address.
fn authority(url: &str) -> Result<String, String> {
    let wrong = "write the gate's address like `http://127.0.0.1:8081`";
    let uri: Uri = url.parse().map_err(|_| wrong.to_owned())?;
    let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
    let (true, Some(authority)) = (plain, uri.authority()) else {
        return Err(format!("{wrong}; it speaks plain HTTP, and its paths are known"));
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !loopback || authority.as_str().contains('@') {
        return Err(format!(
            "`{host}` is not this machine, and plain HTTP would show the key to the network; use a tunnel to its loopback address"
        ));
    }
    Ok(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)))
}

impl Remote {
    /// Reads `path`, which begins with a slash and may have a query.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, None, Duration::ZERO).await
    }

    /// As [`Self::get`], where the gate may wait for so long before it answers.
    pub(crate) async fn get_waiting(&self, path: &str, wait: Duration) -> Result<Value, Failure> {
        self.ask(Method::GET, path, None, wait).await
    }

    /// Sends JSON to `path`.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask(Method::POST, path, Some(body), Duration::ZERO).await
    }

    /// As [`Self::post`], for what may take minutes.
    pub(crate) async fn post_long(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask(Method::POST, path, Some(body), LONG).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        wait: Duration,
    ) -> Result<Value, Failure> {
        let body = body.map(|body| body.to_string().into_bytes());
        let asked = self.answered(method, path, body, MAX_ANSWER);
        let limit = PATIENCE.saturating_add(wait);
        let late = |_| Failure::unavailable(format!("the gate did not answer within {} s", limit.as_secs()));
        let answered = tokio::time::timeout(limit, asked).await.map_err(late)?;
        let (status, answer) = answered.map_err(Failure::from)?;
        understood(status, &answer)
    }

    /// To `place`, showing `key`.
    pub(crate) const fn new(place: Place, key: Option<HeaderValue>) -> Self {
        Self { place, key }
    }

    /// Where it is, for people.
    pub(crate) fn shown(&self) -> String {
        match &self.place {
            Place::Socket(socket) => format!("`{}`", socket.display()),
            Place::Tcp(address) => format!("`http://{address}`"),
        }
    }

    /// Asks once, and reads an answer of at most `most` bytes, however long that takes.
    pub(crate) async fn answered(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        most: usize,
    ) -> Result<(StatusCode, Bytes), Unanswered> {
        let request = self.request(method, path, body).map_err(Unanswered::Unasked)?;
        self.open().await?.ask(request, most).await
    }

    /// Reads `path` over the connection that is kept in `line`, or else over a new one, which is kept there.
    pub(crate) async fn answered_over(
        &self,
        line: &mut Option<Line>,
        path: &str,
        most: usize,
    ) -> Result<(StatusCode, Bytes), Unanswered> {
        let request = || self.request(Method::GET, path, None).map_err(Unanswered::Unasked);
        // Taken out, so that one on which an answer is still to come is not used again.
        if let Some(mut kept) = line.take()
            && let Ok(answer) = kept.ask(request()?, most).await
        {
            *line = Some(kept);
            return Ok(answer);
        }
        let mut fresh = self.open().await?;
        let answer = fresh.ask(request()?, most).await?;
        *line = Some(fresh);
        Ok(answer)
    }

    async fn open(&self) -> Result<Line, Unanswered> {
        let unreachable = |error| unreachable(&self.shown(), &error);
        match &self.place {
            Place::Socket(socket) => {
                Line::over(UnixStream::connect(socket).await.map_err(unreachable)?).await
            }
            Place::Tcp(address) => Line::over(TcpStream::connect(address).await.map_err(unreachable)?).await,
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let host = match &self.place {
            Place::Socket(_) => "localhost",
            Place::Tcp(address) => address,
        };
        let posts = body.is_some();
        let bytes = body.map_or_else(Bytes::new, Bytes::from);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host)
            .header(ACCEPT, "application/json")
            .body(Full::new(bytes))
            .map_err(Failure::unexpected)?;
        let headers = request.headers_mut();
        if posts {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(key) = &self.key {
            headers.insert(AUTHORIZATION, key.clone());
        }
        Ok(request)
    }
}

/// Why there is no answer.
pub(crate) enum Unanswered {
    /// Nobody is there.
    Nobody(Failure),
    /// Somebody was, and broke it off.
    BrokenOff(Failure),
    /// Nothing was asked.
    Unasked(Failure),
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Nobody(failure) | Unanswered::BrokenOff(failure) | Unanswered::Unasked(failure) => {
                failure
            }
        }
    }
}

fn unreachable(place: &str, error: &std::io::Error) -> Unanswered {
    let shown = format!("no gate answers at {place}: {error}; start one with `callgate serve`");
    let failure = Failure::unavailable(shown);
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Unanswered::Nobody(failure),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => Unanswered::BrokenOff(failure),
        // Too few files on this side, or more who would connect than the gate has taken yet.
        _ => Unanswered::Unasked(failure),
    }
}

/// A connection to a gate.
pub(crate) struct Line {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Dropped with the line, it ends with it.
    _driving: JoinSet<()>,
}

impl Line {
    async fn over<S>(stream: S) -> Result<Self, Unanswered>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut driving = JoinSet::new();
        driving.spawn(async move { drop(connection.await) });
        Ok(Self { sender, _driving: driving })
    }

    async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
        most: usize,
    ) -> Result<(StatusCode, Bytes), Unanswered> {
        self.sender.ready().await.map_err(broken)?;
        let response = self.sender.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, most).collect().await;
        let cut =
            |e| Unanswered::BrokenOff(Failure::unavailable(format!("the gate's answer broke off: {e}")));
        Ok((head.status, body.map_err(cut)?.to_bytes()))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "shaped for `map_err`")]
fn broken(error: hyper::Error) -> Unanswered {
    Unanswered::BrokenOff(Failure::unavailable(format!("the gate broke off: {error}")))
}

/// The JSON of a good answer; of another one what its problem document says.
fn understood(status: StatusCode, answer: &[u8]) -> Result<Value, Failure> {
    let value: Option<Value> = serde_json::from_slice(answer).ok();
    if status.is_success() {
        return value.ok_or_else(|| Failure::unexpected("the gate answered with something that is no JSON"));
    }
    let detail = value.as_ref().and_then(|problem| problem.get("detail")).and_then(Value::as_str);
    let detail = crate::output::plain(detail.unwrap_or("it did not say why"));
    let exit = match status {
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::CONFLICT => Exit::Usage,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Deny,
        _ => Exit::GateUnavailable,
    };
    Err(Failure::new(exit, format!("the gate answered {}: {detail}", status.as_u16())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_to_this_machine_only() {
        assert_eq!(authority("http://127.0.0.1:8081").as_deref(), Ok("127.0.0.1:8081"));
        assert_eq!(authority("http://localhost/").as_deref(), Ok("localhost:80"));
        assert_eq!(authority("http://[::1]:9").as_deref(), Ok("[::1]:9"));
        for url in [
            "http://gate.example.com:8081",
            "https://127.0.0.1:8081",
            "http://10.0.0.1",
            "http://127.0.0.1:8081/api",
            "http://ana:secret@127.0.0.1",
            "127.0.0.1:8081",
            "",
        ] {
            assert!(authority(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_problem_is_told_and_cannot_move_the_cursor() {
        let problem = br#"{"detail":"approval `apr-1` is used\u001b[2J"}"#;
        let failure = understood(StatusCode::CONFLICT, problem).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert_eq!(failure.to_string(), "the gate answered 409: approval `apr-1` is used\\u{1b}[2J");
        assert_eq!(understood(StatusCode::FORBIDDEN, b"").unwrap_err().exit(), Exit::Deny);
        assert_eq!(understood(StatusCode::OK, b"{}").unwrap(), serde_json::json!({}));
    }
}
