//! From a receipt to the event it is, if it is one.
//!
//! What is said comes from the delta ([`said`]: a new kind is one arm) and from the names in the signed
//! payload. Arguments are in neither.

use callgate_core::event::{Data, Event, Field, Kind};
use callgate_core::state::Change;
use callgate_log::Statement;
use callgate_log::statement::{Body, Decision};
use callgate_store::{Fold as _, StoredReceipt};

use crate::fold::GateState;

/// What a change says happened; `None` for one that is no event.
pub(crate) fn said(change: &Change) -> Option<(Kind, Data)> {
    let event = match change {
        Change::SnapshotActivated(snapshot) => (
            Kind::SnapshotActivated,
            vec![("snapshot", format!("v{}", snapshot.version)), ("digest", snapshot.digest.clone())],
        ),
        Change::KeyCreated(key) => (
            Kind::KeyCreated,
            vec![("key", key.id.clone()), ("agent", key.agent.clone()), ("tenant", key.tenant.clone())],
        ),
        Change::KeyRevoked { id } => (Kind::KeyRevoked, vec![("key", id.clone())]),
        Change::SessionErased(key) => (
            Kind::SubjectErased,
            vec![
                ("agent", key.agent.clone()),
                ("session", key.session.clone()),
                ("tenant", key.tenant.clone()),
            ],
        ),
        Change::Decision(_)
        | Change::Outcome(_)
        | Change::HistoryFilled(_)
        | Change::Delivered { .. }
        | Change::Noted {} => return None,
    };
    let (kind, texts) = event;
    Some((kind, texts.into_iter().map(|(name, text)| (name, Field::Text(text))).collect()))
}

/// How the deltas begin that tell their kind without being parsed.
const OPENING: &[u8] = b"{\"change\":{\"kind\":\"";
/// The kinds of change that are never an event.
const SILENT: [&[u8]; 4] = [b"outcome", b"history_filled", b"delivered", b"noted"];
/// What stands in a decision's delta that is an event.
const TELLING: [&[u8]; 0] = [];

/// Whether a delta could be an event, from its bytes alone; never wrong when it says no.
fn may_be_event(delta: &[u8]) -> bool {
    let Some(rest) = delta.strip_prefix(OPENING) else { return true };
    let kind = rest.split(|byte| *byte == b'"').next().unwrap_or(rest);
    if kind == b"decision" {
        return TELLING.iter().any(|mark| contains(rest, mark));
    }
    !SILENT.contains(&kind)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The event that a receipt is.
pub(crate) fn derive(receipt: &StoredReceipt) -> Result<Option<Event>, String> {
    if !may_be_event(&receipt.delta) {
        return Ok(None);
    }
    let unreadable = |problem: String| format!("receipt {}: {problem}", receipt.index);
    let delta = GateState::decode(&receipt.delta).map_err(|e| unreadable(e.to_string()))?;
    let Some((kind, mut data)) = said(&delta.change) else { return Ok(None) };
    let statement = Statement::parse(&receipt.payload).map_err(|e| unreadable(e.to_string()))?;
    match statement.body() {
        Body::Admin(admin) => drop(data.insert("by", admin.actor.clone().into())),
        Body::Decision(decision) => data.extend(names(decision)),
        _ => {}
    }
    let timestamp = moment(delta.now_ms);
    Ok(Some(Event { id: receipt.index, kind, timestamp, time_ms: delta.now_ms, data }))
}

/// Who asked for what, and which rule answered.
fn names(decision: &Decision) -> Data {
    let mut data = Data::from([
        ("action", decision.action.identity().into()),
        ("agent", decision.agent.id.clone().into()),
        ("tenant", decision.tenant.clone().into()),
    ]);
    let matched = decision.matched_rule.as_ref();
    let reason = decision.reasons.iter().find(|reason| reason.rule.as_ref() == matched);
    let more = [
        ("environment", decision.environment.clone()),
        ("on_behalf_of", decision.agent.on_behalf_of.clone()),
        ("reason", reason.map(|reason| reason.message.clone())),
        ("rule", matched.cloned()),
        ("session", decision.session.as_ref().map(|session| session.id.clone())),
    ];
    data.extend(more.into_iter().filter_map(|(name, text)| Some((name, Field::Text(text?)))));
    data
}

/// RFC 3339 in UTC, to the millisecond; a moment that no calendar has stays a number.
fn moment(ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(ms);
    at.map_or_else(|_| ms.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

#[cfg(test)]
mod tests {
    use callgate_core::history::Reads;
    use callgate_core::state::{
        ApiKey, DecisionDelta, Delta, HistoryFill, NonceUse, OutcomeDelta, SessionKey, SnapshotRef,
    };

    use super::*;
    use crate::fold::encode;

    fn key() -> SessionKey {
        SessionKey { agent: "bot".to_owned(), session: "s".to_owned(), tenant: "acme".to_owned() }
    }

    fn decision() -> DecisionDelta {
        DecisionDelta {
            advance: None,
            key: Some(key()),
            // What an agent writes must not look like a mark.
            nonce: Some(NonceUse { until_ms: 1, value: "\"kind\":\"key_created\"".to_owned() }),
            observations: Vec::new(),
            open_until_ms: Some(9),
            reads: None::<Reads>,
            slot: Some(1),
            snapshot: 1,
            team: None,
            version: 0,
        }
    }

    /// Every kind of change, and what it says.
    fn changes() -> Vec<(Change, Option<Kind>)> {
        let text = || "x".to_owned();
        let api_key = ApiKey { agent: text(), id: text(), sha256: text(), team: None, tenant: text() };
        let snapshot = SnapshotRef { blind: None, digest: text(), monitors: Vec::new(), version: 3 };
        let outcome = OutcomeDelta {
            decision: 1,
            key: key(),
            observations: Vec::new(),
            reads: None,
            snapshot: None,
            version: 0,
        };
        vec![
            (Change::Decision(decision()), None),
            (Change::Outcome(outcome), None),
            (Change::SnapshotActivated(snapshot), Some(Kind::SnapshotActivated)),
            (Change::KeyCreated(api_key), Some(Kind::KeyCreated)),
            (Change::KeyRevoked { id: text() }, Some(Kind::KeyRevoked)),
            (Change::SessionErased(key()), Some(Kind::SubjectErased)),
            (Change::HistoryFilled(HistoryFill::default()), None),
            (Change::Delivered { endpoint: text(), through: 1 }, None),
            (Change::Noted {}, None),
        ]
    }

    #[test]
    fn the_bytes_alone_never_hide_an_event() {
        for (change, kind) in changes() {
            assert_eq!(said(&change).map(|(kind, _)| kind), kind, "{change:?}");
            let delta = encode(&Delta { change, now_ms: 7 }).unwrap();
            let shown = String::from_utf8_lossy(&delta);
            assert_eq!(may_be_event(&delta), kind.is_some(), "{shown}");
        }
        assert!(may_be_event(b"{\"now_ms\":1}"), "an unknown spelling is parsed");
    }

    #[test]
    fn secrets_are_not_said() {
        for (change, _) in changes() {
            let Some((_, data)) = said(&change) else { continue };
            assert!(!data.contains_key("sha256"), "{data:?}");
        }
    }

    #[test]
    fn moments_are_rfc_3339() {
        assert_eq!(moment(1_715_508_000_123), "2024-05-12T10:00:00.123Z");
        assert_eq!(moment(i64::MAX), i64::MAX.to_string());
    }
}
