//! The leaves of the language: names, patterns, durations, numbers, words, lists.

use std::marker::PhantomData;

use callgate_core::decision::{Decision, Mode};
use callgate_core::fields::nearest;
use callgate_core::name::{MAX_NAME, Name};
use callgate_core::pattern::{MAX_PATTERN, Pattern};
use serde_json::{Value as Json, json};

use super::fields::listed;
use super::{Shape, Sink, Spanned};
use crate::codes::Code;
use crate::syntax::{Kind, Node, Text};

/// The most entries in one list of names or patterns.
const MAX_LIST: usize = 1000;

/// Text for people.
pub(crate) struct Prose;
/// A name: unique ids, tags, roles.
pub(crate) struct NameText;
/// `true` or `false`.
pub(crate) struct Flag;
/// The same, where only `true` says something.
pub(crate) struct Switch;
/// `version: v1`.
pub(crate) struct Version;
/// A whole number between two bounds.
pub(crate) struct Whole<const LEAST: i64, const MOST: i64>;
/// A time span such as `1h30m`.
pub(crate) struct Duration;
/// One of the five decisions.
pub(crate) struct Word;
/// `enforce` or `monitor`.
pub(crate) struct ModeWord;
/// A share as a percentage, such as `5%`; read into basis points.
pub(crate) struct Percent;
/// A shape, read together with the tree it was read from.
pub(crate) struct Meant<S>(PhantomData<S>);
/// A condition in CEL, as written.
pub(crate) struct Condition;
/// A list of a shape, not empty.
pub(crate) struct List<S>(PhantomData<S>);
/// One of a shape, or a list of it, not empty.
pub(crate) struct OneOrList<S>(PhantomData<S>);
/// A pattern over dotted names.
struct PatternText;
/// One pattern or a list of them, not empty.
pub(crate) struct Patterns;

/// The text of a scalar that cannot be taken for anything but text.
fn text<'n>(node: &'n Node, expected: &str, sink: &mut Sink<'_>) -> Option<&'n str> {
    match node.scalar() {
        Some(text) if text.is_text() => Some(&text.text),
        _ => sink.wrong_type(node, expected),
    }
}

impl Shape for Prose {
    type Out = String;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<String> {
        let text = text(node, "text", sink)?.trim();
        if text.is_empty() || text.chars().count() > 1000 {
            sink.add(Code::OutOfRange, node.span, "a text has 1 to 1000 characters").help("write a sentence");
            return None;
        }
        Some(text.to_owned())
    }

    fn schema() -> Json {
        json!({"type": "string", "minLength": 1, "maxLength": 1000})
    }
}

impl Shape for NameText {
    type Out = Name;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Name> {
        let text = text(node, "a name", sink)?;
        match Name::new(text) {
            Ok(name) => Some(name),
            Err(error) => {
                sink.add(Code::BadName, node.span, error.to_string());
                None
            }
        }
    }

    fn schema() -> Json {
        json!({"type": "string", "minLength": 1, "maxLength": MAX_NAME})
    }
}

impl Shape for Flag {
    type Out = bool;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<bool> {
        node.scalar().and_then(Text::boolean).or_else(|| sink.wrong_type(node, "`true` or `false`"))
    }

    fn schema() -> Json {
        json!({"type": "boolean"})
    }
}

impl Shape for Switch {
    type Out = bool;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<bool> {
        Flag::decode(node, sink)
    }

    fn schema() -> Json {
        json!({"type": "boolean", "default": false})
    }
}

impl Shape for Version {
    type Out = ();

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<()> {
        match node.scalar() {
            Some(text) if text.text == "v1" => Some(()),
            Some(text) => {
                let shown: String = text.text.escape_debug().take(64).collect();
                let message = format!("`{shown}` is not a version of this language");
                sink.add(Code::Version, node.span, message).help("write `version: v1`");
                None
            }
            None => sink.wrong_type(node, "the text `v1`"),
        }
    }

    fn schema() -> Json {
        json!({"const": "v1"})
    }
}

impl<const LEAST: i64, const MOST: i64> Shape for Whole<LEAST, MOST> {
    type Out = i64;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<i64> {
        let Some(number) = node.scalar().and_then(Text::integer) else {
            return sink.wrong_type(node, "a whole number");
        };
        if (LEAST..=MOST).contains(&number) {
            return Some(number);
        }
        let message = format!("`{number}` is not between {LEAST} and {MOST}");
        sink.add(Code::OutOfRange, node.span, message);
        None
    }

    fn schema() -> Json {
        json!({"type": "integer", "minimum": LEAST, "maximum": MOST})
    }
}

/// The longest duration: a year.
const MAX_DURATION_MS: u64 = 366 * 24 * 60 * 60 * 1000;

