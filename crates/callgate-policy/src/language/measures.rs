//! The leaves of `limits/*.yaml`: amounts, units, rates, times, and whom a limit counts by.

use std::collections::BTreeMap;
use std::sync::Arc;

use callgate_core::decision::Code as DenialCode;
use callgate_core::limit::{Amount, Dimension, Settle, Span as Time};
use callgate_core::name::fold;
use serde_json::{Value as Json, json};

use crate::codes::Code;
use crate::decode::{Duration, Shape, Sink, Spanned, Words, duration_ms, unknown_word};
use crate::syntax::{Kind, Node, Text};

/// An amount above zero: a decimal in a string, or a whole number.
pub(crate) struct AmountText;
/// What is summed.
pub(crate) struct UnitText;
/// An expression in CEL.
pub(crate) struct Formula;
/// Whom a limit counts by.
pub(crate) struct Dimensions;
/// A limit for each of several that a budget counts by.
pub(crate) struct LevelsText;
/// What an action costs, by unit.
pub(crate) struct CostText;
/// What an action had cost, by unit; it may be nothing.
pub(crate) struct SpentText;
/// Over which time a budget sums.
pub(crate) struct OverText;
/// So many in some time.
pub(crate) struct RateText;
/// A code that a breaker may count.
pub(crate) struct DenialWord;

/// What happens beyond a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeding {
    Deny,
    RequireApproval,
}

/// What happens near a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nearing {
    Warn,
    RequireApproval,
}

/// What outcomes do to a reservation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settling(pub(crate) Settle);

/// The time a budget sums over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// The life of a session.
    Execution,
    /// Some time.
    Time(Time),
}

impl Words for Exceeding {
    const WHAT: &'static str = "what a budget answers, in text";
    const WORDS: &'static [(&'static str, Self)] =
        &[("deny", Self::Deny), ("require_approval", Self::RequireApproval)];
}

impl Words for Nearing {
    const WHAT: &'static str = "what happens near a limit, in text";
    const WORDS: &'static [(&'static str, Self)] =
        &[("warn", Self::Warn), ("require_approval", Self::RequireApproval)];
}

impl Words for Settling {
    const WHAT: &'static str = "how a reservation is settled, in text";
    const WORDS: &'static [(&'static str, Self)] =
        &[("reported", Self(Settle::Reported)), ("upward", Self(Settle::Upward))];
}

fn shown(text: &str) -> String {
    text.escape_debug().take(64).collect()
}

/// Reads an amount; `None` only after a report.
fn amount(node: &Node, least: Amount, sink: &mut Sink<'_>) -> Option<Amount> {
    const EXPECTED: &str = "an amount: a decimal in a string, such as `\"12.50\"`";
    let Some(text) = node.scalar().filter(|text| !text.is_null() && text.boolean().is_none()) else {
        return sink.wrong_type(node, EXPECTED);
    };
    let shown = shown(&text.text);
    let number = text.text.parse::<Amount>();
    let exact = !text.plain || text.integer().is_some();
    if let Ok(amount) = number
        && exact
        && amount >= least
    {
        return Some(amount);
    }
    let help = match number {
        Ok(amount) if amount < least => {
            "an amount is more than zero; to stop everything, write a rule that denies".to_owned()
        }
        Ok(_) => format!("write it in quotes, so that it stays exact: \"{shown}\""),
        Err(_) => "write a decimal in a string, without signs and separators, such as \"1234.50\"".to_owned(),
    };
    sink.add(Code::BadAmount, node.span, format!("`{shown}` is not an amount")).help(help);
    None
}

/// The least amount above zero that is kept.
fn least() -> Amount {
    "0.000000001".parse().unwrap_or(Amount::ONE)
}

impl Shape for AmountText {
    type Out = Amount;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Amount> {
        amount(node, least(), sink)
    }

    fn schema() -> Json {
        json!({"oneOf": [
            {"type": "string", "pattern": "^[0-9]*\\.?[0-9]+([eE][+-]?[0-9]+)?$"},
            {"type": "integer", "minimum": 1},
        ]})
    }
}

