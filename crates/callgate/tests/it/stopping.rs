//! Limits and stops with the real program: what an operator does about an agent that does too much.

use serde_json::{Value, json};

use crate::program::{Server, ask, http, run, succeed, write};

const RULES: &str = r#"version: v1
rules:
  - {id: reads, match: {tools: [files.read]}, decision: allow}
  - {id: drops, match: {tools: [files.drop]}, decision: deny}
"#;
const LIMITS: &str = r#"version: v1
budgets: [{id: reads-a-day, unit: calls, limit: "3", per: [agent], over: day, match: {tools: [files.read]}}]
breakers: [{id: strikes, per: [agent], trip: {denials: 2, within: 5m, codes: [DENIED_BY_RULE]}}]
"#;

fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bundle/rules/r.yaml", RULES);
    write(dir.path(), "bundle/limits/l.yaml", LIMITS);
    dir
}

/// The decision, its code and its receipt.
fn told(server: &Server, agent: &str, tool: &str) -> (String, Value, u64) {
    let body = json!({"agent": {"id": agent}, "tool": {"server": "files", "name": tool}}).to_string();
    let (_, reply) = ask(&server.address, &body).unwrap();
    (
        reply["decision"].as_str().unwrap().to_owned(),
        reply["code"].clone(),
        reply["receipt_index"].as_u64().unwrap(),
    )
}

fn code(server: &Server, agent: &str, tool: &str) -> Value {
    told(server, agent, tool).1
}

fn with<'a>(args: &[&'a str]) -> Vec<&'a str> {
    args.iter().copied().chain(["--data", "data"]).collect()
}

#[test]
fn a_budget_outlives_kills_and_a_breaker_waits_for_somebody_who_looked() {
    let dir = place();
    let mut server = Server::start(dir.path(), &["--dev"]);
    assert_eq!(code(&server, "bot", "read"), Value::Null);
    assert_eq!(code(&server, "BOT", "read"), Value::Null);
    server.kill();
    let mut server = Server::start(dir.path(), &["--dev"]);
    assert_eq!(code(&server, "bot", "read"), Value::Null);
    assert_eq!(code(&server, "bot", "read"), "BUDGET_EXCEEDED");
    assert!(succeed(dir.path(), &with(&["limits"])).contains("reads-a-day@"));
    // Two strikes.
    assert_eq!(code(&server, "cat", "drop"), "DENIED_BY_RULE");
    let (_, _, last) = told(&server, "cat", "drop");
    assert_eq!(code(&server, "cat", "read"), "BREAKER_OPEN");
    assert_eq!(code(&server, "dog", "read"), Value::Null);
    let listed = succeed(dir.path(), &with(&["breakers", "list", "--format", "json"]));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let name = listed.to_string().split("strikes@").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let name = format!("strikes@{name}");
    let reset = |through: u64| {
        let through = through.to_string();
        run(dir.path(), &with(&["breakers", "reset", &name, "--through", &through, "--note", "seen"]))
    };
    let early = reset(last - 1);
    assert_ne!(early.code, 0, "one violation was not looked at: {}", early.err);
    assert_eq!(code(&server, "cat", "read"), "BREAKER_OPEN");
    let done = reset(last);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(code(&server, "cat", "read"), Value::Null);
    assert_eq!(server.stop().0, 0);
}

