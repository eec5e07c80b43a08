//! What the repository around a bundle says of it, if there is one.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// Commit, branch, and whether the folder differs from the commit; `None` without git or a repository.
pub(super) fn read(dir: &Path) -> Option<Value> {
    let commit = ask(dir, &["rev-parse", "HEAD"])?;
    let changes = ask(dir, &["status", "--porcelain", "--", "."])?;
    let mut found = json!({"commit": commit, "dirty": !changes.is_empty()});
    let branch = ask(dir, &["symbolic-ref", "--short", "--quiet", "HEAD"]).filter(|name| !name.is_empty());
    if let (Some(fields), Some(branch)) = (found.as_object_mut(), branch) {
        fields.insert("branch".to_owned(), branch.into());
    }
    Some(found)
}

fn ask(dir: &Path, args: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(args).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}
