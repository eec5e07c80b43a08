//! The way from an enforcement point to its gate: over the socket in the gate's data folder, or over HTTP on this
//! machine. One connection for each question, but for the one whether it is there; no redirects, and an answer is bounded in size and time.

use std::path::PathBuf;

use callgate_gate::{Answer, Carried, Carrier, Lost, Question};
use hyper::Method;
use hyper::header::HeaderValue;
use tokio::sync::Mutex;

use crate::failure::Failure;
use crate::remote::{Line, Place, Remote, Unanswered};

/// The longest answer that is read, in bytes: a decision with its proof, several times over.
const MAX_ANSWER: usize = 2 << 20;
/// How a socket is written.
const SOCKET: &str = "unix:";

/// A gate's address, and the key that is shown there.
pub(crate) struct Way {
    gate: Remote,
    /// A connection that is kept: whoever takes all the others must not make the gate look gone.
    line: Mutex<Option<Line>>,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Way").field(&self.gate.shown()).finish()
    }
}

impl Way {
    /// Reads `unix:DATA/gate.sock` or `http://127.0.0.1:8081`. Opens nothing yet.
    pub(crate) fn new(gate: &str, key: Option<HeaderValue>) -> Result<Self, Failure> {
        let place = match gate.strip_prefix(SOCKET) {
            Some("") => {
                return Err(Failure::usage(
                    "`--gate`: write the socket's path, such as `unix:DATA/gate.sock`",
                ));
            }
            Some(path) => Place::Socket(PathBuf::from(path)),
            None => Place::tcp(gate).map_err(|problem| {
                Failure::usage(format!("`--gate`: {problem}; or its socket, such as `unix:DATA/gate.sock`"))
            })?,
        };
        if key.is_none() && matches!(place, Place::Tcp(_)) {
            return Err(Failure::usage(
                "over HTTP the gate asks for the agent's key; give `--key-file FILE`",
            ));
        }
        Ok(Self { gate: Remote::new(place, key), line: Mutex::default() })
    }

    /// Where it leads, for people.
    pub(crate) fn shown(&self) -> String {
        self.gate.shown()
    }
}

impl Carrier for Way {
    fn ask(&self, question: Question) -> Carried<'_> {
        Box::pin(async move {
            let Question { path, body, standing, .. } = question;
            // The asker holds it to its time.
            let answered = if standing {
                self.gate.answered_over(&mut *self.line.lock().await, &path, MAX_ANSWER).await
            } else {
                let method = if body.is_some() { Method::POST } else { Method::GET };
                self.gate.answered(method, &path, body, MAX_ANSWER).await
            };
            let (status, body) = answered.map_err(|unanswered| match unanswered {
                Unanswered::Nobody(failure) => Lost::Nobody(failure.to_string()),
                Unanswered::BrokenOff(failure) => Lost::BrokenOff(failure.to_string()),
                Unanswered::Unasked(failure) => Lost::Unasked(failure.to_string()),
            })?;
            Ok(Answer { status: status.as_u16(), body: body.to_vec() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_a_socket_or_an_address_of_this_machine() {
        let key = || Some(HeaderValue::from_static("Bearer x"));
        for (gate, shown) in [
            ("unix:data/gate.sock", "`data/gate.sock`"),
            ("http://127.0.0.1:8081", "`http://127.0.0.1:8081`"),
        ] {
            assert_eq!(Way::new(gate, key()).unwrap().shown(), shown);
        }
        for gate in ["unix:", "", "data/gate.sock", "https://127.0.0.1", "http://gate.example.com:8081"] {
            assert!(Way::new(gate, key()).is_err(), "{gate}");
        }
        assert!(Way::new("http://127.0.0.1:8081", None).is_err(), "without a key");
        assert!(Way::new("unix:gate.sock", None).is_ok());
    }
}
