//! What a receipt says was decided: the few fields that a simulation compares with, read without copying.

use std::borrow::Cow;

use callgate_core::decision::Decision;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
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
    /// What ran unchecked counts as what would have been decided.
    #[serde(deserialize_with = "decided")]
    pub(super) decision: Decision,
    pub(super) issued_at_ms: i64,
    #[serde(borrow, default)]
    matched_rule: Option<Text<'a>>,
    #[serde(borrow, default)]
    session: Option<Session<'a>>,
    #[serde(borrow)]
    snapshot: Snapshot<'a>,
    #[serde(default)]
    unchecked: Option<IgnoredAny>,
    #[serde(borrow, default)]
    would: Option<Would<'a>>,
}

/// What enforcement of everything would have answered, where that is something else.
#[derive(Debug, Deserialize)]
struct Would<'a> {
    #[serde(borrow, default)]
    code: Option<Text<'a>>,
    decision: Decision,
    #[serde(borrow, default)]
    matched_rule: Option<Text<'a>>,
}

/// The word of an action that nobody decided.
const UNCHECKED: &str = "UNCHECKED";

fn decided<'de, D: Deserializer<'de>>(from: D) -> Result<Decision, D::Error> {
    let word = Cow::<'de, str>::deserialize(from)?;
    if word == UNCHECKED {
        Ok(Decision::Deny)
    } else {
        word.parse().map_err(|()| D::Error::custom("no decision"))
    }
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
        let mut recorded = payload.predicate;
        if recorded.unchecked.is_some()
            && let Some(would) = recorded.would.take()
        {
            (recorded.code, recorded.decision) = (would.code, would.decision);
            recorded.matched_rule = would.matched_rule;
        }
        Ok(recorded)
    }

    pub(super) fn agent(&self) -> &str {
        &self.agent.id.0
    }

    pub(super) fn session(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.id.0.as_ref())
    }

    /// Whether it ran unchecked: of what would have been decided, constraints and monitored rules are not recorded.
    pub(super) const fn ran_unchecked(&self) -> bool {
        self.unchecked.is_some()
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
