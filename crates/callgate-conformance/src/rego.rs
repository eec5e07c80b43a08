//! OPA's cases for Rego v1, as JSON.
//!
//! A case is claimed unless `check` refuses its modules by a name: of a function that a decision may
//! not use, of an argument that must be written out, of a form of syntax that is not taken, or for a
//! line longer than a file may have (keys and certificates). Those are left out, and counted by that
//! name. A refusal for any other reason is a failure, unless the
//! case wants an error.
//!
//! Every claimed case runs as a bundle's packages do: linked, bounded, with errors of builtins as
//! errors. OPA leaves those undefined by default; a case that answers as OPA does only in that mode is
//! left out, too, and named.

use std::collections::BTreeMap;
use std::path::Path;

use callgate_policy::rego::{Program, Source, door};
use callgate_policy::{Diagnostic, Report as Checked};
use regorus::Value as Rego;
use serde_json::Value;

use crate::report::{Report, Row};
use crate::suites;

/// 98 %.
const BAR: usize = 980;
/// The codes of refusals by name: functions, arguments to be written out, forms, and lines too long.
const BY_NAME: [&str; 4] = ["CG0802", "CG0806", "CG0807", TOO_LARGE];
const TOO_LARGE: &str = "CG0101";

/// Runs all files below `folder`.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn run(folder: &Path) -> Result<Report, String> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let mut lenient = Vec::new();
    for path in suites::files(folder, "json")? {
        let name = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        let file: Value = serde_json::from_str(&suites::text(&path)?).map_err(|e| format!("{name}: {e}"))?;
        let row = rows.entry(name.clone()).or_insert_with(|| Row { name, ..Row::default() });
        for case in file.get("cases").and_then(Value::as_array).into_iter().flatten() {
            let note = text(case, "note");
            match outcome(case)? {
                Outcome::Passed => row.passed = row.passed.saturating_add(1),
                Outcome::Failed(wrong) => row.failures.push(format!("{note}: {wrong}")),
                Outcome::Refused(name) => {
                    row.left_out = row.left_out.saturating_add(1);
                    let count = refused.entry(name).or_default();
                    *count = count.saturating_add(1);
                }
                Outcome::Lenient => {
                    row.left_out = row.left_out.saturating_add(1);
                    lenient.push(note.to_owned());
                }
            }
        }
    }
    let names = refused.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>();
    let remarks = vec![
        format!(
            "refused by `check`, by name: {} cases: {}",
            refused.values().sum::<usize>(),
            names.join(", ")
        ),
        format!(
            "an error here, undefined in OPA's default mode: {} cases: {}",
            lenient.len(),
            lenient.join(", ")
        ),
    ];
    let note = "cases that `check` does not refuse by name; the others are left out".to_owned();
    Ok(Report { bar: BAR, note, rows: rows.into_values().collect(), remarks })
}

enum Outcome {
    Passed,
    Failed(String),
    /// By this name.
    Refused(String),
    /// Right where errors of builtins are undefined.
    Lenient,
}

fn text<'c>(case: &'c Value, key: &str) -> &'c str {
    case.get(key).and_then(Value::as_str).unwrap_or("")
}

/// What is asked of which modules.
struct Question {
    modules: Vec<Source>,
    data: Rego,
    input: Rego,
    package: Vec<String>,
    rule: String,
    /// Whether the query needs a package of its own, which gives a list of its variables' values.
    wrapped: bool,
}

