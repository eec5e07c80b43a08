//! Rego packages: what they may say, what they are routed to, and what is refused.

use callgate_core::decision::Code as Why;
use callgate_core::rule::{Outcome, Stage};
use callgate_policy::check;

use crate::support::{answer, ask, bundle, snapshot};

const READ: &str = r#"{"agent":{"id":"a"},"tool":{"server":"files","name":"read"},"args":{"path":"/srv/x"}}"#;
const WRITE: &str =
    r#"{"agent":{"id":"a"},"tool":{"server":"files","name":"write"},"args":{"path":"/srv/x"}}"#;

fn policy(text: &str) -> callgate_core::snapshot::Snapshot {
    snapshot(&bundle(&[("policies/p.rego", text)]))
}

fn codes(text: &str) -> Vec<&'static str> {
    check(&bundle(&[("policies/p.rego", text)])).diagnostics().iter().map(|found| found.code).collect()
}

/// Decides on [`READ`] with a package whose `decision` is `value`.
fn decision(value: &str) -> String {
    answer(&policy(&format!("package p\nimport rego.v1\ndecision := {value}\n")), READ)
}

#[test]
fn a_package_says_any_of_the_five_decisions() {
    assert_eq!(decision("\"allow\""), "ALLOW p");
    assert_eq!(decision("\"DENY\""), "DENY DENIED_BY_RULE p");
    assert_eq!(decision("{\"decision\": \"require_approval\", \"reason\": \"ask\"}"), "REQUIRE_APPROVAL p");
    assert_eq!(decision("{\"decision\": \"throttle\", \"retry_after\": \"30s\"}"), "THROTTLE p");
    assert_eq!(decision("null"), "DENY NO_POLICY_MATCH");
    assert_eq!(decision("\"none\""), "DENY NO_POLICY_MATCH");
    assert_eq!(decision("{\"decision\": \"none\", \"constraints\": {}}"), "DENY NO_POLICY_MATCH");
}

#[test]
fn what_goes_with_a_decision_is_kept() {
    let snapshot = policy(
        "package p\ndecision := {\"decision\": \"require_approval\", \"reason\": \"two people\", \
         \"approval\": {\"reviewers\": [\"role:finance\"], \"quorum\": 2, \"expires\": \"1h\"}}\n",
    );
    let settled = ask(&snapshot, READ).settled;
    let terms = settled.approval.unwrap();
    assert_eq!(terms.stages, [Stage::of(["role:finance".to_owned()], 2)]);
    assert_eq!(terms.expires_ms, 3_600_000);
    assert!(settled.reasons.iter().any(|reason| reason.message == "two people"));
}

#[test]
fn any_other_answer_is_a_policy_error() {
    let denied = "DENY POLICY_ERROR p";
    for value in [
        "7",
        "true",
        "[\"allow\"]",
        "\"alow\"",
        "{\"decision\": \"allow\", \"because\": \"x\"}",
        "{\"decision\": 7}",
        "{\"decision\": \"allow\", \"constraints\": {\"max_rows\": 5}}",
        "{\"decision\": \"allow_with_constraints\"}",
        "{\"decision\": \"allow_with_constraints\", \"constraints\": {\"max_row\": 5}}",
        "{\"decision\": \"allow_with_constraints\", \"constraints\": {\"max_rows\": 1.5}}",
        "{\"decision\": \"throttle\", \"retry_after\": 30}",
        "{\"decision\": \"require_approval\", \"approval\": {\"quorum\": 0}}",
        "input.nothing",
        "to_number(input.args.path)",
        "1 / 0",
    ] {
        assert_eq!(decision(value), denied, "{value}");
    }
    assert_eq!(answer(&policy("package p\ndecision := \"allow\" if input.args.path == 7"), READ), denied);
    assert_eq!(answer(&policy("package p\ndeny contains 7"), READ), denied);
    assert_eq!(answer(&policy("package p\ndeny := true"), READ), denied);
}

#[test]
fn deny_messages_deny_and_none_is_no_opinion() {
    let text = "package p\ndeny contains \"b\" if input.tool.name == \"read\"\ndeny contains \"a\" if input.tool.name == \"read\"\n";
    let snapshot = policy(text);
    let settled = ask(&snapshot, READ).settled;
    assert_eq!(settled.code, Some(Why::DeniedByRule));
    assert_eq!(settled.reasons.first().unwrap().message, "a; b");
    assert_eq!(answer(&snapshot, WRITE), "DENY NO_POLICY_MATCH");
}

