//! A request whose values are not of the types its tool's schema declares: every condition that reads
//! one fails, so that a rule that denies denies, and one that allows does not allow.
#![expect(clippy::panic, reason = "tests may fail by panicking")]

use callgate_core::json;
use callgate_core::value::{Map, Value};
use callgate_policy::cel::{CelValue, Env, Fuel, Limits, Lookup, Type, compile_condition};

struct Args(Value);

impl Lookup for Args {
    fn get(&self, _slot: usize, _name: &str) -> Option<CelValue<'_>> {
        Some(CelValue::from_json(&self.0))
    }
}

fn read(text: &str) -> Value {
    json::parse(text.as_bytes(), &json::Limits::REQUEST).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A field's schema, a value of its type, and conditions that read it.
const FIELDS: [(&str, &str, &[&str]); 7] = [
    (
        r#"{"type": "string"}"#,
        r#""/srv/data/x""#,
        &[
            "args.x == 'a'",
            "args.x != 'a'",
            "args.x < 'b'",
            "args.x in ['a']",
            "!(args.x in ['a'])",
            "args.x.startsWith('/')",
            "!args.x.contains('a')",
            "args.x.matches('a')",
            "!glob.matches(args.x, '/srv/**')",
            "!path.under(args.x, '/srv/data')",
            "args.x.size() > 3",
            "args.?x.orValue('') == ''",
            "args['x'] == ''",
        ],
    ),
    (
        r#"{"type": "integer"}"#,
        "3",
        &["args.x > 2", "args.x == 3", "args.x != 3", "args.x in [1, 2]", "-args.x < 0"],
    ),
    (r#"{"type": "number"}"#, "2.5", &["args.x > 2", "args.x == 2.5", "args.x * 2 != 5", "!(args.x <= 7)"]),
    (r#"{"type": "boolean"}"#, "true", &["args.x", "!args.x", "args.x == true", "args.x ? false : true"]),
    (
        r#"{"type": "array", "items": {"type": "string"}}"#,
        r#"["a"]"#,
        &[
            "'a' in args.x",
            "!('a' in args.x)",
            "args.x.exists(e, e == 'a')",
            "args.x.all(e, e != 'b')",
            "args.x.size() == 0",
            "sets.intersects(args.x, ['a'])",
            "args.x[?0].orValue('') == 'a'",
        ],
    ),
    (
        r#"{"type": "object", "properties": {"y": {"type": "string"}}}"#,
        r#"{"y": "a"}"#,
        &[
            "args.x.y == 'a'",
            "args.x.y != 'a'",
            "args.x.?y.orValue('') == 'a'",
            "has(args.x.y) && args.x.y != ''",
        ],
    ),
    (r#"{"type": "string"}"#, r#""10.5""#, &["dec(args.x) > 10", "!(dec(args.x) > dec('50'))"]),
];

/// Values of every JSON type, with those that other languages would convert.
const VALUES: [&str; 14] = [
    "null", "true", "false", "0", "1", "3", "2.5", "\"\"", "\"3\"", "\"true\"", "[]", "[\"a\"]", "[[]]", "{}",
];

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) => "integer",
        Value::Decimal(_) => "number",
        Value::Str(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) => "object",
    }
}

fn args(value: &Value) -> Args {
    let mut map = Map::default();
    map.insert("x".to_owned(), value.clone());
    Args(Value::Map(map))
}

#[test]
fn a_value_of_another_type_is_an_error_in_every_condition() {
    let mut checked = 0u32;
    for (schema, proper, conditions) in FIELDS {
        let schema = read(&format!(r#"{{"type": "object", "properties": {{"x": {schema}}}}}"#));
        let env = Env::new().variable("args", Type::from_json_schema(&schema));
        let proper = read(proper);
        for text in conditions {
            let program = compile_condition(text, &env, &Limits::default())
                .unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
            let value = program.evaluate_bool(&args(&proper), &mut Fuel::default());
            assert!(value.is_ok(), "{text} with {}: {value:?}", proper.canonical());
            for other in VALUES.map(read) {
                // A whole number is a number, too.
                let same =
                    kind(&other) == kind(&proper) || (kind(&proper) == "number" && kind(&other) == "integer");
                if same {
                    continue;
                }
                checked = checked.saturating_add(1);
                let value = program.evaluate_bool(&args(&other), &mut Fuel::default());
                assert!(value.is_err(), "{text} with {} gave {value:?}", other.canonical());
            }
        }
    }
    assert!(checked > 300, "{checked} confusions");
}

#[test]
fn the_elements_of_a_list_are_checked_where_they_are_read() {
    let schema =
        read(r#"{"type": "object", "properties": {"x": {"type": "array", "items": {"type": "string"}}}}"#);
    let env = Env::new().variable("args", Type::from_json_schema(&schema));
    for text in ["args.x.all(e, e != 'rm')", "args.x[0] != 'rm'", "!args.x.exists(e, e.startsWith('rm'))"] {
        let program = compile_condition(text, &env, &Limits::default())
            .unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
        for wrong in [r#"[["rm"]]"#, "[1]", "[null]", r#"[{"0": "rm"}]"#] {
            let value = program.evaluate_bool(&args(&read(wrong)), &mut Fuel::default());
            assert!(value.is_err(), "{text} with {wrong} gave {value:?}");
        }
    }
}
