//! What the wrapper itself says to the client, so that a model understands it and can go on.
//!
//! A refused tool call is a result with `isError`, which clients show to the model; methods whose
//! results cannot say so get a JSON-RPC error. Nothing the server said is quoted here.

use callgate_core::decision::{Code, Decision};
use callgate_gate::{Ground, Reply, StageReply, Unavailable};
use serde_json::{Map, Value, json};

use crate::line::one_line;
use crate::method::Decided;

/// JSON-RPC 2.0 section 5.1.
pub(crate) const PARSE_ERROR: i64 = -32700;
pub(crate) const INVALID_REQUEST: i64 = -32600;
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
pub(crate) const INVALID_PARAMS: i64 = -32602;
pub(crate) const INTERNAL_ERROR: i64 = -32603;
/// A read or a prompt that was not permitted: outside the range the protocol keeps for itself.
pub(crate) const NOT_PERMITTED: i64 = 403;

/// The prefix of everything this wrapper adds to `_meta`.
pub(crate) const META: &str = "callgate/";

/// A text for the model, and the same for programs.
#[derive(Debug)]
pub(crate) struct Answer {
    text: String,
    code: i64,
    meta: Map<String, Value>,
}

impl Answer {
    fn new(text: String, code: i64, meta: &[(&str, Value)]) -> Self {
        let meta = meta.iter().filter(|(_, value)| !value.is_null());
        let meta = meta.map(|(key, value)| (format!("{META}{key}"), value.clone())).collect();
        Self { text, code, meta }
    }

    /// The gate said no, not now, or not without a person.
    pub(crate) fn refused(action: &str, reply: &Reply) -> Self {
        let approval = reply.approval.as_ref().and_then(|approval| serde_json::to_value(approval).ok());
        let meta = [
            ("decision", json!(reply.decision)),
            ("code", json!(reply.code)),
            ("receipt_index", json!(reply.receipt_index)),
            ("matched_rule", json!(reply.matched_rule)),
            ("retry_after_ms", json!(reply.retry_after_ms)),
            ("approval", json!(approval)),
            ("snapshot", json!(reply.snapshot)),
        ];
        Self::new(refusal_text(action, reply), NOT_PERMITTED, &meta)
    }

    /// The gate could not decide.
    pub(crate) fn unavailable(action: &str, problem: &Unavailable) -> Self {
        let advice = if problem.retryable {
            "The same call can be sent again in a moment."
        } else {
            "Do not retry; tell the operator."
        };
        let text = format!(
            "`{action}` did not run: the gate could not decide, and nothing runs undecided.\n\
             Code: {}. {advice}",
            Code::GateUnavailable
        );
        Self::new(
            text,
            INTERNAL_ERROR,
            &[("decision", json!(Decision::Deny)), ("code", json!(Code::GateUnavailable))],
        )
    }

    /// The call could not be read, so there was nothing to decide.
    pub(crate) fn malformed(problem: &dyn std::fmt::Display) -> Self {
        let text = format!(
            "The call did not run: {problem}.\nCode: {}. Correct it before you send it again.",
            Code::InvalidRequest
        );
        Self::new(
            text,
            INVALID_PARAMS,
            &[("decision", json!(Decision::Deny)), ("code", json!(Code::InvalidRequest))],
        )
    }

    /// It was permitted, and the wrapper stopped it or lost sight of it.
    pub(crate) fn enforced(action: &str, what: &str, ground: Ground, status: &str) -> Self {
        let on = match ground {
            Ground::Receipt(receipt) => format!("Receipt: {receipt}."),
            Ground::Unchecked(record) => format!("The gate was away; record {record} of the journal."),
        };
        let text = format!("`{action}`: {what}\n{on}");
        let meta = [("receipt_index", json!(ground.receipt())), ("outcome", json!(status))];
        Self::new(text, INTERNAL_ERROR, &meta)
    }

    /// The line that answers request `id`.
    pub(crate) fn line(&self, id: &str, kind: Decided, modern: bool) -> String {
        if kind != Decided::Tool {
            return error_with(id, self.code, &self.text, Some(&Value::Object(self.meta.clone())));
        }
        let mut result = json!({
            "content": [{"type": "text", "text": self.text}],
            "isError": true,
            "_meta": self.meta,
        });
        if let (true, Some(members)) = (modern, result.as_object_mut()) {
            members.insert("resultType".to_owned(), json!("complete"));
        }
        result_line(id, &result.to_string())
    }
}

/// A response with a result that is JSON already.
pub(crate) fn result_line(id: &str, result: &str) -> String {
    one_line(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)).into_owned()
}

/// A response with a JSON-RPC error; `id` is JSON already, `null` when it cannot be told.
pub(crate) fn error(id: &str, code: i64, message: &str) -> String {
    error_with(id, code, message, None)
}

fn error_with(id: &str, code: i64, message: &str, data: Option<&Value>) -> String {
    let mut error = json!({"code": code, "message": message});
    if let (Some(data), Some(members)) = (data, error.as_object_mut()) {
        members.insert("data".to_owned(), data.clone());
    }
    one_line(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)).into_owned()
}

/// Tells the server that request `id` is called off.
pub(crate) fn cancelled(id: &str, reason: &str) -> String {
    let reason = json!(reason);
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":{reason}}}}}"#
    )
}

