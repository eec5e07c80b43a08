//! The gate: the shell around a pure decision.
//!
//! It reads facts, decides, makes the receipt durable and only then answers; an allow comes with a
//! [`Permit`], which nothing else can build. Enforcement points hold an [`Arc<Gate>`](std::sync::Arc)
//! and use one path: [`Gate::decide`], then [`Permit::redeem`], then [`Gate::report`].
//!
//! This crate knows no HTTP, no MCP and no files of its own: everything on disk goes through
//! [`callgate_store::Fs`].

mod approvals;
mod away;
mod breakers;
pub mod clock;
mod commit;
pub mod control;
pub mod diff;
mod dry_run;
mod error;
mod events;
mod filling;
mod fold;
mod gate;
mod gather;
mod health;
mod identity;
mod keys;
mod lookup;
mod outbox;
mod outcome;
mod past;
mod permit;
mod progress;
mod receipt;
mod rehearse;
mod release;
pub mod replay;
mod reply;
pub mod simulate;
mod stops;
mod unchecked;
mod usage;
mod vault;

pub use approvals::{
    ApprovalDetail, ApprovalFilter, ApprovalView, DelegationView, EarlierView, EvidenceView, PrincipalView,
    RemarkView, RuleView, Said, SimilarView, SoFarView, StageView, StandingAsk, StandingView, Suggestion,
    VoteView, approval_number, standing_number,
};
pub use away::{
    Answer, AnyGate, Away, Carried, Carrier, Claim, Lost, PointHealth, Question, Stopgap, StopgapError,
};
pub use breakers::{BreakerFilter, BreakerView, ResetRequest};
pub use callgate_core::facts::Credential;
pub use callgate_core::finding::Judge;
pub use callgate_policy::{Bundle, is_bundle_file};
pub use error::{
    AdminError, ApprovalError, ControlError, OpenError, OutcomeError, ProgressError, PublishError,
    ReceiptError, Unavailable,
};
pub use events::Events;
pub use gate::{Asked, Decided, Gate, GateOptions, Opened};
pub use health::GateHealth;
pub use identity::{Identity, ORIGIN_PREFIX};
pub use keys::{ApiKeySecret, KeyRecord};
pub use outbox::{Addressee, Outbox, OutboxOptions};
pub use outcome::{OutcomeReport, OutcomeStatus};
pub use permit::{Enforcement, Ground, Permit, PermitRefused};
pub use progress::{Progress, ProgressReport};
pub use rehearse::{explain, rehearse};
pub use release::{
    Acknowledgement, ModeRequest, PointRecord, PublishRequest, Released, RollbackRequest, RolloutMode,
    RolloutRecord, RolloutRequest, SnapshotRecord, StageRequest,
};
pub use reply::{
    ApprovalReply, GrantReply, OutcomeReply, ReasonReply, ReceiptReply, Reply, StageReply, WouldReply,
};
pub use stops::{StopFilter, StopRequest, StopView, Stopped, stop_number};
pub use unchecked::wire::{
    Backlog, BacklogOutcome, BacklogRecord, BacklogReply, FailWord, Holding, LeaseReply, LeaseRequest,
    WindowReply,
};
pub use usage::{Bounded, Bounds, LimitFilter, LimitView, MeterView, Standing, Unseen};
