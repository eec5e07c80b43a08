//! The laws of the design, over bundles and requests at random.

use std::collections::BTreeMap;

use callgate_core::constraint::Constraints;
use callgate_core::decide::Decided;
use callgate_core::decision::Decision;
use callgate_core::rule::Outcome;
use callgate_core::snapshot::Snapshot;
use callgate_policy::{Bundle, check, compile};
use proptest::prelude::*;

use crate::generate::{Asked, Line, Lines, asked, lines};
use crate::support::ask;

impl Lines {
    /// The same without rule `id`.
    fn without(&self, id: &str) -> Self {
        Self(self.0.iter().filter(|line| line.id != id).cloned().collect())
    }

    /// The rules without those that stand on a reported line.
    fn without_reported(&self, excerpts: &[String]) -> Self {
        let named = |line: &Line| excerpts.iter().any(|text| text.contains(&format!("{{id: {},", line.id)));
        Self(self.0.iter().filter(|line| !named(line)).cloned().collect())
    }
}

impl Asked {
    /// The same with `key` taken out.
    fn without(&self, key: &str) -> Self {
        let mut parts = self.parts.clone();
        parts.remove(key);
        Self { parts }
    }

    /// The same with `key` set.
    pub(crate) fn with(&self, key: &'static str, value: &str) -> Self {
        let mut parts = self.parts.clone();
        parts.insert(key, value.to_owned());
        Self { parts }
    }
}

/// A bundle that compiles: of generated rules, those that `check` does not refuse.
pub(crate) fn sound() -> impl Strategy<Value = (Lines, Snapshot)> {
    lines().prop_filter_map("no rule is left", |mut lines| {
        for _ in 0..20 {
            if lines.0.is_empty() {
                return None;
            }
            match compile(&Bundle::new(lines.files(), BTreeMap::new())) {
                Ok(snapshot) => return Some((lines, snapshot)),
                Err(report) => {
                    let excerpts: Vec<String> =
                        report.diagnostics().iter().filter_map(|found| found.excerpt.clone()).collect();
                    let fewer = lines.without_reported(&excerpts);
                    assert!(fewer.0.len() < lines.0.len(), "{report}");
                    lines = fewer;
                }
            }
        }
        None
    })
}

pub(crate) fn decided(snapshot: &Snapshot, asked: &Asked) -> Decided {
    ask(snapshot, &asked.text())
}

/// Everything a decision says but where its rules stand.
pub(crate) fn said(decided: &Decided) -> String {
    let settled = &decided.settled;
    let reasons: Vec<_> = settled.reasons.iter().map(|it| (&it.code, &it.rule, &it.message)).collect();
    let matched = settled.matched.as_ref().map(|rule| &rule.id);
    let steps: Vec<_> = decided.trace.iter().map(|step| (&step.rule.id, &step.outcome)).collect();
    format!(
        "{:?} {:?} {matched:?} {reasons:?} {:?} {:?} {:?} {steps:?}",
        settled.decision, settled.code, settled.constraints, settled.approval, settled.retry_after_ms
    )
}

/// Whether `a` demands all that `b` does.
fn as_tight(a: &Constraints, b: &Constraints) -> bool {
    let mut both = a.clone();
    both.merge(b);
    both == *a
}

