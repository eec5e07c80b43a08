//! Modes: nothing that guards the gate is lifted, and what only monitors moves no state it should not.
#![expect(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use std::collections::BTreeSet;
use std::sync::Arc;

use callgate_core::catalogue::Catalogue;
use callgate_core::constraint::Constraints;
use callgate_core::contract::{Contract, rule_of};
use callgate_core::decide::{Ask, Decided, decide};
use callgate_core::decision::{Code, Decision, Mode, Source};
use callgate_core::digest::Digest;
use callgate_core::facts::{Credential, Facts, StoppedBy};
use callgate_core::history::{HistoryFacts, Measure, Monitor, Observation, Occurrence};
use callgate_core::json::Limits;
use callgate_core::module::{Evaluation, Module};
use callgate_core::request::Request;
use callgate_core::rule::{Rule, Specificity, Verdict};
use callgate_core::snapshot::{Defaults, Snapshot};
use callgate_core::state::{Change, Delta, State};
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000_000;

/// An engine that says what it was told to say, and may have no memory for what is allowed.
#[derive(Debug, Clone, Default)]
struct Says {
    verdicts: Vec<Verdict>,
    judged: Vec<Verdict>,
    monitors: Vec<Monitor>,
}

impl Module for Says {
    fn name(&self) -> &'static str {
        "says"
    }

    fn evaluate(&self, _: &Request, _: &Facts, evaluation: &mut Evaluation) {
        evaluation.verdicts.extend(self.verdicts.clone());
        evaluation.judged.extend(self.judged.clone());
    }

    fn monitors(&self) -> &[Monitor] {
        &self.monitors
    }

    fn observe(&self, seen: &Occurrence<'_>, _: &HistoryFacts) -> Result<Vec<Observation>, String> {
        match seen {
            Occurrence::Decided { allowed: true, .. } => Err("no such argument".to_owned()),
            _ => Ok(Vec::new()),
        }
    }
}

fn rule(id: u32, effect: Decision, mode: Mode) -> Rule {
    Rule {
        id: format!("r{id}").into(),
        module: "says",
        source: Source { file: "rules/r.yaml".into(), line: id, column: 1 },
        effect,
        mode,
        priority: 0,
        invariant: false,
        reason: None,
        constraints: Constraints::default(),
        approval: None,
        retry_after_ms: None,
        controls: Vec::new(),
        fingerprint: Digest::of(b""),
    }
}

fn verdict(id: u32, effect: Decision, mode: Mode) -> Verdict {
    Verdict { rule: Arc::new(rule(id, effect, mode)), specificity: Specificity::default(), error: None }
}

fn snapshot(says: Says, mode: Mode) -> Snapshot {
    Snapshot {
        digest: Digest::of(b"modes"),
        modules: vec![Box::new(says)],
        contracts: Vec::new(),
        catalogue: Catalogue::default(),
        defaults: Defaults { mode, ..Defaults::default() },
    }
}

