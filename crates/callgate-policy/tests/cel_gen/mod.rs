//! Expressions and inputs made from random bytes, mostly well typed, so that most of them are accepted.

use callgate_core::decimal::Decimal;
use callgate_core::value::{Map, Value};

/// Random bytes; when they are used up, zeros, which choose the simplest forms.
pub(crate) struct Source<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Source<'b> {
    pub(crate) const fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn byte(&mut self) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte
    }

    fn pick<'c>(&mut self, choices: &[&'c str]) -> &'c str {
        choices[usize::from(self.byte()) % choices.len()]
    }
}

/// The fields of `args`.
pub(crate) const FIELDS: [&str; 8] = ["n", "d", "s", "b", "l", "m", "any", "o"];

/// The schema of `args`.
pub(crate) fn schema() -> Value {
    let text = r#"{"properties": {"n": {"type": "integer"}, "d": {"type": "number"}, "s": {"type": "string"},
        "b": {"type": "boolean"}, "l": {"type": "array", "items": {"type": "integer"}},
        "m": {"type": "object", "additionalProperties": {"type": "number"}},
        "any": {}, "o": {"type": ["string", "null"]}}}"#;
    callgate_core::json::parse(text.as_bytes(), &callgate_core::json::Limits::REQUEST).expect("valid")
}

/// A value for `args`, by its schema or with fields of any type.
pub(crate) fn value_of(source: &mut Source<'_>, conforming: bool) -> Value {
    let mut map = Map::default();
    for (kind, name) in (0u8..).zip(FIELDS) {
        if source.byte() % 8 == 7 {
            continue;
        }
        let kind = if conforming { kind } else { source.byte() % 8 };
        map.insert(name.to_owned(), field(kind, source));
    }
    Value::Map(map)
}

fn field(kind: u8, source: &mut Source<'_>) -> Value {
    let byte = source.byte();
    match kind {
        0 => Value::Int(i64::from(byte) - 3),
        1 if byte.is_multiple_of(2) => Value::Int(i64::from(byte)),
        1 => Value::Decimal(Decimal::new(i128::from(byte), -1).expect("small")),
        2 => Value::Str("añb€".chars().cycle().take(usize::from(byte % 7)).collect()),
        3 => Value::Bool(byte.is_multiple_of(2)),
        4 => Value::List((0..byte % 4).map(|n| Value::Int(i64::from(n))).collect()),
        5 => {
            let pairs = (0..byte % 4).map(|n| (format!("k{n}"), Value::Int(i64::from(n)))).collect();
            Value::Map(Map::from_pairs(pairs).expect("distinct"))
        }
        6 => field(byte % 5, source),
        _ if byte.is_multiple_of(2) => Value::Null,
        _ => Value::Str("o".to_owned()),
    }
}

/// Templates by kind (0 bool, 1 int, 2 decimal, 3 string, 4 list(int), 5 anything). The letters B, I, D,
/// S, L and A stand for expressions of each kind.
pub(crate) struct Forms {
    /// Without parts.
    pub(crate) simple: [&'static [&'static str]; 6],
    /// With parts.
    pub(crate) compound: [&'static [&'static str]; 6],
}

impl Forms {
    /// An expression of `kind`, in rare places with a part of another kind.
    pub(crate) fn expression(&self, kind: u8, source: &mut Source<'_>) -> String {
        self.make(kind, source, 0)
    }

    fn make(&self, kind: u8, source: &mut Source<'_>, depth: u32) -> String {
        let kind = if source.byte() == 255 { source.byte() % 6 } else { kind };
        let simple = depth > 4 || source.byte().is_multiple_of(4);
        let forms = if simple { self.simple } else { self.compound };
        let mut out = String::new();
        for c in source.pick(forms[usize::from(kind)]).chars() {
            match "BIDSLA".find(c) {
                Some(kind) => out.push_str(&self.make(u8::try_from(kind).expect("small"), source, depth + 1)),
                None => out.push(c),
            }
        }
        out
    }
}
