//! Modes: what is written, and what only monitoring changes.

use std::collections::BTreeMap;

use callgate_core::decide::{Ask, Decided, decide};
use callgate_core::decision::{Code, Decision, Mode};
use callgate_core::facts::Facts;
use callgate_core::snapshot::{Rollout, Snapshot};
use callgate_policy::{Bundle, Explanation, check, compile};
use proptest::prelude::*;

use crate::generate::{Lines, asked};
use crate::laws::{decided, said, sound};
use crate::support::{answer, ask, bundle, facts, request, rules, snapshot};

const CALL: &str = r#"{"agent":{"id":"bot"},"tool":{"server":"mail","name":"send"}}"#;

/// What was answered, and what enforcement would have.
fn both(decided: &Decided) -> (Decision, Option<Decision>) {
    let settled = &decided.settled;
    (settled.decision, settled.would.as_ref().map(|would| would.decision))
}

/// The snapshot of these rules under a `callgate.yaml` with `settings`.
fn under(settings: &str, rules: &str) -> Snapshot {
    snapshot(&bundle(&[("callgate.yaml", &format!("version: v1\n{settings}\n")), ("rules/r.yaml", rules)]))
}

const MAIL: &str = "version: v1
rules:
  - {id: send, match: {tools: [mail.send]}, decision: allow}
  - {id: ask, match: {tools: [mail.send]}, decision: require_approval, mode: monitor, reason: Ask first}
  - {id: never, match: {tools: [mail.drop]}, decision: deny, mode: monitor}
";

#[test]
fn a_rule_that_only_monitors_has_no_say() {
    let mail = rules(MAIL);
    let sent = ask(&mail, CALL);
    assert_eq!(both(&sent), (Decision::Allow, Some(Decision::RequireApproval)));
    assert_eq!((sent.settled.mode, sent.settled.code), (Mode::Monitor, None));
    let would = sent.settled.would.as_ref().unwrap();
    assert_eq!(would.code, Some(Code::ApprovalRequired));
    assert_eq!(would.matched.as_ref().map(|rule| &*rule.id), Some("ask"));
    assert!(would.reasons.iter().any(|reason| reason.message == "Ask first"));
    assert_eq!(answer(&mail, CALL), "ALLOW send");
    let shown = Explanation::of(&mail, &sent).to_string();
    assert!(
        shown.contains("enforced     it would be REQUIRE_APPROVAL  APPROVAL_REQUIRED  by `ask`"),
        "{shown}"
    );
    assert!(shown.contains("monitored    ask"), "{shown}");
    // What nothing permits stays denied: a deny that only monitors is no permission.
    let dropped = ask(&mail, &CALL.replace("send", "drop"));
    assert_eq!(both(&dropped), (Decision::Deny, None));
    assert_eq!(dropped.settled.code, Some(Code::NoPolicyMatch));
    assert_eq!(dropped.settled.mode, Mode::Monitor);
}

#[test]
fn a_rule_that_would_hold_lets_run_what_nothing_else_speaks_of() {
    for decision in ["require_approval", "throttle"] {
        let alone = rules(&format!(
            "version: v1\nrules:\n  - {{id: ask, match: {{tools: [mail.send]}}, decision: {decision}, mode: monitor}}\n"
        ));
        let sent = ask(&alone, CALL);
        assert_eq!(both(&sent), (Decision::Allow, decision.parse().ok()));
        assert_eq!(answer(&alone, CALL), "ALLOW ask");
        let shown = Explanation::of(&alone, &sent).to_string();
        assert!(shown.contains("never blocks") && shown.contains("decided"), "{shown}");
    }
}

