//! Receipts as people read them. Text from a log is shown, never obeyed: control characters are escaped.

use callgate_log::Statement;
use callgate_log::statement::{Admin, Body, ConstraintValue, Decision, Mode, Outcome};
use serde_json::{Value, json};

use crate::output::{self, Paint, moment, plain};

/// One receipt on one line.
pub(super) fn brief(index: u64, statement: &Statement, paint: Paint) -> String {
    let at = moment(statement.issued_at_ms().get());
    let head = format!("{}  {}", paint.bold(&format!("{index:>5}")), paint.dim(&format!("{at:<24}")));
    let rest = match statement.body() {
        Body::Decision(one) => decision_line(one, paint),
        Body::Outcome(one) => {
            format!("outcome of {}: {}", one.decision_receipt.index, status(one))
        }
        Body::Admin(one) => format!("{} by {}", plain(&one.operation), plain(&one.actor)),
        _ => "of a kind this version does not know".to_owned(),
    };
    format!("{head}  {rest}")
}

fn decision_line(one: &Decision, paint: Paint) -> String {
    let code = one.code.as_deref().map(|code| format!(" {}", plain(code))).unwrap_or_default();
    let rule = one.matched_rule.as_deref().map(|rule| format!(" by `{}`", plain(rule))).unwrap_or_default();
    let word = paint.decision(one.decision.as_str());
    format!("{word}{code}  {} asked for {}{rule}", plain(&one.agent.id), plain(&one.action.identity()))
}

fn status(one: &Outcome) -> String {
    let status = serde_json::to_value(one.status).ok();
    status.as_ref().and_then(Value::as_str).unwrap_or("unknown").to_owned()
}

/// One receipt in full.
pub(super) fn whole(index: u64, statement: &Statement, paint: Paint) -> Vec<String> {
    let mut page = Page { lines: vec![brief(index, statement, paint)], paint };
    match statement.body() {
        Body::Decision(one) => page.decision(one),
        Body::Outcome(one) => page.outcome(one),
        Body::Admin(one) => page.admin(one),
        _ => {}
    }
    page.field("log", plain(&statement.gate().origin));
    page.lines
}

struct Page {
    lines: Vec<String>,
    paint: Paint,
}

impl Page {
    fn field(&mut self, name: &str, text: impl Into<String>) {
        let text: String = text.into();
        self.lines.push(format!("  {}  {text}", self.paint.dim(&format!("{name:<11}"))));
    }

    fn optional(&mut self, name: &str, text: Option<&String>) {
        if let Some(text) = text {
            self.field(name, plain(text));
        }
    }

    fn decision(&mut self, one: &Decision) {
        self.field("agent", principal(one));
        self.field("tenant", plain(&one.tenant));
        if let Some(session) = &one.session {
            let step =
                session.step.as_ref().map(|step| format!(", step {}", plain(step))).unwrap_or_default();
            self.field("session", format!("{}{step}", plain(&session.id)));
        }
        self.optional("environment", one.environment.as_ref());
        self.optional("action type", one.action.action_type.as_ref());
        if !one.risk_tags.is_empty() {
            self.field("risk tags", plain(&one.risk_tags.join(", ")));
        }
        for reason in &one.reasons {
            self.field(
                "reason",
                output::reason(&reason.message, reason.rule.as_ref(), reason.source.as_ref()),
            );
        }
        for (kind, value) in one.constraints.iter() {
            self.field("constraint", format!("{} {}", plain(kind), constraint(value)));
        }
        if let Some(approval) = &one.approval {
            let stages: Vec<_> =
                approval.stages.iter().map(|stage| (stage.quorum, stage.reviewers.as_slice())).collect();
            let until = moment(approval.expires_at_ms.get());
            self.field("approval", format!("{}, until {until}", output::stages(&stages)));
        }
        if one.mode == Mode::Monitor {
            self.field("mode", "monitor");
        }
        if let Some(ran) = &one.unchecked {
            let beyond = ran.exceeded.as_ref().map(|why| format!(", beyond its lease ({})", plain(why)));
            let point = plain(&ran.point);
            let at = moment(ran.at_ms.get());
            self.field("ran", format!("{at} at {point}, lease {}{}", ran.lease, beyond.unwrap_or_default()));
        }
        if let Some(would) = &one.would {
            let code = would.code.as_ref().map(|code| format!("  {}", plain(code))).unwrap_or_default();
            let rule = would.matched_rule.as_ref().map(|rule| format!("  by `{}`", plain(rule)));
            self.field("would", format!("{}{code}{}", would.decision, rule.unwrap_or_default()));
        }
        if let Some(wait) = one.retry_after_ms {
            self.field("ask again", format!("in {wait} ms"));
        }
        self.field(
            "asked by",
            format!("{}, which enforces [{}]", plain(&one.pep.id), plain(&one.pep.enforces.join(", "))),
        );
        if one.decision.permits() {
            self.field("valid until", moment(one.expires_at_ms.get()));
        }
        self.field("snapshot", format!("{} {}", plain(&one.snapshot.version), one.snapshot.digest));
        self.field("arguments", format!("{} (salted)", one.action.args_commitment));
        self.field("request", format!("{} (salted)", one.request_commitment));
        self.field("facts", format!("{} (salted)", one.facts_commitment));
        self.field("effects", one.effects_digest.to_string());
        if let Some(prev) = &one.prev {
            self.field("previous", prev.to_string());
        }
    }

    fn outcome(&mut self, one: &Outcome) {
        self.field("agent", plain(&one.agent.id));
        self.field("tenant", plain(&one.tenant));
        self.field("decision", format!("receipt {}", one.decision_receipt.index));
        if let Some(began) = one.started_at_ms {
            self.field("began", moment(began.get()));
        }
        self.field("ended", moment(one.finished_at_ms.get()));
        self.field("attempts", one.attempts.to_string());
        self.optional("detail", one.detail.as_ref());
        if let Some(result) = &one.result_commitment {
            self.field("result", format!("{result} (salted)"));
        }
    }

    fn admin(&mut self, one: &Admin) {
        for (key, value) in one.details.iter() {
            self.field(&plain(key), plain(value.trim_end()));
        }
    }
}

fn principal(one: &Decision) -> String {
    let agent = &one.agent;
    let mut text = plain(&agent.id);
    if let Some(team) = &agent.team {
        text.push_str(&format!(", team {}", plain(team)));
    }
    if !agent.chain.is_empty() {
        text.push_str(&format!(", called by {}", plain(&agent.chain.join(" → "))));
    }
    if let Some(who) = &agent.on_behalf_of {
        text.push_str(&format!(", for {}", plain(who)));
    }
    text
}

fn constraint(value: &ConstraintValue) -> String {
    match value {
        ConstraintValue::Int(number) => number.to_string(),
        ConstraintValue::Bool(on) => on.to_string(),
        ConstraintValue::Text(text) => plain(text),
        ConstraintValue::List(items) => plain(&items.join(", ")),
    }
}

/// A receipt for programs: its place and the signed statement.
pub(super) fn machine(index: u64, payload: &[u8], verified: Option<&Value>) -> Value {
    let statement: Value = serde_json::from_slice(payload).unwrap_or_default();
    json!({"receipt_index": index, "verified": verified, "statement": statement})
}
