//! A judge can only make a decision stricter, whatever it says and whatever else there is.
#![expect(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use std::sync::Arc;

use callgate_core::catalogue::Catalogue;
use callgate_core::constraint::Constraints;
use callgate_core::decide::{Ask, Decided, decide};
use callgate_core::decision::{Code, Decision, Mode, Source};
use callgate_core::digest::Digest;
use callgate_core::facts::{Credential, Facts};
use callgate_core::finding::{Consulted, Failure, Finding, Question};
use callgate_core::json::Limits;
use callgate_core::module::{Evaluation, Module};
use callgate_core::request::Request;
use callgate_core::rule::{ApprovalTerms, Rule, Specificity, Stage, Verdict};
use callgate_core::snapshot::{Defaults, Snapshot};
use proptest::prelude::*;

/// An engine that says what it was told to say.
#[derive(Debug, Clone, Default)]
struct Says {
    verdicts: Vec<Verdict>,
    judged: Vec<Verdict>,
}

fn question() -> Question {
    Question {
        digest: Digest::of(b"question"),
        model: "m".into(),
        instructions: String::new(),
        data: "{}".to_owned(),
        max_tokens: 64,
        timeout_ms: 100,
    }
}

impl Module for Says {
    fn name(&self) -> &'static str {
        "says"
    }

    fn evaluate(&self, _: &Request, _: &Facts, evaluation: &mut Evaluation) {
        evaluation.verdicts.extend(self.verdicts.clone());
        evaluation.judged.extend(self.judged.clone());
        for verdict in &self.judged {
            evaluation.questions.push(question());
            let finding = Finding::failed(Digest::of(b"other"), Failure::Timeout, 1);
            evaluation.consulted.push(Consulted { rule: Arc::clone(&verdict.rule.id), finding });
        }
    }
}

fn ask(says: Says) -> Decided {
    let snapshot = Snapshot {
        digest: Digest::of(b"judge"),
        modules: vec![Box::new(says)],
        contracts: Vec::new(),
        catalogue: Catalogue::default(),
        defaults: Defaults::default(),
    };
    let text = r#"{"agent":{"id":"bot"},"tool":{"name":"t"}}"#;
    let request = Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap();
    let facts = Facts::new(Credential::Development, 0);
    decide(&snapshot, Ask::Request(Box::new(request)), &facts)
}

