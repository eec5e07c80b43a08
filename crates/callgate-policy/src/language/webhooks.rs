//! The operator's file of webhooks, which is part of no bundle.

use callgate_core::event::Kind;
use callgate_core::fields::nearest;
use serde_json::{Value as Json, json};

use crate::codes::Code;
use crate::decode::{Duration, List, NameText, Patterns, Prose, Shape, Sink, Version};
use crate::syntax::Node;

record! {
    /// Who is told of what happens at the gate.
    struct WebhooksFile {
        /// The version of the language: `v1`.
        required version: Version,
        /// The receivers.
        required webhooks: List<WebhookText>,
    }
}

record! {
    /// One receiver.
    struct WebhookText {
        /// What the log calls it. Under another id it is another receiver.
        required id: NameText,
        /// For the people who maintain it.
        optional description: Prose,
        /// Its address; `https://`, or `http://` on this machine.
        optional url: Prose,
        /// The file that holds the address, for one that is a secret.
        optional url_file: Prose,
        /// The environment variable that holds the address.
        optional url_env: Prose,
        /// The file that holds the secret that events are signed with, `whsec_…`; two lines while it changes.
        optional secret_file: Prose,
        /// The environment variable that holds the secret.
        optional secret_env: Prose,
        /// The kinds of event it is told, such as `approval.*`.
        required events: Patterns,
        /// What it is told in; `callgate` unless written.
        optional format: FormatText,
        /// How long it may take to answer, up to a minute; 5s unless written.
        optional timeout: Duration,
        /// How old an event may get that it does not take, up to 30 days; 24h unless written.
        optional give_up: Duration,
    }
}

/// What a receiver is told in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WebhookFormat {
    /// `{"type", "timestamp", "data"}`, signed after Standard Webhooks.
    #[default]
    Callgate,
    /// A message for a Slack incoming webhook.
    Slack,
}

/// The words for [`WebhookFormat`].
pub(crate) struct FormatText;

impl Shape for FormatText {
    type Out = WebhookFormat;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<WebhookFormat> {
        match node.scalar().map(|text| text.text.as_str()) {
            Some("callgate") => Some(WebhookFormat::Callgate),
            Some("slack") => Some(WebhookFormat::Slack),
            Some(other) => {
                let shown: String = other.escape_debug().take(64).collect();
                let help = match nearest(other, ["callgate", "slack"].into_iter()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "write `callgate` or `slack`".to_owned(),
                };
                sink.add(Code::UnknownWord, node.span, format!("`{shown}` is not a format")).help(help);
                None
            }
            None => sink.wrong_type(node, "`callgate` or `slack`"),
        }
    }

    fn schema() -> Json {
        json!({"enum": ["callgate", "slack"]})
    }
}

/// The words of all kinds of event, for a message.
pub(crate) fn kinds() -> String {
    Kind::ALL.map(|kind| format!("`{kind}`")).join(", ")
}
