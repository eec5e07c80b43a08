//! The official SDK as the client: a denial reaches it as a result, not as a protocol error.

use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use serde_json::json;

use crate::real::{Wrapped, demo_server};

const RULES: &str = r#"
version: v1
rules:
  - {id: read, match: {tools: ["files.read*", "files.list*"]}, decision: allow}
  - {id: move, match: {tools: [files.move_file]}, decision: require_approval, reason: "moves need a person"}
"#;

fn call(tool: &'static str, args: serde_json::Value) -> CallToolRequestParams {
    let params = CallToolRequestParams::new(tool);
    params.with_arguments(args.as_object().cloned().unwrap_or_default())
}

#[tokio::test]
async fn the_official_sdk_lists_calls_and_is_denied() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "hello").unwrap();
    let wrapped = Wrapped::around(RULES, &demo_server(), &[folder.path().to_str().unwrap()]).await;
    let client = ().serve((wrapped.read, wrapped.write)).await.unwrap();

    let names: Vec<String> =
        client.list_all_tools().await.unwrap().into_iter().map(|t| t.name.to_string()).collect();
    assert_eq!(names, ["read_text_file", "list_directory", "move_file"]);
    let read = client.call_tool(call("read_text_file", json!({"path": "a.txt"}))).await.unwrap();
    assert!(!read.is_error.unwrap_or(false));
    let held = client
        .call_tool(call("move_file", json!({"source": "a.txt", "destination": "b.txt"})))
        .await
        .unwrap();
    assert_eq!(held.is_error, Some(true));
    assert!(serde_json::to_string(&held).unwrap().contains("APPROVAL_REQUIRED"));
    let denied =
        client.call_tool(call("write_file", json!({"path": "a.txt", "content": "x"}))).await.unwrap();
    assert_eq!(denied.is_error, Some(true));
    assert_eq!(std::fs::read_to_string(folder.path().join("a.txt")).unwrap(), "hello");

    client.cancel().await.unwrap();
    let ended = tokio::time::timeout(crate::rig::WAIT, wrapped.wrapper).await.unwrap().unwrap().unwrap();
    assert_eq!((ended.forwarded, ended.refused), (1, 2));
}
