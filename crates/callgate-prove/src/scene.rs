//! What a case has to play with: a folder, a program, and rounds that are judged one by one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callgate_gate::clock::{ManualClock, SystemClock};
use callgate_policy::Bundle;
use callgate_store::Fs;

use crate::audit::{Evidence, Times};
use crate::call::Phase;
use crate::disk::Disk;
use crate::files;
use crate::inside::{Inside, Setting};
use crate::outside::{Orphan, Outside, Start};
use crate::points::{Client, Errand, Manner, Point};
use crate::policy;
use crate::round::{Round, Tally};
use crate::trouble::Trouble;

/// Where a clock set by hand begins, milliseconds since 1970 UTC.
pub(crate) const NOON: i64 = 1_780_000_000_000;
/// How long a call waits for its answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a gate may take to decide, where nothing shall be slow; a busy machine is.
const DEADLINE: Duration = Duration::from_secs(8);

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// A sample of each fault: seconds.
    Quick,
    /// All that is worth trying: about a minute.
    Full,
}

/// The stage of one case.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) point: Point,
    pub(crate) manner: Manner,
    pub(crate) tally: Tally,
    depth: Depth,
    program: PathBuf,
    dir: PathBuf,
    rounds: u64,
}

impl Scene {
    pub(crate) fn new(point: Point, depth: Depth, program: &Path, dir: PathBuf) -> Self {
        let (manner, tally, rounds) = (Manner::Sound, Tally::default(), 0);
        Self { point, manner, tally, depth, program: program.to_owned(), dir, rounds }
    }

    /// One of two numbers, by how much is tried.
    pub(crate) const fn pick(&self, quick: u64, full: u64) -> u64 {
        match self.depth {
            Depth::Quick => quick,
            Depth::Full => full,
        }
    }

    /// Which of the first `all` numbers are tried, from 1: each if there are few, else some, the ends among them.
    pub(crate) fn sample(&self, all: u64, quick: u64, full: u64) -> Vec<u64> {
        let wanted = self.pick(quick, full).max(2);
        if all <= wanted {
            return (1..=all).collect();
        }
        let (span, steps) = (all.saturating_sub(1), wanted.saturating_sub(1));
        let at = |step: u64| span.saturating_mul(step).checked_div(steps).unwrap_or(0).saturating_add(1);
        (0..wanted).map(at).collect()
    }

    /// The next round.
    pub(crate) fn round(&mut self) -> Result<Arc<Round>, Trouble> {
        self.rounds = self.rounds.saturating_add(1);
        Round::new(self.dir.join(format!("{:04}", self.rounds))).map(Arc::new)
    }

    /// The same for gates that are programs, with the bundle as a folder.
    pub(crate) fn round_outside(&mut self) -> Result<Arc<Round>, Trouble> {
        self.round_under(&policy::sound())
    }

    /// The same under another policy.
    pub(crate) fn round_under(&mut self, bundle: &Bundle) -> Result<Arc<Round>, Trouble> {
        let round = self.round()?;
        files::write_bundle(bundle, &round.bundle())?;
        Ok(round)
    }

    /// A gate that nothing is wrong with yet, under the machine's clock.
    pub(crate) fn setting(&self) -> Setting {
        Setting {
            point: self.point,
            bundle: Some(policy::sound()),
            clock: Arc::new(SystemClock),
            own_clock: Arc::new(SystemClock),
            deadline: DEADLINE,
            patience: PATIENCE,
            manner: self.manner,
            proxied: false,
            save_every: 100_000,
        }
    }

