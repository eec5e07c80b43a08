//! Tests that lie in a bundle: what they mean, and what comes of them.

use callgate_core::decide::Decided;
use callgate_policy::testing::{TestReport, run};
use callgate_policy::{Explanation, Reached, check, compile};

use crate::support::{ask, bundle, folder, root, rules};

const RULES: &str = "version: v1
rules:
  - {id: read, match: {tools: [s.read]}, decision: allow}
  - {id: any, match: {tools: ['s.*']}, decision: allow_with_constraints, constraints: {max_retries: 2}}
  - {id: slow, priority: 3, match: {tools: [s.slow]}, decision: throttle, throttle: {retry_after: 2s}}
  - {id: large, match: {tools: [s.pay]}, when: 'dec(args.amount) > dec(\"50.00\")', decision: deny, reason: Too much}
  - {id: never, match: {tools: [t.never]}, decision: deny}
";

const HEAD: &str = "version: v1
defaults: {agent: {id: bot}, tool: {server: s, name: read}, pep: {id: p, enforces: [max_retries]}}
tests:
";

/// Plays tests against [`RULES`].
fn play(tests: &str) -> TestReport {
    let text = format!("{HEAD}{tests}");
    let report = run(&bundle(&[("rules/r.yaml", RULES), ("tests/t.yaml", &text)]), None)
        .unwrap_or_else(|report| panic!("{report}"));
    assert!(!report.tests.is_empty(), "nothing was played: {tests}");
    report
}

/// `field: expected/actual` of everything that differs.
fn differences(tests: &str) -> Vec<String> {
    let report = play(tests);
    let failures = report.tests.iter().flat_map(|test| &test.failures);
    failures
        .flat_map(|failure| &failure.differences)
        .map(|one| format!("{}: {}/{}", one.field, one.expected, one.actual))
        .collect()
}

/// The codes `check` reports of a test file.
fn reported(tests: &str) -> Vec<&'static str> {
    let text = format!("{HEAD}{tests}");
    let bundle = bundle(&[("rules/r.yaml", RULES), ("tests/t.yaml", &text)]);
    let report = check(&bundle);
    assert_eq!(compile(&bundle).is_err(), report.has_errors());
    assert_eq!(run(&bundle, None).is_err(), report.has_errors());
    report.diagnostics().iter().map(|found| found.code).collect()
}

#[test]
fn the_examples_pass_and_touch_every_rule() {
    for example in ["quickstart", "loan", "topics", "limits"] {
        let bundle =
            callgate_policy::Bundle::new(folder(&root().join("examples").join(example)), Default::default());
        let report = run(&bundle, None).unwrap_or_else(|report| panic!("{example}: {report}"));
        let failed: Vec<_> = report.tests.iter().filter(|test| !test.passed()).collect();
        assert!(failed.is_empty(), "{example}: {failed:#?}");
        assert!(!report.tests.is_empty() && report.uncovered().count() == 0, "{example}: {report:#?}");
    }
}

#[test]
fn only_what_is_expected_is_compared() {
    assert!(differences("  - {name: a, expect: {decision: ALLOW_WITH_CONSTRAINTS}}\n").is_empty());
    assert!(differences("  - {name: a, expect: {rules: any, not_rules: [large, never]}}\n").is_empty());
    assert!(
        differences("  - {name: a, expect: {constraints: {max_retries: 2}, code: none, codes: []}}\n")
            .is_empty()
    );
}

