//! Budgets: what is summed, the most of it, and what happens at the limit and near it.

use std::sync::Arc;

use callgate_core::catalogue::Catalogue;
use callgate_core::limit::{
    Amount, Budget, CALLS, Dimension, Does, Exceed, Limit, Near, Settle, Span as Time, Then,
};
use callgate_core::name::Name;
use callgate_core::snapshot::Defaults;
use callgate_core::value::Value;

use super::{HEART, Head, Speaks, Speech, beside, expression, metered, missing, written};
use crate::codes::Code;
use crate::decode::{MeantText, Sink, Spanned};
use crate::language::limits::{BudgetText, NearText};
use crate::language::measures::{Exceeding, Nearing, Over};
use crate::limits::{Amounts, Counts, Meaning, Metered};
use crate::lower::{Part, approval};
use crate::rules::Matcher;
use crate::syntax::Node;

/// The longest that a reservation without outcome waits to be given back: no outcome is taken later.
const MAX_RELEASE_MS: u64 = 24 * 60 * 60 * 1000;

/// A budget that was read, and what a breaker over it needs.
pub(super) struct Read {
    pub(super) metered: Metered,
    speaks: Speaks,
    heart: Value,
}

/// What a breaker over a budget counts.
pub(super) struct Spend {
    pub(super) id: Arc<str>,
    pub(super) limit: Amount,
    pub(super) per: Vec<Dimension>,
    pub(super) speaks: Speaks,
    pub(super) counts: Counts,
    pub(super) heart: Value,
}

impl Spend {
    pub(super) fn of(read: &Read) -> Self {
        let Metered { limit, counts, .. } = &read.metered;
        let most = match &limit.does {
            Does::Budget(budget) => budget.limit,
            _ => Amount::ZERO,
        };
        Self {
            id: Arc::clone(&limit.id),
            limit: most,
            per: limit.per.clone(),
            speaks: read.speaks.clone(),
            counts: counts.clone(),
            heart: read.heart.clone(),
        }
    }
}

