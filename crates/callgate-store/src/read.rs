//! Reading receipts back, and proving them. Only what is durable can be read.

use std::collections::VecDeque;
use std::sync::Arc;

use callgate_log::Hash;
use callgate_log::merkle::{ProveError, consistency_proof, inclusion_proof, leaf_hash};
use callgate_log::segment::{Group, Receipt, SegmentReader, Step};

use crate::error::ReadError;
use crate::fold::{Fold, ReceiptView, StoredReceipt};
use crate::layout::segment_path;
use crate::shared::{Mark, OnDisk, Shared};
use crate::store::SegmentStore;
use crate::tree::{Source, TILE};

/// A proof, or why it cannot be made, be it only that a tile is missing.
type Attempt = Result<Vec<Hash>, ProveError<u64>>;

impl<S: Fold> SegmentStore<S> {
    /// Reads one receipt; `None` when there is none with this index yet.
    ///
    /// # Errors
    /// When the disk fails or gives other bytes than were written.
    pub fn read(&self, index: u64) -> Result<Option<StoredReceipt>, ReadError> {
        let run = load(&self.shared, index, index)?;
        Ok(run.into_iter().next())
    }

    /// Reads receipts in order, from index `from` to the newest one durable when it gets there.
    #[must_use]
    pub fn scan(&self, from: u64) -> Scan<S> {
        Scan { shared: Arc::clone(&self.shared), next: from, run: VecDeque::new() }
    }

    /// Shows `each` the receipts from index `from` to before `to`, in order, without copying them; ends early where
    /// the log does.
    ///
    /// # Errors
    /// As [`SegmentStore::read`].
    pub fn visit(&self, from: u64, to: u64, mut each: impl FnMut(ReceiptView<'_>)) -> Result<(), ReadError> {
        let mut next = from;
        let mut bytes = Vec::new();
        while next < to {
            let last = to.saturating_sub(1);
            let seen = next;
            walk(&self.shared, next, last, &mut bytes, |group| {
                next = group.first.saturating_add(u64::try_from(group.receipts.len()).unwrap_or(u64::MAX));
                for (index, receipt) in (group.first..next).zip(&group.receipts) {
                    if (from..to).contains(&index) {
                        let Receipt { payload, delta, attachment, .. } = *receipt;
                        each(ReceiptView { index, payload, delta, attachment });
                    }
                }
            })?;
            if next == seen {
                return Ok(());
            }
        }
        Ok(())
    }

    /// RFC 6962 leaf hash of a receipt; `None` when there is none with this index yet.
    ///
    /// # Errors
    /// As [`SegmentStore::read`].
    pub fn leaf_hash(&self, index: u64) -> Result<Option<Hash>, ReadError> {
        Ok(self.read(index)?.map(|receipt| leaf_hash(&receipt.payload)))
    }

    /// Inclusion path of leaf `index` in the tree of the first `size` receipts, lowest node first (RFC 6962 section
    /// 2.1.1); `None` when `index` is not below `size` or `size` is not durable yet.
    ///
    /// # Errors
    /// As [`SegmentStore::read`].
    pub fn prove_inclusion(&self, index: u64, size: u64) -> Result<Option<Vec<Hash>>, ReadError> {
        if size > self.size() {
            return Ok(None);
        }
        self.prove(|source| inclusion_proof(source, index, size))
    }

    /// Consistency path between the trees of the first `old` and `size` receipts (RFC 6962 section 2.1.2); `None` when
    /// `old` is over `size` or `size` is not durable yet.
    ///
    /// # Errors
    /// As [`SegmentStore::read`].
    pub fn prove_consistency(&self, old: u64, size: u64) -> Result<Option<Vec<Hash>>, ReadError> {
        if size > self.size() {
            return Ok(None);
        }
        self.prove(|source| consistency_proof(source, old, size))
    }

    /// Makes a proof. Tiles it lacks are read between attempts, so that the disk is never waited for under the tree's
    /// lock; a proof needs a few at most.
    fn prove(&self, proof: impl Fn(&Source<'_>) -> Attempt) -> Result<Option<Vec<Hash>>, ReadError> {
        let mut tiles: Vec<(u64, Vec<Hash>)> = Vec::new();
        loop {
            let attempt = proof(&Source { tree: &self.shared.tree.read(), tiles: &tiles });
            match attempt {
                Ok(proof) => return Ok(Some(proof)),
                Err(ProveError::Source(wanted)) if tiles.iter().all(|(tile, _)| *tile != wanted) => {
                    tiles.push((wanted, self.tile(wanted)?));
                }
                Err(_) => return Ok(None),
            }
        }
    }

    /// Leaf hashes of a finished tile.
    fn tile(&self, tile: u64) -> Result<Vec<Hash>, ReadError> {
        let first = tile.saturating_mul(TILE);
        let count = usize::try_from(TILE).unwrap_or(usize::MAX);
        self.scan(first).take(count).map(|receipt| Ok(leaf_hash(&receipt?.payload))).collect()
    }
}

/// Receipts in order. After an error it ends.
pub struct Scan<S: Fold> {
    shared: Arc<Shared<S>>,
    next: u64,
    run: VecDeque<StoredReceipt>,
}

impl<S: Fold> std::fmt::Debug for Scan<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("next", &self.next).finish_non_exhaustive()
    }
}

