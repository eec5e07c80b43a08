//! The snapshots of a log, by version, compiled from their texts in the log when somebody asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use callgate_core::snapshot::Snapshot;
use callgate_core::state::{Change, Delta};
use callgate_store::{ReceiptView, StoredReceipt};

use crate::release::compile_text;
use crate::vault;

/// The snapshots of a log.
#[derive(Debug, Default)]
pub struct Library {
    kept: BTreeMap<String, Shelved>,
    /// The version that was activated last, and where.
    in_force: Option<(u64, String)>,
}

/// One snapshot.
#[derive(Debug)]
struct Shelved {
    digest: String,
    /// The attachment that holds the bundle's text.
    text: Vec<u8>,
    compiled: Option<Result<Arc<Snapshot>, String>>,
}

impl Library {
    /// Finds the snapshots among `receipts`.
    ///
    /// # Errors
    /// What the reading says; and a state change that cannot be read.
    pub fn read<E: ToString>(
        receipts: impl Iterator<Item = Result<StoredReceipt, E>>,
    ) -> Result<Self, String> {
        let mut library = Self::default();
        for receipt in receipts {
            let receipt = receipt.map_err(|e| e.to_string())?;
            library.note(receipt.view())?;
        }
        Ok(library)
    }

    /// Remembers the snapshot of a receipt, if it has one.
    ///
    /// # Errors
    /// When its state change cannot be read.
    pub fn note(&mut self, receipt: ReceiptView<'_>) -> Result<(), String> {
        if is_decision(receipt) {
            return Ok(());
        }
        let delta: Delta = serde_json::from_slice(receipt.delta)
            .map_err(|e| format!("the state change of receipt {} cannot be read: {e}", receipt.index))?;
        self.learn(receipt, &delta);
        Ok(())
    }

    pub(super) fn learn(&mut self, receipt: ReceiptView<'_>, delta: &Delta) {
        let (digest, version) = match &delta.change {
            Change::SnapshotStaged(stage) => (&stage.digest, stage.version),
            Change::SnapshotActivated(activated) => (&activated.digest, activated.version),
            _ => return,
        };
        let version = format!("v{version}");
        if matches!(delta.change, Change::SnapshotActivated(_))
            && self.in_force.as_ref().is_none_or(|(at, _)| *at < receipt.index)
        {
            self.in_force = Some((receipt.index, version.clone()));
        }
        // An activation names a snapshot that is kept, or keeps it.
        self.kept.entry(version).or_insert_with(|| Shelved {
            digest: digest.clone(),
            text: receipt.attachment.to_vec(),
            compiled: None,
        });
    }

    /// The snapshot of a version, such as `v42`.
    ///
    /// # Errors
    /// Why there is none, with what there is instead.
    pub fn get(&mut self, version: &str) -> Result<Arc<Snapshot>, String> {
        let Some(shelved) = self.kept.get_mut(version) else { return Err(self.unknown(version)) };
        let compiled = shelved.compiled.get_or_insert_with(|| compile(&shelved.text, &shelved.digest));
        compiled.clone().map_err(|problem| format!("snapshot {version} cannot be read back: {problem}"))
    }

    fn unknown(&self, version: &str) -> String {
        let known: Vec<&str> = self.kept.keys().map(String::as_str).collect();
        let known = match known.as_slice() {
            [] => "no snapshot is in this log".to_owned(),
            _ => format!("this log has {}", known.join(", ")),
        };
        format!("there is no snapshot `{version}`; {known}")
    }

    /// The version in force at the end of what was read.
    #[must_use]
    pub fn in_force(&self) -> Option<&str> {
        self.in_force.as_ref().map(|(_, version)| version.as_str())
    }

    /// The digest of a version, `sha256:…`.
    #[must_use]
    pub fn digest(&self, version: &str) -> Option<&str> {
        self.kept.get(version).map(|shelved| shelved.digest.as_str())
    }
}

fn compile(text: &[u8], digest: &str) -> Result<Arc<Snapshot>, String> {
    let text = vault::open_plain(text)?;
    let snapshot = compile_text(&text)?;
    if snapshot.digest.to_string() != digest {
        return Err("its text does not have the digest that was signed".to_owned());
    }
    Ok(Arc::new(snapshot))
}

/// How the state change of a decision begins, as canonical JSON.
const DECISION: &[u8] = br#"{"change":{"kind":"decision","#;

/// Whether the receipt is of a decision, from the first bytes of its state change.
pub(super) fn is_decision(receipt: ReceiptView<'_>) -> bool {
    receipt.delta.starts_with(DECISION)
}

/// The clock of a receipt, from the last bytes of its state change; `None` where they are other than this
/// program writes them.
pub(super) fn time_of(receipt: ReceiptView<'_>) -> Option<i64> {
    let text = std::str::from_utf8(receipt.delta.get(receipt.delta.len().checked_sub(32)?..)?).ok()?;
    let (_, number) = text.strip_suffix('}')?.rsplit_once("},\"now_ms\":")?;
    number.parse().ok()
}
