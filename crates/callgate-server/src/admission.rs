//! What a request claims about where it goes and which page sent it.
//!
//! A browser on this machine will carry a hostile page's requests to loopback, under that page's name (cross-site
//! request forgery) or under a name that the page's owner points at loopback (DNS rebinding). Must never read a body.

use axum::extract::Request;
use axum::http::header::{HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Version};
use std::net::IpAddr;

use crate::app::App;
use crate::listen::Entrance;
use crate::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request that is not meant for this server, or comes from a foreign page.
pub(crate) fn admit(app: &App, entrance: Entrance, request: &Request) -> Result<(), Problem> {
    // No browser opens a Unix socket.
    if entrance == Entrance::Unix {
        return Ok(());
    }
    let host = host(request)?;
    if app.dev && !host.is_some_and(is_loopback) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            "in development mode the gate answers only to `localhost` and loopback addresses; use one of them",
        ));
    }
    same_page(request.headers(), host)
}

/// The one host that the request is for.
fn host(request: &Request) -> Result<Option<&str>, Problem> {
    let named = single(request.headers(), &HOST)?;
    let target = request.uri().authority().map(axum::http::uri::Authority::as_str);
    match (named, target) {
        (None, None) if request.version() >= Version::HTTP_11 => {
            Err(bad_request("the `host` header is missing"))
        }
        (Some(named), Some(target)) if named != target => {
            Err(bad_request("the `host` header and the request target name different hosts"))
        }
        (named, target) => Ok(named.or(target)),
    }
}

/// No page sent this, or one that this server itself served.
fn same_page(headers: &HeaderMap, host: Option<&str>) -> Result<(), Problem> {
    let foreign = match single(headers, &ORIGIN)? {
        Some(origin) => {
            let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            authority.is_none() || authority != host
        }
        None => single(headers, &SEC_FETCH_SITE)? == Some("cross-site"),
    };
    if foreign {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "foreign-origin",
            "the gate does not answer pages of other sites; ask from a program, not from a browser",
        ));
    }
    Ok(())
}

/// The only value of a header.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad_request(format!("the `{name}` header stands twice")));
    }
    first.to_str().map(Some).map_err(|_| bad_request(format!("the `{name}` header is not text")))
}

fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail)
}

/// Whether a `host` is one that only this machine answers to.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if port.is_empty() || is_port(port) => address,
            _ => return false,
        },
        None => match host.find(':') {
            Some(at) => match host.split_at(at) {
                (name, port) if is_port(port) => name,
                _ => return false,
            },
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_loopback() {
        for host in ["localhost", "LocalHost:8081", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:8081"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            ":8081",
            "evil.example",
            "evil.example:8081",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "0.0.0.0",
            "10.0.0.1:8081",
            "localhost:",
            "localhost:99999",
            "localhost:80:80",
            "[::1",
            "[::1]x",
            "[10.0.0.1]",
            "user@localhost",
            "localhost@evil.example",
            "2130706433",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_page_may_ask_only_the_server_it_came_from() {
        for (header, value, host, foreign) in [
            ("origin", "http://localhost:8081", Some("localhost:8081"), false),
            ("origin", "http://localhost:3000", Some("localhost:8081"), true),
            ("origin", "http://evil.example", Some("localhost:8081"), true),
            ("origin", "null", Some("localhost:8081"), true),
            ("origin", "http://", Some(""), false),
            ("origin", "file://localhost", Some("localhost"), true),
            ("origin", "http://a", None, true),
            ("sec-fetch-site", "cross-site", Some("localhost"), true),
            ("sec-fetch-site", "same-origin", Some("localhost"), false),
            ("sec-fetch-site", "none", Some("localhost"), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header, value.parse().unwrap());
            assert_eq!(same_page(&headers, host).is_err(), foreign, "{header}: {value} to {host:?}");
        }
    }
}
