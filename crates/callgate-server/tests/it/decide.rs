//! Deciding: the gate's answer comes back as it is, whatever was asked.

use callgate_log::dsse::Envelope;
use callgate_log::proof::TlogProof;
use serde_json::{Value, json};

use crate::client::key;
use crate::fixture::{World, call, call_with};
use crate::schema::Schemas;

#[tokio::test]
async fn every_decision_is_a_200_with_a_receipt() {
    let world = World::new().await;
    let headers = key(&world.key("bot").await);
    let schemas = Schemas::load();
    for (tool, decision, code) in [
        ("read", "ALLOW", Value::Null),
        ("write", "ALLOW_WITH_CONSTRAINTS", Value::Null),
        ("move", "REQUIRE_APPROVAL", json!("APPROVAL_REQUIRED")),
        ("list", "THROTTLE", json!("RATE_EXCEEDED")),
        ("drop", "DENY", json!("DENIED_BY_RULE")),
        ("other", "DENY", json!("NO_POLICY_MATCH")),
    ] {
        let before = world.gate.size();
        let reply = world.decide(&headers, call("bot", tool)).await;
        assert_eq!(reply["decision"], decision, "{tool}");
        assert_eq!(reply["code"], code, "{tool}");
        assert_eq!(reply["receipt_index"], before, "{tool}");
        schemas.check("Reply", &reply);
        // Somebody with nothing but the reply and the public key can verify it.
        let envelope = Envelope::parse(reply["receipt"].to_string().as_bytes()).expect("DSSE");
        let payload = envelope.verify(&world.gate.verifying_key()).expect("signed");
        let proof = TlogProof::parse(reply["proof"].as_str().expect("text").as_bytes()).expect("a proof");
        let origin = world.gate.identity().origin().to_owned();
        proof.verify(payload, &world.gate.verifying_key(), Some(&origin)).expect("in the log");
    }
}

#[tokio::test]
async fn what_is_no_request_is_a_receipted_denial() {
    let world = World::new().await;
    let headers = key(&world.key("bot").await);
    let deep = "[".repeat(10_000);
    let bodies: [&[u8]; 12] = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"\0",
        deep.as_bytes(),
        br#"{"agent":{"id":"bot"}}"#,
        br#"{"agent":{"id":"bot"},"topic":"t","topic":"u"}"#,
        br#"{"agent":{"id":"bot"},"topic":"t","mode":"off"}"#,
        br#"{"agent":{"id":"b\u200bot"},"topic":"t"}"#,
        br#"{"agent":{"id":"bot"},"topic":"t","args":{"n":1e999}}"#,
    ];
    for body in bodies {
        let before = world.gate.size();
        let reply = world.decide(&headers, body).await;
        assert_eq!(
            (&reply["decision"], &reply["code"]),
            (&json!("DENY"), &json!("INVALID_REQUEST")),
            "{body:?}"
        );
        assert_eq!(reply["receipt_index"], before, "{body:?}");
    }
}

#[tokio::test]
async fn a_batch_is_answered_in_order() {
    let world = World::new().await;
    let headers = key(&world.key("bot").await);
    let tools = ["read", "drop", "write", "nothing", "move", "list"];
    let expected = ["ALLOW", "DENY", "ALLOW_WITH_CONSTRAINTS", "DENY", "REQUIRE_APPROVAL", "THROTTLE"];
    let mut requests: Vec<String> = tools.iter().map(|tool| call("bot", tool)).collect();
    requests.insert(3, r#"{"not":"a request"}"#.to_owned());
    let list = format!("[{}]", requests.join(","));
    for body in [list.clone(), format!(r#"{{"requests":{list}}}"#)] {
        let before = world.gate.size();
        let response = world.post("/api/v1/decide/batch", &headers, body).await;
        assert_eq!(response.status, 200);
        let answer = response.json();
        Schemas::load().check("BatchReply", &answer);
        let mut decisions: Vec<&str> = answer["replies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|reply| reply["decision"].as_str().unwrap())
            .collect();
        assert_eq!(answer["replies"][3]["code"], "INVALID_REQUEST");
        decisions.remove(3);
        assert_eq!(decisions, expected);
        assert_eq!(world.gate.size(), before + 7, "each has its receipt");
    }
}

#[tokio::test]
async fn a_batch_keeps_the_order_of_a_session() {
    let world = World::new().await;
    let headers = key(&world.key("bot").await);
    let step = |session: usize, function: &str, action: &str| {
        format!(
            r#"{{"agent":{{"id":"bot"}},"session":{{"id":"s{session}","function":"{function}","action_type":"{action}"}}}}"#
        )
    };
    // Ten sessions, interleaved, each of which is only allowed in this order, and sealed at its end.
    let steps = [
        ("intake", "READ_INPUT"),
        ("execution", "WRITE_DB"),
        ("settle", "SEAL_SEQUENCE"),
        ("settle", "SEAL_SEQUENCE"),
    ];
    let requests: Vec<String> = steps
        .iter()
        .flat_map(|(function, action)| (0..10).map(move |session| step(session, function, action)))
        .collect();
    let answer =
        world.post("/api/v1/decide/batch", &headers, format!("[{}]", requests.join(","))).await.json();
    let replies = answer["replies"].as_array().unwrap();
    assert_eq!(replies.len(), 40);
    for (place, reply) in replies.iter().enumerate() {
        if place < 30 {
            assert_eq!(reply["decision"], "ALLOW", "{place}: {reply}");
        } else {
            assert_eq!(reply["code"], "SEALED_SEQUENCE", "{place}: {reply}");
        }
    }
}

#[tokio::test]
async fn what_is_no_batch_decides_nothing() {
    let world = World::new().await;
    let headers = key(&world.key("bot").await);
    let before = world.gate.size();
    let many = format!("[{}]", vec![call("bot", "read"); 65].join(","));
    for body in ["", "[]", "{}", "[1", "{\"requests\":7}", &call("bot", "read"), &many] {
        let response = world.post("/api/v1/decide/batch", &headers, body).await;
        assert_eq!(response.status, 400, "{body}");
        Schemas::load().check("Problem", &response.json());
    }
    assert_eq!(world.gate.size(), before);
    let most = format!("[{}]", vec![call("bot", "read"); 64].join(","));
    assert_eq!(world.post("/api/v1/decide/batch", &headers, most).await.status, 200);
    assert_eq!(world.gate.size(), before + 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_each_get_their_own_answer() {
    let world = World::dev().await;
    let before = world.gate.size();
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..64 {
        let address = world.address;
        clients.spawn(async move {
            let mut client = crate::client::Client::connect(address).await;
            let mut receipts = Vec::new();
            for round in 0..4 {
                let tool = if (number + round) % 2 == 0 { "read" } else { "drop" };
                let more = format!(r#","session":{{"id":"s{}"}}"#, number % 8);
                client.send(crate::client::post("/api/v1/decide", "", call_with("bot", tool, &more))).await;
                let response = client.response().await.expect("an answer");
                assert_eq!(response.status, 200, "{response:?}");
                let reply = response.json();
                assert_eq!(reply["decision"], if tool == "read" { "ALLOW" } else { "DENY" });
                receipts.push(reply["receipt_index"].as_u64().expect("an index"));
            }
            receipts
        });
    }
    let mut receipts: Vec<u64> = clients.join_all().await.concat();
    receipts.sort_unstable();
    assert_eq!(
        receipts,
        (before..before + 256).collect::<Vec<u64>>(),
        "one receipt each, none shared, none lost"
    );
}
