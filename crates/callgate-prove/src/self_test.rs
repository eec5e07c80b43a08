//! The suite's own proof: points that do it wrong and a disk that lies, each of which it must catch.

use std::path::Path;

use serde::Serialize;

use crate::faults::{Fault, lying_disk, slips};
use crate::points::{Manner, Point, Slip};
use crate::report::{Row, Verdict};
use crate::scene::{Depth, Scene};
use crate::{Case, Setup, play};

/// One deliberate mistake, and whether the suite caught it.
#[derive(Debug, Clone, Serialize)]
pub struct Caught {
    /// What is wrong on purpose.
    pub mistake: String,
    /// The fault under which it shows.
    pub fault: String,
    /// Whether the suite said so.
    pub caught: bool,
    /// What it said.
    pub said: String,
}

const MISTAKES: [(Manner, Fault, &str); 6] = [
    (Manner::ActsFirst, Fault::Nothing, "a point that acts before it asks"),
    (Manner::FailsOpen, Fault::AnswersNever, "a point that acts when no answer comes"),
    (Manner::Believes, Fault::Garbage, "a point that checks no receipt"),
    (Manner::Believes, Fault::Replayed, "a point that acts on a used receipt"),
    (Manner::ActsTwice, Fault::Nothing, "a point that acts twice on one allow"),
    (Manner::ActsOtherwise, Fault::Nothing, "a point that acts with other arguments"),
];

const SLIPS: [(Slip, &str); 4] = [
    (Slip::NoJournal, "a point that runs unchecked and keeps no journal"),
    (Slip::Beyond, "a point that runs more unchecked than its lease says"),
    (Slip::Hides, "a point that hides one action that ran unchecked"),
    (Slip::NoLease, "a point that names a lease which nobody gave"),
];

/// Plays the mistakes.
pub async fn self_test(setup: &Setup) -> Vec<Caught> {
    let mut found = Vec::new();
    for (number, (manner, fault, mistake)) in MISTAKES.into_iter().enumerate() {
        let setup = Setup { folder: setup.folder.join(format!("mistake-{number}")), ..setup.clone() };
        let row = play(&setup, Case { fault, point: Point::Http }, manner).await;
        found.push(caught(mistake, fault.as_str(), &row));
    }
    for (number, (slip, mistake)) in SLIPS.into_iter().enumerate() {
        let folder = setup.folder.join(format!("slip-{number}"));
        let row = slipped(setup.depth, &setup.program, &folder, slip).await;
        found.push(caught(mistake, Fault::AnswersNever.as_str(), &row));
    }
    let row = lied_to(setup.depth, &setup.program, &setup.folder.join("lying-disk")).await;
    found.push(caught("a disk that says it wrote and did not", "power-fails", &row));
    found
}

/// A point with a lease, while nobody answers.
async fn slipped(depth: Depth, program: &Path, folder: &Path, slip: Slip) -> Row {
    let mut scene = Scene::new(Point::Http, depth, program, folder.to_owned());
    let played = slips(&mut scene, slip).await;
    let mut tally = scene.tally;
    tally.wrong.extend(played.err().map(|trouble| trouble.to_string()));
    Row::new((Fault::AnswersNever.as_str(), "wire", Point::Http.as_str()), true, tally, 0)
}

async fn lied_to(depth: Depth, program: &Path, folder: &Path) -> Row {
    let mut scene = Scene::new(Point::Embedded, depth, program, folder.to_owned());
    let played = lying_disk(&mut scene).await;
    let mut tally = scene.tally;
    if let Err(trouble) = played {
        // Only what the judge says counts here.
        tally.wrong = vec![trouble.to_string()];
        tally.effects = 0;
    }
    Row::new(("power-fails", "disk", Point::Embedded.as_str()), true, tally, 0)
}

/// A mistake is caught when the judge names an effect or a receipt; that the suite could not go on is no catch.
fn caught(mistake: &str, fault: &str, row: &Row) -> Caught {
    let named =
        row.problems.iter().find(|problem| problem.starts_with("`vault.") || problem.starts_with("receipt "));
    Caught {
        mistake: mistake.to_owned(),
        fault: fault.to_owned(),
        caught: row.verdict == Verdict::Failed && named.is_some(),
        said: named.or(row.problems.first()).cloned().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same without a mistake: what the judge says of the others is no habit of it.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_point_that_keeps_to_its_lease_is_not_accused() {
        let dir = tempfile::tempdir().unwrap();
        let row = slipped(Depth::Quick, Path::new("none"), dir.path(), Slip::None).await;
        assert_eq!((row.verdict, row.unchecked), (Verdict::Withstood, 6), "{}", row.line());
    }
}
