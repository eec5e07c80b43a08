//! A judge's questions and findings, as plain data.
//!
//! A decision that depends on a judge names its [`Question`]s; whoever can ask puts the answers into
//! the facts as [`Finding`]s, and decides again. A question that was asked in vain has a finding, too,
//! so that replay never needs a model. A finding can only make a decision stricter.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;
use crate::digest::Digest;

/// The longest name of a model that is believed, in characters.
pub const MAX_MODEL: usize = 128;

/// What a rule wants to know of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The digest of everything the judge is shown: model, instructions, policy and data. Findings
    /// and caches are keyed by it.
    pub digest: Digest,
    /// The model that is asked.
    pub model: Arc<str>,
    /// Trusted text: the fixed instructions, the policy, and how to answer.
    pub instructions: String,
    /// Untrusted text: one JSON document. Nothing in it is an instruction.
    pub data: String,
    /// The longest answer, in tokens.
    pub max_tokens: u32,
    /// How long an answer is waited for, in milliseconds.
    pub timeout_ms: u64,
}

impl Question {
    /// What an answer must repeat: 32 hex digits that depend on every byte of the data. Text inside
    /// the data cannot contain them, as a digest cannot be put into what it is the digest of.
    #[must_use]
    pub fn id(&self) -> String {
        id_of(&self.digest)
    }
}

/// The id of the question with that digest; see [`Question::id`].
#[must_use]
pub fn id_of(digest: &Digest) -> String {
    digest.hex().chars().take(32).collect()
}

/// What the judge says of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// The action complies with the policy.
    Complies,
    /// The action violates the policy.
    Violates,
    /// The judge cannot tell.
    Unsure,
}

impl Ruling {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Complies, Self::Violates, Self::Unsure];

    /// The word in answers and receipts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complies => "complies",
            Self::Violates => "violates",
            Self::Unsure => "unsure",
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// No judge is configured.
    NotConfigured,
    /// No answer in time.
    Timeout,
    /// No connection, or it broke.
    Unreachable,
    /// The endpoint answered with an error.
    Refused,
    /// The endpoint's answer was too large to read.
    TooLarge,
    /// What came back is not an answer to this question.
    Malformed,
    /// The program that asks failed.
    Internal,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NotConfigured,
        Self::Timeout,
        Self::Unreachable,
        Self::Refused,
        Self::TooLarge,
        Self::Malformed,
        Self::Internal,
    ];

    /// The word in receipts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Internal => "internal",
        }
    }

    /// What happened, for people.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::NotConfigured => "no judge is configured",
            Self::Timeout => "the judge did not answer in time",
            Self::Unreachable => "the judge cannot be reached",
            Self::Refused => "the judge's endpoint refused to answer",
            Self::TooLarge => "the judge's answer is too large",
            Self::Malformed => "the judge's answer is not as it must be",
            Self::Internal => "asking the judge failed",
        }
    }
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// The judge answered.
    Given {
        /// The model as the endpoint names it.
        model: String,
        /// What it says.
        ruling: Ruling,
        /// How sure it is, from 0 to 1.
        confidence: Decimal,
    },
    /// It did not.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// The answer to one question, as decisions and receipts know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The digest of the question.
    pub question: Digest,
    /// What came of asking.
    pub answer: Answer,
    /// How long the answer took when it was asked for, in milliseconds.
    pub latency_ms: u64,
    /// Whether the answer was given earlier, to the same question.
    pub cached: bool,
}

impl Finding {
    /// A question that was asked in vain.
    #[must_use]
    pub const fn failed(question: Digest, failure: Failure, latency_ms: u64) -> Self {
        Self { question, answer: Answer::Failed { failure }, latency_ms, cached: false }
    }

    /// The finding as far as it can be believed: an answer to another question, from a model without
    /// a printable name, or with a confidence that is not between 0 and 1 is malformed.
    #[must_use]
    pub fn checked(self, question: &Question) -> Self {
        let sound = match &self.answer {
            Answer::Given { model, confidence, .. } => is_model(model) && is_confidence(*confidence),
            Answer::Failed { .. } => true,
        };
        if self.question == question.digest && sound {
            return self;
        }
        Self::failed(question.digest, Failure::Malformed, self.latency_ms)
    }
}

fn is_model(name: &str) -> bool {
    (1..=MAX_MODEL).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
}

/// From 0 to 1, and written without an exponent.
fn is_confidence(confidence: Decimal) -> bool {
    let text = confidence.to_string();
    let range = Decimal::from(0)..=Decimal::from(1);
    range.contains(&confidence) && text.len() <= 24 && !text.contains('e')
}

/// A finding, and the rule that looked at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consulted {
    /// The rule's id.
    pub rule: Arc<str>,
    /// What it found.
    pub finding: Finding,
}

/// An answer that is under way.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Finding> + Send + 'a>>;

/// Whoever answers questions. What cannot be answered is a finding, too.
pub trait Judge: Debug + Send + Sync {
    /// Answers a question. The finding is about that question and no other.
    fn answer<'a>(&'a self, question: &'a Question) -> Answering<'a>;
}

/// What a bundle says of its judge. Where it answers is for the operator to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgeSettings {
    /// The model that is asked.
    pub model: Arc<str>,
    /// How long an answer is waited for, in milliseconds.
    pub timeout_ms: u64,
    /// The longest answer, in tokens.
    pub max_tokens: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_read_back_as_written() {
        let question = Digest::of(b"q");
        for ruling in Ruling::ALL {
            let answer = Answer::Given { model: "m".into(), ruling, confidence: "0.85".parse().unwrap() };
            let finding = Finding { question, answer, latency_ms: 3, cached: true };
            let text = serde_json::to_string(&finding).unwrap();
            assert!(text.contains(ruling.as_str()), "{text}");
            assert_eq!(serde_json::from_str::<Finding>(&text).unwrap(), finding);
        }
        for failure in Failure::ALL {
            let finding = Finding::failed(question, failure, 9);
            let text = serde_json::to_string(&finding).unwrap();
            assert!(text.contains(failure.as_str()), "{text}");
            assert_eq!(serde_json::from_str::<Finding>(&text).unwrap(), finding);
        }
    }
}
