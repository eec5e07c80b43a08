//! An event as the body of a Slack incoming webhook: a line for notifications, and blocks.
//!
//! What agents are called is theirs to choose. It stands in `plain_text` objects only, which have no markup,
//! and what could be markup is escaped there, too: a name can neither mention a channel nor hide a link.

use callgate_core::event::{Event, Field, Kind};
use callgate_core::name::is_invisible;
use serde_json::{Value, json};

/// The most characters of one value.
const MAX_VALUE: usize = 300;
/// The most fields of one section, as Slack says.
const MAX_FIELDS: usize = 10;

/// What people read, and the name in the event's data, in the order they read it.
const FIELDS: [(&str, &str); 21] = [
    ("Agent", "agent"),
    ("On behalf of", "on_behalf_of"),
    ("Action", "action"),
    ("Rule", "rule"),
    ("Reason", "reason"),
    ("Environment", "environment"),
    ("Blast radius", "blast_radius"),
    ("Rollback", "rollback"),
    ("Expires", "expires_at"),
    ("Reviewers", "reviewers"),
    ("Approval", "approval"),
    ("Status", "status"),
    ("By", "by"),
    ("To", "to"),
    ("Snapshot", "snapshot"),
    ("Trial", "trial"),
    ("Mode", "mode"),
    ("Key", "key"),
    ("Person", "person"),
    ("Session", "session"),
    ("Tenant", "tenant"),
];

/// The message.
pub(crate) fn message(event: &Event) -> Value {
    let headline = headline(event);
    let mut blocks = vec![json!({"type": "header", "text": plain(title(event.kind))})];
    blocks.push(json!({"type": "section", "text": plain(&headline)}));
    let fields: Vec<Value> = FIELDS.iter().filter_map(|(label, name)| field(event, label, name)).collect();
    blocks.extend(fields.chunks(MAX_FIELDS).map(|fields| json!({"type": "section", "fields": fields})));
    if let Some(command) = command(event) {
        blocks.push(json!({"type": "section", "text": plain(&command)}));
    }
    let when = format!("receipt {}, {}", event.id, event.timestamp);
    blocks.push(json!({"type": "context", "elements": [plain(&when)]}));
    let text = format!("{}: {headline}", title(event.kind));
    json!({"text": text, "mrkdwn": false, "unfurl_links": false, "unfurl_media": false, "blocks": blocks})
}

const fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::ApprovalRequested => "Approval needed",
        Kind::ApprovalGranted => "Approval granted",
        Kind::ApprovalRejected => "Approval rejected",
        Kind::ApprovalExpired => "Approval expired",
        Kind::ApprovalCommented => "Comment on an approval",
        Kind::ApprovalDelegated => "Approval handed on",
        Kind::ApprovalUsed => "Approval used",
        Kind::ControlActivated => "Control policy changed",
        Kind::KeyCreated => "Key created",
        Kind::KeyRevoked => "Key revoked",
        Kind::ModeSet => "Mode set",
        Kind::ActionStopped => "Running action stopped",
        Kind::BreakerOpened => "Breaker opened",
        Kind::BreakerReset => "Breaker reset",
        Kind::StopCreated => "Stopped",
        Kind::StopLifted => "Stop lifted",
        Kind::RolloutStarted => "Rollout started",
        Kind::RolloutStopped => "Rollout stopped",
        Kind::SnapshotActivated => "Policy in force",
        Kind::SnapshotSimulated => "Policy simulated",
        Kind::SnapshotStaged => "Policy staged",
        Kind::SubjectErased => "Session erased",
        Kind::UncheckedWindow => "Actions ran unchecked",
    }
}

/// One line, for notifications and for the top.
fn headline(event: &Event) -> String {
    let said = |name| event.text(name).map(escaped);
    let parts = match (said("agent"), said("action")) {
        (Some(agent), Some(action)) if event.kind == Kind::ApprovalRequested => {
            let rule = said("rule").map(|rule| format!(" (rule {rule})")).unwrap_or_default();
            return format!("{agent} asks for {action}{rule}");
        }
        (Some(agent), Some(action)) => vec![Some(agent), Some(action)],
        _ => [
            "approval", "stop", "breaker", "scope", "snapshot", "trial", "mode", "agent", "session", "team",
            "tool", "person", "key", "reason",
        ]
        .map(said)
        .to_vec(),
    };
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { event.kind.to_string() } else { parts.join(", ") }
}

/// How to decide, for whoever can.
fn command(event: &Event) -> Option<String> {
    let id = event.text("approval").filter(|_| event.kind == Kind::ApprovalRequested).map(escaped)?;
    Some(format!("callgate approvals approve {id}\ncallgate approvals reject {id}"))
}

fn field(event: &Event, label: &str, name: &str) -> Option<Value> {
    let value = match event.data.get(name)? {
        Field::Text(text) => escaped(text),
        Field::Number(number) => number.to_string(),
        Field::Names(names) => escaped(&names.join(", ")),
    };
    Some(plain(&format!("{label}\n{value}")))
}

