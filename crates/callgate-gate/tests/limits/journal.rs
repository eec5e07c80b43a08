//! The enforcement point of a life: it runs actions while the gate is away, and hands its journal in.

use std::sync::Arc;

use callgate_gate::{
    Backlog, BacklogOutcome, BacklogRecord, ControlError, Credential, FailWord, Gate, LeaseRequest,
};
use serde_json::value::RawValue;

use crate::call::{Call, team_of};
use crate::kit::says;
use crate::leases::Record;
use crate::life::{Life, status};
use crate::reference::End;

/// What ran, and what the gate has of it.
#[derive(Default)]
pub(crate) struct Journal {
    number: u64,
    records: Vec<Record>,
    receipts: Vec<u64>,
}

/// The agent that may run something while the gate is away.
pub(crate) const LOW: u8 = 2;

pub(crate) fn low() -> Credential {
    let team = Some(team_of(LOW).to_owned());
    Credential::Agent { agent: format!("bot-{LOW}"), tenant: "default".to_owned(), team }
}

pub(crate) fn asked() -> LeaseRequest {
    LeaseRequest {
        agent: format!("bot-{LOW}"),
        enforces: ["max_runtime_ms".to_owned()].into(),
        holds: None,
        nonce: "once".to_owned(),
        point: "p".to_owned(),
        team: None,
        tenant: "default".to_owned(),
    }
}

/// These records as they are handed in, the first of them at that place of the journal.
pub(crate) fn backlog(journal: u64, first: usize, records: &[Record], complete: bool) -> Backlog {
    let record = |(sequence, record): (u64, &Record)| BacklogRecord {
        at_ms: record.at,
        lease: record.lease,
        outcome: record.end.map(|end| BacklogOutcome {
            finished_at_ms: None,
            result_sha256: None,
            status: status(end),
        }),
        request: RawValue::from_string(String::from_utf8(record.call.bytes(record.at)).expect("text"))
            .expect("JSON"),
        sequence,
    };
    Backlog {
        agent: format!("bot-{LOW}"),
        complete,
        damaged_bytes: 0,
        journal: format!("j{journal}"),
        point: "p".to_owned(),
        records: (u64::try_from(first).expect("few")..).zip(records).map(record).collect(),
        tenant: "default".to_owned(),
    }
}

/// How many actions the lease with that receipt is for.
pub(crate) fn most(gate: &Gate, lease: u64) -> i64 {
    says(gate, lease, "/details/max_actions").expect("a lease").parse().expect("a number")
}

impl Life {
    pub(crate) async fn lease(&mut self) {
        let (now, before) = (self.now(), self.gate.size());
        let reply = self.gate.lease(asked(), &low()).await.expect("an answer");
        let stopped = self.reference.stops.values().any(|scope| scope.covers_part_of(LOW));
        let blocked = self.reference.breakers.concern(LOW);
        let room = if stopped || blocked { 0 } else { self.reference.leases.room(now) };
        let Some(receipt) = reply.receipt_index else {
            assert_eq!((room, self.gate.size()), (0, before), "{:?}", reply.reason);
            assert_eq!(reply.fail_mode, FailWord::Closed);
            let why = if blocked { "a breaker" } else { "used up" };
            self.reach(format!("no lease: {}", if stopped { "stopped" } else { why }));
            return;
        };
        assert!(!stopped && !blocked, "a lease for what is stopped");
        assert_eq!(most(&self.gate, receipt), room);
        self.reference.leases.granted(receipt, now);
    }

    pub(crate) fn run_away(&mut self, call: Call, end: Option<End>) {
        let (at, lease) = (self.now(), self.reference.leases.newest());
        self.journal.records.push(Record { call, at, lease, end });
    }

    /// A part of the journal, which may be known, or come too early; with its end the next one begins.
    pub(crate) async fn hand_in(&mut self, from: usize, to: usize, complete: bool) {
        let Journal { number, records, receipts } = &self.journal;
        let (len, known, number) = (records.len(), receipts.len(), *number);
        if len == 0 {
            return;
        }
        let from = from % len;
        let to = if complete { len } else { from + 1 + to % (len - from) };
        let (now, before) = (self.now(), self.gate.size());
        let mut part: Vec<Record> = records.get(from..to).expect("a part").to_vec();
        // Whether an outcome is still taken after so long, its answer does not say.
        for (record, receipt) in part.iter_mut().zip(receipts.get(from..).unwrap_or_default()) {
            record.end = record.end.filter(|_| self.reference.expects(*receipt, now).is_some());
        }
        let gate = Arc::clone(&self.gate);
        let handed = gate.reconcile(backlog(number, from, &part, complete), &low()).await;
        if from > known {
            assert!(matches!(handed, Err(ControlError::Invalid(_))), "{handed:?}");
            assert_eq!(self.gate.size(), before);
            self.reach("handed in too early");
            return;
        }
        let reply = handed.expect("taken in");
        assert_eq!((reply.receipts.len(), reply.closed), (part.len(), complete));
        for ((at, record), receipt) in (from..).zip(&part).zip(reply.receipts) {
            match self.journal.receipts.get(at) {
                Some(known) => {
                    assert_eq!(*known, receipt, "it is there already");
                    self.reach("handed in again");
                }
                None => self.taken_in(record, receipt, now),
            }
            if let Some(end) = record.end.filter(|_| self.reference.expects(receipt, now) == Some(true)) {
                self.reference.ended(receipt, end, None, now);
            }
        }
        if complete {
            self.close(number, now).await;
        }
    }

    fn taken_in(&mut self, record: &Record, receipt: u64, now: i64) {
        self.journal.receipts.push(receipt);
        assert!(self.unchecked.insert(receipt), "one receipt for two");
        let (would, why) = self.reference.took_in(record, self.numbers, now, receipt);
        assert_eq!(says(&self.gate, receipt, "/unchecked/exceeded").as_deref(), why, "{record:?}");
        let said = says(&self.gate, receipt, "/would/decision").expect("what it would have been");
        assert!(would.is_none_or(|would| would == said.starts_with("ALLOW")), "{record:?}: {said}");
        self.reach(format!("beyond {}", why.unwrap_or("nothing")));
    }

    /// Nothing more is taken of a journal whose window is over, and the same once more changes nothing.
    async fn close(&mut self, number: u64, now: i64) {
        let mut records = std::mem::take(&mut self.journal.records);
        records.iter_mut().for_each(|record| record.end = None);
        let size = self.gate.size();
        let again = self.gate.reconcile(backlog(number, 0, &records, true), &low()).await.expect("known");
        assert_eq!(again.receipts, self.journal.receipts);
        let more = backlog(number, records.len(), records.get(..1).expect("a record"), true);
        self.gate.reconcile(more, &low()).await.expect_err("its window is over");
        assert_eq!(self.gate.size(), size);
        self.journal = Journal { number: number + 1, ..Journal::default() };
        self.reference.leases.closed();
        self.reference.seen(now);
    }
}
