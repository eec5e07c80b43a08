//! Cedar's integration corpus: policies, entities and requests with the decision, the reasons and the
//! errors that Cedar's formal model gives.
//!
//! Every policy is answered by the evaluation that decides in a bundle, one at a time; decision, reasons
//! and errors are then put together under Cedar's own rules.

use std::collections::BTreeSet;
use std::path::Path;

use callgate_policy::cedar::{Answered, Entities, Policies, Query, Schema};
use serde_json::Value;

use crate::report::{Report, Row};
use crate::suites;

/// Runs the corpus below `folder`.
///
/// # Errors
/// What went wrong with the files, in words.
pub(crate) fn run(folder: &Path) -> Result<Report, String> {
    let mut row = Row { name: "requests".to_owned(), ..Row::default() };
    let mut cases = 0usize;
    for path in suites::files(folder, "json")? {
        if path.to_string_lossy().ends_with(".entities.json") {
            continue;
        }
        cases = cases.saturating_add(1);
        case(folder, &path, &mut row)?;
    }
    let note = format!("{cases} cases; decision, reasons and errors of each request must be equal");
    Ok(Report { bar: 1000, note, rows: vec![row], remarks: Vec::new() })
}

/// Runs one case: several requests on the same policies, entities and schema.
fn case(folder: &Path, path: &Path, row: &mut Row) -> Result<(), String> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let case: Value = serde_json::from_str(&suites::text(path)?).map_err(|e| format!("{name}: {e}"))?;
    let file = |key: &str| {
        let named = case.get(key).and_then(Value::as_str).ok_or_else(|| format!("{name}: no `{key}`"))?;
        suites::text(&folder.join(named))
    };
    let (policies, schema, entities) = (file("policies")?, file("schema")?, file("entities")?);
    let read = Policies::parse(&policies).and_then(|policies| {
        let schema = Schema::parse(&schema)?;
        let entities = Entities::parse(&entities, &schema)?;
        Ok((policies, schema, entities))
    });
    let requests = case.get("requests").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (at, request) in requests.iter().enumerate() {
        let answered = match &read {
            Ok((policies, schema, entities)) => {
                query(request, schema).map(|query| policies.answer(&query, entities))
            }
            Err(why) => Err(why.clone()),
        };
        match answered {
            Ok(answered) if answered == wanted(request) => row.passed = row.passed.saturating_add(1),
            Ok(answered) => row.failures.push(format!("{name} {at}: {answered:?}")),
            Err(why) => row.failures.push(format!("{name} {at}: {why}")),
        }
    }
    Ok(())
}

fn query(request: &Value, schema: &Schema) -> Result<Query, String> {
    let entity = |key: &str| {
        let part = |part: &str| request.get(key).and_then(|entity| entity.get(part)).and_then(Value::as_str);
        part("type").zip(part("id")).ok_or_else(|| format!("no `{key}`"))
    };
    let context = request.get("context").map(Value::to_string).unwrap_or_default();
    Query::parse(entity("principal")?, entity("action")?, entity("resource")?, &context, schema)
}

fn wanted(request: &Value) -> Answered {
    let list = |key: &str| -> BTreeSet<String> {
        let items = request.get(key).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    Answered {
        allow: request.get("decision").and_then(Value::as_str) == Some("allow"),
        reasons: list("reason"),
        errors: list("errors"),
    }
}
