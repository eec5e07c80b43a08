//! What a case says. `tests/cases/README.md` describes the files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use callgate_policy::{Bundle, is_bundle_file};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::yaml;

/// One case: a bundle and questions in order.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// `file: name`.
    pub(crate) name: String,
    pub(crate) bundle: Bundle,
    pub(crate) env: BTreeMap<String, String>,
    /// The agent whose key is shown over HTTP; absent, whoever asks is believed.
    pub(crate) key: Option<Key>,
    pub(crate) asks: Vec<Asked>,
}

/// An agent's key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    pub(crate) agent: String,
    pub(crate) team: Option<String>,
    #[serde(default = "default_tenant")]
    pub(crate) tenant: String,
}

fn default_tenant() -> String {
    "default".to_owned()
}

/// One question.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    question: Question,
    pub(crate) expect: Expect,
}

#[derive(Debug, Clone)]
enum Question {
    Request(Map<String, Value>),
    Raw(String),
}

/// What must come of it. What a case does not name is not compared, but for the code.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) decision: String,
    pub(crate) code: Option<String>,
    rule: Option<String>,
    constraints: Option<Value>,
    retry_after_ms: Option<u64>,
    /// All codes among the reasons, in order.
    codes: Option<Vec<String>>,
    reviewers: Option<Vec<String>>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) decision: String,
    pub(crate) code: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) constraints: Value,
    pub(crate) retry_after_ms: Option<u64>,
    pub(crate) codes: Vec<String>,
    pub(crate) reviewers: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    bundle: Value,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    defaults: Map<String, Value>,
    cases: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    key: Option<Key>,
    /// Several questions, or the one below.
    #[serde(default)]
    asks: Vec<AskEntry>,
    request: Option<Map<String, Value>>,
    raw: Option<String>,
    expect: Option<Expect>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskEntry {
    request: Option<Map<String, Value>>,
    raw: Option<String>,
    expect: Expect,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every case of every file, in order.
pub(crate) fn all() -> Vec<Case> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(root().join("tests/cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .flat_map(|path| read(path))
        .collect()
}

fn read(path: &Path) -> Vec<Case> {
    let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
    let text = std::fs::read_to_string(path).unwrap();
    let file: File = serde_json::from_value(yaml::parse(&text)).unwrap_or_else(|e| panic!("{stem}: {e}"));
    let bundle = bundle(&file.bundle, &file.env);
    let case = |entry: Entry| {
        let Entry { request, raw, expect, .. } = entry;
        let one = expect.map(|expect| AskEntry { request, raw, expect });
        let asks: Vec<Asked> =
            entry.asks.into_iter().chain(one).map(|ask| question(&file.defaults, ask)).collect();
        assert!(!asks.is_empty(), "{stem}: `{}` asks nothing", entry.name);
        let name = format!("{stem}: {}", entry.name);
        Case { name, bundle: bundle.clone(), env: file.env.clone(), key: entry.key, asks }
    };
    file.cases.into_iter().map(case).collect()
}

/// Files written in the case, or the path of an example.
fn bundle(written: &Value, env: &BTreeMap<String, String>) -> Bundle {
    let files = match written {
        Value::String(path) => folder(&root().join(path)),
        written => serde_json::from_value(written.clone()).unwrap(),
    };
    Bundle::new(files, env.clone())
}

fn folder(dir: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                waiting.push(path);
            } else if is_bundle_file(&name) {
                files.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

fn question(defaults: &Map<String, Value>, ask: AskEntry) -> Asked {
    let question = match (ask.request, ask.raw) {
        (Some(request), None) => {
            let mut whole = defaults.clone();
            whole.extend(request);
            whole.retain(|_, value| !value.is_null());
            Question::Request(whole)
        }
        (None, Some(raw)) => Question::Raw(raw),
        _ => panic!("a question is `request` or `raw`"),
    };
    Asked { question, expect: ask.expect }
}

impl Asked {
    /// The bytes of the question, with `now`, `now-6m` and the like as times.
    pub(crate) fn bytes(&self, now_ms: i64) -> Vec<u8> {
        match &self.question {
            Question::Raw(text) => text.clone().into_bytes(),
            Question::Request(request) => serde_json::to_vec(&at(request, now_ms)).unwrap(),
        }
    }

    /// The request as written, if it is one.
    pub(crate) fn request(&self) -> Option<&Map<String, Value>> {
        match &self.question {
            Question::Request(request) => Some(request),
            Question::Raw(_) => None,
        }
    }
}

fn at(request: &Map<String, Value>, now_ms: i64) -> Map<String, Value> {
    let mut request = request.clone();
    if let Some(Value::String(text)) =
        request.get("ts_ms").filter(|ts| ts.as_str().is_some_and(|t| t.starts_with("now")))
    {
        let offset = text["now".len()..].trim_end_matches('m');
        let minutes: i64 = if offset.is_empty() { 0 } else { offset.parse().unwrap() };
        request.insert("ts_ms".to_owned(), (now_ms + minutes * 60_000).into());
    }
    request
}

impl Expect {
    /// Everything that came out otherwise.
    pub(crate) fn differences(&self, found: &Answer) -> Vec<String> {
        let mut out = Vec::new();
        let mut compare = |what: &str, expected: String, found: String| {
            if expected != found {
                out.push(format!("{what} is {found}, expected {expected}"));
            }
        };
        compare("the decision", self.decision.clone(), found.decision.clone());
        compare("the code", format!("{:?}", self.code), format!("{:?}", found.code));
        if self.rule.is_some() {
            compare("the rule", format!("{:?}", self.rule), format!("{:?}", found.rule));
        }
        if let Some(constraints) = &self.constraints {
            compare("the constraints", constraints.to_string(), found.constraints.to_string());
        }
        if self.retry_after_ms.is_some() {
            compare("the wait", format!("{:?}", self.retry_after_ms), format!("{:?}", found.retry_after_ms));
        }
        if let Some(codes) = &self.codes {
            compare("the codes", codes.join(" "), found.codes.join(" "));
        }
        if self.reviewers.is_some() {
            compare("the reviewers", format!("{:?}", self.reviewers), format!("{:?}", found.reviewers));
        }
        out
    }
}

impl Answer {
    /// From a reply, or from the predicate of a receipt: they name these things alike.
    pub(crate) fn from_json(reply: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let texts = |value: &Value| value.as_array().map(|all| all.iter().filter_map(text).collect());
        let reasons = reply["reasons"].as_array().cloned().unwrap_or_default();
        Self {
            decision: text(&reply["decision"]).unwrap_or_else(|| panic!("no decision in {reply}")),
            code: text(&reply["code"]),
            rule: text(&reply["matched_rule"]),
            constraints: reply["constraints"].clone(),
            retry_after_ms: reply["retry_after_ms"].as_u64(),
            codes: reasons
                .iter()
                .filter_map(|one| text(&one["code"]))
                .filter(|code| code != "ALLOW")
                .collect(),
            reviewers: texts(&reply["approval"]["reviewers"])
                .or_else(|| texts(&reply["approval"]["stages"][0]["reviewers"])),
        }
    }
}
