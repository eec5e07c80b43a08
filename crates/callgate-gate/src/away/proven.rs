//! From the answer of a gate elsewhere to a permit, or to nothing.
//!
//! Law 1 across a wire: a permit is made of a receipt that the pinned key signed, that is in the signed log, that
//! permits, and that is about the very action, agent, session and nonce that were asked about. Constraints and
//! times are the receipt's; what stands beside it in the reply is not believed.

use callgate_core::constraint::{Constraints, Kind, Limit};
use callgate_core::request::Request;
use callgate_core::value::Value;
use callgate_log::dsse::Envelope;
use callgate_log::hash::{domain, salted};
use callgate_log::statement::{ConstraintValue, Decision};
use callgate_log::{Body, Hash, Statement, TlogProof, VerifyingKey};

use crate::identity::Identity;
use crate::permit::{Ground, Permit};
use crate::reply::Reply;

/// The longest an allow of a gate elsewhere is acted on, whatever its receipt says, in milliseconds.
const LONGEST_MS: i64 = 366 * 24 * 60 * 60 * 1000;

/// A receipt whose signature, inclusion and checkpoint verify, and its place in the log.
pub(super) fn proven(envelope: &str, proof: &str, pinned: &VerifyingKey) -> Result<(Statement, u64), String> {
    let envelope = Envelope::parse(envelope.as_bytes()).map_err(|e| e.to_string())?;
    let payload = envelope.verify(pinned).map_err(|e| e.to_string())?;
    let statement = Statement::parse(payload).map_err(|e| e.to_string())?;
    let proof = TlogProof::parse(proof.as_bytes()).map_err(|e| e.to_string())?;
    let origin = Identity::origin_of(pinned);
    proof.verify(payload, pinned, Some(&origin)).map_err(|e| e.to_string())?;
    if statement.gate().origin != origin {
        return Err("the receipt is of another log".to_owned());
    }
    Ok((statement, proof.index))
}

/// The permit that `reply` gives for `request`, asked at `asked_at_ms` of the local clock.
///
/// # Errors
/// What does not hold; then nothing may run.
pub(super) fn permit(
    reply: &Reply,
    request: &Request,
    pinned: &VerifyingKey,
    asked_at_ms: i64,
) -> Result<Permit, String> {
    let missing = |what: &str| format!("the answer permits and has no {what}");
    let envelope = reply.receipt.as_ref().ok_or_else(|| missing("receipt"))?;
    let proof = reply.proof.as_ref().ok_or_else(|| missing("proof"))?;
    let salt = reply.salt.as_deref().and_then(Hash::from_hex).ok_or_else(|| missing("salt"))?;
    let (statement, index) = proven(envelope.get(), proof, pinned)?;
    let Body::Decision(decision) = statement.body() else {
        return Err("the receipt is of no decision".to_owned());
    };
    if !decision.decision.permits() {
        return Err(format!("the receipt says {}", decision.decision));
    }
    let action = salted(salt.as_bytes(), domain::ACTION, request.action_bytes().as_bytes());
    if *statement.subject_digest() != action {
        return Err("the receipt is about another action".to_owned());
    }
    same(decision, request)?;
    let span = decision.expires_at_ms.get().saturating_sub(decision.issued_at_ms.get()).clamp(0, LONGEST_MS);
    let constraints = constraints(decision, request)?;
    let expires_at_ms = asked_at_ms.saturating_add(span);
    Ok(Permit::new(Ground::Receipt(index), request.action_digest(), constraints, expires_at_ms))
}

/// The receipt answers this question and no earlier one.
fn same(decision: &Decision, request: &Request) -> Result<(), String> {
    let other = |what: &str| Err(format!("the receipt is about another {what}"));
    if request.nonce.is_none() || decision.nonce != request.nonce {
        return other("question: its nonce differs");
    }
    if decision.agent.id != request.agent.id.as_str() || decision.tenant != request.tenant.as_str() {
        return other("agent");
    }
    let session = decision.session.as_ref().map(|session| session.id.as_str());
    if session != request.session.id.as_ref().map(callgate_core::name::Name::as_str) {
        return other("session");
    }
    let environment = request.environment.as_ref().map(callgate_core::name::Name::as_str);
    if decision.environment.as_deref() != environment {
        return other("environment");
    }
    Ok(())
}

/// The constraints of the receipt, if the enforcement point said that it enforces each of them (law 9).
fn constraints(decision: &Decision, request: &Request) -> Result<Constraints, String> {
    let mut all = Constraints::default();
    for (word, value) in decision.constraints.iter() {
        let unknown = || format!("the constraint `{word}` is not one that this version enforces");
        let kind = Kind::from_word(word).filter(|_| request.enforces(word)).ok_or_else(unknown)?;
        let limit = Limit::from_value(kind, &plain(value)).map_err(|e| e.to_string())?;
        all.tighten(kind, limit);
    }
    Ok(all)
}

fn plain(value: &ConstraintValue) -> Value {
    match value {
        ConstraintValue::Int(number) => Value::Int(number.get()),
        ConstraintValue::Bool(on) => Value::Bool(*on),
        ConstraintValue::Text(text) => Value::Str(text.clone()),
        ConstraintValue::List(items) => Value::List(items.iter().cloned().map(Value::Str).collect()),
    }
}
