//! Laws of the condition language: it is total, bounded, deterministic, and keeps the types it promises.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    reason = "tests may fail by panicking"
)]

mod cel_gen;

use callgate_core::value::{Map, Value};
use callgate_policy::cel::{CelValue, Env, EvalError, Fuel, Kind, Limits, Lookup, Type, compile};
use cel_gen::{Forms, Source, schema, value_of};
use proptest::prelude::*;

/// The whole language.
const FORMS: Forms = Forms {
    simple: [
        &["true", "false", "args.b", "has(args.o)", "args.o == null", "args.any == 1"],
        &["0", "1", "-7", "args.n", "9223372036854775807", "2"],
        &["dec('0.1')", "args.d", "dec(3)", "dec(2.50)"],
        &["''", "'ab'", "args.s", "'€uro'", "'k1'"],
        &["[]", "[1, 2]", "args.l"],
        &["args.any", "null", "args", "args.m", "args.o"],
    ],
    compound: [
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
    ],
};

struct Args(Value);

impl Lookup for Args {
    fn get(&self, _slot: usize, _name: &str) -> Option<CelValue<'_>> {
        Some(CelValue::from_json(&self.0))
    }
}

fn env() -> Env {
    Env::new().variable("args", Type::from_json_schema(&schema()))
}

/// Whether `value` is one of `ty`; with `deep`, its parts too.
fn fits(value: &CelValue<'_>, ty: &Type, deep: bool) -> bool {
    match (ty, value) {
        (Type::Dyn, _) => true,
        (Type::Never, _) => false,
        // Inside lists and maps a whole JSON number stays an int.
        (Type::Plain(Kind::Decimal), CelValue::Int(_)) => deep,
        (Type::Plain(kind), value) => value.kind() == *kind,
        (Type::Nullable(_), CelValue::Null) => true,
        (Type::Nullable(inner), value) => fits(value, inner, deep),
        (Type::List(element), CelValue::List(list)) => {
            !deep || list.iter().all(|item| fits(&item, element, deep))
        }
        (Type::Map(key, inner), CelValue::Map(map)) => {
            !deep || map.entries().iter().all(|(k, v)| fits(k, key, deep) && fits(v, inner, deep))
        }
        (Type::Object(_), CelValue::Map(_)) => true,
        _ => false,
    }
}

fn shown(result: &Result<CelValue<'_>, EvalError>) -> String {
    match result {
        Ok(value) => plain(value),
        Err(error) => error.to_string(),
    }
}

/// A value without how it is stored.
fn plain(value: &CelValue<'_>) -> String {
    match value {
        CelValue::Str(text) => format!("{:?}", &**text),
        CelValue::List(list) => list.iter().map(|item| plain(&item) + ",").collect(),
        CelValue::Map(map) => {
            map.entries().iter().map(|(k, v)| format!("{}:{};", plain(k), plain(v))).collect()
        }
        other => format!("{other:?}"),
    }
}

