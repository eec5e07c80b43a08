//! One round of a case: a fresh protected thing, calls on it, and what the judge says in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use callgate_log::VerifyingKey;
use callgate_store::ReadOnlyFs;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::audit::{self, Evidence, Grounds, Said, Times};
use crate::call::{Call, PAY, Phase, WIPE};
use crate::files;
use crate::ledger::{self, Effect, Ledger};
use crate::points::{Answer, Client};
use crate::trouble::Trouble;

/// What the rounds of a case came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) rounds: u64,
    pub(crate) calls: u64,
    pub(crate) refused: u64,
    pub(crate) silent: u64,
    pub(crate) effects: u64,
    /// Effects of calls that were made while something was broken.
    pub(crate) effects_in_fault: u64,
    pub(crate) allows: u64,
    /// Verified receipts of what ran unchecked.
    pub(crate) unchecked: u64,
    /// Effects whose record was destroyed, of which the log says that something was.
    pub(crate) told: u64,
    /// How often the fault was met.
    pub(crate) felt: u64,
    /// What calls that did not run were answered.
    pub(crate) answers: BTreeMap<String, u64>,
    pub(crate) wrong: Vec<String>,
}

/// A round.
#[derive(Debug)]
pub(crate) struct Round {
    dir: PathBuf,
    next: AtomicU64,
    tally: Mutex<Tally>,
    said: Mutex<BTreeMap<u64, Said>>,
    in_fault: Mutex<BTreeSet<u64>>,
    limits: Mutex<Vec<Limit>>,
    grounds: Mutex<Grounds>,
    /// How many receipts of what ran unchecked there must and may be.
    unchecked: Mutex<(u64, u64)>,
    pinned: Mutex<Option<VerifyingKey>>,
}

/// How often something must and may have run.
#[derive(Debug, Clone)]
struct Limit {
    /// A call, or all calls of a tool.
    of: Result<u64, String>,
    least: u64,
    most: u64,
}

impl Limit {
    fn broken(&self, effects: &[Effect]) -> Option<String> {
        let met = |effect: &&Effect| match &self.of {
            Ok(n) => effect.n() == Some(*n),
            Err(tool) => effect.tool == *tool,
        };
        let ran = u64::try_from(effects.iter().filter(met).count()).unwrap_or(u64::MAX);
        let (least, most) = (self.least, self.most);
        (!(least..=most).contains(&ran)).then(|| format!("what may run {least} to {most} time(s) ran {ran}"))
    }
}

impl Round {
    /// Begins in a new folder.
    pub(crate) fn new(dir: PathBuf) -> Result<Self, Trouble> {
        files::make_dir(&dir)?;
        let (tally, said, in_fault, limits, grounds, pinned) = Default::default();
        let (next, unchecked) = (AtomicU64::new(1), Mutex::default());
        Ok(Self { dir, next, tally, said, in_fault, limits, grounds, unchecked, pinned })
    }

    /// Where the lease and the journal of its enforcement point lie.
    pub(crate) fn journal(&self) -> PathBuf {
        self.dir.join("point").join("journal")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.dir.join("bundle")
    }

