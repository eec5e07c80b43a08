//! The proof of block: whatever breaks, the protected thing does nothing that no durable receipt allowed.
//!
//! Every *fault* is played at every enforcement *point* it can meet. Behind each point stands the same protected thing,
//! which writes what it does into a ledger of its own. Afterwards a judge that has neither a gate nor its memory holds
//! the ledger against the log on disk: each effect needs a verified receipt of its own that allowed exactly it.
//! `docs/prove.md` is for whoever reads the table.
//!
//! The suite must never decide for a gate, nor forgive one: what it cannot play is a failure.

mod audit;
mod call;
mod disk;
mod faults;
mod files;
mod inside;
mod ledger;
mod outside;
mod part;
mod points;
mod policy;
mod report;
mod round;
mod scene;
mod self_test;
mod trouble;
mod unchecked;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use faults::Fault;
pub use part::{embedding_program, protected_server};
pub use points::Point;
pub use report::{Report, Row, Verdict};
pub use scene::Depth;
pub use self_test::{Caught, self_test};
pub use trouble::Trouble;

use points::Manner;
use scene::Scene;

/// How many cases are played at a time; most of them wait for disks and clocks.
const AT_ONCE: usize = 3;

/// A fault at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    /// What goes wrong.
    pub fault: Fault,
    /// Where.
    pub point: Point,
}

impl Case {
    /// All of them, in the order of the report.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let at = |fault: Fault| fault.points().iter().map(move |point| Self { fault, point: *point });
        Fault::ALL.iter().copied().flat_map(at).collect()
    }

    /// Those that a name picks: a fault, a group, a point, or `fault@point`. `None` when it picks none.
    #[must_use]
    pub fn named(name: &str) -> Option<Vec<Self>> {
        let meets = |case: &Self| {
            let (fault, group, point) = (case.fault.as_str(), case.fault.group(), case.point.as_str());
            [fault, group, point].contains(&name) || name.split_once('@') == Some((fault, point))
        };
        let picked: Vec<Self> = Self::all().into_iter().filter(meets).collect();
        (!picked.is_empty()).then_some(picked)
    }
}

/// Where and how the suite is played.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The program `callgate`, which is started as gate, as point and as protected thing.
    pub program: PathBuf,
    /// An empty folder.
    pub folder: PathBuf,
    /// How much is tried.
    pub depth: Depth,
}

/// Plays the cases and shows `each` line in their order, as soon as it and those before it are there.
pub async fn prove(setup: &Setup, cases: &[Case], mut each: impl FnMut(&Row)) -> Report {
    let (turns, mut playing) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for (number, case) in cases.iter().copied().enumerate() {
        let (turns, setup) = (Arc::clone(&turns), setup.clone());
        playing.spawn(async move {
            let _turn = turns.acquire().await;
            (number, play(&setup, case, Manner::Sound).await)
        });
    }
    let (mut ready, mut rows) = (BTreeMap::new(), Vec::new());
    while let Some(played) = playing.join_next().await {
        if let Ok((number, row)) = played {
            ready.insert(number, row);
        }
        while let Some(row) = ready.remove(&rows.len()) {
            each(&row);
            rows.push(row);
        }
    }
    // A case whose task died has no line, and those behind it were not shown.
    let lost = rows.len() < cases.len();
    rows.extend(ready.into_values().inspect(|row| each(row)));
    let mut report = Report::new(rows);
    report.proven &= !lost;
    report
}

/// Plays one case to its line.
async fn play(setup: &Setup, case: Case, manner: Manner) -> Row {
    let begun = Instant::now();
    let Case { fault, point } = case;
    let folder = setup.folder.join(format!("{fault}-{point}"));
    let mut scene = Scene::new(point, setup.depth, &setup.program, folder);
    scene.manner = manner;
    let played = fault.play(&mut scene).await;
    let mut tally = scene.tally;
    if let Err(trouble) = played {
        tally.wrong.push(format!("the suite could not play this: {trouble}"));
    }
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Row::new((fault.as_str(), fault.group(), point.as_str()), fault.breaks(), tally, took_ms)
}
