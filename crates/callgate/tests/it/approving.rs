//! `callgate approvals` against a running gate: over its socket as the operator, over HTTP as a person, and
//! what a kill leaves.

use std::path::Path;

use serde_json::Value;

use crate::program::{Server, command, folder, http, public_key, request, run, succeed};

/// Keys of the agent and of two people who may review.
fn keys(dir: &Path) -> [String; 3] {
    let key = |who: &[&str]| {
        let args = [&["keys", "create", "--data", "data", "--bundle", "bundle"], who].concat();
        succeed(dir, &args).trim().to_owned()
    };
    [
        key(&["--agent", "bot"]),
        key(&["--person", "ana", "--role", "ops"]),
        key(&["--person", "ben", "--role", "ops"]),
    ]
}

fn moving(server: &Server, key: &str) -> Value {
    http(&server.address, "POST", "/api/v1/decide", Some(key), &request("move", "s")).unwrap().1
}

/// `callgate approvals …` with a person's key; exit code, and what was said.
fn as_person(dir: &Path, server: &Server, key: &str, args: &[&str]) -> (i32, String) {
    let url = format!("http://{}", server.address);
    let mut program = command();
    program.current_dir(dir).env("CALLGATE_TOKEN", key).arg("approvals").args(args).args(["--url", &url]);
    let output = program.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[test]
fn people_decide_from_the_command_line() {
    let dir = folder();
    let [bot, ana, ben] = keys(dir.path());
    let mut server = Server::start(dir.path(), &[]);
    let held = moving(&server, &bot);
    let id = held["approval"]["id"].as_str().unwrap().to_owned();
    let listed = succeed(dir.path(), &["approvals", "list", "--data", "data"]);
    assert!(listed.starts_with(&id) && listed.contains("s.move") && listed.contains("0/2"), "{listed}");
    let (code, shown) = as_person(dir.path(), &server, &ana, &["show", &id]);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("A person must agree") && shown.contains("rules/a.yaml:"), "{shown}");
    assert_eq!(as_person(dir.path(), &server, &ana, &["approve", &id, "--comment", "fine"]).0, 0);
    let (code, again) = as_person(dir.path(), &server, &ana, &["approve", &id]);
    assert!(code == 10 && again.contains("counts once"), "{code} {again}");
    let (code, agent) = as_person(dir.path(), &server, &bot, &["approve", &id]);
    assert!(code == 10 && agent.contains("an agent cannot decide"), "{code} {agent}");
    assert_eq!(as_person(dir.path(), &server, "cg_0_0", &["list"]).0, 10);
    // Nobody is asked twice after a kill, and nothing that was said is lost.
    server.kill();
    drop(server);
    let mut server = Server::start(dir.path(), &[]);
    assert_eq!(moving(&server, &bot)["approval"]["id"], id.as_str());
    let (code, granted) = as_person(dir.path(), &server, &ben, &["approve", &id]);
    assert!(code == 0 && granted.contains("granted"), "{granted}");
    assert_eq!(moving(&server, &bot)["decision"], "ALLOW");
    let next = moving(&server, &bot);
    assert_ne!(next["approval"]["id"], id.as_str(), "a grant runs one call");
    let refused = run(dir.path(), &["approvals", "approve", &id, "--data", "data"]);
    assert!(refused.code == 2 && refused.err.contains("is used"), "{} {}", refused.code, refused.err);
    let all = succeed(dir.path(), &["approvals", "list", "--all", "--data", "data", "--format", "json"]);
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all["approvals"][0]["status"], "used");
    assert_eq!(server.stop().0, 0);
    let gone = run(dir.path(), &["approvals", "list", "--data", "data"]);
    assert!(gone.code == 31 && gone.err.contains("callgate serve"), "{} {}", gone.code, gone.err);
    let key = public_key(&dir.path().join("data"));
    succeed(dir.path(), &["log", "replay", "--data", "data", "--key", key.to_str().unwrap()]);
}

#[test]
fn a_standing_approval_from_the_command_line() {
    let dir = folder();
    let [bot, ana, ben] = keys(dir.path());
    let server = Server::start(dir.path(), &[]);
    let id = moving(&server, &bot)["approval"]["id"].as_str().unwrap().to_owned();
    for key in [&ana, &ben] {
        let args = ["approve", &id, "--standing", "--uses", "2", "--for", "1h"];
        assert_eq!(as_person(dir.path(), &server, key, &args).0, 0);
    }
    for expected in ["ALLOW", "ALLOW", "REQUIRE_APPROVAL"] {
        assert_eq!(moving(&server, &bot)["decision"], expected);
    }
    let listed = succeed(dir.path(), &["approvals", "standing", "--all", "--data", "data"]);
    assert!(listed.contains("spent") && listed.contains("2/2 used"), "{listed}");
    let none = run(dir.path(), &["approvals", "suggest", "--data", "data"]);
    assert!(none.code == 0 && none.out.is_empty(), "{}{}", none.out, none.err);
}
