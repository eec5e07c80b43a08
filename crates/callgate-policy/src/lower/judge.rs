//! The judge of a rule: what it is shown, and that it can only restrict.

use std::sync::Arc;

use callgate_core::decimal::Decimal;
use callgate_core::decision::Decision;
use callgate_core::fields::nearest;
use callgate_core::rule::Rule;
use callgate_core::snapshot::Defaults;

use super::approval;
use crate::cel::Type;
use crate::codes::Code;
use crate::decode::{Sink, Spanned};
use crate::language::judge::JudgeText;
use crate::language::rules::RuleText;
use crate::rules::Inquiry;

/// What of a request can be shown, as the first word of a path.
const ROOTS: [&str; 10] =
    ["agent", "args", "cost", "environment", "labels", "risk_tags", "session", "tenant", "tool", "topic"];

/// How sure a judge must be unless its rule says: 8 tenths.
fn usual_confidence() -> Decimal {
    Decimal::new(8, -1).unwrap_or_else(|_| Decimal::from(1))
}

/// Reads the judge of `rule`, whose tools take `args`; `None` only after a report.
pub(super) fn lower(
    judge: &Spanned<JudgeText>,
    text: &RuleText,
    rule: &Arc<Rule>,
    args: &Type,
    defaults: &Defaults,
    sink: &mut Sink<'_>,
) -> Option<Inquiry> {
    let written = &judge.value;
    let restricts = restricts(text, written, sink);
    beside(text, sink);
    if defaults.judge.is_none() {
        sink.add(
            Code::NoJudge,
            judge.span,
            "this rule asks a judge, but the bundle does not say which model",
        )
        .help("write `judge: {model: \"…\"}` in `callgate.yaml`");
    }
    let sees = written.sees.as_ref().map(|sees| sees.value.as_slice());
    let sound = sees.unwrap_or_default().iter().filter(|path| !is_seen(path, args, sink)).count() == 0;
    let effect = written.on_failure.as_ref().map_or(rule.effect, |word| word.value);
    let mut paths: Vec<String> = match sees {
        Some(paths) => paths.iter().map(|path| path.value.clone()).collect(),
        None => vec!["args".to_owned()],
    };
    paths.sort();
    paths.dedup();
    let inquiry = Inquiry {
        policy: written.policy.as_ref()?.value.clone(),
        sees: paths,
        min_confidence: written.min_confidence.as_ref().map_or_else(usual_confidence, |it| it.value),
        fallback: Arc::new(Rule {
            effect,
            approval: (effect == Decision::RequireApproval).then(|| approval::of_rule(text, defaults)),
            ..rule.as_ref().clone()
        }),
        settings: defaults.judge.clone()?,
    };
    (restricts && sound).then_some(inquiry)
}

/// Reports decisions that a judge may not make.
fn restricts(text: &RuleText, judge: &JudgeText, sink: &mut Sink<'_>) -> bool {
    let words = text.decision.iter().chain(&judge.on_failure);
    let permissive: Vec<_> = words.filter(|word| word.value.permits()).collect();
    for word in &permissive {
        let name = word.value.as_str().to_ascii_lowercase();
        let message = format!("a judge can only make a decision stricter, and `{name}` permits");
        sink.add(Code::JudgePermits, word.span, message)
            .help("write `deny`, `require_approval` or `throttle`, and permit in a rule of its own");
    }
    permissive.is_empty()
}

/// Reports keys that say nothing beside a judge.
fn beside(text: &RuleText, sink: &mut Sink<'_>) {
    if let Some(priority) = &text.priority {
        sink.add(Code::KeyBesideJudge, priority.span, "`priority` says nothing beside `judge`")
            .help("remove it: what a judge makes stricter, no rule outranks");
    }
    if let Some(constraints) = &text.constraints {
        sink.add(Code::KeyBesideJudge, constraints.span, "`constraints` say nothing beside `judge`")
            .help("write them in a rule without a judge");
    }
}

/// Whether a path can show something; reports it if not.
fn is_seen(path: &Spanned<String>, args: &Type, sink: &mut Sink<'_>) -> bool {
    let shown: String = path.value.escape_debug().take(64).collect();
    let mut words = path.value.split('.');
    let root = words.next().unwrap_or_default();
    if path.value.split('.').any(str::is_empty) || !ROOTS.contains(&root) {
        let help = nearest(root, ROOTS.into_iter()).map_or_else(
            || format!("a path begins with one of `{}`", ROOTS.join("`, `")),
            |near| format!("did you mean `{near}`?"),
        );
        sink.add(Code::BadSight, path.span, format!("`{shown}` is not a path into a request")).help(help);
        return false;
    }
    let (Type::Object(object), "args", Some(first)) = (args, root, words.next()) else { return true };
    if object.rest.is_some() || object.fields.contains_key(first) {
        return true;
    }
    let known = object.fields.keys().map(String::as_str);
    let help = nearest(first, known.clone()).map_or_else(
        || format!("the arguments are `{}`", known.collect::<Vec<_>>().join("`, `")),
        |near| format!("did you mean `args.{near}`?"),
    );
    sink.add(Code::BadSight, path.span, format!("the tool takes no argument `{first}`")).help(help);
    false
}