impl Shape for Duration {
    type Out = u64;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<u64> {
        let Some(text) = node.scalar().filter(|text| !text.is_null()) else {
            return sink.wrong_type(node, "a duration, such as `30m` or `1h30m`");
        };
        match duration_ms(&text.text) {
            Some(ms) if (1..=MAX_DURATION_MS).contains(&ms) => Some(ms),
            Some(_) => {
                sink.add(Code::BadDuration, node.span, "a duration is from `1ms` to `366d`");
                None
            }
            None => {
                let shown: String = text.text.escape_debug().take(64).collect();
                let help = if text.integer().is_some() {
                    format!("say which unit: `{shown}s`?")
                } else {
                    "write whole numbers with the units `d`, `h`, `m`, `s`, `ms`, such as `1h30m`".to_owned()
                };
                sink.add(Code::BadDuration, node.span, format!("`{shown}` is not a duration")).help(help);
                None
            }
        }
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$", "minLength": 2})
    }
}

/// Reads `1h30m`: units once each, from the longest to the shortest.
pub(crate) fn duration_ms(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let (mut rest, mut total, mut units) = (text, 0u64, UNITS.iter());
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(letters)?;
        let (_, scale) = units.find(|(word, _)| *word == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*scale)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

impl Shape for Word {
    type Out = Decision;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Decision> {
        let text = text(node, "a decision in text", sink)?;
        if let Ok(decision) = text.parse() {
            return Some(decision);
        }
        let words = Decision::ALL.map(|decision| decision.as_str().to_ascii_lowercase());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let shown: String = text.escape_debug().take(64).collect();
        let help = nearest(&text.to_ascii_lowercase(), words.iter().copied()).map_or_else(
            || format!("the decisions are {}", listed(&words)),
            |near| format!("did you mean `{near}`?"),
        );
        sink.add(Code::UnknownWord, node.span, format!("`{shown}` is not a decision")).help(help);
        None
    }

    fn schema() -> Json {
        let lower = Decision::ALL.map(|decision| decision.as_str().to_ascii_lowercase());
        let words: Vec<Json> = lower
            .iter()
            .map(|word| Json::from(word.as_str()))
            .chain(Decision::ALL.iter().map(|decision| Json::from(decision.as_str())))
            .collect();
        json!({"enum": words})
    }
}

impl Shape for ModeWord {
    type Out = Mode;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Mode> {
        let text = text(node, "a mode in text", sink)?;
        let known = Mode::ALL.into_iter().find(|mode| mode.as_str() == text);
        if known.is_none() {
            let shown: String = text.escape_debug().take(64).collect();
            sink.add(Code::UnknownWord, node.span, format!("`{shown}` is not a mode"))
                .help("write `enforce` or `monitor`");
        }
        known
    }

    fn schema() -> Json {
        json!({"enum": Mode::ALL.map(Mode::as_str)})
    }
}

/// A word out of a few.
pub(crate) trait Words: Copy + 'static {
    /// What such a word is, with its article.
    const WHAT: &'static str;
    /// The words, and what they say.
    const WORDS: &'static [(&'static str, Self)];
}

/// One of [`Words`].
pub(crate) struct Choice<T>(PhantomData<T>);

impl<T: Words> Shape for Choice<T> {
    type Out = T;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<T> {
        let text = text(node, T::WHAT, sink)?;
        let known = T::WORDS.iter().find(|(word, _)| *word == text);
        let words: Vec<&'static str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        known.map(|(_, said)| *said).or_else(|| unknown_word(text, T::WHAT, &words, node, sink))
    }

    fn schema() -> Json {
        json!({"enum": T::WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>()})
    }
}

/// Reports a word that is not one of `words`.
pub(crate) fn unknown_word<T>(
    found: &str,
    what: &str,
    words: &[&'static str],
    node: &Node,
    sink: &mut Sink<'_>,
) -> Option<T> {
    let shown: String = found.escape_debug().take(64).collect();
    let help = nearest(found, words.iter().copied())
        .map_or_else(|| format!("write one of {}", listed(words)), |near| format!("did you mean `{near}`?"));
    sink.add(Code::UnknownWord, node.span, format!("`{shown}` is not {what}")).help(help);
    None
}

impl Shape for Percent {
    /// Basis points: hundredths of a percent.
    type Out = u32;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<u32> {
        let Some(text) = node.scalar().filter(|text| !text.is_null()) else {
            return sink.wrong_type(node, "a share in text, such as `\"5%\"`");
        };
        let share = basis_points(&text.text);
        if share.is_none() {
            let shown: String = text.text.escape_debug().take(64).collect();
            let help = if basis_points(&format!("{}%", text.text)).is_some() {
                format!("write it as a percentage: \"{shown}%\"?")
            } else {
                "write a percentage from \"0%\" to \"100%\" with at most two decimals, such as \"2.5%\""
                    .to_owned()
            };
            sink.add(Code::BadShare, node.span, format!("`{shown}` is not a share")).help(help);
        }
        share
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^(100(\\.0{1,2})?|[0-9]{1,2}(\\.[0-9]{1,2})?)%$"})
    }
}

/// Reads `2.5%` as 250.
fn basis_points(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !digits(whole, 3) || !digits(decimals, 2) || (whole.len() == 3 && !whole.starts_with('1')) {
        return None;
    }
    let scale = if decimals.len() == 1 { 10 } else { 1 };
    let hundredths = decimals.parse::<u32>().ok()?.checked_mul(scale)?;
    let points = whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(hundredths)?;
    (points <= 10_000).then_some(points)
}

/// What a shape was read into, and the tree it was read from.
#[derive(Debug, Clone)]
pub(crate) struct MeantText<T> {
    pub(crate) text: T,
    pub(crate) node: Node,
}

impl<S: Shape> Shape for Meant<S> {
    type Out = MeantText<S::Out>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        S::decode(node, sink).map(|text| MeantText { text, node: node.clone() })
    }

    fn schema() -> Json {
        S::schema()
    }
}