#[test]
fn every_key_of_an_expectation_can_fail() {
    let found = differences(
        "  - name: a
    expect: {decision: deny, code: DENIED_BY_RULE, rule: any, rules: [large], not_rules: [read], reasons: [blue],
             codes: [RATE_EXCEEDED], constraints: {}, retry_after_ms: 1, would: deny, reviewers: [ana]}
",
    );
    let expected = [
        "decision: DENY/ALLOW_WITH_CONSTRAINTS",
        "code: DENIED_BY_RULE/none",
        "rule: any/read",
        "codes: RATE_EXCEEDED/none",
        "rules: large/read, any",
        "not_rules: not read/read, any",
        "reasons: blue/rule `read`, rule `any`",
        "constraints: {}/{\"max_retries\":2}",
        "would: DENY/none",
        "retry_after_ms: 1/none",
        "reviewers: ana/no approval",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_test_says_what_enforcement_would_decide() {
    let tests = "  - {name: enforced, expect: {rule: read, would: none}}
  - {name: denied, request: {tool: {server: s, name: other}}, facts: {monitor: true}, expect: {decision: ALLOW_WITH_CONSTRAINTS, would: none}}
  - {name: unknown, request: {tool: {server: z, name: other}}, facts: {monitor: true}, expect: {decision: ALLOW, would: DENY}}
  - {name: nobody monitors, request: {tool: {server: z, name: other}}, expect: {decision: DENY, would: none}}
";
    assert_eq!(differences(tests), [""; 0]);
}

#[test]
fn a_session_is_played_on_its_own_state() {
    let steps = "  - name: nonces
    defaults: {session: {id: one}, nonce: n, ts_ms: now}
    steps:
      - {expect: {rule: read}, outcome: {status: succeeded}}
      - {at: 4m, expect: {code: REPLAY_NONCE}}
      - {request: {session: {id: two}}, expect: {rule: read}}
  - name: another test has a state of its own
    request: {session: {id: one}, nonce: n, ts_ms: now-4m}
    expect: {rule: read}
  - name: time is the test's
    facts: {now: '2031-05-06T07:08:09+02:00'}
    request: {ts_ms: now-6m}
    expect: {code: STALE_TIMESTAMP}
";
    assert_eq!(differences(steps), [""; 0]);
}

#[test]
fn the_credential_says_who_asks() {
    let tests = "  - name: its own key
    facts: {credential: {agent: bot, team: support}}
    expect: {rule: read}
  - name: the key of another
    facts: {credential: {agent: rob}}
    expect: {decision: DENY, code: INVALID_REQUEST}
";
    assert_eq!(differences(tests), [""; 0]);
}

const JUDGED: &str = "version: v1
rules:
  - {id: mail, priority: 7, match: {tools: [s.read]}, decision: allow}
  - {id: data, match: {tools: [s.read]}, judge: {policy: No personal data., on_failure: require_approval}, decision: deny}
";

#[test]
fn a_test_says_what_the_judge_answers() {
    let tests = "  - {name: nobody answers, expect: {decision: REQUIRE_APPROVAL, rule: data}}
  - name: it complies
    facts: {findings: {data: {ruling: complies}}}
    expect: {decision: ALLOW, rule: mail, not_rules: [data]}
  - name: it violates
    facts: {findings: {data: {ruling: violates, confidence: '0.9'}}}
    expect: {decision: DENY, rule: data, rules: [mail]}
  - name: it does not answer
    facts: {findings: {data: {failure: timeout}}}
    expect: {decision: REQUIRE_APPROVAL, reasons: [in time]}
";
    let text = format!("{HEAD}{tests}");
    let files = [
        ("callgate.yaml", "version: v1\njudge: {model: m}\n"),
        ("rules/r.yaml", JUDGED),
        ("tests/t.yaml", &text),
    ];
    let report = run(&bundle(&files), None).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!((report.tests.len(), report.failed()), (4, 0), "{report:#?}");
    let wrong =
        text.replace("{failure: timeout}", "{failure: timeout, ruling: unsure}").replace("'0.9'", "'1.1'");
    let files = [files[0], files[1], ("tests/t.yaml", wrong.as_str())];
    let found: Vec<_> = check(&bundle(&files)).diagnostics().iter().map(|found| found.code).collect();
    assert_eq!(found, ["CG0209"]);
}

#[test]
fn an_explanation_does_not_rank_what_a_judge_tightened() {
    let snapshot = crate::support::snapshot(&bundle(&[
        ("callgate.yaml", "version: v1\njudge: {model: m}\n"),
        ("rules/r.yaml", JUDGED),
    ]));
    let decided = ask(&snapshot, r#"{"agent":{"id":"bot"},"tool":{"server":"s","name":"read"}}"#);
    let explanation = Explanation::of(&snapshot, &decided);
    assert_eq!(
        explanation.why,
        "a judge's rule makes what the others decide stricter: the judge was not asked"
    );
    let notes: Vec<(&str, &str)> =
        explanation.rules.iter().map(|line| (line.rule.as_str(), line.note.as_str())).collect();
    let expected = [("mail", "the judge's rule `data` is stricter"), ("data", "the judge was not asked")];
    assert_eq!(notes, expected);
}

#[test]
fn an_outcome_needs_an_allowed_action() {
    let tests = "  - name: a
    steps: [{request: {tool: {name: pay}, args: {amount: '80.00'}}, expect: {decision: DENY}, outcome: {status: failed}}]
";
    assert_eq!(differences(tests), ["outcome: failed/the action was not allowed, so it did not run"]);
}

#[test]
fn what_is_no_request_can_be_asked_as_bytes() {
    assert_eq!(differences("  - {name: a, raw: '{', expect: {code: INVALID_REQUEST}}\n"), [""; 0]);
}

#[test]
fn null_takes_a_member_away_and_mappings_are_laid_over_each_other() {
    let tests = "  - {name: a, request: {pep: null}, expect: {code: CONSTRAINT_UNENFORCEABLE}}
  - {name: b, request: {tool: {name: slow}}, expect: {rule: slow, retry_after_ms: 2000}}
  - {name: c, request: {tool: {server: null}}, expect: {code: NO_POLICY_MATCH}}
";
    assert_eq!(differences(tests), [""; 0]);
}

#[test]
fn a_filter_leaves_the_rest_out_and_coverage_counts_what_spoke() {
    let text = format!(
        "{HEAD}  - {{name: one, expect: {{rule: read}}}}\n  - {{name: two, expect: {{rule: read}}}}\n"
    );
    let bundle = bundle(&[("rules/r.yaml", RULES), ("tests/t.yaml", &text)]);
    let report = run(&bundle, Some("yaml: tw")).unwrap();
    assert_eq!((report.tests.len(), report.left_out), (1, 1));
    let spoke: Vec<(&str, usize)> =
        report.coverage.iter().map(|rule| (rule.rule.as_str(), rule.decisions)).collect();
    assert_eq!(spoke, [("any", 1), ("large", 0), ("never", 0), ("read", 1), ("slow", 0)]);
    assert_eq!(run(&bundle, None), run(&bundle, None), "same bundle, same report");
}

#[test]
fn a_rule_that_could_not_be_evaluated_is_not_covered() {
    let report =
        play("  - {name: a, request: {tool: {name: pay}}, expect: {code: POLICY_ERROR, rule: large}}\n");
    assert!(report.tests.iter().all(|test| test.passed()), "{report:#?}");
    assert!(report.uncovered().any(|rule| rule.rule == "large"));
}

#[test]
fn wrong_tests_are_reported_by_their_codes() {
    let cases = [
        ("  - {name: a, expct: {decision: ALLOW}, expect: {rule: read}}\n", "CG0201"),
        ("  - {name: a}\n", "CG0203"),
        ("  - {name: a, steps: [{at: 1m}]}\n", "CG0203"),
        ("  - {name: a, steps: []}\n", "CG0106"),
        ("  - {name: a, expect: {}}\n", "CG0106"),
        ("  - {name: a, expect: {decision: ALOW}}\n", "CG0208"),
        ("  - {name: a, expect: {code: DENIED}}\n", "CG0208"),
        ("  - {name: a, expect: {constraints: {max_rws: 1}}}\n", "CG0207"),
        ("  - {name: a, request: [], expect: {rule: read}}\n", "CG0202"),
        ("  - {name: a, request: {tols: x}, expect: {rule: read}}\n", "CG0201"),
        ("  - {name: a, request: {agent: {id: ''}}, expect: {rule: read}}\n", "CG1002"),
        ("  - {name: a, request: {nonce: n}, expect: {rule: read}}\n", "CG1002"),
        ("  - {name: a, facts: {now: yesterday}, expect: {rule: read}}\n", "CG1001"),
        ("  - {name: a, facts: {credential: root}, expect: {rule: read}}\n", "CG0208"),
        ("  - {name: a, expect: {not_rules: [reed]}}\n", "CG1004"),
        ("  - {name: a, steps: [{at: -1s, expect: {rule: read}}]}\n", "CG0206"),
        ("  - {name: a, steps: [{expect: {rule: read}, outcome: {status: done}}]}\n", "CG0208"),
    ];
    for (tests, code) in cases {
        assert_eq!(reported(tests), [code], "{tests}");
    }
}

#[test]
fn a_problem_of_a_request_is_shown_where_it_stands() {
    let text = format!(
        "{HEAD}  - name: a\n    request:\n      agent: {{id: bot, team: 5}}\n    expect: {{rule: read}}\n"
    );
    let report = check(&bundle(&[("rules/r.yaml", RULES), ("tests/t.yaml", &text)]));
    let found = &report.diagnostics()[0];
    assert_eq!(
        (found.code, found.place.map(|at| (at.line, at.column))),
        ("CG1002", Some((6, 30))),
        "{report}"
    );
}

#[test]
fn files_in_the_tests_folder_that_are_no_tests_are_refused() {
    for path in ["tests/t.json", "tests/more/t.yaml"] {
        let report = check(&bundle(&[("rules/r.yaml", RULES), (path, "{}")]));
        assert_eq!(report.diagnostics().iter().map(|found| found.code).collect::<Vec<_>>(), ["CG0108"]);
    }
}

fn explained(text: &str) -> (Decided, Explanation) {
    let snapshot = rules(RULES);
    let decided = ask(&snapshot, text);
    let explanation = Explanation::of(&snapshot, &decided);
    (decided, explanation)
}

/// Law 5: the explanation is the trace of the evaluation that decided.
#[test]
fn law_5_the_explanation_has_what_the_evaluation_saw_and_nothing_else() {
    for (tool, args) in [("read", "{}"), ("slow", "{}"), ("pay", r#"{"amount":"80.00"}"#), ("pay", "{}")] {
        let text = format!(
            r#"{{"agent":{{"id":"bot"}},"tool":{{"server":"s","name":"{tool}"}},"args":{args},
            "pep":{{"id":"p","enforces":["max_retries"]}}}}"#
        );
        let (decided, explanation) = explained(&text);
        let mut traced: Vec<String> = decided.trace.iter().map(|step| step.rule.id.to_string()).collect();
        let mut shown: Vec<String> = explanation.rules.iter().map(|line| line.rule.clone()).collect();
        traced.sort();
        shown.sort();
        assert_eq!(traced, shown, "{tool}");
        assert_eq!(explanation.ruled_out + shown.len(), 5, "{tool}");
        let deciding = explanation.rules.iter().filter(|line| line.outcome == Reached::Decided);
        let deciding: Vec<&str> = deciding.map(|line| line.rule.as_str()).collect();
        let matched = decided
            .matched()
            .filter(|_| decided.settled.code != Some(callgate_core::decision::Code::PolicyError));
        assert_eq!(deciding, matched.map(|rule| &*rule.id).into_iter().collect::<Vec<_>>(), "{tool}");
    }
}

#[test]
fn an_explanation_says_why_a_verdict_decided() {
    let (_, explanation) = explained(
        r#"{"agent":{"id":"bot"},"tool":{"server":"s","name":"slow"},"pep":{"id":"p","enforces":["max_retries"]}}"#,
    );
    assert_eq!(explanation.why, "it ranks before `any`: higher priority (3 over 0)");
    assert_eq!(explanation.constraints.first().map(|one| one.from.clone()), Some(vec!["any".to_owned()]));
    let (_, explanation) = explained(
        r#"{"agent":{"id":"bot"},"tool":{"server":"s","name":"read"},"pep":{"id":"p","enforces":["max_retries"]}}"#,
    );
    assert_eq!(
        explanation.why,
        "it ranks before `any`: more specific (1 exact, 0 pattern over 0 exact, 1 pattern)"
    );
    let (_, explanation) =
        explained(r#"{"agent":{"id":"bot"},"tool":{"server":"s","name":"pay"},"args":{"amount":"1"}}"#);
    let large = explanation.rules.iter().find(|line| line.rule == "large");
    assert_eq!(large.map(|line| line.outcome), Some(Reached::ConditionFalse));
}
