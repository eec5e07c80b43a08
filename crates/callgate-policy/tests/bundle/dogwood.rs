//! Policies about the past: what sessions decide, what is refused, and hostile text.

use callgate_policy::testing::run;
use callgate_policy::{Bundle, check};

use crate::support::{bundle, folder, read, root};

const TOOLS: &str = r#"{"tools": [
  {"name": "refund", "inputSchema": {"type": "object", "required": ["charge", "cents"], "properties": {
    "charge": {"type": "string"}, "cents": {"type": "integer"}, "note": {"type": "string"}}}},
  {"name": "export", "inputSchema": {"type": "object", "properties": {}}},
  {"name": "login", "inputSchema": {"type": "object", "properties": {}}},
  {"name": "logout", "inputSchema": {"type": "object", "properties": {}}}
]}"#;

const RULES: &str = "version: v1
rules:
  - {id: any, scope: {agents: ['*']}, match: {tools: ['shop.*']}, decision: allow}
";

const HEAD: &str = "version: v1
defaults: {agent: {id: bot}, session: {id: s}, tool: {server: shop, name: refund}, args: {charge: a, cents: 100}}
tests:
";

/// What differs, of one test per line.
fn differences(bundle: &Bundle) -> Vec<String> {
    let report = run(bundle, None).unwrap_or_else(|report| panic!("{report}"));
    assert!(!report.tests.is_empty());
    let failures = report.tests.iter().flat_map(|test| test.failures.iter().map(move |it| (test, it)));
    failures
        .flat_map(|(test, failure)| failure.differences.iter().map(move |one| (test, failure, one)))
        .map(|(test, failure, one)| {
            format!("{} step {:?}: {}: {}/{}", test.name, failure.step, one.field, one.expected, one.actual)
        })
        .collect()
}

fn with(policies: &str, tests: &str) -> Bundle {
    let tests = format!("{HEAD}{tests}");
    bundle(&[
        ("rules/r.yaml", RULES),
        ("tools/shop.json", TOOLS),
        ("policies/p.dogwood", policies),
        ("tests/t.yaml", &tests),
    ])
}

/// Plays one session of `steps`, each `{…}` in YAML.
fn plays(policies: &str, steps: &[&str]) {
    let list: String = steps.iter().map(|step| format!("      - {step}\n")).collect();
    let bundle = with(policies, &format!("  - name: played\n    steps:\n{list}"));
    assert_eq!(differences(&bundle), [""; 0], "{policies}");
}

fn codes(policies: &str) -> Vec<&'static str> {
    let report = check(&bundle(&[
        ("rules/r.yaml", RULES),
        ("tools/shop.json", TOOLS),
        ("policies/p.dogwood", policies),
    ]));
    report.diagnostics().iter().map(|found| found.code).collect()
}

fn clause(text: &str) -> String {
    format!("forbid (principal, action == Action::\"shop.refund\", resource) when temporal {{ {text} }};")
}

const ALLOW: &str = "expect: {decision: ALLOW}";

#[test]
fn the_office_keeps_mail_and_exports_apart() {
    let bundle = Bundle::new(folder(&root().join("examples/languages/rules")), Default::default());
    let report = check(&bundle);
    assert!(report.is_empty(), "{report}");
    assert_eq!(differences(&bundle), [""; 0]);
}