impl Shape for Condition {
    type Out = String;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<String> {
        match node.scalar() {
            Some(text) if !text.is_null() => Some(text.text.clone()),
            _ => sink.wrong_type(node, "a condition in text"),
        }
    }

    fn schema() -> Json {
        json!({"type": ["string", "boolean"], "maxLength": 4096})
    }
}

impl<S: Shape> Shape for List<S> {
    type Out = Vec<Spanned<S::Out>>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        let Kind::List(items) = &node.kind else { return sink.wrong_type(node, "a list") };
        if items.is_empty() {
            sink.add(Code::Empty, node.span, "the list is empty").help("add an entry, or leave the key out");
            return None;
        }
        // Every item is read, so that every problem is reported; what could be read is kept.
        let mut read = Vec::with_capacity(items.len());
        for item in items {
            if sink.problems.is_full() {
                return None;
            }
            read.extend(S::decode(item, sink).map(|value| Spanned { value, span: item.span }));
        }
        Some(read)
    }

    fn schema() -> Json {
        json!({"type": "array", "items": S::schema(), "minItems": 1})
    }
}

impl<S: Shape> Shape for OneOrList<S> {
    type Out = Vec<Spanned<S::Out>>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        if matches!(node.kind, Kind::List(_)) {
            let items = List::<S>::decode(node, sink)?;
            if items.len() > MAX_LIST {
                sink.add(Code::OutOfRange, node.span, format!("a list has at most {MAX_LIST} entries"))
                    .help("use a pattern, or split the rule");
                return None;
            }
            return Some(items);
        }
        S::decode(node, sink).map(|value| vec![Spanned { value, span: node.span }])
    }

    fn schema() -> Json {
        json!({"oneOf": [S::schema(), List::<S>::schema()]})
    }
}

impl Shape for PatternText {
    type Out = Pattern;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Pattern> {
        let text = text(node, "a name or pattern", sink)?;
        match Pattern::new(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                sink.add(Code::BadPattern, node.span, error.to_string());
                None
            }
        }
    }

    fn schema() -> Json {
        json!({"type": "string", "minLength": 1, "maxLength": MAX_PATTERN})
    }
}

impl Shape for Patterns {
    type Out = Vec<Spanned<Pattern>>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        OneOrList::<PatternText>::decode(node, sink)
    }

    fn schema() -> Json {
        OneOrList::<PatternText>::schema()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percentages() {
        let cases = [
            ("0%", 0),
            ("5%", 500),
            ("2.5%", 250),
            ("0.01%", 1),
            ("99.99%", 9999),
            ("100%", 10_000),
            ("100.00%", 10_000),
            ("07%", 700),
        ];
        for (text, points) in cases {
            assert_eq!(basis_points(text), Some(points), "{text}");
        }
        for text in [
            "", "%", "5", ".5%", "5.%", "5.001%", "100.01%", "101%", "099%", "1e1%", "-1%", "+1%", " 5%",
            "5 %", "٥%",
        ] {
            assert_eq!(basis_points(text), None, "{text}");
        }
    }

    #[test]
    fn durations_say_their_units() {
        let cases =
            [("500ms", 500), ("2s", 2000), ("30m", 1_800_000), ("1h30m", 5_400_000), ("1d", 86_400_000)];
        for (text, ms) in cases {
            assert_eq!(duration_ms(text), Some(ms), "{text}");
        }
        for text in ["", "30", "m", "30m1h", "1h1h", "1.5h", "-1s", "1 s", "99999999999999999999s", "1w"] {
            assert_eq!(duration_ms(text), None, "{text}");
        }
    }
}
