//! A small MCP server over one folder, for demonstrations and tests where no other is at hand.
//!
//! It stands on the far side of the gate and knows nothing of it: it speaks revision 2025-11-25 over
//! two streams and offers the core of what common filesystem servers offer, under the same names.
//! It never touches anything outside its folder, and is no more than a stand-in: no roots, no
//! watching, no protection against someone else who changes the folder's links while it works.

mod folder;
mod tools;

use std::io::{self, BufRead, Read as _, Write};
use std::path::Path;

use serde_json::{Value, json};

use folder::Folder;

/// The protocol revision it answers with.
const REVISION: &str = "2025-11-25";
/// The longest message, in bytes.
const MAX_MESSAGE: u64 = 8 << 20;

/// Answers requests about `root` until `input` ends.
///
/// # Errors
/// When `root` is no folder, a stream fails, or a message is longer than 8 MiB.
pub fn serve_folder<R: BufRead, W: Write>(root: &Path, mut input: R, mut output: W) -> io::Result<()> {
    let folder = Folder::open(root)?;
    loop {
        let mut line = Vec::new();
        let read = input.by_ref().take(MAX_MESSAGE).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && u64::try_from(read).unwrap_or(u64::MAX) >= MAX_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is longer than 8 MiB"));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        if let Some(answer) = answer(&folder, &line) {
            output.write_all(answer.to_string().as_bytes())?;
            output.write_all(b"\n")?;
            output.flush()?;
        }
    }
}

/// The answer to one message, if it asks for one.
fn answer(folder: &Folder, line: &[u8]) -> Option<Value> {
    let Ok(message) = serde_json::from_slice::<Value>(line) else {
        return Some(error(&Value::Null, -32700, "the line is not JSON"));
    };
    let id = message.get("id")?;
    let method = message.get("method").and_then(Value::as_str)?;
    let empty = json!({});
    let params = message.get("params").unwrap_or(&empty);
    let result = match method {
        "initialize" => json!({
            "protocolVersion": REVISION,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "callgate-demo-files", "version": env!("CARGO_PKG_VERSION")},
        }),
        "ping" => json!({}),
        "tools/list" => json!({"tools": tools::list()}),
        "tools/call" => match tools::call(folder, params) {
            Some(result) => result,
            None => return Some(error(id, -32602, "there is no such tool")),
        },
        _ => return Some(error(id, -32601, "there is no such method")),
    };
    Some(json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

fn error(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}
