//! The same authorization in each language, decided on recorded sessions of agents.
//!
//! The policies lie in `languages/<suite>/<language>/`; tools and sessions are read where the caller says
//! they are. Each call is decided by the bundle of each language, and by one that holds all of them;
//! decision, code, constraints, approval and wait must be equal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use callgate_core::decide::{Ask, Decided, decide};
use callgate_core::facts::{Credential, Facts};
use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_core::rule::Outcome;
use callgate_core::snapshot::Snapshot;
use callgate_policy::{Bundle, compile};
use serde_json::{Value, json};

use crate::report::{Report, Row};
use crate::suites;

/// Tools, and the sessions that call them.
struct Suite {
    name: &'static str,
    tools: &'static str,
    sessions: &'static [&'static str],
}

const SUITES: [Suite; 3] = [
    Suite {
        name: "banking",
        tools: "agentdojo/tools_banking.json",
        sessions: &[
            "agentdojo/banking.benign.jsonl",
            "agentdojo/banking.attack.jsonl",
            "agentdojo/banking.injection_only.jsonl",
        ],
    },
    Suite {
        name: "workspace",
        tools: "agentdojo/tools_workspace.json",
        sessions: &[
            "agentdojo/workspace.benign.jsonl",
            "agentdojo/workspace.attack.jsonl.gz",
            "agentdojo/workspace.injection_only.jsonl",
        ],
    },
    Suite { name: "retail", tools: "tau/tools_retail.json", sessions: &["tau/tau2_retail.benign.jsonl"] },
];

const LANGUAGES: [&str; 3] = ["rules", "cedar", "rego"];

/// The gate's clock in every decision: 2026-01-01T00:00:00Z.
const NOW_MS: i64 = 1_767_225_600_000;

/// Decides every call of every session below `folder`.
///
/// # Errors
/// What went wrong with the files or policies, in words.
pub(crate) fn run(folder: &Path) -> Result<Report, String> {
    let mut note = "every call decided in each language and in all at once, with equal answers".to_owned();
    let mut rows = Vec::new();
    for suite in &SUITES {
        let bundles = bundles(suite, folder)?;
        let mut tally = Tally::default();
        for file in suite.sessions {
            rows.push(replay(suite, &folder.join(file), file, &bundles, &mut tally)?);
        }
        note.push_str(&tally.shown(suite.name, &bundles));
    }
    Ok(Report { bar: 1000, note, rows, remarks: Vec::new() })
}

/// The snapshots of a suite, by name: one for each language, and `all`.
fn bundles(suite: &Suite, folder: &Path) -> Result<Vec<(&'static str, Snapshot)>, String> {
    let tools = tools(&folder.join(suite.tools))?;
    let alone = LANGUAGES.iter().map(|language| (*language, vec![*language]));
    alone
        .chain([("all", LANGUAGES.to_vec())])
        .map(|(name, languages)| {
            let mut files = BTreeMap::from([(format!("tools/{}.json", suite.name), tools.clone())]);
            for language in languages {
                files.extend(policies(suite.name, language)?);
            }
            let snapshot = compile(&Bundle::new(files, BTreeMap::new()));
            Ok((name, snapshot.map_err(|report| format!("{} {name}:\n{report}", suite.name))?))
        })
        .collect()
}

/// The policies of a suite in one language, by their path in a bundle.
fn policies(suite: &str, language: &str) -> Result<Vec<(String, String)>, String> {
    let (place, ending) = if language == "rules" { ("rules", "yaml") } else { ("policies", language) };
    let own: PathBuf = [env!("CARGO_MANIFEST_DIR"), "languages", suite, language].iter().collect();
    let named = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    suites::files(&own, ending)?
        .iter()
        .map(|path| Ok((format!("{place}/{}", named(path).unwrap_or_default()), suites::text(path)?)))
        .collect()
}

/// The recorded list of tools as a server would give it.
fn tools(path: &Path) -> Result<String, String> {
    let list: Value =
        serde_json::from_str(&suites::text(path)?).map_err(|e| format!("{}: {e}", path.display()))?;
    let listed = list.get("tools").and_then(Value::as_array).ok_or("no `tools`")?;
    let tools: Vec<Value> = listed
        .iter()
        .map(|tool| {
            let schema = tool.get("input_schema").or_else(|| tool.get("parameters"));
            json!({"name": tool.get("name"), "inputSchema": schema.map(without_null)})
        })
        .collect();
    Ok(json!({"tools": tools}).to_string())
}

