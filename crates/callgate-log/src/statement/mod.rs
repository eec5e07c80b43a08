//! The payload of a receipt: an in-toto Statement v1 with one of three predicates.
//!
//! Struct fields are declared in RFC 8785 order, absent options are left out, and [`crate::json`] holds every
//! value, so plain serialisation is canonical. Reading refuses anything that would not be written the same way
//! again: unknown fields, nulls, spaces, another key order, duplicate keys. One meaning, one byte string.
//!
//! Raw request content must never enter a payload; see [`crate::hash::salted`].

mod admin;
mod decision;
mod finding;
mod outcome;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use admin::Admin;
pub use decision::{
    Action, Agent, Approval, ConstraintValue, Decision, DecisionKind, Gate, Grant, Mode, Pep, Reason,
    Session, Shadow, Snapshot, Stage, Unchecked, Would,
};
pub use finding::{Finding, FindingKind, Ruling};
pub use outcome::{DecisionRef, Outcome, Status};

use crate::hash::Hash;
use crate::json::SafeInt;

/// The `_type` of every payload.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The largest payload, in bytes: what the 16-bit length of a C2SP entry bundle can hold.
pub const MAX_PAYLOAD: usize = 65_535;

/// Why a payload could not be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Larger than [`MAX_PAYLOAD`].
    #[error(
        "the receipt would have {0} bytes, more than the {MAX_PAYLOAD} a log entry can hold; shorten the reasons"
    )]
    TooLarge(usize),
    /// The serialiser refused, which it has no reason to.
    #[error("the receipt could not be written as JSON: {0}")]
    Json(String),
}

/// Why a payload was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Larger than [`MAX_PAYLOAD`].
    #[error("the payload has {0} bytes, more than the {MAX_PAYLOAD} a log entry can hold")]
    TooLarge(usize),
    /// Not the JSON shape of its predicate type.
    #[error("the payload is not a well-formed receipt: {0}")]
    Shape(String),
    /// Not an in-toto Statement v1.
    #[error("the payload says it is a `{0}`; expect `{STATEMENT_TYPE}`")]
    Type(String),
    /// A predicate this version does not know.
    #[error("the payload has the unknown predicate type `{0}`; a newer version of this program may know it")]
    PredicateType(String),
    /// A finding that is neither an answer nor a failure, or both.
    #[error("a finding of the payload is neither an answer nor a failure")]
    Finding,
    /// The subject is not the one the predicate calls for.
    #[error("the subject of the payload does not match its content")]
    Subject,
    /// Another spelling of the same values.
    #[error("the payload is not canonical (RFC 8785), so it was not written by a gate or was changed later")]
    NotCanonical,
}

/// What a receipt says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// `urn:callgate:decision:v1`: what the gate decided about an action.
    Decision(Box<Decision>),
    /// `urn:callgate:outcome:v1`: what became of a decided action.
    Outcome(Box<Outcome>),
    /// `urn:callgate:admin:v1`: a change to the gate itself.
    Admin(Box<Admin>),
}

/// A payload, parsed or about to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    action_digest: Hash,
    body: Body,
}

/// An in-toto subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    digest: Digest,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digest {
    sha256: Hash,
}

#[derive(Serialize)]
struct WireOut<'a, P> {
    #[serde(rename = "_type")]
    kind: &'static str,
    predicate: &'a P,
    #[serde(rename = "predicateType")]
    predicate_type: &'static str,
    subject: [Subject; 1],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireIn<P> {
    #[serde(rename = "_type")]
    kind: String,
    predicate: P,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    subject: [Subject; 1],
}

/// The one field that is needed before the shape of the rest is known.
#[derive(Deserialize)]
struct Peek {
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

impl Statement {
    /// A decision about the action with this digest, salted under [`crate::hash::domain::ACTION`].
    #[must_use]
    pub fn decision(decision: Decision, action_digest: Hash) -> Self {
        Self { action_digest, body: Body::Decision(Box::new(decision)) }
    }

    /// An outcome. Its subject is the decision's receipt.
    #[must_use]
    pub fn outcome(outcome: Outcome) -> Self {
        Self {
            action_digest: outcome.decision_receipt.payload_sha256,
            body: Body::Outcome(Box::new(outcome)),
        }
    }

    /// A change to the gate. Its subject is the change's effects.
    #[must_use]
    pub fn admin(admin: Admin) -> Self {
        Self { action_digest: admin.effects_digest, body: Body::Admin(Box::new(admin)) }
    }

    /// What the receipt says.
    #[must_use]
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// The digest in `subject`: of the action, of the decision's payload, or of the effects.
    #[must_use]
    pub const fn subject_digest(&self) -> &Hash {
        &self.action_digest
    }

    /// The name in `subject`.
    #[must_use]
    pub fn subject_name(&self) -> String {
        match &self.body {
            Body::Decision(decision) => format!("action:{}", decision.action.identity()),
            Body::Outcome(outcome) => format!("receipt:{}", outcome.decision_receipt.index),
            Body::Admin(admin) => format!("admin:{}", admin.operation),
        }
    }

