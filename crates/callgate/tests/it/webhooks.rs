//! Webhooks from the real program: to a receiver that is down for a while, across kill -9.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::program::{Server, ask, command, folder, request, run, write};

/// One request that came in.
struct Came {
    id: String,
    signature: Option<String>,
    body: Value,
}

/// Listens on `address`, and answers the first requests with these statuses and every other with 200.
fn receive(address: &str, statuses: &'static [&'static str]) -> (String, Receiver<Came>) {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, came) = channel();
    thread::spawn(move || {
        let statuses = statuses.iter().copied().chain(std::iter::repeat("200 OK"));
        for (stream, status) in listener.incoming().zip(statuses) {
            let came = answer(stream.unwrap(), status);
            if sender.send(came).is_err() {
                return;
            }
        }
    });
    (address, came)
}

fn answer(mut stream: TcpStream, status: &str) -> Came {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut id, mut signature, mut length) = (String::new(), None, 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim().split_once(": ") {
            Some(("webhook-id", value)) => id = value.to_owned(),
            Some(("webhook-signature", value)) => signature = Some(value.to_owned()),
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None if line.trim().is_empty() => break,
            None => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    Came { id, signature, body: serde_json::from_slice(&body).unwrap() }
}

/// The next request, which must come soon.
fn next(came: &Receiver<Came>) -> Came {
    came.recv_timeout(Duration::from_secs(30)).unwrap()
}

fn snapshot(came: &Came) -> &str {
    assert_eq!(came.body["type"], "snapshot.activated", "{}", came.body);
    came.body["data"]["snapshot"].as_str().unwrap()
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn hooks(dir: &Path, address: &str) {
    write(dir, "hooks/ops.secret", SECRET);
    let text = format!(
        "version: v1\nwebhooks:\n  - {{id: ops, url: 'http://{address}/hook', secret_file: ops.secret, events: [snapshot.*]}}\n"
    );
    write(dir, "hooks/hooks.yaml", &text);
}

fn change(dir: &Path, tool: &str) {
    let text =
        format!("version: v1\nrules: [{{id: {tool}, match: {{tools: [s.{tool}]}}, decision: allow}}]\n");
    write(dir, "bundle/rules/a.yaml", &text);
}

fn serve(dir: &Path) -> Server {
    Server::start(dir, &["--dev", "--reload", "100ms", "--webhooks", "hooks/hooks.yaml"])
}

/// Waits until the log has a receipt with these words.
fn logged(dir: &Path, words: &str) {
    for _ in 0..300 {
        if run(dir, &["log", "tail", "--data", "data", "--format", "json"]).out.contains(words) {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("the log never said `{words}`");
}

#[test]
fn a_receiver_that_was_down_hears_of_everything_though_the_gate_was_killed() {
    let dir = folder();
    // An address where nobody is, for now.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    hooks(dir.path(), &address);
    let mut server = serve(dir.path());
    change(dir.path(), "two");
    logged(dir.path(), "\"v2\"");
    thread::sleep(Duration::from_millis(500));
    server.kill();
    let mut server = serve(dir.path());
    change(dir.path(), "three");
    logged(dir.path(), "\"v3\"");
    let (_, came) = receive(&address, &["500 No", "302 There", "200 OK"]);
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let again = next(&came);
        assert_eq!(snapshot(&again), "v2", "in order");
        assert!(again.signature.as_ref().is_some_and(|signature| signature.starts_with("v1,")));
        ids.insert(again.id);
    }
    assert_eq!(ids.len(), 1, "every attempt has the same id");
    let third = next(&came);
    assert_eq!(snapshot(&third), "v3");
    assert!(!ids.contains(&third.id));
    // Once it is recorded, a restart delivers nothing again.
    logged(dir.path(), "webhook.deliver");
    let (code, said) = server.stop();
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches("could not be reached").count(), 1, "said once: {said}");
    assert_eq!(said.matches("takes events again").count(), 1, "{said}");
    assert!(!said.contains(SECRET));
    let mut server = serve(dir.path());
    change(dir.path(), "four");
    assert_eq!(snapshot(&next(&came)), "v4");
    assert_eq!(server.stop().0, 0);
    assert!(came.recv_timeout(Duration::from_millis(300)).is_err(), "and nothing else");
}

/// Who must decide hears what is asked, by whom and how to answer, and no argument.
#[test]
fn a_held_call_reaches_people() {
    let dir = folder();
    let (address, came) = receive("127.0.0.1:0", &[]);
    write(dir.path(), "hooks/ops.secret", SECRET);
    let text = format!(
        "version: v1\nwebhooks:\n  - {{id: ops, url: 'http://{address}/a', secret_file: ops.secret, events: [approval.*]}}\n  - {{id: chat, url: 'http://{address}/b', events: [approval.requested], format: slack}}\n"
    );
    write(dir.path(), "hooks/hooks.yaml", &text);
    let mut server = serve(dir.path());
    logged(dir.path(), "webhook.begin");
    let asked = request("move", "s").replace("\"pep\"", "\"args\":{\"pin\":\"s3cret\"},\"pep\"");
    let (_, reply) = ask(&server.address, &asked).unwrap();
    let approval = reply["approval"]["id"].as_str().unwrap();
    let both = [next(&came), next(&came)];
    let one = |signed: bool| both.iter().find(|came| came.signature.is_some() == signed).unwrap();
    let (event, message) = (&one(true).body, &one(false).body);
    assert_eq!(event["type"], "approval.requested");
    let expected = [
        ("approval", approval),
        ("agent", "bot"),
        ("action", "s.move"),
        ("rule", "move"),
        ("reason", "A person must agree"),
        ("tenant", "default"),
        ("session", "s"),
    ];
    for (name, value) in expected {
        assert_eq!(event["data"][name], value, "{event}");
    }
    assert_eq!(message["text"], "Approval needed: bot asks for s.move (rule move)");
    assert!(message.to_string().contains(&format!("callgate approvals approve {approval}")), "{message}");
    assert!(!event.to_string().contains("s3cret") && !message.to_string().contains("s3cret"));
    assert_eq!(server.stop().0, 0);
}

#[test]
fn a_file_that_is_wrong_starts_no_gate() {
    let dir = folder();
    hooks(dir.path(), "127.0.0.1:1");
    let good = std::fs::read_to_string(dir.path().join("hooks/hooks.yaml")).unwrap();
    let cases = [
        ("events: [snapshot.*]", "events: [nothing.*]", "there is no event"),
        ("url:", "uri:", "`uri` is not a key here"),
        ("http://127.0.0.1:1/hook", "http://hooks.example.com/s3cret", "use `https://`"),
        ("http://127.0.0.1:1/hook", "https://user:s3cret@hooks.example.com", "user or password"),
        ("secret_file: ops.secret", "secret_file: none", "could not read"),
        ("secret_file: ops.secret", "secret_env: CALLGATE_TEST_NO_SUCH", "is not set"),
    ];
    for (from, to, words) in cases {
        assert!(good.contains(from));
        write(dir.path(), "hooks/hooks.yaml", &good.replace(from, to));
        let ran = run(
            dir.path(),
            &["serve", "--dev", "--bundle", "bundle", "--data", "data", "--webhooks", "hooks/hooks.yaml"],
        );
        assert_eq!(ran.code, 2, "{to}: {}", ran.err);
        assert!(ran.err.contains(words), "{to}: {}", ran.err);
        assert!(!ran.err.contains("s3cret"), "{}", ran.err);
        assert!(!dir.path().join("data").exists(), "{to}");
    }
    write(dir.path(), "hooks/ops.secret", "hunter2");
    write(dir.path(), "hooks/hooks.yaml", &good);
    let output = command()
        .current_dir(dir.path())
        .args(["serve", "--dev", "--bundle", "bundle", "--webhooks", "hooks/hooks.yaml"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("whsec_") && !said.contains("hunter2"), "{said}");
}
