//! What an enforcement point may run while the gate is away, and what must be said of what it ran.

use crate::call::Call;
use crate::numbers::{AWAY, AWAY_TOOLS, AWAY_WINDOW, LEASE};
use crate::reference::End;

/// An action that ran unchecked, as the point wrote it down.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) call: Call,
    pub(crate) at: i64,
    /// The lease it ran on.
    pub(crate) lease: u64,
    pub(crate) end: Option<End>,
}

struct Lease {
    receipt: u64,
    until: i64,
    most: i64,
}

/// One point of one agent.
#[derive(Default)]
pub(crate) struct Leases {
    newest: Option<Lease>,
    /// When each action ran that was handed in, in the journal that goes on and in all.
    journal: Vec<i64>,
    all: Vec<i64>,
}

impl Leases {
    /// How many actions the next lease is for.
    pub(crate) fn room(&self, now: i64) -> i64 {
        let ran = self.all.iter().filter(|at| **at + AWAY_WINDOW > now).count();
        (AWAY - i64::try_from(ran).expect("few")).max(0)
    }

    pub(crate) fn granted(&mut self, receipt: u64, now: i64) {
        self.newest = Some(Lease { receipt, until: now + LEASE, most: self.room(now) });
    }

    /// The lease that the point has; 0 for none.
    pub(crate) fn newest(&self) -> u64 {
        self.newest.as_ref().map_or(0, |lease| lease.receipt)
    }

    /// One more was handed in: why it was beyond its lease, if it was.
    pub(crate) fn took_in(&mut self, record: &Record) -> Option<&'static str> {
        let why = self.beyond(record);
        self.journal.push(record.at);
        self.all.push(record.at);
        why
    }

    fn beyond(&self, record: &Record) -> Option<&'static str> {
        let lease = match &self.newest {
            Some(lease) if record.lease <= lease.receipt => lease,
            _ => return Some("no_lease"),
        };
        let ran = self.journal.iter().filter(|at| **at + AWAY_WINDOW > record.at).count();
        if record.at > lease.until {
            Some("time")
        } else if !AWAY_TOOLS.contains(&record.call.tool) {
            Some("tool")
        } else {
            (i64::try_from(ran).expect("few") >= lease.most).then_some("count")
        }
    }

    /// Its window is over; the next journal begins.
    pub(crate) fn closed(&mut self) {
        self.journal.clear();
    }
}
