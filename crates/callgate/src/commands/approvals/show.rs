//! Approvals for people's eyes. Everything from outside goes through [`plain`].

use std::fmt::Write as _;

use callgate_server::wire::{ApprovalDetail, ApprovalItem, ApprovalStatus, StandingItem, SuggestionItem};
use serde::Serialize;

use crate::output::{Paint, counted, moment, plain};

/// A word as it stands on the wire.
fn word(status: &impl Serialize) -> String {
    let value = serde_json::to_value(status).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn status(item: &ApprovalItem, paint: Paint) -> String {
    let word = word(&item.status);
    match item.status {
        ApprovalStatus::Open => paint.yellow(&word),
        ApprovalStatus::Granted | ApprovalStatus::Standing | ApprovalStatus::Used => paint.green(&word),
        ApprovalStatus::Rejected => paint.red(&word),
        ApprovalStatus::Expired | ApprovalStatus::Stopped | ApprovalStatus::Lapsed => paint.dim(&word),
    }
}

fn asker(item: &ApprovalItem) -> String {
    let agent = &item.agent;
    let mut out = plain(&agent.id);
    if !agent.chain.is_empty() {
        let _ = write!(out, " through {}", plain(&agent.chain.join(", ")));
    }
    if let Some(person) = &agent.on_behalf_of {
        let _ = write!(out, " for {}", plain(person));
    }
    out
}

/// Whom the current stage still asks for.
fn lacking(item: &ApprovalItem) -> String {
    let at = usize::try_from(item.stage.saturating_sub(1)).unwrap_or(usize::MAX);
    let Some(stage) = item.stages.get(at) else { return String::new() };
    let who = if stage.reviewers.is_empty() { "any reviewer".to_owned() } else { stage.reviewers.join(", ") };
    format!("{}/{} of {}", stage.agreed.len(), stage.quorum, plain(&who))
}

/// One approval on one line.
pub(super) fn one_line(item: &ApprovalItem) -> String {
    let paint = Paint::stdout();
    let mut out = format!(
        "{}  {}  {}  {}  (`{}`)",
        paint.bold(&plain(&item.id)),
        status(item, paint),
        plain(&item.action),
        asker(item),
        plain(&item.rule)
    );
    match item.status {
        ApprovalStatus::Open => {
            let _ = write!(out, "  {}, until {}", lacking(item), moment(item.expires_at_ms));
        }
        _ if !item.by.is_empty() => {
            let _ = write!(out, "  by {}", plain(&item.by.join(", ")));
        }
        _ => {}
    }
    out
}

fn field(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "  {}  {text}", Paint::stdout().dim(&format!("{name:<12}")));
}

/// Everything a reviewer needs.
pub(super) fn detail(detail: &ApprovalDetail) -> String {
    let (item, paint) = (&detail.approval, Paint::stdout());
    let mut out = format!("{}  {}\n", paint.bold(&plain(&item.id)), status(item, paint));
    field(&mut out, "action", &plain(&item.action));
    field(&mut out, "asked by", &format!("{}, tenant {}", asker(item), plain(&item.tenant)));
    if let Some(session) = &item.session {
        field(&mut out, "session", &plain(session));
    }
    let rule = &detail.rule_detail;
    let source = rule.source.as_deref().map(|at| format!(" at {}", plain(at))).unwrap_or_default();
    let reason = rule.reason.as_deref().map(|it| format!(": {}", plain(it))).unwrap_or_default();
    field(&mut out, "rule", &format!("`{}`{source}{reason}", plain(&rule.id)));
    field(&mut out, "asked", &moment(item.requested_at_ms));
    field(&mut out, "until", &moment(item.expires_at_ms));
    for (number, stage) in (1u32..).zip(&item.stages) {
        let who =
            if stage.reviewers.is_empty() { "any reviewer".to_owned() } else { stage.reviewers.join(", ") };
        let agreed = if stage.agreed.is_empty() { "nobody yet".to_owned() } else { stage.agreed.join(", ") };
        let text = format!("{} of {}; agreed: {}", stage.quorum, plain(&who), plain(&agreed));
        field(&mut out, &format!("stage {number}"), &text);
    }
    reach(&mut out, detail);
    request(&mut out, detail);
    past(&mut out, detail);
    people(&mut out, detail);
    if let Some(why) = &detail.not_by_you {
        field(&mut out, "not by you", &plain(why));
    }
    out
}