/// Reads one budget, which is several where it has levels; `None` only after a report.
pub(super) fn lower(
    part: &Part<'_, MeantText<BudgetText>>,
    catalogue: &Catalogue,
    defaults: &Defaults,
    sink: &mut Sink<'_>,
) -> Option<Vec<Read>> {
    let MeantText { text, node } = &part.text;
    let speech =
        Speech { scope: text.scope.as_ref(), matched: text.r#match.as_ref(), when: text.when.as_ref() };
    let speaks = speech.lower(catalogue, sink);
    let bounds = bounds(text, node, sink);
    let exceed = exceed(text, defaults, sink);
    let release_ms = release(text, sink);
    let near = match &text.near {
        None => Some(None),
        Some(near) => then(near, defaults, sink).map(Some),
    };
    let (speaks, id, unit, over) = (speaks?, text.id.as_ref()?, text.unit.as_ref()?, text.over.as_ref()?);
    let counts = counts(text, node, &speaks.matcher, catalogue, sink);
    let span = span(over, &bounds, sink);
    let (counts, span, near, release_ms) = (counts?, span?, near?, release_ms?);
    let head = Head { id, mode: text.mode.as_ref(), reason: text.reason.as_ref(), node };
    let mut heart = written(node, &HEART);
    heart.insert("unit".to_owned(), Value::from(&*unit.value));
    let read = |bound: &Bound| {
        let near =
            near.as_ref().map(|(share, then)| Near { at: bound.limit.share(*share), then: then.clone() });
        let budget = Budget {
            unit: Arc::clone(&unit.value),
            limit: bound.limit,
            span,
            exceed: exceed.clone(),
            near,
            settle: text.settle.as_ref().map_or(Settle::default(), |settle| settle.value.0),
            release_ms,
        };
        let name = id_of(&id.value, bound.level);
        let heart = Value::Map(heart.clone());
        let limit: Limit = head.limit(&name, bound.per.clone(), Does::Budget(budget), heart.clone(), sink);
        Read { metered: metered(limit, speaks.clone(), counts.clone()), speaks: speaks.clone(), heart }
    };
    Some(bounds.iter().map(read).collect())
}

/// What the budget of a level is called.
pub(super) fn id_of(id: &Name, level: Option<Dimension>) -> String {
    level.map_or_else(|| id.to_string(), |level| format!("{id}/{level}"))
}

/// One limit of a budget, and whom it counts by.
struct Bound {
    level: Option<Dimension>,
    per: Vec<Dimension>,
    limit: Amount,
}

/// The limits of a budget; none only after a report.
fn bounds(text: &BudgetText, node: &Node, sink: &mut Sink<'_>) -> Vec<Bound> {
    let Some(levels) = &text.levels else {
        // What is there but could not be read was reported.
        for key in ["limit", "per"].into_iter().filter(|key| node.get(key).is_none()) {
            missing(key, node, sink);
        }
        let (Some(limit), Some(per)) = (&text.limit, &text.per) else { return Vec::new() };
        return vec![Bound { level: None, per: per.value.clone(), limit: limit.value }];
    };
    beside(text.limit.as_ref(), "limit", "beside `levels`", "keep one of the two", sink);
    beside(text.per.as_ref(), "per", "beside `levels`", "keep one of the two", sink);
    let bound = |(level, limit): &(Spanned<Dimension>, Amount)| Bound {
        level: Some(level.value),
        per: vec![level.value],
        limit: *limit,
    };
    levels.value.iter().map(bound).collect()
}

/// The time it sums over. The life of a session is that of each session.
fn span(over: &Spanned<Over>, bounds: &[Bound], sink: &mut Sink<'_>) -> Option<Time> {
    let Over::Time(time) = over.value else {
        if bounds.iter().all(|bound| bound.per.contains(&Dimension::Session)) {
            return Some(Time::Life {});
        }
        sink.add(
            Code::BadPer,
            over.span,
            "an execution is one session, and this does not count by `session`",
        )
        .help("add `session` to `per`, or sum over `day`");
        return None;
    };
    Some(time)
}

fn exceed(text: &BudgetText, defaults: &Defaults, sink: &mut Sink<'_>) -> Exceed {
    if text.exceed.as_ref().is_some_and(|exceed| exceed.value == Exceeding::RequireApproval) {
        return Exceed::Approval(approval::lower(text.approval.as_ref().map(|it| &it.value), defaults));
    }
    let help = "write `exceed: require_approval`, or remove it";
    beside(text.approval.as_ref(), "approval", "where nobody is asked", help, sink);
    Exceed::Deny
}

/// `None` after a report.
fn release(text: &BudgetText, sink: &mut Sink<'_>) -> Option<Option<u64>> {
    match &text.release {
        None => Some(None),
        Some(release) if release.value <= MAX_RELEASE_MS => Some(Some(release.value)),
        Some(release) => {
            sink.add(Code::OutOfRange, release.span, "a reservation is given back after a day at the latest")
                .help("write `24h` or less");
            None
        }
    }
}

/// From which share on, and what then happens.
fn then(near: &Spanned<NearText>, defaults: &Defaults, sink: &mut Sink<'_>) -> Option<(u32, Then)> {
    let text = &near.value;
    let asks = text.then.as_ref().is_some_and(|then| then.value == Nearing::RequireApproval);
    if asks {
        let help = "remove them, or write `then: warn`";
        beside(text.constraints.as_ref(), "constraints", "beside `then: require_approval`", help, sink);
    } else {
        let help = "write `then: require_approval`, or remove it";
        beside(text.approval.as_ref(), "approval", "where nobody is asked", help, sink);
    }
    let at = text.at.as_ref()?;
    if !(1..10_000).contains(&at.value) {
        sink.add(Code::BadShare, at.span, "near a limit is more than `0%` and less than `100%` of it")
            .help("write such as \"80%\"; what happens at the limit is `exceed`");
        return None;
    }
    let then = match (&text.constraints, asks) {
        (_, true) => Then::Approval(approval::lower(text.approval.as_ref().map(|it| &it.value), defaults)),
        (Some(constraints), false) => Then::Constrain(constraints.value.clone()),
        (None, false) => Then::Warn,
    };
    Some((at.value, then))
}

fn counts(
    text: &BudgetText,
    node: &Node,
    matcher: &Matcher,
    catalogue: &Catalogue,
    sink: &mut Sink<'_>,
) -> Option<Counts> {
    let sum = Sum {
        unit: text.unit.as_ref()?,
        amount: text.amount.as_ref(),
        estimate: text.estimate.as_ref(),
        has_estimate: node.get("estimate").is_some(),
    };
    sum.counts(matcher, catalogue, sink)
}

/// What says how much an action takes.
pub(super) struct Sum<'t> {
    pub(super) unit: &'t Spanned<Arc<str>>,
    pub(super) amount: Option<&'t Spanned<String>>,
    pub(super) estimate: Option<&'t Spanned<Amount>>,
    /// Whether one is written, if only one that could not be read.
    pub(super) has_estimate: bool,
}

impl Sum<'_> {
    /// How much each action is; `None` only after a report.
    pub(super) fn counts(
        &self,
        matcher: &Matcher,
        catalogue: &Catalogue,
        sink: &mut Sink<'_>,
    ) -> Option<Counts> {
        let unit = &*self.unit.value;
        if unit == CALLS {
            let help = "remove it, or count another unit";
            beside(self.amount, "amount", "of `calls`, of which each action is one", help, sink);
            beside(self.estimate, "estimate", "of `calls`, of which each action is one", help, sink);
            return Some(Counts::Action);
        }
        let Some(text) = self.amount else {
            if !self.has_estimate {
                let message = format!("an action that says nothing of its `{unit}` would take nothing");
                sink.add(Code::NoEstimate, self.unit.span, message)
                    .help("add `estimate:`, what such an action takes, or `amount:`, in CEL");
                return None;
            }
            return Some(Counts::Amounts(Amounts::new(unit, Some(self.estimate?.value), None)));
        };
        let amount = expression(text, "amount", matcher, catalogue, sink)?;
        if amount.meaning() == Meaning::Other {
            let message = format!("the amount is a {}, no whole number or decimal", amount.result_type());
            sink.add(Code::BadAmount, text.span, message).help("write such as `dec(args.amount)`");
            return None;
        }
        if let Some(Err(problem)) = amount.constant() {
            sink.add(Code::BadAmount, text.span, problem).help("write what one action takes");
            return None;
        }
        Some(Counts::Amounts(Amounts::new(unit, self.estimate.map(|it| it.value), Some(amount))))
    }
}
