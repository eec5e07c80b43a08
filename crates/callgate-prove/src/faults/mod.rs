//! The faults: what each is, which points it can meet, and how it is played.

mod away;
mod clock;
mod disk;
mod journal;
mod lease;
mod log;
mod permit;
mod policy;
mod program;
mod race;
mod stage;
mod wire;

pub(crate) use away::slips;
pub(crate) use disk::lies as lying_disk;

use std::fmt;

use crate::points::Point;
use crate::scene::Scene;
use crate::trouble::Trouble;

macro_rules! faults {
    ($($(#[doc = $about:literal])+ $fault:ident = $name:literal in $group:ident at $points:expr;)*) => {
        /// Something that goes wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[doc = $about])+ $fault,)*
        }

        impl Fault {
            /// All of them, in the order of the report.
            pub const ALL: &'static [Self] = &[$(Self::$fault),*];

            /// Its name in the report and on the command line.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$fault => $name,)* }
            }

            /// What it belongs to.
            #[must_use]
            pub const fn group(self) -> &'static str {
                match self { $(Self::$fault => stringify!($group),)* }
            }

            /// What is done, in a sentence.
            #[must_use]
            pub fn about(self) -> String {
                let text = match self { $(Self::$fault => concat!($($about),+),)* };
                text.trim().trim_end_matches('.').to_owned()
            }

            /// The points it can meet.
            #[must_use]
            pub const fn points(self) -> &'static [Point] {
                match self { $(Self::$fault => $points,)* }
            }
        }
    };
}

/// Where a gate can go away, or be lied about.
const EVERY: &[Point] = &Point::ALL;
/// All but `leased`, which is `remote` for as long as its gate is there.
const ALL: &[Point] = &[Point::Embedded, Point::Http, Point::Mcp, Point::Remote];
/// What breaks is inside the gate, and the gate of the points elsewhere is that of `http`.
const OWN: &[Point] = &[Point::Embedded, Point::Http, Point::Mcp];
const ASKING: &[Point] = &[Point::Http, Point::Remote, Point::Leased];
const STREAMS: &[Point] = &[Point::Mcp, Point::Remote];
const LEASED: &[Point] = &[Point::Leased];
/// The points that take the clock or the nonce from whoever calls; the others are programs that have their own.
const TOLD: &[Point] = &[Point::Embedded, Point::Http];

