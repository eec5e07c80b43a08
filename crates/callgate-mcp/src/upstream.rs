//! The only way to the server. A message passes because its method is on the list of what passes, or
//! because a permit for it is spent; there is no third.

use callgate_core::constraint::Kind;
use callgate_gate::{Enforcement, Permit};

use crate::answer;
use crate::call::Call;
use crate::ledger::Ledger;
use crate::line::one_line;
use crate::message::{Id, Message};
use crate::method::{self, Fate};
use crate::outbox::Outbox;

/// A message that needs no permit. It can only be made of one whose method is not decided.
#[derive(Debug)]
pub(crate) struct PassThrough(String);

impl PassThrough {
    /// The line as it came, if `message`, which was read from it, may pass.
    pub(crate) fn of(line: &str, message: &Message<'_>) -> Option<Self> {
        let passes = match message {
            Message::Request { method, .. } => matches!(method::fate(method), Fate::Pass | Fate::List),
            Message::Notification { method, .. } => method::is_notification(method),
            Message::Response { .. } => true,
        };
        passes.then(|| Self(one_line(line).into_owned()))
    }

    /// The wrapper's own word that a request is called off.
    pub(crate) fn cancel(id: &Id, reason: &str) -> Self {
        Self(answer::cancelled(id.raw(), reason))
    }
}

/// Why a permitted call did not run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stopped {
    /// The permit does not cover it.
    #[error("it did not run: {0}.")]
    Permit(callgate_gate::PermitRefused),
    /// It failed too often.
    #[error(
        "it did not run: it failed {failed} time(s) in a row, and the policy permits {allowed} retries of a failed \
         action. Do not send it again unchanged."
    )]
    Retries {
        /// Failures in a row.
        failed: u64,
        /// `max_retries`.
        allowed: u64,
    },
}

/// The server's side.
#[derive(Debug)]
pub(crate) struct Upstream {
    out: Outbox,
}

impl Upstream {
    pub(crate) const fn new(out: Outbox) -> Self {
        Self { out }
    }

    /// Sends what needs no permit.
    pub(crate) fn pass(&self, message: PassThrough) {
        self.out.put(message.0);
    }

    /// Spends the permit on the call about to be sent, and sends it.
    ///
    /// # Errors
    /// [`Stopped`]; then nothing was sent.
    pub(crate) fn call(
        &self,
        permit: Permit,
        call: &Call,
        ledger: &Ledger,
        now_ms: i64,
    ) -> Result<Enforcement, Stopped> {
        let enforcement = permit.redeem(&call.request, now_ms).map_err(Stopped::Permit)?;
        if let Some(allowed) = enforcement.constraints().number(Kind::MaxRetries) {
            let may_run = ledger.may_run(call.request.action_digest(), allowed);
            may_run.map_err(|failed| Stopped::Retries { failed, allowed })?;
        }
        self.out.put(call.line());
        Ok(enforcement)
    }

    pub(crate) const fn out(&self) -> &Outbox {
        &self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decided_method_cannot_pass() {
        for (line, passes) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#, false),
            (r#"{"jsonrpc":"2.0","method":"tools/call","params":{}}"#, false),
            (r#"{"jsonrpc":"2.0","id":1,"method":"resources/read"}"#, false),
            (r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get"}"#, false),
            (r#"{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}"#, false),
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, true),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, true),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, true),
        ] {
            let message = Message::read(line).unwrap();
            assert_eq!(PassThrough::of(line, &message).is_some(), passes, "{line}");
        }
    }
}
