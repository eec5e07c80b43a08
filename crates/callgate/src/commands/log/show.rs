//! `callgate log show`: one receipt in full, and whether it is what the gate signed.

use callgate_core::digest::hex;
use callgate_gate::Identity;
use callgate_log::merkle::{Leaves, inclusion_proof, leaf_hash};
use callgate_log::{Checkpoint, Hash, TlogProof, VerifyingKey};
use callgate_store::StoredReceipt;
use serde_json::json;

use super::{Source, text};
use crate::Outcome;
use crate::evidence::{self, Evidence};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::output::{self, Format, Paint};

/// Arguments of `callgate log show`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The receipt's place in the log
    #[arg(value_name = "N")]
    index: u64,
    #[command(flatten)]
    source: Source,
    /// How the receipt is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A receipt with its proof under the newest checkpoint.
pub(super) struct Proven {
    pub(super) receipt: StoredReceipt,
    pub(super) proof: TlogProof,
}

pub(super) fn run(args: &Args) -> Outcome {
    let key = args.source.key.as_deref().map(files::read_key).transpose()?;
    let evidence = Evidence::open(&args.source.data)?;
    let (receipt, covered) = match &key {
        Some(key) => {
            let proven = prove(&evidence, args.index, key)?;
            let covered = check(&proven, key)?;
            (proven.receipt, Some(covered))
        }
        None => (find(&evidence, args.index)?, None),
    };
    let statement = evidence::statement(&receipt, key.as_ref())?;
    if args.format == Format::Json {
        let verified = covered.map(
            |note| json!({"signature": true, "included_in": note.size, "root": hex(note.root.as_bytes())}),
        );
        output::json(&text::machine(receipt.index, &receipt.payload, verified.as_ref()))?;
        return Ok(Exit::Ok);
    }
    let paint = Paint::stdout();
    output::line(&text::whole(receipt.index, &statement, paint).join("\n"))?;
    let proof = match covered {
        Some(note) => {
            format!(
                "{}: signed by the pinned key, and in the tree of {} receipts",
                paint.green("verified"),
                note.size
            )
        }
        None => format!("{}; give `--key FILE`", paint.yellow("not verified")),
    };
    output::line(&format!("  {}  {proof}", paint.dim("evidence   ")))?;
    Ok(Exit::Ok)
}

fn unknown(index: u64, size: u64) -> Failure {
    Failure::usage(format!("there is no receipt {index}; the log has {size}, counted from 0"))
}

fn find(evidence: &Evidence, index: u64) -> Result<StoredReceipt, Failure> {
    let mut reader = evidence.near(index)?;
    while let Some(group) = evidence::next(&mut reader)? {
        if let Some(found) = group.into_iter().find(|receipt| receipt.index == index) {
            return Ok(found);
        }
    }
    Err(unknown(index, reader.position()))
}

/// Finds a receipt and makes its proof from the leaves of the whole log.
pub(super) fn prove(evidence: &Evidence, index: u64, key: &VerifyingKey) -> Result<Proven, Failure> {
    let (mut found, mut leaves, mut checkpoint) = (None, Vec::<Hash>::new(), None);
    let mut reader = evidence.reader();
    while let Some(group) = evidence::next(&mut reader)? {
        for receipt in group {
            leaves.push(leaf_hash(&receipt.payload));
            checkpoint = Some(receipt.checkpoint.clone());
            if receipt.index == index {
                found = Some(receipt);
            }
        }
    }
    let size = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
    let (Some(receipt), Some(checkpoint)) = (found, checkpoint) else { return Err(unknown(index, size)) };
    evidence::statement(&receipt, Some(key))?;
    let hashes = inclusion_proof(&Leaves(&leaves), index, size).map_err(Failure::unexpected)?;
    let checkpoint = String::from_utf8_lossy(&checkpoint).into_owned();
    Ok(Proven { receipt, proof: TlogProof { extra: None, index, hashes, checkpoint } })
}

fn check(proven: &Proven, key: &VerifyingKey) -> Result<Checkpoint, Failure> {
    let origin = Identity::origin_of(key);
    let checked = proven.proof.verify(&proven.receipt.payload, key, Some(&origin));
    checked.map_err(|e| Failure::evidence(format!("receipt {}: {e}", proven.receipt.index)))
}
