//! One call on the protected thing, and the words the suite's policy knows.

use callgate_core::json::Limits;
use callgate_core::request::Request;
use serde_json::{Value, json};

use crate::trouble::Trouble;

/// Who asks.
pub(crate) const AGENT: &str = "prover";
/// Who asks at `leased`: an agent of a low tier.
pub(crate) const LEASED: &str = "helper";
/// How many of its actions may run unchecked within ten minutes.
pub(crate) const UNCHECKED: u64 = 6;
/// The protected thing, as policy calls it.
pub(crate) const SERVER: &str = "vault";
/// What the suite's own enforcement points enforce.
pub(crate) const ENFORCES: [&str; 1] = ["max_runtime_ms"];

/// What may always run.
pub(crate) const PAY: &str = "pay";
/// What may never run.
pub(crate) const WIPE: &str = "wipe";
/// What runs once people agreed.
pub(crate) const SIGN: &str = "sign";
/// What may run once a day, by a policy about the past.
pub(crate) const LAST: &str = "last";

/// What a budget has room for once.
pub(crate) const SPEND: &str = "spend";
/// What a budget has room for 25 times.
pub(crate) const SAVE: &str = "save";
/// How often.
pub(crate) const SAVINGS: u64 = 25;
/// What a throttle lets run once an hour.
pub(crate) const BURST: &str = "burst";
/// What a breaker lets run once before it opens.
pub(crate) const TRIP: &str = "trip";

/// When in a case a call was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing is broken: what may run must run, or the case proves nothing.
    Control,
    /// Something is.
    Fault,
}

/// A call on the protected thing. `n` is in its arguments, so that an effect names its call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) n: u64,
    /// Who asks, where the point does not say so itself.
    pub(crate) agent: &'static str,
    pub(crate) tool: String,
    pub(crate) phase: Phase,
    pub(crate) args: Value,
    pub(crate) session: String,
    pub(crate) nonce: Option<String>,
}

impl Call {
    pub(crate) fn new(n: u64, tool: &str, phase: Phase) -> Self {
        Self {
            n,
            agent: AGENT,
            tool: tool.to_owned(),
            phase,
            args: json!({"amount": "1.00", "n": n.to_string()}),
            session: format!("s{}", n.checked_rem(4).unwrap_or(0)),
            nonce: Some(format!("n-{n}")),
        }
    }

    /// The wire form, asked at `now_ms`.
    pub(crate) fn bytes(&self, now_ms: i64) -> Vec<u8> {
        let mut request = json!({
            "agent": {"id": self.agent},
            "session": {"id": self.session},
            "tool": {"server": SERVER, "name": self.tool},
            "args": self.args,
            "pep": {"id": "prove", "enforces": ENFORCES},
        });
        if let (Some(nonce), Some(members)) = (&self.nonce, request.as_object_mut()) {
            members.insert("nonce".to_owned(), json!(nonce));
            members.insert("ts_ms".to_owned(), json!(now_ms));
        }
        request.to_string().into_bytes()
    }

    /// The same, read as the gate reads it.
    pub(crate) fn request(&self, now_ms: i64) -> Result<Request, Trouble> {
        parse(&self.bytes(now_ms))
    }
}

fn parse(bytes: &[u8]) -> Result<Request, Trouble> {
    Request::parse(bytes, &Limits::REQUEST).map_err(Trouble::at("the suite wrote a request that is none"))
}

/// The canonical action of what was done with the protected thing: what an allow's digest must be of.
pub(crate) fn action_of(tool: &str, args: &Value) -> Result<String, Trouble> {
    let request = json!({
        "agent": {"id": AGENT}, "tool": {"server": SERVER, "name": tool}, "args": args,
    });
    Ok(parse(request.to_string().as_bytes())?.action_bytes())
}
