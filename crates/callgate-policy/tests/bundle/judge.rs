//! Rules that ask a judge: what the question holds, and what an answer comes to.

use callgate_core::decide::{Ask, Decided, decide};
use callgate_core::decision::{Code, Decision};
use callgate_core::facts::Facts;
use callgate_core::finding::{Answer, Failure, Finding, Question, Ruling};
use callgate_core::json::{self, Limits};
use callgate_core::snapshot::Snapshot;
use callgate_core::value::Value;
use proptest::prelude::*;

use crate::support::{answer, ask, bundle, facts, read, request, root, snapshot};

const SETTINGS: &str = "version: v1\njudge: {model: judge-1, timeout: 300ms, max_tokens: 64}\n";
const RULES: &str = r#"
version: v1
rules:
  - id: mail
    match: {tools: ["mail.send"]}
    decision: allow
  - id: no-personal-data
    match: {tools: ["mail.send"]}
    when: args.to.endsWith("@example.com") == false
    judge:
      policy: "Must not send personal data of customers to outside recipients."
      sees: [args.body, args.to]
      on_failure: require_approval
    approval: {reviewers: ["role:privacy"]}
    decision: deny
    reason: "Personal data stays inside"
"#;
const MAIL: &str = r#"{"agent":{"id":"bot"},"tool":{"server":"mail","name":"send"},"args":{"body":"hi","secret":"s","to":"a@b.c"}}"#;

fn mail() -> Snapshot {
    snapshot(&bundle(&[("callgate.yaml", SETTINGS), ("rules/r.yaml", RULES)]))
}

fn with(snapshot: &Snapshot, text: &str, findings: Vec<Finding>) -> Decided {
    decide(snapshot, Ask::Request(Box::new(request(text))), &Facts { findings, ..facts() })
}

fn found(question: &Question, ruling: Ruling, confidence: &str) -> Finding {
    let answer = Answer::Given { model: "judge-1".into(), ruling, confidence: confidence.parse().unwrap() };
    Finding { question: question.digest, answer, latency_ms: 7, cached: false }
}

fn only_question(decided: &Decided) -> Question {
    let [question] = decided.questions.as_slice() else { panic!("{:?}", decided.questions) };
    question.clone()
}

#[test]
fn an_open_question_restricts_until_it_is_answered() {
    let decided = ask(&mail(), MAIL);
    assert_eq!(decided.settled.decision, Decision::RequireApproval);
    assert_eq!(decided.settled.approval.as_ref().unwrap().stages[0].reviewers, ["role:privacy"]);
    let message = &decided.settled.reasons.first().unwrap().message;
    assert_eq!(message, "Personal data stays inside (the judge was not asked)");
    let question = only_question(&decided);
    assert_eq!((&*question.model, question.timeout_ms, question.max_tokens), ("judge-1", 300, 64));
    assert!(decided.consulted.is_empty());
}

#[test]
fn an_answer_is_read_as_the_rule_says() {
    let snapshot = mail();
    let question = only_question(&ask(&snapshot, MAIL));
    let cases = [
        (Ruling::Complies, "0.8", Decision::Allow),
        (Ruling::Complies, "0.79", Decision::RequireApproval),
        (Ruling::Violates, "0.8", Decision::Deny),
        // A suspicion is at least as strict as both.
        (Ruling::Violates, "0.1", Decision::Deny),
        (Ruling::Unsure, "1", Decision::RequireApproval),
    ];
    for (ruling, confidence, decision) in cases {
        let decided = with(&snapshot, MAIL, vec![found(&question, ruling, confidence)]);
        assert_eq!(decided.settled.decision, decision, "{ruling:?} {confidence}");
        assert!(decided.questions.is_empty());
        let [consulted] = decided.consulted.as_slice() else { panic!("{:?}", decided.consulted) };
        assert_eq!((&*consulted.rule, consulted.finding.question), ("no-personal-data", question.digest));
    }
    for failure in Failure::ALL {
        let decided = with(&snapshot, MAIL, vec![Finding::failed(question.digest, failure, 3)]);
        assert_eq!(decided.settled.decision, Decision::RequireApproval, "{failure:?}");
        assert!(decided.settled.reasons.first().unwrap().message.contains(failure.message()));
    }
}

