//! What a receipt says was decided: the few fields that a simulation compares with, read without copying.

use std::borrow::Cow;

use callgate_core::decision::Decision;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Text that is borrowed where the payload has no escapes in it.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A decision receipt's payload, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    predicate: Recorded<'a>,
}

/// A recorded decision.
#[derive(Debug, Deserialize)]
pub(super) struct Recorded<'a> {
    #[serde(borrow)]
    action: Action<'a>,
    #[serde(borrow)]
    agent: Agent<'a>,
    #[serde(borrow, default)]
    code: Option<Text<'a>>,
    /// As canonical JSON.
    #[serde(borrow)]
    pub(super) constraints: &'a RawValue,
    pub(super) decision: Decision,
    pub(super) issued_at_ms: i64,
    #[serde(borrow, default)]
    matched_rule: Option<Text<'a>>,
    #[serde(borrow, default)]
    session: Option<Session<'a>>,
    #[serde(borrow)]
    snapshot: Snapshot<'a>,
    #[serde(default)]
    would: Option<Would>,
}

/// What enforcement of everything would have answered, where that is something else.
#[derive(Debug, Deserialize)]
struct Would {
    decision: Decision,
}

#[derive(Debug, Deserialize)]
struct Action<'a> {
    #[serde(borrow, default)]
    function: Option<Text<'a>>,
    #[serde(borrow, default)]
    server: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool: Option<Text<'a>>,
    #[serde(borrow, default)]
    topic: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct Agent<'a> {
    #[serde(borrow)]
    id: Text<'a>,
}

#[derive(Debug, Deserialize)]
struct Session<'a> {
    #[serde(borrow)]
    id: Text<'a>,
}

#[derive(Debug, Deserialize)]
struct Snapshot<'a> {
    #[serde(borrow)]
    version: Text<'a>,
}

impl<'a> Recorded<'a> {
    /// Reads the payload of a decision receipt.
    pub(super) fn read(payload: &'a [u8]) -> Result<Self, String> {
        let payload: Payload<'a> = serde_json::from_slice(payload).map_err(|e| e.to_string())?;
        Ok(payload.predicate)
    }

    pub(super) fn agent(&self) -> &str {
        &self.agent.id.0
    }

    pub(super) fn session(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.id.0.as_ref())
    }

    /// The version that decided, such as `v42`.
    pub(super) fn version(&self) -> &str {
        &self.snapshot.version.0
    }

    /// What would have been answered if everything were enforced.
    pub(super) fn enforced(&self) -> Decision {
        self.would.as_ref().map_or(self.decision, |would| would.decision)
    }

    /// Whether the gate decided about itself, by the policy of its own controls.
    pub(super) fn is_control(&self) -> bool {
        self.version().starts_with('c')
    }

    /// The rule that decided, else the code.
    pub(super) fn ground(&self) -> String {
        let rule = self.matched_rule.as_ref().or(self.code.as_ref());
        rule.map_or_else(|| self.decision.as_str().to_owned(), |text| text.0.clone().into_owned())
    }

    /// What the action is called; as [`callgate_log::statement::Action::identity`] says it.
    pub(super) fn tool(&self) -> Cow<'_, str> {
        let action = &self.action;
        match (&action.server, &action.tool) {
            (Some(server), Some(tool)) => Cow::Owned(format!("{}.{}", server.0, tool.0)),
            (None, Some(tool)) => Cow::Borrowed(tool.0.as_ref()),
            _ => action
                .topic
                .as_ref()
                .or(action.function.as_ref())
                .map_or(Cow::Borrowed("unknown"), |text| Cow::Borrowed(text.0.as_ref())),
        }
    }
}
