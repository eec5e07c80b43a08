//! Limits over the fold: what is decided on levels, what is taken, settled, given back, and what opens.
#![expect(clippy::arithmetic_side_effects, reason = "test arithmetic")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use std::collections::BTreeMap;
use std::sync::Arc;

use callgate_core::catalogue::Catalogue;
use callgate_core::constraint::Constraints;
use callgate_core::decide::{Ask, Decided, after_the_fact, decide, levels};
use callgate_core::decision::{Code, Decision, Mode, Source};
use callgate_core::digest::Digest;
use callgate_core::facts::{Credential, Facts};
use callgate_core::json::Limits;
use callgate_core::limit::{
    Amount, Breaker, Budget, Charge, Dimension, Does, Ended, Exceed, HalfOpen, Limit, Near, Rate, Settle,
    Span, Then, Throttle, Trip,
};
use callgate_core::module::{Evaluation, Module};
use callgate_core::request::Request;
use callgate_core::rule::{ApprovalTerms, Rule, Specificity, Stage, Verdict};
use callgate_core::snapshot::{Defaults, Snapshot};
use callgate_core::state::meters::BreakerReset;
use callgate_core::state::stops::{StopScope, StopStart};
use callgate_core::state::unchecked::UncheckedDelta;
use callgate_core::state::{Change, Conflict, Delta, OutcomeDelta, SnapshotRef, State};
use proptest::prelude::*;

/// The middle of a month, a day and an hour: 2023-11-15 12:30 UTC.
const NOW: i64 = 1_700_051_400_000;
const HOUR: i64 = 3_600_000;

/// Allows everything, but denies tools whose name begins with `bad`; every limit speaks of everything, and
/// an action costs what the request says, or one.
#[derive(Debug)]
struct Holds(Vec<Arc<Limit>>);

fn allow(effect: Decision) -> Verdict {
    let rule = Rule {
        id: "rule".into(),
        module: "says",
        source: Source { file: "rules/r.yaml".into(), line: 1, column: 1 },
        effect,
        mode: Mode::Enforce,
        priority: 0,
        invariant: false,
        reason: None,
        constraints: Constraints::default(),
        approval: None,
        retry_after_ms: None,
        controls: Vec::new(),
        fingerprint: Digest::of(b""),
    };
    Verdict { rule: Arc::new(rule), specificity: Specificity::default(), error: None }
}

impl Module for Holds {
    fn name(&self) -> &'static str {
        "holds"
    }

    fn evaluate(&self, request: &Request, _: &Facts, evaluation: &mut Evaluation) {
        let bad = request.action_name().starts_with("bad");
        evaluation.verdicts.push(allow(if bad { Decision::Deny } else { Decision::Allow }));
    }

    fn has_limits(&self) -> bool {
        !self.0.is_empty()
    }

    fn charges(&self, request: &Request) -> Vec<Charge> {
        let cost = request.cost.values().next().copied();
        let amount =
            cost.map_or(Ok(Amount::ONE), |cost| Amount::from_decimal(cost).map_err(|e| e.to_string()));
        let name = Some(Digest::of(request.action_name().as_bytes()));
        let charge = |limit: &Arc<Limit>| Charge { limit: Arc::clone(limit), amount: amount.clone(), name };
        self.0.iter().map(charge).collect()
    }
}

