//! Simulation over recorded decisions: what flips, what cannot be decided again, and that nothing moves.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a test stops at what it cannot do"
)]

mod common;

use std::sync::Arc;

use callgate_core::decision::Decision;
use callgate_core::pattern::Pattern;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::SessionKey;
use callgate_gate::simulate::{
    Corpus, Filter, Lengths, Library, Plan, Reason, Report, Simulation, SimulationInput, simulate_corpus,
};
use callgate_gate::{Credential, Gate, OutcomeReport, OutcomeStatus};
use callgate_policy::Bundle;
use callgate_store::{Keyring, OsRandom};
use common::{CONTRACT, NOW, RULES, World, ask, bundle, call, example};

const HOUR: i64 = 60 * 60 * 1000;

fn compile(bundle: &Bundle) -> Arc<Snapshot> {
    match callgate_policy::compile(bundle) {
        Ok(snapshot) => Arc::new(snapshot),
        Err(report) => panic!("{report}"),
    }
}

const THROTTLE: &str = "decision: throttle\n    throttle: {retry_after: 2s}";

/// The example with one text replaced by another.
fn changed(from: &str, to: &str) -> Arc<Snapshot> {
    assert!(RULES.contains(from), "{from}");
    compile(&bundle(&[("rules/r.yaml", &RULES.replace(from, to)), ("contracts/c.yaml", CONTRACT)]))
}

/// Offline: over the receipts and the key ring, beside the gate.
fn offline(world: &World, gate: &Gate, candidate: &Arc<Snapshot>, filter: Filter) -> Report {
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    let plan = Plan { filter, ..Plan::new(Arc::clone(candidate)) };
    let mut simulation = Simulation::new(plan, Library::default(), true, &keyring);
    for receipt in gate.scan() {
        simulation.push(receipt.expect("readable").view());
    }
    simulation.finish()
}

async fn live(gate: &Arc<Gate>, candidate: &Arc<Snapshot>, filter: Filter) -> Report {
    let plan = Plan { filter, ..Plan::new(Arc::clone(candidate)) };
    let report = gate.simulate(SimulationInput::History(plan), Box::new(|_, _| {})).await;
    report.expect("simulated")
}

