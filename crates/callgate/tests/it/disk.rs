//! A disk that is full or fails: nothing is allowed without a receipt, and the gate says what to do.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit};
use serde_json::Value;

use crate::program::{Server, ask, command, folder, http, public_key, request, succeed};

fn assert_refused(status: u16, answer: &Value) {
    assert_eq!(status, 503, "{answer}");
    assert_eq!(
        (&answer["decision"], &answer["code"]),
        (&"DENY".into(), &"GATE_UNAVAILABLE".into()),
        "{answer}"
    );
    assert!(answer["receipt"].is_null() && answer["receipt_index"].is_null(), "{answer}");
}

/// Starts the server so that a file over its size limit is an error (`EFBIG`), not the end of the program.
fn limited(dir: &Path) -> Server {
    let program = command();
    let mut shell = Command::new("sh");
    let script = r#"trap "" XFSZ; exec "$0" serve --dev --bundle bundle --data data --listen 127.0.0.1:0"#;
    shell.args(["-c", script]).arg(program.get_program());
    Server::spawn(dir, shell).unwrap_or_else(|said| panic!("{said}"))
}

fn held(dir: &Path, at_least: u64) {
    let key = public_key(&dir.join("data")).display().to_string();
    let log = succeed(dir, &["log", "verify", "--data", "data", "--key", &key, "--format", "json"]);
    let log: Value = serde_json::from_str(&log).unwrap();
    assert!(log["receipts"].as_u64().unwrap() > at_least, "{log}");
    let replayed = succeed(dir, &["log", "replay", "--data", "data", "--key", &key, "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&replayed).unwrap()["differing"], serde_json::json!([]));
}

#[test]
fn a_failed_write_stops_the_gate_and_loses_nothing() {
    let dir = folder();
    let mut server = limited(dir.path());
    let (status, answer) = ask(&server.address, &request("read", "s")).unwrap();
    assert_eq!((status, &answer["decision"]), (200, &"ALLOW".into()));
    let last = answer["receipt_index"].as_u64().unwrap();
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::prlimit(Some(Pid::from_child(&server.child)), Resource::Fsize, none).unwrap();
    // The write of this receipt fails; so does everything after it, for good.
    for _ in 0..3 {
        // A server that has stopped answers nobody, which permits nothing either.
        if let Some((status, answer)) = ask(&server.address, &request("read", "s")) {
            assert_refused(status, &answer);
        }
    }
    let (code, said) = server.wait();
    assert_eq!(code, 31, "{said}");
    assert!(said.contains("check the disk, then restart"), "{said}");
    // A restart goes on where the log ends.
    let mut server = Server::start(dir.path(), &["--dev"]);
    let (status, answer) = ask(&server.address, &request("read", "s")).unwrap();
    assert_eq!((status, &answer["decision"]), (200, &"ALLOW".into()));
    assert!(answer["receipt_index"].as_u64().unwrap() > last);
    assert_eq!(server.stop().0, 0);
    held(dir.path(), last);
}

/// A small file system of its own, if this machine lets us mount one.
struct Mount(std::path::PathBuf);

impl Mount {
    fn new(path: &Path, mib: u64) -> Option<Self> {
        std::fs::create_dir(path).unwrap();
        let size = format!("size={mib}m,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).output();
        mounted.is_ok_and(|done| done.status.success()).then(|| Self(path.to_owned()))
    }

    fn resize(&self, mib: u64) {
        let size = format!("remount,size={mib}m");
        assert!(Command::new("mount").args(["-o", &size]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, so that a file still open does not keep the folder of the test.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_fails_closed_and_recovers_with_space() {
    let dir = folder();
    let data = dir.path().join("data");
    let Some(mount) = Mount::new(&data, 64) else {
        eprintln!("skipped: this machine does not let the test mount a small file system");
        return;
    };
    // A log with room for one segment of 16 MiB, and none for the next.
    assert_eq!(Server::start(dir.path(), &["--dev"]).stop().0, 0);
    let _ = std::fs::remove_file(data.join("log/00000002.seg"));
    mount.resize(20);
    let mut server = Server::start(dir.path(), &["--dev"]);
    let padding = "x".repeat(240_000);
    let body = format!(
        r#"{{"agent":{{"id":"bot"}},"tool":{{"server":"s","name":"read"}},"args":{{"padding":"{padding}"}}}}"#
    );
    let mut last = 0;
    let refused = (0..200).find_map(|_| {
        let (status, answer) = ask(&server.address, &body).unwrap();
        if status == 200 {
            assert_eq!(answer["decision"], "ALLOW");
            last = answer["receipt_index"].as_u64().unwrap();
            return None;
        }
        Some((status, answer))
    });
    let (status, answer) = refused.unwrap();
    assert_refused(status, &answer);
    let (status, ready) = http(&server.address, "GET", "/readyz", None, "").unwrap();
    assert_eq!(status, 503, "{ready}");
    // Space comes back, and so does the gate, without a restart.
    mount.resize(64);
    let deadline = Instant::now() + Duration::from_secs(20);
    let index = loop {
        let (status, answer) = ask(&server.address, &body).unwrap();
        if status == 200 {
            break answer["receipt_index"].as_u64().unwrap();
        }
        assert_refused(status, &answer);
        assert!(Instant::now() < deadline, "{answer}");
        thread::sleep(Duration::from_millis(100));
    };
    assert!(index > last);
    assert_eq!(server.stop().0, 0);
    held(dir.path(), index);
}

#[test]
fn a_gate_without_room_does_not_start() {
    let dir = folder();
    let data = dir.path().join("data");
    let Some(_mount) = Mount::new(&data, 1) else {
        eprintln!("skipped: this machine does not let the test mount a small file system");
        return;
    };
    let mut program = command();
    program.args(["serve", "--dev", "--bundle", "bundle", "--data", "data", "--listen", "127.0.0.1:0"]);
    let Err(said) = Server::spawn(dir.path(), program) else { panic!("it started") };
    assert!(said.contains("No space left on device"), "{said}");
}
