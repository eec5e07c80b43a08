//! The life of a policy with the real program: kept, published, tried, taken back; and who may do it.

use std::path::Path;

use serde_json::{Value, json};

use crate::program::{Server, ask, http, public_key, run, succeed, write};

/// The policy of the printed guide, with bounds on all that may run.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let topics = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/topics");
    for name in ["rules/policy.yaml", "tests/topics.yaml"] {
        let text = std::fs::read_to_string(topics.join(name)).unwrap();
        write(dir.path(), &format!("bundle/{name}"), &text);
    }
    dir
}

fn bounded(dir: &Path) {
    let defaults = "version: v1\ndefaults: {constraints: {max_runtime_sec: 60, max_retries: 1}}\n";
    write(dir, "bounded/callgate.yaml", defaults);
    let rules = std::fs::read_to_string(dir.join("bundle/rules/policy.yaml")).unwrap();
    write(dir, "bounded/rules/policy.yaml", &rules);
    let tests = "version: v1\ntests:\n  - name: nothing destructive runs\n    request: {agent: {id: b}, topic: a.b, risk_tags: [destructive]}\n    expect: {decision: DENY}\n";
    write(dir, "bounded/tests/a.yaml", tests);
}

fn job(topic: &str, session: &str) -> String {
    json!({"agent": {"id": "bridge"}, "topic": topic, "session": {"id": session},
           "pep": {"id": "bridge", "enforces": ["max_runtime_ms", "max_retries", "network_allowlist"]}})
    .to_string()
}

fn gate<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let mut all = args.to_vec();
    all.extend(["--data", "data"]);
    all
}

