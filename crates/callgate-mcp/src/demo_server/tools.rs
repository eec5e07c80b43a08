//! The tools: what they are called, what they take and what they answer.

use std::io;

use serde_json::{Value, json};

use super::folder::{Entry, Folder};

/// What a tool does to the folder, as its annotations say it.
#[derive(Clone, Copy)]
enum Touch {
    Reads,
    Adds,
    Destroys,
}

/// The list of tools, always in the same order.
pub(crate) fn list() -> Value {
    let text = json!({"type": "string"});
    let path = json!({"path": text});
    let edits = json!({"type": "array", "items": {
        "type": "object",
        "properties": {"oldText": text, "newText": text},
        "required": ["oldText", "newText"],
    }});
    json!([
        tool("read_text_file", "Reads a file as text.", Touch::Reads, &path, &["path"]),
        tool(
            "write_file",
            "Writes a file, replacing what was there.",
            Touch::Destroys,
            &json!({"path": text, "content": text}),
            &["path", "content"]
        ),
        tool(
            "edit_file",
            "Replaces text in a file; each old text must be there.",
            Touch::Destroys,
            &json!({"path": text, "edits": edits, "dryRun": {"type": "boolean"}}),
            &["path", "edits"]
        ),
        tool("create_directory", "Makes a folder and those above it.", Touch::Adds, &path, &["path"]),
        tool("list_directory", "Lists a folder.", Touch::Reads, &path, &["path"]),
        tool("directory_tree", "Lists a folder and all below it as JSON.", Touch::Reads, &path, &["path"]),
        tool(
            "move_file",
            "Moves or renames a file or folder; fails if the destination is there.",
            Touch::Destroys,
            &json!({"source": text, "destination": text}),
            &["source", "destination"]
        ),
    ])
}

fn tool(name: &str, description: &str, touch: Touch, properties: &Value, required: &[&str]) -> Value {
    let schema = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    let annotations = match touch {
        Touch::Reads => json!({"readOnlyHint": true}),
        Touch::Adds => json!({"readOnlyHint": false, "destructiveHint": false, "idempotentHint": true}),
        Touch::Destroys => json!({"readOnlyHint": false, "destructiveHint": true}),
    };
    json!({"name": name, "description": description, "inputSchema": schema, "annotations": annotations})
}

/// Runs a tool; `None` when there is no such tool.
pub(crate) fn call(folder: &Folder, params: &Value) -> Option<Value> {
    let name = params.get("name").and_then(Value::as_str)?;
    let arguments = params.get("arguments").unwrap_or(&Value::Null);
    let done = match name {
        "read_text_file" => text(arguments, "path").and_then(|path| folder.read(path)),
        "write_file" => write(folder, arguments),
        "edit_file" => edit(folder, arguments),
        "create_directory" => make(folder, arguments),
        "list_directory" => text(arguments, "path").and_then(|path| folder.list(path)).map(|all| lines(&all)),
        "directory_tree" => {
            text(arguments, "path").and_then(|path| folder.tree(path)).map(|all| tree(&all).to_string())
        }
        "move_file" => rename(folder, arguments),
        _ => return None,
    };
    Some(match done {
        Ok(text) => json!({"content": [{"type": "text", "text": text}]}),
        Err(problem) => json!({"content": [{"type": "text", "text": problem.to_string()}], "isError": true}),
    })
}

fn text<'a>(arguments: &'a Value, key: &str) -> io::Result<&'a str> {
    arguments.get(key).and_then(Value::as_str).ok_or_else(|| invalid(format!("`{key}` must be a string")))
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem)
}

fn write(folder: &Folder, arguments: &Value) -> io::Result<String> {
    let (path, content) = (text(arguments, "path")?, text(arguments, "content")?);
    folder.write(path, content)?;
    Ok(format!("wrote {} bytes to {path}", content.len()))
}

fn make(folder: &Folder, arguments: &Value) -> io::Result<String> {
    let path = text(arguments, "path")?;
    folder.make_folder(path)?;
    Ok(format!("made {path}"))
}

fn rename(folder: &Folder, arguments: &Value) -> io::Result<String> {
    let (source, destination) = (text(arguments, "source")?, text(arguments, "destination")?);
    folder.move_to(source, destination)?;
    Ok(format!("moved {source} to {destination}"))
}

fn edit(folder: &Folder, arguments: &Value) -> io::Result<String> {
    let path = text(arguments, "path")?;
    let edits = arguments.get("edits").and_then(Value::as_array);
    let edits = edits.ok_or_else(|| invalid("`edits` must be a list".to_owned()))?;
    let mut content = folder.read(path)?;
    for edit in edits {
        let (old, new) = (text(edit, "oldText")?, text(edit, "newText")?);
        if old.is_empty() || !content.contains(old) {
            return Err(invalid(format!("{path} does not have the text to replace")));
        }
        content = content.replacen(old, new, 1);
    }
    if arguments.get("dryRun").and_then(Value::as_bool) == Some(true) {
        return Ok(content);
    }
    folder.write(path, &content)?;
    Ok(format!("changed {} place(s) in {path}", edits.len()))
}

fn lines(entries: &[Entry]) -> String {
    let line = |entry: &Entry| {
        let kind = if entry.inside.is_some() { "DIR" } else { "FILE" };
        format!("[{kind}] {}", entry.name)
    };
    entries.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn tree(entries: &[Entry]) -> Value {
    let node = |entry: &Entry| match &entry.inside {
        Some(inside) => json!({"name": entry.name, "type": "directory", "children": tree(inside)}),
        None => json!({"name": entry.name, "type": "file"}),
    };
    entries.iter().map(node).collect()
}
