//! The session: what the agent asks, what the gate must say, and what must have become of the files.

use std::ffi::OsString;

use callgate_log::statement::{Body, ConstraintValue, Decision};
use callgate_store::StoredReceipt;
use serde_json::{Value, json};

use super::client::Client;
use super::server::Server;
use super::{Place, unexpected, world};
use crate::evidence::{self, Evidence};
use crate::failure::Failure;
use crate::output::{self, Paint, plain};

/// One call of the agent.
struct Call {
    /// What it wants, for people.
    wish: &'static str,
    tool: &'static str,
    /// Arguments; values that begin with `/` are below the folder of files.
    args: &'static [(&'static str, &'static str)],
    decision: &'static str,
    code: Option<&'static str>,
    /// A file and what it must hold after the call; `None` for a file that must not exist.
    after: (&'static str, Option<&'static str>),
    /// What that shows.
    shows: &'static str,
}

const PLAN: &str = "1. Ask. 2. Wait for the answer. 3. Act.\n";

const CALLS: &[Call] = &[
    Call {
        wish: "read notes.txt",
        tool: "read_text_file",
        args: &[("path", "/notes.txt")],
        decision: "ALLOW",
        code: None,
        after: ("notes.txt", Some("Call the plumber on Monday.\n")),
        shows: "it ran",
    },
    Call {
        wish: "write plan.txt",
        tool: "write_file",
        args: &[("path", "/plan.txt"), ("content", PLAN)],
        decision: "ALLOW_WITH_CONSTRAINTS",
        code: None,
        after: ("plan.txt", Some(PLAN)),
        shows: "it ran, within bounds; the file is there",
    },
    Call {
        wish: "list the whole tree",
        tool: "directory_tree",
        args: &[("path", "/")],
        decision: "THROTTLE",
        code: Some("RATE_EXCEEDED"),
        after: ("plan.txt", Some(PLAN)),
        shows: "it did not run",
    },
    Call {
        wish: "move report.txt away",
        tool: "move_file",
        args: &[("source", "/report.txt"), ("destination", "/gone.txt")],
        decision: "REQUIRE_APPROVAL",
        code: Some("APPROVAL_REQUIRED"),
        after: ("report.txt", Some("Revenue rose by 4 % in the third quarter.\n")),
        shows: "held: the file is still there",
    },
    Call {
        wish: "edit the archive",
        tool: "edit_file",
        args: &[("path", "/archive/2024.txt")],
        decision: "DENY",
        code: Some("DENIED_BY_RULE"),
        after: ("archive/2024.txt", Some("Closed books.\n")),
        shows: "the file is unchanged",
    },
    Call {
        wish: "read secrets.env",
        tool: "read_text_file",
        args: &[("path", "/secrets.env")],
        decision: "DENY",
        code: Some("DENIED_BY_RULE"),
        after: ("secrets.env", Some("TOKEN=correct-horse-battery-staple\n")),
        shows: "the agent saw nothing of it",
    },
    Call {
        wish: "delete notes.txt",
        tool: "delete_file",
        args: &[("path", "/notes.txt")],
        decision: "DENY",
        code: Some("DENIED_BY_RULE"),
        after: ("notes.txt", Some("Call the plumber on Monday.\n")),
        shows: "the file is still there",
    },
    Call {
        wish: "use an unknown tool",
        tool: "run_shell",
        args: &[("command", "rm -rf .")],
        decision: "DENY",
        code: Some("NO_POLICY_MATCH"),
        after: ("report.txt", Some("Revenue rose by 4 % in the third quarter.\n")),
        shows: "what no rule speaks of is denied",
    },
];

/// The agent behind the gate, and the log beside it.
pub(super) struct Stage<'a> {
    place: &'a Place,
    client: Client,
    paint: Paint,
}

impl<'a> Stage<'a> {
    /// Puts the gate in front of the server and says what is where.
    pub(super) fn open(place: &'a Place, server: &Server) -> Result<Self, Failure> {
        let paint = Paint::stdout();
        if let Some(missing) = &server.missing {
            output::line(&format!("{} {missing}", paint.yellow("missing")))?;
        }
        let mut client = Client::start(&arguments(place, server), place.said.clone())?;
        let tools = client.request("tools/list", &json!({}))?;
        let tools = tools.get("tools").and_then(Value::as_array).map_or(0, Vec::len);
        let field =
            |name: &str, text: &str| output::line(&format!("{}  {text}", paint.dim(&format!("{name:<7}"))));
        field("policy", "examples/quickstart, a folder of YAML that lives beside the agents' code")?;
        field("server", &server.title)?;
        field(
            "agent",
            &format!("`demo-agent` speaks MCP and sees {tools} tools; each call passes `callgate mcp`"),
        )?;
        Ok(Self { place, client, paint })
    }

    /// Plays every call and holds what happened against what must happen.
    pub(super) fn play(&mut self) -> Result<(), Failure> {
        let head = format!(
            "\n{:>7}  {:<24} {:<40} what became of it",
            "receipt", "the agent wants to", "the gate decides"
        );
        output::line(&self.paint.bold(&head))?;
        CALLS.iter().try_for_each(|call| self.call(call))
    }