#[test]
fn the_printed_commands_do_what_they_say() {
    let dir = folder();
    bounded(dir.path());
    let mut server = Server::start(dir.path(), &["--dev"]);
    let post = |path: &str, body: &str| http(&server.address, "POST", path, None, body).unwrap();
    for (bundle, version) in [("bundle", "v41"), ("bounded", "v42")] {
        let staged = succeed(dir.path(), &gate(&["snapshots", "stage", bundle, "--as", version]));
        assert!(staged.contains(version), "{staged}");
    }
    let override_it = ["publish", "v41", "--no-simulate", "--override", "the folder has the same"];
    succeed(dir.path(), &gate(&override_it));
    // 0) simulate, on the candidate
    let simulated = post(
        "/api/v1/policy/simulate",
        r#"{"tenant_id": "default", "snapshot": "v42",
            "job": {"topic": "job.mcp-bridge.write.update_ticket", "risk_tags": ["prod", "write"],
                    "labels": {"mcp.server": "jira", "mcp.action": "write"}}}"#,
    );
    let expected = json!({
        "decision": "REQUIRE_APPROVAL",
        "reason": "Prod writes require human approval",
        "constraints": {"max_runtime_sec": 60, "max_retries": 1},
        "matched_rule": "require-approval-prod-write"
    });
    assert_eq!(simulated, (200, expected));
    // Without a simulation of exactly this snapshot it is not published.
    let body = r#"{"snapshot":"v42","note":"tighten prod write controls"}"#;
    let (status, refused) = post("/api/v1/policy/publish", body);
    assert_eq!(status, 409, "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("callgate simulate v42"), "{refused}");
    assert_eq!(post("/api/v1/policy/simulate", r#"{"snapshot":"v42","history":{}}"#).0, 200);
    // 1) publish
    let (status, released) = post("/api/v1/policy/publish", body);
    assert_eq!((status, &released["snapshot"], &released["previous"]), (200, &json!("v42"), &json!("v41")));
    // 2) the queue
    let held = json!({"agent": {"id": "bridge"}, "topic": "job.mcp-bridge.write.update_ticket",
        "risk_tags": ["prod", "write"], "pep": {"id": "b", "enforces": ["max_runtime_ms", "max_retries"]}});
    assert_eq!(ask(&server.address, &held.to_string()).unwrap().1["decision"], "REQUIRE_APPROVAL");
    let path = "/api/v1/approvals?include_resolved=false";
    let (status, queue) = http(&server.address, "GET", path, None, "").unwrap();
    assert_eq!((status, queue["approvals"].as_array().unwrap().len()), (200, 1), "{queue}");
    // 3) roll back
    let (status, back) = post(
        "/api/v1/policy/rollback",
        r#"{"target_snapshot":"v41","note":"rollback due false positive spike"}"#,
    );
    assert_eq!((status, &back["snapshot"], &back["changed"]), (200, &json!("v41"), &json!(true)));
    let path = "/api/v1/approvals?include_resolved=false";
    let (_, queue) = http(&server.address, "GET", path, None, "").unwrap();
    assert_eq!(queue["approvals"], json!([]), "a changed policy needs a new approval");
    assert_eq!(server.stop().0, 0);
}

#[test]
fn a_policy_is_kept_published_tried_and_taken_back() {
    let dir = folder();
    let mut server = Server::start(dir.path(), &["--dev"]);
    for number in 0..20 {
        let (_, reply) = ask(&server.address, &job("job.mcp-bridge.read.a", &format!("s{number}"))).unwrap();
        assert_eq!(reply["decision"], "ALLOW");
    }
    // A candidate that denies what was allowed is stopped before it is in force.
    write(
        dir.path(),
        "next/rules/more.yaml",
        "version: v1\nrules:\n  - {id: no-reads, match: {topics: [\"job.mcp-bridge.read.*\"]}, decision: deny}\n",
    );
    write(
        dir.path(),
        "next/tests/policy.yaml",
        "version: v1\ntests:\n  - {name: no reads, request: {agent: {id: b}, topic: job.mcp-bridge.read.a}, expect: {decision: DENY}}\n",
    );
    let refused = run(dir.path(), &gate(&["publish", "next"]));
    assert_eq!(refused.code, 21, "{}", refused.err);
    assert!(refused.err.contains("20 of 20 recorded decisions become stricter"), "{}", refused.err);
    succeed(dir.path(), &gate(&["rollout", "shadow", "v2", "--note", "how much would it stop?"]));
    let (_, reply) = ask(&server.address, &job("job.mcp-bridge.read.a", "shadowed")).unwrap();
    assert_eq!(reply["decision"], "ALLOW", "a shadow is not obeyed");
    let status = succeed(dir.path(), &gate(&["rollout", "status"]));
    assert!(status.contains("DENY 1") && status.contains("ALLOW 1"), "{status}");
    succeed(dir.path(), &gate(&["rollout", "stop"]));
    assert_eq!(run(dir.path(), &gate(&["rollout", "canary", "v2", "--share", "50%"])).code, 2);
    let canary = ["rollout", "canary", "v2", "--share", "100%", "--override", "a drill", "--format", "json"];
    let tried: Value = serde_json::from_str(&succeed(dir.path(), &gate(&canary))).unwrap();
    assert_eq!(tried["trial"]["share_bp"], 10_000);
    let (_, reply) = ask(&server.address, &job("job.mcp-bridge.read.a", "tried")).unwrap();
    assert_eq!((&reply["decision"], &reply["snapshot"]), (&json!("DENY"), &json!("v2")));
    succeed(dir.path(), &gate(&["publish", "v2", "--no-simulate", "--override", "a drill"]));
    let listed = succeed(dir.path(), &gate(&["snapshots", "list"]));
    assert!(listed.contains("v2     live") && listed.contains("v1     kept"), "{listed}");
    assert!(succeed(dir.path(), &gate(&["snapshots", "show", "v2"])).contains("no-reads"));
    let back = succeed(dir.path(), &gate(&["rollback", "v1", "--note", "the drill is over"]));
    assert!(back.contains("v1 is in force since receipt"), "{back}");
    assert_eq!(run(dir.path(), &gate(&["rollback", "v9"])).code, 2);
    let monitored = succeed(dir.path(), &gate(&["mode", "monitor", "--agent", "bridge"]));
    assert!(monitored.contains("only recorded: agent bridge"), "{monitored}");
    let (_, reply) = ask(&server.address, &job("job.nobody.speaks.of", "m")).unwrap();
    assert_eq!((&reply["decision"], &reply["would"]["decision"]), (&json!("ALLOW"), &json!("DENY")));
    succeed(dir.path(), &gate(&["mode", "enforce", "--agent", "bridge"]));
    assert_eq!(server.stop().0, 0);
    let key = public_key(&dir.path().join("data"));
    let key = key.to_str().unwrap();
    succeed(dir.path(), &["log", "verify", "--data", "data", "--key", key]);
    succeed(dir.path(), &["log", "replay", "--data", "data", "--key", key]);
    let would = succeed(dir.path(), &["log", "would", "--data", "data", "--format", "json"]);
    let would: Value = serde_json::from_str(&would).unwrap();
    assert_eq!((&would["monitored"], &would["changed"]), (&json!(1), &json!(1)), "{would}");
    assert_eq!(would["by_decision"], json!({"DENY": 1}));
    assert_eq!(would["by_rule"], json!({"NO_POLICY_MATCH": 1}));
    assert_eq!(would["by_tool"], json!({"job.nobody.speaks.of": 1}));
    let said = succeed(dir.path(), &["log", "would", "--data", "data", "--agent", "nobody"]);
    assert!(said.starts_with("0 decisions"), "{said}");
}

#[test]
fn an_agents_key_reaches_nothing_of_this_and_a_role_reaches_its_part() {
    let dir = folder();
    let key = |args: &[&str]| {
        let mut all = vec!["keys", "create", "--data", "data", "--bundle", "bundle"];
        all.extend(args);
        succeed(dir.path(), &all).trim().to_owned()
    };
    let agent = key(&["--agent", "bridge"]);
    let auditor = key(&["--person", "ida", "--role", "auditor"]);
    let publisher = key(&["--person", "pia", "--role", "publisher"]);
    let operator = key(&["--person", "ola", "--role", "operator"]);
    let mut server = Server::start(dir.path(), &[]);
    let routes = [
        ("POST", "/api/v1/policy/publish", r#"{"snapshot":"v1"}"#),
        ("POST", "/api/v1/policy/rollback", r#"{"target_snapshot":"v1"}"#),
        (
            "POST",
            "/api/v1/policy/snapshots",
            r#"{"bundle":{"files":{"rules/a.yaml":"version: v1\nrules: []"}}}"#,
        ),
        ("POST", "/api/v1/policy/rollout", r#"{"snapshot":"v1","mode":"shadow"}"#),
        ("POST", "/api/v1/policy/rollout/stop", "{}"),
        ("POST", "/api/v1/policy/mode", r#"{"monitor":true}"#),
        ("POST", "/api/v1/policy/simulate", r#"{"job":{"topic":"a.b"}}"#),
        ("POST", "/api/v1/enforcement-points", r#"{"id":"p","enforces":[],"snapshot":"v1"}"#),
        ("POST", "/api/v1/keys", r#"{"person":"eve","roles":["operator"]}"#),
        ("DELETE", "/api/v1/keys/0000", ""),
        ("DELETE", "/api/v1/enforcement-points/p", ""),
        ("GET", "/api/v1/policy/snapshots", ""),
        ("GET", "/api/v1/keys", ""),
    ];
    let status = |key: &str, (method, path, body): (&str, &str, &str)| {
        http(&server.address, method, path, Some(key), body).unwrap().0
    };
    for route in routes {
        assert_eq!(status(&agent, route), 403, "{route:?}");
        assert_eq!(http(&server.address, route.0, route.1, None, route.2).unwrap().0, 401, "{route:?}");
    }
    for route in routes.iter().filter(|(method, path, _)| *method != "GET" && !path.ends_with("simulate")) {
        assert_eq!(status(&auditor, *route), 403, "{route:?}");
    }
    for (_, path, _) in routes.iter().filter(|(method, ..)| *method == "GET") {
        assert_eq!(status(&auditor, ("GET", path, "")), 200, "{path}");
    }
    assert_eq!(status(&publisher, routes[0]), 200);
    for route in [routes[5], routes[8], routes[9]] {
        assert_eq!(status(&publisher, route), 403, "{route:?}");
    }
    let (code, made) = http(
        &server.address,
        "POST",
        "/api/v1/keys",
        Some(&operator),
        r#"{"person":"eve","roles":["auditor"]}"#,
    )
    .unwrap();
    assert_eq!(code, 200, "{made}");
    let eve = made["key"].as_str().unwrap().to_owned();
    assert_eq!(status(&eve, ("GET", "/api/v1/keys", "")), 200);
    // A person's key cannot ask as an agent.
    let asked =
        http(&server.address, "POST", "/api/v1/decide", Some(&operator), &job("job.mcp-bridge.read.a", "s"));
    assert_eq!(asked.unwrap().1["code"], "INVALID_REQUEST");
    assert_eq!(server.stop().0, 0);
}
