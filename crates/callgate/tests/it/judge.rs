//! A judge behind the real program: a bundle that asks, and a small server that answers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use crate::program::{Ran, command, folder, public_key, run, succeed, write};

const RULES: &str = "version: v1
rules:
  - {id: mail, match: {tools: [mail.send]}, decision: allow}
  - id: polite
    match: {tools: [mail.send]}
    judge: {policy: 'Only polite mail.', sees: [args.body], on_failure: require_approval}
    decision: deny
";

/// A server that rules on every question as told; gives its address.
fn server(ruling: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), ruling);
        }
    });
    url
}

fn answer(mut stream: TcpStream, ruling: &str) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut length, mut key) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        key |= line == "authorization: bearer sk-judge";
        length = line.strip_prefix("content-length: ").map_or(length, |text| text.parse().unwrap());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let id = &body["response_format"]["json_schema"]["schema"]["properties"]["question"]["enum"][0];
    let content = json!({"question": id, "ruling": ruling, "confidence": 0.9}).to_string();
    let message = json!({"role": "assistant", "content": content});
    let completion = json!({"model": "m-1", "choices": [{"finish_reason": "stop", "message": message}]});
    let (status, text) = if key { ("200 OK", completion.to_string()) } else { ("401 No", String::new()) };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
    stream.write_all(format!("{head}{text}").as_bytes()).unwrap();
}

fn asking() -> tempfile::TempDir {
    let dir = folder();
    write(dir.path(), "bundle/callgate.yaml", "version: v1\njudge: {model: m}\n");
    write(dir.path(), "bundle/rules/a.yaml", RULES);
    write(
        dir.path(),
        "request.json",
        r#"{"agent":{"id":"bot"},"tool":{"server":"mail","name":"send"},"args":{"body":"Dear Ana"}}"#,
    );
    dir
}

fn decide(dir: &Path, more: &[&str], key: &str) -> Ran {
    let mut args = vec!["decide", "--bundle", "bundle", "--request", "request.json", "--format", "json"];
    args.extend(more);
    let output = command().current_dir(dir).args(&args).env("CALLGATE_JUDGE_KEY", key).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_judge_has_its_part_in_a_receipted_decision() {
    for (ruling, code) in [("complies", 0), ("violates", 10), ("unsure", 11)] {
        let (dir, url) = (asking(), server(ruling));
        let ran = decide(dir.path(), &["--data", "data", "--judge-url", &url], "sk-judge");
        assert_eq!(ran.code, code, "{ruling}: {}{}", ran.out, ran.err);
        assert!(!ran.err.contains("sk-judge"));
        let key = public_key(&dir.path().join("data")).display().to_string();
        let shown =
            succeed(dir.path(), &["log", "show", "2", "--data", "data", "--key", &key, "--format", "json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let finding = &shown["statement"]["predicate"]["findings"][0];
        assert_eq!((&finding["answer"], &finding["rule"]), (&json!(ruling), &json!("polite")), "{shown}");
        assert_eq!((&finding["model"], &finding["confidence"]), (&json!("m-1"), &json!("0.9")));
        // The server is not asked again: replay has all it needs.
        succeed(dir.path(), &["log", "replay", "--data", "data", "--key", &key]);
    }
}

#[test]
fn without_an_endpoint_the_stricter_decision_holds_and_is_announced() {
    let dir = asking();
    let ran = decide(dir.path(), &["--data", "data"], "");
    assert_eq!(ran.code, 11, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("judge `m`"), "{}", ran.err);
    let dry = decide(dir.path(), &[], "");
    assert_eq!(dry.code, 11, "a dry run asks nobody: {}", dry.out);
    let wrong_key = decide(dir.path(), &["--data", "data", "--judge-url", &server("complies")], "sk-other");
    assert_eq!(wrong_key.code, 11, "{}{}", wrong_key.out, wrong_key.err);
}

#[test]
fn an_endpoint_that_would_show_arguments_to_the_network_is_refused() {
    let dir = asking();
    for url in ["http://judge.example.com/v1", "ftp://localhost", "https://user:pw@example.com", "nowhere"] {
        let args = [
            "decide",
            "--bundle",
            "bundle",
            "--request",
            "request.json",
            "--data",
            "data",
            "--judge-url",
            url,
        ];
        let ran = run(dir.path(), &args);
        assert_eq!(ran.code, 2, "{url}: {}{}", ran.out, ran.err);
        assert!(!dir.path().join("data").exists(), "{url}");
    }
}
