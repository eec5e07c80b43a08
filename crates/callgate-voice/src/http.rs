//! One request to an endpoint and its answer: no redirects, no second try, bounded in size. Whoever asks
//! bounds the time.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::endpoint::{Endpoint, EndpointError};

/// The most unused connections that are kept, and for how long.
const IDLE: (usize, Duration) = (16, Duration::from_secs(60));
/// The most header lines of a response.
const MAX_HEADERS: usize = 64;
/// How much of an answer that does not matter is read, and for how long.
const MAX_IGNORED: usize = 16 * 1024;
const IGNORING: Duration = Duration::from_millis(200);

/// The way to an endpoint.
pub(crate) struct Line {
    endpoint: Endpoint,
    client: Way,
}

enum Way {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Encrypted(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The request could not be built.
    Unsendable,
    /// Nobody answered, or not to the end.
    Unreachable,
    /// The answer is longer than it may be.
    TooLarge,
}

impl Line {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// When this machine has no certificates to check an encrypted endpoint with.
    pub(crate) fn new(endpoint: Endpoint) -> Result<Self, EndpointError> {
        let mut builder = Client::builder(TokioExecutor::new());
        let builder = builder
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE.0)
            .pool_idle_timeout(IDLE.1)
            .http1_max_headers(MAX_HEADERS);
        let client = way(builder, endpoint.is_encrypted())?;
        Ok(Self { endpoint, client })
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Posts JSON, and reads at most `most` bytes of the answer. A redirect is an answer like any other:
    /// whoever is asked was chosen by the operator.
    pub(crate) async fn post(
        &self,
        headers: HeaderMap,
        body: Vec<u8>,
        most: usize,
    ) -> Result<Reply, Silence> {
        let (head, body) = self.send(headers, body).await?.into_parts();
        let body = Limited::new(body, most).collect().await.map_err(|error| {
            let too_large = error.is::<http_body_util::LengthLimitError>();
            if too_large { Silence::TooLarge } else { Silence::Unreachable }
        })?;
        Ok(Reply { status: head.status, body: body.to_bytes() })
    }

    /// Posts JSON, and gives the head of the answer, whatever follows it. A short body is read, so that the
    /// connection can be used again.
    pub(crate) async fn tell(
        &self,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<(StatusCode, HeaderMap), Silence> {
        let (head, body) = self.send(headers, body).await?.into_parts();
        let rest = Limited::new(body, MAX_IGNORED).collect();
        // Taken or not, the head has said it.
        let _ = tokio::time::timeout(IGNORING, rest).await;
        Ok((head.status, head.headers))
    }

    async fn send(&self, headers: HeaderMap, body: Vec<u8>) -> Result<Response<Incoming>, Silence> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.endpoint.uri())
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| Silence::Unsendable)?;
        *request.headers_mut() = headers;
        let own = request.headers_mut();
        own.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        own.insert(USER_AGENT, HeaderValue::from_static(concat!("callgate/", env!("CARGO_PKG_VERSION"))));
        let response = match &self.client {
            Way::Plain(client) => client.request(request).await,
            Way::Encrypted(client) => client.request(request).await,
        };
        response.map_err(|_| Silence::Unreachable)
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Line").field(&self.endpoint).finish()
    }
}

fn way(builder: &Builder, encrypted: bool) -> Result<Way, EndpointError> {
    if !encrypted {
        return Ok(Way::Plain(builder.build_http()));
    }
    let roots = HttpsConnectorBuilder::new().with_native_roots();
    let connector =
        roots.map_err(|e| EndpointError::Roots(e.to_string()))?.https_only().enable_http1().build();
    Ok(Way::Encrypted(builder.build(connector)))
}
