//! Requests from files: one JSON document on each line.
//!
//! A line is a request as it goes over the wire; or `{"request": …}` with the time and the facts it is to
//! be decided on; or a recorded session, `{"id": …, "suite": …, "calls": [{"tool": …, "args": …}]}`, whose
//! calls become requests one after the other.

use callgate_core::constraint::Kind;
use callgate_core::decide::Ask;
use callgate_core::digest::Digest;
use callgate_core::facts::Facts;
use callgate_core::json::Limits;
use callgate_core::request::Request;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::Credential;

/// The agent that the calls of a recorded session are asked by, if the session names none.
const AGENT: &str = "assistant";
/// The clock of what names no time: 2026-01-01T00:00:00Z.
const NO_TIME_MS: i64 = 1_767_225_600_000;
/// The longest line, in bytes.
const MAX_LINE: usize = 16 << 20;

/// Requests, and the lines that are none.
#[derive(Debug, Default)]
pub struct Corpus {
    pub(super) files: Vec<String>,
    pub(super) cases: Vec<Case>,
    pub(super) bad: Vec<BadLine>,
    digests: Vec<u8>,
}

/// A line that is no request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong, and what to write instead.
    pub problem: String,
}

/// One request.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) file: usize,
    pub(super) line: u64,
    pub(super) request: Box<Request>,
    pub(super) credential: Credential,
    pub(super) now_ms: i64,
    /// The facts to decide on, both before and now; without them each side lives its own life.
    pub(super) facts: Option<Facts>,
}

/// A request with what it is to be decided on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped<'a> {
    #[serde(borrow)]
    request: &'a RawValue,
    #[serde(default)]
    facts: Option<Facts>,
    #[serde(default)]
    time_ms: Option<i64>,
}

impl Corpus {
    /// Adds the lines of a file. Empty ones are passed over.
    pub fn add(&mut self, name: &str, text: &[u8]) {
        let file = self.files.len();
        self.files.push(name.to_owned());
        self.digests.extend_from_slice(Digest::of(text).as_bytes());
        for (line, bytes) in (1u64..).zip(text.split(|byte| *byte == b'\n')) {
            let bytes = bytes.trim_ascii();
            if !bytes.is_empty() {
                self.document(file, line, bytes);
            }
        }
    }

    /// Adds one document, which may have several lines.
    pub fn add_one(&mut self, name: &str, text: &[u8]) {
        let file = self.files.len();
        self.files.push(name.to_owned());
        self.digests.extend_from_slice(Digest::of(text).as_bytes());
        self.document(file, 1, text.trim_ascii());
    }

    fn document(&mut self, file: usize, line: u64, bytes: &[u8]) {
        let found = self.cases.len();
        if let Err(problem) = self.line(file, line, bytes) {
            self.cases.truncate(found);
            let file = self.files.get(file).cloned().unwrap_or_default();
            self.bad.push(BadLine { file, line, problem });
        }
    }

    /// The lines that are no requests.
    #[must_use]
    pub fn bad_lines(&self) -> &[BadLine] {
        &self.bad
    }

    /// How many requests there are.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.cases.len()
    }

    /// The digest of everything in the files, in the order they were added.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.digests)
    }

    fn line(&mut self, file: usize, line: u64, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() > MAX_LINE {
            return Err(format!("it is longer than {MAX_LINE} bytes"));
        }
        let whole: Value = serde_json::from_slice(bytes)
            .map_err(|e| format!("it is not JSON: {e}; write one request on each line"))?;
        if whole.get("calls").is_some_and(Value::is_array) {
            return self.session(file, line, &whole);
        }
        if whole.get("request").is_none() {
            self.cases.push(case(file, line, bytes, None, None)?);
            return Ok(());
        }
        let wrapped: Wrapped<'_> = serde_json::from_slice(bytes).map_err(|e| {
            format!("{e}; write `{{\"request\": …}}` with `time_ms` or `facts` beside it, and nothing else")
        })?;
        self.cases.push(case(file, line, wrapped.request.get().as_bytes(), wrapped.facts, wrapped.time_ms)?);
        Ok(())
    }

    fn session(&mut self, file: usize, line: u64, session: &Value) -> Result<(), String> {
        let text = |field: &str| session.get(field).and_then(Value::as_str);
        let id = text("id").map_or_else(|| format!("line-{line}"), str::to_owned);
        let calls = session.get("calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (number, call) in (1usize..).zip(calls) {
            let mut tool = json!({"name": call.get("tool").or_else(|| call.get("name"))});
            if let (Some(suite), Some(tool)) = (text("suite"), tool.as_object_mut()) {
                tool.insert("server".to_owned(), json!(suite));
            }
            let enforces: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
            let request = json!({
                "agent": {"id": text("agent").unwrap_or(AGENT)},
                "session": {"id": id},
                "tool": tool,
                "args": call.get("args").or_else(|| call.get("arguments")).unwrap_or(&json!({})),
                "pep": {"id": "simulation", "enforces": enforces},
            });
            let case = case(file, line, request.to_string().as_bytes(), None, None);
            self.cases.push(case.map_err(|problem| format!("call {number}: {problem}"))?);
        }
        Ok(())
    }
}

