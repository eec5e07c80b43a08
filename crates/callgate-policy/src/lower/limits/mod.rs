//! `limits/*.yaml` to what counts: each limit's matcher, what it counts, and for whom.

mod breaker;
mod budget;
mod throttle;

use std::sync::Arc;

use callgate_core::catalogue::Catalogue;
use callgate_core::decision::Mode;
use callgate_core::digest::Digest;
use callgate_core::limit::{Dimension, Does, Limit};
use callgate_core::name::Name;
use callgate_core::snapshot::Defaults;
use callgate_core::value::{Map, Value};

use self::budget::Spend;
use super::{Named, Part, dead, rules};
use crate::codes::Code;
use crate::condition::Condition;
use crate::decode::{MeantText, Sink, Spanned};
use crate::diagnostic::Problems;
use crate::fingerprint;
use crate::language::limits::{BreakerText, BudgetText, LimitsFile, ThrottleText};
use crate::language::rules::{MatchText, ScopeText};
use crate::limits::{Counts, Expression, Metered};
use crate::rules::Matcher;
use crate::syntax::Node;

/// The limits of all files, as decoded.
#[derive(Default)]
pub(super) struct Written<'a> {
    budgets: Vec<Part<'a, MeantText<BudgetText>>>,
    throttles: Vec<Part<'a, MeantText<ThrottleText>>>,
    breakers: Vec<Part<'a, MeantText<BreakerText>>>,
}

impl<'a> Written<'a> {
    /// Adds those of one file.
    pub(super) fn add(&mut self, text: LimitsFile, whole: &Part<'a, ()>) {
        fn parts<'a, T>(
            list: Option<Spanned<Vec<Spanned<T>>>>,
            whole: &Part<'a, ()>,
        ) -> impl Iterator<Item = Part<'a, T>> {
            let (file, sound) = (whole.file, whole.sound);
            list.into_iter().flat_map(|it| it.value).map(move |it| Part { file, text: it.value, sound })
        }
        self.budgets.extend(parts(text.budgets, whole));
        self.throttles.extend(parts(text.throttles, whole));
        self.breakers.extend(parts(text.breakers, whole));
    }

    /// The ids, and where they stand; of a budget with levels those of its levels, too.
    pub(super) fn named(&self) -> Vec<Named<'a>> {
        let mut all = Vec::new();
        let mut name = |file, id: Option<&Spanned<Name>>, level: Option<Dimension>, what| {
            let Some(Spanned { value, span }) = id else { return };
            all.push(Named { file, id: budget::id_of(value, level), span: *span, what });
        };
        for Part { file, text: MeantText { text, .. }, .. } in &self.budgets {
            name(*file, text.id.as_ref(), None, "budget");
            for (level, _) in text.levels.iter().flat_map(|levels| &levels.value) {
                name(*file, text.id.as_ref(), Some(level.value), "budget");
            }
        }
        for Part { file, text: MeantText { text, .. }, .. } in &self.throttles {
            name(*file, text.id.as_ref(), None, "throttle");
        }
        for Part { file, text: MeantText { text, .. }, .. } in &self.breakers {
            name(*file, text.id.as_ref(), None, "breaker");
        }
        all
    }

    /// Reads all of them.
    pub(super) fn lower(
        &self,
        catalogue: &Catalogue,
        defaults: &Defaults,
        problems: &mut Problems,
    ) -> Vec<Metered> {
        let mut all = Vec::new();
        let mut spends = Vec::new();
        for part in &self.budgets {
            let sink = &mut Sink { file: part.file, problems };
            if let Some(read) = budget::lower(part, catalogue, defaults, sink) {
                spends.extend(read.iter().map(Spend::of));
                all.extend(read.into_iter().map(|read| read.metered));
            }
        }
        for part in &self.throttles {
            all.extend(throttle::lower(part, catalogue, &mut Sink { file: part.file, problems }));
        }
        for part in &self.breakers {
            all.extend(breaker::lower(part, &spends, catalogue, &mut Sink { file: part.file, problems }));
        }
        all
    }
}

/// What every limit says of when it speaks.
#[derive(Clone, Copy)]
struct Speech<'t> {
    scope: Option<&'t Spanned<ScopeText>>,
    matched: Option<&'t Spanned<MatchText>>,
    when: Option<&'t Spanned<String>>,
}

