//! Payloads are RFC 8785 by construction, and have one spelling.

use callgate_log::json::{Decimal, Map, SafeInt};
use callgate_log::statement::{
    Action, Admin, Agent, Approval, Body, ConstraintValue, Decision, DecisionKind, DecisionRef, EncodeError,
    Finding, FindingKind, Gate, Grant, MAX_PAYLOAD, Mode, Outcome, ParseError, Pep, Reason, Ruling, Session,
    Snapshot, Stage, Status, Would,
};
use callgate_log::{Hash, Statement, sha256};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::fixture::{admin, decision, golden_log};

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9._-]{0,12}", vec(any::<char>(), 0..6).prop_map(String::from_iter)]
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..4)
}

fn int() -> impl Strategy<Value = SafeInt> {
    prop_oneof![
        (SafeInt::MIN.get()..=SafeInt::MAX.get()).prop_map(|value| SafeInt::try_from(value).unwrap()),
        any::<i32>().prop_map(SafeInt::from),
        Just(SafeInt::MAX),
        Just(SafeInt::MIN),
    ]
}

fn digest() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash::new)
}

fn constraint() -> impl Strategy<Value = ConstraintValue> {
    prop_oneof![
        int().prop_map(ConstraintValue::Int),
        any::<bool>().prop_map(ConstraintValue::Bool),
        text().prop_map(ConstraintValue::Text),
        texts().prop_map(ConstraintValue::List),
    ]
}

fn map<V: std::fmt::Debug>(value: impl Strategy<Value = V>) -> impl Strategy<Value = Map<V>> {
    vec((text(), value), 0..6).prop_map(Map::from_iter)
}

fn kind() -> impl Strategy<Value = DecisionKind> {
    use DecisionKind::{Allow, AllowWithConstraints, Deny, RequireApproval, Throttle};
    prop::sample::select(vec![Allow, AllowWithConstraints, Throttle, RequireApproval, Deny])
}

prop_compose! {
    fn agent()(chain in texts(), id in text(), on_behalf_of in option::of(text()), team in option::of(text())) -> Agent {
        Agent { chain, id, on_behalf_of, team }
    }
}

prop_compose! {
    fn action()(
        names in [option::of(text()), option::of(text()), option::of(text()), option::of(text()), option::of(text())],
        args_commitment in digest(),
    ) -> Action {
        let [action_type, function, server, tool, topic] = names;
        Action { action_type, args_commitment, function, server, tool, topic }
    }
}

prop_compose! {
    fn reason()(code in text(), message in text(), rule in option::of(text()), source in option::of(text())) -> Reason {
        Reason { code, message, rule, source }
    }
}

fn finding() -> impl Strategy<Value = Finding> {
    let answer =
        (prop::sample::select(vec![Ruling::Complies, Ruling::Violates, Ruling::Unsure]), text(), 0..=100u32);
    let known = (any::<bool>(), int(), digest(), text());
    (prop_oneof![answer.prop_map(Ok), text().prop_map(Err)], known).prop_map(
        |(said, (cached, latency_ms, question_commitment, rule))| {
            let kind = FindingKind::Judge;
            let whole = Finding {
                answer: None,
                cached,
                confidence: None,
                failure: None,
                kind,
                latency_ms,
                model: None,
                question_commitment,
                rule,
            };
            match said {
                Ok((answer, model, percent)) => Finding {
                    answer: Some(answer),
                    confidence: Decimal::parse(&format!("{}.{:02}", percent / 100, percent % 100)).ok(),
                    model: Some(model),
                    ..whole
                },
                Err(failure) => Finding { failure: Some(failure), ..whole },
            }
        },
    )
}

prop_compose! {
    fn stage()(quorum in int(), reviewers in texts()) -> Stage {
        Stage { quorum, reviewers }
    }
}

prop_compose! {
    fn approval()(expires_at_ms in int(), receipt in option::of(int()), stages in vec(stage(), 0..3)) -> Approval {
        Approval { expires_at_ms, receipt, stages }
    }
}

prop_compose! {
    fn grant()(by in texts(), receipt in int(), standing in option::of(int())) -> Grant {
        Grant { by, receipt, standing }
    }
}

