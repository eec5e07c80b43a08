//! Where somebody answers, as the operator says it.

use std::net::IpAddr;

use hyper::Uri;
use hyper::header::HeaderValue;
use zeroize::Zeroizing;

/// The secret that goes with each question; never printed.
pub struct Key(Zeroizing<String>);

impl Key {
    /// Wraps a secret.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The header that carries it.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let text = Zeroizing::new(format!("Bearer {}", self.0.as_str()));
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A checked address, such as `https://api.example.com/v1`. Only its [`origin`](Self::origin) is ever shown:
/// paths and queries of webhooks are secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    uri: Uri,
    tls: bool,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Endpoint").field(&self.origin()).finish()
    }
}

/// Why nobody can be asked there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Not an address.
    #[error("the address is not a URL; write it like `https://api.example.com/v1`")]
    NotAUrl,
    /// Another scheme.
    #[error("the address must begin with `https://`, or with `http://` on this machine")]
    Scheme,
    /// A name and password in the address.
    #[error("the address holds a user or password; give the key apart from the address")]
    Credentials,
    /// A query where there can be none, or a fragment.
    #[error("the address has a query or fragment, which cannot be sent there; leave it out")]
    Query,
    /// Unencrypted to another machine.
    #[error(
        "the address is `http://` to another machine, which would show the network what is sent; use `https://`"
    )]
    Plain,
    /// The key cannot be sent.
    #[error("the key has characters that cannot be sent; check for spaces and line ends")]
    Key,
    /// This machine has no certificates to check the endpoint with.
    #[error("no certificates of authorities are found on this machine: {0}")]
    Roots(String),
}

impl Endpoint {
    /// Checks an address. Unencrypted ones only on this machine, unless `plain_http` allows others.
    ///
    /// # Errors
    /// [`EndpointError`], which never quotes the address: it may hold a secret.
    pub fn new(url: &str, plain_http: bool) -> Result<Self, EndpointError> {
        if url.contains('#') {
            return Err(EndpointError::Query);
        }
        let uri: Uri = url.parse().map_err(|_| EndpointError::NotAUrl)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(EndpointError::NotAUrl);
        };
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(EndpointError::Scheme),
        };
        if authority.as_str().contains('@') {
            return Err(EndpointError::Credentials);
        }
        if !tls && !plain_http && !is_loopback(authority.host()) {
            return Err(EndpointError::Plain);
        }
        Ok(Self { uri, tls })
    }

    /// The address with `path` after its own.
    pub(crate) fn below(&self, path: &str) -> Result<Self, EndpointError> {
        if self.uri.query().is_some() {
            return Err(EndpointError::Query);
        }
        let whole = format!("{}{}{path}", self.origin(), self.uri.path().trim_end_matches('/'));
        Ok(Self { uri: whole.parse().map_err(|_| EndpointError::NotAUrl)?, tls: self.tls })
    }

    /// The address that is asked.
    pub(crate) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Whether the way there is encrypted.
    pub(crate) const fn is_encrypted(&self) -> bool {
        self.tls
    }

    /// Scheme, host and port, for people.
    #[must_use]
    pub fn origin(&self) -> String {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        format!("{}://{authority}", self.uri.scheme_str().unwrap_or_default())
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_that_of_completions() {
        let cases = [
            ("https://api.example.com/v1", "https://api.example.com/v1/chat/completions"),
            ("https://api.example.com/v1/", "https://api.example.com/v1/chat/completions"),
            ("https://example.com", "https://example.com/chat/completions"),
            ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1/chat/completions"),
            ("http://[::1]:8000", "http://[::1]:8000/chat/completions"),
            ("http://localhost:1/v1", "http://localhost:1/v1/chat/completions"),
        ];
        for (url, uri) in cases {
            let below = Endpoint::new(url, false).unwrap().below("/chat/completions").unwrap();
            assert_eq!(below.uri().to_string(), uri);
        }
    }

    #[test]
    fn other_addresses_are_refused_without_quoting_them() {
        let cases = [
            ("", EndpointError::NotAUrl),
            ("api.example.com", EndpointError::NotAUrl),
            ("/v1", EndpointError::NotAUrl),
            ("ftp://secret.example.com/", EndpointError::Scheme),
            ("file:///etc/passwd", EndpointError::NotAUrl),
            ("https://secret:word@example.com/v1", EndpointError::Credentials),
            ("https://example.com/v1#secret", EndpointError::Query),
            ("http://example.com/v1", EndpointError::Plain),
            ("http://127.0.0.1.example.com/v1", EndpointError::Plain),
            ("http://localhost.example.com/v1", EndpointError::Plain),
            ("http://10.0.0.1/v1", EndpointError::Plain),
        ];
        for (url, error) in cases {
            let refused = Endpoint::new(url, false).unwrap_err();
            assert!(!refused.to_string().contains("secret"), "{refused}");
            assert_eq!(refused, error, "{url}");
        }
        assert!(Endpoint::new("http://10.0.0.1/v1", true).is_ok());
        let asking = Endpoint::new("https://example.com/v1?key=secret", false).unwrap();
        assert_eq!(asking.below("/x"), Err(EndpointError::Query));
        assert_eq!(format!("{asking:?}"), r#"Endpoint("https://example.com")"#);
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(format!("{:?}", Key::new("sk-secret".into())), "Key(…)");
        assert!(Key::new("a\nb".into()).header().is_none());
        assert!(!format!("{:?}", Key::new("sk-secret".into()).header()).contains("secret"));
    }
}
