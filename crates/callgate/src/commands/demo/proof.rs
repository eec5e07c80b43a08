//! What is left when all is done: a log that anyone can check with the public key, and that shows any change.

use std::path::Path;

use super::{Place, unexpected};
use crate::commands::log::{replay, summary};
use crate::evidence::{self, Evidence};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::output::{self, Paint, counted};

pub(super) fn show(place: &Place) -> Result<(), Failure> {
    let paint = Paint::stdout();
    output::line(&paint.bold("\nThe evidence, checked offline with nothing but the public key"))?;
    let key = files::read_key(&evidence::public_key_file(&place.data)?)?;
    let log = Evidence::open(&place.data)?;
    let verified = log.verify(&key, &[], |_| Ok(()))?;
    let open = verified.report.without_outcome;
    output::line(&format!(
        "{}  {}; {}, {} still without one",
        paint.green("verified"),
        summary(&verified),
        counted(verified.report.outcomes, "outcome"),
        counted(open, "permitted action"),
    ))?;
    let (_, tally) = replay(&log, &key)?;
    if !tally.wrong.is_empty() || tally.same == 0 {
        return Err(unexpected(format!("a replay came out differently: {:?}", tally.wrong)));
    }
    output::line(&format!(
        "{}  {} made again from recorded policy, request and facts: the same bytes",
        paint.green("replayed"),
        counted(tally.same, "decision"),
    ))?;
    let refused = tamper(place, &key)?;
    output::line(&format!(
        "{}  one byte changed in a copy, and it no longer verifies:",
        paint.green("tampered")
    ))?;
    output::line(&paint.dim(&format!("          {refused}")))
}

/// Changes one byte of a copy, where it turns a denial into something else, and gives what verifying says.
fn tamper(place: &Place, key: &callgate_log::VerifyingKey) -> Result<String, Failure> {
    let copy = tempfile::tempdir().map_err(unexpected)?;
    let segment = Path::new("log").join("00000001.seg");
    let mut bytes = files::read_long(&place.data.join(&segment))?;
    let at =
        bytes.windows(SPOT.len()).position(|window| window == SPOT).ok_or_else(|| unexpected("no denial"))?;
    let byte = bytes
        .get_mut(at.saturating_add(SPOT.len()).saturating_sub(2))
        .ok_or_else(|| unexpected("no byte"))?;
    *byte ^= 1;
    files::make_dir(&copy.path().join("log"))?;
    files::write_new(&copy.path().join(&segment), &bytes)?;
    match Evidence::open(copy.path())?.verify(key, &[], |_| Ok(())) {
        Err(failure) if failure.exit() == Exit::EvidenceBad => {
            let text = failure.to_string();
            Ok(text.split(';').next().unwrap_or(&text).to_owned())
        }
        Err(failure) => Err(unexpected(failure)),
        Ok(_) => Err(unexpected("a changed log verified")),
    }
}

/// What is looked for: the word in a receipt.
const SPOT: &[u8] = br#""decision":"DENY""#;
