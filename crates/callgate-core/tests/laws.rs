//! The laws of the design that hold for any engine, as properties over arbitrary verdicts.
#![expect(clippy::arithmetic_side_effects, reason = "test arithmetic")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use std::sync::Arc;

use callgate_core::catalogue::{Catalogue, CatalogueTool};
use callgate_core::constraint::{Constraints, Kind, Limit};
use callgate_core::decide::{Ask, Decided, decide};
use callgate_core::decision::{Code, Decision, Mode, Source};
use callgate_core::digest::Digest;
use callgate_core::facts::{Credential, Facts, Position, SessionFacts};
use callgate_core::json::Limits;
use callgate_core::module::{Evaluation, Module};
use callgate_core::name::Name;
use callgate_core::request::Request;
use callgate_core::rule::{Outcome, Rule, Specificity, Step, Verdict};
use callgate_core::snapshot::{Defaults, Snapshot};
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000_000;

/// An engine that says what it was told to say.
#[derive(Debug, Clone)]
struct Says(Vec<Verdict>);

impl Module for Says {
    fn name(&self) -> &'static str {
        "says"
    }

    fn evaluate(&self, _: &Request, _: &Facts, evaluation: &mut Evaluation) {
        for verdict in &self.0 {
            let outcome = verdict.error.clone().map_or(Outcome::Matched, Outcome::Error);
            evaluation.trace.push(Step { rule: Arc::clone(&verdict.rule), outcome });
            evaluation.verdicts.push(verdict.clone());
        }
    }
}

fn snapshot(modules: Vec<Vec<Verdict>>) -> Snapshot {
    Snapshot {
        digest: Digest::of(b"laws"),
        modules: modules.into_iter().map(|verdicts| Box::new(Says(verdicts)) as Box<dyn Module>).collect(),
        contracts: Vec::new(),
        catalogue: Catalogue::default(),
        defaults: Defaults::default(),
    }
}

fn request(extra: &str) -> Request {
    let text = format!(
        r#"{{"agent":{{"id":"bot"}},"tool":{{"name":"t"}},"pep":{{"id":"test","enforces":["max_runtime_ms","max_retries","network_allowlist","read_only"]}}{extra}}}"#
    );
    Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap()
}

fn facts() -> Facts {
    Facts::new(Credential::Development, NOW)
}

fn ask(verdicts: &[Verdict]) -> Decided {
    decide(&snapshot(vec![verdicts.to_vec()]), Ask::Request(Box::new(request(""))), &facts())
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    let limits = (proptest::option::of(0u64..4), proptest::option::of("[ab]{0,2}"));
    (
        0u32..1000,
        proptest::sample::select(Decision::ALL.to_vec()),
        -1i32..3,
        any::<bool>(),
        (0u16..3, 0u16..3),
        proptest::bool::weighted(0.2),
        limits,
    )
        .prop_map(|(id, effect, priority, invariant, (exact, pattern), fails, (runtime, hosts))| {
            let mut constraints = Constraints::default();
            if effect == Decision::AllowWithConstraints || effect == Decision::RequireApproval {
                if let Some(runtime) = runtime {
                    constraints.tighten(Kind::MaxRuntimeMs, Limit::Number(runtime));
                }
                if let Some(hosts) = hosts {
                    let hosts = hosts.chars().map(String::from).collect();
                    constraints.tighten(Kind::NetworkAllowlist, Limit::Names(hosts));
                }
            }
            let rule = Rule {
                id: format!("r{id}").into(),
                module: "says",
                source: Source { file: "rules/r.yaml".into(), line: id + 1, column: 1 },
                effect,
                mode: Mode::Enforce,
                priority,
                invariant,
                reason: None,
                constraints,
                approval: None,
                retry_after_ms: None,
                controls: Vec::new(),
                fingerprint: Digest::of(b""),
            };
            Verdict {
                rule: Arc::new(rule),
                specificity: Specificity { exact, pattern },
                error: fails.then(|| "no such field".to_owned()),
            }
        })
}