#[test]
fn a_finding_about_something_else_answers_nothing() {
    let snapshot = mail();
    let other = only_question(&ask(&snapshot, &MAIL.replace("\"hi\"", "\"hi!\"")));
    let decided = with(&snapshot, MAIL, vec![found(&other, Ruling::Complies, "1")]);
    assert_eq!(decided.settled.decision, Decision::RequireApproval);
    assert_eq!(decided.questions.len(), 1);
    // What the judge is not shown does not make another question.
    let hidden = only_question(&ask(&snapshot, &MAIL.replace("\"s\"", "\"t\"")));
    let decided = with(&snapshot, MAIL, vec![found(&hidden, Ruling::Complies, "1")]);
    assert_eq!(decided.settled.decision, Decision::Allow);
}

#[test]
fn everything_the_judge_is_shown_makes_another_question() {
    let question = |settings: &str, rules: &str, text: &str| {
        let snapshot = snapshot(&bundle(&[("callgate.yaml", settings), ("rules/r.yaml", rules)]));
        only_question(&ask(&snapshot, text)).digest
    };
    let base = question(SETTINGS, RULES, MAIL);
    assert_eq!(base, question(&SETTINGS.replace("300ms", "400ms"), RULES, MAIL));
    for other in [
        question(&SETTINGS.replace("judge-1", "judge-2"), RULES, MAIL),
        question(&SETTINGS.replace("64", "65"), RULES, MAIL),
        question(SETTINGS, &RULES.replace("Must not", "May not"), MAIL),
        question(SETTINGS, &RULES.replace("[args.body, args.to]", "[args.body]"), MAIL),
        question(SETTINGS, RULES, &MAIL.replace("a@b.c", "a@b.d")),
    ] {
        assert_ne!(base, other);
    }
}