/// One question: how much may this agent still spend, and what bounds it first?
#[test]
fn what_is_left_to_an_agent_is_one_question() {
    let dir = place();
    write(
        dir.path(),
        "bundle/limits/tree.yaml",
        r#"version: v1
budgets: [{id: spend, unit: usd, estimate: "0.40", levels: {agent: "1.00", tenant: "100.00"}, over: day}]
throttles: [{id: pace, rate: 1/10m, burst: 1, per: [agent], match: {tools: [files.list]}}]
"#,
    );
    let mut server = Server::start(dir.path(), &["--dev"]);
    assert_eq!(code(&server, "bot-1", "read"), Value::Null);
    let said = succeed(dir.path(), &with(&["limits", "--agent", "B\u{43e}T-l"]));
    let line = |id: &str| said.lines().find(|line| line.contains(id)).unwrap_or_else(|| panic!("{said}"));
    assert!(line("spend/agent@").contains("0.4 of 1 usd used"), "{said}");
    assert!(line("spend/agent@").contains("0.6 left"), "{said}");
    assert!(line("spend/agent@").ends_with("bounds first"), "{said}");
    assert!(!line("spend/tenant@").contains("first"), "{said}");
    assert!(line("pace@").contains("0 of 1 calls used") && line("pace@").contains("one more each 600 s"));
    let told = succeed(dir.path(), &with(&["limits", "--agent", "bot-1", "--format", "json"]));
    let told: callgate_server::wire_limits::MeterList = serde_json::from_str(&told).unwrap();
    let first: Vec<&str> = told.meters.iter().filter(|it| it.first).map(|it| it.counts.as_str()).collect();
    assert_eq!(first, ["agent=bot-l"; 2], "one of each unit");
    assert_eq!(told.unseen, Some(Vec::new()));
    for (args, problem) in [
        (&["--agent", " bot"][..], "`agent`"),
        (&["--agent", "bot", "--prefix", "spend"], "cannot be used with"),
    ] {
        let refused = run(dir.path(), &with(&[&["limits"], args].concat()));
        assert!(refused.code == 2 && refused.err.contains(problem), "{args:?}: {}", refused.err);
    }
    assert_eq!(server.stop().0, 0);
    // Another policy: what was counted is there, and held against nothing.
    std::fs::remove_file(dir.path().join("bundle/limits/tree.yaml")).unwrap();
    let mut server = Server::start(dir.path(), &["--dev"]);
    let said = succeed(dir.path(), &with(&["limits", "--prefix", "spend/agent@"]));
    assert!(said.contains("0.4 used") && said.contains("no limit in force"), "{said}");
    assert!(succeed(dir.path(), &with(&["limits", "--agent", "bot-1"])).contains("1 of 3 calls used"));
    assert_eq!(server.stop().0, 0);
}

#[test]
fn a_stop_holds_from_the_next_decision_on_until_it_is_lifted() {
    let dir = place();
    let mut server = Server::start(dir.path(), &["--dev"]);
    let (_, _, running) = told(&server, "bot", "read");
    let progress = |receipt: u64| {
        let body = json!({"receipt_index": receipt}).to_string();
        http(&server.address, "POST", "/api/v1/progress", None, &body).unwrap().1
    };
    assert_eq!(progress(running)["continue"], true);
    let stopped = succeed(dir.path(), &with(&["stop", "agent", "bot", "--note", "looks odd"]));
    let id = stopped.split_whitespace().next().unwrap().to_owned();
    assert!(id.starts_with("stop-"), "{stopped}");
    assert_eq!(code(&server, "bot", "read"), "AGENT_KILLED");
    assert_eq!(code(&server, "B\u{43e}t", "read"), "AGENT_KILLED", "a look-alike");
    assert_eq!(code(&server, "dog", "read"), Value::Null);
    assert_eq!(progress(running)["code"], "AGENT_KILLED");
    assert!(succeed(dir.path(), &with(&["stops"])).contains("looks odd"));
    server.kill();
    let mut server = Server::start(dir.path(), &["--dev"]);
    assert_eq!(code(&server, "bot", "read"), "AGENT_KILLED", "a restart lifts nothing");
    succeed(dir.path(), &with(&["resume", &id, "--note", "it was a test"]));
    assert_eq!(code(&server, "bot", "read"), Value::Null);
    succeed(dir.path(), &with(&["stop", "everything", "--note", "drill"]));
    assert_eq!(code(&server, "dog", "read"), "AGENT_KILLED");
    assert_eq!(server.stop().0, 0);
}

#[test]
fn agents_reach_none_of_it() {
    let dir = place();
    let key = |args: &[&str]| {
        let mut all = vec!["keys", "create", "--data", "data", "--bundle", "bundle"];
        all.extend(args);
        succeed(dir.path(), &all).trim().to_owned()
    };
    let agent = key(&["--agent", "bot"]);
    let operator = key(&["--person", "ana", "--role", "operator"]);
    let mut server = Server::start(dir.path(), &[]);
    let everything = r#"{"scope": "everything", "note": "n"}"#;
    let reset = r#"{"name": "strikes@00000000:agent=bot", "through": 1, "note": "n"}"#;
    for (method, path, body) in [
        ("GET", "/api/v1/stops", ""),
        ("POST", "/api/v1/stops", everything),
        ("POST", "/api/v1/stops/stop-1/lift", r#"{"note": "n"}"#),
        ("GET", "/api/v1/breakers", ""),
        ("POST", "/api/v1/breakers/reset", reset),
        ("GET", "/api/v1/limits", ""),
    ] {
        let status = |key: Option<&str>| http(&server.address, method, path, key, body).unwrap().0;
        assert_eq!((status(Some(&agent)), status(None)), (403, 401), "{method} {path}");
        if method == "GET" {
            assert_eq!(status(Some(&operator)), 200, "{path}");
        }
    }
    assert_eq!(server.stop().0, 0);
}
