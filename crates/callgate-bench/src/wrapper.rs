//! What `callgate mcp` adds to a tool call, beside the same server without it and a bare sync.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use callgate_store::{Fs as _, RealFs};

use crate::stats::{Samples, load, nanos};

const CALLS: usize = 3000;
const WARM: usize = 200;

/// A server that answers every call at once: the floor of what any server costs.
pub(crate) fn echo_server() {
    let stdin = std::io::stdin().lock();
    let mut stdout = std::io::stdout().lock();
    for line in stdin.lines() {
        let Ok(line) = line else { return };
        let Ok(message) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        let Some(id) = message.get("id") else { continue };
        let result = match message.get("method").and_then(serde_json::Value::as_str) {
            Some("initialize") => {
                serde_json::json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "echo", "version": "1"}})
            }
            Some("tools/call") => serde_json::json!({"content": [{"type": "text", "text": "hello"}]}),
            _ => serde_json::json!({"tools": []}),
        };
        let reply = serde_json::json!({"jsonrpc": "2.0", "id": id, "result": result});
        if writeln!(stdout, "{reply}").and_then(|()| stdout.flush()).is_err() {
            return;
        }
    }
}

struct Session {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    id: u64,
}

impl Session {
    fn start(program: &Path, args: &[String]) -> Self {
        let spawned = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(e) => panic!("cannot start {}: {e}", program.display()),
        };
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            panic!("no pipes")
        };
        let mut session = Self { child, input: Some(input), output: BufReader::new(output), id: 0 };
        session.ask(
            "initialize",
            r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}"#,
        );
        session.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        session
    }

    fn send(&mut self, line: &str) {
        let sent = self.input.as_mut().map(|input| writeln!(input, "{line}").and_then(|()| input.flush()));
        assert!(matches!(sent, Some(Ok(()))), "the server went away");
    }

    fn ask(&mut self, method: &str, params: &str) -> String {
        self.id += 1;
        self.send(&format!(r#"{{"jsonrpc":"2.0","id":{},"method":"{method}","params":{params}}}"#, self.id));
        let (mut line, wanted) = (String::new(), format!("\"id\":{}", self.id));
        loop {
            line.clear();
            let read = self.output.read_line(&mut line);
            assert!(matches!(read, Ok(n) if n > 0), "the server went away");
            if line.contains(&wanted) {
                return line;
            }
        }
    }

    fn measure(mut self, params: &str) -> Samples {
        let mut samples = Samples::with_capacity(CALLS);
        for call in 0..CALLS + WARM {
            let (answer, took) = nanos(|| self.ask("tools/call", params));
            assert!(!answer.contains("isError\":true"), "every bench call is allowed: {answer}");
            if call >= WARM {
                samples.push(took);
            }
        }
        self.input.take();
        let _ = self.child.wait();
        samples
    }
}

/// One write and one sync of a receipt's length on a pre-zeroed file, as often as there are calls.
fn bare_sync(folder: &Path) -> Samples {
    let mut samples = Samples::with_capacity(CALLS);
    let Ok(fs) = RealFs::new(folder) else { panic!("no folder") };
    let Ok(file) = fs.create("sync.seg") else { panic!("no file") };
    let length = 16 << 20;
    assert!(file.write_at(&vec![0; length], 0).and_then(|()| file.sync_data()).is_ok());
    let bytes = vec![7; 3072];
    for call in 0..CALLS {
        let at = u64::try_from((call * bytes.len()) % (length - bytes.len())).unwrap_or(0);
        let (written, took) = nanos(|| file.write_at(&bytes, at).and_then(|()| file.sync_data()));
        assert!(written.is_ok(), "{written:?}");
        samples.push(took);
    }
    samples
}

fn sibling(name: &str) -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name(name);
    path.is_file().then_some(path)
}

pub(crate) fn run() {
    println!("\n## MCP over stdio: one tool call at a time (p50/p99 ms)");
    let (Some(callgate), Some(this)) = (sibling("callgate"), sibling("callgate-bench")) else {
        println!("`callgate` is not built beside this program; build it with the same profile first");
        return;
    };
    let Ok(folder) = tempfile::tempdir_in(".") else { panic!("no folder") };
    let rules = "version: v1\nrules:\n  - id: all\n    match: {tools: [\"bench.*\"]}\n    decision: allow\n";
    let bundle = folder.path().join("bundle");
    let written = std::fs::create_dir_all(bundle.join("rules"))
        .and_then(|()| std::fs::write(bundle.join("rules/r.yaml"), rules));
    assert!(written.is_ok(), "{written:?}");
    let note = folder.path().join("note.txt");
    assert!(std::fs::write(&note, "hello").is_ok());
    let mut sync = bare_sync(folder.path());
    println!("{:<44} {:>16}", "bare write + fdatasync", sync.p50_p99_ms());
    let echo =
        (this, vec!["mcp-server".to_owned()], r#"{"name":"echo","arguments":{"text":"hi"}}"#.to_owned());
    let mut servers = vec![("a server that only echoes", echo)];
    let official =
        Path::new("examples/demo/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js");
    if official.is_file() {
        let arguments = vec![official.display().to_string(), folder.path().display().to_string()];
        let call = format!(r#"{{"name":"read_text_file","arguments":{{"path":"{}"}}}}"#, note.display());
        servers.push(("the official filesystem server", (PathBuf::from("node"), arguments, call)));
    }
    for (name, (program, arguments, call)) in servers {
        let mut direct = Session::start(&program, &arguments).measure(&call);
        let data = folder.path().join(name.replace(' ', "-"));
        let mut wrapped = vec!["mcp", "--server", "bench", "--agent", "bot", "--bundle"]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        wrapped.extend([
            bundle.display().to_string(),
            "--data".to_owned(),
            data.display().to_string(),
            "--".to_owned(),
        ]);
        wrapped.push(program.display().to_string());
        wrapped.extend(arguments);
        let mut gated = Session::start(&callgate, &wrapped).measure(&call);
        let added = gated.percentile(50).saturating_sub(direct.percentile(50));
        let beside = added.saturating_sub(sync.percentile(50));
        println!("{:<44} {:>16}", format!("{name}, direct"), direct.p50_p99_ms());
        println!("{:<44} {:>16}", format!("{name}, through callgate mcp"), gated.p50_p99_ms());
        println!(
            "  added at p50: {:.3} ms, of which beside one sync {:.3} ms",
            added as f64 / 1e6,
            beside as f64 / 1e6
        );
    }
    println!("load average after: {}", load());
}