    /// The same under a clock set by hand, for gate and asking program.
    pub(crate) fn timed(&self) -> (Setting, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(NOON));
        (Setting { clock: clock.clone(), own_clock: clock.clone(), ..self.setting() }, clock)
    }

    /// Opens a gate in this program; `Err` inside when it refuses to open.
    pub(crate) async fn try_open(
        &self,
        disk: &Disk,
        setting: &Setting,
        round: &Round,
    ) -> Result<Result<Inside, String>, Trouble> {
        Inside::open(disk, setting, round, &self.program).await
    }

    /// Opens a gate that must open.
    pub(crate) async fn open(
        &self,
        disk: &Disk,
        setting: &Setting,
        round: &Round,
    ) -> Result<Inside, Trouble> {
        let opened = self.try_open(disk, setting, round).await?;
        opened.map_err(Trouble::at("a gate that nothing is wrong with did not open"))
    }

    fn starting(&self) -> Start {
        Start { point: self.point, patience: PATIENCE, manner: self.manner, limited: false }
    }

    /// Starts a gate as a program; `Err` inside when it refuses to start.
    pub(crate) async fn try_start(&self, round: &Round) -> Result<Result<Outside, String>, Trouble> {
        Outside::start(self.starting(), round, &self.program).await
    }

    /// Starts one that must start.
    pub(crate) async fn start(&self, round: &Round) -> Result<Outside, Trouble> {
        self.start_as(round, PATIENCE, false).await
    }

    /// The same with another patience, and with a limit on files that can be set later.
    pub(crate) async fn start_as(
        &self,
        round: &Round,
        patience: Duration,
        limited: bool,
    ) -> Result<Outside, Trouble> {
        let how = Start { patience, limited, ..self.starting() };
        let started = Outside::start(how, round, &self.program).await?;
        started.map_err(Trouble::at("a gate that nothing is wrong with did not start"))
    }

    /// Starts a gate for a point that lost its own.
    pub(crate) async fn adopt(&self, orphan: Orphan, round: &Round) -> Result<Outside, Trouble> {
        Outside::adopt(orphan, self.starting(), round, &self.program).await
    }

    /// The case's folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What a wrapper is started for here.
    pub(crate) const fn errand(&self) -> Errand {
        Errand::of(self.point, PATIENCE)
    }

    /// A wrapper that asks a gate in this program.
    pub(crate) async fn wrapper(
        &self,
        inside: &Inside,
        errand: &Errand,
        round: &Round,
    ) -> Result<Arc<Client>, Trouble> {
        inside.wrapper(errand, round, &self.program).await
    }

    /// A few calls that must go as they always do.
    pub(crate) async fn control(&self, round: &Arc<Round>, inside: &Inside) {
        self.control_calls(round, &inside.client).await;
    }

    /// The same on any client.
    pub(crate) async fn control_calls(&self, round: &Arc<Round>, client: &Arc<Client>) {
        let calls = round.mixed(4, Phase::Control);
        if round.ask(client, calls, 4).await != 3 {
            round.wrong("before anything was broken, not every permitted call ran");
        }
        // What ran unchecked before is handed in now.
        if let (Point::Leased, Client::Remote(wrapper)) = (self.point, client.as_ref())
            && !wrapper.handed_in().await
        {
            round.wrong("with nothing broken, what ran unchecked was not handed in");
        }
    }

    /// Ends a round on a disk of the suite's.
    pub(crate) async fn judge(
        &mut self,
        round: &Round,
        disk: &Disk,
        key: &callgate_log::VerifyingKey,
        times: Times,
    ) -> Result<(), Trouble> {
        let evidence = Evidence { fs: Arc::new(disk.clone()), before: None };
        self.tally.add(round.judge(evidence, key, times).await?);
        Ok(())
    }

    /// The same, where the key ring of before may be needed.
    pub(crate) async fn judge_with(
        &mut self,
        round: &Round,
        (disk, before): (&Disk, &Disk),
        key: &callgate_log::VerifyingKey,
    ) -> Result<(), Trouble> {
        let (fs, before): (Arc<dyn Fs>, Arc<dyn Fs>) = (Arc::new(disk.clone()), Arc::new(before.clone()));
        let evidence = Evidence { fs, before: Some(before) };
        self.tally.add(round.judge(evidence, key, Times::Machine).await?);
        Ok(())
    }

    /// Ends a round in its own data folder.
    pub(crate) async fn judge_on_disk(
        &mut self,
        round: &Round,
        key: &callgate_log::VerifyingKey,
    ) -> Result<(), Trouble> {
        let tally = round.judge_on_disk(key).await?;
        self.tally.add(tally);
        // A round that went well leaves nothing to look at.
        if self.tally.wrong.is_empty() {
            let _kept = files::remove_dir(round.dir());
        }
        Ok(())
    }
}
