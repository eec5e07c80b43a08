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

/// An expression of kind 0 bool, 1 int, 2 decimal, 3 string, 4 list(int), 5 anything.
pub(crate) fn expression(kind: u8, source: &mut Source<'_>) -> String {
    make(kind, source, 0)
}

/// Forms without parts, by kind.
const SIMPLE: [&[&str]; 6] = [
    &["true", "false", "args.b", "has(args.o)", "args.o == null", "args.any == 1"],
    &["0", "1", "-7", "args.n", "9223372036854775807", "2"],
    &["dec('0.1')", "args.d", "dec(3)", "dec(2.50)"],
    &["''", "'ab'", "args.s", "'€uro'", "'k1'"],
    &["[]", "[1, 2]", "args.l"],
    &["args.any", "null", "args", "args.m", "args.o"],
];

/// Forms with parts, by kind.
const COMPOUND: [&[&str]; 6] = [
    &[
        "!(B)",
        "(B && B)",
        "(B || B)",
        "(I < I)",
        "(D >= I)",
        "(S == S)",
        "(D == D)",
        "S.contains(S)",
        "(I in L)",
        "L.exists(x, B)",
        "L.all(x, x < I)",
        "(B ? B : B)",
        "S.matches('^a.*b$')",
        "(A == A)",
        "(L == L)",
        "(S in args.m)",
        "args.m.exists(k, v, v > D)",
        "L.exists_one(x, x == I)",
        "(A < A)",
        "S.startsWith(S)",
    ],
    &[
        "(I + I)",
        "(I - I)",
        "(I * I)",
        "(I / I)",
        "(I % I)",
        "-(I)",
        "size(S)",
        "size(L)",
        "L[I]",
        "int(D)",
        "S.indexOf(S)",
        "(B ? I : I)",
        "cel.bind(y, I, y + I)",
        "size(args.m)",
        "math.greatest(I, I)",
    ],
    &[
        "(D + D)",
        "(D - I)",
        "(I * D)",
        "-(D)",
        "dec(I)",
        "args.m[S]",
        "(B ? D : D)",
        "(D + 0.25)",
        "math.abs(D)",
        "dec(S)",
    ],
    &[
        "(S + S)",
        "string(I)",
        "string(D)",
        "S.substring(I)",
        "S.replace(S, S)",
        "S.split(S).join(S)",
        "S.upperAscii()",
        "S.charAt(I)",
        "(B ? S : S)",
        "L.map(x, S).join(',')",
        "S.trim()",
    ],
    &[
        "[I, I]",
        "(L + L)",
        "L.map(x, x + I)",
        "L.filter(x, B)",
        "L.distinct()",
        "L.transformList(i, v, i * v)",
        "L.slice(I, I)",
    ],
    &[
        "dyn(B)",
        "dyn(I)",
        "dyn(D)",
        "[S, I]",
        "{S: I}",
        "args.any.x",
        "args.any[I]",
        "L.transformMap(i, v, S)",
        "type(A)",
        "(A + A)",
        "[L]",
        "{'a': A}.a",
    ],
];

/// Fills the letters of a template: B, I, D, S, L, A stand for expressions of each kind.
fn make(kind: u8, source: &mut Source<'_>, depth: u32) -> String {
    let kind = if source.byte() == 255 { source.byte() % 6 } else { kind };
    let simple = depth > 4 || source.byte().is_multiple_of(4);
    let forms = if simple { SIMPLE } else { COMPOUND };
    let template = source.pick(forms[usize::from(kind)]);
    let mut out = String::new();
    for c in template.chars() {
        match "BIDSLA".find(c) {
            Some(kind) => out.push_str(&make(u8::try_from(kind).expect("small"), source, depth + 1)),
            None => out.push(c),
        }
    }
    out
}
