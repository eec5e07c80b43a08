//! `callgate snapshots`, `publish`, `rollback`, `rollout` and `mode`: releasing policy to a running gate.
//!
//! Everything here asks the gate; what may be done, and what it means, is decided there and receipted.

mod git;
mod publish;
mod rollout;
mod snapshots;

pub(crate) use publish::{PublishArgs, RollbackArgs, publish, rollback};
pub(crate) use rollout::{ModeArgs, RolloutArgs, mode, rollout};
pub(crate) use snapshots::{SnapshotsArgs, snapshots};

use std::collections::BTreeMap;
use std::path::Path;

use callgate_log::Hash;
use callgate_log::endorsement;
use callgate_log::keys::SigningKey;
use callgate_policy::Bundle;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::files;
use crate::remote::Remote;

/// What goes with a bundle that is staged.
#[derive(Debug, clap::Args)]
pub(crate) struct StageArgs {
    /// The version it gets, such as `v42`, above every earlier one; the next one if left out
    #[arg(long = "as", value_name = "VERSION")]
    version: Option<String>,
    /// The file of the publisher's signing key: Ed25519, PKCS#8 in PEM
    #[arg(long, value_name = "FILE")]
    sign_key: Option<std::path::PathBuf>,
}

/// Sends a bundle to be kept; gives the record of the snapshot.
async fn stage(remote: &Remote, dir: &Path, args: &StageArgs, note: Option<&str>) -> Result<Value, Failure> {
    let bundle = files::read_bundle(dir)?;
    let mut body = json!({"bundle": text(&bundle)});
    let signature = args.sign_key.as_deref().map(|file| signed(file, &bundle)).transpose()?;
    let more = [
        ("version", args.version.clone().map(Value::from)),
        ("note", note.map(Value::from)),
        ("git", git::read(dir)),
        ("signature", signature.map(Value::from)),
    ];
    if let Some(fields) = body.as_object_mut() {
        fields.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    remote.post("/api/v1/policy/snapshots", &body).await
}

fn text(bundle: &Bundle) -> Value {
    let env: &BTreeMap<String, String> = bundle.env();
    json!({"files": bundle.files(), "env": env})
}

fn signed(file: &Path, bundle: &Bundle) -> Result<String, Failure> {
    let pem = String::from_utf8_lossy(&files::read(file)?).into_owned();
    let key = SigningKey::from_pkcs8_pem(&pem)
        .map_err(|e| Failure::usage(format!("`{}` is no signing key: {e}", file.display())))?;
    Ok(endorsement::sign(&key, &Hash::new(*bundle.digest().as_bytes())))
}

/// A field of an answer, as text.
fn field<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer.get(name).and_then(Value::as_str).unwrap_or("")
}

fn number(answer: &Value, name: &str) -> u64 {
    answer.get(name).and_then(Value::as_u64).unwrap_or(0)
}
