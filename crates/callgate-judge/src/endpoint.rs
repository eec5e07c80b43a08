//! Where the judge answers, as the operator says it.

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

/// A checked address of an OpenAI-compatible endpoint, such as `https://api.example.com/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    uri: Uri,
    tls: bool,
}

/// Why a judge cannot be asked there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Not an address.
    #[error("the judge's address is not a URL; write it like `https://api.example.com/v1`")]
    NotAUrl,
    /// Another scheme.
    #[error("the judge's address must begin with `https://`, or with `http://` on this machine")]
    Scheme,
    /// A name and password in the address.
    #[error("the judge's address holds a user or password; give the key apart from the address")]
    Credentials,
    /// A query or fragment.
    #[error("the judge's address has a query or fragment; write it up to `/v1`")]
    Query,
    /// Unencrypted to another machine.
    #[error(
        "the judge's address is `http://` to another machine, which would show it arguments and key; use `https://`"
    )]
    Plain,
    /// The key cannot be sent.
    #[error("the judge's key has characters that cannot be sent; check for spaces and line ends")]
    Key,
    /// This machine has no certificates to check the endpoint with.
    #[error("no certificates of authorities are found on this machine: {0}")]
    Roots(String),
}

impl Endpoint {
    /// Checks an address. Unencrypted ones only on this machine, unless `plain_http` allows others.
    ///
    /// # Errors
    /// [`EndpointError`], which never quotes the address: it may hold a secret by mistake.
    pub fn new(url: &str, plain_http: bool) -> Result<Self, EndpointError> {
        if url.contains('#') {
            return Err(EndpointError::Query);
        }
        let uri: Uri = url.trim_end_matches('/').parse().map_err(|_| EndpointError::NotAUrl)?;
        let (scheme, authority) = match (uri.scheme_str(), uri.authority()) {
            (Some(scheme), Some(authority)) => (scheme, authority),
            _ => return Err(EndpointError::NotAUrl),
        };
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(EndpointError::Scheme),
        };
        if authority.as_str().contains('@') {
            return Err(EndpointError::Credentials);
        }
        if uri.query().is_some() {
            return Err(EndpointError::Query);
        }
        if !tls && !plain_http && !is_loopback(authority.host()) {
            return Err(EndpointError::Plain);
        }
        let path = uri.path().trim_end_matches('/');
        let whole = format!("{scheme}://{authority}{path}/chat/completions");
        Ok(Self { uri: whole.parse().map_err(|_| EndpointError::NotAUrl)?, tls })
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
            assert_eq!(Endpoint::new(url, false).unwrap().uri().to_string(), uri);
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
            ("https://example.com/v1?key=secret", EndpointError::Query),
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
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(format!("{:?}", Key::new("sk-secret".into())), "Key(…)");
        assert!(Key::new("a\nb".into()).header().is_none());
        assert!(!format!("{:?}", Key::new("sk-secret".into()).header()).contains("secret"));
    }
}