/// The same schema, where "a value or null" is the value: no recorded call says null, and what may be null
/// is not required.
fn without_null(schema: &Value) -> Value {
    let null = json!({"type": "null"});
    match schema {
        Value::Object(members) => {
            let choices = members.get("anyOf").and_then(Value::as_array);
            let left: Vec<&Value> = choices.into_iter().flatten().filter(|choice| **choice != null).collect();
            if let [only] = left.as_slice() {
                return without_null(only);
            }
            members.iter().map(|(key, value)| (key.clone(), without_null(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_null).collect(),
        other => other.clone(),
    }
}

/// What the decisions of a suite came to.
#[derive(Default)]
struct Tally {
    /// Calls by decision, as the first language decides.
    decisions: BTreeMap<String, usize>,
    /// The rules that spoke in the bundle of all languages.
    spoke: BTreeSet<String>,
}

impl Tally {
    fn shown(&self, suite: &str, bundles: &[(&str, Snapshot)]) -> String {
        let counts: Vec<String> =
            self.decisions.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let all = bundles.last().map(|(_, snapshot)| snapshot);
        let rules: usize =
            all.into_iter().flat_map(|it| &it.modules).map(|module| module.listed().len()).sum();
        format!("\n  {suite}: {}; {} of {rules} rules spoke", counts.join(", "), self.spoke.len())
    }
}

/// Decides every call of one file.
fn replay(
    suite: &Suite,
    path: &Path,
    name: &str,
    bundles: &[(&str, Snapshot)],
    tally: &mut Tally,
) -> Result<Row, String> {
    let short = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".gz").trim_end_matches(".jsonl");
    let mut row = Row { name: short.to_owned(), ..Row::default() };
    for line in lines(path)?.lines() {
        let session: Value = serde_json::from_str(line).map_err(|error| format!("{name}: {error}"))?;
        let id = session.get("id").and_then(Value::as_str).unwrap_or("?");
        let calls = session.get("calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (at, call) in calls.iter().enumerate() {
            match compared(suite.name, id, call, bundles, tally) {
                Ok(()) => row.passed = row.passed.saturating_add(1),
                Err(why) => row.failures.push(format!("{id} call {at}: {why}")),
            }
        }
    }
    Ok(row)
}

/// Decides one call under every bundle; how the answers differ, if they do.
fn compared(
    server: &str,
    session: &str,
    call: &Value,
    bundles: &[(&str, Snapshot)],
    tally: &mut Tally,
) -> Result<(), String> {
    let text = json!({
        "agent": {"id": "assistant"},
        "session": {"id": session},
        "tool": {"server": server, "name": call.get("tool")},
        "args": call.get("args"),
        "pep": {"id": "replay", "enforces": ["max_bytes", "max_retries", "max_rows"]},
    })
    .to_string();
    let request = Request::parse(text.as_bytes(), &Limits::REQUEST).map_err(|error| error.to_string())?;
    let mut answers = Vec::new();
    for (name, snapshot) in bundles {
        let ask = Ask::Request(Box::new(request.clone()));
        let decided = decide(snapshot, ask, &Facts::new(Credential::Local, NOW_MS));
        answers.push((*name, said(&decided)));
        if *name == "all" {
            let spoke = decided.trace.iter().filter(|step| step.outcome == Outcome::Matched);
            tally.spoke.extend(spoke.map(|step| step.rule.id.to_string()));
            let count = tally.decisions.entry(decided.settled.decision.to_string()).or_default();
            *count = count.saturating_add(1);
        }
    }
    let first = answers.first().map(|(_, answer)| answer.clone());
    if answers.iter().all(|(_, answer)| Some(answer) == first.as_ref()) {
        return Ok(());
    }
    let shown: Vec<String> = answers.iter().map(|(name, answer)| format!("{name}: {answer}")).collect();
    Err(format!("{text}\n        {}", shown.join("\n        ")))
}

/// Everything a decision says but its rules and their reasons.
fn said(decided: &Decided) -> String {
    let settled = &decided.settled;
    format!(
        "{} {:?} {:?} {:?} {:?}",
        settled.decision, settled.code, settled.constraints, settled.approval, settled.retry_after_ms
    )
}

/// The lines of a file, unpacked by the system's `gzip` if it is packed.
fn lines(path: &Path) -> Result<String, String> {
    if path.extension().is_none_or(|ending| ending != "gz") {
        return suites::text(path);
    }
    let output = Command::new("gzip").arg("-dc").arg(path).output();
    let output = output.map_err(|error| format!("`gzip` could not be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("`gzip` could not read `{}`: {}", path.display(), output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{}: {error}", path.display()))
}