fn limit(id: &str, per: &[Dimension], does: Does) -> Limit {
    Limit {
        id: id.into(),
        source: Source { file: "limits/l.yaml".into(), line: 3, column: 5 },
        mode: Mode::Enforce,
        reason: None,
        per: per.to_vec(),
        lineage: Digest::of(id.as_bytes()),
        fingerprint: Digest::of(id.as_bytes()),
        does,
    }
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

fn budget(most: &str, span: Span) -> Budget {
    Budget {
        unit: "usd".into(),
        limit: amount(most),
        span,
        exceed: Exceed::Deny,
        near: None,
        settle: Settle::Reported,
        release_ms: None,
    }
}

fn breaker(trip: Trip, at: &str) -> Breaker {
    Breaker { trip, at: amount(at), window_ms: 60_000, half_open: None }
}

/// A log in memory.
struct Log {
    snapshot: Snapshot,
    state: State,
    size: u64,
    now_ms: i64,
}

fn log(limits: Vec<Limit>) -> Log {
    let mut log = Log { snapshot: snapshot(limits), state: State::default(), size: 0, now_ms: NOW };
    let activated = SnapshotRef {
        blind: None,
        digest: log.snapshot.digest.to_string(),
        monitors: Vec::new(),
        version: 1,
    };
    log.push(Change::SnapshotActivated(activated)).unwrap();
    log
}

fn snapshot(limits: Vec<Limit>) -> Snapshot {
    Snapshot {
        digest: Digest::of(b"limits"),
        modules: vec![Box::new(Holds(limits.into_iter().map(Arc::new).collect()))],
        contracts: Vec::new(),
        catalogue: Catalogue::default(),
        defaults: Defaults::default(),
    }
}

fn request(text: &str) -> Request {
    let text =
        if text.contains("tool") { text.to_owned() } else { format!(r#"{text},"tool":{{"name":"t"}}"#) };
    let text = if text.contains("agent") { text } else { format!(r#""agent":{{"id":"bot"}},{text}"#) };
    let text = text.replace(",,", ",").replace("{,", "{");
    Request::parse(format!("{{{}}}", text.trim_matches(',')).as_bytes(), &Limits::REQUEST).unwrap()
}

impl Log {
    fn push(&mut self, change: Change) -> Result<u64, Conflict> {
        let delta = Delta { change, now_ms: self.now_ms };
        // What lies in the log reads back as what was written.
        let read: Delta = serde_json::from_slice(&serde_json::to_vec(&delta).unwrap()).unwrap();
        assert_eq!(read, delta);
        self.state.check(&delta)?;
        self.state.apply(self.size, Digest::of(&self.size.to_be_bytes()).as_bytes(), &delta);
        // What a gate saves goes on as if it had never been away.
        let mut saved = Vec::new();
        ciborium::into_writer(&self.state, &mut saved).unwrap();
        let loaded: State = ciborium::from_reader(saved.as_slice()).unwrap();
        assert_eq!(format!("{loaded:?}"), format!("{:?}", self.state));
        self.state = loaded;
        self.size += 1;
        Ok(self.size - 1)
    }

    fn decide(&self, text: &str) -> Decided {
        let ask = Ask::Request(Box::new(request(text)));
        let asks = levels(&self.snapshot, &ask, &Credential::Development);
        let Ask::Request(request) = &ask else { unreachable!() };
        let facts = self.state.facts_of(Some(request), Credential::Development, self.now_ms, asks.as_deref());
        // As it lies sealed beside the receipt.
        let facts: Facts = serde_json::from_slice(&serde_json::to_vec(&facts).unwrap()).unwrap();
        decide(&self.snapshot, ask, &facts)
    }

    fn commit(&mut self, decided: &Decided) -> Result<u64, Conflict> {
        let mut effects = decided.effects.clone();
        (effects.snapshot, effects.epoch) = (1, 1);
        self.push(Change::Decision(effects))
    }

    /// Decides and commits, as often as it takes.
    fn ask(&mut self, text: &str) -> (Decided, u64) {
        let decided = self.decide(text);
        let index = self.commit(&decided).unwrap();
        (decided, index)
    }

    fn answer(&mut self, text: &str) -> (Decision, Option<Code>) {
        let (decided, _) = self.ask(text);
        (decided.settled.decision, decided.settled.code)
    }

    fn end(&mut self, decision: u64, ended: Ended, usd: Option<&str>) {
        let key = self.state.open_action(decision).unwrap().key.clone();
        let spent: BTreeMap<String, Amount> =
            usd.map(|usd| ("usd".to_owned(), amount(usd))).into_iter().collect();
        let outcome = OutcomeDelta {
            decision,
            ended: Some(ended),
            epoch: None,
            version: self.state.session(&key).map_or(0, |session| session.version),
            key,
            observations: Vec::new(),
            reads: None,
            spent,
        };
        self.push(Change::Outcome(outcome)).unwrap();
    }
}

const ALLOW: (Decision, Option<Code>) = (Decision::Allow, None);
const EXCEEDED: (Decision, Option<Code>) = (Decision::Deny, Some(Code::BudgetExceeded));
const OPEN: (Decision, Option<Code>) = (Decision::Deny, Some(Code::BreakerOpen));

#[test]
fn a_budget_is_reserved_settled_and_new_in_the_next_period() {
    let mut log = log(vec![limit("spend", &[Dimension::Agent], Does::Budget(budget("10", Span::Day {})))]);
    let (first, index) = log.ask(r#""cost":{"usd":"8"}"#);
    assert_eq!(first.settled.decision, Decision::Allow);
    assert_eq!(log.answer(r#""cost":{"usd":"3"}"#), EXCEEDED);
    assert_eq!(log.answer(r#""cost":{"usd":"2"}"#), ALLOW);
    assert_eq!(log.answer(r#""cost":{"usd":"0.000000001"}"#), EXCEEDED);
    log.end(index, Ended::Succeeded, Some("5.5"));
    assert_eq!(log.answer(r#""cost":{"usd":"2.5"}"#), ALLOW);
    assert_eq!(log.answer(r#""cost":{"usd":"0.1"}"#), EXCEEDED);
    assert_eq!(log.answer(r#""agent":{"id":"other"},"cost":{"usd":"10"}"#), ALLOW);
    log.now_ms = NOW + 11 * HOUR + HOUR / 2 - 1;
    assert_eq!(log.answer(r#""cost":{"usd":"0.1"}"#), EXCEEDED);
    log.now_ms += 1;
    assert_eq!(log.answer(r#""cost":{"usd":"10"}"#), ALLOW);
}

#[test]
fn an_outcome_that_says_nothing_keeps_the_estimate_and_one_that_did_not_run_gives_it_back() {
    for (ended, usd, settle, left) in [
        (Ended::Succeeded, None, Settle::Reported, "2"),
        (Ended::Failed, None, Settle::Reported, "2"),
        (Ended::NotRun, None, Settle::Reported, "10"),
        (Ended::NotRun, None, Settle::Upward, "2"),
        (Ended::Succeeded, Some("1"), Settle::Upward, "2"),
        (Ended::Succeeded, Some("1"), Settle::Reported, "9"),
        (Ended::Succeeded, Some("9"), Settle::Upward, "1"),
    ] {
        let budget = Budget { settle, ..budget("10", Span::Rolling { ms: 60_000 }) };
        let mut log = log(vec![limit("spend", &[], Does::Budget(budget))]);
        let (_, index) = log.ask(r#""cost":{"usd":"8"}"#);
        log.end(index, ended, usd);
        let more = format!(r#""cost":{{"usd":"{left}.1"}}"#);
        assert_eq!(log.answer(&more), EXCEEDED, "{ended:?} {usd:?} {settle:?}");
        assert_eq!(
            log.answer(&format!(r#""cost":{{"usd":"{left}"}}"#)),
            ALLOW,
            "{ended:?} {usd:?} {settle:?}"
        );
    }
}

#[test]
fn a_reservation_is_given_back_only_where_the_budget_says_so() {
    for (release_ms, answer) in [(None, EXCEEDED), (Some(1_000), ALLOW)] {
        let budget = Budget { release_ms, ..budget("10", Span::Day {}) };
        let mut log = log(vec![limit("spend", &[], Does::Budget(budget))]);
        let (_, index) = log.ask(r#""cost":{"usd":"8"}"#);
        log.now_ms += 999;
        assert_eq!(log.answer(r#""cost":{"usd":"8"}"#), EXCEEDED);
        log.now_ms += 1;
        // The fold gives back with the next receipt.
        log.answer(r#""agent":{"id":"x"},"tool":{"name":"bad"}"#);
        assert_eq!(log.answer(r#""cost":{"usd":"8"}"#), answer);
        // An end that is told late counts after all.
        log.end(index, Ended::Succeeded, Some("8"));
        assert_eq!(log.answer(r#""cost":{"usd":"2.1"}"#), EXCEEDED);
    }
}

#[test]
fn all_levels_are_taken_or_none() {
    let mut log = log(vec![
        limit("agent", &[Dimension::Agent], Does::Budget(budget("5", Span::Day {}))),
        limit("team", &[Dimension::Team], Does::Budget(budget("8", Span::Day {}))),
        limit("tenant", &[Dimension::Tenant], Does::Budget(budget("100", Span::Day {}))),
    ]);
    let of = |agent: &str, usd: &str| {
        format!(r#""agent":{{"id":"{agent}","team":"red"}},"cost":{{"usd":"{usd}"}}"#)
    };
    assert_eq!(log.answer(&of("a", "5")), ALLOW);
    assert_eq!(log.answer(&of("b", "4")), EXCEEDED, "the team has 3 left");
    assert_eq!(log.answer(&of("b", "3")), ALLOW, "the refused one took nothing from b");
    assert_eq!(log.answer(&of("c", "1")), EXCEEDED);
    let used: Vec<(String, String)> = log
        .state
        .meters()
        .list("")
        .map(|(name, meter)| (name.split_once(':').unwrap().1.to_owned(), meter.used(NOW).to_string()))
        .collect();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        used,
        [pair("agent=a", "5"), pair("agent=b", "3"), pair("team=red", "8"), pair("tenant=default", "8")]
    );
}

#[test]
fn everybody_in_the_chain_pays() {
    let mut log = log(vec![limit("spend", &[Dimension::Chain], Does::Budget(budget("10", Span::Day {})))]);
    let of = |agent: &str, chain: &str| {
        format!(r#""agent":{{"id":"{agent}","chain":[{chain}]}},"cost":{{"usd":"6"}}"#)
    };
    assert_eq!(log.answer(&of("worker-a", r#""planner""#)), ALLOW);
    assert_eq!(log.answer(&of("fresh", r#""planner""#)), EXCEEDED, "the planner has 4 left");
    assert_eq!(log.answer(&of("PLANNER", "")), EXCEEDED, "however it is written");
    assert_eq!(log.answer(&of("fresh", r#""other","fresh""#)), ALLOW, "named twice, it pays once");
}

#[test]
fn two_that_read_the_same_level_cannot_both_take_the_last_of_it() {
    for does in [
        Does::Budget(budget("1", Span::Day {})),
        Does::Throttle(Throttle { rate: Rate::Bucket { burst: 1, interval_ns: 1_000_000_000 } }),
        Does::Throttle(Throttle { rate: Rate::Sliding { limit: 1, window_ms: 1_000 } }),
        Does::Breaker(breaker(Trip::Allowed, "1")),
    ] {
        let mut log = log(vec![limit("last", &[Dimension::Agent], does)]);
        let (one, other) = (log.decide(""), log.decide(""));
        assert!(one.settled.decision.permits() && other.settled.decision.permits());
        log.commit(&one).unwrap();
        assert_eq!(log.commit(&other), Err(Conflict::Limit));
        assert!(!log.decide("").settled.decision.permits());
    }
}

/// Whoever makes up sessions to open breakers with delays nobody else; who is hit by one is decided again.
#[test]
fn breakers_of_others_cost_no_conflict() {
    let spree = |per: &[Dimension]| limit("spree", per, Does::Breaker(breaker(Trip::Denied(vec![]), "1")));
    for (per, same) in [
        (Dimension::Session, r#""session":{"id":"own"}"#),
        (Dimension::Tenant, r#""tenant":"own""#),
        (Dimension::Team, r#""agent":{"id":"bot","team":"own"}"#),
        (Dimension::Chain, r#""agent":{"id":"bot","chain":["own"]}"#),
        (Dimension::User, r#""agent":{"id":"bot","on_behalf_of":"own"}"#),
        (Dimension::Agent, r#""agent":{"id":"own"}"#),
    ] {
        let mut log = log(vec![spree(&[per])]);
        let bad = |who: &str| format!(r#"{who},"tool":{{"name":"bad"}}"#);
        let read = log.decide(same);
        for number in 0..3 {
            let other =
                same.replace("own", &format!("x{number}x")).replace("bot", &format!("other-{number}"));
            assert_eq!(log.answer(&bad(&other)).1, Some(Code::DeniedByRule));
        }
        assert_eq!(log.commit(&read).map(drop), Ok(()), "{per}: it is none of its own");
        let read = log.decide(same);
        // The session's own receipts would be a conflict of another kind.
        if per != Dimension::Session {
            assert_eq!(log.answer(&bad(same)).1, Some(Code::DeniedByRule));
            assert_eq!(log.commit(&read), Err(Conflict::Limit), "{per}");
        }
    }
    let mut tools = log(vec![limit("n", &[Dimension::Tool], Does::Breaker(breaker(Trip::Allowed, "1")))]);
    let (read, other) = (tools.decide(r#""tool":{"name":"a"}"#), tools.decide(r#""tool":{"name":"b"}"#));
    assert_eq!(tools.answer(r#""tool":{"name":"A"}"#), ALLOW);
    assert_eq!(tools.commit(&read), Err(Conflict::Limit));
    assert_eq!(tools.commit(&other).map(drop), Ok(()));
}

#[test]
fn a_crowded_budget_costs_no_conflict_until_it_is_full() {
    let mut log = log(vec![limit("spend", &[], Does::Budget(budget("64", Span::Day {})))]);
    let read: Vec<Decided> = (0..70).map(|_| log.decide("")).collect();
    let done: Vec<bool> = read.iter().map(|decided| log.commit(decided).is_ok()).collect();
    assert!(done.iter().take(64).all(|done| *done) && !done.iter().skip(64).any(|done| *done));
}

#[test]
fn a_bucket_refills_and_says_when() {
    let rate = Rate::Bucket { burst: 3, interval_ns: 250_000_000 };
    let mut log = log(vec![limit("calls", &[Dimension::Tool], Does::Throttle(Throttle { rate }))]);
    for _ in 0..3 {
        assert_eq!(log.answer(""), ALLOW);
    }
    let (refused, _) = log.ask("");
    assert_eq!(
        (refused.settled.decision, refused.settled.code),
        (Decision::Throttle, Some(Code::RateExceeded))
    );
    assert_eq!(refused.settled.retry_after_ms, Some(250));
    log.now_ms += 249;
    assert_eq!(log.ask("").0.settled.retry_after_ms, Some(1));
    log.now_ms += 1;
    assert_eq!(log.answer(""), ALLOW);
    assert_eq!(log.answer("").0, Decision::Throttle);
    assert_eq!(
        log.answer(r#""tool":{"name":"T"}"#).0,
        Decision::Throttle,
        "another spelling is the same tool"
    );
    assert_eq!(log.answer(r#""tool":{"name":"u"}"#), ALLOW);
    // A full bucket is forgotten.
    log.now_ms += 10_000;
    log.answer(r#""tool":{"name":"bad"}"#);
    log.answer(r#""tool":{"name":"bad"}"#);
    assert!(log.state.meters().is_empty());
}

#[test]
fn a_window_slides_and_a_number_beyond_it_never_fits() {
    let rate = Rate::Sliding { limit: 2, window_ms: 1_000 };
    let mut log = log(vec![limit("calls", &[], Does::Throttle(Throttle { rate }))]);
    assert_eq!(log.answer(""), ALLOW);
    log.now_ms += 400;
    assert_eq!(log.answer(""), ALLOW);
    assert_eq!(log.ask("").0.settled.retry_after_ms, Some(600));
    log.now_ms += 600;
    assert_eq!(log.answer(""), ALLOW);
    assert_eq!(log.ask("").0.settled.retry_after_ms, Some(400));
    assert_eq!(log.answer(r#""cost":{"n":"3"}"#), (Decision::Deny, Some(Code::RateExceeded)));
}

#[test]
fn near_a_limit_it_warns_or_asks_people() {
    let near = |then| Some(Near { at: amount("8"), then });
    let warned = Budget { near: near(Then::Warn), ..budget("10", Span::Day {}) };
    let mut warns = log(vec![limit("spend", &[], Does::Budget(warned))]);
    let (far, _) = warns.ask(r#""cost":{"usd":"7.9"}"#);
    assert_eq!(far.settled.reasons.len(), 1);
    let (close, _) = warns.ask(r#""cost":{"usd":"0.1"}"#);
    let warning = close.settled.reasons.last().unwrap();
    assert_eq!(
        (close.settled.decision, warning.message.as_str()),
        (Decision::Allow, "near its limit: 8 of 10 usd")
    );
    let terms = ApprovalTerms::in_stages(vec![Stage::ANYONE], 1_000);
    let asked = Budget { near: near(Then::Approval(terms)), ..budget("10", Span::Day {}) };
    let mut asks = log(vec![limit("spend", &[], Does::Budget(asked))]);
    let held = asks.decide(r#""cost":{"usd":"8"}"#);
    assert_eq!(held.settled.decision, Decision::RequireApproval);
    assert!(held.held && held.effects.charged.is_none(), "what waits for people takes nothing");
    // What was far when it was read is near now.
    let read = asks.decide(r#""cost":{"usd":"4"}"#);
    assert_eq!(asks.answer(r#""cost":{"usd":"5"}"#), ALLOW);
    assert_eq!(asks.commit(&read), Err(Conflict::Limit));
}

#[test]
fn a_breaker_opens_on_denials_and_only_a_person_who_has_seen_them_closes_it() {
    let mut log =
        log(vec![limit("spree", &[Dimension::Agent], Does::Breaker(breaker(Trip::Denied(vec![]), "3")))]);
    let bad = r#""tool":{"name":"bad"}"#;
    for _ in 0..3 {
        assert_eq!(log.answer(bad).1, Some(Code::DeniedByRule));
    }
    assert_eq!(log.answer(""), OPEN);
    assert_eq!(log.answer(bad), OPEN, "the first code that applies");
    assert_eq!(log.answer(r#""agent":{"id":"BOT"}"#), OPEN, "a look-alike");
    assert_eq!(log.answer(r#""agent":{"id":"other"}"#), ALLOW);
    let (name, opened) = log.state.meters().opened().next().unwrap();
    let (name, last) = (name.to_owned(), opened.last_violation());
    assert_eq!(
        opened.violations.iter().copied().collect::<Vec<_>>(),
        [1, 2, 3],
        "refusals of its own are none"
    );
    log.now_ms += 30 * 24 * HOUR;
    assert_eq!(log.answer(""), OPEN, "time does not close it");
    let reset =
        |through| Change::BreakerReset(BreakerReset { by: "ana".into(), meter: name.clone(), through });
    assert_eq!(log.push(reset(last - 1)), Err(Conflict::Limit));
    log.push(reset(last)).unwrap();
    assert_eq!(log.push(reset(last)), Err(Conflict::Registry));
    assert_eq!(log.answer(""), ALLOW);
    assert_eq!(log.answer(bad).1, Some(Code::DeniedByRule), "it counts from nothing");
    assert_eq!(log.answer(""), ALLOW);
}

#[test]
fn an_open_breaker_outlives_the_snapshot_that_had_it() {
    let mut log = log(vec![limit("n", &[Dimension::Tool], Does::Breaker(breaker(Trip::Allowed, "1")))]);
    assert_eq!(log.answer(""), ALLOW);
    log.snapshot = snapshot(Vec::new());
    assert_eq!(log.answer(""), OPEN);
    assert_eq!(log.answer(r#""tool":{"name":"other"}"#), ALLOW);
}

#[test]
fn breakers_count_sums_different_values_and_failures() {
    let per = [Dimension::Tenant];
    let mut sums = log(vec![limit("s", &per, Does::Breaker(breaker(Trip::Allowed, "100")))]);
    assert_eq!(sums.answer(r#""cost":{"usd":"99.5"}"#), ALLOW);
    assert_eq!(sums.answer(r#""cost":{"usd":"0.5"}"#), ALLOW, "this one trips it");
    assert_eq!(sums.answer(r#""cost":{"usd":"0.5"}"#), OPEN);

    let mut distinct = log(vec![limit("d", &per, Does::Breaker(breaker(Trip::Distinct, "3")))]);
    for tool in ["a", "b", "a", "b", "a", "c"] {
        assert_eq!(distinct.answer(&format!(r#""tool":{{"name":"{tool}"}}"#)), ALLOW, "{tool}");
    }
    assert_eq!(distinct.answer(r#""tool":{"name":"a"}"#), OPEN);

    let failed = Breaker { half_open: None, ..breaker(Trip::Failed { share_bp: 5_000 }, "4") };
    let mut failures = log(vec![limit("f", &per, Does::Breaker(failed))]);
    let ends =
        [Ended::Failed, Ended::Succeeded, Ended::NotRun, Ended::Cancelled, Ended::Succeeded, Ended::Failed];
    for (number, ended) in ends.into_iter().enumerate() {
        assert_eq!(failures.state.meters().opened().count(), 0, "{number}");
        let (decided, index) = failures.ask("");
        assert_eq!(decided.settled.decision, Decision::Allow, "{number}");
        failures.end(index, ended, None);
    }
    assert_eq!(failures.answer(""), OPEN, "two of four failed");
}

#[test]
fn a_half_open_breaker_tries_one_action_at_a_time() {
    let half_open = Some(HalfOpen { after_ms: 1_000, probes: 2 });
    let tripping = Breaker { half_open, ..breaker(Trip::Failed { share_bp: 1 }, "1") };
    let mut log = log(vec![limit("f", &[Dimension::Tool], Does::Breaker(tripping))]);
    let (_, index) = log.ask("");
    log.end(index, Ended::Failed, None);
    assert_eq!(log.answer(""), OPEN);
    log.now_ms += 1_000;
    let (one, other) = (log.decide(""), log.decide(""));
    let index = log.commit(&one).unwrap();
    assert_eq!(log.commit(&other), Err(Conflict::Limit), "one at a time");
    assert_eq!(log.answer(""), OPEN);
    log.end(index, Ended::Failed, None);
    assert_eq!(log.answer(""), OPEN, "a failure opens it again");
    log.now_ms += 1_000;
    for _ in 0..2 {
        let (tried, index) = log.ask("");
        assert_eq!(tried.settled.decision, Decision::Allow);
        log.end(index, Ended::Succeeded, None);
    }
    assert_eq!(log.state.meters().opened().count(), 0);
    assert_eq!(log.answer(""), ALLOW);
}

#[test]
fn a_probe_that_is_never_heard_of_again_is_a_failure() {
    let half_open = Some(HalfOpen { after_ms: 1_000, probes: 1 });
    let mut log =
        log(vec![limit("f", &[], Does::Breaker(Breaker { half_open, ..breaker(Trip::Allowed, "1") }))]);
    log.answer("");
    log.now_ms += 1_000;
    assert_eq!(log.answer(""), ALLOW);
    log.now_ms += 24 * HOUR;
    assert_eq!(log.answer(""), OPEN);
    log.now_ms += 1_000;
    assert_eq!(log.answer(""), ALLOW);
}

#[test]
fn a_monitored_limit_counts_and_never_blocks() {
    let mut monitored = limit("spend", &[], Does::Budget(budget("1", Span::Day {})));
    monitored.mode = Mode::Monitor;
    let mut log = log(vec![monitored]);
    assert_eq!(log.answer(""), ALLOW);
    let (beyond, _) = log.ask("");
    assert_eq!(beyond.settled.decision, Decision::Allow);
    let would = beyond.settled.would.unwrap();
    assert_eq!((would.decision, would.code), (Decision::Deny, Some(Code::BudgetExceeded)));
    assert_eq!(log.state.meters().list("").next().unwrap().1.used(NOW).to_string(), "2");
}

#[test]
fn a_level_that_was_not_read_denies() {
    let snapshot = snapshot(vec![limit("spend", &[], Does::Budget(budget("1", Span::Day {})))]);
    let decided =
        decide(&snapshot, Ask::Request(Box::new(request(""))), &Facts::new(Credential::Development, NOW));
    assert_eq!((decided.settled.decision, decided.settled.code), (Decision::Deny, Some(Code::PolicyError)));
}

#[test]
fn an_outcome_after_the_release_counts_what_was_reserved() {
    for (ended, usd, settle, left) in [
        (Ended::Succeeded, None, Settle::Reported, "2"),
        (Ended::Failed, None, Settle::Upward, "2"),
        (Ended::Succeeded, Some("3"), Settle::Reported, "7"),
        (Ended::Succeeded, Some("3"), Settle::Upward, "2"),
        (Ended::Succeeded, Some("9"), Settle::Upward, "1"),
        (Ended::NotRun, None, Settle::Reported, "10"),
        (Ended::NotRun, None, Settle::Upward, "10"),
    ] {
        let budget = Budget { settle, release_ms: Some(1_000), ..budget("10", Span::Day {}) };
        let mut log = log(vec![limit("spend", &[Dimension::Agent], Does::Budget(budget))]);
        let (_, index) = log.ask(r#""cost":{"usd":"8"}"#);
        log.now_ms += 1_001;
        assert_eq!(log.answer(r#""agent":{"id":"other"}"#), ALLOW, "time passes");
        assert_eq!(log.state.meters().list("").next().unwrap().1.used(log.now_ms), Amount::ZERO);
        log.end(index, ended, usd);
        let more = format!("{left}.000000001");
        assert_eq!(log.answer(&format!(r#""cost":{{"usd":"{more}"}}"#)), EXCEEDED, "{ended:?} {settle:?}");
        assert_eq!(log.answer(&format!(r#""cost":{{"usd":"{left}"}}"#)), ALLOW, "{ended:?} {settle:?}");
    }
}

#[test]
fn an_open_breaker_that_is_only_monitored_keeps_no_more_values() {
    let mut monitored = limit("d", &[], Does::Breaker(breaker(Trip::Distinct, "3")));
    monitored.mode = Mode::Monitor;
    let mut log = log(vec![monitored]);
    for number in 0..200 {
        assert_eq!(log.answer(&format!(r#""tool":{{"name":"t{number}x"}}"#)), ALLOW);
    }
    assert_eq!(log.state.meters().list("").next().unwrap().1.used(NOW).to_string(), "3");
    assert_eq!(log.state.meters().opened().next().unwrap().1.violations.len(), 32);
}

/// What is short-lived does not stay, however many there were.
#[test]
fn what_counts_no_more_is_forgotten() {
    let bucket = Rate::Bucket { burst: 2, interval_ns: 500_000_000 };
    let often = Breaker { window_ms: 500, ..breaker(Trip::Allowed, "9") };
    let mut log = log(vec![
        limit("roll", &[Dimension::User], Does::Budget(budget("10", Span::Rolling { ms: 500 }))),
        limit("bucket", &[Dimension::User], Does::Throttle(Throttle { rate: bucket })),
        limit("often", &[Dimension::User], Does::Breaker(often)),
    ]);
    let asked = log.decide(r#""agent":{"id":"bot","on_behalf_of":"user"}"#).effects;
    let mut most = 0;
    for number in 0..100_000u64 {
        let mut effects = asked.clone();
        let charged = effects.charged.as_deref_mut().unwrap();
        let other = |name: &str| name.replace("user=user", &format!("user=u{number}"));
        charged.takes.iter_mut().for_each(|take| take.meter = other(&take.meter));
        charged.marks.iter_mut().for_each(|mark| mark.key = other(&mark.key));
        log.now_ms += 10;
        let delta = Delta { change: Change::Decision(effects), now_ms: log.now_ms };
        log.state.apply(number + 1, &[0; 32], &delta);
        most = most.max(log.state.meters().len());
    }
    assert!((3 * 50..=3 * 54).contains(&most), "{most}");
    log.now_ms += 2_000;
    assert_eq!(log.answer(""), ALLOW);
    assert_eq!(log.state.meters().len(), 3);
}

/// What a reference remembers: everything that ran, when, for whom, and what it cost in the end.
#[derive(Debug, Default)]
struct Reference(Vec<(i64, u8, u32)>);

#[derive(Debug, Clone)]
enum Act {
    Wait(u16),
    Ask { agent: u8, cents: u16, race: bool },
    End { which: u8, cents: Option<u16> },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0u16..900).prop_map(Act::Wait),
        (0u8..3, 1u16..400, any::<bool>()).prop_map(|(agent, cents, race)| Act::Ask { agent, cents, race }),
        (any::<u8>(), proptest::option::of(0u16..400)).prop_map(|(which, cents)| Act::End { which, cents }),
    ]
}

proptest! {
    /// Over any life with races, no window ever holds more than the limits, and nothing that fits is refused.
    #[test]
    fn no_window_ever_holds_more_than_its_limit(acts in proptest::collection::vec(act(), 1..120)) {
        const WINDOW: i64 = 1_000;
        let all = budget("10", Span::Rolling { ms: 1_000 });
        let each = budget("6", Span::Rolling { ms: 1_000 });
        let mut log = log(vec![
            limit("all", &[], Does::Budget(all)),
            limit("each", &[Dimension::Agent], Does::Budget(each)),
        ]);
        let mut reference = Reference::default();
        let mut open: Vec<(u64, usize)> = Vec::new();
        let used = |reference: &Reference, now: i64, agent: Option<u8>| -> u32 {
            let inside = |(at, who, _): &&(i64, u8, u32)| *at + WINDOW > now && agent.is_none_or(|agent| agent == *who);
            reference.0.iter().filter(inside).map(|(_, _, cents)| *cents).sum()
        };
        for act in acts {
            match act {
                Act::Wait(ms) => log.now_ms += i64::from(ms),
                Act::Ask { agent, cents, race } => {
                    let text = format!(r#""agent":{{"id":"bot-{agent}"}},"cost":{{"usd":"{}.{:02}"}}"#, cents / 100, cents % 100);
                    let before = log.decide(&text);
                    if race {
                        // Somebody else was faster; what was read may not hold any more.
                        let other = log.decide(r#""agent":{"id":"bot-9"},"cost":{"usd":"1"}"#);
                        if other.settled.decision.permits() && log.commit(&other).is_ok() {
                            reference.0.push((log.now_ms, 9, 100));
                        }
                    }
                    let fits = used(&reference, log.now_ms, None) + u32::from(cents) <= 1_000
                        && used(&reference, log.now_ms, Some(agent)) + u32::from(cents) <= 600;
                    let (decided, index) = match log.commit(&before) {
                        Ok(index) => (before, index),
                        Err(_) => log.ask(&text),
                    };
                    let ran = decided.settled.decision.permits();
                    // What was refused before the other one ran may stay refused, but never the other way round.
                    prop_assert_eq!(ran, fits);
                    if ran {
                        open.push((index, reference.0.len()));
                        reference.0.push((log.now_ms, agent, u32::from(cents)));
                    }
                }
                Act::End { which, cents } => {
                    if open.is_empty() { continue; }
                    let (index, place) = open.remove(usize::from(which) % open.len());
                    let text = cents.map(|cents| format!("{}.{:02}", cents / 100, cents % 100));
                    log.end(index, Ended::Succeeded, text.as_deref());
                    if let (Some(cents), Some(entry)) = (cents, reference.0.get_mut(place)) {
                        // What left the window counts no more, whatever it cost.
                        entry.2 = u32::from(cents);
                    }
                }
            }
        }
    }
}

/// What ran while the gate was away is counted whatever it meets, or its journal could never be handed in.
#[test]
fn what_ran_unchecked_counts_beyond_full_budgets_open_breakers_and_stops() {
    let mut log = log(vec![
        limit("spend", &[], Does::Budget(budget("1", Span::Day {}))),
        limit("n", &[Dimension::Tool], Does::Breaker(breaker(Trip::Allowed, "1"))),
    ]);
    assert_eq!(log.answer(""), ALLOW);
    let stale = log.decide("");
    assert_eq!(stale.settled.code, Some(Code::BreakerOpen));
    let mut ran = stale;
    let unchecked = UncheckedDelta {
        at_ms: NOW,
        exceeded: None,
        journal: "j".to_owned(),
        lease: 0,
        point: "p".to_owned(),
        refused: false,
        sequence: 0,
    };
    after_the_fact(&mut ran, unchecked, &Facts::new(Credential::Development, NOW));
    // Somebody stops everything before it is committed.
    let everything = StopStart { by: "ana".to_owned(), note: None, scope: StopScope::Everything {} };
    log.push(Change::StopCreated(everything)).unwrap();
    let index = log.commit(&ran).unwrap();
    let used = |log: &Log| log.state.meters().list("spend").next().unwrap().1.used(NOW).to_string();
    assert_eq!(used(&log), "2");
    log.end(index, Ended::Succeeded, Some("5"));
    assert_eq!(used(&log), "6", "its outcome settles it like any other");
}
