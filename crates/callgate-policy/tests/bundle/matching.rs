//! The matching table of `docs/bundle.md`, row by row.

use crate::support::{answer, rules, snapshot};

/// Checks the decision of one rule, with `rest` as its match, scope or condition, on requests.
fn rule(decision: &str, rest: &str, cases: &[(&str, bool)]) {
    let extra = match decision {
        "allow_with_constraints" => ", constraints: {max_retries: 1}",
        _ => "",
    };
    let snapshot = rules(&format!("version: v1\nrules: [{{id: it, decision: {decision}, {rest}{extra}}}]\n"));
    for (request, speaks) in cases {
        let pep = r#""pep":{"id":"p","enforces":["max_retries"]}"#;
        let text = format!(r#"{{"agent":{{"id":"bot"}},{pep},{request}}}"#);
        let found = answer(&snapshot, &text);
        assert_eq!(found.ends_with(" it"), *speaks, "{decision} {rest} on {request}: {found}");
    }
}

const TOOL: &str = r#""tool":{"server":"db","name":"drop"}"#;
const ALIKE: &str = r#""tool":{"server":"db","name":"ＤR0P"}"#;

#[test]
fn look_alikes_are_restricted_and_never_permitted() {
    rule("deny", "match: {tools: [db.drop]}", &[(TOOL, true), (ALIKE, true)]);
    rule(
        "require_approval",
        "match: {tools: ['db.*']}",
        &[(TOOL, true), (r#""tool":{"server":"DB","name":"x"}"#, true)],
    );
    rule("allow", "match: {tools: [db.drop]}", &[(TOOL, true), (ALIKE, false)]);
    rule("allow", "scope: {agents: [Bot]}", &[(TOOL, false)]);
    rule("deny", "scope: {agents: [Bot]}", &[(TOOL, true)]);
}

#[test]
fn an_environment_that_is_not_said_may_be_any() {
    let prod = r#""tool":{"name":"t"},"environment":"prod""#;
    let test = r#""tool":{"name":"t"},"environment":"test""#;
    let unsaid = r#""tool":{"name":"t"}"#;
    for restricts in ["deny", "require_approval", "throttle"] {
        rule(restricts, "scope: {environments: [prod]}", &[(prod, true), (test, false), (unsaid, true)]);
    }
    rule("allow", "scope: {environments: [prod]}", &[(prod, true), (test, false), (unsaid, false)]);
}

#[test]
fn an_action_type_that_is_not_said_may_be_any_where_there_is_a_function() {
    let said = r#""session":{"function":"f","action_type":"WRITE"}"#;
    let unsaid = r#""session":{"function":"f"}"#;
    let tool = r#""tool":{"name":"t"}"#;
    rule("deny", "match: {action_types: [WRITE]}", &[(said, true), (unsaid, true), (tool, false)]);
    rule("allow", "match: {action_types: [WRITE]}", &[(said, true), (unsaid, false), (tool, false)]);
}

#[test]
fn what_is_not_called_is_not_matched() {
    for (field, own, other) in [
        ("tools: ['**']", r#""tool":{"name":"t"}"#, r#""topic":"t""#),
        ("topics: ['**']", r#""topic":"t""#, r#""tool":{"name":"t"}"#),
        ("functions: ['**']", r#""session":{"function":"f"}"#, r#""topic":"t""#),
    ] {
        for decision in ["deny", "allow", "throttle"] {
            rule(decision, &format!("match: {{{field}}}"), &[(own, true), (other, false)]);
        }
    }
}

#[test]
fn tags_are_all_or_as_written() {
    let tags = |tags: &str| format!(r#""topic":"t","risk_tags":{tags}"#);
    let (none, a, both, alike) = (tags("[]"), tags(r#"["a"]"#), tags(r#"["a","b"]"#), tags(r#"["A","b"]"#));
    let row = |decision: &str, rest: &str, expected: [bool; 4]| {
        let requests = [&none, &a, &both, &alike];
        let cases: Vec<_> = requests.into_iter().map(String::as_str).zip(expected).collect();
        rule(decision, &format!("match: {{topics: [t], risk_tags: {rest}}}"), &cases);
    };
    row("allow", "[]", [true, true, true, true]);
    row("allow", "[a, b]", [false, false, true, false]);
    row("deny", "[a, b]", [false, false, true, true]);
    row("allow", "{any: [a, b]}", [false, true, true, true]);
    row("allow", "{none: [a]}", [true, false, false, false]);
    row("deny", "{none: [a]}", [true, false, false, true]);
    row("allow", "{all: [b], none: [a]}", [false, false, false, false]);
}

#[test]
fn labels_are_compared_with_their_values() {
    let label = |value: &str| format!(r#""topic":"t","labels":{{"mcp.server":"{value}"}}"#);
    let (jira, alike, other, absent) =
        (label("jira"), label("JIRA"), label("slack"), r#""topic":"t""#.to_owned());
    let row = |decision: &str, rest: &str, expected: [bool; 4]| {
        let requests = [&jira, &alike, &other, &absent];
        let cases: Vec<_> = requests.into_iter().map(String::as_str).zip(expected).collect();
        rule(decision, &format!("match: {{labels: {{mcp.server: {rest}}}}}"), &cases);
    };
    row("allow", "jira", [true, false, false, false]);
    row("deny", "jira", [true, true, false, false]);
    row("allow", "['j*', slack]", [true, false, true, false]);
    row("deny", "'**'", [true, true, true, false]);
}

/// A tool of the catalogue that is not tagged `read`.
const CATALOGUE: &str = r#"{"tools":[{"name":"wipe","annotations":{"readOnlyHint":false,"destructiveHint":true}},
    {"name":"look","annotations":{"readOnlyHint":true,"destructiveHint":true}}]}"#;

fn with_catalogue(text: &str) -> callgate_core::snapshot::Snapshot {
    let text = format!("version: v1\nrules:\n{text}");
    snapshot(&crate::support::bundle(&[("rules/r.yaml", &text), ("tools/disk.json", CATALOGUE)]))
}

#[test]
fn a_tag_that_permits_a_known_tool_comes_from_the_catalogue() {
    let snapshot = with_catalogue("  - {id: it, match: {risk_tags: [read]}, decision: allow}\n");
    let ask = |name: &str, tags: &str| {
        let tool = format!(r#""tool":{{"server":"disk","name":"{name}"}}"#);
        answer(&snapshot, &format!(r#"{{"agent":{{"id":"a"}},{tool},"risk_tags":{tags}}}"#))
    };
    assert_eq!(ask("look", "[]"), "ALLOW it");
    assert_eq!(ask("wipe", r#"["read"]"#), "DENY NO_POLICY_MATCH");
    assert_eq!(ask("l00k", r#"["read"]"#), "DENY NO_POLICY_MATCH");
    assert_eq!(ask("unknown", r#"["read"]"#), "DENY NO_POLICY_MATCH");
    let elsewhere = r#"{"agent":{"id":"a"},"tool":{"server":"tape","name":"look"},"risk_tags":["read"]}"#;
    assert_eq!(answer(&snapshot, elsewhere), "ALLOW it");
}

#[test]
fn a_tag_that_lifts_a_restriction_comes_from_the_catalogue() {
    let snapshot = with_catalogue(
        "  - {id: any, match: {tools: ['disk.*']}, decision: allow}
  - {id: it, match: {tools: ['disk.*'], risk_tags: {none: [read]}}, decision: deny}
",
    );
    let ask = |name: &str, tags: &str| {
        let tool = format!(r#""tool":{{"server":"disk","name":"{name}"}}"#);
        answer(&snapshot, &format!(r#"{{"agent":{{"id":"a"}},{tool},"risk_tags":{tags}}}"#))
    };
    assert_eq!(ask("look", "[]"), "ALLOW any");
    assert_eq!(ask("wipe", r#"["read"]"#), "DENY DENIED_BY_RULE it");
}

#[test]
fn constraints_hold_for_what_only_resembles_their_rule() {
    let snapshot = rules(
        "version: v1
rules:
  - {id: open, match: {tools: ['db.*']}, decision: allow}
  - {id: bound, scope: {environments: [prod]}, match: {tools: [db.query]}, decision: allow_with_constraints, constraints: {max_rows: 5}}
",
    );
    let ask = |tool: &str, rest: &str| {
        let tool = format!(r#""tool":{{"server":"db","name":"{tool}"}}"#);
        let pep = r#""pep":{"id":"p","enforces":["max_rows"]}"#;
        crate::support::ask(&snapshot, &format!(r#"{{"agent":{{"id":"a"}},{tool},{pep}{rest}}}"#)).settled
    };
    let rows = |settled: &callgate_core::settle::Settled| {
        settled.constraints.number(callgate_core::constraint::Kind::MaxRows)
    };
    let (prod, test) = (r#","environment":"prod""#, r#","environment":"test""#);
    for (tool, rest, expected) in
        [("query", prod, Some(5)), ("query", test, None), ("query", "", Some(5)), ("QUERY", prod, Some(5))]
    {
        let settled = ask(tool, rest);
        assert!(settled.decision.permits(), "{tool} {rest}");
        assert_eq!(rows(&settled), expected, "{tool} {rest}");
    }
}

#[test]
fn leaving_the_environment_out_does_not_choose_the_lenient_reviewer() {
    let snapshot = rules(
        "version: v1
rules:
  - {id: strict, match: {tools: [pay]}, decision: require_approval, approval: {reviewers: [finance], quorum: 2}}
  - {id: lenient, priority: 9, scope: {environments: [test]}, match: {tools: [pay]}, decision: require_approval}
",
    );
    let ask =
        |rest: &str| answer(&snapshot, &format!(r#"{{"agent":{{"id":"a"}},"tool":{{"name":"pay"}}{rest}}}"#));
    assert_eq!(ask(r#","environment":"prod""#), "REQUIRE_APPROVAL strict");
    assert_eq!(ask(r#","environment":"test""#), "REQUIRE_APPROVAL lenient");
    assert_eq!(ask(""), "DENY POLICY_ERROR lenient");
}

#[test]
fn the_worked_table_of_combining_is_right() {
    let cases = [
        (
            "{id: a, match: {tools: ['x.*']}, decision: allow}",
            "{id: b, match: {tools: [x.y]}, decision: throttle}",
            "THROTTLE b",
        ),
        (
            "{id: a, match: {tools: [x.y]}, decision: allow}",
            "{id: b, match: {tools: ['x.*']}, decision: require_approval}",
            "ALLOW a",
        ),
        (
            "{id: a, match: {tools: [x.y]}, decision: allow}",
            "{id: b, match: {tools: [x.y]}, when: 'true || args.x', decision: throttle}",
            "THROTTLE b",
        ),
        (
            "{id: a, match: {tools: [x.y]}, decision: allow}",
            "{id: b, priority: 1, match: {tools: ['**']}, decision: require_approval}",
            "REQUIRE_APPROVAL b",
        ),
        (
            "{id: a, priority: 9, match: {tools: [x.y]}, decision: allow}",
            "{id: b, match: {tools: ['**']}, when: 'size(risk_tags) == 0', decision: deny}",
            "DENY DENIED_BY_RULE b",
        ),
        (
            "{id: a, match: {tools: [x.y]}, decision: throttle, throttle: {retry_after: 5s}}",
            "{id: b, scope: {agents: [bot]}, match: {tools: [x.y]}, decision: allow}",
            "ALLOW b",
        ),
    ];
    for (a, b, expected) in cases {
        let both = [
            format!("version: v1\nrules:\n  - {a}\n  - {b}\n"),
            format!("version: v1\nrules:\n  - {b}\n  - {a}\n"),
        ];
        for text in both {
            let found = answer(&rules(&text), r#"{"agent":{"id":"bot"},"tool":{"server":"x","name":"y"}}"#);
            assert_eq!(found, expected, "{text}");
        }
    }
}

#[test]
fn an_invariant_is_not_outranked() {
    let snapshot = snapshot(&crate::support::bundle(&[
        (
            "rules/a.yaml",
            "version: v1\nrules: [{id: a, priority: 100, match: {tools: [x.y]}, decision: allow}]",
        ),
        (
            "rules/i.yaml",
            "version: v1\ninvariants: true\nrules: [{id: i, match: {tools: ['**']}, decision: require_approval}]",
        ),
    ]));
    let found = answer(&snapshot, r#"{"agent":{"id":"a"},"tool":{"server":"x","name":"y"}}"#);
    assert_eq!(found, "REQUIRE_APPROVAL i");
}

#[test]
fn a_condition_sees_the_whole_request() {
    let condition = "agent.id == 'bot' && agent.chain == ['planner'] && !has(agent.team) && tenant == 'default' \
        && session.id == 's' && tool.server == 'x' && tool.name == 'y' && args.n == 1.5 && topic == 't' \
        && 'r' in risk_tags && labels.k == 'v' && environment == 'prod' && cost.usd < dec('0.03') \
        && confidence >= 0.8 && now == timestamp('2023-11-14T22:13:20Z') && has(request.topic)";
    let text =
        format!("version: v1\nrules:\n  - id: it\n    when: >-\n      {condition}\n    decision: allow\n");
    let full = r#"{"agent":{"id":"bot","chain":["planner"]},"session":{"id":"s"},"tool":{"server":"x","name":"y"},
        "args":{"n":1.5},"topic":"t","risk_tags":["r"],"labels":{"k":"v"},"environment":"prod",
        "cost":{"usd":"0.02"},"confidence":0.82}"#;
    assert_eq!(answer(&rules(&text), full), "ALLOW it");
    let without = full.replace(r#""environment":"prod","#, "");
    assert_eq!(answer(&rules(&text), &without), "DENY POLICY_ERROR it");
    let absent =
        rules("version: v1\nrules: [{id: it, when: '!has(request.environment)', decision: throttle}]");
    assert_eq!(answer(&absent, &without), "THROTTLE it");
    assert_eq!(answer(&absent, full), "DENY NO_POLICY_MATCH");
}
