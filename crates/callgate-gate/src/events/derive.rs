//! From a receipt to the event it is, if it is one.
//!
//! What is said comes from the delta ([`said`]: a new kind is one arm) and from the names in the signed
//! payload. Arguments are in neither.

use callgate_core::approval::{ApprovalDelta, ApprovalEffect};
use callgate_core::event::{Data, Event, Field, Kind};
use callgate_core::state::stops::StopScope;
use callgate_core::state::unchecked::WindowDelta;
use callgate_core::state::{ApiKey, Change, Holder, ModeScope, Trial};
use callgate_log::Statement;
use callgate_log::statement::{Body, Decision};
use callgate_store::{Fold as _, StoredReceipt};

use crate::fold::GateState;
use crate::reply::{approval_id, standing_id, stop_id};

/// What a change says happened; `None` for one that is no event.
pub(crate) fn said(change: &Change) -> Option<(Kind, Data)> {
    let event = match change {
        Change::SnapshotActivated(snapshot) => (
            Kind::SnapshotActivated,
            vec![("snapshot", format!("v{}", snapshot.version)), ("digest", snapshot.digest.clone())],
        ),
        Change::SnapshotStaged(stage) => (
            Kind::SnapshotStaged,
            vec![("snapshot", format!("v{}", stage.version)), ("digest", stage.digest.clone())],
        ),
        Change::SnapshotSimulated { version, .. } => {
            (Kind::SnapshotSimulated, vec![("snapshot", format!("v{version}"))])
        }
        Change::ControlActivated(control) => (
            Kind::ControlActivated,
            vec![("snapshot", format!("c{}", control.version)), ("digest", control.digest.clone())],
        ),
        Change::RolloutStarted(rollout) => (
            Kind::RolloutStarted,
            vec![
                ("snapshot", format!("v{}", rollout.candidate.version)),
                ("trial", trial(&rollout.trial).to_owned()),
            ],
        ),
        Change::RolloutStopped {} => (Kind::RolloutStopped, Vec::new()),
        Change::ModeSet { monitor, scope } => {
            let mode = if *monitor { "monitor" } else { "enforce" };
            let mut texts = vec![("mode", mode.to_owned())];
            if let ModeScope::Agent { agent, tenant } = scope {
                texts.extend([("agent", agent.clone()), ("tenant", tenant.clone())]);
            }
            (Kind::ModeSet, texts)
        }
        Change::StopCreated(start) => (Kind::StopCreated, scope(&start.scope)),
        Change::StopLifted { stop } => (Kind::StopLifted, vec![("stop", stop_id(*stop))]),
        Change::BreakerReset(reset) => (Kind::BreakerReset, vec![("breaker", reset.meter.clone())]),
        Change::BreakerOpened { meter } => (Kind::BreakerOpened, vec![("breaker", meter.clone())]),
        Change::ActionStopped { code, decision } => (
            Kind::ActionStopped,
            vec![("code", code.as_str().to_owned()), ("decision", decision.to_string())],
        ),
        Change::UncheckedWindow(window) => return Some((Kind::UncheckedWindow, ran(window))),
        Change::KeyCreated(key) => (Kind::KeyCreated, holder(key)),
        Change::KeyRevoked { id } => (Kind::KeyRevoked, vec![("key", id.clone())]),
        Change::SessionErased(key) => (
            Kind::SubjectErased,
            vec![
                ("agent", key.agent.clone()),
                ("session", key.session.clone()),
                ("tenant", key.tenant.clone()),
            ],
        ),
        Change::Decision(decision) => return decision.approval.as_deref().and_then(held_or_used),
        Change::ApprovalVoted(vote) if !vote.approve => (Kind::ApprovalRejected, approval(vote.approval)),
        Change::ApprovalVoted(vote) if vote.grants => (Kind::ApprovalGranted, approval(vote.approval)),
        Change::ApprovalDelegated(delegation) => {
            let mut texts = approval(delegation.approval);
            texts.push(("to", delegation.to.clone()));
            (Kind::ApprovalDelegated, texts)
        }
        Change::ApprovalCommented(comment) => (Kind::ApprovalCommented, approval(comment.approval)),
        Change::ApprovalExpired { approval: id } => (Kind::ApprovalExpired, approval(*id)),
        // A yes among several is none yet.
        Change::ApprovalVoted(_)
        | Change::StandingRevoked(_)
        | Change::ActionSpent { .. }
        | Change::Outcome(_)
        | Change::PointAcknowledged(_)
        | Change::PointLeased(_)
        | Change::PointRetired { .. }
        | Change::HistoryFilled(_)
        | Change::Delivered { .. }
        | Change::Noted {} => return None,
    };
    let (kind, texts) = event;
    Some((kind, texts.into_iter().map(|(name, text)| (name, Field::Text(text))).collect()))
}