/// The laws would say little of expressions that are mostly refused or mostly fail.
#[test]
fn most_generated_expressions_are_accepted_and_many_have_a_value() {
    let (mut accepted, mut valued) = (0, 0);
    let mut state = 1u32;
    let mut bytes = |count: usize| -> Vec<u8> {
        let next = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
        next.take(count).collect()
    };
    for round in 0..600u32 {
        let text = FORMS.expression(u8::try_from(round % 6).expect("small"), &mut Source::new(&bytes(100)));
        let args = Args(value_of(&mut Source::new(&bytes(40)), true));
        if let Ok(program) = compile(&text, &env(), &Limits::default()) {
            accepted += 1;
            valued += u32::from(program.evaluate(&args, &mut Fuel::default()).is_ok());
        }
    }
    assert!(accepted > 400, "{accepted} of 600 accepted");
    assert!(valued > 150, "{valued} of 600 have a value");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_compiles_or_is_refused_with_spans_inside_it(text in ".{0,200}") {
        if let Err(errors) = compile(&text, &env(), &Limits::default()) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                prop_assert!(text.get(error.span.clone()).is_some(), "{error:?}");
            }
        }
    }

    #[test]
    fn any_tokens_compile_or_are_refused(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "args", ".s", ".n", ".l", "1", "2.5", "\"a\"", "b'x'", "+", "-", "*", "/", "%", "==", "<", "in", "&&", "||",
                "!", "?", ":", "(", ")", "[", "]", "{", "}", ",", ".", ".map(x, x", ".all(", "has(", "dec(", "size(", "x",
                "true", "null", "cel.bind(y, ", "//\n", "'", "\\", "9223372036854775808", "`q`",
            ]),
            0..40,
        )
    ) {
        let text = tokens.concat();
        if let Err(errors) = compile(&text, &env(), &Limits::default()) {
            for error in errors {
                prop_assert!(text.get(error.span.clone()).is_some(), "{error:?}");
            }
        }
    }

    #[test]
    fn a_checked_program_gives_its_type_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..120), kind in 0u8..6, input in prop::collection::vec(any::<u8>(), 40)) {
        let text = FORMS.expression(kind, &mut Source::new(&bytes));
        let Ok(program) = compile(&text, &env(), &Limits::default()) else { return Ok(()) };
        for conforming in [true, false] {
            let args = Args(value_of(&mut Source::new(&input), conforming));
            let mut fuel = Fuel::new(20_000);
            if let Ok(value) = program.evaluate(&args, &mut fuel) {
                prop_assert!(fits(&value, program.result_type(), conforming), "{text} gave {value:?}, not {}", program.result_type());
            }
        }
    }

    #[test]
    fn more_fuel_never_changes_a_result(bytes in prop::collection::vec(any::<u8>(), 0..120), kind in 0u8..6, input in prop::collection::vec(any::<u8>(), 40), units in 0u64..400) {
        let text = FORMS.expression(kind, &mut Source::new(&bytes));
        let Ok(program) = compile(&text, &env(), &Limits::default()) else { return Ok(()) };
        let args = Args(value_of(&mut Source::new(&input), true));
        let mut little = Fuel::new(units);
        let first = program.evaluate(&args, &mut little);
        if matches!(first, Err(EvalError::OutOfFuel)) {
            prop_assert_eq!(little.left(), 0);
        } else {
            let mut plenty = Fuel::new(1_000_000);
            let again = program.evaluate(&args, &mut plenty);
            prop_assert_eq!(shown(&first), shown(&again), "{}", text);
            prop_assert_eq!(units - little.left(), 1_000_000 - plenty.left());
        }
    }

    #[test]
    fn what_is_not_listed_as_read_does_not_matter(bytes in prop::collection::vec(any::<u8>(), 0..120), kind in 0u8..6, input in prop::collection::vec(any::<u8>(), 40), other in prop::collection::vec(any::<u8>(), 40)) {
        let text = FORMS.expression(kind, &mut Source::new(&bytes));
        let Ok(program) = compile(&text, &env(), &Limits::default()) else { return Ok(()) };
        let args = value_of(&mut Source::new(&input), true);
        let changed = value_of(&mut Source::new(&other), true);
        let mut mixed = Map::default();
        for name in cel_gen::FIELDS {
            let path = format!("args.{name}");
            let below = |read: &String| read.strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
            let read = program.reads().iter().any(|read| read == "args" || below(read));
            let from = if read { &args } else { &changed };
            if let Some(value) = from.as_map().and_then(|map| map.get(name)) {
                mixed.insert(name.to_owned(), value.clone());
            }
        }
        let (args, mixed) = (Args(args), Args(Value::Map(mixed)));
        let first = program.evaluate(&args, &mut Fuel::default());
        let second = program.evaluate(&mixed, &mut Fuel::default());
        prop_assert_eq!(shown(&first), shown(&second), "{} reads {:?}", text, program.reads());
    }
}