impl Shape for UnitText {
    type Out = Arc<str>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Arc<str>> {
        let Some(text) = node.scalar().filter(|text| text.is_text()) else {
            return sink.wrong_type(node, "a unit in text, such as `usd`");
        };
        let letter = |c: char| c.is_ascii_lowercase();
        let fits = text.text.starts_with(letter)
            && text.text.len() <= 32
            && text.text.chars().all(|c| letter(c) || c.is_ascii_digit() || matches!(c, '_' | '-'));
        if fits {
            return Some(text.text.as_str().into());
        }
        sink.add(Code::BadName, node.span, format!("`{}` is not a unit", shown(&text.text)))
            .help("write small letters, digits, `_` and `-`, at most 32, such as `usd` or `output_tokens`");
        None
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,31}$"})
    }
}

impl Shape for Formula {
    type Out = String;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<String> {
        match node.scalar() {
            Some(text) if !text.is_null() => Some(text.text.clone()),
            _ => sink.wrong_type(node, "an expression in text"),
        }
    }

    fn schema() -> Json {
        json!({"type": ["string", "number", "boolean"], "maxLength": 4096})
    }
}

/// Reads one word for whom a limit counts by.
fn dimension(text: &str, node: &Node, sink: &mut Sink<'_>) -> Option<Dimension> {
    let words = Dimension::ALL.map(Dimension::as_str);
    let known = Dimension::from_word(text);
    known.or_else(|| unknown_word(text, "whom a limit counts by", &words, node, sink))
}

impl Shape for Dimensions {
    /// Sorted, each once.
    type Out = Vec<Dimension>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        let Kind::List(items) = &node.kind else {
            return sink.wrong_type(node, "a list, such as `[agent]`; `[]` counts everybody together");
        };
        let mut read = Vec::new();
        for item in items {
            let Some(text) = item.scalar() else {
                return sink.wrong_type(item, "whom the limit counts by, in text");
            };
            let dimension = dimension(&text.text, item, sink)?;
            if read.contains(&dimension) {
                sink.add(Code::BadPer, item.span, format!("`{dimension}` stands twice"))
                    .help("name each once");
                return None;
            }
            read.push(dimension);
        }
        let both = read.contains(&Dimension::Agent) && read.contains(&Dimension::Chain);
        if both {
            sink.add(Code::BadPer, node.span, "`chain` counts the agent, too")
                .help("keep `chain` to count everybody who delegated, or `agent` to count who asks");
            return None;
        }
        read.sort_unstable();
        Some(read)
    }

    fn schema() -> Json {
        let words = Dimension::ALL.map(Dimension::as_str);
        json!({"type": "array", "items": {"enum": words}, "uniqueItems": true})
    }
}

impl Shape for LevelsText {
    type Out = Vec<(Spanned<Dimension>, Amount)>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        let Kind::Map(entries) = &node.kind else {
            return sink.wrong_type(node, "a mapping such as `{agent: \"10\", team: \"100\"}`");
        };
        if entries.is_empty() {
            sink.add(Code::Empty, node.span, "the mapping is empty").help("write `limit` and `per` instead");
            return None;
        }
        let mut read = Vec::new();
        for (key, amount) in entries {
            let place = Node { span: key.span, kind: amount.kind.clone() };
            let dimension = dimension(&key.text, &place, sink);
            let amount = AmountText::decode(amount, sink);
            if let (Some(value), Some(amount)) = (dimension, amount) {
                read.push((Spanned { value, span: key.span }, amount));
            }
        }
        Some(read)
    }

    fn schema() -> Json {
        let properties: serde_json::Map<String, Json> = Dimension::ALL
            .iter()
            .map(|it| {
                let about = format!("The most for each {it}.");
                (it.to_string(), crate::decode::with(AmountText::schema(), "description", &about))
            })
            .collect();
        json!({
            "type": "object", "properties": properties, "minProperties": 1, "additionalProperties": false,
        })
    }
}

