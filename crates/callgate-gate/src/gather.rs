//! Gathering: what a decision asks of a judge becomes findings, before it is decided for good.
//!
//! Asking happens outside of everything that is locked or durable, and always ends with a finding for
//! each question: an answer, or why there is none. The facts are read again afterwards.

use std::sync::Arc;
use std::time::Duration;

use callgate_core::finding::{Failure, Finding, Judge, Question};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::gate::Gate;

/// The part of a decision's time that may pass with asking: the rest is for evidence.
const SHARE: (u32, u32) = (3, 4);

/// When asking must have ended, for a decision that began at `began` and may take `deadline`.
pub(crate) fn until(began: Instant, deadline: Duration) -> Instant {
    let (part, whole) = SHARE;
    let span = deadline.saturating_mul(part).checked_div(whole).unwrap_or_default();
    began.checked_add(span).unwrap_or(began)
}

impl Gate {
    /// Asks the judge everything at once; gives a finding for each question, by `until` at the latest.
    pub(crate) async fn gather(&self, questions: Vec<Question>, until: Instant) -> Vec<Finding> {
        let Some(judge) = &self.judge else {
            let failed = |question: Question| Finding::failed(question.digest, Failure::NotConfigured, 0);
            return questions.into_iter().map(failed).collect();
        };
        let began = Instant::now();
        let mut asking = JoinSet::new();
        for question in &questions {
            asking.spawn(ask(Arc::clone(judge), question.clone(), until));
        }
        let mut findings = Vec::with_capacity(questions.len());
        while let Some(asked) = asking.join_next().await {
            findings.extend(asked.ok());
        }
        // Whoever asks may panic; then there is no finding yet.
        let waited = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        for question in &questions {
            if !findings.iter().any(|finding| finding.question == question.digest) {
                findings.push(Finding::failed(question.digest, Failure::Internal, waited));
            }
        }
        findings
    }
}

/// Asks one question, and believes only what is about it.
async fn ask(judge: Arc<dyn Judge>, question: Question, until: Instant) -> Finding {
    let began = Instant::now();
    match tokio::time::timeout_at(until, judge.answer(&question)).await {
        Ok(finding) => finding.checked(&question),
        Err(_) => {
            let waited = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            Finding::failed(question.digest, Failure::Timeout, waited)
        }
    }
}

/// Adds findings, each question once, in the order of their digests: the order in which answers came
/// says nothing.
pub(crate) fn add(findings: &mut Vec<Finding>, more: Vec<Finding>) {
    findings.extend(more);
    findings.sort_by_key(|finding| finding.question);
    findings.dedup_by_key(|finding| finding.question);
}