fn refusal_text(action: &str, reply: &Reply) -> String {
    let mut lines = vec![headline(action, reply.decision)];
    let code = reply.code.map_or_else(|| reply.decision.to_string(), |code| code.to_string());
    lines.push(format!("Decision: {}. Code: {code}.", reply.decision));
    for reason in reply.reasons.iter().filter(|reason| reason.code.is_some()).take(5) {
        let rule = reason.rule.as_ref().map(|rule| format!(" (rule `{rule}`)")).unwrap_or_default();
        lines.push(format!("Reason: {}{rule}.", reason.message.trim_end_matches('.')));
    }
    lines.push(advice(reply));
    if let Some(index) = reply.receipt_index {
        lines.push(format!("Receipt: {index}."));
    }
    lines.join("\n")
}

fn headline(action: &str, decision: Decision) -> String {
    match decision {
        Decision::RequireApproval => format!("`{action}` did not run: it is held until a person agrees."),
        Decision::Throttle => format!("`{action}` did not run: it was asked for too often."),
        _ => format!("`{action}` did not run: the policy denies it."),
    }
}

/// Who must agree, such as `1 of role:finance, then 2 of any reviewer`.
fn stages(stages: &[StageReply]) -> String {
    let one = |stage: &StageReply| match stage.reviewers.as_slice() {
        [] => format!("{} of any reviewer", stage.quorum),
        named => format!("{} of {}", stage.quorum, named.join(", ")),
    };
    stages.iter().map(one).collect::<Vec<_>>().join(", then ")
}

/// What to do next.
fn advice(reply: &Reply) -> String {
    match (reply.decision, &reply.approval, reply.retry_after_ms) {
        (Decision::RequireApproval, Some(approval), _) => {
            let id = approval.id.as_deref().unwrap_or("none yet");
            let who = stages(&approval.stages);
            format!(
                "Approval: {id}, needs {who}. Tell the user. Once it is approved, send the same call with the same arguments again: it goes on from there; another call needs another approval."
            )
        }
        (Decision::Throttle, _, Some(wait)) => {
            format!("Wait {wait} ms, then send the same call again.")
        }
        (Decision::Deny, ..) if reply.code == Some(Code::StaleTimestamp) => {
            "Send the call again; if this repeats, the clocks differ and the operator must correct them."
                .to_owned()
        }
        _ => "Do not retry this call: the answer will be the same. Find another way or tell the user."
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use callgate_core::rule::{ApprovalTerms, Stage};

    use super::*;

    fn reply(decision: Decision, code: Code) -> Reply {
        Reply {
            mode: None,
            would: None,
            decision,
            reason: Some("x".into()),
            code: Some(code),
            matched_rule: Some("r".into()),
            reasons: vec![callgate_gate::ReasonReply {
                code: Some(code),
                rule: Some("r".into()),
                source: None,
                message: "because\u{2028}.".into(),
            }],
            constraints: json!({}),
            approval: None,
            grant: None,
            retry_after_ms: None,
            expires_at_ms: 0,
            snapshot: "v1".into(),
            snapshot_digest: String::new(),
            receipt_index: Some(7),
            receipt: None,
            proof: None,
            salt: None,
        }
    }

    fn parsed(line: &str) -> Value {
        assert!(!line.contains(['\n', '\u{2028}']));
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn a_denial_is_a_result_a_model_can_read() {
        let answer = Answer::refused("files.move_file", &reply(Decision::Deny, Code::DeniedByRule));
        let found = parsed(&answer.line("\"a\"", Decided::Tool, false));
        let text = found["result"]["content"][0]["text"].as_str().unwrap();
        for part in [
            "files.move_file",
            "did not run",
            "DENIED_BY_RULE",
            "because",
            "rule `r`",
            "Receipt: 7",
            "Do not retry",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(found["result"]["isError"], true);
        assert_eq!(found["result"]["_meta"]["callgate/receipt_index"], 7);
        assert_eq!(found["result"]["_meta"]["callgate/code"], "DENIED_BY_RULE");
        assert!(found["result"].get("resultType").is_none());
        assert_eq!(parsed(&answer.line("1", Decided::Tool, true))["result"]["resultType"], "complete");
    }

    #[test]
    fn reads_and_prompts_are_refused_with_an_error() {
        let answer = Answer::refused("files.resources/read", &reply(Decision::Deny, Code::NoPolicyMatch));
        let found = parsed(&answer.line("1", Decided::Resource, false));
        assert_eq!(found["error"]["code"], NOT_PERMITTED);
        assert_eq!(found["error"]["data"]["callgate/receipt_index"], 7);
    }

    #[test]
    fn each_answer_says_what_to_do() {
        let mut held = reply(Decision::RequireApproval, Code::ApprovalRequired);
        let two = vec![Stage::of(["role:finance".to_owned()], 1), Stage::ANYONE];
        let terms = ApprovalTerms::in_stages(two, 5);
        held.approval = Some(callgate_gate::ApprovalReply::new(&terms, Some("apr-7".into()), 0));
        let found = parsed(&Answer::refused("t", &held).line("1", Decided::Tool, false));
        assert!(
            found["result"]["content"][0]["text"]
                .as_str()
                .unwrap()
                .contains("apr-7, needs 1 of role:finance, then 1 of any reviewer.")
        );
        assert_eq!(found["result"]["_meta"]["callgate/approval"]["id"], "apr-7");
        let mut throttled = reply(Decision::Throttle, Code::RateExceeded);
        throttled.retry_after_ms = Some(2000);
        let found = parsed(&Answer::refused("t", &throttled).line("1", Decided::Tool, false));
        assert!(found["result"]["content"][0]["text"].as_str().unwrap().contains("Wait 2000 ms"));
        assert_eq!(found["result"]["_meta"]["callgate/retry_after_ms"], 2000);
    }
}
