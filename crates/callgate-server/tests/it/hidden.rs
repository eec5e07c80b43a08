//! What a list of tools need not show: said of whoever asks, and never receipted.

use serde_json::{Value, json};

use crate::client::key;
use crate::fixture::{World, call};
use crate::schema::Schemas;

const PATH: &str = "/api/v1/tools/hidden";

fn probes(agent: &str, tools: &[&str]) -> String {
    let requests = tools.iter().map(|tool| serde_json::from_str::<Value>(&call(agent, tool)).expect("JSON"));
    json!({"requests": requests.collect::<Vec<_>>()}).to_string()
}

#[tokio::test]
async fn what_is_denied_whatever_its_arguments_is_named_and_nothing_decided() {
    let world = World::new().await;
    let headers = key(&world.key("bot").await);
    let before = world.gate.size();
    let answer = world.post(PATH, &headers, probes("bot", &["drop", "read", "move", "list"])).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"hidden": [true, false, false, false]})));
    Schemas::load().check("HiddenReply", &answer.json());
    // What cannot be read, or is another's, is in doubt.
    let mut odd: Value = serde_json::from_str(&probes("other", &["drop", "read"])).expect("JSON");
    odd["requests"][1] = json!({"tool": 7});
    let answer = world.post(PATH, &headers, odd.to_string()).await;
    assert_eq!((answer.status, &answer.json()["hidden"][1]), (200, &json!(false)));
    assert_eq!(world.post(PATH, "", probes("bot", &["drop"])).await.status, 401);
    for wrong in ["{}".to_owned(), "[]".to_owned(), "7".to_owned(), probes("bot", &["read"; 65])] {
        let answer = world.post(PATH, &headers, &wrong).await;
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(answer.json()["decision"].is_null(), "it is no decision");
    }
    assert_eq!(world.gate.size(), before);
}
