//! A point of the suite's own that was given a lease and hands in what it ran on it, for those who would write one.
//!
//! It is no point of this build and in no row of the report: it is there to slip, and to be caught.

use std::net::SocketAddr;

use callgate_core::request::DEFAULT_TENANT;
use callgate_gate::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::Answer;
use super::http::ask;
use crate::call::{Call, ENFORCES, LEASED};
use crate::ledger::Ledger;
use crate::trouble::Trouble;

/// Its name.
const NAME: &str = "prove";

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slip {
    /// Nothing.
    #[cfg_attr(not(test), expect(dead_code, reason = "the control of the self-test is a test of this crate"))]
    None,
    /// It writes nothing down.
    NoJournal,
    /// It does not count.
    Beyond,
    /// It leaves one record out.
    Hides,
    /// It says that it ran on a lease that is none.
    NoLease,
}

/// The point.
#[derive(Debug)]
pub(crate) struct Leaseholder {
    address: SocketAddr,
    ledger: Ledger,
    slip: Slip,
    lease: u64,
    most: usize,
    ran: usize,
    records: Vec<Value>,
}

impl Leaseholder {
    /// Asks for a lease.
    pub(crate) async fn leased(address: SocketAddr, ledger: Ledger, slip: Slip) -> Result<Self, Trouble> {
        let body = json!({
            "agent": LEASED, "enforces": ENFORCES, "nonce": "leaseholder", "point": NAME, "tenant": DEFAULT_TENANT,
        });
        let (_, answer) = ask(address, "/api/v1/enforcement-points/lease", &body.to_string())
            .await
            .map_err(Trouble::at("a lease"))?;
        let answer: Value = serde_json::from_slice(&answer).map_err(Trouble::at("a lease"))?;
        let lease = answer.get("receipt_index").and_then(Value::as_u64);
        let lease = lease.ok_or_else(|| Trouble::new(format!("the gate gave no lease: {answer}")))?;
        let most = usize::try_from(crate::call::UNCHECKED).unwrap_or(0);
        Ok(Self { address, ledger, slip, lease, most, ran: 0, records: Vec::new() })
    }

    /// Asks nobody, which is what comes of asking a gate that is away.
    pub(crate) async fn call(&mut self, call: &Call) -> Answer {
        let now_ms = SystemClock.now_ms();
        let asked = Call { agent: LEASED, ..call.clone() };
        let bytes = String::from_utf8(asked.bytes(now_ms)).unwrap_or_default();
        let decided = ask(self.address, "/api/v1/decide", &bytes).await;
        let (Err(away), Ok(request)) = (decided, serde_json::from_str::<Value>(&bytes)) else {
            return Answer::Silent("the gate was there".to_owned());
        };
        if self.ran >= self.most && self.slip != Slip::Beyond {
            return Answer::Refused(away);
        }
        self.ran = self.ran.saturating_add(1);
        let lease = if self.slip == Slip::NoLease { self.lease.saturating_add(1) } else { self.lease };
        self.records.push(json!({
            "at_ms": now_ms, "lease": lease, "request": request, "outcome": {"status": "succeeded"},
        }));
        match self.ledger.act(&call.tool, &call.args) {
            Ok(()) => Answer::RanUnchecked,
            Err(trouble) => Answer::Silent(trouble.to_string()),
        }
    }

    /// The gate is back.
    pub(crate) async fn hand_in(&mut self) -> Result<(), Trouble> {
        match self.slip {
            Slip::NoJournal => self.records.clear(),
            Slip::Hides => drop(self.records.pop()),
            Slip::None | Slip::Beyond | Slip::NoLease => {}
        }
        for (record, sequence) in self.records.iter_mut().zip(0u64..) {
            if let Some(members) = record.as_object_mut() {
                members.insert("sequence".to_owned(), sequence.into());
            }
        }
        let body = json!({
            "agent": LEASED, "complete": true, "journal": "leaseholder", "point": NAME, "records": self.records,
            "tenant": DEFAULT_TENANT,
        });
        let handed = ask(self.address, "/api/v1/unchecked", &body.to_string()).await;
        match handed.map_err(Trouble::at("the hand-in"))? {
            (200, _) => Ok(()),
            (status, answer) => {
                let said = String::from_utf8_lossy(&answer).into_owned();
                Err(Trouble::new(format!("the hand-in was answered {status}: {said}")))
            }
        }
    }
}