faults! {
    /// Nothing is wrong: what may run runs, what may not does not.
    Nothing = "none" in control at EVERY;
    /// kill -9 on the gate's program at random moments of a stream of calls, then a restart.
    Killed = "gate-killed" in program at EVERY;
    /// The gate's program is stopped (SIGSTOP) under load and goes on later (SIGCONT).
    Stopped = "gate-stopped" in program at EVERY;
    /// No file of the gate's program may grow any more (RLIMIT_FSIZE).
    Starved = "no-room" in program at &[Point::Http, Point::Mcp, Point::Remote, Point::Leased];
    /// A write fails half done, for each write in a small run.
    WriteFails = "write-fails" in disk at OWN;
    /// A sync fails and loses what it should have kept, for each sync in a small run.
    SyncFails = "sync-fails" in disk at OWN;
    /// The disk is full.
    DiskFull = "disk-full" in disk at ALL;
    /// The power fails at each file operation in a small run; what was not synced is gone.
    PowerFails = "power-fails" in disk at OWN;
    /// A file operation hangs beyond every deadline, for each in a small run.
    DiskHangs = "disk-hangs" in disk at OWN;
    /// Every sync takes longer than the gate may.
    DiskSlow = "disk-slow" in disk at OWN;
    /// Answers come too late.
    AnswersLate = "answers-late" in wire at ASKING;
    /// No answer ever comes.
    AnswersNever = "answers-never" in wire at ASKING;
    /// Garbage, other protocols and forged allows come instead of an answer.
    Garbage = "garbage" in wire at ASKING;
    /// An allow is cut after its first byte, its second, and so on.
    Truncated = "truncated" in wire at ASKING;
    /// One byte of an allow is changed on the way.
    Changed = "answer-changed" in wire at ASKING;
    /// Calls are cut after each byte, and the agent is gone.
    CallTruncated = "call-truncated" in wire at STREAMS;
    /// Bytes of the log, its key ring or its witnesses are flipped before a restart.
    LogDamaged = "log-damaged" in log at OWN;
    /// Files of the log, the key ring or the witnesses are gone before a restart.
    LogMissing = "log-missing" in log at OWN;
    /// Saved states are flipped or cut off before a restart; what was spent stays spent.
    StateDamaged = "state-damaged" in log at OWN;
    /// The signing key is gone before a restart.
    KeyMissing = "key-missing" in log at OWN;
    /// The signing key is another one before a restart.
    KeyReplaced = "key-replaced" in log at OWN;
    /// The gate is started on a broken policy that would permit everything.
    PolicyBroken = "policy-broken" in policy at OWN;
    /// A broken policy that would permit everything is published while calls go on.
    PublishBroken = "publish-broken" in policy at OWN;
    /// The gate's clock jumps ahead: 5 minutes, a day, a year.
    ClockAhead = "clock-ahead" in clock at OWN;
    /// The gate's clock jumps back: 5 minutes, a day, a year.
    ClockBack = "clock-back" in clock at OWN;
    /// The clock jumps between the decision and the action.
    ClockBetween = "clock-between" in clock at TOLD;
    /// An answer, a receipt or a call is used again.
    Replayed = "permit-replayed" in permit at ALL;
    /// The arguments are changed after the decision, or on the way to it.
    ArgumentsChanged = "arguments-changed" in permit at EVERY;
    /// The connection is cut, or the asking program gone, after the decision and before the action.
    CutBetween = "cut-between" in permit at EVERY;
    /// The journal cannot be written: the disk is full, the folder is gone, or another program has it.
    JournalUnwritable = "journal-unwritable" in lease at LEASED;
    /// The journal is torn or changed while the point is down; nothing runs unchecked until what is left was handed in.
    JournalDamaged = "journal-damaged" in lease at LEASED;
    /// The journal is deleted between the actions and the hand-in: under a running point, and while it is down.
    JournalLost = "journal-lost" in lease at LEASED;
    /// The journal is handed in again: answers to it are lost, and a copy of it is put back.
    JournalAgain = "journal-again" in lease at LEASED;
    /// kill -9 on the point itself while it runs what nobody decides.
    PointKilled = "point-killed" in lease at LEASED;
    /// The lease ends while the gate is away.
    LeaseOver = "lease-over" in lease at LEASED;
    /// Leases of another agent, another point and another gate, changed ones, and what is none.
    LeaseForged = "lease-forged" in lease at LEASED;
    /// A thousand calls at once on one grant.
    LastGrant = "last-grant" in race at ALL;
    /// A thousand calls at once with one nonce.
    LastNonce = "last-nonce" in race at TOLD;
    /// A thousand calls at once on what a policy about the past permits once.
    LastCount = "last-count" in race at ALL;
    /// A thousand calls at once on the last unit of a budget.
    LastBudget = "last-budget" in race at ALL;
    /// A thousand calls at once on the last token of a throttle.
    LastThrottle = "last-throttle" in race at ALL;
    /// A thousand calls at once on a breaker that the first of them trips.
    LastBreaker = "last-breaker" in race at ALL;
    /// kill -9 on the gate's program again and again while calls spend a budget, and on until nothing is left.
    BudgetKilled = "budget-killed" in race at ALL;
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Fault {
    /// Whether something is broken at all.
    #[must_use]
    pub fn breaks(self) -> bool {
        self != Self::Nothing
    }

    /// Plays it on a scene.
    #[expect(clippy::cognitive_complexity, reason = "one line per fault")]
    pub(crate) async fn play(self, scene: &mut Scene) -> Result<(), Trouble> {
        match self {
            Self::Nothing => program::nothing(scene).await,
            Self::Killed => program::killed(scene).await,
            Self::Stopped => program::stopped(scene).await,
            Self::Starved => program::starved(scene).await,
            Self::WriteFails => disk::write_fails(scene).await,
            Self::SyncFails => disk::sync_fails(scene).await,
            Self::DiskFull => disk::full(scene).await,
            Self::PowerFails => disk::power_fails(scene).await,
            Self::DiskHangs => disk::hangs(scene).await,
            Self::DiskSlow => disk::slow(scene).await,
            Self::AnswersLate => wire::late(scene).await,
            Self::AnswersNever => wire::never(scene).await,
            Self::Garbage => wire::garbage(scene).await,
            Self::Truncated => wire::truncated(scene).await,
            Self::Changed => wire::changed(scene).await,
            Self::CallTruncated => wire::call_truncated(scene).await,
            Self::LogDamaged => log::damaged(scene).await,
            Self::LogMissing => log::missing(scene).await,
            Self::StateDamaged => log::state_damaged(scene).await,
            Self::KeyMissing => log::key_missing(scene).await,
            Self::KeyReplaced => log::key_replaced(scene).await,
            Self::PolicyBroken => policy::at_start(scene).await,
            Self::PublishBroken => policy::published(scene).await,
            Self::ClockAhead => clock::ahead(scene).await,
            Self::ClockBack => clock::back(scene).await,
            Self::ClockBetween => clock::between(scene).await,
            Self::Replayed => permit::replayed(scene).await,
            Self::ArgumentsChanged => permit::arguments_changed(scene).await,
            Self::CutBetween => permit::cut_between(scene).await,
            Self::JournalUnwritable => journal::unwritable(scene).await,
            Self::JournalDamaged => journal::damaged(scene).await,
            Self::JournalLost => journal::lost(scene).await,
            Self::JournalAgain => journal::again(scene).await,
            Self::PointKilled => journal::point_killed(scene).await,
            Self::LeaseOver => lease::over(scene).await,
            Self::LeaseForged => lease::forged(scene).await,
            Self::LastGrant => race::last_grant(scene).await,
            Self::LastNonce => race::last_nonce(scene).await,
            Self::LastCount => race::last_count(scene).await,
            Self::LastBudget => race::last_budget(scene).await,
            Self::LastThrottle => race::last_throttle(scene).await,
            Self::LastBreaker => race::last_breaker(scene).await,
            Self::BudgetKilled => program::budget_killed(scene).await,
        }
    }
}