prop_compose! {
    fn would()(code in option::of(text()), decision in kind(), matched_rule in option::of(text())) -> Would {
        Would { code, decision, matched_rule }
    }
}

prop_compose! {
    fn session()(id in text(), step in option::of(text())) -> Session {
        Session { id, step }
    }
}

prop_compose! {
    fn decisions()(
        who in (action(), agent(), text(), option::of(session()), option::of(text())).boxed(),
        why in (kind(), vec(reason(), 0..3), option::of(text()), option::of(text()), option::of(approval())).boxed(),
        constraints in map(constraint()).boxed(),
        digests in [digest(), digest(), digest(), digest()].boxed(),
        times in (int(), int(), option::of(int())).boxed(),
        names in [text(), text(), text(), text()].boxed(),
        lists in (texts(), texts()).boxed(),
        rest in (any::<bool>(), option::of(text()), option::of(digest())).boxed(),
        findings in vec(finding(), 0..3).boxed(),
        grant in option::of(grant()).boxed(),
        would in option::of(would()).boxed(),
    ) -> Decision {
        let (action, agent, tenant, session, environment) = who;
        let (decision, reasons, code, matched_rule, approval) = why;
        let [effects_digest, facts_commitment, request_commitment, digest] = digests;
        let [origin, gate_version, pep, version] = names;
        Decision {
            action, agent, approval, code, constraints, decision, effects_digest, environment, facts_commitment,
            findings, grant, matched_rule, reasons, request_commitment, session, tenant, would, unchecked: None,
            expires_at_ms: times.0,
            issued_at_ms: times.1,
            retry_after_ms: times.2,
            gate: Gate { origin, version: gate_version },
            pep: Pep { enforces: lists.0, id: pep },
            risk_tags: lists.1,
            mode: if rest.0 { Mode::Enforce } else { Mode::Monitor },
            nonce: rest.1,
            prev: rest.2,
            shadow: None,
            snapshot: Snapshot { digest, version },
        }
    }
}

prop_compose! {
    fn outcomes()(
        agent in agent(),
        ints in [int(), int(), int(), int()],
        started_at_ms in option::of(int()),
        cost in option::of(map("-?[0-9]{1,9}(\\.[0-9]{1,9})?".prop_map(|text| Decimal::parse(&text).unwrap()))),
        digests in [digest(), digest()],
        optional in (option::of(digest()), option::of(digest()), option::of(session()), option::of(text())),
        names in [text(), text(), text()],
        status in prop::sample::select(vec![
            Status::Succeeded, Status::Failed, Status::TimedOut, Status::Cancelled, Status::NotRun, Status::Unknown,
        ]),
    ) -> Outcome {
        let [attempts, index, finished_at_ms, issued_at_ms] = ints;
        let [payload_sha256, effects_digest] = digests;
        let (prev, result_commitment, session, detail) = optional;
        let [origin, version, tenant] = names;
        Outcome {
            agent, attempts, cost, detail, effects_digest, finished_at_ms, issued_at_ms, prev, result_commitment, session,
            started_at_ms, status, tenant,
            decision_receipt: DecisionRef { index, payload_sha256 },
            gate: Gate { origin, version },
        }
    }
}

prop_compose! {
    fn admins()(
        names in [text(), text(), text(), text()], details in map(text()), effects_digest in digest(), issued_at_ms in int(),
    ) -> Admin {
        let [actor, operation, origin, version] = names;
        Admin { actor, details, effects_digest, gate: Gate { origin, version }, issued_at_ms, operation }
    }
}

/// Boxed, here and above, because unoptimised strategies of this size overflow a test thread's stack.
fn statements() -> impl Strategy<Value = Statement> {
    prop_oneof![
        (decisions(), digest()).prop_map(|(decision, digest)| Statement::decision(decision, digest)).boxed(),
        outcomes().prop_map(Statement::outcome).boxed(),
        admins().prop_map(Statement::admin).boxed(),
    ]
}

