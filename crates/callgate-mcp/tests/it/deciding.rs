//! What is decided, and what a client is told of it.

use serde_json::json;

use crate::rig::{Rig, outcome, receipt, statement, text};

#[tokio::test]
async fn an_allowed_call_runs_and_closes_its_receipt() {
    let mut rig = Rig::new().await;
    let answer = rig.answered(1, "read", json!({"path": "/a"}), json!({"content": [], "x": 1})).await;
    assert_eq!(answer["result"]["x"], 1);
    let index = receipt(&answer);
    let decided = statement(&rig.gate, index);
    assert_eq!(decided["predicate"]["decision"], "ALLOW");
    let closed = outcome(&rig.gate, index).await;
    assert_eq!(closed["status"], "succeeded");
    assert!(closed["result_commitment"].is_string());
    let (ended, _) = rig.leave().await;
    assert_eq!(ended.unwrap().forwarded, 1);
}

#[tokio::test]
async fn law_1_no_receipt_no_action_the_receipt_is_durable_before_the_server_sees_the_call() {
    let mut rig = Rig::new().await;
    let before = rig.gate.size();
    rig.call(1, "read", json!({"path": "/a"})).await;
    rig.server.next().await;
    assert!(rig.gate.size() > before);
}

#[tokio::test]
async fn denials_hold_and_throttle_are_results_with_a_receipt_and_do_not_reach_the_server() {
    let mut rig = Rig::new().await;
    let cases = [
        ("drop", json!({}), "DENY", "DENIED_BY_RULE", "no deleting"),
        ("read", json!({"path": "/a/.env"}), "DENY", "DENIED_BY_RULE", "secrets stay"),
        ("unheard_of", json!({}), "DENY", "NO_POLICY_MATCH", "Do not retry"),
        ("move", json!({"a": 1}), "REQUIRE_APPROVAL", "APPROVAL_REQUIRED", "role:files"),
        ("tree", json!({}), "THROTTLE", "RATE_EXCEEDED", "Wait 2000 ms"),
        ("ro", json!({}), "DENY", "CONSTRAINT_UNENFORCEABLE", "read_only"),
        ("ｄrop", json!({}), "DENY", "DENIED_BY_RULE", "no deleting"),
    ];
    for (id, (tool, args, decision, code, part)) in (1..).zip(cases) {
        let answer = rig.refused(id, tool, args).await;
        assert_eq!(answer["result"]["_meta"]["callgate/decision"], decision, "{tool}");
        assert_eq!(answer["result"]["_meta"]["callgate/code"], code, "{tool}");
        assert!(text(&answer).contains(part) && text(&answer).contains(code), "{tool}: {}", text(&answer));
        assert_eq!(statement(&rig.gate, receipt(&answer))["predicate"]["decision"], decision, "{tool}");
    }
    let (ended, _) = rig.leave().await;
    assert_eq!(ended.unwrap().refused, 7);
}

#[tokio::test]
async fn a_modern_client_gets_a_complete_result() {
    let mut rig = Rig::new().await;
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    let params = json!({"name": "drop", "arguments": {}, "_meta": meta});
    rig.client.send(&json!({"jsonrpc": "2.0", "id": "m", "method": "tools/call", "params": params})).await;
    assert_eq!(rig.client.next().await["result"]["resultType"], "complete");
}

#[tokio::test]
async fn reads_and_prompts_are_decided_too() {
    let mut rig = Rig::new().await;
    let read = |id: u64, uri: &str| json!({"jsonrpc": "2.0", "id": id, "method": "resources/read", "params": {"uri": uri}});
    rig.client.send(&read(1, "file:///ok/a")).await;
    assert_eq!(rig.server.next().await, read(1, "file:///ok/a"));
    rig.server.send(&json!({"jsonrpc": "2.0", "id": 1, "result": {"contents": []}})).await;
    assert!(rig.client.next().await["result"]["_meta"]["callgate/receipt_index"].is_u64());

    rig.client.send(&read(2, "file:///etc/passwd")).await;
    let answer = rig.client.next().await;
    assert_eq!(answer["error"]["code"], 403);
    assert_eq!(answer["error"]["data"]["callgate/code"], "NO_POLICY_MATCH");

    let prompt = json!({"name": "p", "arguments": {"a": "b"}});
    rig.client.send(&json!({"jsonrpc": "2.0", "id": 3, "method": "prompts/get", "params": prompt})).await;
    assert_eq!(rig.client.next().await["error"]["code"], 403);
    rig.server.silent().await;
}

