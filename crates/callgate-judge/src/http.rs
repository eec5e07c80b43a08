//! Asking over HTTP: one request, no redirects, no second try, bounded in time and size.

use std::time::Duration;

use callgate_core::finding::{Answer, Answering, Failure, Finding, Judge, Question};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use crate::answer::{self, MAX_ANSWER};
use crate::ask;
use crate::endpoint::{Endpoint, EndpointError, Key};

/// The most unused connections that are kept, and for how long.
const IDLE: (usize, Duration) = (16, Duration::from_secs(60));
/// The most header lines of a response.
const MAX_HEADERS: usize = 64;

/// A judge behind an OpenAI-compatible endpoint.
pub struct HttpJudge {
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
    client: Way,
}

/// The way to the endpoint.
enum Way {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Encrypted(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl std::fmt::Debug for HttpJudge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpJudge").field("endpoint", &self.endpoint.origin()).finish_non_exhaustive()
    }
}

impl HttpJudge {
    /// A judge at `endpoint`, which is asked with `key` if it needs one. Nothing is sent yet.
    ///
    /// # Errors
    /// When the key cannot be sent, or this machine has no certificates to check the endpoint with.
    pub fn new(endpoint: Endpoint, key: Option<&Key>) -> Result<Self, EndpointError> {
        let authorization = key.map(|key| key.header().ok_or(EndpointError::Key)).transpose()?;
        let mut builder = Client::builder(TokioExecutor::new());
        let builder = builder
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE.0)
            .pool_idle_timeout(IDLE.1)
            .http1_max_headers(MAX_HEADERS);
        let client = way(builder, endpoint.is_encrypted())?;
        Ok(Self { endpoint, authorization, client })
    }

    async fn ask(&self, question: &Question) -> Result<Answer, Failure> {
        let request = self.request(question).map_err(|_| Failure::Internal)?;
        let response = match &self.client {
            Way::Plain(client) => client.request(request).await,
            Way::Encrypted(client) => client.request(request).await,
        };
        let response = response.map_err(|_| Failure::Unreachable)?;
        // A redirect is an answer other than yes, too: whoever is asked was chosen by the operator.
        if response.status() != hyper::StatusCode::OK {
            return Err(Failure::Refused);
        }
        Ok(answer::read(question, &read(response).await?))
    }

    fn request(&self, question: &Question) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.endpoint.uri())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("callgate/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::new(Bytes::from(ask::body(question))))
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

/// The body, up to what an answer may have.
async fn read(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| {
        let too_large = error.is::<http_body_util::LengthLimitError>();
        if too_large { Failure::TooLarge } else { Failure::Unreachable }
    })
}

impl Judge for HttpJudge {
    fn answer<'a>(&'a self, question: &'a Question) -> Answering<'a> {
        Box::pin(async move {
            let began = Instant::now();
            let span = Duration::from_millis(question.timeout_ms);
            let asked = tokio::time::timeout(span, self.ask(question)).await;
            let answer = asked.unwrap_or(Err(Failure::Timeout));
            Finding {
                question: question.digest,
                answer: answer.unwrap_or_else(|failure| Answer::Failed { failure }),
                latency_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                cached: false,
            }
        })
    }
}