const ROUTED: &str = "# METADATA\n# title: reads\n# custom:\n#   callgate:\n#     id: reads\n#     tools: [files.read]\n#     controls: [soc2/cc6.1]\npackage p\ndecision := \"VALUE\"\n";

#[test]
fn a_package_speaks_only_of_what_it_is_routed_to() {
    let snapshot = policy(&ROUTED.replace("VALUE", "allow"));
    assert_eq!(answer(&snapshot, READ), "ALLOW reads");
    assert_eq!(answer(&snapshot, WRITE), "DENY NO_POLICY_MATCH");
    let decided = ask(&snapshot, READ);
    assert_eq!(decided.trace.len(), 1);
    assert_eq!(decided.trace.first().unwrap().outcome, Outcome::Matched);
}

#[test]
fn look_alikes_are_denied_but_not_permitted() {
    let alike = READ.replace("read", "rеad");
    assert_eq!(answer(&policy(&ROUTED.replace("VALUE", "allow")), &alike), "DENY NO_POLICY_MATCH");
    assert_eq!(answer(&policy(&ROUTED.replace("VALUE", "deny")), &alike), "DENY DENIED_BY_RULE reads");
    assert_eq!(answer(&policy(&ROUTED.replace("\"VALUE\"", "7")), &alike), "DENY POLICY_ERROR reads");
}

#[test]
fn the_input_is_the_request_and_the_facts() {
    let asked = r#"{"agent":{"id":"a","team":"t","chain":["b"]},"tool":{"server":"s","name":"n"},"args":{"i":9007199254740991,"f":0.1,"l":[null,true,{"k":"v"}]},"risk_tags":["x"],"labels":{"l":"m"},"environment":"prod","cost":{"usd":"0.02"},"confidence":0.5,"topic":"a.b","pep":{"id":"e","enforces":["max_rows"]}}"#;
    let text = r#"package p
decision := "allow" if {
    input.version == "v1"
    input.now_ms == 1700000000000
    input.tenant == "default"
    input.agent == {"id": "a", "team": "t", "chain": ["b"]}
    input.session == {}
    input.tool == {"server": "s", "name": "n", "identity": "s.n"}
    input.args.i == 9007199254740991
    input.args.f == 0.1
    input.args.l == [null, true, {"k": "v"}]
    input.risk_tags == ["x"]
    input.labels == {"l": "m"}
    input.environment == "prod"
    input.cost == {"usd": "0.02"}
    input.confidence == 0.5
    input.topic == "a.b"
    input.pep == {"id": "e", "enforces": ["max_rows"]}
}
"#;
    assert_eq!(answer(&policy(text), asked), "ALLOW p");
}

#[test]
fn packages_build_on_libraries() {
    let files = [
        (
            "policies/a.rego",
            "package a\nimport data.lib.paths\ndecision := \"allow\" if paths.inside(input.args.path)\nelse := null\n",
        ),
        ("policies/lib.rego", "package lib.paths\ninside(path) if startswith(path, \"/srv/\")\n"),
    ];
    assert_eq!(answer(&snapshot(&bundle(&files)), READ), "ALLOW a");
}

#[test]
fn what_a_decision_may_not_use_is_refused_by_name() {
    for call in [
        "http.send({})",
        "time.now_ns()",
        "rand.intn(\"x\", 5)",
        "uuid.rfc4122(\"x\")",
        "opa.runtime()",
        "net.lookup_ip_addr(\"x\")",
        "io.jwt.decode(\"x\")",
        "crypto.sha256(\"x\")",
        "rego.parse_module(\"x\", \"y\")",
        "graphql.is_valid(\"x\", \"y\")",
        "yaml.unmarshal(\"x\")",
        "bits.lsh(1, 5)",
        "graph.reachable({}, [])",
        "numbers.range(1, 1000000000)",
        "net.cidr_expand(\"10.0.0.0/8\")",
        "json.match_schema(1, {})",
        "providers.aws.sign_req({}, {}, 1)",
        "strings.render_template(\"x\", {})",
        "strings.count(\"x\", \"\")",
        "trace(\"x\")",
        "print(\"x\")",
        "unheard.of(1)",
    ] {
        let text = format!("package p\ndecision := \"allow\" if {{ {call} }}\n");
        let report = check(&bundle(&[("policies/p.rego", &text)]));
        let name = call.split('(').next().unwrap();
        let found = report.diagnostics().iter().find(|found| found.code == "CG0802");
        let found = found.unwrap_or_else(|| panic!("{call}\n{report}"));
        assert!(found.message.contains(name) && found.help.is_some(), "{report}");
    }
    assert_eq!(codes("package p\ndeny contains \"x\" if { [_, v] := walk(input.args); v == 7 }"), ["CG0802"]);
    let walks = "package p\ndeny contains \"x\" if { walk(input.args, [_, v]); v == \"/srv/x\" }";
    assert_eq!(answer(&policy(walks), READ), "DENY DENIED_BY_RULE p");
    assert_eq!(codes("package p\ndecision := replace(input.args.a, \"a\", input.args.b)"), ["CG0806"]);
    assert_eq!(codes("package p\ndecision := sprintf(input.args.a, [1])"), ["CG0806"]);
}