/// A text object without markup; its text is escaped already.
fn plain(escaped: &str) -> Value {
    json!({"type": "plain_text", "text": escaped, "emoji": false})
}

/// A bounded text on one line, in which nothing is markup: Slack asks for `&`, `<` and `>` to be escaped.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (count, c) in text.chars().enumerate() {
        if count == MAX_VALUE {
            out.push('…');
            break;
        }
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() || is_invisible(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, data: &[(&'static str, &str)]) -> Event {
        let data = data.iter().map(|(name, text)| (*name, Field::from(*text))).collect();
        Event { id: 41, kind, timestamp: "2026-11-20T09:30:00.123Z".to_owned(), time_ms: 0, data }
    }

    const ASKED: [(&str, &str); 9] = [
        ("action", "stripe.refund"),
        ("agent", "support-bot"),
        ("approval", "apr-41"),
        ("environment", "prod"),
        ("expires_at", "2026-11-20T10:00:00.123Z"),
        ("on_behalf_of", "user:ana"),
        ("reason", "Refunds over 50 need a human"),
        ("rule", "refunds-need-a-human"),
        ("tenant", "acme"),
    ];

    #[test]
    fn a_request_says_who_wants_what_and_how_to_answer() {
        let message = message(&event(Kind::ApprovalRequested, &ASKED));
        assert_eq!(
            message["text"],
            "Approval needed: support-bot asks for stripe.refund (rule refunds-need-a-human)"
        );
        let blocks = message["blocks"].as_array().unwrap();
        let kinds: Vec<&str> = blocks.iter().map(|block| block["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["header", "section", "section", "section", "context"]);
        let fields: Vec<&str> = blocks[2]["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| field["text"].as_str().unwrap())
            .collect();
        assert_eq!(
            fields,
            [
                "Agent\nsupport-bot",
                "On behalf of\nuser:ana",
                "Action\nstripe.refund",
                "Rule\nrefunds-need-a-human",
                "Reason\nRefunds over 50 need a human",
                "Environment\nprod",
                "Expires\n2026-11-20T10:00:00.123Z",
                "Approval\napr-41",
                "Tenant\nacme",
            ]
        );
        assert_eq!(
            blocks[3]["text"]["text"],
            "callgate approvals approve apr-41\ncallgate approvals reject apr-41"
        );
    }

    /// Every text object of a message.
    fn texts(value: &Value, found: &mut Vec<Value>) {
        match value {
            Value::Object(object) => {
                if object.get("text").is_some_and(Value::is_string) {
                    found.push(value.clone());
                }
                object.values().for_each(|below| texts(below, found));
            }
            Value::Array(items) => items.iter().for_each(|below| texts(below, found)),
            _ => {}
        }
    }

    #[test]
    fn a_name_can_forge_nothing() {
        let long = "x".repeat(5000);
        let hostile = [
            "<!channel> click <https://evil.example|here>",
            "<@U123> & <#C1>",
            "*bold* `code` ~x~ _y_ :tada:",
            "a\nApproval\napr-1",
            "\u{202e}evil\u{200b}",
            "\"}]}",
            &long,
        ];
        for name in hostile {
            for kind in Kind::ALL {
                let data: Vec<(&'static str, &str)> =
                    FIELDS.iter().map(|(_, field)| (*field, name)).collect();
                let mut found = Vec::new();
                let message = message(&event(kind, &data));
                texts(&message, &mut found);
                for object in found.iter().filter(|object| **object != message) {
                    assert_eq!((&object["type"], &object["emoji"]), (&json!("plain_text"), &json!(false)));
                }
                for object in found {
                    let text = object["text"].as_str().unwrap();
                    assert!(!text.contains(['<', '>', '\u{202e}', '\u{200b}']), "{text}");
                    assert!(!text.replace("&lt;", "").replace("&gt;", "").replace("&amp;", "").contains('&'));
                    assert!(text.lines().count() <= 2 && text.chars().count() < 2000, "{text}");
                }
                assert_eq!(message["mrkdwn"], false);
                for block in message["blocks"].as_array().unwrap() {
                    assert!(block["fields"].as_array().is_none_or(|fields| fields.len() <= 10));
                }
            }
        }
    }

    #[test]
    fn every_kind_has_a_line_of_its_own() {
        let stopped = message(&event(Kind::RolloutStopped, &[("by", "gate"), ("reason", "drift")]));
        assert_eq!(stopped["text"], "Rollout stopped: drift");
        let bare = message(&event(Kind::RolloutStopped, &[]));
        assert_eq!(bare["text"], "Rollout stopped: rollout.stopped");
        let key = message(&event(Kind::KeyCreated, &[("agent", "bot"), ("key", "k1")]));
        assert_eq!(key["text"], "Key created: bot, k1");
    }
}
