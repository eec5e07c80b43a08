//! What a decision makes of approvals: facts in, decision and effect out.

#![expect(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use std::sync::Arc;

use callgate_core::approval::{
    ApprovalEffect, ApprovalFacts, ApprovalNames, Known, KnownStanding, KnownState, Seen, fixed_arguments,
    terms_name,
};
use callgate_core::catalogue::Catalogue;
use callgate_core::decide::{Ask, Decided, decide};
use callgate_core::decision::{Code, Decision, Mode, Source};
use callgate_core::digest::Digest;
use callgate_core::facts::{Credential, Facts};
use callgate_core::json::Limits;
use callgate_core::module::{Evaluation, Module};
use callgate_core::request::Request;
use callgate_core::rule::{ApprovalTerms, Rule, Specificity, Stage, Verdict};
use callgate_core::snapshot::{Defaults, Snapshot};
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000_000;

#[derive(Debug)]
struct Says(Vec<Verdict>);

impl Module for Says {
    fn name(&self) -> &'static str {
        "says"
    }

    fn evaluate(&self, _: &Request, _: &Facts, evaluation: &mut Evaluation) {
        evaluation.verdicts.extend(self.0.iter().cloned());
    }
}

fn rule(id: u32, effect: Decision) -> Verdict {
    let terms = ApprovalTerms::in_stages(vec![Stage::of([format!("role:{id}")], 1)], 60_000);
    let rule = Rule {
        id: format!("r{id}").into(),
        module: "says",
        source: Source { file: "rules/r.yaml".into(), line: id, column: 1 },
        effect,
        mode: Mode::Enforce,
        priority: 0,
        invariant: false,
        reason: None,
        constraints: callgate_core::constraint::Constraints::default(),
        approval: (effect == Decision::RequireApproval).then_some(terms),
        retry_after_ms: None,
        controls: Vec::new(),
        fingerprint: Digest::of(b"r"),
    };
    Verdict { rule: Arc::new(rule), specificity: Specificity::default(), error: None }
}

