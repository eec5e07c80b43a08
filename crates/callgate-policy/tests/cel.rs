//! Runs the cases of `cel/*.txt`; `cel/README.md` says how to write one.
#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail by panicking"
)]

use callgate_core::json;
use callgate_core::value::Value;
use callgate_policy::cel::{CelValue, Env, Fuel, Limits, Lookup, Program, Type, compile};

const TABLES: [(&str, &str); 7] = [
    ("authors", include_str!("cel/authors.txt")),
    ("numbers", include_str!("cel/numbers.txt")),
    ("operators", include_str!("cel/operators.txt")),
    ("text", include_str!("cel/text.txt")),
    ("loops", include_str!("cel/loops.txt")),
    ("time", include_str!("cel/time.txt")),
    ("schema", include_str!("cel/schema.txt")),
];

struct Vars<'v>(&'v Value);

impl Lookup for Vars<'_> {
    fn get(&self, _slot: usize, name: &str) -> Option<CelValue<'_>> {
        self.0.as_map()?.get(name).map(CelValue::from_json)
    }
}

fn read(text: &str) -> Value {
    json::parse(text.as_bytes(), &json::Limits::REQUEST).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The environment of a schema whose properties are the variables.
fn declared(schema: &Value) -> Env {
    let Value::Map(properties) = schema.as_map().and_then(|map| map.get("properties")).expect("properties")
    else {
        panic!("`properties` is an object")
    };
    let root = Type::from_json_schema(schema);
    let Type::Object(root) = root else { panic!("the schema is of an object") };
    properties.iter().fold(Env::new(), |env, (name, _)| env.variable(name, root.fields[name].ty.clone()))
}

fn undeclared(vars: &Value) -> Env {
    vars.as_map().expect("an object").iter().fold(Env::new(), |env, (name, _)| env.variable(name, Type::Dyn))
}

/// Equality that also wants the same types, and takes NaN for equal.
fn same(a: &CelValue<'_>, b: &CelValue<'_>) -> bool {
    match (a, b) {
        (CelValue::List(x), CelValue::List(y)) => {
            x.len() == y.len() && x.iter().zip(y.iter()).all(|(x, y)| same(&x, &y))
        }
        (CelValue::Map(x), CelValue::Map(y)) => {
            let pairs = x.entries().into_iter().zip(y.entries());
            x.len() == y.len() && pairs.into_iter().all(|((k, v), (l, w))| same(&k, &l) && same(&v, &w))
        }
        (CelValue::Str(x), CelValue::Str(y)) => **x == **y,
        (CelValue::Bytes(x), CelValue::Bytes(y)) => **x == **y,
        (a, b) => format!("{a:?}") == format!("{b:?}"),
    }
}

fn reference(text: &str) -> Program {
    compile(text, &Env::new(), &Limits::default()).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

/// What is wrong with one case, if anything.
fn failure(case: &str, env: &Env, vars: &Value) -> Option<String> {
    let (source, outcome) = case.split_once(" ==> ").expect("` ==> ` between the expression and its outcome");
    let compiled = compile(source, env, &Limits::default());
    if let Some(wanted) = outcome.strip_prefix("refused: ") {
        return match compiled {
            Ok(_) => Some("it was accepted".to_owned()),
            Err(errors) => {
                let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
                let spans = errors.iter().all(|error| source.get(error.span.clone()).is_some());
                (!spans || !said.iter().any(|said| said.contains(wanted))).then(|| said.join(" | "))
            }
        };
    }
    let program = match compiled {
        Ok(program) => program,
        Err(errors) => return Some(format!("it was refused: {errors:?}")),
    };
    let (vars, mut fuel) = (Vars(vars), Fuel::default());
    let result = program.evaluate(&vars, &mut fuel);
    match (result, outcome.strip_prefix("error: ")) {
        (Ok(value), Some(_)) => Some(format!("it gave {value:?}")),
        (Err(error), Some(wanted)) => {
            let said = error.to_string();
            (!said.contains(wanted)).then_some(said)
        }
        (Err(error), None) => Some(format!("it failed: {error}")),
        (Ok(value), None) => {
            let wanted = reference(outcome);
            let wanted = wanted.evaluate(&(), &mut Fuel::default()).expect("a value");
            (!same(&value, &wanted)).then(|| format!("it gave {value:?}"))
        }
    }
}

fn failures(name: &str, table: &str) -> Vec<String> {
    let (mut vars, mut schema) = (Value::empty_map(), None);
    let mut found = Vec::new();
    for (number, line) in (1..).zip(table.lines()) {
        if let Some(text) = line.strip_prefix("vars: ") {
            vars = read(text);
        } else if let Some(text) = line.strip_prefix("schema: ") {
            schema = Some(read(text));
        } else if !line.is_empty() && !line.starts_with('#') {
            let env = schema.as_ref().map_or_else(|| undeclared(&vars), declared);
            let wrong = failure(line, &env, &vars);
            found.extend(wrong.map(|wrong| format!("{name}.txt:{number}: {line}\n    {wrong}")));
        }
    }
    found
}

#[test]
fn every_case_has_the_outcome_it_names() {
    let found: Vec<String> = TABLES.into_iter().flat_map(|(name, table)| failures(name, table)).collect();
    assert!(found.is_empty(), "{} cases differ:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_wrong_outcome_is_noticed() {
    for case in ["1 + 1 ==> 3", "1 ==> 1u", "1 ==> error: x", "1 / 0 ==> 1", "1 ==> refused: x", "x ==> 1"] {
        assert!(failure(case, &Env::new(), &Value::empty_map()).is_some(), "{case}");
    }
}