/// Verdicts of rules with distinct ids, as `check` guarantees.
fn any_verdicts() -> impl Strategy<Value = Vec<Verdict>> {
    proptest::collection::vec(any_verdict(), 0..8).prop_map(|mut verdicts| {
        verdicts.sort_by(|a, b| a.rule.id.cmp(&b.rule.id));
        verdicts.dedup_by(|a, b| a.rule.id == b.rule.id);
        verdicts
    })
}

/// Everything a receipt would bind, as text.
fn bytes(decided: &Decided) -> String {
    format!("{:?} {:?}", decided.settled, decided.effects)
}

/// Whether everything that `loose` lets run, `tight` lets run with no fewer constraints… and no less strictly.
fn at_least_as_strict(tight: &Decided, loose: &Decided) -> bool {
    let mut merged = loose.settled.constraints.clone();
    merged.merge(&tight.settled.constraints);
    let constrained = !tight.settled.decision.permits() || merged == tight.settled.constraints;
    tight.settled.decision >= loose.settled.decision && constrained
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Law 2: deny wins; nothing matched is deny; any error is deny with a typed reason. A permissive
    /// rule that errors does not permit; a restrictive rule that errors still restricts.
    #[test]
    fn law_2_deny_wins_and_errors_never_permit(verdicts in any_verdicts()) {
        let decided = ask(&verdicts).settled;
        let denies = verdicts.iter().any(|v| v.error.is_none() && v.rule.effect == Decision::Deny);
        let broken = verdicts.iter().any(|v| v.error.is_some() && !v.rule.effect.permits());
        let sound = verdicts.iter().any(|v| v.error.is_none());
        if denies || broken || !sound {
            prop_assert_eq!(decided.decision, Decision::Deny);
        }
        if denies {
            prop_assert_eq!(decided.code, Some(Code::DeniedByRule));
        } else if broken {
            prop_assert_eq!(decided.code, Some(Code::PolicyError));
        } else if verdicts.is_empty() {
            prop_assert_eq!(decided.code, Some(Code::NoPolicyMatch));
        }
        if decided.decision.permits() {
            let permitted = verdicts.iter().any(|v| v.error.is_none() && v.rule.effect.permits());
            prop_assert!(permitted, "an allow needs a sound rule that permits");
        }
    }

    /// Law 3: `decide` is pure and total: the same inputs give the same bytes.
    #[test]
    fn law_3_decide_is_pure_and_total(verdicts in any_verdicts()) {
        prop_assert_eq!(bytes(&ask(&verdicts)), bytes(&ask(&verdicts)));
    }

    /// Law 3, on the inputs it normalises: deciding a decided request again changes nothing.
    #[test]
    fn law_3_deciding_again_decides_the_same(verdicts in any_verdicts()) {
        let once = ask(&verdicts);
        let before = bytes(&once);
        let again = decide(&snapshot(vec![verdicts]), once.ask, &facts());
        prop_assert_eq!(bytes(&again), before);
    }

    /// Law 5: one evaluation. Every rule a decision names as a reason is in its own trace.
    #[test]
    fn law_5_the_explanation_is_the_trace_of_the_evaluation(verdicts in any_verdicts()) {
        let decided = ask(&verdicts);
        for reason in decided.settled.reasons.iter().filter_map(|reason| reason.rule.as_ref()) {
            prop_assert!(decided.trace.iter().any(|step| step.rule.id == *reason));
        }
        if let Some(matched) = decided.matched() {
            prop_assert!(decided.trace.iter().any(|step| Arc::ptr_eq(&step.rule, matched)));
        }
    }

    /// Law 8: order never matters: neither of rules, nor of modules, nor how rules are spread over them.
    #[test]
    fn law_8_order_never_matters(
        (verdicts, shuffled) in any_verdicts().prop_flat_map(|v| (Just(v.clone()), Just(v).prop_shuffle())),
        at in any::<prop::sample::Index>(),
    ) {
        let cut = at.index(shuffled.len() + 1);
        let (a, b) = shuffled.split_at(cut);
        let split = snapshot(vec![a.to_vec(), b.to_vec()]);
        let other = decide(&split, Ask::Request(Box::new(request(""))), &facts());
        prop_assert_eq!(bytes(&other), bytes(&ask(&verdicts)));
    }

    /// Law 8: removing a permissive rule never adds access.
    #[test]
    fn law_8_removing_a_permissive_rule_never_adds_access(verdicts in any_verdicts()) {
        let whole = ask(&verdicts);
        for (at, verdict) in verdicts.iter().enumerate() {
            if verdict.rule.effect != Decision::Allow {
                continue;
            }
            let mut fewer = verdicts.clone();
            fewer.remove(at);
            let less = ask(&fewer);
            prop_assert!(at_least_as_strict(&less, &whole), "without {}: {:?}", verdict.rule.id, less.settled);
        }
    }

    /// Combining: the highest priority, then the most specific, then the most restrictive decides,
    /// and no invariant is outranked.
    #[test]
    fn invariants_are_never_outranked(verdicts in any_verdicts()) {
        let decided = ask(&verdicts).settled.decision;
        for verdict in verdicts.iter().filter(|v| v.rule.invariant && v.error.is_none()) {
            prop_assert!(decided >= verdict.rule.effect || verdict.rule.effect == Decision::AllowWithConstraints);
        }
    }

    /// Law 9: a constraint nobody enforces is a deny.
    #[test]
    fn law_9_a_constraint_nobody_enforces_is_a_deny(verdicts in any_verdicts()) {
        let mut blind = request("");
        blind.pep = None;
        let decided = decide(&snapshot(vec![verdicts]), Ask::Request(Box::new(blind)), &facts()).settled;
        prop_assert!(decided.decision == Decision::Deny || decided.constraints.is_empty());
        let unenforceable = decided.code == Some(Code::ConstraintUnenforceable);
        prop_assert!(!unenforceable || decided.decision == Decision::Deny);
    }

    /// Constraints of every matching verdict merge to the tightest.
    #[test]
    fn constraints_merge_to_the_tightest(verdicts in any_verdicts()) {
        let decided = ask(&verdicts).settled;
        if decided.decision.permits() {
            for verdict in &verdicts {
                let mut again = decided.constraints.clone();
                again.merge(&verdict.rule.constraints);
                prop_assert_eq!(&again, &decided.constraints);
            }
        }
    }
}