proptest! {
    #[test]
    fn payload_is_canonical(statement in statements()) {
        let payload = statement.to_payload().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        prop_assert_eq!(&serde_json_canonicalizer::to_vec(&value).unwrap(), &payload);
    }

    #[test]
    fn payload_round_trips(statement in statements()) {
        let payload = statement.to_payload().unwrap();
        prop_assert_eq!(Statement::parse(&payload).unwrap(), statement);
    }

    #[test]
    fn parsed_bytes_are_the_only_spelling(
        statement in statements(), at in any::<prop::sample::Index>(), byte in any::<u8>(), insert in any::<bool>(),
    ) {
        let mut payload = statement.to_payload().unwrap();
        let position = at.index(payload.len());
        if insert { payload.insert(position, byte) } else { payload[position] = byte }
        if let Ok(parsed) = Statement::parse(&payload) {
            prop_assert_eq!(parsed.to_payload().unwrap(), payload);
        }
    }
}

/// Replaces a piece of the golden decision's payload and parses the result.
fn parse_with(from: &str, to: &str) -> Result<Statement, ParseError> {
    let payload = String::from_utf8(golden_log().payloads[4].clone()).unwrap();
    assert!(payload.contains(from), "`{from}` is not in {payload}");
    Statement::parse(payload.replacen(from, to, 1).as_bytes())
}

