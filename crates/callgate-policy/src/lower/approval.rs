//! Who must agree: from what a rule writes to the terms of its approval.

use callgate_core::rule::ApprovalTerms;
use callgate_core::snapshot::Defaults;

use crate::language::rules::{ApprovalText, RuleText};

/// The terms of a rule that holds.
pub(super) fn of_rule(text: &RuleText, defaults: &Defaults) -> ApprovalTerms {
    lower(text.approval.as_ref().map(|approval| &approval.value), defaults)
}

/// The terms that are written; any one reviewer in the usual time where nothing is.
pub(super) fn lower(written: Option<&ApprovalText>, defaults: &Defaults) -> ApprovalTerms {
    let Some(text) = written else { return ApprovalTerms::of_anyone(defaults) };
    let expires_ms = text.expires.as_ref().map_or(defaults.approval_expires_ms, |expires| expires.value);
    ApprovalTerms {
        blast_radius: text.blast_radius.as_ref().map(|it| it.value.clone()),
        rollback: text.rollback.as_ref().map(|it| it.value.clone()),
        ..ApprovalTerms::in_stages(text.stages(), expires_ms)
    }
}
