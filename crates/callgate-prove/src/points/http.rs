//! A program that follows the published protocol (`docs/spec/wire.md`): ask, check the receipt offline, then act.
//!
//! It stands for everybody who uses the gate over HTTP. It believes the pinned key and nothing else: an answer is only
//! worth its receipt. The other manners are points that do it wrong; the suite must catch each of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callgate_core::request::Request;
use callgate_gate::Identity;
use callgate_gate::clock::Clock;
use callgate_log::export::verify_receipt;
use callgate_log::hash::domain;
use callgate_log::note::NoteVerifier;
use callgate_log::statement::{Body, Decision};
use callgate_log::{Hash, TlogProof, VerifyingKey, salted};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Answer;
use crate::audit::text;
use crate::call::{AGENT, Call, ENFORCES};
use crate::ledger::Ledger;
use crate::trouble::Trouble;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// Where decisions are asked for.
const DECIDE: &str = "/api/v1/decide";

/// How a point goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As the protocol has it.
    Sound,
    /// Acts, then asks.
    ActsFirst,
    /// Acts when no answer comes.
    FailsOpen,
    /// Takes the answer's word for it and checks no receipt.
    Believes,
    /// Acts twice on one allow.
    ActsTwice,
    /// Acts with other arguments than it asked for.
    ActsOtherwise,
}

/// A program that asks over HTTP.
pub(crate) struct HttpPoint {
    address: SocketAddr,
    key: VerifyingKey,
    log: NoteVerifier,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    patience: Duration,
    manner: Manner,
    /// Receipts it acted on.
    used: Mutex<BTreeSet<u64>>,
}

impl std::fmt::Debug for HttpPoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpPoint").field("address", &self.address).finish_non_exhaustive()
    }
}

