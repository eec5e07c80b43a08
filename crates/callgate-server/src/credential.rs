//! Who asks: a key, a Unix socket, or nobody in development mode.
//!
//! Must never log, echo or compare a key itself; the gate does the comparing, in constant time.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use callgate_gate::Credential;

use crate::app::App;
use crate::listen::Entrance;
use crate::problem::Problem;

const CHALLENGE: &str = "Bearer realm=\"callgate\"";
const CHALLENGE_AGAIN: &str = "Bearer realm=\"callgate\", error=\"invalid_token\"";

/// A caller whose credential was checked.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) Credential);

/// A caller, known or not, of something that everybody may ask.
#[derive(Debug)]
pub(crate) struct AnyCaller(pub(crate) Option<Credential>);

/// A caller of something that lasts, whose credential may be looked at again.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) credential: Credential,
    shown: HeaderMap,
    over_tcp: bool,
}

impl Standing {
    /// Whether what was shown is still good for the same.
    pub(crate) fn holds(&self, app: &App) -> bool {
        establish(&self.shown, self.over_tcp, app).is_ok_and(|now| now == self.credential)
    }
}

impl FromRequestParts<Arc<App>> for Standing {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let over_tcp = over_tcp(parts);
        let credential = establish(&parts.headers, over_tcp, app)?;
        let values = parts.headers.get_all(AUTHORIZATION).iter();
        let shown = values.map(|value| (AUTHORIZATION, value.clone())).collect();
        Ok(Self { credential, shown, over_tcp })
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        establish(&parts.headers, over_tcp(parts), app).map(Self)
    }
}

impl FromRequestParts<Arc<App>> for AnyCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        Ok(Self(establish(&parts.headers, over_tcp(parts), app).ok()))
    }
}

fn over_tcp(parts: &Parts) -> bool {
    parts.extensions.get() != Some(&Entrance::Unix)
}

fn establish(headers: &HeaderMap, over_tcp: bool, app: &App) -> Result<Credential, Problem> {
    if app.dev && over_tcp {
        return Ok(Credential::Development);
    }
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    match (shown.next(), shown.next()) {
        // A key shown over the socket binds its bearer to the key's agent, as everywhere.
        (None, _) if !over_tcp => Ok(Credential::Local),
        (None, _) => Err(unauthenticated("show the agent's key as `Authorization: Bearer cg_…`", CHALLENGE)),
        (Some(value), None) => {
            let key = value.to_str().ok().and_then(bearer);
            let known = key.and_then(|key| app.gate.authenticate(key));
            known.ok_or_else(|| {
                unauthenticated("this key is not registered; ask the gate's operator", CHALLENGE_AGAIN)
            })
        }
        (Some(_), Some(_)) => Err(unauthenticated("show one key, not several", CHALLENGE_AGAIN)),
    }
}

/// The token of `Bearer TOKEN`, RFC 6750 section 2.1; the scheme in any case, RFC 9110 section 11.1.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

fn unauthenticated(detail: &str, challenge: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail).challenge(challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_read_and_nothing_else() {
        assert_eq!(bearer("Bearer cg_1_2"), Some("cg_1_2"));
        assert_eq!(bearer("bearer  cg_1_2 "), Some("cg_1_2"));
        for value in ["", "Bearer", "cg_1_2", "Basic cg_1_2", "Bearercg_1_2", "Bearer\tcg_1_2"] {
            assert_eq!(bearer(value), None, "{value}");
        }
    }
}
