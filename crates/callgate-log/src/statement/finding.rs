//! What somebody outside the gate said of an action, and the decision rests on.
//!
//! Fields stand in RFC 8785 order, as in [`super::Decision`].

use serde::{Deserialize, Serialize};

use crate::hash::Hash;
use crate::json::{Decimal, SafeInt};

/// One finding: an answer, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What was said of the rule's policy; absent when asking failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Ruling>,
    /// Whether the answer was given earlier, to the same question.
    pub cached: bool,
    /// How sure the answer is, from 0 to 1; with an answer, and only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Decimal>,
    /// Why there is no answer, such as `timeout`; without one, and only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Who found it.
    pub kind: FindingKind,
    /// How long the answer took when it was asked for, in milliseconds.
    pub latency_ms: SafeInt,
    /// The model that answered, as its endpoint names it; with an answer, and only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Salted digest of the digest of everything that was shown: instructions, policy, model and data.
    pub question_commitment: Hash,
    /// The rule that asked.
    pub rule: String,
}

/// Who found something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingKind {
    /// A model that judges a policy in plain language.
    Judge,
}

/// What a judge says of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ruling {
    /// The action complies with it.
    Complies,
    /// The action violates it.
    Violates,
    /// It cannot tell.
    Unsure,
}

impl Finding {
    /// Whether it is either an answer with all that belongs to one, or a failure.
    pub(super) const fn is_whole(&self) -> bool {
        let answered = self.answer.is_some();
        answered == self.confidence.is_some()
            && answered == self.model.is_some()
            && answered != self.failure.is_some()
    }
}