fn reach(out: &mut String, detail: &ApprovalDetail) {
    if let Some(text) = &detail.blast_radius {
        field(out, "can reach", &plain(text));
    }
    if let Some(environment) = &detail.approval.environment {
        field(out, "environment", &plain(environment));
    }
    if !detail.risk_tags.is_empty() {
        field(out, "risk", &plain(&detail.risk_tags.join(", ")));
    }
    if !detail.constraints.is_empty() {
        let limits = detail.constraints.iter().map(|(name, limit)| format!("{name} {limit}"));
        field(out, "limits", &plain(&limits.collect::<Vec<_>>().join(", ")));
    }
    let undone = detail.rollback.as_deref().unwrap_or("the rule does not say how");
    field(out, "to undo", &plain(undone));
}

fn request(out: &mut String, detail: &ApprovalDetail) {
    let Some(request) = &detail.request else {
        field(out, "arguments", "erased");
        return;
    };
    let masked = match detail.masked {
        0 => String::new(),
        count => format!(" ({} masked)", counted(count, "secret")),
    };
    let args = request.get("args").cloned().unwrap_or_else(|| serde_json::json!({}));
    let text = serde_json::to_string_pretty(&args).unwrap_or_default();
    field(out, "arguments", &masked);
    for line in text.lines() {
        let _ = writeln!(out, "    {}", plain(line));
    }
}

fn past(out: &mut String, detail: &ApprovalDetail) {
    if let Some(so_far) = &detail.session_so_far {
        let more = if so_far.complete { "" } else { ", and more before" };
        let count = u64::try_from(so_far.receipts.len()).unwrap_or(u64::MAX);
        field(out, "session so far", &format!("{}{more}", counted(count, "receipt")));
        for one in &so_far.receipts {
            let action =
                one.action.as_deref().map(|action| format!(" {}", plain(action))).unwrap_or_default();
            let _ = writeln!(out, "    {}  {}{action}", moment(one.at_ms), plain(&one.what));
        }
    }
    if let Some(similar) = &detail.similar {
        let text = format!(
            "{} granted, {} rejected, {} not decided in time",
            similar.granted, similar.rejected, similar.expired
        );
        field(out, "similar", &text);
        for one in &similar.newest {
            let _ = writeln!(out, "    {}", one_line(one));
        }
    }
}

fn people(out: &mut String, detail: &ApprovalDetail) {
    for vote in &detail.votes {
        let word = if vote.approve { "agreed" } else { "rejected" };
        let of = vote.instead_of.as_deref().map(|from| format!(" for {from}")).unwrap_or_default();
        let said = vote.comment.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
        let text = format!("{} {word}{of} as {} {}{said}", vote.person, vote.seat, moment(vote.at_ms));
        field(out, "vote", &plain(&text));
    }
    for one in &detail.delegations {
        field(out, "handed over", &plain(&format!("{} to {} as {}", one.from, one.to, one.seat)));
    }
    for one in &detail.comments {
        let said = one.comment.as_deref().unwrap_or("(erased)");
        field(out, "comment", &plain(&format!("{} {}: {said}", one.person, moment(one.at_ms))));
    }
}

/// One standing approval on one line.
pub(super) fn standing(item: &StandingItem) -> String {
    let fixed = match &item.fixed {
        None => "the same arguments".to_owned(),
        Some(names) if names.is_empty() => "any arguments".to_owned(),
        Some(names) => format!("the same {}", names.join(", ")),
    };
    format!(
        "{}  {}  {}  {}  (`{}`)  {}/{} used, {}, until {}, by {}",
        Paint::stdout().bold(&plain(&item.id)),
        word(&item.status),
        plain(&item.action),
        plain(&item.agent),
        plain(&item.rule),
        item.used,
        item.uses,
        plain(&fixed),
        moment(item.expires_at_ms),
        plain(&item.by.join(", "))
    )
}

/// One suggested rule, with what it rests on as comments of its file.
pub(super) fn suggestion(item: &SuggestionItem) -> String {
    let evidence = &item.evidence;
    let mut out = format!("# {}\n", plain(&item.file));
    let _ = writeln!(
        out,
        "# {} of `{}` from {} to {}, none rejected, by {}",
        counted(evidence.granted, "approval"),
        plain(&item.rule),
        moment(evidence.first_ms),
        moment(evidence.last_ms),
        plain(&evidence.reviewers.join(", "))
    );
    let _ = writeln!(out, "# {}", plain(&evidence.approvals.join(" ")));
    for line in item.text.lines() {
        let _ = writeln!(out, "{}", plain(line));
    }
    out
}
