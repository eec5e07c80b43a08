//! What people do to approvals, as it lies in the log.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The longest life of a standing approval, in milliseconds: 30 days.
pub const MAX_STANDING_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// The most uses of a standing approval.
pub const MAX_STANDING_USES: u64 = 1000;
/// The most arguments that a standing approval fixes by name.
pub const MAX_FIXED: usize = 64;

/// One person's yes or no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// The approval.
    pub approval: u64,
    /// Yes or no.
    pub approve: bool,
    /// Whether a text lies sealed beside the receipt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub commented: bool,
    /// Whether this is the yes that was missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub grants: bool,
    /// Who handed this vote over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
    /// Who votes.
    pub person: String,
    /// As which of the stage's reviewers, such as `role:finance`.
    pub seat: String,
    /// In which stage; the first is 0.
    pub stage: u32,
    /// A standing approval instead of a single one; comes about when every vote asks for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<StandingTerms>,
}

/// How far a standing approval reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandingTerms {
    /// The fixed arguments and their values; see [`crate::approval::fixed_arguments`].
    pub arguments: Digest,
    /// The names of the fixed arguments; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<Vec<String>>,
    /// How long it stands after it was granted, in milliseconds.
    pub span_ms: u64,
    /// How often it can be used.
    pub uses: u64,
}

impl StandingTerms {
    /// Whether it keeps within the bounds.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        let fixed = self.fixed.as_ref().map_or(0, Vec::len);
        (1..=MAX_STANDING_MS).contains(&self.span_ms)
            && (1..=MAX_STANDING_USES).contains(&self.uses)
            && fixed <= MAX_FIXED
    }
}

/// A vote handed over, for one approval and stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// The approval.
    pub approval: u64,
    /// Who hands it over.
    pub from: String,
    /// As which of the stage's reviewers.
    pub seat: String,
    /// In which stage.
    pub stage: u32,
    /// To whom.
    pub to: String,
}

/// A remark without a vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comment {
    /// The approval.
    pub approval: u64,
    /// Who says it.
    pub person: String,
}

/// The end of a standing approval before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandingEnd {
    /// Who takes it back.
    pub person: String,
    /// The standing approval.
    pub standing: u64,
}
