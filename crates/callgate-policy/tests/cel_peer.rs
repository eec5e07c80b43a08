//! The core of the condition language beside another implementation, the `cel` crate: on expressions
//! that both define alike, both give the same value or both fail.
#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "tests may fail by panicking"
)]

mod cel_gen;

use std::collections::HashMap;
use std::sync::Arc;

use callgate_core::value::{Map, Value};
use callgate_policy::cel::{CelValue, Env, Fuel, Limits, Lookup, Type, compile};
use cel_gen::{Forms, Source, schema, value_of};
use proptest::prelude::*;

/// What both define alike: no decimals, none of the extensions.
const CORE: Forms = Forms {
    simple: [
        &["true", "false", "args.b"],
        &["0", "1", "-7", "args.n", "9223372036854775807", "2"],
        &["1"],
        &["''", "'ab'", "args.s", "'€uro'", "'k1'"],
        &["[]", "[1, 2]", "args.l"],
        &["null", "args.any", "args.o"],
    ],
    compound: [
        &[
            "!(B)",
            "(B && B)",
            "(B || B)",
            "(I < I)",
            "(I >= I)",
            "(I != I)",
            "(S == S)",
            "(S < S)",
            "(I in L)",
            "(L == L)",
            "(A == A)",
            "(A < A)",
            "(B ? B : B)",
            "has(args.o)",
            "S.contains(S)",
            "S.startsWith(S)",
            "S.endsWith(S)",
            "L.exists(x, B)",
            "L.all(x, x < I)",
            "L.all(x, 10 / x > I)",
            "L.exists_one(x, x == I)",
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
            "(B ? I : I)",
            "int(S)",
        ],
        &["1"],
        &["(S + S)", "string(I)", "(B ? S : S)"],
        &["[I, I]", "(L + L)", "L.map(x, x + I)", "L.filter(x, B)", "L.map(x, B, x * I)"],
        &[
            "dyn(B)",
            "dyn(I)",
            "[S, I]",
            "{S: I}",
            "args.any.x",
            "args.any[I]",
            "(A + A)",
            "[L]",
            "{'a': A}.a",
        ],
    ],
};

struct Args(Value);

impl Lookup for Args {
    fn get(&self, _slot: usize, _name: &str) -> Option<CelValue<'_>> {
        Some(CelValue::from_json(&self.0))
    }
}

fn theirs(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        Value::Int(number) => cel::Value::Int(*number),
        Value::Decimal(number) => cel::Value::Float(number.to_f64()),
        Value::Str(text) => cel::Value::String(Arc::new(text.clone())),
        Value::List(items) => cel::Value::List(Arc::new(items.iter().map(theirs).collect())),
        Value::Map(map) => {
            let pairs: HashMap<String, cel::Value> =
                map.iter().map(|(key, value)| (key.to_owned(), theirs(value))).collect();
            cel::Value::Map(pairs.into())
        }
    }
}

/// The input without decimals, which the other does not have.
fn whole(value: Value) -> Value {
    let Value::Map(map) = value else { return value };
    let pairs = map.iter().filter(|(_, value)| !matches!(value, Value::Decimal(_)));
    Value::Map(
        Map::from_pairs(pairs.map(|(key, value)| (key.to_owned(), value.clone())).collect())
            .expect("distinct"),
    )
}

fn our_text(value: &CelValue<'_>) -> String {
    match value {
        CelValue::Null => "null".to_owned(),
        CelValue::Bool(flag) => flag.to_string(),
        CelValue::Int(number) => number.to_string(),
        CelValue::Str(text) => format!("{:?}", &**text),
        CelValue::List(list) => list.iter().map(|item| our_text(&item) + ",").collect(),
        CelValue::Map(map) => {
            map.entries().iter().map(|(k, v)| format!("{}:{};", our_text(k), our_text(v))).collect()
        }
        other => format!("{other:?}"),
    }
}

fn their_text(value: &cel::Value) -> String {
    match value {
        cel::Value::Null => "null".to_owned(),
        cel::Value::Bool(flag) => flag.to_string(),
        cel::Value::Int(number) => number.to_string(),
        cel::Value::String(text) => format!("{:?}", text.as_str()),
        cel::Value::List(items) => items.iter().map(|item| their_text(item) + ",").collect(),
        cel::Value::Map(map) => {
            let mut pairs: Vec<String> =
                map.map.iter().map(|(k, v)| format!("{:?}:{};", k.to_string(), their_text(v))).collect();
            pairs.sort();
            pairs.concat()
        }
        other => format!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn both_give_the_same_value_or_both_fail(bytes in prop::collection::vec(any::<u8>(), 0..120), kind in prop::sample::select(vec![0u8, 1, 3, 4, 5]), input in prop::collection::vec(any::<u8>(), 40)) {
        let text = CORE.expression(kind, &mut Source::new(&bytes));
        let env = Env::new().variable("args", Type::from_json_schema(&schema()));
        let Ok(program) = compile(&text, &env, &Limits::default()) else { return Ok(()) };
        let args = Args(whole(value_of(&mut Source::new(&input), true)));
        let mut fuel = Fuel::new(1_000_000);
        let ours = program.evaluate(&args, &mut fuel).map(|value| our_text(&value)).ok();
        let other = cel::Program::compile(&text).expect("ours accepted it");
        let mut variables = cel::Context::default();
        variables.add_variable_from_value("args", theirs(&args.0));
        let theirs = other.execute(&variables).map(|value| their_text(&value)).ok();
        prop_assert_eq!(ours, theirs, "{} with {}", text, args.0.canonical());
    }
}
