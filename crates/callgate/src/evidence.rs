//! Reading a log that somebody else may be writing, and holding it against a pinned key.
//!
//! Nothing here is believed because it lies in the data folder: keys come from the command line, and what `verify`
//! checks is `callgate_log::verify`'s to say.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callgate_gate::Identity;
use callgate_log::verify::{Event, LogVerifier, Report, VerifyError};
use callgate_log::{Checkpoint, Statement, VerifyingKey, dsse};
use callgate_store::{Keyring, LogReader, OsRandom, ReadError, ReadOnlyFs, ReceiptView, StoredReceipt};

use crate::failure::Failure;

/// A log on disk, for reading.
pub(crate) struct Evidence {
    fs: Arc<ReadOnlyFs>,
    data: PathBuf,
}

/// A log that verified.
pub(crate) struct Verified {
    pub(crate) report: Report,
    /// Whether it ends in a group that was never finished, and so never acknowledged.
    pub(crate) unfinished: bool,
}

impl Evidence {
    /// Looks at a data folder, or at the `log` folder of one.
    pub(crate) fn open(data: &Path) -> Result<Self, Failure> {
        let fs = ReadOnlyFs::new(data).map_err(|e| {
            let problem = if e.kind() == io::ErrorKind::NotFound { String::new() } else { format!(": {e}") };
            let data = data.display();
            Failure::usage(format!(
                "there is no log in `{data}`{problem}; give the folder that `serve` was given"
            ))
        })?;
        Ok(Self { fs: Arc::new(fs), data: data.to_owned() })
    }

    /// Reads from the first receipt.
    pub(crate) fn reader(&self) -> LogReader {
        LogReader::new(self.fs())
    }

    /// Reads from the segment that holds receipt `index`, or the last one.
    pub(crate) fn near(&self, index: u64) -> Result<LogReader, Failure> {
        LogReader::near(self.fs(), index).map_err(|e| unreadable(0, &e))
    }

    /// About how many receipts there are, by the checkpoint beside the log; nothing depends on it.
    pub(crate) fn size(&self) -> Result<Option<u64>, Failure> {
        let note = LogReader::beside(self.fs.as_ref()).map_err(|e| unreadable(0, &e))?;
        let text = note.map(|note| String::from_utf8_lossy(&note).into_owned());
        Ok(text.and_then(|text| text.lines().nth(1).and_then(|line| line.parse().ok())))
    }

    fn fs(&self) -> Arc<ReadOnlyFs> {
        Arc::clone(&self.fs)
    }

    /// The keys of the sealed requests; only replay needs them.
    pub(crate) fn keyring(&self) -> Result<Keyring, Failure> {
        Keyring::open(self.fs(), Arc::new(OsRandom)).map_err(|e| {
            Failure::usage(format!(
                "replay needs the key ring in `{}`, under which the requests are sealed: {e}",
                self.data.display()
            ))
        })
    }

    /// Verifies the whole log and shows `each` receipt in passing. The log must contain the notes in `held`, and the one
    /// that lies beside it.
    pub(crate) fn verify(
        &self,
        key: &VerifyingKey,
        held: &[Vec<u8>],
        mut each: impl FnMut(&StoredReceipt) -> Result<(), Failure>,
    ) -> Result<Verified, Failure> {
        let broken = |error: VerifyError| Failure::evidence(error);
        let origin = Identity::origin_of(key);
        let mut verifier = LogVerifier::new(key, Some(&origin));
        for note in held {
            verifier = verifier.with_checkpoint(note).map_err(broken)?;
        }
        // Read before the log, so that a gate that writes meanwhile only makes the log longer.
        let beside = LogReader::beside(self.fs.as_ref()).map_err(|e| unreadable(0, &e))?;
        let beside = beside.map(|note| Checkpoint::open(&note, key, Some(&origin)).map(|_| note)).transpose();
        // One that is not of this log is reported after what is wrong with the log itself.
        if let Ok(Some(note)) = &beside {
            verifier = verifier.with_checkpoint(note).map_err(broken)?;
        }
        let mut reader = self.reader();
        while let Some(group) = next(&mut reader)? {
            for receipt in &group {
                let StoredReceipt { payload, signature, delta, .. } = receipt;
                verifier.push(Event::Receipt { payload, signature, delta }).map_err(broken)?;
                each(receipt)?;
            }
            if let Some(last) = group.last() {
                verifier.push(Event::Checkpoint { note: &last.checkpoint }).map_err(broken)?;
            }
        }
        let report = verifier.finish().map_err(broken)?;
        beside.map_err(|e| Failure::evidence(format!("the file `checkpoint` beside the log: {e}")))?;
        Ok(Verified { report, unfinished: reader.unfinished() })
    }
}

/// The next group of a log; damage names the receipt it begins at.
pub(crate) fn next(reader: &mut LogReader) -> Result<Option<Vec<StoredReceipt>>, Failure> {
    let group = reader.next_group();
    group.map_err(|error| unreadable(reader.position(), &error))
}

/// Shows `each` receipt of a log to its end, where it lies; damage names the receipt it begins at.
pub(crate) fn visit(reader: &mut LogReader, mut each: impl FnMut(ReceiptView<'_>)) -> Result<(), Failure> {
    loop {
        let more = reader.visit(&mut each);
        if !more.map_err(|error| unreadable(reader.position(), &error))? {
            return Ok(());
        }
    }
}

fn unreadable(index: u64, error: &ReadError) -> Failure {
    match error {
        ReadError::Io { .. } => Failure::unexpected(error),
        ReadError::Damaged { .. } => Failure::evidence(format!(
            "receipt {index}: the bytes on disk are not what was written: {error}; the {index} before it can be read"
        )),
    }
}

/// A receipt's statement, held against the pinned key if there is one.
pub(crate) fn statement(receipt: &StoredReceipt, key: Option<&VerifyingKey>) -> Result<Statement, Failure> {
    let index = receipt.index;
    if let Some(key) = key {
        let signed = dsse::verify(key, &receipt.payload, &receipt.signature);
        signed.map_err(|e| Failure::evidence(format!("receipt {index}: {e}")))?;
        let covered = Checkpoint::open(&receipt.checkpoint, key, Some(&Identity::origin_of(key)));
        covered.map_err(|e| Failure::evidence(format!("receipt {index}: its checkpoint: {e}")))?;
    }
    Statement::parse(&receipt.payload).map_err(|e| Failure::evidence(format!("receipt {index}: {e}")))
}

/// The public key that the gate of a data folder published beside its log. For the gate's own operator: an auditor pins
/// a key from elsewhere.
pub(crate) fn public_key_file(data: &Path) -> Result<PathBuf, Failure> {
    let keys = data.join("keys");
    let names = std::fs::read_dir(&keys).map_err(Failure::unexpected)?;
    let mut paths = names.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let found = paths.find(|path| path.to_string_lossy().ends_with(".pub.pem"));
    found.ok_or_else(|| Failure::usage(format!("there is no public key in `{}`", keys.display())))
}