fn ask(snapshot: &Snapshot, extra: &str, facts: &Facts) -> Decided {
    let text = format!(r#"{{"agent":{{"id":"bot"}},"tool":{{"name":"t"}}{extra}}}"#);
    let request = Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap();
    decide(snapshot, Ask::Request(Box::new(request)), facts)
}

fn facts() -> Facts {
    Facts::new(Credential::Local, NOW)
}

#[test]
fn no_mode_lifts_what_guards_the_gate() {
    let all = snapshot(Says::default(), Mode::Monitor);
    let key = Credential::Agent { agent: "other".into(), tenant: "default".into(), team: None };
    let person = Credential::Person { id: "ana".into(), roles: Vec::new(), tenant: None };
    let monitored = |credential| Facts { monitor: true, ..Facts::new(credential, NOW) };
    let cases = [
        ("", monitored(key), Code::InvalidRequest),
        ("", monitored(person), Code::InvalidRequest),
        (r#","ts_ms":1"#, facts(), Code::StaleTimestamp),
        (r#","ts_ms":1700000000000,"nonce":"n""#, Facts { nonce_used: true, ..facts() }, Code::ReplayNonce),
        (
            "",
            Facts { stopped: Some(StoppedBy { id: 3, scope: "everything".into() }), ..facts() },
            Code::AgentKilled,
        ),
    ];
    for (extra, facts, code) in cases {
        let settled = ask(&all, extra, &facts).settled;
        assert_eq!((settled.decision, settled.code), (Decision::Deny, Some(code)), "{extra}");
        assert_eq!(settled.would, None);
    }
    let malformed = decide(&all, Ask::Malformed("not JSON".into()), &facts()).settled;
    assert_eq!((malformed.decision, malformed.code), (Decision::Deny, Some(Code::InvalidRequest)));
    let strict = Defaults { mode: Mode::Monitor, require_nonce: true, ..Defaults::default() };
    let strict = Snapshot { defaults: strict, ..snapshot(Says::default(), Mode::Monitor) };
    assert_eq!(ask(&strict, "", &facts()).settled.code, Some(Code::InvalidRequest));
    let lifted: Vec<Code> = Code::ALL.into_iter().filter(|code| !code.guards_the_gate()).collect();
    assert_eq!(lifted.first(), Some(&Code::BreakerOpen), "guards come before policy");
}

/// An action that policies about the past could not remember does not run, monitored or not.
#[test]
fn no_mode_lets_run_what_cannot_be_remembered() {
    let monitor = Monitor { id: Digest::of(b"m"), measure: Measure::Newest, reach_ms: 1000 };
    let forgets = |effect| Says {
        verdicts: vec![verdict(1, effect, Mode::Enforce)],
        monitors: vec![monitor.clone()],
        ..Says::default()
    };
    let history = HistoryFacts { as_of: 0, blind: Digest::of(b"b"), readings: Vec::new() };
    let facts = Facts { history: Some(history), ..facts() };
    for (effect, would) in [
        (Decision::Allow, None),
        (Decision::Deny, None),
        (Decision::RequireApproval, Some(Decision::RequireApproval)),
    ] {
        let settled = ask(&snapshot(forgets(effect), Mode::Monitor), "", &facts).settled;
        assert_eq!((settled.decision, settled.code), (Decision::Deny, Some(Code::PolicyError)), "{effect}");
        assert_eq!(settled.would.map(|would| would.decision), would, "{effect}");
        assert_eq!(settled.mode, Mode::Monitor);
    }
}

fn contract() -> Contract {
    Contract {
        rule: Arc::new(rule_of(
            "loan",
            Source { file: "contracts/c.yaml".into(), line: 1, column: 1 },
            Digest::of(b""),
        )),
        steps: ["intake", "review", "settle"].map(String::from).to_vec(),
        actions: None,
        seal_at: "settle".to_owned(),
        seal_on: BTreeSet::new(),
        agents: Vec::new(),
    }
}

/// A step that is out of order runs where it is only monitored, and leaves the session where it stands.
#[test]
fn what_runs_out_of_order_moves_no_session() {
    let denied = Says { verdicts: vec![verdict(1, Decision::Deny, Mode::Enforce)], ..Says::default() };
    let script = [
        // what is asked; a rule denies it, too; where the session stands then; what enforcement would say
        ("review", false, None, Some(Code::SequenceViolation)),
        ("intake", false, Some("intake"), None),
        ("settle", false, Some("intake"), Some(Code::SequenceViolation)),
        // It is in order and runs, although a rule would deny it.
        ("review", true, Some("review"), Some(Code::DeniedByRule)),
        ("intake", false, Some("review"), Some(Code::SequenceViolation)),
        ("settle", false, Some("settle"), None),
        ("intake", false, Some("settle"), Some(Code::SealedSequence)),
        ("settle", false, Some("settle"), Some(Code::SealedSequence)),
    ];
    let mut state = State::default();
    for (index, (step, also_denied, stands, code)) in (0u64..).zip(script) {
        let says = if also_denied { denied.clone() } else { Says::default() };
        let snapshot = Snapshot { contracts: vec![contract()], ..snapshot(says, Mode::Monitor) };
        let text = format!(
            r#"{{"agent":{{"id":"bot"}},"session":{{"id":"s","step":"{step}","function":"{step}"}}}}"#
        );
        let request = Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap();
        let facts = state.facts(Some(&request), Credential::Local, NOW);
        let decided = decide(&snapshot, Ask::Request(Box::new(request)), &facts);
        assert!(decided.settled.decision.permits(), "{index} {step}");
        assert_eq!(decided.settled.would.and_then(|would| would.code), code, "{index} {step}");
        assert!(decided.effects.open_until_ms.is_some(), "it runs, so its outcome is waited for");
        let key = decided.effects.key.clone().unwrap();
        let delta = Delta { change: Change::Decision(decided.effects), now_ms: NOW };
        state.check(&delta).unwrap();
        state.apply(index, &[0; 32], &delta);
        let position = state.session(&key).and_then(|session| session.position.clone());
        assert_eq!(position.as_ref().map(|it| it.step.as_str()), stands, "{index} {step}");
    }
}

/// What a judge's rule says is kept out, too, and never permits what nothing permits.
#[test]
fn a_judges_rule_can_only_monitor() {
    let settled = |verdicts, judged| {
        ask(&snapshot(Says { verdicts, judged, ..Says::default() }, Mode::Enforce), "", &facts()).settled
    };
    let allow = |mode| vec![verdict(1, Decision::Allow, mode)];
    let judged = || vec![verdict(2, Decision::RequireApproval, Mode::Monitor)];
    let one = settled(allow(Mode::Enforce), judged());
    assert_eq!((one.decision, one.would.unwrap().decision), (Decision::Allow, Decision::RequireApproval));
    let none = settled(Vec::new(), judged());
    assert_eq!((none.decision, none.code, none.would), (Decision::Deny, Some(Code::NoPolicyMatch), None));
    let nothing = settled(allow(Mode::Monitor), judged());
    assert_eq!(nothing.decision, Decision::Deny);
    assert_eq!(nothing.would.unwrap().decision, Decision::RequireApproval);
}

fn any_verdicts(first: u32) -> impl Strategy<Value = Vec<Verdict>> {
    let one = (
        proptest::sample::select(Decision::ALL.to_vec()),
        proptest::sample::select(Mode::ALL.to_vec()),
        -1i32..3,
        any::<bool>(),
        proptest::bool::weighted(0.1),
    );
    proptest::collection::vec(one, 0..6).prop_map(move |all| {
        let numbered = (first..).zip(all);
        let build = |(id, (effect, mode, priority, invariant, fails)): (u32, _)| {
            let rule = Rule { priority, invariant, ..rule(id, effect, mode) };
            let error = bool::then(fails, || "no such field".to_owned());
            Verdict { rule: Arc::new(rule), specificity: Specificity::default(), error }
        };
        numbered.map(build).collect()
    })
}

fn all_enforced(verdicts: &[Verdict]) -> Vec<Verdict> {
    let enforced = |it: &Verdict| {
        let rule = Rule { mode: Mode::Enforce, ..it.rule.as_ref().clone() };
        Verdict { rule: Arc::new(rule), ..it.clone() }
    };
    verdicts.iter().map(enforced).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What enforcement would have answered is what is answered where everything is enforced.
    #[test]
    fn would_is_what_enforcement_answers(
        verdicts in any_verdicts(0), judged in any_verdicts(100), whole in proptest::sample::select(Mode::ALL.to_vec()),
    ) {
        let enforced = Says {
            verdicts: all_enforced(&verdicts), judged: all_enforced(&judged), ..Says::default()
        };
        let all = ask(&snapshot(enforced, Mode::Enforce), "", &facts()).settled;
        let now = ask(&snapshot(Says { verdicts, judged, ..Says::default() }, whole), "", &facts()).settled;
        prop_assert_eq!(now.would.as_ref().map_or(now.decision, |would| would.decision), all.decision);
        if let Some(would) = &now.would {
            prop_assert_eq!((would.code, &would.reasons), (all.code, &all.reasons));
        }
        prop_assert_eq!(all.would, None);
        prop_assert!(whole == Mode::Enforce || now.decision.permits());
    }

    /// Law 2 under modes: an enforced deny wins, an enforced error denies, and what runs is permitted
    /// by an enforced rule, or held by one that only monitors.
    #[test]
    fn law_2_deny_wins_under_modes(verdicts in any_verdicts(0), judged in any_verdicts(100)) {
        let says = Says { verdicts: verdicts.clone(), judged: judged.clone(), ..Says::default() };
        let settled = ask(&snapshot(says, Mode::Enforce), "", &facts()).settled;
        let enforced = |it: &&Verdict| it.rule.mode == Mode::Enforce && !it.rule.effect.permits();
        let denies = |it: &Verdict| it.error.is_some() || it.rule.effect == Decision::Deny;
        if verdicts.iter().chain(&judged).filter(enforced).any(denies) {
            prop_assert_eq!(settled.decision, Decision::Deny);
        }
        if settled.decision.permits() {
            let lets_run = |it: &Verdict| it.error.is_none() && match it.rule.mode {
                Mode::Enforce => it.rule.effect.permits(),
                Mode::Monitor => matches!(it.rule.effect, Decision::Throttle | Decision::RequireApproval),
            };
            prop_assert!(verdicts.iter().any(lets_run));
        }
    }

    /// Law 8 under modes: the order of verdicts says nothing.
    #[test]
    fn law_8_order_never_matters_under_modes(
        (verdicts, shuffled) in any_verdicts(0).prop_flat_map(|v| (Just(v.clone()), Just(v).prop_shuffle())),
        whole in proptest::sample::select(Mode::ALL.to_vec()),
    ) {
        let settled = |verdicts| {
            ask(&snapshot(Says { verdicts, ..Says::default() }, whole), "", &facts()).settled
        };
        prop_assert_eq!(settled(verdicts), settled(shuffled));
    }
}

/// Facts that were recorded before there were modes read back, and the flag is written only when set.
#[test]
fn facts_say_who_is_monitored_only_where_someone_is() {
    let plain = serde_json::to_string(&facts()).unwrap();
    assert!(!plain.contains("monitor"), "{plain}");
    assert_eq!(serde_json::from_str::<Facts>(&plain).unwrap(), facts());
    let monitored = Facts { monitor: true, ..facts() };
    let text = serde_json::to_string(&monitored).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), monitored);
}