    pub(crate) fn ledger_path(&self) -> PathBuf {
        self.dir.join("effects.jsonl")
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn ledger(&self) -> Result<Ledger, Trouble> {
        Ledger::open(&self.ledger_path())
    }

    /// A new call.
    pub(crate) fn one(&self, tool: &str, phase: Phase) -> Call {
        Call::new(self.next.fetch_add(1, Ordering::Relaxed), tool, phase)
    }

    /// So many calls, one of four of which must never run.
    pub(crate) fn mixed(&self, count: u64, phase: Phase) -> Vec<Call> {
        let tool = |n: u64| if n.checked_rem(4) == Some(3) { WIPE } else { PAY };
        (0..count).map(|n| self.one(tool(n), phase)).collect()
    }

    /// Calls, at most `width` at once; how many ran.
    pub(crate) async fn ask(self: &Arc<Self>, client: &Arc<Client>, calls: Vec<Call>, width: usize) -> u64 {
        let (gate, mut asking) = (Arc::new(Semaphore::new(width)), JoinSet::new());
        for call in calls {
            let (round, client, gate) = (Arc::clone(self), Arc::clone(client), Arc::clone(&gate));
            asking.spawn(async move {
                let _turn = gate.acquire().await;
                let answer = client.call(&call).await;
                round.note(&call, &answer);
                u64::from(matches!(answer, Answer::Ran | Answer::RanUnchecked))
            });
        }
        let mut ran = 0u64;
        while let Some(one) = asking.join_next().await {
            ran = ran.saturating_add(one.unwrap_or(0));
        }
        ran
    }

    /// Writes down what a call was answered.
    pub(crate) fn note(&self, call: &Call, answer: &Answer) {
        let mut tally = self.tally.lock();
        tally.calls = tally.calls.saturating_add(1);
        let mut all = self.said.lock();
        let said = all.entry(call.n).or_default();
        if call.phase == Phase::Fault {
            self.in_fault.lock().insert(call.n);
        }
        let (tallied, heard, why) = match answer {
            Answer::Ran | Answer::RanUnchecked => {
                said.ran = said.ran.saturating_add(1);
                self.grounds.lock().answered(call.n, *answer == Answer::RanUnchecked);
                return;
            }
            Answer::Refused(why) => (&mut tally.refused, &mut said.refused, why),
            Answer::Silent(why) => (&mut tally.silent, &mut said.unknown, why),
        };
        (*tallied, *heard) = (tallied.saturating_add(1), heard.saturating_add(1));
        if call.phase == Phase::Fault && call.tool != WIPE {
            let count = tally.answers.entry(why.clone()).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// The fault was met so often.
    pub(crate) fn feel(&self, times: u64) {
        let mut tally = self.tally.lock();
        tally.felt = tally.felt.saturating_add(times);
    }

    /// So many actions ran unchecked, by their receipts; none did unless this is said.
    pub(crate) fn expect_unchecked(&self, least: u64, most: u64) {
        *self.unchecked.lock() = (least, most);
    }

    /// The suite destroyed the record of this call: it may be missing, if the log says that a record may be.
    pub(crate) fn excuse(&self, n: u64) {
        self.grounds.lock().destroyed.insert(n);
    }

    /// The suite destroyed lease and journal of this call: only the lease on the log bounds what ran.
    pub(crate) fn erase(&self, n: u64) {
        self.grounds.lock().erased.insert(n);
    }

    /// The suite destroyed a part of a journal, and the log must say so.
    pub(crate) fn expect_damage(&self) {
        self.grounds.lock().damaged = true;
    }

    /// The public key of the gate in the data folder, as it was the first time anybody asked: whatever lies there later is
    /// not believed.
    pub(crate) fn pinned(&self) -> Result<VerifyingKey, Trouble> {
        let mut pinned = self.pinned.lock();
        match *pinned {
            Some(key) => Ok(key),
            None => Ok(*pinned.insert(files::public_key(&self.data())?)),
        }
    }

    /// How often a call must and may run; the last word counts.
    pub(crate) fn limit(&self, n: u64, least: u64, most: u64) {
        let mut limits = self.limits.lock();
        limits.retain(|limit| limit.of != Ok(n));
        limits.push(Limit { of: Ok(n), least, most });
    }

    /// The same for all calls of a tool together.
    pub(crate) fn limit_tool(&self, tool: &str, least: u64, most: u64) {
        self.limits.lock().push(Limit { of: Err(tool.to_owned()), least, most });
    }

    /// Something is wrong that the judge cannot see.
    pub(crate) fn wrong(&self, what: impl Into<String>) {
        self.tally.lock().wrong.push(what.into());
    }

    /// How much was done so far; somebody may still act.
    pub(crate) fn effects_now(&self) -> Result<usize, Trouble> {
        let bytes = files::read(&self.ledger_path())?;
        Ok(bytes.iter().filter(|byte| **byte == b'\n').count())
    }

    /// What was done so far, once nobody is left who could act.
    pub(crate) async fn effects(&self) -> Result<Vec<Effect>, Trouble> {
        ledger::read(&self.ledger_path()).await
    }

    /// Ends the round: the judge reads the evidence.
    pub(crate) async fn judge(
        &self,
        evidence: Evidence,
        key: &VerifyingKey,
        times: Times,
    ) -> Result<Tally, Trouble> {
        let effects = self.effects().await?;
        let finding = audit::audit(&evidence, key, &effects, (times, &self.grounds.lock()));
        let mut tally = self.tally.lock().clone();
        let in_fault = self.in_fault.lock();
        let count = |which: &dyn Fn(&&Effect) -> bool| {
            u64::try_from(effects.iter().filter(which).count()).unwrap_or(u64::MAX)
        };
        tally.rounds = 1;
        tally.effects = count(&|_| true);
        tally.effects_in_fault = count(&|effect| effect.n().is_none_or(|n| in_fault.contains(&n)));
        (tally.allows, tally.unchecked, tally.told) = (finding.allows, finding.unchecked, finding.told);
        tally.wrong.extend(finding.wrong);
        let (least, most) = *self.unchecked.lock();
        if !(least..=most).contains(&finding.unchecked) {
            let found = finding.unchecked;
            tally.wrong.push(format!(
                "the log has {found} action(s) that ran unchecked, and {least} to {most} may have"
            ));
        }
        tally.wrong.extend(self.limits.lock().iter().filter_map(|limit| limit.broken(&effects)));
        tally.wrong.extend(audit::contradicted(&self.said.lock(), &effects));
        Ok(tally)
    }

    /// The same, for a log in the round's own data folder.
    pub(crate) async fn judge_on_disk(&self, key: &VerifyingKey) -> Result<Tally, Trouble> {
        let fs = ReadOnlyFs::new(self.data()).map_err(Trouble::at("the log"))?;
        self.judge(Evidence { fs: Arc::new(fs), before: None }, key, Times::Machine).await
    }
}

impl Tally {
    /// Adds another round.
    pub(crate) fn add(&mut self, other: Self) {
        let Self { rounds, calls, refused, silent, effects, effects_in_fault, allows, .. } = other;
        let Self { unchecked, told, felt, answers, wrong, .. } = other;
        for (sum, more) in [
            (&mut self.rounds, rounds),
            (&mut self.calls, calls),
            (&mut self.refused, refused),
            (&mut self.silent, silent),
            (&mut self.effects, effects),
            (&mut self.effects_in_fault, effects_in_fault),
            (&mut self.allows, allows),
            (&mut self.unchecked, unchecked),
            (&mut self.told, told),
            (&mut self.felt, felt),
        ] {
            *sum = sum.saturating_add(more);
        }
        for (answer, count) in answers {
            let sum = self.answers.entry(answer).or_default();
            *sum = sum.saturating_add(count);
        }
        self.wrong.extend(wrong);
    }
}
