//! Which methods of the client are decided, which pass, and that every other is refused.
//!
//! The table is the whole of it: a method nobody listed does not reach the server.

/// Methods that touch tools or data: each is one action and is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decided {
    /// `tools/call`: the tool's own name and arguments.
    Tool,
    /// `resources/read`: a tool of that name with the argument `uri`.
    Resource,
    /// `prompts/get`: a tool of that name with the arguments `name` and `arguments`.
    Prompt,
}

impl Decided {
    pub(crate) const ALL: [Self; 3] = [Self::Tool, Self::Resource, Self::Prompt];

    /// The method on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tools/call",
            Self::Resource => "resources/read",
            Self::Prompt => "prompts/get",
        }
    }
}

/// What becomes of a request of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Decided first.
    Decide(Decided),
    /// Passed on; the answer is filtered.
    List,
    /// Passed on.
    Pass,
    /// Not passed on.
    Refuse,
}

/// Requests that pass undecided: they set up, list, or follow up what was decided.
pub(crate) const PASS: [&str; 17] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "logging/setLevel",
    "subscriptions/listen",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/update",
    "tasks/cancel",
];

/// What becomes of a request for `method`.
pub(crate) fn fate(method: &str) -> Fate {
    if let Some(decided) = Decided::ALL.into_iter().find(|decided| decided.as_str() == method) {
        return Fate::Decide(decided);
    }
    match method {
        "tools/list" => Fate::List,
        known if PASS.contains(&known) => Fate::Pass,
        _ => Fate::Refuse,
    }
}

/// Whether a message without an id may pass. A server could run `tools/call` without one, too.
pub(crate) fn is_notification(method: &str) -> bool {
    method.starts_with("notifications/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_listed_is_refused() {
        assert_eq!(fate("tools/call"), Fate::Decide(Decided::Tool));
        assert_eq!(fate("tools/list"), Fate::List);
        assert_eq!(fate("ping"), Fate::Pass);
        for method in
            ["", "Tools/Call", "tools/call ", "tools/uninstall", "sampling/createMessage", "tasks/new"]
        {
            assert_eq!(fate(method), Fate::Refuse, "{method}");
        }
        assert!(Decided::ALL.iter().all(|decided| !PASS.contains(&decided.as_str())));
        assert!(!is_notification("tools/call"));
    }
}
