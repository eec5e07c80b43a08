//! `callgate serve`: keys, reloading, one owner at a time, and the way out.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Server, ask, command, folder, http, request, run, succeed, write};

#[test]
fn authentication_is_on_unless_told_otherwise() {
    let dir = folder();
    let key =
        succeed(dir.path(), &["keys", "create", "--data", "data", "--bundle", "bundle", "--agent", "bot"]);
    let mut server = Server::start(dir.path(), &[]);
    let decide = |key: Option<&str>| {
        http(&server.address, "POST", "/api/v1/decide", key, &request("read", "s")).unwrap()
    };
    assert_eq!(decide(None).0, 401);
    assert_eq!(decide(Some("cg_0000000000000000_00")).0, 401);
    let (status, reply) = decide(Some(key.trim()));
    assert_eq!((status, &reply["decision"]), (200, &Value::from("ALLOW")));
    assert_eq!(server.stop().0, 0);
    let listed: Value =
        serde_json::from_str(&succeed(dir.path(), &["keys", "list", "--data", "data", "--format", "json"]))
            .unwrap();
    let id = listed[0]["id"].as_str().unwrap();
    assert!(key.contains(id) && !listed.to_string().contains(key.trim()));
    succeed(dir.path(), &["keys", "revoke", id, "--data", "data"]);
    assert_eq!(succeed(dir.path(), &["keys", "list", "--data", "data", "--format", "json"]).trim(), "[]");
    assert_eq!(run(dir.path(), &["keys", "revoke", id, "--data", "data"]).code, 2);
}

#[test]
fn a_folder_has_one_owner() {
    let dir = folder();
    let mut server = Server::start(dir.path(), &["--dev"]);
    for args in [
        vec!["decide", "--data", "data", "--request", "bundle/rules/a.yaml"],
        vec!["keys", "create", "--data", "data", "--agent", "x"],
    ] {
        let refused = run(dir.path(), &args);
        assert_eq!(refused.code, 31, "{args:?}: {}", refused.err);
        assert!(refused.err.contains(&format!("process {}", server.child.id())), "{}", refused.err);
        assert!(refused.err.contains("stop it, or use another data folder"), "{}", refused.err);
    }
    // A wrapper need not own it.
    let told = run(dir.path(), &["mcp", "--data", "data", "--", "true"]);
    assert_eq!(told.code, 31, "{}", told.err);
    assert!(
        told.err.contains("callgate mcp --gate unix:data/gate.sock --gate-key data/keys/"),
        "{}",
        told.err
    );
    // Reading needs no lock.
    succeed(dir.path(), &["log", "tail", "--data", "data"]);
    succeed(dir.path(), &["keys", "list", "--data", "data"]);
    let (code, said) = server.stop();
    assert_eq!(code, 0, "{said}");
    assert!(said.ends_with("stopped"), "{said}");
    assert!(!dir.path().join("data/gate.sock").exists());
}

#[test]
fn a_changed_bundle_comes_into_force_and_a_broken_one_does_not() {
    let dir = folder();
    let mut server = Server::start(dir.path(), &["--dev", "--reload", "100ms"]);
    let decision = || ask(&server.address, &request("drop", "s")).unwrap().1["decision"].clone();
    assert_eq!(decision(), "DENY");
    write(dir.path(), "bundle/rules/a.yaml", "version: v1\nrules: [{id: drop, decision: nonsense}]");
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(decision(), "DENY", "a broken bundle changes nothing");
    write(
        dir.path(),
        "bundle/rules/a.yaml",
        "version: v1\nrules: [{id: drop, match: {tools: [s.drop]}, decision: allow}]",
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while decision() != "ALLOW" {
        assert!(Instant::now() < deadline, "the new bundle never came into force");
        thread::sleep(Duration::from_millis(50));
    }
    let (code, said) = server.stop();
    assert_eq!(code, 0);
    assert!(said.contains("the snapshot in force stays") && said.contains("CG0208"), "{said}");
    assert_eq!(said.matches("the snapshot in force stays").count(), 1, "said once: {said}");
    assert!(said.contains("snapshot v2 is in force"), "{said}");
}

#[test]
fn a_local_socket_is_for_its_owner() {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::PermissionsExt as _;
    let dir = folder();
    let _server = Server::start(dir.path(), &[]);
    let path = dir.path().join("data/gate.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let body = request("read", "s");
    let head = format!(
        "POST /api/v1/decide HTTP/1.1\r\nhost: gate\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""decision":"ALLOW""#), "{answer}");
}

#[test]
fn development_stays_on_loopback_and_leaves_nothing() {
    let dir = folder();
    let refused = run(dir.path(), &["serve", "--dev", "--bundle", "bundle", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("listens on loopback only"), "{}", refused.err);
    let mut program = command();
    program.env("TMPDIR", dir.path()).args([
        "serve",
        "--dev",
        "--bundle",
        "bundle",
        "--listen",
        "127.0.0.1:0",
    ]);
    let mut server = Server::spawn(dir.path(), program).unwrap_or_else(|said| panic!("{said}"));
    assert_eq!(ask(&server.address, &request("read", "s")).unwrap().0, 200);
    assert_eq!(server.stop().0, 0);
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["bundle"], "the throwaway log is gone");
}

#[test]
fn a_gate_that_cannot_start_says_why() {
    let dir = folder();
    let broken = "version: v1\nrules: [{id: a, decision: nonsense}]";
    write(dir.path(), "broken/rules/a.yaml", broken);
    let refused =
        run(dir.path(), &["serve", "--bundle", "broken", "--data", "data", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.code, 20, "{}", refused.err);
    assert!(refused.err.contains("CG0208"), "{}", refused.err);
    let refused = run(dir.path(), &["serve", "--data", "data", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.code, 31, "{}", refused.err);
    assert!(refused.err.contains("start once with `--bundle DIR`"), "{}", refused.err);
}