#[tokio::test]
async fn a_gate_that_cannot_decide_runs_nothing() {
    let mut rig = Rig::new().await;
    rig.gate.close();
    let answer = rig.refused(1, "read", json!({"path": "/a"})).await;
    assert_eq!(answer["result"]["_meta"]["callgate/code"], "GATE_UNAVAILABLE");
    assert!(text(&answer).contains("did not run"));
}

#[tokio::test]
async fn what_runs_is_what_was_decided_in_one_canonical_form() {
    let mut rig = Rig::new().await;
    rig.client
        .raw(concat!(
            r#"{"jsonrpc":"2.0","id":"\u0031","method":"tools\/call","params":{"arguments":{"path":"\u002fa","n":1.0,"big":"#,
            r#"0.1},"name":"re\u0061d","_meta":{"progressToken":"t","x/y":{"b":1,"a":[null]}},"unknown":true}}"#,
            "\n"
        ))
        .await;
    let expected = concat!(
        r#"{"jsonrpc":"2.0","id":"\u0031","method":"tools/call","params":{"_meta":{"progressToken":"t","x/y":{"a":[null],"b":1}},"#,
        r#""unknown":true,"name":"read","arguments":{"big":0.1,"n":1,"path":"/a"}}}"#
    );
    assert_eq!(rig.server.line().await, expected);
}

#[tokio::test]
async fn calls_that_two_readers_could_take_differently_are_not_decided_and_do_not_run() {
    let mut rig = Rig::new().await;
    let before = rig.gate.size();
    let cases = [
        (r#"{"name":"read","arguments":{"path":"/a","path":"/b"}}"#, "stands twice"),
        (r#"{"name":"read","name":"drop"}"#, "stands twice"),
        (r#"{"name":"read","arguments":{"path":"/a","Path":"/b"}}"#, "differ only in case"),
        (r#"{"name":"read","Name":"drop"}"#, "differ only in case"),
        (r#"{"name":"read","arguments":{"n":12345678901234567890}}"#, "send it as a string"),
        (r#"{"name":"read","arguments":{"s":"\ud800"}}"#, "surrogate"),
        (r#"{"name":"read","arguments":[]}"#, "must be an object"),
        (r#"{"name":7}"#, "must be the tool's name"),
        (r#"{"name":"re\u200bad"}"#, "invisible"),
        (r#"{"name":"resources/read","arguments":{"uri":"x"}}"#, "no tool can have it"),
        (r#"{"name":"read","_meta":{"callgate/step":7}}"#, "strings"),
        ("[]", "must be an object"),
    ];
    for (id, (params, part)) in (1..).zip(cases) {
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#);
        rig.client.raw(&format!("{message}\n")).await;
        let answer = rig.client.next().await;
        assert_eq!(answer["result"]["isError"], true);
        assert!(text(&answer).contains(part), "{params}: {}", text(&answer));
    }
    let big = "x".repeat(300 * 1024);
    let answer = rig.refused(99, "read", json!({"path": big})).await;
    assert!(text(&answer).contains("larger than"), "{}", text(&answer));
    rig.server.silent().await;
    assert_eq!(rig.gate.size(), before);
}

#[tokio::test]
async fn calls_are_decided_in_the_order_they_arrive() {
    let mut rig = Rig::new().await;
    for id in 0..50 {
        rig.call(id, "read", json!({"path": format!("/{id}")})).await;
    }
    for id in 0..50 {
        assert_eq!(rig.server.next().await["id"], id);
    }
}

#[tokio::test]
async fn a_call_may_say_which_step_of_a_contract_it_is() {
    let mut rig = Rig::new().await;
    let meta = json!({"callgate/step": "intake", "callgate/function": "intake", "callgate/action_type": "READ_INPUT"});
    let params = json!({"name": "read", "arguments": {"path": "/a"}, "_meta": meta});
    rig.client.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})).await;
    rig.server.next().await;
    rig.server.send(&json!({"jsonrpc": "2.0", "id": 1, "result": {}})).await;
    let index = receipt(&rig.client.next().await);
    assert_eq!(statement(&rig.gate, index)["predicate"]["session"]["step"], "intake");
}
