//! What `check` says of Cedar policies.

use callgate_policy::{cedar_schema, check};

use crate::support::bundle;
use crate::with_tools;

/// The codes and messages on a bundle of that file.
fn report(policies: &str) -> String {
    let report = check(&with_tools(policies));
    report
        .diagnostics()
        .iter()
        .map(|it| format!("{} {} | {}\n", it.code, it.message, it.help.clone().unwrap_or_default()))
        .collect()
}

fn has(policies: &str, parts: &[&str]) {
    let report = report(policies);
    for part in parts {
        assert!(report.contains(part), "{policies}\n{report}");
    }
}

#[test]
fn validation_is_strict() {
    let refund = |condition: &str| {
        format!("permit(principal, action == Action::\"shop.refund\", resource) when {{ {condition} }};")
    };
    has(&refund("context.args.amont == decimal(\"1.0\")"), &["CG0703", "amont", "amount"]);
    has(&refund("context.args.amount > 5"), &["CG0703", "unexpected type"]);
    has(&refund("context.args.units > 5"), &["CG0703", "units"]);
    has(&refund("context.args.either == \"x\""), &["CG0703", "`args.either` has no Cedar type"]);
    has(&refund("context.args.amount == \"5\""), &["CG0703"]);
    has(
        "permit(principal, action == Action::\"shop.refnd\", resource);",
        &["CG0703", "shop.refnd", "shop.refund"],
    );
    has("permit(principal == User::\"x\", action == Action::\"shop.look\", resource);", &["CG0703"]);
    has("permit(principal, action == Action::\"shop.look\", resource == Topic::\"x\");", &["CG0703"]);
    has(
        "permit(principal == Agent::\"x\", action, resource) when { context.args.customer == \"c\" };",
        &["CG0703"],
    );
    has(&refund("1 == 2"), &["CG0303", "can never be satisfied"]);
    has(&refund("context.args.customer == \"a\u{430}\""), &["CG0704"]);
    has("permit(principal, action in Action::\"tag:nope\", resource);", &["CG0703", "tag:nope"]);
    assert_eq!(
        report(
            "permit(principal, action in [Action::\"tag:write\", Action::\"shop.look\"], resource) when { context.args has customer && context.args.customer == \"c\" };"
        ),
        ""
    );
    assert_eq!(report("forbid(principal, action, resource) when { action == Action::\"db.query\" && context.args.limit > 5 };").matches("CG0703").count(), 1);
}

#[test]
fn a_bundle_without_tools_is_told_what_it_lacks() {
    let report = |policies: &str| check(&bundle(&[("policies/p.cedar", policies)])).to_string();
    let found = report("permit(principal, action == Action::\"shop.refund\", resource);");
    assert!(found.contains("CG0703") && found.contains("add `tools/<server>.json`"), "{found}");
    let found = report("permit(principal == Agent::\"a\", action, resource);");
    assert!(found.contains("CG0704") && found.contains("resource == Tool"), "{found}");
    let found = report("permit(principal == Agent::\"a\", action, resource == Tool::\"shop.refund\");");
    assert!(found.starts_with("0 errors, 0 warnings"), "{found}");
}

#[test]
fn annotations_are_read_as_rules_are() {
    let with = |annotations: &str, effect: &str| {
        format!("{annotations} {effect}(principal == Agent::\"a\", action, resource);")
    };
    has(&with("@decison(\"deny\")", "forbid"), &["CG0705", "did you mean `@decision`"]);
    has(&with("@decision(\"denny\")", "forbid"), &["CG0705", "did you mean `deny`"]);
    has(&with("@decision(\"deny\")", "permit"), &["CG0705", "write `forbid`"]);
    has(&with("@decision(\"allow\")", "forbid"), &["CG0705", "write `permit`"]);
    has(&with("@constraint(\"max_runtime: 5\")", "permit"), &["CG0705", "did you mean"]);
    has(&with("@constraint(\"max_runtime_sec: 5\")", "forbid"), &["CG0705", "says nothing beside"]);
    has(&with("@approval(\"quorum: 1\")", "permit"), &["CG0705", "require_approval"]);
    has(&with("@decision(\"require_approval\") @approval(\"quorum: none\")", "permit"), &["CG0705"]);
    has(&with("@retry_after(\"30\") @decision(\"throttle\")", "permit"), &["CG0705", "not a duration"]);
    has(&with("@decision(\"allow_with_constraints\")", "permit"), &["CG0705", "needs constraints"]);
    has(&with("@priority(\"high\")", "permit"), &["CG0705"]);
    has(&with("@id(\"\")", "permit"), &["CG0705"]);
    has(&with("@constraint(\"a: 1}, {b: 2\")", "permit"), &["CG0705"]);
    has(&format!("{}{}", with("@id(\"x\")", "permit"), with("@id(\"x\")", "forbid")), &["CG0301"]);
}

#[test]
fn what_permits_everything_must_be_meant() {
    has("permit(principal, action, resource);", &["CG0306", "principal is Agent"]);
    has("forbid(principal, action, resource);", &["CG0309"]);
    assert_eq!(report("permit(principal is Agent, action, resource);"), "");
}

#[test]
fn templates_and_syntax_are_refused() {
    has("permit(principal == ?principal, action, resource);", &["CG0702", "template"]);
    has("permit(principal, action, resource)", &["CG0701"]);
    has("permit(principal, action, resource) when { a b };", &["CG0701"]);
    has("// nothing\n", &["CG0106"]);
}

#[test]
fn the_schema_can_be_shown() {
    let schema = cedar_schema(&with_tools(""));
    for part in [
        "action \"shop.refund\" in [\"server:shop\", \"tag:write\"]",
        "\"amount\": decimal, \"customer\": String",
        "\"items\"?: Set<String>",
        "\"to\"?: {\"city\": String}",
        "// without a Cedar type: args.either",
        "action \"unlisted-tool\"",
    ] {
        assert!(schema.contains(part), "{part}\n{schema}");
    }
}

#[test]
fn a_tool_cannot_take_the_name_of_a_group() {
    let tools = r#"{"server": "tag:a", "tools": [{"name": "b"}]}"#;
    let report = check(&bundle(&[
        ("tools/t.json", tools),
        ("policies/p.cedar", "permit(principal == Agent::\"a\", action, resource);"),
    ]));
    assert!(report.to_string().contains("CG0707"), "{report}");
}
