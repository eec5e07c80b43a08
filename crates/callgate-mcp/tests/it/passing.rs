//! What passes undecided, and that it passes unharmed.

use serde_json::json;

use crate::rig::Rig;

#[tokio::test]
async fn messages_pass_as_they_were_written() {
    let mut rig = Rig::new().await;
    let lines = [
        r#"{"method":"initialize","id":"a b","params":{"protocolVersion":"2025-11-25","x":12345678901234567890},"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{ "jsonrpc" : "2.0", "id" : 1.50, "method" : "ping" }"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"prompts/list","params":{"cursor":"é\u00e9"}}"#,
        r#"{"jsonrpc":"2.0","id":77,"result":{"roots":[],"big":1e400}}"#,
        r#"{"jsonrpc":"2.0","id":78,"error":{"code":-1,"message":"no"}}"#,
    ];
    for line in lines {
        rig.client.raw(&format!("{line}\n")).await;
        assert_eq!(rig.server.line().await, line);
    }
    let lines = [
        r#"{"jsonrpc":"2.0","id":"a b","result":{"serverInfo":{"y":12345678901234567890,"y":1}}}"#,
        r#"{"jsonrpc":"2.0","id":77,"method":"sampling/createMessage","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":"e","method":"elicitation/create","params":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":0.5}}"#,
        r#"{"jsonrpc":"2.0","id":1.5,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"x","data":[1]}}"#,
    ];
    for line in lines {
        rig.server.raw(&format!("{line}\n")).await;
        assert_eq!(rig.client.line().await, line);
    }
}

#[tokio::test]
async fn no_line_holds_a_second_message_for_any_reader() {
    let mut rig = Rig::new().await;
    let smuggled = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":\r{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/call\",\"params\":{\"name\":\"drop\"}}\r}\n";
    rig.client.raw(smuggled).await;
    let line = rig.server.line().await;
    assert!(!line.contains('\r') && line.contains("tools/call"), "{line}");
}

#[tokio::test]
async fn what_nobody_listed_does_not_pass() {
    let mut rig = Rig::new().await;
    for (id, method) in
        ["tools/uninstall", "sampling/createMessage", "Tools/call", "notifications/x", ""].iter().enumerate()
    {
        rig.client.send(&json!({"jsonrpc": "2.0", "id": id, "method": method})).await;
        let answer = rig.client.next().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(-32601)), "{method}");
    }
    for line in [
        r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"drop"}}"#,
        r#"{"jsonrpc":"2.0","method":"resources/read","params":{"uri":"x"}}"#,
    ] {
        rig.client.raw(&format!("{line}\n")).await;
    }
    rig.server.silent().await;
    assert!(rig.noted("`tools/call` without an id"));
}

#[tokio::test]
async fn what_is_no_message_is_answered_without_an_id() {
    let mut options = crate::rig::options();
    options.bounds.message_bytes = 4096;
    let mut rig = Rig::with(crate::rig::RULES, options).await;
    let long =
        format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":\"{}\"}}", "x".repeat(5000));
    for (line, code) in [
        ("hello", -32600),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#, -32600),
        (long.as_str(), -32700),
    ] {
        rig.client.raw(&format!("{line}\n")).await;
        let answer = rig.client.next().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(null), &json!(code)), "{answer}");
    }
    rig.server.silent().await;
}

#[tokio::test]
async fn the_client_leaving_ends_the_server_after_what_was_asked() {
    let mut rig = Rig::new().await;
    rig.call(1, "read", json!({"path": "/a"})).await;
    rig.client.close_input().await;
    assert_eq!(rig.server.next().await["id"], 1);
    rig.server.send(&json!({"jsonrpc": "2.0", "id": 1, "result": {"content": []}})).await;
    assert_eq!(rig.client.next().await["id"], 1);
    let (ended, _) = rig.leave().await;
    assert_eq!(ended.unwrap().forwarded, 1);
}