fn verdict(id: u32, effect: Decision, priority: i32) -> Verdict {
    let rule = Rule {
        id: format!("r{id}").into(),
        module: "says",
        source: Source { file: "rules/r.yaml".into(), line: id, column: 1 },
        effect,
        mode: Mode::Enforce,
        priority,
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

fn held(id: u32, reviewers: &[&str], quorum: u32, expires_ms: u64) -> Verdict {
    let mut verdict = verdict(id, Decision::RequireApproval, 0);
    let stage = Stage::of(reviewers.iter().map(|reviewer| (*reviewer).to_owned()), quorum);
    let terms = ApprovalTerms::in_stages(vec![stage], expires_ms);
    Arc::get_mut(&mut verdict.rule).unwrap().approval = Some(terms);
    verdict
}

/// Effect, priority, whether it fails, reviewers with quorum and time, and when to ask again.
type Drawn = (Decision, i32, bool, Option<(Vec<&'static str>, u32, u64)>, Option<u64>);

fn verdicts(first: u32) -> impl Strategy<Value = Vec<Verdict>> {
    let one = (
        proptest::sample::select(Decision::ALL.to_vec()),
        -1i32..3,
        proptest::bool::weighted(0.1),
        proptest::option::of((proptest::sample::subsequence(vec!["a", "b", "c"], 0..3), 1u32..3, 1u64..4)),
        proptest::option::of(1u64..5),
    );
    proptest::collection::vec(one, 0..5).prop_map(move |all| {
        let numbered = (first..).zip(all);
        let build = |(id, (effect, priority, fails, terms, retry)): (u32, Drawn)| {
            let mut verdict = match terms {
                Some((reviewers, quorum, expires)) if effect == Decision::RequireApproval => {
                    held(id, &reviewers, quorum, expires)
                }
                _ => verdict(id, effect, priority),
            };
            Arc::get_mut(&mut verdict.rule).unwrap().retry_after_ms = retry;
            verdict.error = fails.then(|| "no such field".to_owned());
            verdict
        };
        numbered.map(build).collect()
    })
}

/// Whether whoever satisfies `tight` satisfies `loose`.
fn terms_are_as_strict(tight: &ApprovalTerms, loose: &ApprovalTerms) -> bool {
    loose.stages.iter().all(|stage| tight.stages.contains(stage)) && tight.expires_ms <= loose.expires_ms
}

proptest! {
    /// Law 2 for the judge: with its verdicts a decision is never more permissive than without.
    #[test]
    fn law_2_a_judge_only_tightens(verdicts in verdicts(0), judged in verdicts(100)) {
        let without = ask(Says { verdicts: verdicts.clone(), judged: Vec::new() });
        let with = ask(Says { verdicts, judged: judged.clone() });
        prop_assert!(with.settled.decision >= without.settled.decision);
        if let (Some(tight), Some(loose)) = (&with.settled.approval, &without.settled.approval) {
            prop_assert!(terms_are_as_strict(tight, loose));
        }
        if with.settled.decision == Decision::Throttle && without.settled.decision == Decision::Throttle {
            prop_assert!(with.settled.retry_after_ms >= without.settled.retry_after_ms);
        }
        if without.settled.decision == Decision::Deny {
            prop_assert_eq!(&with.settled, &without.settled);
            prop_assert!(with.questions.is_empty() && with.consulted.is_empty());
        } else {
            let strictest = judged.iter().map(|v| v.rule.effect).filter(|effect| !effect.permits()).max();
            prop_assert!(with.settled.decision >= strictest.unwrap_or(Decision::Allow));
            prop_assert_eq!(with.questions.len(), judged.len());
        }
    }

    /// Law 8 for the judge: the order of its verdicts says nothing.
    #[test]
    fn law_8_the_order_of_judged_verdicts_does_not_matter(
        verdicts in verdicts(0), judged in verdicts(100), seed in any::<u64>(),
    ) {
        let mut shuffled = judged.clone();
        let by = usize::try_from(seed % 5).unwrap().min(shuffled.len());
        shuffled.rotate_left(by);
        shuffled.reverse();
        let one = ask(Says { verdicts: verdicts.clone(), judged });
        let other = ask(Says { verdicts, judged: shuffled });
        prop_assert_eq!(one.settled, other.settled);
    }
}

#[test]
fn a_judge_does_not_permit_what_nothing_permits() {
    let judged = vec![verdict(1, Decision::RequireApproval, 0), verdict(2, Decision::Allow, 9)];
    let decided = ask(Says { verdicts: Vec::new(), judged });
    assert_eq!(decided.settled.code, Some(Code::NoPolicyMatch));
    assert_eq!(decided.settled.decision, Decision::Deny);
}

#[test]
fn no_priority_outranks_a_judge() {
    let verdicts = vec![verdict(1, Decision::Allow, 1000)];
    let decided = ask(Says { verdicts, judged: vec![verdict(2, Decision::Deny, -1000)] });
    assert_eq!(decided.settled.code, Some(Code::DeniedByRule));
    assert_eq!(decided.settled.matched.map(|rule| rule.id.to_string()).as_deref(), Some("r2"));
}

#[test]
fn two_approvals_become_one_that_meets_both() {
    let verdicts = vec![held(1, &["role:a", "role:b"], 1, 9000)];
    let stages = |judged| ask(Says { verdicts: verdicts.clone(), judged }).settled.approval.unwrap();
    let terms = stages(vec![held(2, &["role:c"], 2, 1000), held(3, &["role:b", "role:a"], 1, 5000)]);
    let both = [Stage::of(["role:a".into(), "role:b".into()], 1), Stage::of(["role:c".into()], 2)];
    assert_eq!((terms.stages.as_slice(), terms.expires_ms), (both.as_slice(), 1000), "equal ones once");
}

#[test]
fn reviewers_read_what_both_approvals_tell_them() {
    let told = |id, radius: Option<&str>| {
        let mut verdict = held(id, &[], 1, 5);
        let terms = Arc::get_mut(&mut verdict.rule).unwrap().approval.as_mut().unwrap();
        terms.blast_radius = radius.map(str::to_owned);
        verdict
    };
    let radius = |one, other| {
        let decided = ask(Says { verdicts: vec![told(1, one)], judged: vec![told(2, other)] });
        decided.settled.approval.unwrap().blast_radius
    };
    assert_eq!(radius(Some("one table"), Some("all mail")).as_deref(), Some("one table; all mail"));
    assert_eq!(radius(Some("one table"), Some("one table")).as_deref(), Some("one table"));
    assert_eq!(radius(None, Some("all mail")).as_deref(), Some("all mail"));
    assert_eq!(radius(None, None), None);
}

#[test]
fn an_approval_asks_whom_it_does_not_outrank_too() {
    let with = |mut verdict: Verdict, invariant: bool, priority: i32| {
        let rule = Arc::make_mut(&mut verdict.rule);
        (rule.invariant, rule.priority) = (invariant, priority);
        verdict
    };
    let asked = |verdicts: Vec<Verdict>| {
        let terms = ask(Says { verdicts, judged: Vec::new() }).settled.approval.unwrap();
        terms.stages.iter().map(|stage| stage.reviewers.concat()).collect::<Vec<_>>()
    };
    let (first, second) = (held(1, &["role:a"], 1, 9), held(2, &["role:b"], 1, 9));
    let outranking = with(first.clone(), false, 1);
    assert_eq!(asked(vec![outranking.clone(), second.clone()]), ["role:a"], "what is outranked is silent");
    assert_eq!(asked(vec![first, second.clone()]), ["role:a", "role:b"], "equals speak both");
    let invariant = with(second, true, 0);
    assert_eq!(asked(vec![outranking, invariant]), ["role:a", "role:b"], "nothing outranks an invariant");
}