fn outcome(case: &Value) -> Result<Outcome, String> {
    let asked = question(case, true)?;
    // What a rule with a composite head gives is asked for by a package of its own.
    let composite = |report: Checked| report.to_string().contains("not a valid rule path");
    let wrap = !asked.wrapped
        && door::compile(&asked.modules, &asked.data, &asked.package, &asked.rule, true)
            .is_err_and(composite);
    let question = if wrap { question(case, false)? } else { asked };
    let wants_error = case.get("want_error").is_some() || case.get("want_error_code").is_some();
    let ask = |strict| {
        let Question { modules, data, package, rule, .. } = &question;
        door::compile(modules, data, package, rule, strict)
    };
    let program = match ask(true) {
        Ok(program) => program,
        Err(report) => return Ok(refusal(&report, wants_error)),
    };
    let verdict = |program: &Program| match (program.run(&question.input), wants_error) {
        (Err(_), true) => Ok(()),
        (Err(error), false) => Err(format!("failed: {error}")),
        (Ok(value), true) => Err(format!("gave {value}, not an error")),
        (Ok(value), false) => compare(case, &value, question.wrapped),
    };
    let Err(wrong) = verdict(&program) else { return Ok(Outcome::Passed) };
    let strict_case = case.get("strict_error").and_then(Value::as_bool).unwrap_or(false);
    let lenient = !strict_case
        && wrong.starts_with("failed: ")
        && ask(false).is_ok_and(|program| verdict(&program).is_ok());
    Ok(if lenient { Outcome::Lenient } else { Outcome::Failed(wrong) })
}

fn refusal(report: &Checked, wants_error: bool) -> Outcome {
    let by_name = |found: &&Diagnostic| BY_NAME.contains(&found.code);
    if let Some(found) = report.diagnostics().iter().find(by_name) {
        let named = found.message.split('`').nth(1).map(|name| format!("`{name}`"));
        let name = named.filter(|_| found.code != TOO_LARGE);
        return Outcome::Refused(name.unwrap_or_else(|| "a line too long".to_owned()));
    }
    if wants_error {
        return Outcome::Passed;
    }
    let said: Vec<_> = report.diagnostics().iter().map(|found| found.message.as_str()).collect();
    Outcome::Failed(format!("refused: {}", said.join(" | ")))
}

fn question(case: &Value, direct: bool) -> Result<Question, String> {
    let modules = case.get("modules").and_then(Value::as_array).into_iter().flatten().enumerate();
    let mut modules: Vec<Source> = modules
        .map(|(at, text)| Source {
            path: format!("m{at}.rego"),
            text: text.as_str().unwrap_or_default().to_owned(),
        })
        .collect();
    let data = case.get("data").filter(|data| !data.is_null());
    let data = data.map_or_else(|| Ok(Rego::new_object()), |data| read(&data.to_string()))?;
    let input = match (case.get("input"), case.get("input_term").and_then(Value::as_str)) {
        (Some(input), _) => read(&input.to_string())?,
        (None, Some(term)) => term_value(term)?,
        (None, None) => Rego::Undefined,
    };
    let query = text(case, "query");
    let simple = query.strip_suffix(" = x").and_then(|path| path.strip_prefix("data."));
    let direct = simple.filter(|_| direct).and_then(|path| path.rsplit_once('.')).filter(|(package, _)| {
        let is_it = |line: &str| line.split_once("package").is_some_and(|(_, name)| name.trim() == *package);
        modules.iter().any(|module| module.text.lines().any(is_it))
    });
    let (package, rule) = direct.unwrap_or(("callgate_asks", "answers"));
    if direct.is_none() {
        let found = case.get("want_result").and_then(|found| found.get(0)).and_then(Value::as_object);
        let names = found.into_iter().flatten().map(|(name, _)| format!("\"{name}\": {name}"));
        let term = format!("{{{}}}", names.collect::<Vec<_>>().join(", "));
        let text = format!("package {package}\n{rule} := [{term} | {}]\n", query.trim());
        modules.push(Source { path: "query.rego".to_owned(), text });
    }
    let package = package.split('.').map(str::to_owned).collect();
    Ok(Question { modules, data, input, package, rule: rule.to_owned(), wrapped: direct.is_none() })
}

fn read(json: &str) -> Result<Rego, String> {
    Rego::from_json_str(json).map_err(|error| error.to_string())
}

/// The value of a term without references.
fn term_value(term: &str) -> Result<Rego, String> {
    let modules = [Source { path: "term.rego".to_owned(), text: format!("package term\nvalue := {term}\n") }];
    let program = door::compile(&modules, &Rego::new_object(), &["term".to_owned()], "value", true);
    program.map_err(|report| format!("{term}: {report}"))?.run(&Rego::Undefined)
}

