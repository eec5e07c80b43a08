//! Every command of the README runs, in order, in a folder with nothing but the examples.
//!
//! `make` lines are run by CI; the server of the MCP example is run by the demonstration.
#![expect(clippy::unwrap_used, reason = "a test stops at what it cannot read")]
#![expect(clippy::disallowed_methods, reason = "a test reads the page, makes a folder and waits")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The lines of every `sh` block, joined where a backslash ends one.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks
        .flat_map(|block| {
            let joined = block.replace("\\\n", " ");
            joined
                .lines()
                .map(|line| line.split('#').next().unwrap_or("").trim().to_owned())
                .collect::<Vec<_>>()
        })
        .filter(|line| !line.is_empty())
        .collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_name() == "node_modules" {
        } else if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

struct Shell {
    folder: tempfile::TempDir,
    key: String,
    server: Option<Child>,
}

impl Shell {
    fn run(&self, line: &str) -> Output {
        let bin = Path::new(env!("CARGO_BIN_EXE_callgate")).parent().unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.folder.path()).env("PATH", path).env("KEY", &self.key);
        shell.output().unwrap()
    }

    /// Starts a server and waits until it says that it answers.
    fn start(&mut self, line: &str) {
        let bin = env!("CARGO_BIN_EXE_callgate");
        let mut child = Command::new(bin)
            .args(line.split_whitespace().skip(1))
            .current_dir(self.folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut all = String::new();
        loop {
            let mut line = String::new();
            assert!(said.read_line(&mut line).unwrap() > 0, "the server ended: {all}");
            all.push_str(&line);
            if line.contains("127.0.0.1:8081") {
                break;
            }
        }
        std::thread::spawn(move || said.lines().count());
        self.server = Some(child);
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

#[test]
fn every_command_of_the_readme_runs() {
    let page = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut shell = Shell { folder: tempfile::tempdir().unwrap(), key: String::new(), server: None };
    copy(&root().join("examples"), &shell.folder.path().join("examples"));
    let mut ran = 0;
    for line in commands(&page) {
        if line.starts_with("make ") {
            continue;
        }
        if line.starts_with("callgate serve") {
            shell.start(&line);
            ran += 1;
            continue;
        }
        if line.starts_with("callgate log") && !shell.folder.path().join("gate.pub.pem").exists() {
            // As the page says: take the public key once, and keep it elsewhere.
            assert!(shell.run("cp data/keys/*.pub.pem gate.pub.pem").status.success());
        }
        let output = shell.run(&line);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "`{line}`: {:?}\n{out}\n{err}", output.status);
        if line.starts_with("callgate keys create") {
            let found = out.split_whitespace().find(|word| word.starts_with("cg_"));
            shell.key = found.unwrap_or_else(|| panic!("no key in {out}")).to_owned();
        }
        if line.starts_with("curl") {
            assert!(out.contains("\"decision\":\"ALLOW\""), "`{line}`: {out}");
        }
        ran += 1;
    }
    assert!(ran >= 8, "the page has its commands: {ran}");
}