fn scope(scope: &StopScope) -> Vec<(&'static str, String)> {
    let names = scope.names().into_iter().map(|(field, name)| (field, name.to_owned()));
    names.chain([("scope", scope.word().to_owned())]).collect()
}

/// What ran while the gate could not be reached.
fn ran(window: &WindowDelta) -> Data {
    Data::from([
        ("agent", window.key.agent.clone().into()),
        ("count", Field::Number(window.count)),
        ("exceeded", Field::Number(window.exceeded)),
        ("from", moment(window.from_ms).into()),
        ("point", window.key.point.clone().into()),
        ("refused", Field::Number(window.refused)),
        ("tenant", window.key.tenant.clone().into()),
        ("to", moment(window.to_ms).into()),
    ])
}

fn approval(id: u64) -> Vec<(&'static str, String)> {
    vec![("approval", approval_id(id))]
}

/// A decision that opens an approval, or uses one; the id of one it opens is its own place in the log.
fn held_or_used(delta: &ApprovalDelta) -> Option<(Kind, Data)> {
    match &delta.effect {
        ApprovalEffect::Opens { hold } => {
            let mut data = Data::from([("expires_at", moment(hold.expires_at_ms).into())]);
            if let Some(stage) = hold.stages.first() {
                data.insert("quorum", Field::Number(u64::from(stage.quorum)));
                data.insert("reviewers", Field::Names(stage.reviewers.clone()));
            }
            Some((Kind::ApprovalRequested, data))
        }
        ApprovalEffect::Uses { approval, .. } => {
            Some((Kind::ApprovalUsed, Data::from([("approval", approval_id(*approval).into())])))
        }
        ApprovalEffect::UsesStanding { approval, standing, .. } => {
            let ids =
                [("approval", approval_id(*approval).into()), ("standing", standing_id(*standing).into())];
            Some((Kind::ApprovalUsed, Data::from(ids)))
        }
        ApprovalEffect::Meets { .. } | ApprovalEffect::Refused { .. } | ApprovalEffect::Crowded {} => None,
    }
}

fn holder(key: &ApiKey) -> Vec<(&'static str, String)> {
    let mut texts = vec![("key", key.id.clone())];
    match &key.holder {
        Holder::Agent { agent, tenant, .. } => {
            texts.extend([("agent", agent.clone()), ("tenant", tenant.clone())]);
        }
        Holder::Person { person, tenant, .. } => {
            texts.push(("person", person.clone()));
            texts.extend(tenant.iter().map(|tenant| ("tenant", tenant.clone())));
        }
    }
    texts
}

const fn trial(trial: &Trial) -> &'static str {
    match trial {
        Trial::Shadow {} => "shadow",
        Trial::Canary { .. } => "canary",
    }
}