    /// The predicate type.
    #[must_use]
    pub const fn predicate_type(&self) -> &'static str {
        match self.body {
            Body::Decision(_) => Decision::PREDICATE_TYPE,
            Body::Outcome(_) => Outcome::PREDICATE_TYPE,
            Body::Admin(_) => Admin::PREDICATE_TYPE,
        }
    }

    /// When the gate issued the receipt, in milliseconds since 1970-01-01T00:00Z.
    #[must_use]
    pub const fn issued_at_ms(&self) -> SafeInt {
        match &self.body {
            Body::Decision(decision) => decision.issued_at_ms,
            Body::Outcome(outcome) => outcome.issued_at_ms,
            Body::Admin(admin) => admin.issued_at_ms,
        }
    }

    /// SHA-256 of the state delta that belongs to the receipt.
    #[must_use]
    pub const fn effects_digest(&self) -> &Hash {
        match &self.body {
            Body::Decision(decision) => &decision.effects_digest,
            Body::Outcome(outcome) => &outcome.effects_digest,
            Body::Admin(admin) => &admin.effects_digest,
        }
    }

    /// The gate that issued the receipt.
    #[must_use]
    pub const fn gate(&self) -> &Gate {
        match &self.body {
            Body::Decision(decision) => &decision.gate,
            Body::Outcome(outcome) => &outcome.gate,
            Body::Admin(admin) => &admin.gate,
        }
    }

    /// The canonical payload bytes: what is signed and what the tree holds.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] beyond [`MAX_PAYLOAD`] bytes.
    pub fn to_payload(&self) -> Result<Vec<u8>, EncodeError> {
        let payload = self.encode()?;
        if payload.len() > MAX_PAYLOAD {
            return Err(EncodeError::TooLarge(payload.len()));
        }
        Ok(payload)
    }

    fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        match &self.body {
            Body::Decision(decision) => self.encode_as(decision.as_ref()),
            Body::Outcome(outcome) => self.encode_as(outcome.as_ref()),
            Body::Admin(admin) => self.encode_as(admin.as_ref()),
        }
    }

    fn encode_as<P: Serialize>(&self, predicate: &P) -> Result<Vec<u8>, EncodeError> {
        let wire = WireOut {
            kind: STATEMENT_TYPE,
            predicate,
            predicate_type: self.predicate_type(),
            subject: [Subject { digest: Digest { sha256: self.action_digest }, name: self.subject_name() }],
        };
        let mut bytes = Vec::with_capacity(2048);
        serde_json::to_writer(&mut bytes, &wire).map_err(|e| EncodeError::Json(e.to_string()))?;
        Ok(bytes)
    }

    /// Reads a payload and refuses every spelling but the canonical one.
    ///
    /// # Errors
    /// [`ParseError`]; bytes that parse re-serialise to the same bytes.
    pub fn parse(payload: &[u8]) -> Result<Self, ParseError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(ParseError::TooLarge(payload.len()));
        }
        let peek: Peek = from_json(payload)?;
        let statement = match peek.predicate_type.as_str() {
            Decision::PREDICATE_TYPE => Self::parse_as(payload, |p| Body::Decision(Box::new(p)))?,
            Outcome::PREDICATE_TYPE => Self::parse_as(payload, |p| Body::Outcome(Box::new(p)))?,
            Admin::PREDICATE_TYPE => Self::parse_as(payload, |p| Body::Admin(Box::new(p)))?,
            _ => return Err(ParseError::PredicateType(peek.predicate_type.chars().take(100).collect())),
        };
        if statement.encode().ok().as_deref() == Some(payload) {
            Ok(statement)
        } else {
            Err(ParseError::NotCanonical)
        }
    }

    fn parse_as<P: DeserializeOwned>(
        payload: &[u8],
        wrap: impl FnOnce(P) -> Body,
    ) -> Result<Self, ParseError> {
        let wire: WireIn<P> = from_json(payload)?;
        if wire.kind != STATEMENT_TYPE {
            return Err(ParseError::Type(wire.kind.chars().take(100).collect()));
        }
        let [subject] = wire.subject;
        let statement = Self { action_digest: subject.digest.sha256, body: wrap(wire.predicate) };
        if !statement.findings_are_whole() {
            return Err(ParseError::Finding);
        }
        let same_type = wire.predicate_type == statement.predicate_type();
        if same_type && subject.name == statement.subject_name() && statement.digest_fits() {
            Ok(statement)
        } else {
            Err(ParseError::Subject)
        }
    }

    fn findings_are_whole(&self) -> bool {
        match &self.body {
            Body::Decision(decision) => decision.findings.iter().all(Finding::is_whole),
            Body::Outcome(_) | Body::Admin(_) => true,
        }
    }

    /// For outcomes and admin receipts the subject's digest follows from the predicate.
    fn digest_fits(&self) -> bool {
        match &self.body {
            Body::Decision(_) => true,
            Body::Outcome(outcome) => self.action_digest == outcome.decision_receipt.payload_sha256,
            Body::Admin(admin) => self.action_digest == admin.effects_digest,
        }
    }
}

fn from_json<T: DeserializeOwned>(payload: &[u8]) -> Result<T, ParseError> {
    serde_json::from_slice(payload).map_err(|e| ParseError::Shape(e.to_string()))
}