#[test]
fn hostile_text_is_an_error_not_an_end() {
    let deep = format!("package p\ndecision := {}{}", "[\n".repeat(16_000), "]\n".repeat(16_000));
    assert_eq!(codes(&deep), ["CG0105"]);
    assert_eq!(codes(&format!("package p\ndecision := {}", "1 + ".repeat(5000) + "1")), ["CG0101"]);
    assert_eq!(codes("package p\ndecision := f(1)\nf(x) := f(x)"), ["CG0805"]);
    let sum = |terms: usize| format!("package p\ndecision := {}1", "1 +\n".repeat(terms));
    assert_eq!(codes(&sum(19_000)), ["CG0105"]);
    assert_eq!(codes(&sum(90)), [] as [&str; 0]);
    let chain: String = (0..40).map(|at| format!("r{at} := r{}\n", at + 1)).collect();
    assert_eq!(codes(&format!("package p\ndecision := r0\n{chain}r40 := 1\n")), ["CG0805"]);
    assert_eq!(codes("package p\nallow := true"), ["CG0804"]);
    assert_eq!(codes("package p\ndecision := \"allow\"\ndeny contains \"x\""), ["CG0804"]);
    assert_eq!(codes("package p\ndecision = "), ["CG0801"]);
    assert_eq!(codes("package p\ndecision := x if y == 1"), ["CG0801"]);
    assert_eq!(codes("package p\n# callgate:\ndecision := \"allow\""), ["CG0803"]);
}

#[test]
fn an_error_in_a_condition_does_not_hide_a_denial() {
    for text in [
        "package p\ndeny contains \"x\" if to_number(input.args.path) > 1",
        "package p\ndeny contains \"x\" if input.args.path - 1 > 1",
        "package p\ndeny contains \"x\" if -input.args.path > 1",
        "package p\nx := y if some y in [1, 2]\ndeny contains \"x\" if x == 1",
        "package p\nx := input.args[_]\ndeny contains \"x\" if x == 1",
        "package p\nx if input.tool\nx := 2 if input.args\ndeny contains \"x\" if x == 1",
        "package p\nx if not input.tool else := 2\nx if input.args\ndeny contains \"x\" if x == 1",
        "package p\nx := 1 if input.tool\nx := 2 if input.args\ndeny contains \"x\" if x == 2",
        "package p\nf(y) := 1 if y\nf(y) := 2 if y\ndeny contains \"x\" if f(true) == 1",
        "package p\ndefault decision := \"allow\"\ndecision := \"deny\" if 1 / to_number(input.args.path) > 1",
        "package p\ndefault decision := \"allow\"\ndecision := \"deny\" if input.tool\ndecision := null if input.args",
    ] {
        let asked = READ.replace("\"path\":", "\"other\":1,\"path\":");
        assert_eq!(answer(&policy(text), &asked), "DENY POLICY_ERROR p", "{text}");
    }
}

#[test]
fn endless_work_is_a_policy_error() {
    let list = (0..1000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let asked = READ.replace(r#""path""#, &format!(r#""l":[{list}],"path""#));
    let loops = "package p\ndecision := \"allow\" if { some a in input.args.l; some b in input.args.l; some c in input.args.l; a + b + c == -1 }";
    assert_eq!(answer(&policy(loops), &asked), "DENY POLICY_ERROR p");
    let tree = format!("{loops} else := null");
    assert_eq!(answer(&policy(&tree), &asked), "DENY POLICY_ERROR p");
}

#[test]
fn the_same_question_has_the_same_answer_from_any_thread() {
    let text =
        "package p\nx := to_number(input.args.path)\ndecision := \"allow\" if { x > 1; startswith(x, 1) }";
    let first = ask(&policy(text), READ).settled;
    for _ in 0..20 {
        assert_eq!(ask(&policy(text), READ).settled, first);
    }
    let snapshot = policy(&ROUTED.replace("VALUE", "allow"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| assert_eq!(answer(&snapshot, READ), "ALLOW reads")));
        }
    });
}