/// Reads amounts by folded unit, none less than `least`.
fn costs(node: &Node, least: Amount, sink: &mut Sink<'_>) -> Option<BTreeMap<String, Amount>> {
    let Kind::Map(entries) = &node.kind else {
        return sink.wrong_type(node, "a mapping of units and amounts, such as `{\"usd\": \"0.02\"}`");
    };
    let mut read = BTreeMap::new();
    for (key, cost) in entries {
        let place =
            Node { span: key.span, kind: Kind::Scalar(Text { text: key.text.clone(), plain: false }) };
        let (unit, cost) = (UnitText::decode(&place, sink), amount(cost, least, sink));
        read.insert(fold(&unit?), cost?);
    }
    Some(read)
}

impl Shape for CostText {
    /// By folded unit.
    type Out = BTreeMap<String, Amount>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        costs(node, least(), sink)
    }

    fn schema() -> Json {
        json!({"type": "object", "additionalProperties": AmountText::schema()})
    }
}

impl Shape for SpentText {
    /// By folded unit.
    type Out = BTreeMap<String, Amount>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        costs(node, Amount::ZERO, sink)
    }

    fn schema() -> Json {
        json!({"type": "object", "additionalProperties": {"type": ["string", "integer"]}})
    }
}

const OVER: [(&str, Over); 4] = [
    ("hour", Over::Time(Time::Hour {})),
    ("day", Over::Time(Time::Day {})),
    ("month", Over::Time(Time::Month {})),
    ("execution", Over::Execution),
];

impl Shape for OverText {
    type Out = Over;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Over> {
        let Some(text) = node.scalar().filter(|text| !text.is_null()) else {
            return sink.wrong_type(node, "a time, such as `day` or `24h`");
        };
        let known = OVER.iter().find(|(word, _)| *word == text.text);
        if let Some((_, over)) = known {
            return Some(*over);
        }
        if text.text.starts_with(|c: char| c.is_ascii_digit()) {
            return Duration::decode(node, sink).map(|ms| Over::Time(Time::Rolling { ms }));
        }
        unknown_word(&text.text, "a time to sum over", &OVER.map(|(word, _)| word), node, sink)
    }

    fn schema() -> Json {
        json!({"oneOf": [{"enum": OVER.map(|(word, _)| word)}, Duration::schema()]})
    }
}

/// The most that come back in a rate's time.
const MAX_RATE: u32 = 1_000_000;

impl Shape for RateText {
    /// How many, in how many milliseconds.
    type Out = (u32, u64);

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        const HELP: &str = "write a count and a duration, such as `10/1m`; a count has at most 1000000, a duration at most `366d`";
        let Some(text) = node.scalar().filter(|text| !text.is_null()) else {
            return sink.wrong_type(node, "a rate in text, such as `10/1m`");
        };
        let read = text.text.split_once('/').and_then(|(count, time)| {
            let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
            let count = count.parse().ok().filter(|count| digits && (1..=MAX_RATE).contains(count))?;
            let longest = 366 * 86_400_000;
            let ms = duration_ms(time).filter(|ms| (1..=longest).contains(ms))?;
            Some((count, ms))
        });
        if read.is_none() {
            let shown = shown(&text.text);
            sink.add(Code::BadRate, node.span, format!("`{shown}` is not a rate")).help(HELP);
        }
        read
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[0-9]+/([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"})
    }
}

/// Denials that follow from a stop, from an open breaker or from the gate's own trouble, which no breaker
/// counts.
const FOLLOWING: [DenialCode; 3] =
    [DenialCode::AgentKilled, DenialCode::BreakerOpen, DenialCode::GateUnavailable];

impl DenialWord {
    fn words() -> Vec<&'static str> {
        DenialCode::ALL.into_iter().filter(|code| !FOLLOWING.contains(code)).map(DenialCode::as_str).collect()
    }
}

impl Shape for DenialWord {
    type Out = DenialCode;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<DenialCode> {
        let Some(text) = node.scalar() else { return sink.wrong_type(node, "a code in text") };
        let known = DenialCode::ALL.into_iter().find(|code| code.as_str() == text.text);
        if let Some(code) = known.filter(|code| FOLLOWING.contains(code)) {
            let message = format!("no breaker counts `{}`, which follows from others", code.as_str());
            sink.add(Code::BadTrip, node.span, message).help("remove it");
            return None;
        }
        known.or_else(|| unknown_word(&text.text, "a code", &Self::words(), node, sink))
    }

    fn schema() -> Json {
        json!({"enum": Self::words()})
    }
}
