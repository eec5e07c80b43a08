//! The bundles under `examples/` load without a warning and decide what their comments say; the texts
//! the project was created from load as they stand.

use std::collections::BTreeMap;

use crate::support::{answer, folder, read, root, rules, snapshot};
use callgate_core::snapshot::Snapshot;
use callgate_policy::{Bundle, check};

fn example(name: &str) -> Snapshot {
    let bundle = Bundle::new(folder(&root().join("examples").join(name)), BTreeMap::new());
    let report = check(&bundle);
    assert!(report.is_empty(), "{report}");
    snapshot(&bundle)
}

/// A call of a tool of `files` by an enforcement point that can hold the constraints.
fn call(tool: &str, args: &str) -> String {
    format!(
        r#"{{"agent":{{"id":"a"}},"tool":{{"server":"files","name":"{tool}"}},"args":{args},
            "pep":{{"id":"mcp","enforces":["max_runtime_ms","max_retries"]}}}}"#
    )
}

#[test]
fn the_quickstart_decides_all_five_ways() {
    let snapshot = example("quickstart");
    let cases = [
        ("read_text_file", r#"{"path":"/srv/a"}"#, "ALLOW read"),
        ("list_allowed_directories", "{}", "ALLOW read"),
        ("write_file", r#"{"path":"/srv/a","content":""}"#, "ALLOW_WITH_CONSTRAINTS write-within-bounds"),
        ("directory_tree", r#"{"path":"/srv"}"#, "THROTTLE trees-are-slow"),
        ("move_file", r#"{"source":"/a","destination":"/b"}"#, "REQUIRE_APPROVAL moves-need-a-human"),
        ("edit_file", r#"{"path":"/srv/a","edits":[]}"#, "ALLOW_WITH_CONSTRAINTS write-within-bounds"),
        ("edit_file", r#"{"path":"/srv/archive/a","edits":[]}"#, "DENY DENIED_BY_RULE keep-the-archive"),
        ("edit_file", r#"{"edits":[]}"#, "DENY POLICY_ERROR keep-the-archive"),
        ("edit_file", r#"{"path":7}"#, "DENY POLICY_ERROR keep-the-archive"),
        ("read_file", r#"{"path":"/srv/.env"}"#, "DENY DENIED_BY_RULE no-secrets"),
        ("delete_file", r#"{"path":"/srv/a"}"#, "DENY DENIED_BY_RULE never-delete"),
        ("DeIete_file", r#"{"path":"/srv/a"}"#, "DENY DENIED_BY_RULE never-delete"),
        ("format_disk", "{}", "DENY NO_POLICY_MATCH"),
    ];
    for (tool, args, expected) in cases {
        assert_eq!(answer(&snapshot, &call(tool, args)), expected, "{tool} {args}");
    }
    // The tag that permits comes from the catalogue: nobody can claim it for another tool.
    let claimed = r#"{"agent":{"id":"a"},"tool":{"server":"files","name":"move_file"},"risk_tags":["read"]}"#;
    assert_eq!(answer(&snapshot, claimed), "REQUIRE_APPROVAL moves-need-a-human");
}

#[test]
fn the_topic_policy_is_the_source_and_decides_as_it_says() {
    let snapshot = example("topics");
    let ask = |topic: &str, tags: &str| {
        let pep = r#""pep":{"id":"p","enforces":["max_runtime_ms","max_retries","network_allowlist"]}"#;
        let text = format!(r#"{{"agent":{{"id":"a"}},"topic":"{topic}","risk_tags":{tags},{pep}}}"#);
        answer(&snapshot, &text)
    };
    let cases = [
        (
            "job.mcp-bridge.write.update_ticket",
            r#"["prod","write"]"#,
            "REQUIRE_APPROVAL require-approval-prod-write",
        ),
        ("job.mcp-bridge.write.update_ticket", r#"["write"]"#, "DENY NO_POLICY_MATCH"),
        ("job.mcp-bridge.read.ticket", "[]", "ALLOW allow-read"),
        ("job.mcp-bridge.read.ticket.all", "[]", "DENY NO_POLICY_MATCH"),
        ("job.mcp-bridge.read.ticket", r#"["Destructive"]"#, "DENY DENIED_BY_RULE deny-destructive"),
        ("job.agent.exec.run", r#"["medium"]"#, "ALLOW_WITH_CONSTRAINTS constrain-medium-risk"),
    ];
    for (topic, tags, expected) in cases {
        assert_eq!(ask(topic, tags), expected, "{topic} {tags}");
    }
    let run = r#"{"agent":{"id":"a"},"topic":"job.agent.exec.run","risk_tags":["medium"]}"#;
    assert_eq!(answer(&snapshot, run), "DENY CONSTRAINT_UNENFORCEABLE");
}

#[test]
fn the_loan_contract_orders_steps() {
    let snapshot = example("loan");
    let contract = &snapshot.contracts[0];
    assert_eq!(contract.steps.len(), 8);
    assert_eq!(contract.seal_at, "settle");
    let ask = |step: &str, action: &str| {
        let session = format!(r#"{{"id":"s","function":"{step}","action_type":"{action}"}}"#);
        answer(&snapshot, &format!(r#"{{"agent":{{"id":"a"}},"session":{session}}}"#))
    };
    assert_eq!(ask("intake", "READ_INPUT"), "ALLOW loan");
    assert!(ask("intake", "WRITE_DB").starts_with("DENY ACTION_NOT_ALLOWED"));
    assert!(ask("execution", "WRITE_DB").starts_with("DENY SEQUENCE_VIOLATION"));
}

/// The lines of the article that are configuration.
fn article() -> (String, String) {
    let text = read(&root().join("crates/callgate-policy/tests/fixtures/step-order-article.txt"));
    let order = text.lines().find(|line| line.starts_with("SLP8_STEP_ORDER_MSMD=")).unwrap();
    let map = |line: &&str| line.starts_with("//") || (line.starts_with('"') && line.contains("\": ["));
    (order.to_owned(), text.lines().filter(map).collect::<Vec<_>>().join("\n"))
}

#[test]
fn the_step_order_and_action_map_of_the_article_load_as_they_stand() {
    let (order, map) = article();
    let block = |text: &str| text.lines().map(|line| format!("      {line}\n")).collect::<String>();
    let contract = format!(
        "version: v1\ncontracts:\n  - id: msmd\n    steps: |\n{}    actions: |\n{}    seal_at: settle\n",
        block(&order),
        block(&map),
    );
    let snapshot = snapshot(&crate::support::bundle(&[("contracts/msmd.yaml", &contract)]));
    let contract = &snapshot.contracts[0];
    assert_eq!(
        contract.steps.join(","),
        "intake,disruption,instability,state_read,internal_driver,execution,boundary,settle"
    );
    let actions = contract.actions.as_ref().unwrap();
    assert_eq!(actions.keys().collect::<Vec<_>>(), ["execution", "intake", "settle"]);
    assert!(actions["execution"].contains("EMIT_EVENT") && !actions["intake"].contains("WRITE_DB"));
}

#[test]
fn the_step_order_comes_from_the_environment_as_there() {
    let (order, _) = article();
    let (name, value) = order.split_once('=').unwrap();
    let text = "version: v1\ncontracts: [{id: msmd, steps: {env: SLP8_STEP_ORDER_MSMD}}]";
    let files = BTreeMap::from([("contracts/c.yaml".to_owned(), text.to_owned())]);
    let asked = Bundle::new(files.clone(), BTreeMap::new()).env_names();
    assert_eq!(asked, [name]);
    let bundle = Bundle::new(files, BTreeMap::from([(name.to_owned(), value.to_owned())]));
    let snapshot = snapshot(&bundle);
    assert_eq!(snapshot.contracts[0].steps.len(), 8);
    assert_eq!(snapshot.contracts[0].actions, None);
    let intake = r#"{"agent":{"id":"a"},"session":{"id":"s","function":"intake"}}"#;
    assert_eq!(answer(&snapshot, intake), "ALLOW msmd");
}

#[test]
fn a_condition_reads_amounts_exactly() {
    let snapshot = rules(
        "version: v1
rules:
  - {id: refund, match: {tools: [stripe.refund]}, decision: allow}
  - id: refunds-need-a-human
    scope: {agents: ['support-*'], teams: [support], environments: [prod]}
    match: {tools: [stripe.refund], risk_tags: [write]}
    when: dec(args.amount) > dec('50.00')
    decision: require_approval
    approval: {reviewers: ['role:finance'], quorum: 1, expires: 30m}
    constraints: {max_runtime_sec: 60}
    controls: [eu-ai-act/14, soc2/cc6.1]
",
    );
    let refund = |amount: &str| {
        let text = format!(
            r#"{{"agent":{{"id":"support-bot","team":"support"}},"environment":"prod","risk_tags":["write"],
                "tool":{{"server":"stripe","name":"refund"}},"args":{{"amount":{amount}}},
                "pep":{{"id":"p","enforces":["max_runtime_ms"]}}}}"#
        );
        answer(&snapshot, &text)
    };
    assert_eq!(refund("\"50.00\""), "ALLOW refund");
    assert_eq!(refund("50"), "ALLOW refund");
    assert_eq!(refund("50.01"), "REQUIRE_APPROVAL refunds-need-a-human");
    assert_eq!(refund("\"fifty\""), "DENY POLICY_ERROR refunds-need-a-human");
}