/// How the deltas begin that tell their kind without being parsed.
const OPENING: &[u8] = b"{\"change\":{\"kind\":\"";
/// The kinds of change that are never an event.
const SILENT: [&[u8]; 8] = [
    b"outcome",
    b"point_leased",
    b"standing_revoked",
    b"point_acknowledged",
    b"point_retired",
    b"history_filled",
    b"delivered",
    b"noted",
];
/// What an event says of the particulars of a change to the gate.
const PARTICULARS: [&str; 13] = [
    "action",
    "agent",
    "blocks",
    "limit",
    "on_behalf_of",
    "reason",
    "rule",
    "scope",
    "session",
    "status",
    "team",
    "tenant",
    "tool",
];
/// What stands in a decision's delta that is an event.
const TELLING: [&[u8]; 2] = [b"\"effect\":{\"kind\":\"opens\"", b"\"effect\":{\"kind\":\"uses"];

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
        Body::Admin(admin) => {
            data.insert("by", admin.actor.clone().into());
            let said = PARTICULARS.iter().filter_map(|name| Some((*name, admin.details.get(name)?)));
            data.extend(said.map(|(name, text)| (name, text.clone().into())));
            if kind == Kind::StopCreated {
                data.insert("stop", stop_id(receipt.index).into());
            }
        }
        Body::Decision(decision) => {
            data.extend(names(decision));
            if kind == Kind::ApprovalRequested {
                data.insert("approval", approval_id(receipt.index).into());
            }
        }
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
    use callgate_core::state::Delta;

    use super::*;
    use crate::fold::encode;

    /// Every kind of change, and what it says.
    const CHANGES: [(&str, Option<Kind>); 35] = [
        // What an agent writes must not look like a mark.
        (
            r#"{"kind":"decision","epoch":1,"snapshot":1,"version":0,"nonce":{"until_ms":1,"value":"\"kind\":\"key_created\""}}"#,
            None,
        ),
        (
            r#"{"kind":"outcome","decision":1,"key":{"agent":"bot","session":"s","tenant":"t"},"version":0}"#,
            None,
        ),
        (
            r#"{"kind":"snapshot_staged","author":"ana","digest":"sha256:0","version":3}"#,
            Some(Kind::SnapshotStaged),
        ),
        (
            r#"{"kind":"snapshot_simulated","version":3,"evidence":{"baseline":"a","candidate":"b","constraints_changed":0,"decisions":1,"loosened":0,"not_evaluated":0,"report_sha256":"00","tightened":0}}"#,
            Some(Kind::SnapshotSimulated),
        ),
        (r#"{"kind":"snapshot_activated","digest":"sha256:0","version":3}"#, Some(Kind::SnapshotActivated)),
        (
            r#"{"kind":"rollout_started","candidate":{"digest":"d","version":3},"max_drift_bp":1,"min_decisions":1,"trial":{"kind":"shadow"}}"#,
            Some(Kind::RolloutStarted),
        ),
        (r#"{"kind":"rollout_stopped"}"#, Some(Kind::RolloutStopped)),
        (r#"{"kind":"mode_set","monitor":true,"scope":{"scope":"everyone"}}"#, Some(Kind::ModeSet)),
        (
            r#"{"kind":"mode_set","monitor":false,"scope":{"scope":"agent","agent":"bot","tenant":"t"}}"#,
            Some(Kind::ModeSet),
        ),
        (r#"{"kind":"point_acknowledged","enforces":[],"id":"p","snapshot":"v1"}"#, None),
        (r#"{"kind":"point_retired","id":"p"}"#, None),
        (
            r#"{"kind":"point_leased","key":{"agent":"bot","point":"p","tenant":"t"},"expires_at_ms":1,"terms":{"constraints":"{}","deadline_ms":1,"lease_ms":1,"max_actions":1,"window_ms":1},"tier":"low"}"#,
            None,
        ),
        (
            r#"{"kind":"unchecked_window","count":1,"exceeded":0,"from_ms":1,"journal":"j","key":{"agent":"bot","point":"p","tenant":"t"},"to_ms":1}"#,
            Some(Kind::UncheckedWindow),
        ),
        (r#"{"kind":"control_activated","digest":"d","version":1}"#, Some(Kind::ControlActivated)),
        (
            r#"{"kind":"key_created","holder":{"kind":"agent","agent":"bot","tenant":"t"},"id":"k","sha256":"00"}"#,
            Some(Kind::KeyCreated),
        ),
        (r#"{"kind":"key_revoked","id":"k"}"#, Some(Kind::KeyRevoked)),
        (r#"{"kind":"session_erased","agent":"bot","session":"s","tenant":"t"}"#, Some(Kind::SubjectErased)),
        (r#"{"kind":"history_filled"}"#, None),
        (r#"{"kind":"delivered","endpoint":"e","through":1}"#, None),
        (r#"{"kind":"noted"}"#, None),
        (
            r#"{"kind":"decision","approval":{"action":"sha256:0000000000000000000000000000000000000000000000000000000000000000","effect":{"kind":"opens","hold":{"action":"t","expires_at_ms":1,"rule":"r","span_ms":1,"stages":[{"reviewers":["role:finance"],"quorum":2}],"terms":"sha256:0000000000000000000000000000000000000000000000000000000000000000"}},"scope":"sha256:0000000000000000000000000000000000000000000000000000000000000000","seen":"sha256:0000000000000000000000000000000000000000000000000000000000000000"},"epoch":1,"snapshot":1,"version":0}"#,
            Some(Kind::ApprovalRequested),
        ),
        (
            r#"{"kind":"decision","approval":{"action":"sha256:0000000000000000000000000000000000000000000000000000000000000000","effect":{"kind":"meets","approval":3,"expires_at_ms":1},"scope":"sha256:0000000000000000000000000000000000000000000000000000000000000000","seen":"sha256:0000000000000000000000000000000000000000000000000000000000000000"},"epoch":1,"snapshot":1,"version":0}"#,
            None,
        ),
        (
            r#"{"kind":"decision","approval":{"action":"sha256:0000000000000000000000000000000000000000000000000000000000000000","effect":{"kind":"uses","approval":3,"by":["ana"]},"scope":"sha256:0000000000000000000000000000000000000000000000000000000000000000","seen":"sha256:0000000000000000000000000000000000000000000000000000000000000000"},"epoch":1,"snapshot":1,"version":0}"#,
            Some(Kind::ApprovalUsed),
        ),
        (
            r#"{"kind":"decision","approval":{"action":"sha256:0000000000000000000000000000000000000000000000000000000000000000","effect":{"kind":"uses_standing","approval":3,"by":["ana"],"standing":4},"scope":"sha256:0000000000000000000000000000000000000000000000000000000000000000","seen":"sha256:0000000000000000000000000000000000000000000000000000000000000000"},"epoch":1,"snapshot":1,"version":0}"#,
            Some(Kind::ApprovalUsed),
        ),
        (
            r#"{"kind":"approval_voted","approval":3,"approve":true,"grants":true,"person":"ana","seat":"role:finance","stage":0}"#,
            Some(Kind::ApprovalGranted),
        ),
        (
            r#"{"kind":"approval_voted","approval":3,"approve":false,"person":"ana","seat":"role:finance","stage":0}"#,
            Some(Kind::ApprovalRejected),
        ),
        (
            r#"{"kind":"approval_delegated","approval":3,"from":"ana","seat":"role:finance","stage":0,"to":"ben"}"#,
            Some(Kind::ApprovalDelegated),
        ),
        (r#"{"kind":"approval_commented","approval":3,"person":"ana"}"#, Some(Kind::ApprovalCommented)),
        (r#"{"kind":"approval_expired","approval":3}"#, Some(Kind::ApprovalExpired)),
        (
            r#"{"kind":"stop_created","by":"ana","note":"loops","scope":{"scope":"agent","agent":"bot"}}"#,
            Some(Kind::StopCreated),
        ),
        (r#"{"kind":"stop_created","by":"ana","scope":{"scope":"everything"}}"#, Some(Kind::StopCreated)),
        (r#"{"kind":"stop_lifted","stop":7}"#, Some(Kind::StopLifted)),
        (r#"{"kind":"action_stopped","code":"AGENT_KILLED","decision":5}"#, Some(Kind::ActionStopped)),
        (r#"{"kind":"standing_revoked","person":"ana","standing":3}"#, None),
        (
            r#"{"kind":"decision","epoch":1,"snapshot":1,"version":0,"nonce":{"until_ms":1,"value":"\"effect\":{\"kind\":\"opens\""}}"#,
            None,
        ),
    ];

    fn changes() -> impl Iterator<Item = (Change, Option<Kind>)> {
        let read = |text| serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        CHANGES.into_iter().map(move |(text, kind)| (read(text), kind))
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
    fn what_is_said() {
        let said = |text| {
            let (kind, data) = said(&serde_json::from_str(text).unwrap()).unwrap();
            format!("{kind} {}", serde_json::to_string(&data).unwrap())
        };
        let table = [
            (
                r#"{"kind":"key_created","holder":{"kind":"person","person":"ana","roles":["reviewer"],"tenant":"t"},"id":"k","sha256":"00"}"#,
                r#"key.created {"key":"k","person":"ana","tenant":"t"}"#,
            ),
            (CHANGES[8].0, r#"mode.set {"agent":"bot","mode":"enforce","tenant":"t"}"#),
            (CHANGES[7].0, r#"mode.set {"mode":"monitor"}"#),
            (CHANGES[5].0, r#"rollout.started {"snapshot":"v3","trial":"shadow"}"#),
            (CHANGES[2].0, r#"snapshot.staged {"digest":"sha256:0","snapshot":"v3"}"#),
        ];
        for (change, expected) in table {
            assert_eq!(said(change), expected);
        }
    }

    #[test]
    fn moments_are_rfc_3339() {
        assert_eq!(moment(1_715_508_000_123), "2024-05-12T10:00:00.123Z");
        assert_eq!(moment(i64::MAX), i64::MAX.to_string());
    }
}
