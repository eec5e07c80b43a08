//! Who must agree: from what a rule writes to the terms of its approval.

use callgate_core::rule::{ApprovalTerms, Stage};
use callgate_core::snapshot::Defaults;

use crate::language::rules::{ApprovalText, RuleText};

/// The terms of a rule that holds.
pub(super) fn of_rule(text: &RuleText, defaults: &Defaults) -> ApprovalTerms {
    lower(text.approval.as_ref().map(|approval| &approval.value), defaults)
}

/// The terms that are written; any one reviewer in the usual time where nothing is.
pub(super) fn lower(written: Option<&ApprovalText>, defaults: &Defaults) -> ApprovalTerms {
    let Some(text) = written else { return ApprovalTerms::of_anyone(defaults) };
    let names = text.reviewers.iter().flat_map(|list| &list.value).map(|name| name.value.to_string());
    let quorum = text.quorum.as_ref().and_then(|it| u32::try_from(it.value).ok()).unwrap_or(1);
    let expires_ms = text.expires.as_ref().map_or(defaults.approval_expires_ms, |expires| expires.value);
    ApprovalTerms::in_stages(vec![Stage::of(names, quorum)], expires_ms)
}