/// Whether the second decision gives nothing that the first does not: no permission, no looser constraint.
pub(crate) fn adds_no_access(before: &Decided, after: &Decided) -> bool {
    let (before, after) = (&before.settled, &after.settled);
    !after.decision.permits()
        || (before.decision.permits() && as_tight(&after.constraints, &before.constraints))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn law_2_deny_wins_and_nothing_matched_is_deny((_, snapshot) in sound(), asked in asked()) {
        let decided = decided(&snapshot, &asked);
        let matched = |decision| decided.trace.iter().any(|it| it.outcome == Outcome::Matched && it.rule.effect == decision);
        if matched(Decision::Deny) || !decided.trace.iter().any(|it| it.outcome == Outcome::Matched) {
            prop_assert_eq!(decided.settled.decision, Decision::Deny);
        }
    }

    #[test]
    fn law_2_a_permissive_rule_that_errors_does_not_permit((_, snapshot) in sound(), asked in asked()) {
        let decided = decided(&snapshot, &asked);
        if decided.settled.decision.permits() {
            let sound = decided.trace.iter().filter(|it| it.outcome == Outcome::Matched);
            prop_assert!(sound.into_iter().any(|it| it.rule.effect.permits()));
        }
    }

    #[test]
    fn law_2_a_restrictive_rule_that_errors_restricts((_, snapshot) in sound(), asked in asked()) {
        let decided = decided(&snapshot, &asked);
        let failed = |it: &&callgate_core::rule::Step| matches!(it.outcome, Outcome::Error(_));
        if decided.trace.iter().filter(failed).any(|it| !it.rule.effect.permits()) {
            prop_assert_eq!(decided.settled.decision, Decision::Deny);
        }
    }

    /// One compiler: what `check` accepts compiles, the same every time, and survives the log's archive.
    #[test]
    fn law_6_what_check_accepts_is_what_compiles(lines in lines()) {
        let bundle = Bundle::new(lines.files(), BTreeMap::new());
        let report = check(&bundle);
        match compile(&bundle) {
            Ok(snapshot) => {
                prop_assert!(!report.has_errors(), "{}", report);
                let kept = Bundle::from_archive(&bundle.to_archive()).map_err(|e| TestCaseError::fail(e.to_string()))?;
                prop_assert_eq!(kept.digest(), snapshot.digest);
                prop_assert!(compile(&kept).is_ok());
            }
            Err(refused) => {
                prop_assert!(report.has_errors());
                prop_assert_eq!(refused.render(), report.render());
            }
        }
    }

    #[test]
    fn law_8_order_never_matters((lines, snapshot) in sound(), asked in asked(), seed in any::<u64>()) {
        let mut shuffled = lines.clone();
        shuffled.0.sort_by_key(|line| callgate_core::digest::Digest::of(format!("{seed}{}", line.id).as_bytes()));
        let other = compile(&Bundle::new(shuffled.files(), BTreeMap::new()));
        let other = other.map_err(|report| TestCaseError::fail(report.render()))?;
        prop_assert_eq!(said(&decided(&snapshot, &asked)), said(&decided(&other, &asked)));
    }

    #[test]
    fn law_8_removing_a_permissive_rule_never_adds_access((lines, snapshot) in sound(), asked in asked()) {
        let before = decided(&snapshot, &asked);
        for line in lines.0.iter().filter(|line| line.decision == "allow") {
            let Ok(fewer) = compile(&Bundle::new(lines.without(&line.id).files(), BTreeMap::new())) else { continue };
            prop_assert!(adds_no_access(&before, &decided(&fewer, &asked)), "without {}", line.id);
        }
    }

    #[test]
    fn invariants_are_not_outranked((_, snapshot) in sound(), asked in asked()) {
        let decided = decided(&snapshot, &asked);
        let spoken = decided.trace.iter().filter(|it| it.outcome == Outcome::Matched && it.rule.invariant);
        for step in spoken {
            prop_assert!(decided.settled.decision >= step.rule.effect);
        }
    }

    #[test]
    fn law_9_a_constraint_nobody_enforces_is_a_deny((_, snapshot) in sound(), asked in asked()) {
        let blind = asked.with("pep", r#"{"id":"p","enforces":[]}"#);
        let decided = decided(&snapshot, &blind);
        prop_assert!(!decided.settled.decision.permits() || decided.settled.constraints.is_empty());
    }

    /// The caller can add risk, never remove it: what is left unsaid is not to the caller's advantage.
    #[test]
    fn law_7_leaving_an_attribute_out_never_adds_access((_, snapshot) in sound(), requests in proptest::collection::vec(asked(), 12)) {
        for asked in &requests {
            let before = decided(&snapshot, asked);
            for key in ["environment", "confidence", "cost"] {
                let after = decided(&snapshot, &asked.without(key));
                prop_assert!(adds_no_access(&before, &after), "without {key}: {} then {}", said(&before), said(&after));
            }
            if asked.parts.get("session").is_some_and(|session| session.contains("function")) {
                let after = decided(&snapshot, &asked.with("session", r#"{"function":"f"}"#));
                prop_assert!(adds_no_access(&before, &after), "without action type");
            }
        }
    }

    /// The same for tags, where the catalogue knows the tool: claiming one more never helps, and
    /// claiming what the catalogue says anyway changes nothing.
    #[test]
    fn law_7_claiming_a_tag_never_adds_access((_, snapshot) in sound(), asked in asked(), look in any::<bool>()) {
        let (name, own) = if look { ("look", r#"["read"]"#) } else { ("wipe", r#"["destructive"]"#) };
        let known = asked.with("tool", &format!(r#"{{"server":"disk","name":"{name}"}}"#)).without("risk_tags");
        let before = decided(&snapshot, &known);
        for tag in ["read", "write", "destructive", "x"] {
            let after = decided(&snapshot, &known.with("risk_tags", &format!("[\"{tag}\"]")));
            prop_assert!(adds_no_access(&before, &after), "claiming {tag}");
        }
        prop_assert_eq!(said(&before), said(&decided(&snapshot, &known.with("risk_tags", own))));
    }

    #[test]
    fn law_3_deciding_again_gives_the_same((_, snapshot) in sound(), asked in asked()) {
        prop_assert_eq!(said(&decided(&snapshot, &asked)), said(&decided(&snapshot, &asked)));
    }
}