#[test]
fn constraints_of_a_rule_that_only_monitors_are_shown_and_not_enforced() {
    let mail = rules(
        "version: v1\nrules:
  - {id: send, match: {tools: [mail.send]}, decision: allow}
  - {id: once, match: {tools: [mail.send]}, decision: allow_with_constraints, constraints: {max_retries: 1}, mode: monitor}
",
    );
    let pep = CALL.replace("}}", r#"},"pep":{"id":"p","enforces":["max_retries"]}}"#);
    for (call, would) in [(CALL, Decision::Deny), (pep.as_str(), Decision::AllowWithConstraints)] {
        let sent = ask(&mail, call);
        assert_eq!(both(&sent), (Decision::Allow, Some(would)));
        assert!(sent.settled.constraints.is_empty());
    }
    let shown = ask(&mail, &pep).settled.would.unwrap().constraints.to_value().canonical();
    assert_eq!(shown, r#"{"max_retries":1}"#);
}

#[test]
fn a_bundle_or_an_agent_that_is_only_monitored_is_never_blocked() {
    let deny = "version: v1\nrules:\n  - {id: never, match: {tools: [mail.send]}, decision: deny}\n";
    let other = CALL.replace("send", "other");
    for settings in ["mode: monitor", "monitor: {agents: ['b*']}", "monitor: {agents: [bot]}"] {
        let mail = under(settings, deny);
        assert_eq!(both(&ask(&mail, CALL)), (Decision::Allow, Some(Decision::Deny)), "{settings}");
        let unspoken = ask(&mail, &other);
        assert_eq!(both(&unspoken), (Decision::Allow, Some(Decision::Deny)), "{settings}");
        assert_eq!(unspoken.settled.would.as_ref().unwrap().code, Some(Code::NoPolicyMatch));
        assert!(unspoken.settled.reasons[0].message.contains("DENY (NO_POLICY_MATCH)"));
    }
    // The mode is said for who was asked about, and a look-alike is not monitored.
    let mail = under("monitor: {agents: [bot]}", deny);
    for agent in ["BOT", "other", "b\u{3bf}t"] {
        let asked = ask(&mail, &CALL.replace("bot", agent));
        assert_eq!((both(&asked), asked.settled.mode), ((Decision::Deny, None), Mode::Enforce), "{agent}");
    }
    // An operator can say so while the gate runs.
    let told = |monitor| {
        let facts = Facts { monitor, ..facts() };
        decide(&rules(deny), Ask::Request(Box::new(request(CALL))), &facts).settled.decision
    };
    assert_eq!((told(true), told(false)), (Decision::Allow, Decision::Deny));
}

#[test]
fn what_is_only_monitored_runs_under_what_the_enforcement_point_enforces() {
    let settings = "mode: monitor\ndefaults: {constraints: {max_rows: 5, max_retries: 1}}";
    let held =
        "version: v1\nrules:\n  - {id: ask, match: {tools: [mail.send]}, decision: require_approval}\n";
    let call = CALL.replace("}}", r#"},"pep":{"id":"p","enforces":["max_rows"]}}"#);
    let sent = ask(&under(settings, held), &call);
    assert_eq!(both(&sent), (Decision::AllowWithConstraints, Some(Decision::Deny)));
    assert_eq!(sent.settled.constraints.to_value().canonical(), r#"{"max_rows":5}"#);
    assert_eq!(sent.settled.would.unwrap().code, Some(Code::ConstraintUnenforceable));
}

#[test]
fn every_language_can_only_monitor() {
    let policies: [(&str, &str); 4] = [
        (
            "policies/p.cedar",
            "@id(\"never\") @mode(\"monitor\")\nforbid(principal, action, resource == Tool::\"mail.send\");\n",
        ),
        (
            "policies/p.dogwood",
            "@id(\"never\") @mode(\"monitor\")\nforbid(principal, action, resource == Tool::\"mail.send\");\n",
        ),
        (
            "policies/p.rego",
            "# METADATA\n# custom:\n#   callgate: {id: never, tools: [mail.send], mode: monitor}\npackage p\n\ndefault decision := \"deny\"\n",
        ),
        (
            "policies/q.rego",
            "# METADATA\n# custom:\n#   callgate: {id: never, tools: [mail.send]}\npackage q\n\ndecision := {\"decision\": \"deny\", \"mode\": \"monitor\"}\n",
        ),
    ];
    let allow = "version: v1\nrules:\n  - {id: send, match: {tools: [mail.send]}, decision: allow}\n";
    for (path, text) in policies {
        let mail = snapshot(&bundle(&[("rules/r.yaml", allow), (path, text)]));
        assert_eq!(both(&ask(&mail, CALL)), (Decision::Allow, Some(Decision::Deny)), "{path}");
        let enforced = text.replace("monitor", "enforce");
        let mail = snapshot(&bundle(&[("rules/r.yaml", allow), (path, &enforced)]));
        assert_eq!(both(&ask(&mail, CALL)), (Decision::Deny, None), "{path}");
    }
    let rego = "# METADATA\n# custom:\n#   callgate: {id: odd, tools: [mail.send]}\npackage q\n\ndecision := {\"decision\": \"allow\", \"mode\": \"maybe\"}\n";
    assert_eq!(answer(&snapshot(&bundle(&[("policies/q.rego", rego)])), CALL), "DENY POLICY_ERROR odd");
}

#[test]
fn a_deny_that_only_monitors_does_not_silence_the_judge() {
    let settings = "judge: {model: m}";
    let text = "version: v1\nrules:
  - {id: send, match: {tools: [mail.send]}, decision: allow}
  - {id: never, match: {tools: [mail.send]}, decision: deny, mode: monitor}
  - {id: polite, match: {tools: [mail.send]}, judge: {policy: Be polite}, decision: deny}
";
    let asked = ask(&under(settings, text), CALL);
    assert_eq!(asked.settled.decision, Decision::Deny, "nobody answered, and the judge's rule is enforced");
    assert_eq!(asked.questions.len(), 1);
    // A judge's rule that only monitors is asked, for what it would say.
    let quiet =
        ask(&under(settings, &text.replace("decision: deny}", "decision: deny, mode: monitor}")), CALL);
    assert_eq!(both(&quiet), (Decision::Allow, Some(Decision::Deny)));
    let quiet = ask(
        &under(
            settings,
            &text
                .replace("decision: deny}", "decision: deny, mode: monitor}")
                .replace("  - {id: never, match: {tools: [mail.send]}, decision: deny, mode: monitor}\n", ""),
        ),
        CALL,
    );
    assert_eq!((both(&quiet), quiet.questions.len()), ((Decision::Allow, Some(Decision::Deny)), 1));
}

#[test]
fn a_judges_rule_that_only_monitors_permits_nothing() {
    let text = "version: v1\nrules:
  - {id: send, match: {tools: [mail.send]}, decision: allow, mode: monitor}
  - {id: polite, match: {tools: [mail.send]}, judge: {policy: Be polite}, decision: require_approval, mode: monitor}
";
    let asked = ask(&under("judge: {model: m}", text), CALL);
    assert_eq!(both(&asked), (Decision::Deny, Some(Decision::RequireApproval)));
}

#[test]
fn a_rule_that_permits_and_only_monitors_is_doubted() {
    let found = |settings: &str, decision: &str| {
        let rule = format!(
            "version: v1\nrules:\n  - {{id: a, match: {{tools: [x.y]}}, decision: {decision}, mode: monitor}}\n"
        );
        let report = check(&bundle(&[("callgate.yaml", settings), ("rules/r.yaml", &rule)]));
        report.diagnostics().iter().map(|found| found.code).collect::<Vec<_>>()
    };
    assert_eq!(found("version: v1\n", "allow"), ["CG0315"]);
    assert!(found("version: v1\n", "deny").is_empty());
    assert!(found("version: v1\nmode: monitor\n", "allow").is_empty());
}

#[test]
fn a_policy_that_permits_and_only_monitors_is_doubted() {
    let found = |text: &str| {
        let report = check(&bundle(&[("policies/p.cedar", text)]));
        report.diagnostics().iter().map(|found| found.code).collect::<Vec<_>>()
    };
    let permit = "@mode(\"monitor\") permit(principal, action, resource == Tool::\"mail.send\");";
    assert_eq!(found(permit), ["CG0315"]);
    assert!(found(&permit.replace("permit(", "forbid(")).is_empty());
    assert_eq!(found(&permit.replace("monitor", "off")), ["CG0705"]);
}

#[test]
fn a_rule_that_only_monitors_keeps_no_other_from_deciding() {
    let text = "version: v1\nrules:
  - {id: a, match: {tools: [x.y]}, decision: deny, mode: monitor}
  - {id: b, match: {tools: [x.y]}, decision: allow}
";
    let never = |text: &str| !check(&bundle(&[("rules/r.yaml", text)])).is_empty();
    assert!(!never(text));
    assert!(never(&text.replace(", mode: monitor", "")));
    assert!(never(&text.replace("allow}", "allow, mode: monitor}")));
}

#[test]
fn limits_of_a_rollout_are_whole_hundredths_of_a_percent() {
    let rule = "version: v1\nrules:\n  - {id: a, match: {tools: [x.y]}, decision: allow}\n";
    let limits = |settings: &str| under(settings, rule).defaults.rollout;
    assert_eq!(limits(""), Rollout::default());
    let all = "rollout: {max_flips: {loosen: '0.25%', tighten: 100%}, override: {second_person: true}, max_drift: '7.5%', min_decisions: 1000}";
    let expected = Rollout {
        max_loosen_bp: 25,
        max_tighten_bp: 10_000,
        second_person: true,
        max_drift_bp: 750,
        min_decisions: 1000,
    };
    assert_eq!(limits(all), expected);
    assert_eq!(
        limits("rollout: {max_flips: {tighten: 1%}}"),
        Rollout { max_tighten_bp: 100, ..Rollout::default() }
    );
    let codes = |settings: &str| {
        let settings = format!("version: v1\n{settings}\n");
        let report = check(&bundle(&[("callgate.yaml", &settings), ("rules/r.yaml", rule)]));
        report.diagnostics().iter().map(|found| found.code).collect::<Vec<_>>()
    };
    assert_eq!(codes("rollout: {max_drift: 5}"), ["CG0211"]);
    assert_eq!(codes("rollout: {max_drift: 0.5}"), ["CG0211"]);
    assert_eq!(codes("rollout: {min_decisions: 0}"), ["CG0209"]);
    assert_eq!(codes("mode: off"), ["CG0208"]);
    assert_eq!(codes("monitor: {}"), ["CG0203"]);
}

#[test]
fn stages_are_told_as_they_are_written() {
    let text = "version: v1\nrules:
  - id: ask
    match: {tools: [mail.send]}
    decision: require_approval
    approval:
      stages: [{reviewers: [role:security]}, {reviewers: ['role:finance', ana], quorum: 2}, {}]
      expires: 2h
      blast_radius: every customer
      rollback: send a correction
";
    let terms = ask(&rules(text), CALL).settled.approval.unwrap();
    let stages: Vec<_> = terms.stages.iter().map(|it| (it.reviewers.join(","), it.quorum)).collect();
    assert_eq!(stages, [("role:security".into(), 1), ("ana,role:finance".into(), 2), (String::new(), 1)]);
    assert_eq!(terms.expires_ms, 7_200_000);
    assert_eq!(terms.blast_radius.as_deref(), Some("every customer"));
    assert_eq!(terms.rollback.as_deref(), Some("send a correction"));
    let cedar = "@decision(\"require_approval\") @approval(\"stages: [{reviewers: [ana]}, {quorum: 2}], rollback: undo it\")\npermit(principal, action, resource == Tool::\"mail.send\");\n";
    let rego = "# METADATA\n# custom:\n#   callgate: {tools: [mail.send]}\npackage p\n\ndecision := {\"decision\": \"require_approval\", \"approval\": {\"stages\": [{\"reviewers\": [\"ana\"]}, {\"quorum\": 2}], \"rollback\": \"undo it\"}}\n";
    for (path, text) in [("policies/p.cedar", cedar), ("policies/p.rego", rego)] {
        let terms = ask(&snapshot(&bundle(&[(path, text)])), CALL).settled.approval.unwrap();
        let stages: Vec<_> = terms.stages.iter().map(|it| (it.reviewers.join(","), it.quorum)).collect();
        assert_eq!(stages, [("ana".to_owned(), 1), (String::new(), 2)], "{path}");
        assert_eq!(terms.rollback.as_deref(), Some("undo it"), "{path}");
    }
    for wrong in [
        "\"stages\": []",
        "\"stages\": [{}], \"quorum\": 1",
        "\"stages\": [{\"quorum\": 0}]",
        "\"stages\": [{\"x\": 1}]",
    ] {
        let text = rego.replace("\"stages\": [{\"reviewers\": [\"ana\"]}, {\"quorum\": 2}]", wrong);
        let wrong_answer = answer(&snapshot(&bundle(&[("policies/p.rego", &text)])), CALL);
        assert_eq!(wrong_answer, "DENY POLICY_ERROR p", "{wrong}");
    }
}

/// The same rules, with those that `mask` names only monitoring.
fn monitoring(lines: &Lines, mask: u16) -> Lines {
    let mut lines = lines.clone();
    for (at, line) in lines.0.iter_mut().enumerate() {
        line.monitors = (mask >> (at % 16)) & 1 == 1;
    }
    lines
}

fn built(lines: &Lines, settings: Option<&str>) -> Snapshot {
    let mut files = lines.files();
    if let Some(settings) = settings {
        files.insert("callgate.yaml".to_owned(), format!("version: v1\n{settings}\n"));
    }
    compile(&Bundle::new(files, BTreeMap::new())).unwrap_or_else(|report| panic!("{report}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// What enforcement would have answered is what the bundle answers in which everything is enforced.
    #[test]
    fn would_is_what_enforcement_answers((lines, enforced) in sound(), mask in any::<u16>(), whole in any::<bool>(), asked in asked()) {
        let some = built(&monitoring(&lines, mask), whole.then_some("mode: monitor"));
        let (now, all) = (decided(&some, &asked).settled, decided(&enforced, &asked).settled);
        let would = now.would.as_ref();
        prop_assert_eq!(would.map_or(now.decision, |it| it.decision), all.decision);
        prop_assert_eq!(would.map_or(&now.constraints, |it| &it.constraints), &all.constraints);
        prop_assert!(!whole || now.decision.permits(), "{:?}", now);
        let again = decided(&some, &asked).settled;
        prop_assert_eq!(format!("{now:?}"), format!("{again:?}"), "law 3");
    }

    /// A rule that only monitors answers as if it were not there, save that it never blocks.
    #[test]
    fn a_rule_that_only_monitors_changes_nothing_else((lines, _) in sound(), mask in any::<u16>(), asked in asked()) {
        let some = monitoring(&lines, mask);
        let left = Lines(some.0.iter().filter(|line| !line.monitors).cloned().collect());
        prop_assume!(!left.0.is_empty());
        let (now, without) = (decided(&built(&some, None), &asked), decided(&built(&left, None), &asked));
        let lets_run = now.settled.matched.as_ref().is_some_and(|rule| rule.mode == Mode::Monitor);
        if lets_run {
            prop_assert_eq!(without.settled.decision, Decision::Deny);
            prop_assert!(without.settled.deciding().is_none_or(|it| it.rule.effect.permits()));
        } else {
            prop_assert_eq!(now.settled.decision, without.settled.decision);
            // Where it would have let run what nothing else permits, constraints may still stop it.
            let stopped = now.settled.code == Some(Code::ConstraintUnenforceable);
            prop_assert!(stopped || now.settled.code == without.settled.code);
            prop_assert_eq!(&now.settled.constraints, &without.settled.constraints);
            prop_assert_eq!(&now.settled.approval, &without.settled.approval);
        }
    }

    /// To take a deny out of force never makes anything stricter; to take an allow out, never looser.
    #[test]
    fn monitoring_a_rule_moves_one_way((lines, enforced) in sound(), at in any::<prop::sample::Index>(), asked in asked()) {
        let at = at.index(lines.0.len());
        let mut some = lines.clone();
        some.0[at].monitors = true;
        let (now, all) = (decided(&built(&some, None), &asked).settled, decided(&enforced, &asked).settled);
        match lines.0[at].decision {
            "deny" => prop_assert!(now.decision <= all.decision),
            "allow" => prop_assert!(now.decision >= all.decision),
            // It may have outranked what is stricter; then that decides, and nothing that is stricter still.
            "throttle" | "require_approval" => {
                let others = all.verdicts.iter().filter(|it| *it.rule.id != *lines.0[at].id && it.error.is_none());
                let strictest = others.map(|it| it.rule.effect).filter(|it| *it != Decision::Deny).max();
                prop_assert!(now.decision <= all.decision.max(strictest.unwrap_or(Decision::Allow)));
            }
            _ => prop_assert!(!now.decision.permits() || all.decision.permits() || all.code == Some(Code::ConstraintUnenforceable) || now.would.is_some()),
        }
    }

    /// Law 8: neither the order of rules nor the files they stand in changes what modes do.
    #[test]
    fn law_8_order_never_matters_under_modes((lines, _) in sound(), mask in any::<u16>(), asked in asked()) {
        let some = monitoring(&lines, mask);
        let mut turned = some.clone();
        turned.0.reverse();
        let (one, other) = (decided(&built(&some, None), &asked), decided(&built(&turned, None), &asked));
        prop_assert_eq!(said(&one), said(&other));
        let would = |it: &Decided| it.settled.would.as_ref().map(|it| (it.decision, it.code, it.matched.as_ref().map(|rule| rule.id.clone())));
        prop_assert_eq!(would(&one), would(&other));
    }

    /// With everything enforced, there is no other mode and nothing that would have been.
    #[test]
    fn without_modes_nothing_is_monitored((_, snapshot) in sound(), asked in asked()) {
        let settled = decided(&snapshot, &asked).settled;
        prop_assert_eq!((settled.mode, settled.would), (Mode::Enforce, None));
    }
}
