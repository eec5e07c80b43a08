//! Modes through the whole gate: what is only monitored runs with a permit, and its receipt says what
//! enforcement would have answered.

mod common;

use std::sync::Arc;

use callgate_core::decision::{Decision, Mode};
use callgate_gate::replay::{Replay, Replayed};
use callgate_gate::{Credential, OutcomeReport, OutcomeStatus};
use callgate_log::Statement;
use callgate_log::dsse::Envelope;
use callgate_log::statement::{Body, DecisionKind, Mode as Recorded};
use callgate_store::{Keyring, OsRandom};
use common::{World, ask, bundle, call, parsed};

const RULES: &str = "version: v1
rules:
  - {id: no-drop, match: {tools: [\"**\"]}, when: \"tool.name == 'drop'\", decision: deny}
  - {id: held, match: {tools: [\"*.move\", move]}, decision: require_approval}
  - {id: read, match: {tools: [\"*.read\", read]}, decision: allow}
";

#[tokio::test]
async fn what_is_only_monitored_runs_and_its_receipt_says_what_enforcement_would_answer() {
    let world = World::new(31);
    let files = [("callgate.yaml", "version: v1\nmode: monitor\n"), ("rules/r.yaml", RULES)];
    let gate = world.open(Some(&bundle(&files))).await.expect("opens");
    let asked = [
        ("read", None, None),
        ("drop", Some(Decision::Deny), Some(DecisionKind::Deny)),
        ("move", Some(Decision::RequireApproval), Some(DecisionKind::RequireApproval)),
        ("other", Some(Decision::Deny), Some(DecisionKind::Deny)),
    ];
    for (tool, would, recorded) in asked {
        let decided = ask(&gate, call(tool, "")).await;
        let reply = decided.reply;
        assert!(reply.decision.permits() && reply.approval.is_none(), "{tool}");
        assert_eq!(reply.mode, Some(Mode::Monitor), "{tool}");
        assert_eq!(reply.would.as_ref().map(|would| would.decision), would, "{tool}");
        let envelope = Envelope::parse(reply.receipt.expect("an envelope").get().as_bytes()).expect("DSSE");
        let payload = envelope.verify(&gate.verifying_key()).expect("signed by the gate");
        let statement = Statement::parse(payload).expect("a statement");
        let Body::Decision(receipt) = statement.body() else { panic!("a decision") };
        assert_eq!(receipt.mode, Recorded::Monitor, "{tool}");
        assert_eq!(receipt.would.as_ref().map(|would| would.decision), recorded, "{tool}");
        let permit = decided.permit.expect("it runs");
        permit.redeem(&parsed(tool, ""), common::NOW).expect("its own action");
        let report = OutcomeReport::new(reply.receipt_index.expect("receipted"), OutcomeStatus::Succeeded);
        gate.report(report, &Credential::Development).await.expect("its outcome is taken");
    }
    let refused = ask(&gate, call("read", r#","ts_ms":1"#)).await;
    assert!(refused.permit.is_none(), "what guards the gate is never lifted");
    gate.close();
    let keyring = Keyring::open(world.fs(), Arc::new(OsRandom)).expect("the key ring opens");
    common::flips_nothing_of_its_own(&gate, &keyring);
    let mut replay = Replay::new();
    let mut same = 0;
    for receipt in gate.scan() {
        match replay.push(&receipt.expect("readable"), &keyring) {
            Replayed::Same => same += 1,
            Replayed::NotADecision => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(same, 5, "law 4");
}

/// A list shows a tool that is denied without arguments, where what always denies it only monitors.
#[tokio::test]
async fn a_deny_that_only_monitors_hides_no_tool() {
    for (mode, hidden) in [("enforce", true), ("monitor", false)] {
        let rules = format!(
            "version: v1\nrules:
  - {{id: never, match: {{tools: [files.read]}}, decision: deny, mode: {mode}}}
  - {{id: some, match: {{tools: ['files.*']}}, when: \"args.path != ''\", decision: allow}}\n"
        );
        let world = World::new(32);
        let gate = world.open(Some(&bundle(&[("rules/r.yaml", rules.as_str())]))).await.expect("opens");
        let mut probe = parsed("read", "");
        probe.args = callgate_core::value::Map::default();
        assert_eq!(gate.never_allows(probe, &Credential::Development), hidden, "{mode}");
    }
}