    fn call(&mut self, call: &Call) -> Result<(), Failure> {
        let params = json!({"name": call.tool, "arguments": self.arguments(call)});
        let result = self.client.request("tools/call", &params)?;
        let index = result.pointer("/_meta/callgate~1receipt_index").and_then(Value::as_u64);
        let index = index
            .ok_or_else(|| unexpected(format!("`{}` was answered without a receipt: {result}", call.tool)))?;
        let decision = self.decision(index)?;
        self.check(call, &result, &decision)?;
        let word = self.paint.decision(&format!("{:<22}", decision.decision.as_str()));
        let why = decision.code.clone().unwrap_or_else(|| bounds(&decision));
        output::line(&format!("{index:>7}  {:<24} {word} {:<17} {}", call.wish, plain(&why), call.shows))?;
        let Some(reason) = decision.reasons.iter().find(|reason| reason.code != "ALLOW") else {
            return Ok(());
        };
        let place = reason.source.as_ref().map(|source| format!(" ({})", plain(source))).unwrap_or_default();
        output::line(&self.paint.dim(&format!("{:>34}{}{place}", "", plain(&reason.message))))
    }

    fn arguments(&self, call: &Call) -> Value {
        let below = |text: &str| match text.strip_prefix('/') {
            Some(path) => self.place.work.join(path).display().to_string().trim_end_matches('/').to_owned(),
            None => text.to_owned(),
        };
        let mut args: serde_json::Map<String, Value> =
            call.args.iter().map(|(key, text)| ((*key).to_owned(), json!(below(text)))).collect();
        if call.tool == "edit_file" {
            args.insert("edits".to_owned(), json!([{"oldText": "Closed", "newText": "Cooked"}]));
        }
        Value::Object(args)
    }

    /// The decision as the log has it, read beside the running gate.
    fn decision(&self, index: u64) -> Result<Decision, Failure> {
        let receipt = receipt(self.place, index)?;
        match evidence::statement(&receipt, None)?.body() {
            Body::Decision(decision) => Ok(decision.as_ref().clone()),
            _ => Err(unexpected(format!("receipt {index} is no decision"))),
        }
    }

    fn check(&self, call: &Call, result: &Value, decision: &Decision) -> Result<(), Failure> {
        let (word, code) = (decision.decision.as_str(), decision.code.as_deref());
        if (word, code) != (call.decision, call.code) {
            return Err(unexpected(format!(
                "`{}` was decided {word} {code:?}, not {}",
                call.wish, call.decision
            )));
        }
        let refused = result.get("isError").and_then(Value::as_bool).unwrap_or(false);
        if refused == decision.decision.permits() {
            return Err(unexpected(format!("`{}`, decided {word}, was answered with {result}", call.wish)));
        }
        if result.to_string().contains("correct-horse") {
            return Err(unexpected("the agent saw the secret"));
        }
        let (file, expected) = call.after;
        let found = world::now(&self.place.work, file);
        if found.as_deref() != expected {
            return Err(unexpected(format!("after `{}`, `{file}` holds {found:?}", call.wish)));
        }
        Ok(())
    }

    /// The agent leaves; the wrapper records what is left to record.
    pub(super) fn close(self) -> Result<(), Failure> {
        self.client.leave()?;
        match world::now(&self.place.work, "report.txt").as_deref() == Some(world::original("report.txt")) {
            true => Ok(()),
            false => Err(unexpected("`report.txt` changed although nobody agreed")),
        }
    }
}

/// The bounds of an allow, in short.
fn bounds(decision: &Decision) -> String {
    let short = |(kind, value): (&str, &ConstraintValue)| match (kind, value) {
        ("max_runtime_ms", ConstraintValue::Int(ms)) => {
            format!("{} s", ms.get().checked_div(1000).unwrap_or_default())
        }
        ("max_retries", ConstraintValue::Int(number)) => counted_retries(number.get()),
        (kind, _) => kind.to_owned(),
    };
    decision.constraints.iter().map(short).collect::<Vec<_>>().join(", ")
}

fn counted_retries(number: i64) -> String {
    if number == 1 { "1 retry".to_owned() } else { format!("{number} retries") }
}

fn receipt(place: &Place, index: u64) -> Result<StoredReceipt, Failure> {
    let mut reader = Evidence::open(&place.data)?.reader();
    while let Some(group) = evidence::next(&mut reader)? {
        if let Some(found) = group.into_iter().find(|receipt| receipt.index == index) {
            return Ok(found);
        }
    }
    Err(unexpected(format!("receipt {index} was named and is not in the log")))
}

fn arguments(place: &Place, server: &Server) -> Vec<OsString> {
    let mut args: Vec<OsString> =
        ["mcp", "--hold", "1ms", "--server", "files", "--agent", "demo-agent", "--bundle"]
            .map(Into::into)
            .into();
    args.extend([place.bundle.clone().into(), "--data".into(), place.data.clone().into(), "--".into()]);
    args.push(server.program.clone());
    args.extend(server.args.iter().cloned());
    args.push(place.work.clone().into());
    args
}
