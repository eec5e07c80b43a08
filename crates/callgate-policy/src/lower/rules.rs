//! One rule: its decision and what goes with it, its matcher, its condition.

use std::sync::Arc;

use callgate_core::catalogue::Catalogue;
use callgate_core::constraint::Constraints;
use callgate_core::decision::{Decision, Mode};
use callgate_core::name::Name;
use callgate_core::pattern::Pattern;
use callgate_core::rule::Rule;
use callgate_core::snapshot::Defaults;
use callgate_core::value::Value;

use super::dead::{self, Draft};
use super::{Part, approval, judge};
use crate::cel::{CelError, Type};
use crate::codes::Code;
use crate::condition::{self, Condition};
use crate::decode::{MeantText, Sink, Spanned};
use crate::diagnostic::Problems;
use crate::fingerprint;
use crate::language::rules::{MatchText, RuleText, ScopeText, Tags as TagsText};
use crate::rules::{self, Compiled, LabelTest, Matcher, Tags, Want};
use crate::syntax::{SourceFile, Span};

/// Reads one rule; `None` only after a report.
pub(super) fn lower<'a>(
    part: &Part<'a, MeantText<RuleText>>,
    invariant: bool,
    catalogue: &Catalogue,
    defaults: &Defaults,
    problems: &mut Problems,
) -> Option<Draft<'a>> {
    let (MeantText { text, node }, file) = (&part.text, part.file);
    let sink = &mut Sink { file, problems };
    let (id, effect) = (text.id.as_ref(), text.decision.as_ref());
    if let Some(effect) = effect {
        keys_of(text, effect, defaults, sink);
    }
    let matcher = matcher(text.scope.as_ref(), text.r#match.as_ref());
    let condition = text.when.as_ref().map(|when| {
        let compiled = Condition::compile(&when.value, arguments(&matcher, catalogue));
        open(when, compiled, sink)
    });
    let (id, effect) = (id?, effect?.value);
    let condition = match condition {
        None => None,
        Some(compiled) => compiled?,
    };
    if part.sound && matcher.is_unrestricted() && condition.is_none() && text.judge.is_none() {
        unrestricted(id, effect, sink);
    }
    let rule = Arc::new(Rule {
        id: id.value.as_str().into(),
        module: rules::NAME,
        source: file.source(id.span),
        effect,
        mode: text.mode.as_ref().map_or(Mode::Enforce, |mode| mode.value),
        priority: text.priority.as_ref().and_then(|it| i32::try_from(it.value).ok()).unwrap_or(0),
        invariant,
        reason: text.reason.as_ref().map(|reason| reason.value.clone()),
        constraints: text.constraints.as_ref().map_or_else(Constraints::default, |it| it.value.clone()),
        approval: (effect == Decision::RequireApproval).then(|| approval::of_rule(text, defaults)),
        retry_after_ms: retry_after(text),
        controls: names(text.controls.as_ref()).map(|name| name.to_string()).collect(),
        fingerprint: fingerprint::of_mapping(node, &[("invariants", Value::Bool(invariant))]),
    });
    if let Some(mode) = &text.mode {
        monitored(&rule, mode.span, defaults, sink);
    }
    let judge = match &text.judge {
        None => None,
        Some(judge) => {
            Some(judge::lower(judge, text, &rule, &arguments(&matcher, catalogue), defaults, sink)?)
        }
    };
    let compiled = Compiled { rule, matcher, condition, judge };
    let draft = Draft { file, span: id.span, sound: part.sound, compiled };
    dead::alone(&draft.compiled.matcher, text.r#match.as_ref(), catalogue, sink);
    Some(draft)
}

pub(super) fn names(list: Option<&Spanned<Vec<Spanned<Name>>>>) -> impl Iterator<Item = &Name> {
    list.into_iter().flat_map(|list| &list.value).map(|name| &name.value)
}

fn retry_after(text: &RuleText) -> Option<u64> {
    text.throttle.as_ref()?.value.retry_after.as_ref().map(|it| it.value)
}

/// Reports keys that say nothing beside this decision, and constraints that are missing.
fn keys_of(text: &RuleText, effect: &Spanned<Decision>, defaults: &Defaults, sink: &mut Sink<'_>) {
    let word = effect.value.as_str().to_ascii_lowercase();
    let constraints = text.constraints.as_ref().map(|it| it.span);
    let mut against = |span: Option<Span>, key: &str, fits: bool, help: &str| {
        if let Some(span) = span.filter(|_| !fits) {
            let message = format!("`{key}` says nothing beside `decision: {word}`");
            sink.add(Code::KeyAgainstDecision, span, message).help(help);
        }
    };
    let decides = |decision| effect.value == decision;
    let constrains = decides(Decision::AllowWithConstraints) || decides(Decision::RequireApproval);
    let help = match effect.value {
        Decision::Allow => "write `decision: allow_with_constraints`",
        _ => "remove the constraints, or decide `allow_with_constraints`",
    };
    against(constraints, "constraints", constrains, help);
    let fallback = text.judge.as_ref().and_then(|judge| Some(judge.value.on_failure.as_ref()?.value));
    let answers = |decision| decides(decision) || fallback == Some(decision);
    let help = "remove it, or decide `require_approval`";
    against(text.approval.as_ref().map(|it| it.span), "approval", answers(Decision::RequireApproval), help);
    let help = "remove it, or decide `throttle`";
    against(text.throttle.as_ref().map(|it| it.span), "throttle", answers(Decision::Throttle), help);
    if decides(Decision::AllowWithConstraints) && constraints.is_none() && defaults.constraints.is_empty() {
        let message = "`allow_with_constraints` needs constraints, of its own or among the defaults";
        sink.add(Code::KeyAgainstDecision, effect.span, message)
            .help("add `constraints:`, or decide `allow`");
    }
}

/// A rule that would permit, and only monitors, permits nothing.
fn monitored(rule: &Rule, span: Span, defaults: &Defaults, sink: &mut Sink<'_>) {
    if rule.mode == Mode::Monitor && rule.effect.permits() && defaults.mode == Mode::Enforce {
        let message = format!("the rule `{}` only monitors, so that it permits nothing", rule.id);
        sink.add(Code::MonitorPermits, span, message)
            .help("what no other rule permits is denied; to permit it, leave `mode` out");
    }
}

/// A rule without scope, match and condition must be meant.
fn unrestricted(id: &Spanned<Name>, effect: Decision, sink: &mut Sink<'_>) {
    if effect.permits() {
        let message = format!("the rule `{}` would permit everything to everyone", id.value);
        sink.add(Code::SilentAllowAll, id.span, message)
            .help("say whom or what it permits; if all tools are meant, write `match: {tools: [\"**\"]}`");
    } else {
        let word = effect.as_str().to_ascii_lowercase();
        let message = format!("the rule `{}` answers `{word}` to everything", id.value);
        sink.add(Code::RestrictsAll, id.span, message)
            .help("add `scope`, `match` or `when` unless that is meant");
    }
}

pub(super) fn wants(patterns: Option<&Spanned<Vec<Spanned<Pattern>>>>) -> Vec<Want> {
    patterns.into_iter().flat_map(|list| &list.value).map(|it| Want::new(it.value.clone())).collect()
}

/// Whom and what something speaks of.
pub(super) fn matcher(scope: Option<&Spanned<ScopeText>>, matched: Option<&Spanned<MatchText>>) -> Matcher {
    let scope = scope.map(|scope| &scope.value);
    let matched = matched.map(|matched| &matched.value);
    let tags = matched.and_then(|it| it.risk_tags.as_ref()).map(|tags| &tags.value);
    let labels = matched.and_then(|it| it.labels.as_ref()).map(|labels| &labels.value);
    let label = |(name, values): &(Name, Vec<Spanned<Pattern>>)| LabelTest {
        label: name.clone(),
        values: values.iter().map(|it| Want::new(it.value.clone())).collect(),
    };
    Matcher {
        agents: wants(scope.and_then(|it| it.agents.as_ref())),
        teams: wants(scope.and_then(|it| it.teams.as_ref())),
        tenants: wants(scope.and_then(|it| it.tenants.as_ref())),
        environments: wants(scope.and_then(|it| it.environments.as_ref())),
        tools: wants(matched.and_then(|it| it.tools.as_ref())),
        topics: wants(matched.and_then(|it| it.topics.as_ref())),
        functions: wants(matched.and_then(|it| it.functions.as_ref())),
        action_types: wants(matched.and_then(|it| it.action_types.as_ref())),
        tags: tags.map(lowered_tags).unwrap_or_default(),
        labels: labels.into_iter().flatten().map(label).collect(),
    }
}

pub(super) fn lowered_tags(text: &TagsText) -> Tags {
    let list = |tags: &[Spanned<Name>]| {
        let mut tags: Vec<Name> = tags.iter().map(|tag| tag.value.clone()).collect();
        tags.sort();
        tags.dedup();
        tags
    };
    Tags {
        any: text.any.as_ref().map(|any| list(&any.value)).unwrap_or_default(),
        all: list(&text.all),
        none: list(&text.none),
    }
}

/// The type of `args`: what the catalogue says where the rule names its tools one by one and they
/// take the same arguments; otherwise anything.
pub(super) fn arguments(matcher: &Matcher, catalogue: &Catalogue) -> Type {
    let schema = |want: &Want| {
        let tool = want.is_exact().then(|| catalogue.find(want.pattern.as_str())).flatten()?;
        tool.input_schema.as_ref().map(Type::from_json_schema)
    };
    let mut types = matcher.tools.iter().map(schema);
    let first = types.next().flatten();
    first.filter(|first| types.all(|other| other.as_ref() == Some(first))).unwrap_or(Type::Dyn)
}

/// The condition; `Some(None)` when it always holds, `None` after a report.
pub(super) fn open(
    when: &Spanned<String>,
    compiled: Result<condition::Compiled, Vec<CelError>>,
    sink: &mut Sink<'_>,
) -> Option<Option<Condition>> {
    match compiled {
        Ok(condition::Compiled::Open(condition)) => Some(Some(condition)),
        Ok(condition::Compiled::Always(true)) => Some(None),
        Ok(condition::Compiled::Always(false)) => {
            sink.add(Code::NeverTrue, when.span, "the condition is false for every request")
                .help("delete the rule, or correct the condition");
            None
        }
        Err(errors) => {
            mistakes(when, errors, sink);
            None
        }
    }
}

/// Reports what is wrong with an expression, where it stands.
pub(super) fn mistakes(text: &Spanned<String>, errors: Vec<CelError>, sink: &mut Sink<'_>) {
    for error in errors {
        let span = locate(sink.file, text, error.span.start, error.span.end);
        let found = sink.add(Code::BadCondition, span, error.message);
        if let Some(hint) = error.hint {
            found.help(hint);
        }
    }
}

/// Where bytes `start..end` of a condition stand in its file: in place where it is written on one
/// line, else at the same occurrence of the same text, else the whole condition.
fn locate(file: &SourceFile<'_>, when: &Spanned<String>, start: usize, end: usize) -> Span {
    let (raw, text) = (file.slice(when.span), when.value.as_str());
    let inner = raw.find(text).filter(|_| !text.is_empty());
    if let Some(at) = inner {
        let from = when.span.start.saturating_add(at);
        return Span::new(from.saturating_add(start), from.saturating_add(end));
    }
    let fragment = text.get(start..end).unwrap_or_default();
    let earlier = text.get(..start).map_or(0, |before| before.matches(fragment).count());
    let found = if fragment.is_empty() { None } else { raw.match_indices(fragment).nth(earlier) };
    found.map_or(when.span, |(at, _)| {
        let from = when.span.start.saturating_add(at);
        Span::new(from, from.saturating_add(fragment.len()))
    })
}