#[test]
fn three_refunds_a_day_and_denied_ones_do_not_count() {
    let policy =
        format!("@id(\"three\") {}", clause(r#"count_within(24h, Action::"shop.refund"::allowed{}) > 3"#));
    let denied = "expect: {decision: DENY, code: DENIED_BY_RULE, rule: three}";
    plays(
        &policy,
        &[
            &format!("{{at: 0s, {ALLOW}}}"),
            &format!("{{at: 1h, {ALLOW}}}"),
            &format!("{{at: 2h, {ALLOW}}}"),
            &format!("{{at: 3h, {denied}}}"),
            &format!("{{at: 4h, {denied}}}"),
            &format!("{{at: 4h, request: {{agent: {{id: other}}}}, {ALLOW}}}"),
            // Both ends of a window belong to it.
            &format!("{{at: 24h, {denied}}}"),
            &format!("{{at: 24h1s, {ALLOW}}}"),
            &format!("{{at: 24h2s, {denied}}}"),
        ],
    );
}

#[test]
fn a_request_that_was_denied_is_still_a_request() {
    let policy =
        format!("@id(\"two\") {}", clause(r#"count_within(1h, Action::"shop.refund"::request{}) > 1"#));
    let denied = "expect: {decision: DENY, rule: two}";
    plays(
        &policy,
        &[
            &format!("{{at: 0s, {ALLOW}}}"),
            &format!("{{at: 50m, {denied}}}"),
            &format!("{{at: 100m, {denied}}}"),
            &format!("{{at: 3h, {ALLOW}}}"),
        ],
    );
}

#[test]
fn a_day_is_worth_five_hundred() {
    let policy = format!(
        "@id(\"five\") {}",
        clause(r#"sum_within(c, 24h, Action::"shop.refund"::allowed{ input.cents: c }) > 50000"#)
    );
    let asks = |at: &str, cents: &str, expect: &str| {
        format!("{{at: {at}, request: {{args: {{charge: a, cents: {cents}}}}}, expect: {{{expect}}}}}")
    };
    let denied = "decision: DENY, rule: five";
    let steps = [
        asks("0s", "30000", "decision: ALLOW"),
        asks("1h", "20001", denied),
        asks("1h", "20000", "decision: ALLOW"),
        asks("2h", "1", denied),
        asks("2h", "9223372036854775807", denied),
        asks("24h1s", "30000", "decision: ALLOW"),
        // What cannot be summed must not run.
        asks("50h", "\"1\"", "decision: DENY, code: POLICY_ERROR"),
        asks("50h", "0.5", "decision: DENY, code: POLICY_ERROR"),
    ];
    plays(&policy, &steps.each_ref().map(String::as_str));
}

#[test]
fn only_between_login_and_logout() {
    let policy = r#"@id("out") forbid (principal, action == Action::"shop.refund", resource)
        unless temporal { !Action::"shop.logout"::allowed{} since within 8h Action::"shop.login"::response{} };"#;
    let call = |at: &str, tool: &str, rest: &str| {
        format!("{{at: {at}, request: {{tool: {{name: {tool}}}}}, {rest}}}")
    };
    let denied = "expect: {decision: DENY, rule: out}";
    let ends = |status: &str| format!("{ALLOW}, outcome: {{status: {status}}}");
    let steps = [
        call("0s", "refund", denied),
        call("1m", "login", &ends("failed")),
        call("2m", "refund", denied),
        call("3m", "login", &ends("succeeded")),
        call("4m", "refund", ALLOW),
        call("5m", "logout", ALLOW),
        call("6m", "refund", denied),
        call("7m", "login", &ends("succeeded")),
        call("8m", "refund", ALLOW),
        call("8h8m", "refund", denied),
    ];
    plays(policy, &steps.each_ref().map(String::as_str));
}

#[test]
fn a_permit_may_ask_about_the_past_too() {
    let bundle = bundle(&[
        ("tools/shop.json", TOOLS),
        (
            "policies/p.dogwood",
            r#"@id("in") permit (principal, action == Action::"shop.login", resource);
            @id("after") permit (principal, action == Action::"shop.refund", resource)
            when temporal { formerly within 1h Action::"shop.login"::allowed{} };"#,
        ),
        (
            "tests/t.yaml",
            &format!(
                "{HEAD}  - name: a\n    steps:\n      - {{expect: {{code: NO_POLICY_MATCH}}}}\n      \
                 - {{request: {{tool: {{name: login}}}}, expect: {{rule: in}}}}\n      - {{at: 1m, expect: {{rule: after}}}}\n"
            ),
        ),
    ]);
    assert_eq!(differences(&bundle), [""; 0]);
}

#[test]
fn the_same_charge_not_twice() {
    let policy = format!(
        "@id(\"twice\") {}",
        clause(
            r#"count_within(24h, Action::"shop.refund"::allowed{ input.charge: context.input.charge }) > 1"#
        )
    );
    let asks = |charge: &str, expect: &str| {
        format!("{{request: {{args: {{charge: {charge}, cents: 1}}}}, expect: {{{expect}}}}}")
    };
    let steps = [
        asks("a", "decision: ALLOW"),
        asks("b", "decision: ALLOW"),
        asks("a", "decision: DENY, rule: twice"),
        asks("c", "decision: ALLOW"),
    ];
    plays(&policy, &steps.each_ref().map(String::as_str));
}

#[test]
fn whose_history_is_said_by_an_annotation() {
    let after = clause(r#"formerly within 1h Action::"shop.export"::allowed{}"#);
    let export = |who: &str| format!("{{request: {{tool: {{name: export}}, {who}}}, {ALLOW}}}");
    let refund = |who: &str, expect: &str| format!("{{request: {{{who}}}, expect: {{decision: {expect}}}}}");
    for (whose, session, other) in
        [("agent", "DENY", "ALLOW"), ("session", "ALLOW", "ALLOW"), ("tenant", "DENY", "DENY")]
    {
        let steps = [
            export("session: {id: s}"),
            refund("session: {id: s}", "DENY"),
            refund("session: {id: t}", session),
            refund("agent: {id: other}, session: {id: s}", other),
            refund("tenant: elsewhere, session: {id: s}", "ALLOW"),
        ];
        plays(&format!("@history(\"{whose}\") {after}"), &steps.each_ref().map(String::as_str));
    }
    // Without a session there is nothing to look at, which a restriction does not survive.
    plays(
        &format!("@history(\"session\") {after}"),
        &["{request: {session: null}, expect: {decision: DENY, code: POLICY_ERROR}}"],
    );
}

#[test]
fn what_could_not_be_remembered_does_not_run() {
    let policy = clause(r#"formerly within 1h Action::"shop.export"::response{}"#);
    // A Cyrillic letter: the catalogue's tool, by the look of it.
    plays(
        &policy,
        &["{request: {tool: {name: \"exp\u{43e}rt\"}}, expect: {decision: DENY, code: POLICY_ERROR}}"],
    );
    let policy = clause(r#"formerly within 1h Action::"shop.refund"::response{ input.cents: 5 }"#);
    plays(
        &policy,
        &["{request: {args: {charge: a, cents: \"5\"}}, expect: {decision: DENY, code: POLICY_ERROR}}"],
    );
}

#[test]
fn what_is_refused_is_refused_by_name() {
    let refund = r#"Action::"shop.refund""#;
    let cases = [
        (clause(&format!("formerly {refund}::request{{}}")), "CG0901"),
        (clause(&format!("formerly within 1h {refund}::asked{{}}")), "CG0902"),
        (clause(&format!("formerly within 1h {refund}::request{{ input.sents: 5 }}")), "CG0902"),
        (clause(&format!("formerly within 9999d {refund}::request{{}}")), "CG0902"),
        (
            clause(&format!("formerly within 1h {refund}::allowed{{ input.note: context.input.note }}")),
            "CG0906",
        ),
        (
            clause(&format!("formerly within 1h {refund}::allowed{{ input.charge: context.environment }}")),
            "CG0905",
        ),
        (clause("formerly within 1h Action::\"topic\"::request{}"), "CG0905"),
        (
            format!(
                "def temporal m(?w) {{ formerly within ?w {refund}::request{{}} }};\n{}",
                clause("m(1h)")
            ),
            "CG0905",
        ),
        (
            format!("@history(\"world\") {}", clause(&format!("formerly within 1h {refund}::denied{{}}"))),
            "CG0705",
        ),
        ("permit(principal, action, resource);".to_owned(), "CG0306"),
        ("// nothing\n".to_owned(), "CG0106"),
    ];
    for (policy, code) in cases {
        let found = codes(&policy);
        assert!(found.contains(&code), "{code} but {found:?}: {policy}");
    }
}

#[test]
fn hostile_text_is_refused_within_limits() {
    let refund = r#"Action::"shop.refund"::request{}"#;
    let nested = |open: &str, close: &str, depth: usize| {
        clause(&format!("{}{refund}{}", open.repeat(depth), close.repeat(depth)))
    };
    let texts = [
        clause(&"(".repeat(1_000_000)),
        clause(&format!("{}formerly within 1h {refund}", "!".repeat(30_000))),
        format!("forbid(principal, action, resource) when {{ {}true }};", "!".repeat(30_000)),
        format!("forbid(principal, action, resource) when {{ context{} == 1 }};", ".a".repeat(15_000)),
        format!("forbid(principal, action, resource) when {{ {}1 > 2 }};", "1+".repeat(15_000)),
        clause(&"formerly within 1h (".repeat(2_000)),
        nested("f(", ")", 9),
        nested("f(1h, ", ")", 9),
        nested("formerly within 1h (", ")", 9),
        "\u{0}".repeat(1_000),
        "@".repeat(30_000),
        format!("@id(\"{}\") {}", "x".repeat(30_000), clause(&format!("formerly within 1h {refund}"))),
        "forbid(principal, action, resource);".repeat(20_000),
        " ".repeat(10 << 20),
    ];
    // Long or deep, and answered by one monitor: there is nothing against it.
    let long = clause(&vec![format!("formerly within 1h {refund}"); 500].join(" && "));
    let deep = nested("(", ")", 9);
    let accepted = [(&long, false), (&deep, false)];
    for (text, refused) in texts.iter().map(|text| (text, true)).chain(accepted) {
        let report = check(&bundle(&[("tools/shop.json", TOOLS), ("policies/p.dogwood", text)]));
        let shown: String = text.chars().take(120).collect();
        assert_eq!(report.has_errors(), refused, "{shown}\n{report}");
    }
}

#[test]
fn every_policy_on_the_page_is_accepted() {
    let page = read(&root().join("docs/dogwood.md"));
    let policies: Vec<&str> =
        page.split("```dogwood\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(policies.len() >= 4, "{policies:?}");
    for policy in policies {
        assert!(codes(policy).is_empty(), "{:?}: {policy}", codes(policy));
    }
}