impl HttpPoint {
    pub(crate) fn new(
        address: SocketAddr,
        key: VerifyingKey,
        ledger: Ledger,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> Result<Self, Trouble> {
        let log =
            NoteVerifier::new(&Identity::origin_of(&key), key).map_err(Trouble::at("the pinned key"))?;
        let (manner, used) = (Manner::Sound, Mutex::default());
        Ok(Self { address, key, log, ledger, clock, patience, manner, used })
    }

    pub(crate) fn with_manner(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }

    pub(crate) async fn call(&self, call: &Call) -> Answer {
        let Ok(request) = call.request(self.clock.now_ms()) else {
            return Answer::Refused("INVALID_REQUEST".to_owned());
        };
        if self.manner == Manner::ActsFirst {
            return self.act_first(call, &request).await;
        }
        let asked =
            tokio::time::timeout(self.patience, ask(self.address, DECIDE, &request.canonical())).await;
        let (status, body) = match asked {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => return self.unanswered(call, why),
            Err(_) => return self.unanswered(call, "no answer".to_owned()),
        };
        let may = match self.manner {
            Manner::Believes => believes(status, &body),
            _ => self.check(status, &body, &request, self.clock.now_ms()),
        };
        match may {
            Ok(()) => self.act(call),
            Err(why) => Answer::Refused(why),
        }
    }

    async fn act_first(&self, call: &Call, request: &Request) -> Answer {
        let acted = self.act(call);
        let body = request.canonical();
        let _late = tokio::time::timeout(self.patience, ask(self.address, DECIDE, &body)).await;
        acted
    }

    fn unanswered(&self, call: &Call, why: String) -> Answer {
        if self.manner == Manner::FailsOpen { self.act(call) } else { Answer::Silent(why) }
    }

    fn act(&self, call: &Call) -> Answer {
        let mut args = call.args.clone();
        if let (Manner::ActsOtherwise, Some(amount)) = (self.manner, args.get_mut("amount")) {
            *amount = "1000.00".into();
        }
        if self.manner == Manner::ActsTwice {
            let _once_more_below = self.ledger.act(&call.tool, &args);
        }
        match self.ledger.act(&call.tool, &args) {
            Ok(()) => Answer::Ran,
            Err(trouble) => Answer::Silent(trouble.to_string()),
        }
    }

    /// Whether an answer lets exactly this run, now, once. The reason is for the report.
    fn check(&self, status: u16, body: &[u8], request: &Request, now_ms: i64) -> Result<(), String> {
        let reply: Value = serde_json::from_slice(body).map_err(|_| "no JSON".to_owned())?;
        if status != 200 || !matches!(text(&reply, "/decision"), Some("ALLOW" | "ALLOW_WITH_CONSTRAINTS")) {
            let code = text(&reply, "/code").map(str::to_owned);
            return Err(code.unwrap_or_else(|| format!("status {status}")));
        }
        let missing = || "an allow without evidence".to_owned();
        let envelope = reply.get("receipt").ok_or_else(missing)?.to_string();
        let proof = text(&reply, "/proof").ok_or_else(missing)?;
        let salt = text(&reply, "/salt").and_then(Hash::from_hex).ok_or_else(missing)?.into_bytes();
        let (statement, _) = verify_receipt(envelope.as_bytes(), proof.as_bytes(), &self.key, &self.log)
            .map_err(|_| "the receipt does not verify".to_owned())?;
        let Body::Decision(decision) = statement.body() else {
            return Err("the receipt is of no decision".to_owned());
        };
        let action = salted(&salt, domain::ACTION, request.action_bytes().as_bytes());
        if *statement.subject_digest() != action {
            return Err("the receipt is of another action".to_owned());
        }
        fits(decision, request, now_ms)?;
        let index = TlogProof::parse(proof.as_bytes()).map_err(|_| missing())?.index;
        if self.used.lock().insert(index) { Ok(()) } else { Err("the receipt was used before".to_owned()) }
    }
}

/// Whether a decision is about this very request, permits it, and still does.
fn fits(decision: &Decision, request: &Request, now_ms: i64) -> Result<(), String> {
    if !decision.decision.permits() {
        return Err("the receipt does not allow it".to_owned());
    }
    if decision.agent.id != AGENT || decision.tenant != request.tenant.as_str() {
        return Err("the receipt is of another agent".to_owned());
    }
    // A nonce is used once, so that an older answer about the same action is none to this question.
    if decision.nonce != request.nonce {
        return Err("the receipt answers another request".to_owned());
    }
    if now_ms > decision.expires_at_ms.get() {
        return Err("the receipt has expired".to_owned());
    }
    match decision.constraints.iter().find(|(word, _)| !ENFORCES.contains(word)) {
        Some((word, _)) => Err(format!("nobody enforces `{word}`")),
        None => Ok(()),
    }
}

/// What no point may do.
fn believes(status: u16, body: &[u8]) -> Result<(), String> {
    let reply: Value = serde_json::from_slice(body).map_err(|_| "no JSON".to_owned())?;
    let allowed = status == 200 && text(&reply, "/decision").is_some_and(|word| word.starts_with("ALLOW"));
    if allowed { Ok(()) } else { Err(text(&reply, "/code").unwrap_or("refused").to_owned()) }
}

/// One request on a connection of its own: the status and the whole body.
pub(super) async fn ask(address: SocketAddr, path: &str, body: &str) -> Result<(u16, Vec<u8>), String> {
    let short = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "no gate".to_owned(),
        _ => "the connection was cut".to_owned(),
    };
    let mut stream = TcpStream::connect(address).await.map_err(short)?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.map_err(short)?;
    stream.write_all(body.as_bytes()).await.map_err(short)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await.map_err(short)?;
    whole(&answer)
}

/// Status and body of an answer that came whole.
fn whole(answer: &[u8]) -> Result<(u16, Vec<u8>), String> {
    let no_http = || "no HTTP".to_owned();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(no_http)?;
    let (head, body) = answer.split_at_checked(end.saturating_add(4)).ok_or_else(no_http)?;
    let head = std::str::from_utf8(head).map_err(|_| no_http())?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    match (status, length) {
        (Some(status), Some(length)) if length == body.len() => Ok((status, body.to_vec())),
        (Some(_), Some(_)) => Err("the answer was cut short".to_owned()),
        _ => Err(no_http()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_one() {
        let good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(whole(good), Ok((200, b"{}".to_vec())));
        for length in 0..good.len() {
            assert!(whole(&good[..length]).is_err(), "{length}");
        }
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\n{}").is_err(), "without a length nobody can tell");
        assert!(whole(b"ALLOW").is_err());
    }
}
