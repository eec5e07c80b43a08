//! Thousands of lives of a store, several per seed: random work, crashes at random calls, failing calls, full disks, garbage.
//!
//! What must hold after each: every acknowledged entry is there, in its place, byte for byte; nothing is there twice or
//! in part; the state is the fold of the log; after a failed write or sync nothing is acknowledged. And with each
//! deliberate fault built in, the same runs must fail.
#![expect(clippy::arithmetic_side_effects, reason = "test arithmetic")]
#![expect(clippy::panic, clippy::print_stdout, reason = "a test program reports by both")]

mod model;
#[path = "simulation/run.rs"]
mod run;

use callgate_store::Mutant;
use run::{Kind, run};

/// Seeds to try: some hundreds of each kind, or `CALLGATE_SIM_SEEDS` for a long run.
fn seeds(default: u64) -> std::ops::Range<u64> {
    #[expect(clippy::disallowed_methods, reason = "the one setting of a test program")]
    let wanted = std::env::var("CALLGATE_SIM_SEEDS").ok().and_then(|n| n.parse().ok());
    0..wanted.unwrap_or(default)
}

fn all_hold(kind: Kind, default: u64) {
    let mut totals = run::Stats::default();
    for seed in seeds(default) {
        match run(seed, kind, None) {
            Ok(stats) => totals.add(&stats),
            Err(what) => panic!("seed {seed} of {kind:?}: {what}"),
        }
    }
    println!("{kind:?}: {totals:?}");
    totals.assert_busy(kind);
}

#[test]
fn acknowledged_entries_survive_power_cuts() {
    all_hold(Kind::PowerCuts, 500);
}

#[test]
fn acknowledged_entries_survive_failing_calls() {
    all_hold(Kind::FailingCalls, 250);
}

#[test]
fn acknowledged_entries_survive_a_full_disk() {
    all_hold(Kind::FullDisk, 120);
}

#[test]
fn garbage_in_unsynced_sectors_is_reported_and_can_be_discarded() {
    all_hold(Kind::Garbage, 400);
}

fn is_found(mutant: Mutant) {
    let kinds = [Kind::PowerCuts, Kind::FailingCalls, Kind::Garbage];
    let found = (0..2000_u64).find_map(|seed| {
        let failed = |kind: &Kind| run(seed, *kind, Some(mutant)).err().map(|what| (seed, what));
        kinds.iter().find_map(failed)
    });
    let (seed, what) = found.unwrap_or_else(|| panic!("{mutant:?} went unnoticed in every seed"));
    println!("{mutant:?} found at seed {seed}: {what}");
}

macro_rules! mutants {
    ($($name:ident: $mutant:ident,)*) => {
        $(#[test]
        fn $name() {
            is_found(Mutant::$mutant);
        })*
    };
}

mutants! {
    skipping_the_group_sync_is_found: SkipGroupSync,
    acknowledging_before_the_sync_is_found: AckBeforeSync,
    skipping_the_segment_sync_is_found: SkipSegmentSync,
    skipping_the_folder_sync_is_found: SkipDirSync,
    retrying_a_failed_sync_is_found: RetryAfterFailedSync,
    forgetting_a_failure_is_found: ForgetFailure,
    leaving_a_torn_tail_is_found: NoTailZeroing,
    not_syncing_the_zeroed_tail_is_found: SkipTailSync,
    taking_the_last_group_as_found_is_found: SkipSettle,
    marking_before_the_sync_is_found: HeadBeforeSync,
    skipping_the_checkpoint_sync_is_found: SkipCheckpointSync,
    cutting_damage_is_found: CutDamage,
    skipping_the_check_is_found: SkipCheck,
    trusting_a_saved_state_is_found: TrustSaved,
}
