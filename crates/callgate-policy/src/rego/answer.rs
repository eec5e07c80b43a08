//! What a package answered, read strictly: anything but a known shape is an error, and an error denies.

use callgate_core::constraint::{Constraints, Kind, Limit};
use callgate_core::decision::{Decision, Mode};
use callgate_core::fields::{FieldError, Fields};
use callgate_core::rule::{ApprovalTerms, Stage};
use callgate_core::snapshot::Defaults;
use callgate_core::value::{Map, Value};
use regorus::Value as Rego;

use crate::decode::duration_ms;

/// The deepest value an answer may have, and the most values.
const MAX_DEPTH: usize = 8;
const MAX_VALUES: usize = 2000;
/// The most stages of an approval.
const MAX_STAGES: usize = 8;
/// The longest reason, in characters.
const MAX_REASON: usize = 1000;
/// The word of a package that has no opinion.
const NONE: &str = "none";
/// The word that takes seconds where the canonical one takes milliseconds.
const MAX_RUNTIME_SEC: &str = "max_runtime_sec";
/// The longest wait, in milliseconds: a year.
const MAX_WAIT_MS: u64 = 366 * 24 * 60 * 60 * 1000;

/// What a package said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) decision: Decision,
    /// Whether it is enforced; `None` leaves that to the header.
    pub(crate) mode: Option<Mode>,
    pub(crate) reason: Option<String>,
    pub(crate) constraints: Constraints,
    pub(crate) approval: Option<ApprovalTerms>,
    pub(crate) retry_after_ms: Option<u64>,
}

impl Answer {
    fn plain(decision: Decision) -> Self {
        Self {
            decision,
            mode: None,
            reason: None,
            constraints: Constraints::default(),
            approval: None,
            retry_after_ms: None,
        }
    }
}

/// Reads the value of `decision`; `None` when the package has no opinion.
pub(crate) fn of_decision(value: &Rego, defaults: &Defaults) -> Result<Option<Answer>, String> {
    match value {
        Rego::Undefined => {
            Err("`decision` is undefined; write `default decision := null` for no opinion".to_owned())
        }
        Rego::Null => Ok(None),
        Rego::String(text) => word(text).map(|word| word.map(Answer::plain)).and_then(checked(defaults)),
        Rego::Object(_) => {
            let value = plain(value, 0, &mut 0)?;
            object(value, defaults).map_err(|error| error.to_string()).and_then(checked(defaults))
        }
        _ => Err("`decision` is neither a string, an object nor null".to_owned()),
    }
}

/// Reads the value of `deny`: a set of messages; none is no opinion.
pub(crate) fn of_deny(value: &Rego) -> Result<Option<Answer>, String> {
    let Rego::Set(messages) = value else {
        return Err("`deny` is not a set; write `deny contains message if { … }`".to_owned());
    };
    let mut reason = String::new();
    for message in messages.iter_sorted() {
        let Rego::String(message) = message else {
            return Err("a message of `deny` is not a string".to_owned());
        };
        if !reason.is_empty() {
            reason.push_str("; ");
        }
        reason.push_str(message);
    }
    let reason = shortened(&reason);
    Ok((!messages.is_empty()).then(|| Answer { reason: Some(reason), ..Answer::plain(Decision::Deny) }))
}

/// The decision of that word; `None` for no opinion.
fn word(text: &str) -> Result<Option<Decision>, String> {
    if text == NONE {
        return Ok(None);
    }
    let shown: String = text.escape_debug().take(64).collect();
    text.parse().map(Some).map_err(|()| format!("`{shown}` is not a decision"))
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_REASON).collect()
}

/// An object without sets, functions and keys that are no strings.
fn plain(value: &Rego, depth: usize, count: &mut usize) -> Result<Value, String> {
    *count = count.saturating_add(1);
    if depth > MAX_DEPTH || *count > MAX_VALUES {
        return Err("the answer is too large".to_owned());
    }
    let depth = depth.saturating_add(1);
    match value {
        Rego::Null => Ok(Value::Null),
        Rego::Bool(flag) => Ok(Value::Bool(*flag)),
        Rego::Number(number) => number
            .as_i64()
            .map(Value::Int)
            .ok_or_else(|| "the answer has a number that is not whole".to_owned()),
        Rego::String(text) => Ok(Value::Str(text.to_string())),
        Rego::Array(items) => {
            items.iter().map(|item| plain(item, depth, count)).collect::<Result<_, _>>().map(Value::List)
        }
        // A set of names is as good as a list.
        Rego::Set(items) => items
            .iter_sorted()
            .map(|item| plain(item, depth, count))
            .collect::<Result<_, _>>()
            .map(Value::List),
        Rego::Object(entries) => {
            let mut map = Map::default();
            for (key, value) in entries.iter_sorted() {
                let Rego::String(key) = key else {
                    return Err("the answer has a key that is not a string".to_owned());
                };
                map.insert(key.to_string(), plain(value, depth, count)?);
            }
            Ok(Value::Map(map))
        }
        Rego::Undefined => Err("the answer has an undefined part".to_owned()),
    }
}

