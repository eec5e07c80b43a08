//! What policies answer.

use callgate_core::rule::Stage;

use crate::support::{answer, ask, bundle, snapshot};
use crate::{asked, policies, refund};

const PERMIT: &str = r#"@id("ok") permit(principal, action == Action::"shop.refund", resource);"#;

/// A policy beside one that permits refunds.
fn beside_a_permit(policy: &str) -> callgate_core::snapshot::Snapshot {
    policies(&format!("{PERMIT}\n@id(\"it\")\n{policy}"))
}

fn refund_under(policy: &str, amount: &str, rest: &str) -> String {
    asked(&beside_a_permit(policy), &refund(amount, rest))
}

#[test]
fn all_five_decisions() {
    let of = |annotations: &str, effect: &str| {
        refund_under(
            &format!("{annotations} {effect}(principal, action == Action::\"shop.refund\", resource);"),
            "5",
            "",
        )
    };
    assert_eq!(of("", "forbid"), "DENY DENIED_BY_RULE it");
    assert_eq!(of(r#"@decision("require_approval")"#, "forbid"), "REQUIRE_APPROVAL it");
    assert_eq!(of(r#"@decision("throttle") @retry_after("30s")"#, "forbid"), "THROTTLE it");
    assert_eq!(of(r#"@decision("require_approval")"#, "permit"), "REQUIRE_APPROVAL it");
    assert_eq!(
        of(r#"@constraint("max_runtime_sec: 60, redact: [email]")"#, "permit"),
        "ALLOW_WITH_CONSTRAINTS it"
    );
    assert_eq!(asked(&policies(PERMIT), &refund("5", "")), "ALLOW ok");
    assert_eq!(asked(&policies(PERMIT), r#""tool":{"server":"shop","name":"look"}"#), "DENY NO_POLICY_MATCH");
}

#[test]
fn what_annotations_say_reaches_the_decision() {
    let snapshot = policies(
        r#"@id("big-refunds") @reason("It's a lot: ask") @decision("require_approval") @priority("7")
           @approval("reviewers: [role:finance, role:boss], quorum: 2, expires: 10m")
           @constraint("max_runtime_sec: 60") @control("soc2/cc6.1, eu-ai-act/14")
           permit(principal in Team::"support", action == Action::"shop.refund", resource)
           when { context.args.amount.greaterThan(decimal("50.0")) };"#,
    );
    let request = format!(
        r#"{{"agent":{{"id":"bot","team":"support"}},"pep":{{"id":"p","enforces":["max_runtime_ms"]}},{}}}"#,
        refund("75.5", "")
    );
    let decided = ask(&snapshot, &request);
    let rule = decided.matched().unwrap();
    assert_eq!((rule.module, rule.priority, rule.invariant), ("cedar", 7, false));
    assert_eq!(rule.source.to_string(), "policies/p.cedar:1:1");
    assert_eq!(rule.reason.as_deref(), Some("It's a lot: ask"));
    assert_eq!(rule.controls, ["soc2/cc6.1", "eu-ai-act/14"]);
    let terms = decided.settled.approval.unwrap();
    assert_eq!(terms.stages, [Stage::of(["role:boss".to_owned(), "role:finance".to_owned()], 2)]);
    assert_eq!(terms.expires_ms, 600_000);
    assert_eq!(decided.settled.constraints.kinds().count(), 1);
}

#[test]
fn a_policy_without_an_id_has_its_place() {
    let snapshot = policies(
        "permit(principal == Agent::\"x\", action, resource);\n\npermit(principal == Agent::\"bot\", action, resource);",
    );
    assert_eq!(asked(&snapshot, &refund("5", "")), "ALLOW p.cedar#2");
}

#[test]
fn nothing_outranks_a_forbid() {
    let snapshot = policies(
        r#"@id("ok") @priority("1000") permit(principal == Agent::"bot", action == Action::"shop.refund", resource);
           @id("ask") @decision("require_approval") forbid(principal, action, resource) when { context.environment == "prod" };"#,
    );
    assert_eq!(asked(&snapshot, &refund("5", r#","environment":"prod""#)), "REQUIRE_APPROVAL ask");
    assert_eq!(asked(&snapshot, &refund("5", r#","environment":"test""#)), "ALLOW ok");
}

#[test]
fn arguments_are_typed_and_exact() {
    let over = r#"forbid(principal, action == Action::"shop.refund", resource) when { context.args.amount.greaterThan(decimal("50.0")) };"#;
    assert_eq!(refund_under(over, "50.0001", ""), "DENY DENIED_BY_RULE it");
    assert_eq!(refund_under(over, "50", ""), "ALLOW ok");
    // A forbid that cannot be evaluated denies: wrong type, too many places, too large, missing.
    for amount in ["\"75\"", "0.00001", "1e18", "null", "[75]"] {
        assert_eq!(refund_under(over, amount, ""), "DENY POLICY_ERROR", "{amount}");
    }
    let missing = r#""tool":{"server":"shop","name":"refund"},"args":{"customer":"c"}"#;
    assert_eq!(asked(&beside_a_permit(over), missing), "DENY POLICY_ERROR");
    // What cannot be carried does not matter to a policy that does not read it.
    assert_eq!(
        refund_under(
            "forbid(principal, action == Action::\"shop.refund\", resource) when { context.args.customer like \"vip*\" };",
            "1e18",
            ""
        ),
        "ALLOW ok"
    );
    let parts = [
        (r#"context.args has units && context.args.units > 3"#, r#""units":4"#, r#""units":3"#),
        (r#"context.args has rush && context.args.rush"#, r#""rush":true"#, r#""rush":false"#),
        (
            r#"context.args has items && context.args.items.contains("gun")"#,
            r#""items":["pen","gun"]"#,
            r#""items":["pen"]"#,
        ),
        (
            r#"context.args has to && context.args.to.city == "Oz""#,
            r#""to":{"city":"Oz"}"#,
            r#""to":{"city":"Ur"}"#,
        ),
    ];
    for (condition, hit, miss) in parts {
        let snapshot = beside_a_permit(&format!(
            "forbid(principal, action == Action::\"shop.refund\", resource) when {{ {condition} }};"
        ));
        let with = |arg: &str| {
            format!(
                r#""tool":{{"server":"shop","name":"refund"}},"args":{{"amount":1,"customer":"c",{arg}}}"#
            )
        };
        assert_eq!(asked(&snapshot, &with(hit)), "DENY DENIED_BY_RULE it", "{condition}");
        assert_eq!(asked(&snapshot, &with(miss)), "ALLOW ok", "{condition}");
    }
}

#[test]
fn a_permit_that_cannot_be_evaluated_does_not_permit() {
    let snapshot = policies(
        r#"permit(principal, action == Action::"shop.refund", resource) when { context.args.amount.lessThan(decimal("50.0")) };"#,
    );
    assert_eq!(asked(&snapshot, &refund("49", "")), "ALLOW p.cedar#1");
    assert_eq!(asked(&snapshot, &refund("\"49\"", "")), "DENY POLICY_ERROR");
    assert_eq!(asked(&snapshot, &refund("0.00001", "")), "DENY POLICY_ERROR");
    // One whose decision restricts still restricts.
    let snapshot = beside_a_permit(
        r#"@decision("require_approval") permit(principal, action == Action::"shop.refund", resource) when { context.args.amount.lessThan(decimal("50.0")) };"#,
    );
    assert_eq!(asked(&snapshot, &refund("\"49\"", "")), "DENY POLICY_ERROR");
}

#[test]
fn every_part_of_a_request_can_be_read() {
    let request = r#"{"agent":{"id":"bot","team":"support","chain":["planner"],"on_behalf_of":"user:ana"},"tenant":"acme",
        "session":{"id":"s1","step":"go","function":"run","action_type":"WRITE"},
        "tool":{"server":"shop","name":"refund"},"args":{"amount":5,"customer":"c"},"topic":"job.x",
        "risk_tags":["fast"],"labels":{"mcp.server":"jira"},"environment":"prod",
        "cost":{"usd":"0.02"},"confidence":0.82}"#;
    for condition in [
        r#"principal.id == "bot" && principal.tenant == Tenant::"acme""#,
        r#"principal in Team::"support" && principal in Tenant::"acme""#,
        r#"principal has team && principal.team == Team::"support" && principal.team in Tenant::"acme""#,
        r#"principal.chain.contains(Agent::"planner") && principal has on_behalf_of && principal.on_behalf_of == User::"user:ana""#,
        r#"context.session has id && context.session.id == "s1" && context.session has step && context.session.step == "go""#,
        r#"context.session has function && context.session.function == "run" && context.session has action_type && context.session.action_type == "WRITE""#,
        r#"context.labels.hasTag("mcp.server") && context.labels.getTag("mcp.server") == "jira" && !context.labels.hasTag("x")"#,
        r#"context.cost.hasTag("usd") && context.cost.getTag("usd") == decimal("0.02")"#,
        r#"context has confidence && context.confidence.greaterThan(decimal("0.8"))"#,
        r#"context has topic && context.topic like "job.*""#,
        r#"context.now > datetime("2023-11-14T00:00:00Z") && context.now < datetime("2023-11-15T00:00:00Z")"#,
        r#"action in Action::"tag:write" && action in Action::"server:shop" && action == Action::"shop.refund""#,
        r#"resource in Server::"shop" && resource.name == "refund" && resource has server && resource.server == "shop""#,
        r#"context.risk_tags.containsAll(["write", "fast"])"#,
    ] {
        let text = format!(
            "@id(\"it\") forbid(principal, action == Action::\"shop.refund\", resource) when {{ {condition} }};"
        );
        assert_eq!(answer(&policies(&text), request), "DENY DENIED_BY_RULE it", "{condition}");
    }
}

#[test]
fn requests_without_a_tool_have_their_own_actions() {
    let snapshot = policies(
        r#"@id("t") permit(principal, action == Action::"topic", resource == Topic::"job.read");
           @id("f") permit(principal, action == Action::"function", resource == Function::"intake");"#,
    );
    assert_eq!(asked(&snapshot, r#""topic":"job.read""#), "ALLOW t");
    assert_eq!(asked(&snapshot, r#""topic":"job.write""#), "DENY NO_POLICY_MATCH");
    assert_eq!(asked(&snapshot, r#""session":{"function":"intake"}"#), "ALLOW f");
}

#[test]
fn a_tool_that_is_not_listed_is_permitted_only_by_name() {
    let request = r#""tool":{"server":"new","name":"thing"},"args":{"x":"rm -rf /"}"#;
    assert_eq!(
        asked(&policies(r#"permit(principal is Agent, action, resource);"#), request),
        "DENY NO_POLICY_MATCH"
    );
    for policy in [
        r#"permit(principal, action, resource == Tool::"new.thing");"#,
        r#"permit(principal, action == Action::"unlisted-tool", resource in Server::"new");"#,
    ] {
        assert_eq!(asked(&policies(policy), request), "ALLOW p.cedar#1", "{policy}");
    }
    let forbid = r#"@id("no") forbid(principal, action, resource == Tool::"new.thing");
                    permit(principal, action == Action::"unlisted-tool", resource);"#;
    assert_eq!(asked(&policies(forbid), request), "DENY DENIED_BY_RULE no");
    assert_eq!(
        asked(&policies(forbid), r#""tool":{"server":"NEW","name":"ｔｈｉｎｇ"}"#),
        "DENY DENIED_BY_RULE no"
    );
    // Without a catalogue, too.
    let bare =
        snapshot(&bundle(&[("policies/p.cedar", r#"permit(principal, action, resource == Tool::"a.b");"#)]));
    assert_eq!(asked(&bare, r#""tool":{"server":"a","name":"b"}"#), "ALLOW p.cedar#1");
}

#[test]
fn look_alikes_are_restricted_and_never_permitted() {
    let forbid = |scope: &str, condition: &str| {
        policies(&format!(
            "@id(\"ok\") permit(principal is Agent, action, resource);\n@id(\"no\") forbid({scope}) when {{ {condition} }};"
        ))
    };
    let of = |agent: &str, rest: &str| {
        format!(
            r#"{{"agent":{{"id":"{agent}"}},"tool":{{"server":"db","name":"query"}},"args":{{"sql":"x"}},"environment":"dev"{rest}}}"#
        )
    };
    let all = "principal, action, resource";
    let cases = [
        (forbid("principal == Agent::\"bot\", action, resource", "true"), of("Bоt", ""), of("other", "")),
        (forbid(all, "principal == Agent::\"bot\""), of("B0T", ""), of("other", "")),
        (
            forbid(all, "context.risk_tags.contains(\"pii\")"),
            of("a", r#","risk_tags":["PII"]"#),
            of("a", r#","risk_tags":["x"]"#),
        ),
        (
            forbid(all, "context.labels.hasTag(\"data\") && context.labels.getTag(\"data\") == \"secret\""),
            of("a", r#","labels":{"DATA":"Sесret"}"#),
            of("a", r#","labels":{"data":"open"}"#),
        ),
    ];
    for (snapshot, hit, miss) in cases {
        assert_eq!(answer(&snapshot, &hit), "DENY DENIED_BY_RULE no", "{hit}");
        assert_eq!(answer(&snapshot, &miss), "ALLOW ok", "{miss}");
    }
    // A tool that looks like one of the catalogue is that for a forbid, and nothing for a permit.
    let alike = r#""tool":{"server":"SHOP","name":"refund"},"args":{"amount":60,"customer":"c"}"#;
    assert_eq!(asked(&policies(PERMIT), alike), "DENY NO_POLICY_MATCH");
    let snapshot = beside_a_permit(
        "forbid(principal, action == Action::\"shop.refund\", resource) when { context.args.amount.greaterThan(decimal(\"50.0\")) };",
    );
    assert_eq!(asked(&snapshot, alike), "DENY DENIED_BY_RULE it");
}

#[test]
fn claimed_tags_never_loosen() {
    let claimed = refund("5", r#","risk_tags":["reviewed"]"#);
    // The catalogue tags it `write`, and nothing else.
    let snapshot = policies(
        r#"permit(principal, action == Action::"shop.refund", resource) when { context.risk_tags.contains("reviewed") };"#,
    );
    assert_eq!(asked(&snapshot, &claimed), "DENY NO_POLICY_MATCH");
    let snapshot = policies(
        r#"permit(principal, action == Action::"shop.refund", resource) when { context.risk_tags.contains("write") };"#,
    );
    assert_eq!(asked(&snapshot, &claimed), "ALLOW p.cedar#1");
    let snapshot = policies(
        r#"permit(principal, action == Action::"shop.refund", resource) unless { context.risk_tags.contains("bad") };"#,
    );
    assert_eq!(asked(&snapshot, &refund("5", r#","risk_tags":["bad"]"#)), "DENY NO_POLICY_MATCH");
    let snapshot = beside_a_permit(
        r#"forbid(principal, action == Action::"shop.refund", resource) unless { context.risk_tags.contains("reviewed") };"#,
    );
    assert_eq!(asked(&snapshot, &claimed), "DENY DENIED_BY_RULE it");
    let snapshot = beside_a_permit(
        r#"forbid(principal, action == Action::"shop.refund", resource) when { context.risk_tags.contains("bad") };"#,
    );
    assert_eq!(asked(&snapshot, &refund("5", r#","risk_tags":["bad"]"#)), "DENY DENIED_BY_RULE it");
    assert_eq!(asked(&snapshot, &refund("5", "")), "ALLOW ok");
}

#[test]
fn an_environment_that_is_not_said_may_be_any() {
    for condition in [
        r#"context.environment == "prod""#,
        r#"context has environment && context.environment == "prod""#,
        r#"context.environment like "prod*""#,
        r#"["prod", "live"].contains(context.environment)"#,
    ] {
        let forbid =
            format!("forbid(principal, action == Action::\"shop.refund\", resource) when {{ {condition} }};");
        assert_eq!(
            refund_under(&forbid, "5", r#","environment":"prod""#),
            "DENY DENIED_BY_RULE it",
            "{condition}"
        );
        assert_eq!(refund_under(&forbid, "5", r#","environment":"test""#), "ALLOW ok", "{condition}");
        assert_eq!(refund_under(&forbid, "5", ""), "DENY DENIED_BY_RULE it", "{condition}");
        let both = format!(
            "forbid(principal, action == Action::\"shop.refund\", resource) when {{ {condition} && context.args.customer == \"x\" }};"
        );
        assert_eq!(refund_under(&both, "5", ""), "ALLOW ok", "{condition}");
        let unless = format!(
            "forbid(principal, action == Action::\"shop.refund\", resource) unless {{ {condition} }};"
        );
        assert_eq!(refund_under(&unless, "5", ""), "DENY DENIED_BY_RULE it", "{condition}");
        let permit = format!(
            "permit(principal, action == Action::\"shop.refund\", resource) unless {{ {condition} }};"
        );
        let answer = asked(&policies(&permit), &refund("5", ""));
        assert!(answer.starts_with("DENY") || condition.contains("has environment"), "{condition}: {answer}");
    }
    let snapshot = beside_a_permit(
        r#"forbid(principal, action == Action::"shop.refund", resource) when { context.session has action_type && context.session.action_type == "WRITE" };"#,
    );
    assert_eq!(asked(&snapshot, &refund("5", r#","session":{"function":"f"}"#)), "DENY DENIED_BY_RULE it");
    assert_eq!(
        asked(&snapshot, &refund("5", r#","session":{"function":"f","action_type":"READ"}"#)),
        "ALLOW ok"
    );
    assert_eq!(asked(&snapshot, &refund("5", "")), "ALLOW ok");
}

#[test]
fn a_constraining_permit_constrains_what_it_only_resembles() {
    let snapshot = policies(&format!(
        "{PERMIT}\n@id(\"slow\") @constraint(\"max_runtime_sec: 9\") permit(principal == Agent::\"Bot\", action == Action::\"shop.refund\", resource);"
    ));
    let text = format!(
        r#"{{"agent":{{"id":"bot"}},"pep":{{"id":"p","enforces":["max_runtime_ms"]}},{}}}"#,
        refund("5", "")
    );
    let decided = ask(&snapshot, &text);
    assert_eq!(decided.matched().map(|rule| rule.id.to_string()).as_deref(), Some("ok"));
    assert_eq!(decided.settled.constraints.kinds().count(), 1);
}

#[test]
fn errors_quote_no_argument() {
    let snapshot = beside_a_permit(
        "forbid(principal, action == Action::\"shop.refund\", resource) when { context.args has units && context.args.units + 9223372036854775807 > 5 };",
    );
    let request = r#"{"agent":{"id":"bot"},"tool":{"server":"shop","name":"refund"},"args":{"amount":1,"customer":"c","units":424242}}"#;
    let decided = ask(&snapshot, request);
    let messages: Vec<&str> = decided.settled.reasons.iter().map(|reason| reason.message.as_str()).collect();
    assert!(messages.iter().any(|message| message.contains("overflows")), "{messages:?}");
    assert!(!messages.iter().any(|message| message.contains("424242")), "{messages:?}");
}