fn key(agent: &str, team: Option<&str>) -> Credential {
    Credential::Agent { agent: agent.into(), tenant: "default".into(), team: team.map(Into::into) }
}

/// Law 7: identity comes from the credential; a claim beyond it is refused and touches no session.
#[test]
fn law_7_identity_comes_from_the_credential() {
    let cases = [
        (key("bot", None), "", None),
        (key("other", None), "", Some(Code::InvalidRequest)),
        (key("bot", None), r#","tenant":"acme""#, Some(Code::InvalidRequest)),
        (Credential::Development, r#","tenant":"acme""#, None),
        (Credential::Local, r#","tenant":"acme""#, None),
    ];
    for (credential, extra, refused) in cases {
        let facts = Facts { credential: credential.clone(), ..facts() };
        let decided = decide(&snapshot(vec![]), Ask::Request(Box::new(request(extra))), &facts);
        let expected = refused.unwrap_or(Code::NoPolicyMatch);
        assert_eq!(decided.settled.code, Some(expected), "{credential:?} {extra}");
        assert_eq!(decided.effects.key.is_none(), refused.is_some(), "{credential:?} {extra}");
    }
}

/// Law 7: the team is the key's; a key without a team cannot claim one.
#[test]
fn law_7_the_team_is_the_keys() {
    let with_team = |team: &str| {
        let mut request = request("");
        request.agent.team = Some(Name::new(team).unwrap());
        request
    };
    let code = |request: Request, credential| {
        let facts = Facts { credential, ..facts() };
        decide(&snapshot(vec![]), Ask::Request(Box::new(request)), &facts).settled.code
    };
    assert_eq!(code(with_team("finance"), key("bot", None)), Some(Code::InvalidRequest));
    assert_eq!(code(with_team("finance"), key("bot", Some("support"))), Some(Code::InvalidRequest));
    assert_eq!(code(with_team("finance"), key("bot", Some("finance"))), Some(Code::NoPolicyMatch));
    let facts = Facts { credential: key("bot", Some("finance")), ..facts() };
    let decided = decide(&snapshot(vec![]), Ask::Request(Box::new(request(""))), &facts);
    let Ask::Request(normalised) = decided.ask else { panic!("a request stays one") };
    assert_eq!(normalised.agent.team, Some(Name::new("finance").unwrap()));
}

/// Law 7: the catalogue's risk tags hold whatever the caller claims; the caller's own are kept.
#[test]
fn law_7_risk_tags_are_at_least_the_catalogues() {
    let mut with_tool = snapshot(vec![]);
    let tool = CatalogueTool {
        identity: Name::new("t").unwrap(),
        input_schema: None,
        risk_tags: [Name::new("destructive").unwrap()].into(),
        cost: std::collections::BTreeMap::new(),
    };
    with_tool.catalogue.insert(tool).unwrap();
    let asked = Ask::Request(Box::new(request(r#","risk_tags":["mine"]"#)));
    let Ask::Request(normalised) = decide(&with_tool, asked, &facts()).ask else {
        panic!("a request stays one")
    };
    let tags: Vec<&str> = normalised.risk_tags.iter().map(Name::as_str).collect();
    assert_eq!(tags, ["destructive", "mine"]);
}

/// The guards, each alone, in the order of their codes.
#[test]
fn guards_come_in_the_order_of_their_codes() {
    let allow = Verdict {
        rule: Arc::new(callgate_core::contract::rule_of(
            "a",
            Source { file: "f".into(), line: 1, column: 1 },
            Digest::of(b""),
        )),
        specificity: Specificity::default(),
        error: None,
    };
    let decide_with = |extra: &str, facts: &Facts| {
        decide(&snapshot(vec![vec![allow.clone()]]), Ask::Request(Box::new(request(extra))), facts).settled
    };
    assert_eq!(decide_with("", &facts()).decision, Decision::Allow);
    for (offset, stale) in [(300_000, false), (-300_000, false), (300_001, true), (-300_001, true)] {
        let settled = decide_with(&format!(r#","ts_ms":{}"#, NOW + offset), &facts());
        assert_eq!(settled.code, stale.then_some(Code::StaleTimestamp), "{offset}");
    }
    let replayed = Facts { nonce_used: true, ..facts() };
    let settled = decide_with(&format!(r#","ts_ms":{NOW},"nonce":"n""#), &replayed);
    assert_eq!(settled.code, Some(Code::ReplayNonce));
    let position = Position { contract: "c".into(), step: "s".into(), sealed: true };
    let sealed = SessionFacts { version: 3, position: Some(position) };
    let both = Facts { nonce_used: true, session: Some(sealed), ..facts() };
    let settled = decide_with(r#","ts_ms":1,"nonce":"n","session":{"id":"s"}"#, &both);
    let codes: Vec<_> = settled.reasons.iter().filter_map(|reason| reason.code).collect();
    assert_eq!(codes, [Code::StaleTimestamp, Code::ReplayNonce, Code::SealedSequence]);
}

/// Bytes that are no request are denied, too, and leave a trace.
#[test]
fn what_is_no_request_is_denied() {
    let decided = decide(&snapshot(vec![]), Ask::Malformed("expected a JSON value".into()), &facts());
    assert_eq!(
        (decided.settled.decision, decided.settled.code),
        (Decision::Deny, Some(Code::InvalidRequest))
    );
    assert!(decided.effects.key.is_none());
}
