//! Calls that people must agree to first, or that come too often: they wait here for a while, and go on by
//! themselves.
//!
//! A call that waits has reached nobody. When people have decided, it is asked about again like any other
//! call, and meets its grant there; when they do not in time, the client gets a reference to come back with.
//! A client that gave a progress token hears of the waiting (MCP, *progress*), so that it can be patient.

use std::collections::HashMap;
use std::time::Duration;

use callgate_core::value::{Value, write_string};
use callgate_gate::{Reply, approval_number};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::call::{Call, Stamp};
use crate::message::Id;
use crate::relay::Relay;

/// A call that waits, for people or for its turn.
pub(crate) struct Held {
    call: Box<Call>,
    /// What the gate said.
    reply: Box<Reply>,
    waiting: AbortHandle,
}

/// How waiting ended, for the call with that key.
pub(crate) type Waited = (String, bool);

/// All calls that wait for people.
#[derive(Default)]
pub(crate) struct Holding(HashMap<String, Held>);

impl Holding {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Relay {
    /// Lets a held call wait for people, if there is time for that; gives it back if there is none.
    pub(crate) fn hold(&mut self, mut call: Box<Call>, reply: Box<Reply>) -> Option<(Box<Call>, Box<Reply>)> {
        let approval = reply.approval.as_ref().and_then(|approval| approval.id.as_deref());
        let now = Instant::now();
        let span = self.options.bounds.hold;
        let until = *call.held_until.get_or_insert(now.checked_add(span).unwrap_or(now));
        let Some(id) =
            approval.and_then(|id| approval_number(id).ok()).filter(|_| until > now && self.client_here())
        else {
            return Some((call, reply));
        };
        let key = call.id.key().to_owned();
        let (gate, credential) = (self.gate.clone(), self.options.credential.clone());
        let tell = self.options.bounds.progress;
        let teller = Teller::of(&call, id, span, tell);
        let (out, waited) = (self.client.clone(), key.clone());
        let waiting = self.waited.spawn(async move {
            let mut round = 0u64;
            loop {
                let next = Instant::now().checked_add(tell).unwrap_or(until).min(until);
                // Where that cannot be told, it is asked about again, and the gate says what is the matter.
                let open = gate.is_open_until(id, &credential, next).await.unwrap_or(false);
                if !open || Instant::now() >= until {
                    return (waited, !open);
                }
                round = round.saturating_add(1);
                if let Some(line) = teller.as_ref().map(|teller| teller.line(round)) {
                    out.put(line);
                }
            }
        });
        self.holding.0.insert(key, Held { call, reply, waiting });
        None
    }

    /// Lets a throttled call wait for its turn, if that comes soon enough; gives it back if it does not.
    pub(crate) fn put_off(
        &mut self,
        mut call: Box<Call>,
        reply: Box<Reply>,
    ) -> Option<(Box<Call>, Box<Reply>)> {
        let now = Instant::now();
        let until = now.checked_add(self.options.bounds.throttle).unwrap_or(now);
        let until = *call.throttled_until.get_or_insert(until);
        let turn = reply.retry_after_ms.and_then(|ms| now.checked_add(Duration::from_millis(ms)));
        let Some(turn) = turn.filter(|turn| *turn <= until && self.client_here()) else {
            return Some((call, reply));
        };
        let key = call.id.key().to_owned();
        let waited = key.clone();
        let waiting = self.waited.spawn(async move {
            tokio::time::sleep_until(turn).await;
            (waited, true)
        });
        self.holding.0.insert(key, Held { call, reply, waiting });
        None
    }

    /// People have decided, it is the call's turn, or time is over.
    pub(crate) fn waited(&mut self, waited: Result<Waited, tokio::task::JoinError>) {
        let Ok((key, decided)) = waited else { return };
        let Some(Held { mut call, reply, .. }) = self.holding.0.remove(&key) else { return };
        if decided && let Ok(nonce) = self.gate.nonce() {
            call.stamp(Stamp { nonce, now_ms: self.gate.now_ms() });
            self.waiting.push_back(call);
            return;
        }
        self.pending.remove(&call.id);
        self.answer(&call, &Answer::refused(call.request.action_name(), &reply));
    }

    /// The client calls off a call that waits for people.
    pub(crate) fn forget_held(&mut self, id: &Id) {
        if let Some(held) = self.holding.0.remove(id.key()) {
            held.waiting.abort();
            self.pending.remove(id);
        }
    }

    /// Nobody is there any more to wait for: each call is answered with a reference to come back with.
    pub(crate) fn give_up_held(&mut self) {
        for (_, Held { call, reply, waiting }) in std::mem::take(&mut self.holding.0) {
            waiting.abort();
            self.pending.remove(&call.id);
            self.answer(&call, &Answer::refused(call.request.action_name(), &reply));
        }
    }
}

/// Tells a client that its call still waits.
struct Teller {
    /// The client's own token, as JSON.
    token: String,
    approval: u64,
    rounds: u128,
}

impl Teller {
    fn of(call: &Call, approval: u64, span: Duration, tell: Duration) -> Option<Self> {
        let token = call.progress_token()?;
        if !matches!(token, Value::Str(_) | Value::Int(_)) {
            return None;
        }
        let rounds = span.as_millis().checked_div(tell.as_millis()).unwrap_or(0).max(1);
        Some(Self { token: token.canonical(), approval, rounds })
    }

    fn line(&self, round: u64) -> String {
        let mut message = String::new();
        let said = format!("held until people agree: approval apr-{}", self.approval);
        write_string(&said, &mut message);
        let Self { token, rounds, .. } = self;
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"message":{message},"progress":{round},"progressToken":{token},"total":{rounds}}}}}"#
        )
    }
}
