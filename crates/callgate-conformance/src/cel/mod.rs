//! The specification's simple tests, `cel-expr/cel-spec/tests/simple`.
//!
//! A vector counts unless it needs protocol buffer messages or enums other than timestamps and
//! durations: those are not part of the language here. It passes if the value is equal and of the same
//! type, or an error is wanted and there is one, and if the deduced type, where one is given, is equal.
//! An expression that cannot be parsed is no wanted error.

mod types;
mod values;

use std::path::Path;

use callgate_policy::cel::{CelValue, Env, Fuel, Limits, Lookup, Type, compile};

use crate::report::{Report, Row};
use crate::suites;
use crate::textproto::{self, Message, Value};

/// 96.3 %: what the better of the two Rust crates reaches.
const BAR: usize = 963;
/// The limits of rules are for people's conditions; the suite tests the language.
const LIMITS: Limits = Limits {
    source_bytes: 1 << 16,
    nesting: 128,
    height: 250,
    nodes: 10_000,
    loops: 8,
    patterns: 64,
    fold_fuel: 1_000_000,
};

/// Runs all files below `folder`.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn run(folder: &Path) -> Result<Report, String> {
    let mut rows = Vec::new();
    for path in suites::files(folder, "textproto")? {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let file = textproto::parse(&suites::text(&path)?).map_err(|error| format!("{name}: {error}"))?;
        rows.push(file_row(name, &file));
    }
    let note = "vectors without protocol buffer messages or enums; the others are left out".to_owned();
    Ok(Report { bar: BAR, note, rows, remarks: Vec::new() })
}

fn file_row(name: String, file: &Message) -> Row {
    let mut row = Row { name, ..Row::default() };
    for section in file.messages("section") {
        for test in section.messages("test") {
            if needs_messages(test) {
                row.left_out = row.left_out.saturating_add(1);
                continue;
            }
            match vector(test) {
                Ok(()) => row.passed = row.passed.saturating_add(1),
                Err(wrong) => {
                    let names = [section.text("name"), test.text("name")].map(|name| name.unwrap_or("?"));
                    let expr = test.text("expr").unwrap_or("?");
                    row.failures.push(format!("{}: {expr}: {wrong}", names.join("/")));
                }
            }
        }
    }
    row
}

/// Names that only protocol buffers give.
const MESSAGES: [&str; 9] = [
    "Value{",
    "TestAllTypes",
    "NestedTestAllTypes",
    "TestRequired",
    "GlobalEnum",
    "NestedEnum",
    "proto.getExt",
    "proto.hasExt",
    "cel.expr.conformance.",
];

/// Whether a vector needs messages or enums.
fn needs_messages(test: &Message) -> bool {
    let expr = test.text("expr").unwrap_or("");
    let wrapped = expr.match_indices("google.protobuf.").any(|(at, prefix)| {
        let name = expr.get(at.saturating_add(prefix.len())..).unwrap_or("");
        !(name.starts_with("Timestamp") || name.starts_with("Duration"))
            || name.trim_start_matches(char::is_alphanumeric).trim_start().starts_with('{')
    });
    wrapped || MESSAGES.iter().any(|name| expr.contains(name)) || names_messages(test)
}

/// Whether a part of a vector besides its expression names a message or an enum.
fn names_messages(part: &Message) -> bool {
    part.0.iter().any(|(name, value)| match (name.as_str(), value) {
        ("message_type" | "enum_value", _) => true,
        ("object_value", Value::Message(object)) => values::object(object).is_none(),
        ("wrapper", _) => true,
        ("container" | "expr" | "description" | "name", _) => false,
        (_, Value::Message(inner)) => names_messages(inner),
        _ => false,
    })
}

struct Bindings(Vec<(String, CelValue<'static>)>);

impl Lookup for Bindings {
    fn get(&self, _slot: usize, name: &str) -> Option<CelValue<'_>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

fn vector(test: &Message) -> Result<(), String> {
    let expr = test.text("expr").ok_or("it has no expression")?;
    let env = environment(test)?;
    let env = if test.word("disable_check") == Some("true") { env.unchecked() } else { env };
    let wants_error = test.message("eval_error").is_some();
    let program = match compile(expr, &env, &LIMITS) {
        Ok(program) => program,
        Err(errors) => {
            let said = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
            // A refusal by type is an error only if evaluation without a check fails, too.
            let unchecked = compile(expr, &env.unchecked(), &LIMITS);
            let fails = |bindings: &Bindings| {
                unchecked.as_ref().is_ok_and(|program| program.evaluate(bindings, &mut fuel()).is_err())
            };
            let failed = wants_error && fails(&bindings(test)?);
            return if failed { Ok(()) } else { Err(format!("refused: {said}")) };
        }
    };
    let typed = test.message("typed_result");
    if let Some(wanted) = typed.and_then(|typed| typed.message("deduced_type")) {
        let (wanted, found) = (types::wanted(wanted)?, types::shown(program.result_type()));
        if wanted != found {
            return Err(format!("deduced {found}, not {wanted}"));
        }
    }
    if test.word("check_only") == Some("true") {
        return Ok(());
    }
    let bindings = bindings(test)?;
    let found = program.evaluate(&bindings, &mut fuel());
    let wanted = test.message("value").or_else(|| typed.and_then(|typed| typed.message("result")));
    match (found, wants_error) {
        (Ok(value), true) => Err(format!("gave {value:?}, not an error")),
        (Err(_), true) => Ok(()),
        (Err(error), false) => Err(format!("failed: {error}")),
        (Ok(value), false) => {
            // A vector without a wanted value wants `true`.
            let wanted = wanted.map_or(Ok(CelValue::Bool(true)), values::value)?;
            if values::same(&value, &wanted) { Ok(()) } else { Err(format!("gave {value:?}")) }
        }
    }
}

fn fuel() -> Fuel {
    Fuel::new(10_000_000)
}

fn environment(test: &Message) -> Result<Env, String> {
    let mut env = Env::new().container(test.text("container").unwrap_or(""));
    for declared in test.messages("type_env") {
        let name = declared.text("name").ok_or("a declaration has no name")?;
        if let Some(ident) = declared.message("ident") {
            let ty = ident.message("type").map_or(Ok(Type::Dyn), types::read)?;
            env = env.variable(name, ty);
        }
    }
    // Bound names that are not declared are of any type.
    for bound in test.messages("bindings").filter_map(|bound| bound.text("key")) {
        if env.slot(bound).is_none() {
            env = env.variable(bound, Type::Dyn);
        }
    }
    Ok(env)
}

fn bindings(test: &Message) -> Result<Bindings, String> {
    let one = |bound: &Message| {
        let name = bound.text("key").ok_or("a binding has no name")?.to_owned();
        let value = bound.message("value").and_then(|value| value.message("value"));
        Ok((name, values::value(value.ok_or("a binding has no value")?)?))
    };
    test.messages("bindings").map(one).collect::<Result<Vec<_>, String>>().map(Bindings)
}