fn request(more: &str) -> Request {
    let text = format!(r#"{{"agent":{{"id":"bot"}},"tool":{{"name":"t"}},"args":{{"a":1,"b":2}}{more}}}"#);
    Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap()
}

fn ask(verdicts: Vec<Verdict>, request: Request, seen: Seen) -> Decided {
    let snapshot = Snapshot {
        digest: Digest::of(b"approvals"),
        modules: vec![Box::new(Says(verdicts))],
        contracts: Vec::new(),
        catalogue: Catalogue::default(),
        defaults: Defaults::default(),
    };
    let approval = Some(ApprovalFacts { blind: blind(), seen });
    let facts = Facts { approval, ..Facts::new(Credential::Development, NOW) };
    decide(&snapshot, Ask::Request(Box::new(request)), &facts)
}

fn blind() -> Digest {
    Digest::of(b"secret")
}

fn wanted(id: u32) -> Digest {
    let terms = ApprovalTerms::in_stages(vec![Stage::of([format!("role:{id}")], 1)], 1);
    terms_name(&format!("r{id}"), &terms)
}

fn known(state: KnownState, terms: Digest) -> Seen {
    let known = Known { approval: 7, by: vec!["ana".into()], state, terms, until_ms: NOW };
    Seen { known: vec![known], ..Seen::default() }
}

fn effect(decided: &Decided) -> &ApprovalEffect {
    &decided.effects.approval.as_ref().unwrap().effect
}

#[test]
fn what_is_known_decides_what_a_hold_becomes() {
    let held = || vec![rule(1, Decision::RequireApproval)];
    let of = |seen| ask(held(), request(""), seen);
    let opened = of(Seen::default());
    assert_eq!(opened.settled.decision, Decision::RequireApproval);
    assert!(matches!(effect(&opened), ApprovalEffect::Opens { hold } if hold.expires_at_ms == NOW + 60_000));
    let met = of(known(KnownState::Open, wanted(1)));
    assert_eq!(met.settled.decision, Decision::RequireApproval);
    assert!(matches!(effect(&met), ApprovalEffect::Meets { approval: 7, .. }));
    let used = of(known(KnownState::Granted, wanted(1)));
    assert_eq!((used.settled.decision, used.settled.code), (Decision::Allow, None));
    assert!(matches!(effect(&used), ApprovalEffect::Uses { approval: 7, .. }));
    assert!(used.settled.reasons.first().unwrap().message.contains("`ana`"));
    let refused = of(known(KnownState::Rejected, wanted(1)));
    assert_eq!(refused.settled.code, Some(Code::ApprovalRejected));
    assert!(matches!(effect(&refused), ApprovalEffect::Refused { approval: 7 }));
    let crowded = of(Seen { crowded: true, ..Seen::default() });
    assert_eq!(crowded.settled.code, Some(Code::RateExceeded));
    // Another rule, or other people, and the grant is none.
    for other in [wanted(2), terms_name("r1", &ApprovalTerms::in_stages(vec![Stage::ANYONE], 1))] {
        let opened = of(known(KnownState::Granted, other));
        assert_eq!(opened.settled.decision, Decision::RequireApproval);
        assert!(matches!(effect(&opened), ApprovalEffect::Opens { .. }));
    }
}

#[test]
fn a_standing_approval_covers_its_fixed_arguments() {
    let fixes = |names: Option<&[&str]>| {
        let fixed = names.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
        let arguments = fixed_arguments(&request(""), fixed.as_deref(), &blind());
        let standing = KnownStanding {
            approval: 7,
            arguments,
            by: vec!["ana".into()],
            fixed,
            standing: 9,
            terms: wanted(1),
        };
        Seen { standing: vec![standing], ..Seen::default() }
    };
    let runs = |text: &str, seen: Seen| {
        let request = Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap();
        ask(vec![rule(1, Decision::RequireApproval)], request, seen).settled.decision.permits()
    };
    let with = |args: &str| format!(r#"{{"agent":{{"id":"bot"}},"tool":{{"name":"t"}},"args":{args}}}"#);
    let table = [
        (r#"{"a":1,"b":2}"#, true, true),
        (r#"{"a":1,"b":3}"#, false, true),
        (r#"{"a":1}"#, false, true),
        (r#"{"a":1,"b":2,"c":4}"#, false, true),
        (r#"{"a":"1","b":2}"#, false, false),
        (r#"{"b":2}"#, false, false),
        (r#"{"a":null,"b":2}"#, false, false),
    ];
    for (args, all, one) in table {
        assert_eq!(runs(&with(args), fixes(None)), all, "{args}");
        assert_eq!(runs(&with(args), fixes(Some(&["a"]))), one, "{args}");
    }
}

#[test]
fn names_differ_in_everything_that_a_grant_is_bound_to() {
    let plain = ApprovalNames::of(&request(""), &blind());
    let other = |more: &str| ApprovalNames::of(&request(more), &blind());
    for more in [
        r#","environment":"prod""#,
        r#","tenant":"x""#,
        r#","topic":"t""#,
        r#","risk_tags":["write"]"#,
        r#","session":{"action_type":"X"}"#,
        r#","session":{"function":"f"}"#,
    ] {
        let names = other(more);
        assert!(names.action != plain.action && names.scope != plain.scope, "{more}");
    }
    for more in [r#","session":{"id":"s"}"#, r#","session":{"step":"s"}"#, r#","cost":{"usd":"1"}"#] {
        let names = other(more);
        assert!(names.action != plain.action && names.scope == plain.scope, "{more}");
    }
    for more in [r#","labels":{"a":"b"}"#, r#","confidence":0.5"#, r#","nonce":"n","ts_ms":1"#] {
        assert_eq!(other(more), plain, "{more}");
    }
    assert_ne!(ApprovalNames::of(&request(""), &Digest::of(b"another")), plain, "the secret is in both");
}

proptest! {
    /// Law 2 for approvals: nothing but a hold is lifted, and only by a grant of the rule that holds.
    #[test]
    fn law_2_a_grant_lifts_its_own_hold_alone(
        effects in proptest::collection::vec(proptest::sample::select(Decision::ALL.to_vec()), 1..5),
        granted in 0u32..6, state in 0usize..3, crowded in any::<bool>(),
    ) {
        let verdicts: Vec<Verdict> = (0u32..).zip(&effects).map(|(id, effect)| rule(id, *effect)).collect();
        let state = [KnownState::Open, KnownState::Granted, KnownState::Rejected][state];
        let seen = Seen { crowded, ..known(state, wanted(granted)) };
        let bare = ask(verdicts.clone(), request(""), Seen::default());
        let with = ask(verdicts, request(""), seen);
        if bare.settled.decision != Decision::RequireApproval {
            prop_assert_eq!(&with.settled, &bare.settled);
            prop_assert!(with.effects.approval.is_none());
        } else if with.settled.decision.permits() {
            let holder = bare.settled.matched.as_ref().unwrap();
            prop_assert_eq!(state, KnownState::Granted);
            prop_assert_eq!(holder.id.to_string(), format!("r{granted}"));
            prop_assert!(matches!(effect(&with), ApprovalEffect::Uses { approval: 7, .. }), "it is spent");
        }
    }
}