fn compare(case: &Value, value: &Rego, wrapped: bool) -> Result<(), String> {
    let unordered = case.get("sort_bindings").and_then(Value::as_bool).unwrap_or(false);
    let wanted = case.get("want_result").and_then(Value::as_array).cloned().unwrap_or_default();
    let json = || -> Result<Value, String> {
        let text = value.to_json_str().map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    };
    let found = match (value, wrapped) {
        (Rego::Undefined, _) => Vec::new(),
        (_, true) => json()?.as_array().cloned().unwrap_or_default(),
        (_, false) => vec![json()?],
    };
    let one =
        |wanted: &Value| if wrapped { wanted.clone() } else { wanted.get("x").cloned().unwrap_or_default() };
    let wanted: Vec<Value> = wanted.iter().map(one).collect();
    // The solutions of a query have no order.
    if is_permuted(&found, &wanted, unordered) { Ok(()) } else { Err(format!("gave {}", Value::from(found))) }
}

/// Equality of values, numbers by their worth; the order of lists counts unless the case says no.
fn same(a: &Value, b: &Value, unordered: bool) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let in_order = a.iter().zip(b).all(|(a, b)| same(a, b, unordered));
            in_order || unordered && is_permuted(a, b, true)
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b, unordered)))
        }
        _ => a == b,
    }
}

fn is_permuted(a: &[Value], b: &[Value], unordered: bool) -> bool {
    let mut left: Vec<&Value> = b.iter().collect();
    let mut take = |a: &Value| {
        let found = left.iter().position(|b| same(a, b, unordered));
        found.map(|at| left.swap_remove(at)).is_some()
    };
    a.len() == b.len() && a.iter().all(&mut take)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Outcome, outcome};

    fn passes(case: &serde_json::Value) -> bool {
        matches!(outcome(case), Ok(Outcome::Passed))
    }

    #[test]
    fn a_case_passes_only_with_the_wanted_result() {
        let case = |query: &str, want: serde_json::Value| {
            let module = "package a.b\np := [2, 1] if input.x == data.y\n";
            json!({"query": query, "modules": [module], "input": {"x": 1}, "data": {"y": 1}, "want_result": want})
        };
        assert!(passes(&case("data.a.b.p = x", json!([{"x": [2, 1]}]))));
        assert!(!passes(&case("data.a.b.p = x", json!([{"x": [1, 2]}]))), "order");
        assert!(!passes(&case("data.a.b.p = x", json!([]))), "undefined");
        assert!(passes(&case("data.a.b.p[y] = x", json!([{"x": 2, "y": 0}, {"x": 1, "y": 1}]))));
        let mut unordered = case("data.a.b.p = x", json!([{"x": [1, 2]}]));
        unordered.as_object_mut().expect("an object").insert("sort_bindings".to_owned(), json!(true));
        assert!(passes(&unordered));
    }

    #[test]
    fn refusals_by_name_and_leniency_are_told_apart() {
        let case = |value: &str, wants: (&str, serde_json::Value)| {
            let module = format!("package a\np := {value}\n");
            outcome(&json!({"query": "data.a.p = x", "modules": [module], wants.0: wants.1}))
        };
        let refused = case("crypto.md5(\"x\")", ("want_result", json!([{"x": "y"}])));
        assert!(matches!(refused, Ok(Outcome::Refused(name)) if name == "`crypto.md5`"));
        assert!(matches!(case("to_number(\"x\")", ("want_result", json!([]))), Ok(Outcome::Lenient)));
        assert!(matches!(case("to_number(\"x\")", ("want_error", json!("e"))), Ok(Outcome::Passed)));
        assert!(matches!(case("1", ("want_error", json!("e"))), Ok(Outcome::Failed(_))));
        assert!(matches!(case("1 +", ("want_result", json!([{"x": 1}]))), Ok(Outcome::Failed(_))));
    }
}