#[test]
fn a_judge_is_not_asked_where_the_rule_does_not_match_or_all_is_denied() {
    let snapshot = mail();
    let inside = ask(&snapshot, &MAIL.replace("a@b.c", "a@example.com"));
    assert!(inside.questions.is_empty() && inside.settled.decision == Decision::Allow);
    let denied = format!(
        "{RULES}  - id: stop\n    match: {{tools: [\"mail.*\"]}}\n    when: args.body == \"hi\"\n    decision: deny\n"
    );
    let snapshot = snapshot_of(&denied);
    let decided = ask(&snapshot, MAIL);
    assert!(decided.questions.is_empty() && decided.settled.code == Some(Code::DeniedByRule));
    // Nothing permits it, and a judge's approval is none.
    let nothing = RULES.replace("decision: allow\n", "decision: allow\n    when: args.body == \"no\"\n");
    let decided = ask(&snapshot_of(&nothing), MAIL);
    assert_eq!((decided.settled.code, decided.questions.len()), (Some(Code::NoPolicyMatch), 0));
    // A condition that fails denies without asking.
    let decided = ask(&mail(), &MAIL.replace(r#","to":"a@b.c""#, ""));
    assert_eq!((decided.settled.code, decided.questions.len()), (Some(Code::PolicyError), 0));
}

fn snapshot_of(rules: &str) -> Snapshot {
    snapshot(&bundle(&[("callgate.yaml", SETTINGS), ("rules/r.yaml", rules)]))
}

#[test]
fn what_is_too_much_to_show_restricts() {
    let long = MAIL.replace("\"hi\"", &format!("\"{}\"", "x".repeat(40_000)));
    let decided = ask(&mail(), &long);
    assert!(decided.questions.is_empty());
    assert_eq!(decided.settled.decision, Decision::RequireApproval);
}

#[test]
fn questions_are_asked_once_and_bounded() {
    let rules = |policy: fn(u32) -> u32| {
        let all = "version: v1\nrules:\n  - {id: all, match: {tools: ['**']}, decision: allow}\n";
        (0..12u32).fold(all.to_owned(), |text, number| {
            let policy = policy(number);
            let asks =
                format!("match: {{tools: ['**']}}, judge: {{policy: 'Policy {policy}.'}}, decision: deny");
            format!("{text}  - {{id: j{number:02}, {asks}}}\n")
        })
    };
    let shared = ask(&snapshot_of(&rules(|number| number / 2)), MAIL);
    assert_eq!(shared.questions.len(), 6, "equal questions are one");
    let snapshot = snapshot_of(&rules(|number| number));
    let decided = ask(&snapshot, MAIL);
    assert_eq!(decided.questions.len(), 8);
    let findings: Vec<Finding> =
        decided.questions.iter().map(|question| found(question, Ruling::Complies, "1")).collect();
    let decided = with(&snapshot, MAIL, findings);
    assert_eq!(decided.settled.decision, Decision::Deny, "what was not asked does not comply");
}

/// The example of the page loads without a warning and asks as the page says.
#[test]
fn the_example_of_the_page_works() {
    let page = read(&root().join("docs/judge.md"));
    let blocks = page.split("```yaml\n# ").skip(1).map(|block| block.split("```").next().unwrap());
    let files: Vec<(&str, &str)> = blocks.map(|block| block.split_once('\n').unwrap()).collect();
    let bundle = bundle(&files);
    let report = callgate_policy::check(&bundle);
    assert!(report.is_empty(), "{report}");
    let snapshot = snapshot(&bundle);
    let mail = |to: &str| {
        let args = format!(r#""args":{{"body":"hello","to":"{to}"}}"#);
        let agent = r#""agent":{"id":"bot","team":"support"}"#;
        format!(r#"{{{agent},"tool":{{"server":"mail","name":"send"}},{args}}}"#)
    };
    assert_eq!(answer(&snapshot, &mail("ana@example.com")), "ALLOW support-may-mail");
    let outside = mail("eve@elsewhere.org");
    assert_eq!(answer(&snapshot, &outside), "REQUIRE_APPROVAL no-personal-data-in-mail");
    let question = only_question(&ask(&snapshot, &outside));
    assert_eq!(
        question.data,
        r#"{"action":"mail.send","shown":{"args.body":"hello","args.to":"eve@elsewhere.org"}}"#
    );
    let violates = with(&snapshot, &outside, vec![found(&question, Ruling::Violates, "0.9")]);
    assert_eq!(violates.settled.decision, Decision::Deny);
}

proptest! {
    /// Arguments are data: whatever they say, the instructions are the same but for the id, and the
    /// data is one JSON document that reads back as what was sent.
    #[test]
    fn arguments_are_never_instructions(body in any::<String>(), key in "[a-z<>|\\[\\]\"\\\\]{1,8}") {
        let args = serde_json::json!({"to": "a@b.c", "body": {key.clone(): [body.clone()]}});
        let text = format!(r#"{{"agent":{{"id":"bot"}},"tool":{{"server":"mail","name":"send"}},"args":{args}}}"#);
        let snapshot = mail();
        let (plain, hostile) = (only_question(&ask(&snapshot, MAIL)), only_question(&ask(&snapshot, &text)));
        prop_assert_eq!(
            hostile.instructions.replace(&hostile.id(), "ID"),
            plain.instructions.replace(&plain.id(), "ID")
        );
        let data = json::parse(hostile.data.as_bytes(), &Limits::REQUEST).unwrap();
        let Value::Map(data) = data else { panic!("{data:?}") };
        prop_assert_eq!(data.get("action"), Some(&Value::from("mail.send")));
        let shown = data.get("shown").and_then(Value::as_map).unwrap();
        prop_assert_eq!((data.len(), shown.len()), (2, 2));
        let inner = shown.get("args.body").and_then(Value::as_map).unwrap();
        prop_assert_eq!(inner.get(&key), Some(&Value::List(vec![Value::Str(body)])));
        prop_assert!(!hostile.data.contains(['\n', '<', '>', '|', '`', '#']));
        prop_assert!(!hostile.data.contains(&hostile.id()));
    }

    /// Law 2 over real rules: no finding makes a decision more permissive than the rules without judge.
    #[test]
    fn law_2_no_finding_makes_a_decision_more_permissive(
        ruling in proptest::sample::select(Ruling::ALL.to_vec()),
        percent in 0u32..=100,
        other in proptest::sample::select(vec!["allow", "throttle", "require_approval"]),
        decision in proptest::sample::select(vec!["deny", "throttle", "require_approval"]),
        on_failure in proptest::sample::select(vec!["deny", "throttle", "require_approval"]),
    ) {
        let base = format!("version: v1\nrules:\n  - {{id: base, match: {{tools: ['mail.*']}}, decision: {other}, priority: 5}}\n");
        let judged = format!("{base}  - {{id: judged, match: {{tools: ['mail.send']}}, judge: {{policy: P, on_failure: {on_failure}}}, decision: {decision}}}\n");
        let without = ask(&snapshot_of(&base), MAIL).settled.decision;
        let snapshot = snapshot_of(&judged);
        let open = ask(&snapshot, MAIL);
        prop_assert!(open.settled.decision >= without);
        for question in &open.questions {
            let confidence = format!("{}.{:02}", percent / 100, percent % 100);
            let decided = with(&snapshot, MAIL, vec![found(question, ruling, &confidence)]);
            prop_assert!(decided.settled.decision >= without);
            if ruling == Ruling::Complies && percent >= 80 {
                prop_assert_eq!(decided.settled.decision, without);
            } else {
                let least: Decision = decision.parse().unwrap();
                prop_assert!(decided.settled.decision >= least.min(on_failure.parse().unwrap()));
            }
        }
    }
}