#[test]
fn non_canonical_payload_is_refused() {
    assert!(parse_with("{", "{").is_ok());
    for (from, to) in [
        (r#""mode":"monitor""#, r#""mode": "monitor""#),
        (r#""mode":"monitor""#, r#""mode":"\u006donitor""#),
        (r#""environment":"prod""#, r#""environment":null"#),
        (r#""max_runtime_ms":60000"#, r#""max_runtime_ms":60000,"max_runtime_ms":60000"#),
        (
            r#""hosts":["api.stripe.com"],"max_amount":"50.00""#,
            r#""max_amount":"50.00","hosts":["api.stripe.com"]"#,
        ),
        (r#""id":"mcp""#, r#""id":"mcp" "#),
    ] {
        assert_eq!(parse_with(from, to), Err(ParseError::NotCanonical), "{to}");
    }
}

#[test]
fn unknown_field_is_refused() {
    for (from, to) in [
        (r#""mode":"monitor""#, r#""mode":"monitor","more":1"#),
        (r#""gate":{"#, r#""gate":{"host":"h","#),
        (r#"{"_type""#, r#"{"Extra":1,"_type""#),
        (r#""tenant":"default""#, r#""tenant":"default","tenant":"default""#),
    ] {
        assert!(matches!(parse_with(from, to), Err(ParseError::Shape(_))), "{to}");
    }
}

#[test]
fn findings_are_answers_or_failures() {
    let with = |fields: &str| {
        let rest = format!(r#""question_commitment":"{}","rule":"r"}}],"gate""#, "0".repeat(64));
        parse_with(r#""gate""#, &format!(r#""findings":[{{{fields},{rest}"#))
    };
    let (answer, failure) = (r#""answer":"complies""#, r#""failure":"timeout""#);
    let (sure, kind, model) = (r#""confidence":"0.9""#, r#""kind":"judge","latency_ms":5"#, r#""model":"m""#);
    let cached = r#""cached":false"#;
    assert!(with(&[answer, cached, sure, kind, model].join(",")).is_ok());
    assert!(with(&[cached, failure, kind].join(",")).is_ok());
    for neither in [
        [cached, kind].join(","),
        [answer, cached, sure, failure, kind, model].join(","),
        [answer, cached, kind, model].join(","),
        [answer, cached, sure, kind].join(","),
        [cached, failure, kind, model].join(","),
    ] {
        assert_eq!(with(&neither).err(), Some(ParseError::Finding), "{neither}");
    }
    for other in [
        [r#""answer":"allowed""#, cached, sure, kind, model],
        [answer, cached, r#""confidence":0.9"#, kind, model],
    ] {
        assert!(matches!(with(&other.join(",")), Err(ParseError::Shape(_))), "{other:?}");
    }
    assert_eq!(parse_with(r#""gate""#, r#""findings":[],"gate""#).err(), Some(ParseError::NotCanonical));
}

#[test]
fn number_that_others_would_round_is_refused() {
    let runtime =
        |number: &str| parse_with(r#""max_runtime_ms":60000"#, &format!(r#""max_runtime_ms":{number}"#));
    assert!(runtime("9007199254740991").is_ok() && runtime("-9007199254740991").is_ok());
    for number in
        ["9007199254740992", "-9007199254740992", "1.5", "6e4", "60000.0", "-0", "18446744073709551615"]
    {
        assert!(runtime(number).is_err(), "{number}");
    }
    assert!(SafeInt::try_from(9_007_199_254_740_992_u64).is_err());
    assert!(SafeInt::try_from(i64::MIN).is_err());
}

#[test]
fn subject_must_match_the_predicate() {
    assert_eq!(
        parse_with(r#""name":"action:stripe.refund""#, r#""name":"action:stripe.read""#),
        Err(ParseError::Subject)
    );
    let mut payload = String::from_utf8(Statement::admin(admin("key.create")).to_payload().unwrap()).unwrap();
    let end = payload.rfind(&sha256(b"").to_hex()).unwrap();
    payload.replace_range(end..end + 1, "f");
    assert_eq!(Statement::parse(payload.as_bytes()), Err(ParseError::Subject));
}

#[test]
fn other_types_are_refused() {
    let other = parse_with("urn:callgate:decision:v1", "urn:callgate:decision:v2");
    assert!(matches!(other, Err(ParseError::PredicateType(_))));
    assert!(matches!(parse_with("Statement/v1", "Statement/v0.1"), Err(ParseError::Type(_))));
    assert!(matches!(
        parse_with("urn:callgate:decision:v1", "urn:callgate:outcome:v1"),
        Err(ParseError::Shape(_))
    ));
    assert!(parse_with(r#""decision":"ALLOW_WITH_CONSTRAINTS""#, r#""decision":"MAYBE""#).is_err());
}

#[test]
fn oversize_payload_is_refused_when_written_and_read() {
    let long =
        |bytes: usize| Decision { nonce: Some("x".repeat(bytes)), ..decision(DecisionKind::Allow, None) };
    let payload = |bytes| Statement::decision(long(bytes), sha256(b"")).to_payload();
    let rest = payload(0).unwrap().len();
    assert_eq!(payload(MAX_PAYLOAD - rest).unwrap().len(), MAX_PAYLOAD);
    assert_eq!(payload(MAX_PAYLOAD - rest + 1), Err(EncodeError::TooLarge(MAX_PAYLOAD + 1)));
    assert_eq!(Statement::parse(&vec![b' '; MAX_PAYLOAD + 1]), Err(ParseError::TooLarge(MAX_PAYLOAD + 1)));
}

#[test]
fn keys_sort_by_utf16_as_rfc_8785_demands() {
    // U+10000 is below U+E000 in UTF-16 and above it in UTF-8.
    let details: Map<String> =
        [("\u{e000}", String::new()), ("\u{10000}", String::new())].into_iter().collect();
    let names: Vec<&str> = details.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["\u{10000}", "\u{e000}"]);
}

#[test]
fn action_is_named_after_what_there_is() {
    let name = |change: &dyn Fn(&mut Action)| {
        let mut decision = decision(DecisionKind::Deny, None);
        decision.action.server = None;
        decision.action.tool = None;
        change(&mut decision.action);
        let statement = Statement::decision(decision, sha256(b""));
        assert!(matches!(statement.body(), Body::Decision(_)));
        statement.subject_name()
    };
    assert_eq!(name(&|a| (a.server, a.tool) = (Some("s".to_owned()), Some("t".to_owned()))), "action:s.t");
    assert_eq!(name(&|a| a.tool = Some("t".to_owned())), "action:t");
    assert_eq!(
        name(&|a| (a.topic, a.function) = (Some("job.x".to_owned()), Some("f".to_owned()))),
        "action:job.x"
    );
    assert_eq!(name(&|a| a.function = Some("f".to_owned())), "action:f");
    assert_eq!(name(&|_| {}), "action:unknown");
}

#[test]
fn amounts_are_decimals() {
    for good in ["0", "-1", "0.02", "12.50", "0001"] {
        assert!(Decimal::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "-", ".5", "5.", "1e3", "+1", "1,5", "NaN", "1.2.3", "٣", &"1".repeat(41)] {
        assert!(Decimal::parse(bad).is_err(), "{bad}");
    }
}