fn case(
    file: usize,
    line: u64,
    request: &[u8],
    facts: Option<Facts>,
    time_ms: Option<i64>,
) -> Result<Case, String> {
    let request = Request::parse(request, &Limits::REQUEST).map_err(|e| e.to_string())?;
    if let (Some(facts), Some(time_ms)) = (&facts, time_ms)
        && facts.now_ms != time_ms
    {
        return Err("`time_ms` and `facts.now_ms` differ; write one of them".to_owned());
    }
    let credential = facts.as_ref().map_or(Credential::Local, |facts| facts.credential.clone());
    let given = facts.as_ref().map(|facts| facts.now_ms).or(time_ms);
    let now_ms = given.or(request.ts_ms).unwrap_or(NO_TIME_MS);
    Ok(Case { file, line, request: Box::new(request), credential, now_ms, facts })
}

impl Case {
    pub(super) fn ask(&self) -> Ask {
        Ask::Request(self.request.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(text: &str) -> Corpus {
        let mut corpus = Corpus::default();
        corpus.add("c.jsonl", text.as_bytes());
        corpus
    }

    #[test]
    fn requests_wrapped_requests_and_sessions_are_read() {
        let corpus = corpus(concat!(
            r#"{"agent":{"id":"a"},"tool":{"name":"t"},"ts_ms":7}"#,
            "\n\r\n",
            r#"{"request":{"agent":{"id":"a"},"tool":{"name":"t"}},"time_ms":5}"#,
            "\n",
            r#"{"id":"s1","suite":"bank","calls":[{"tool":"pay","args":{"amount":5}},{"tool":"read","args":{},"critical":false}]}"#,
        ));
        assert_eq!(corpus.bad_lines(), []);
        let seen: Vec<(u64, &str, i64)> =
            corpus.cases.iter().map(|case| (case.line, case.request.action_name(), case.now_ms)).collect();
        assert_eq!(
            seen,
            [(1, "t", 7), (3, "t", 5), (4, "bank.pay", NO_TIME_MS), (4, "bank.read", NO_TIME_MS)]
        );
    }

    #[test]
    fn a_bad_line_is_named_with_what_to_write_and_the_others_stay() {
        let corpus = corpus(concat!(
            "nonsense\n",
            "{\"agent\":{\"id\":\"a\"},\"tool\":{\"name\":\"t\"}}\n",
            "{\"agent\":{\"id\":\"a\"},\"tool\":{\"name\":\"t\"},\"extra\":1}\n",
            "{\"request\":{\"agent\":{\"id\":\"a\"},\"tool\":{\"name\":\"t\"}},\"now\":1}\n",
            "{\"id\":\"s\",\"calls\":[{\"tool\":\"ok\",\"args\":{}},{\"args\":{}}]}\n",
            "\u{0}\n[[[\n",
        ));
        assert_eq!(corpus.requests(), 1);
        let bad: Vec<u64> = corpus.bad_lines().iter().map(|bad| bad.line).collect();
        assert_eq!(bad, [1, 3, 4, 5, 6, 7]);
        let problems: Vec<&str> = corpus.bad_lines().iter().map(|bad| bad.problem.as_str()).collect();
        assert!(problems[0].contains("write one request on each line"), "{problems:?}");
        assert!(problems[1].contains("extra"), "{problems:?}");
        assert!(problems[2].contains("`time_ms`"), "{problems:?}");
        assert!(problems[3].starts_with("call 2:"), "{problems:?}");
    }
}