fn object(value: Value, defaults: &Defaults) -> Result<Option<Answer>, FieldError> {
    let mut fields = Fields::open(value, "decision")?;
    let reason = fields.string("reason")?.map(|text| shortened(&text));
    let constraints = constraints(&mut fields)?;
    let approval = fields.take("approval").map(|terms| approval(terms, defaults)).transpose()?;
    let retry_after_ms = fields.take("retry_after").map(|wait| duration("retry_after", &wait)).transpose()?;
    let mode = fields.string("mode")?.map(|text| mode(&text)).transpose()?;
    let decision = fields.take("decision");
    fields.close()?;
    let decision = match decision {
        None => None,
        Some(Value::Str(text)) => word(&text).map_err(|problem| FieldError::new("decision", problem))?,
        Some(_) => return Err(FieldError::new("decision", "expected a string")),
    };
    Ok(decision.map(|decision| Answer { decision, mode, reason, constraints, approval, retry_after_ms }))
}

fn constraints(fields: &mut Fields) -> Result<Constraints, FieldError> {
    let mut out = Constraints::default();
    for (word, value) in fields.map("constraints")?.unwrap_or_default().iter() {
        let path = format!("constraints.{word}");
        let seconds = word == MAX_RUNTIME_SEC;
        let kind = if seconds { Some(Kind::MaxRuntimeMs) } else { Kind::from_word(word) };
        let kind = kind.ok_or_else(|| FieldError::new(&path, "not a constraint"))?;
        let value = match value {
            Value::Int(number) if seconds => number.checked_mul(1000).map_or(Value::Null, Value::Int),
            other => other.clone(),
        };
        if value == Value::Bool(false) {
            continue;
        }
        let limit =
            Limit::from_value(kind, &value).map_err(|error| FieldError::new(&path, error.to_string()))?;
        out.tighten(kind, limit);
    }
    Ok(out)
}

fn approval(value: Value, defaults: &Defaults) -> Result<ApprovalTerms, FieldError> {
    let mut fields = Fields::open(value, "approval")?;
    let stages = match fields.take("stages") {
        None => vec![stage(&mut fields, "approval")?],
        Some(Value::List(items)) if (1..=MAX_STAGES).contains(&items.len()) => {
            items.into_iter().map(whole_stage).collect::<Result<Vec<_>, _>>()?
        }
        Some(_) => return Err(FieldError::new("approval.stages", "write a list of 1 to 8 stages")),
    };
    let blast_radius = fields.string("blast_radius")?.map(|text| shortened(&text));
    let rollback = fields.string("rollback")?.map(|text| shortened(&text));
    let expires = fields.take("expires").map(|wait| duration("approval.expires", &wait)).transpose()?;
    fields.close()?;
    let expires_ms = expires.unwrap_or(defaults.approval_expires_ms);
    Ok(ApprovalTerms { blast_radius, rollback, ..ApprovalTerms::in_stages(stages, expires_ms) })
}

/// The reviewers and the quorum that stand at `path`.
fn stage(fields: &mut Fields, path: &str) -> Result<Stage, FieldError> {
    let reviewers = fields.names("reviewers", 100)?;
    let quorum = fields.integer("quorum")?.unwrap_or(1);
    let quorum = u32::try_from(quorum).ok().filter(|count| (1..=100).contains(count));
    let quorum = quorum.ok_or_else(|| FieldError::new(&format!("{path}.quorum"), "write 1 to 100"))?;
    Ok(Stage::of(reviewers.iter().map(|name| name.as_str().to_owned()), quorum))
}

/// One of several stages; what stands beside `stages` is refused as unknown.
fn whole_stage(value: Value) -> Result<Stage, FieldError> {
    let mut fields = Fields::open(value, "approval.stages")?;
    let stage = stage(&mut fields, "approval.stages")?;
    fields.close()?;
    Ok(stage)
}

fn mode(text: &str) -> Result<Mode, FieldError> {
    let known = Mode::ALL.into_iter().find(|mode| mode.as_str() == text);
    known.ok_or_else(|| FieldError::new("mode", "write \"enforce\" or \"monitor\""))
}

fn duration(path: &str, value: &Value) -> Result<u64, FieldError> {
    let ms = value.as_str().and_then(duration_ms).filter(|ms| (1..=MAX_WAIT_MS).contains(ms));
    ms.ok_or_else(|| FieldError::new(path, "write a duration, such as \"30m\""))
}

/// Refuses what says nothing beside the decision: then something else was meant.
fn checked(defaults: &Defaults) -> impl Fn(Option<Answer>) -> Result<Option<Answer>, String> + '_ {
    |answer| {
        let Some(said) = &answer else { return Ok(None) };
        let (decision, bare) = (said.decision, said.constraints.is_empty());
        let constrains = matches!(decision, Decision::AllowWithConstraints | Decision::RequireApproval);
        let against = [
            ("constraints", !bare && !constrains),
            ("approval", said.approval.is_some() && decision != Decision::RequireApproval),
            ("retry_after", said.retry_after_ms.is_some() && decision != Decision::Throttle),
        ];
        if let Some((key, _)) = against.iter().find(|(_, wrong)| *wrong) {
            return Err(format!("`{key}` says nothing beside `{decision}`"));
        }
        if decision == Decision::AllowWithConstraints && bare && defaults.constraints.is_empty() {
            return Err("`ALLOW_WITH_CONSTRAINTS` needs constraints".to_owned());
        }
        Ok(answer)
    }
}