impl<S: Fold> Iterator for Scan<S> {
    type Item = Result<StoredReceipt, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.run.is_empty() {
            match load(&self.shared, self.next, u64::MAX) {
                Ok(run) => self.run = run,
                Err(error) => {
                    self.next = u64::MAX;
                    return Some(Err(error));
                }
            }
        }
        let receipt = self.run.pop_front()?;
        self.next = receipt.index.saturating_add(1);
        Some(Ok(receipt))
    }
}

/// A stretch of log: from a mark to the next one, or to the end of its segment.
fn stretch(on_disk: &OnDisk, index: u64) -> Option<(Mark, u64)> {
    if index >= on_disk.size {
        return None;
    }
    let after = on_disk.marks.partition_point(|mark| mark.first <= index);
    let mark = *on_disk.marks.get(after.checked_sub(1)?)?;
    let segment = usize::try_from(mark.segment.checked_sub(1)?).ok()?;
    let next = on_disk.marks.get(after).filter(|next| next.segment == mark.segment);
    let end = next.map_or_else(|| on_disk.ends.get(segment).copied(), |next| Some(next.offset))?;
    Some((mark, end))
}

/// Reads the receipts `from..=to` that lie in one stretch with `from`.
fn load<S: Fold>(shared: &Shared<S>, from: u64, to: u64) -> Result<VecDeque<StoredReceipt>, ReadError> {
    let mut run = VecDeque::new();
    walk(shared, from, to, &mut Vec::new(), |group| take(&mut run, group, from, to))?;
    Ok(run)
}

/// Shows `each` the groups of one stretch that begin with or before `from`, up to the one that holds `to`.
fn walk<S: Fold>(
    shared: &Shared<S>,
    from: u64,
    to: u64,
    bytes: &mut Vec<u8>,
    mut each: impl FnMut(&Group<'_>),
) -> Result<(), ReadError> {
    let Some((mark, end)) = stretch(&shared.on_disk.read(), from) else { return Ok(()) };
    let path = segment_path(mark.segment);
    let failed = |source| ReadError::Io { file: path.clone(), source };
    bytes.resize(usize::try_from(end.saturating_sub(mark.offset)).unwrap_or(0), 0);
    shared.fs.open(&path).and_then(|file| file.read_at(bytes, mark.offset)).map_err(failed)?;
    let mut reader = SegmentReader::part(mark.segment, mark.offset, bytes);
    let mut next = mark.first;
    let damaged = |offset, what| ReadError::Damaged { file: path.clone(), offset, what };
    loop {
        match reader.step() {
            Step::Group(group) if group.first != next => {
                return Err(damaged(group.offset, format!("receipt {next} should begin here")));
            }
            Step::Group(group) => {
                each(&group);
                next = group.first.saturating_add(u64::try_from(group.receipts.len()).unwrap_or(u64::MAX));
            }
            Step::End { offset } if offset >= end => return Ok(()),
            Step::End { offset } | Step::Torn { offset, .. } => {
                return Err(damaged(offset, "an acknowledged group is missing".to_owned()));
            }
            Step::Corrupt(corruption) => {
                return Err(damaged(corruption.offset, corruption.damage.to_string()));
            }
        }
        if next > to {
            return Ok(());
        }
    }
}

/// Copies the wanted receipts out of a group.
fn take(run: &mut VecDeque<StoredReceipt>, group: &Group<'_>, from: u64, to: u64) {
    let count = u64::try_from(group.receipts.len()).unwrap_or(u64::MAX);
    let size = group.first.saturating_add(count);
    let checkpoint: Arc<[u8]> = group.note.into();
    for (index, receipt) in (group.first..size).zip(&group.receipts) {
        if (from..=to).contains(&index) {
            run.push_back(StoredReceipt {
                index,
                payload: receipt.payload.to_vec(),
                signature: *receipt.signature,
                delta: receipt.delta.to_vec(),
                attachment: receipt.attachment.to_vec(),
                size,
                checkpoint: Arc::clone(&checkpoint),
            });
        }
    }
}