fn session(id: &str) -> String {
    format!(r#","session":{{"id":"{id}"}}"#)
}

/// One of each decision, an hour apart.
async fn five(world: &World, gate: &Gate) {
    for (hour, tool) in (0i64..).zip(["read", "write", "move", "list", "drop"]) {
        world.clock.set(NOW + hour * HOUR);
        ask(gate, call(tool, &session("s"))).await;
    }
}

fn reasons(report: &Report) -> Vec<(Reason, u64)> {
    report.not_evaluated.iter().map(|one| (one.reason, one.count)).collect()
}

#[tokio::test]
async fn what_flips_is_counted_named_and_explained_from_both_sides() {
    let world = World::new(1);
    let gate = world.open(Some(&example())).await.expect("opens");
    five(&world, &gate).await;
    let candidate = changed(
        "- id: read\n    match: {tools: [\"files.read\"]}\n    decision: allow",
        "- id: read-asks\n    match: {tools: [\"files.read\"]}\n    decision: require_approval",
    );
    let report = live(&gate, &candidate, Filter::default()).await;
    assert_eq!(report, offline(&world, &gate, &candidate, Filter::default()));
    let totals = &report.totals;
    assert_eq!((totals.decisions, totals.evaluated, totals.same), (5, 5, 4));
    assert_eq!((totals.tightened, totals.tightened_bp, totals.loosened), (1, 2000, 0));
    assert_eq!(report.matrix.rows[0], [0, 0, 0, 1, 0]);
    assert_eq!(report.matrix.now, [0, 1, 1, 2, 1]);
    let rule = &report.by_rule.shown[0];
    assert_eq!((rule.was.as_str(), rule.now.as_str(), rule.tightened), ("read", "read-asks", 1));
    assert_eq!(report.by_agent.shown[0].name, "bot");
    assert_eq!((report.by_tool.shown[0].name.as_str(), report.by_tool.more), ("files.read", 0));
    let approvals = &report.approvals;
    assert_eq!((approvals.was, approvals.now, approvals.newly, approvals.hours), (1, 2, 1, 5));
    assert_eq!(approvals.newly_per_hour, "0.20");
    assert_eq!(approvals.busiest.expect("an hour").from_ms, NOW.div_euclid(HOUR) * HOUR);
    let kind = &report.examples[0];
    assert_eq!((kind.was, kind.now), (Some(Decision::Allow), Decision::RequireApproval));
    assert_eq!((kind.count, kind.changed), (1, true));
    let flipped = &kind.examples[0];
    assert_eq!((flipped.tool.as_str(), flipped.session.as_deref()), ("files.read", Some("s")));
    assert_eq!(flipped.was.as_ref().expect("explained").rule.as_deref(), Some("read"));
    assert_eq!(flipped.now.rule.as_deref(), Some("read-asks"));
    let evidence = report.evidence();
    assert_eq!(evidence.candidate, candidate.digest.to_string());
    assert_eq!(evidence.baseline, gate.snapshot().1);
    assert_eq!((evidence.decisions, evidence.tightened), (5, 1));
}

#[tokio::test]
async fn constraints_of_the_same_decision_are_a_number_of_their_own() {
    let world = World::new(2);
    let gate = world.open(Some(&example())).await.expect("opens");
    five(&world, &gate).await;
    let report = live(&gate, &changed("max_runtime_sec: 5", "max_runtime_sec: 7"), Filter::default()).await;
    let totals = &report.totals;
    assert_eq!((totals.constraints_changed, totals.same), (1, 4));
    assert_eq!((totals.loosened, totals.tightened), (0, 0));
    assert!(report.by_rule.shown.is_empty());
    assert_eq!((report.examples[0].was, report.examples[0].count), (Some(Decision::AllowWithConstraints), 1));
}

#[tokio::test]
async fn every_filter_leaves_what_it_names() {
    let world = World::new(3);
    let gate = world.open(Some(&example())).await.expect("opens");
    five(&world, &gate).await;
    let candidate = compile(&example());
    let pattern = |text: &str| Some(Pattern::new(text).expect("a pattern"));
    let filters = [
        (Filter { since_ms: Some(NOW + HOUR), ..Filter::default() }, 4),
        (Filter { until_ms: Some(NOW + HOUR), ..Filter::default() }, 1),
        (Filter { agent: pattern("b*"), ..Filter::default() }, 5),
        (Filter { agent: pattern("other"), ..Filter::default() }, 0),
        (Filter { tool: pattern("files.*"), ..Filter::default() }, 5),
        (Filter { tool: pattern("files.read"), ..Filter::default() }, 1),
        (Filter { decision: Some(Decision::Throttle), ..Filter::default() }, 1),
        (Filter { snapshot: Some("v1".to_owned()), ..Filter::default() }, 5),
        (Filter { snapshot: Some("v2".to_owned()), ..Filter::default() }, 0),
    ];
    for (filter, left) in filters {
        let report = live(&gate, &candidate, filter.clone()).await;
        assert_eq!((report.totals.decisions, report.totals.same), (left, left), "{filter:?}");
        assert_eq!(report.totals.evaluated, left, "{filter:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_named() {
    let world = World::new(4);
    let gate = world.open(Some(&example())).await.expect("opens");
    five(&world, &gate).await;
    ask(&gate, call("read", &session("gone"))).await;
    let key = SessionKey { agent: "bot".into(), session: "gone".into(), tenant: "default".into() };
    gate.erase_session(key, "operator").await.expect("erased");
    let candidate = compile(&example());
    let report = live(&gate, &candidate, Filter::default()).await;
    assert_eq!(reasons(&report), [(Reason::Erased, 1)]);
    assert_eq!((report.totals.decisions, report.totals.evaluated), (6, 5));
    // Whatever lies on disk in place of a receipt.
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    let mut simulation = Simulation::new(Plan::new(candidate), Library::default(), true, &keyring);
    for (number, receipt) in gate.scan().enumerate() {
        let mut receipt = receipt.expect("readable");
        match number {
            2 => receipt.attachment.truncate(9),
            3 => receipt.payload.truncate(100),
            4 => receipt.delta = b"{}".to_vec(),
            5 => receipt.attachment.clear(),
            _ => {}
        }
        simulation.push(receipt.view());
    }
    let report = simulation.finish();
    assert_eq!(reasons(&report), [(Reason::Erased, 1), (Reason::Unreadable, 4)]);
    assert_eq!((report.totals.decisions, report.totals.evaluated), (6, 1));
}

/// A snapshot that cannot be read back: nothing it decided is compared with.
#[tokio::test]
async fn without_the_old_snapshot_nothing_is_concluded() {
    let world = World::new(5);
    let gate = world.open(Some(&example())).await.expect("opens");
    five(&world, &gate).await;
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    let mut simulation = Simulation::new(Plan::new(compile(&example())), Library::default(), true, &keyring);
    for receipt in gate.scan().skip(2) {
        simulation.push(receipt.expect("readable").view());
    }
    assert_eq!(reasons(&simulation.finish()), [(Reason::SnapshotUnreadable, 5)]);
}

#[tokio::test]
async fn a_publication_in_the_middle_keeps_each_side_its_own_snapshot() {
    let world = World::new(6);
    let gate = world.open(Some(&example())).await.expect("opens");
    ask(&gate, call("read", "")).await;
    let stricter = RULES.replace("- id: drop", "- {id: no-reads, match: {tools: [\"files.read\"]}, when: \"args.path != ''\", decision: deny}\n  - id: drop");
    let second = bundle(&[("rules/r.yaml", &stricter), ("contracts/c.yaml", CONTRACT)]);
    gate.publish(&second, "operator").await.expect("published");
    ask(&gate, call("read", "")).await;
    for (candidate, was, rule) in
        [(&second, Decision::Allow, "read"), (&example(), Decision::Deny, "no-reads")]
    {
        let report = live(&gate, &compile(candidate), Filter::default()).await;
        assert_eq!(report.totals.same, 1);
        let kind = &report.examples[0];
        assert_eq!(kind.was, Some(was));
        assert_eq!(kind.examples[0].was.as_ref().expect("explained").rule.as_deref(), Some(rule));
        assert_eq!(report.inputs.baseline, Some(gate.snapshot().1), "in force at the end");
        assert_eq!(report.inputs.recorded_by.len(), 2);
    }
}

const JUDGED: &str = "
  - id: tidy
    match: {tools: [\"files.read\"]}
    judge: {policy: \"Reads only tidy text.\", on_failure: deny}
    decision: deny
";

#[tokio::test]
async fn a_judge_is_not_asked_and_what_was_asked_is_not_asked_again() {
    let world = World::new(7);
    let judged = bundle(&[
        ("callgate.yaml", "version: v1\njudge: {model: m}\n"),
        ("rules/r.yaml", &format!("{RULES}{JUDGED}")),
    ]);
    let gate = world.open(Some(&judged)).await.expect("opens");
    // Nobody is there to be asked, and that is a finding, too.
    ask(&gate, call("read", "")).await;
    gate.publish(&bundle(&[("rules/r.yaml", RULES)]), "operator").await.expect("published");
    ask(&gate, call("read", "")).await;
    ask(&gate, call("drop", "")).await;
    let report = live(&gate, &compile(&judged), Filter::default()).await;
    assert_eq!(reasons(&report), [(Reason::JudgeNotAsked, 1)]);
    assert_eq!((report.totals.same, report.totals.evaluated), (2, 2));
}

const TOOLS: &str = r#"{"tools": [
  {"name": "refund", "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}}}
]}"#;
const SHOP: &str = "version: v1\nrules: [{id: any, match: {tools: ['shop.*']}, decision: allow}]\n";
const LIMIT: &str = r#"@id("three") forbid (principal, action == Action::"shop.refund", resource)
when temporal { count_within(24h, Action::"shop.refund"::request{}) > 3 };"#;
const FAILED: &str = r#"@id("failed") forbid (principal, action == Action::"shop.refund", resource)
when temporal { formerly within 24h Action::"shop.refund"::response{} };"#;

fn shop(policy: Option<&str>) -> Bundle {
    let mut files = vec![("rules/r.yaml", SHOP), ("tools/shop.json", TOOLS)];
    files.extend(policy.map(|policy| ("policies/p.dogwood", policy)));
    bundle(&files)
}

/// Asks for a refund every few hours; how many were denied.
async fn refunds(world: &World, gate: &Gate) -> u64 {
    let mut denied = 0;
    for number in 0..6 {
        world.clock.set(NOW + number * 5 * HOUR);
        denied += u64::from(ask(gate, call("shop.refund", "")).await.permit.is_none());
    }
    denied
}

#[tokio::test]
async fn a_candidate_that_looks_back_finds_its_own_past() {
    let (world, other) = (World::new(8), World::new(8));
    let gate = world.open(Some(&shop(None))).await.expect("opens");
    assert_eq!(refunds(&world, &gate).await, 0);
    let candidate = compile(&shop(Some(LIMIT)));
    let report = live(&gate, &candidate, Filter::default()).await;
    assert_eq!(report.totals.evaluated, 6, "{:?}", reasons(&report));
    let strict = other.open(Some(&shop(Some(LIMIT)))).await.expect("opens");
    let denied = refunds(&other, &strict).await;
    assert!((1..6).contains(&denied), "{denied}");
    assert_eq!(report.totals.tightened, denied, "as a gate with that snapshot decided for good");
    assert_eq!(report, offline(&world, &gate, &candidate, Filter::default()));
    // Only what is in reach of the last days is read, and the same is found.
    let since = Filter { since_ms: Some(NOW + 24 * HOUR), ..Filter::default() };
    let late = live(&gate, &candidate, since).await;
    assert_eq!((late.totals.evaluated, late.totals.tightened), (1, 1));
}

#[tokio::test]
async fn outcomes_are_part_of_the_past_and_an_erased_part_is_not_guessed() {
    let world = World::new(9);
    let gate = world.open(Some(&shop(None))).await.expect("opens");
    let first = ask(&gate, call("shop.refund", &session("a"))).await;
    let report =
        OutcomeReport::new(first.permit.expect("allowed").ground().number(), OutcomeStatus::Succeeded);
    gate.report(report, &Credential::Development).await.expect("reported");
    ask(&gate, call("shop.refund", &session("b"))).await;
    world.clock.set(NOW + 26 * HOUR);
    ask(&gate, call("shop.refund", &session("b"))).await;
    let candidate = compile(&shop(Some(FAILED)));
    let report = live(&gate, &candidate, Filter::default()).await;
    assert_eq!((report.totals.evaluated, report.totals.tightened), (3, 1), "the second is denied now");
    let key = SessionKey { agent: "bot".into(), session: "a".into(), tenant: "default".into() };
    gate.erase_session(key, "operator").await.expect("erased");
    let report = live(&gate, &candidate, Filter::default()).await;
    assert_eq!(reasons(&report), [(Reason::Erased, 1), (Reason::HistoryIncomplete, 1)]);
    assert_eq!(report.totals.same, 1, "after the window it is known again");
}

async fn step(gate: &Gate, session: &str, function: &str, action: &str) -> Decision {
    let text = format!(
        r#"{{"agent":{{"id":"bot"}},"session":{{"id":"{session}","function":"{function}","action_type":"{action}"}}}}"#
    );
    ask(gate, text.into_bytes()).await.reply.decision
}

#[tokio::test]
async fn sessions_follow_the_candidates_contract_from_their_first_step() {
    let world = World::new(10);
    let gate = world.open(Some(&example())).await.expect("opens");
    let steps = [
        ("intake", "READ_INPUT"),
        ("execution", "WRITE_DB"),
        ("execution", "WRITE_DB"),
        ("settle", "SEAL_SEQUENCE"),
    ];
    for (hour, (function, action)) in (0i64..).zip(steps) {
        world.clock.set(NOW + hour * HOUR);
        assert_eq!(step(&gate, "loan", function, action).await, Decision::Allow);
    }
    // A step more: without it the session comes no further, and its seal stays away.
    let longer = CONTRACT
        .replace("intake,execution", "intake,review,execution")
        .replace("{intake:", "{review: [LOOK], intake:");
    let candidate = compile(&bundle(&[("rules/r.yaml", RULES), ("contracts/c.yaml", &longer)]));
    let report = live(&gate, &candidate, Filter::default()).await;
    assert_eq!((report.totals.evaluated, report.totals.tightened, report.totals.same), (4, 3, 1));
    let notes = report.examples[0].examples.iter().map(|one| one.now.reasons[0].message.clone());
    assert!(
        notes.clone().all(|note| note.contains("`intake` again or `review`")),
        "{:?}",
        notes.collect::<Vec<_>>()
    );
    // Another action in a step of the same order: places go on as the candidate allows.
    let wider = CONTRACT.replace("[WRITE_DB]", "[WRITE_DB, CALL]");
    let candidate = compile(&bundle(&[("rules/r.yaml", RULES), ("contracts/c.yaml", &wider)]));
    let report = live(&gate, &candidate, Filter::default()).await;
    assert_eq!((report.totals.evaluated, report.totals.same), (4, 4));
    // A session whose beginning was not read.
    let since = Filter { since_ms: Some(NOW + 2 * HOUR), ..Filter::default() };
    let report = live(&gate, &candidate, since).await;
    assert_eq!(reasons(&report), [(Reason::PositionUnknown, 2)]);
}

#[tokio::test]
async fn a_tag_that_the_old_catalogue_gave_is_not_taken_for_the_callers() {
    let tools = |hint: bool| {
        format!(
            r#"{{"tools": [{{"name": "peek", "inputSchema": {{"type": "object"}}, "annotations": {{"readOnlyHint": {hint}}}}}]}}"#
        )
    };
    let rules =
        "version: v1\nrules: [{id: read, match: {tools: ['files.*'], risk_tags: [read]}, decision: allow}]\n";
    let with = |hint| bundle(&[("rules/r.yaml", rules), ("tools/files.json", &tools(hint))]);
    let world = World::new(11);
    let gate = world.open(Some(&with(true))).await.expect("opens");
    let request = r#"{"agent":{"id":"bot"},"tool":{"server":"files","name":"peek"}}"#;
    assert!(ask(&gate, request.into()).await.permit.is_some());
    let report = live(&gate, &compile(&with(false)), Filter::default()).await;
    assert_eq!(reasons(&report), [(Reason::TagsUnknown, 1)]);
    let report = live(&gate, &compile(&with(true)), Filter::default()).await;
    assert_eq!(report.totals.same, 1);
}

#[tokio::test]
async fn a_running_gate_decides_on_and_nothing_moves() {
    let world = World::new(12);
    let gate = world.open(Some(&example())).await.expect("opens");
    five(&world, &gate).await;
    let (size, checkpoint) = (gate.size(), gate.checkpoint());
    let syncs = world.fs.syncs();
    let first = live(&gate, &changed(THROTTLE, "decision: deny"), Filter::default()).await;
    let again = live(&gate, &changed(THROTTLE, "decision: deny"), Filter::default()).await;
    assert_eq!(first.to_json(), again.to_json());
    assert_eq!((gate.size(), gate.checkpoint(), world.fs.syncs()), (size, checkpoint, syncs));
    ask(&gate, call("read", "")).await;
    assert_eq!(gate.size(), size + 1);
}

#[test]
fn a_corpus_lives_two_lives() {
    let (candidate, baseline) = (changed(THROTTLE, "decision: deny"), compile(&example()));
    let mut corpus = Corpus::default();
    let line = |text: Vec<u8>| String::from_utf8(text).expect("text");
    let step = |function: &str, action: &str| {
        format!(
            r#"{{"agent":{{"id":"bot"}},"session":{{"id":"l","function":"{function}","action_type":"{action}"}}}}"#
        )
    };
    let lines = [
        line(call("list", "")),
        "{".to_owned(),
        step("intake", "READ_INPUT"),
        step("settle", "SEAL_SEQUENCE"),
        line(call("read", r#","session":{"id":"s"},"nonce":"n","ts_ms":1767225600000"#)),
        line(call("read", r#","session":{"id":"s"},"nonce":"n","ts_ms":1767225600000"#)),
        r#"{"id":"r","suite":"files","calls":[{"tool":"read","args":{"path":"a"}},{"tool":"list","args":{}}]}"#.to_owned(),
    ];
    corpus.add("c.jsonl", lines.join("\n").as_bytes());
    let mut told = 0;
    let report =
        simulate_corpus(&candidate, Some(&baseline), &corpus, Lengths::default(), |done| told = done);
    assert_eq!(told, 7);
    assert_eq!((report.totals.evaluated, report.totals.tightened, report.totals.same), (7, 2, 5));
    assert_eq!(reasons(&report), [(Reason::BadLine, 1)]);
    // The nonce and the contract's order hold in a corpus, too.
    assert_eq!(report.matrix.rows[4][4], 2);
    assert_eq!(report.matrix.rows[2][4], 2);
    let alone = simulate_corpus(&candidate, None, &corpus, Lengths::default(), |_| {});
    assert_eq!(alone.matrix.rows, [[0; 5]; 5]);
    assert_eq!(alone.matrix.now, report.matrix.now);
    let same = simulate_corpus(&candidate, Some(&candidate), &corpus, Lengths::default(), |_| {});
    assert_eq!((same.totals.same, same.examples.len()), (7, 0));
}