/// When a limit speaks.
#[derive(Clone)]
struct Speaks {
    matcher: Matcher,
    condition: Option<Arc<Condition>>,
}

impl Speech<'_> {
    /// Reads it; `None` only after a report.
    fn lower(self, catalogue: &Catalogue, sink: &mut Sink<'_>) -> Option<Speaks> {
        let matcher = rules::matcher(self.scope, self.matched);
        dead::alone(&matcher, self.matched, catalogue, sink);
        let condition = match self.when {
            None => None,
            Some(when) => {
                let args = rules::arguments(&matcher, catalogue);
                rules::open(when, Condition::compile_timeless(&when.value, args), sink)?
            }
        };
        Some(Speaks { matcher, condition: condition.map(Arc::new) })
    }
}

/// An expression whose value counts; `None` only after a report.
fn expression(
    text: &Spanned<String>,
    word: &'static str,
    matcher: &Matcher,
    catalogue: &Catalogue,
    sink: &mut Sink<'_>,
) -> Option<Arc<Expression>> {
    match Expression::compile(&text.value, word, rules::arguments(matcher, catalogue)) {
        Ok(expression) => Some(Arc::new(expression)),
        Err(errors) => {
            rules::mistakes(text, errors, sink);
            None
        }
    }
}

/// What a limit is called and how it is taken.
struct Head<'t> {
    id: &'t Spanned<Name>,
    mode: Option<&'t Spanned<Mode>>,
    reason: Option<&'t Spanned<String>>,
    node: &'t Node,
}

impl Head<'_> {
    /// The limit. `heart` is the text that says what is counted, beside what its gauge says.
    fn limit(&self, id: &str, per: Vec<Dimension>, does: Does, heart: Value, sink: &Sink<'_>) -> Limit {
        let mut limit = Limit {
            id: id.into(),
            source: sink.file.source(self.id.span),
            mode: self.mode.map_or(Mode::Enforce, |mode| mode.value),
            reason: self.reason.map(|reason| reason.value.clone()),
            per,
            lineage: Digest::of(b""),
            fingerprint: fingerprint::of_mapping(self.node, &[("id", Value::from(id))]),
            does,
        };
        limit.lineage = lineage(&limit, heart);
        limit
    }
}

/// The digest of what a limit's meters count; see [`Limit::lineage`].
fn lineage(limit: &Limit, heart: Value) -> Digest {
    let mut out = Map::default();
    out.insert("counts".to_owned(), heart);
    out.insert(
        "gauge".to_owned(),
        Value::from(serde_json::to_string(&limit.gauge()).unwrap_or_default().as_str()),
    );
    out.insert("id".to_owned(), Value::from(&*limit.id));
    out.insert("kind".to_owned(), Value::from(limit.module()));
    out.insert("per".to_owned(), Value::List(limit.per.iter().map(|it| Value::from(it.as_str())).collect()));
    Digest::of(Value::Map(out).canonical().as_bytes())
}

/// What is written at `keys`, as far as it is there.
fn written(node: &Node, keys: &[&str]) -> Map {
    let mut out = Map::default();
    for (key, below) in keys.iter().filter_map(|key| Some((*key, node.get(key)?))) {
        out.insert(key.to_owned(), below.to_value());
    }
    out
}

/// The keys that say what a limit counts.
const HEART: [&str; 4] = ["scope", "match", "when", "amount"];

/// Reports a key that says nothing beside others.
fn beside<T>(written: Option<&Spanned<T>>, key: &str, with: &str, help: &str, sink: &mut Sink<'_>) {
    if let Some(written) = written {
        sink.add(Code::KeyBesideLimit, written.span, format!("`{key}` says nothing {with}")).help(help);
    }
}

/// Reports a key that is missing.
fn missing(key: &str, node: &Node, sink: &mut Sink<'_>) {
    sink.add(Code::MissingKey, node.span, format!("the key `{key}` is missing here"))
        .help(format!("add `{key}:`"));
}

fn metered(limit: Limit, speaks: Speaks, counts: Counts) -> Metered {
    let Speaks { mut matcher, condition } = speaks;
    let follows = limit.per.contains(&Dimension::Chain);
    let behind = if follows { std::mem::take(&mut matcher.agents) } else { Vec::new() };
    Metered { limit: Arc::new(limit), matcher, behind, condition, counts }
}
