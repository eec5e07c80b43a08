//! Lists of tools: what would be denied with any arguments is not shown.

use serde_json::{Value, json};

use crate::rig::Rig;

async fn listed(rig: &mut Rig, params: Value, result: Value) -> Value {
    let request = json!({"jsonrpc": "2.0", "id": "l", "method": "tools/list", "params": params});
    rig.client.send(&request).await;
    assert_eq!(rig.server.next().await, request);
    rig.server.send(&json!({"jsonrpc": "2.0", "id": "l", "result": result})).await;
    rig.client.next().await["result"].clone()
}

fn tools(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}, "x": 1})).collect()
}

#[tokio::test]
async fn only_tools_that_are_denied_with_any_arguments_are_hidden() {
    let mut rig = Rig::new().await;
    let all = ["read", "write", "move", "tree", "drop", "maybe", "ro", "unheard_of", "bad\u{200b}name"];
    let found = listed(&mut rig, json!({}), json!({"tools": tools(&all), "nextCursor": "n"})).await;
    // `ro` is denied because of a constraint, which is an error to show rather than to hide.
    assert_eq!(
        found,
        json!({"tools": tools(&["read", "write", "move", "tree", "maybe", "ro"]), "nextCursor": "n"})
    );
    let answer = rig.refused(1, "drop", json!({})).await;
    assert_eq!(answer["result"]["_meta"]["callgate/code"], "DENIED_BY_RULE");
}

#[tokio::test]
async fn a_filtered_list_is_not_for_others() {
    let mut rig = Rig::new().await;
    let result = json!({"resultType": "complete", "tools": [], "ttlMs": 1000, "cacheScope": "public"});
    let found = listed(&mut rig, json!({}), result).await;
    assert_eq!(found, json!({"resultType": "complete", "tools": [], "ttlMs": 1000, "cacheScope": "private"}));
    let modern = json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}});
    let found = listed(&mut rig, modern, json!({"tools": []})).await;
    assert_eq!(found["cacheScope"], "private");
}

#[tokio::test]
async fn listing_leaves_no_receipt() {
    let mut rig = Rig::new().await;
    let before = rig.gate.size();
    listed(&mut rig, json!({}), json!({"tools": tools(&["read", "drop"])})).await;
    assert_eq!(rig.gate.size(), before);
}
