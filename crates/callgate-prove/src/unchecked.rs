//! What the log says of actions that ran while nobody could decide, held against the leases it granted for that.
//!
//! The judge believes neither the enforcement point nor what the gate concluded of its journal: it counts again.

use std::collections::{BTreeMap, BTreeSet};

use callgate_log::hash::domain;
use callgate_log::statement::{Admin, Decision};
use callgate_log::{Hash, salted};

use crate::audit::{ON_THE_WAY_MS, Opened};
use crate::call::{LEASED, SERVER, action_of};
use crate::ledger::Effect;

/// How long after its record was written an action may begin, in milliseconds.
const PERMIT_MS: i64 = 10_000;
/// How far two programs on one machine are apart in reading its clock, in milliseconds.
const APART_MS: i64 = 100;

/// A lease that the log holds.
#[derive(Debug)]
struct Lease {
    agent: String,
    tenant: String,
    point: String,
    issued_ms: i64,
    expires_ms: i64,
    most: u64,
    window_ms: i64,
    tools: Option<Vec<String>>,
}

impl Lease {
    fn read(admin: &Admin) -> Option<Self> {
        let text = |name: &str| admin.details.get(name).cloned();
        Some(Self {
            agent: text("agent")?,
            tenant: text("tenant")?,
            point: text("point")?,
            issued_ms: admin.issued_at_ms.get(),
            expires_ms: text("expires_at_ms")?.parse().ok()?,
            most: text("max_actions")?.parse().ok()?,
            window_ms: text("window_ms")?.parse().ok()?,
            tools: text("tools").map(|tools| tools.split(' ').map(str::to_owned).collect()),
        })
    }
}

/// A receipt of an action that ran unchecked.
#[derive(Debug)]
struct Record {
    index: u64,
    agent: String,
    tenant: String,
    action: String,
    name: String,
    salt: [u8; 32],
    subject: Hash,
    at_ms: i64,
    lease: u64,
    point: String,
    journal: String,
    sequence: i64,
    exceeded: Option<String>,
    used: bool,
}

/// The end of a journal.
#[derive(Debug)]
struct Window {
    journal: String,
    count: usize,
    damaged: bool,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Unchecked {
    leases: BTreeMap<u64, Lease>,
    records: Vec<Record>,
    windows: Vec<Window>,
    /// Receipts that should have been one of these.
    unread: Vec<u64>,
}

impl Unchecked {
    /// Takes in a receipt of a lease or of the end of a journal; passes over others.
    pub(crate) fn told(&mut self, index: u64, admin: &Admin) {
        let read = match admin.operation.as_str() {
            "point.leased" => Lease::read(admin).map(|lease| drop(self.leases.insert(index, lease))),
            "unchecked.window" => Window::read(admin).map(|window| self.windows.push(window)),
            _ => return,
        };
        if read.is_none() {
            self.unread.push(index);
        }
    }

    /// Takes in a receipt of what ran.
    pub(crate) fn ran(&mut self, index: u64, opened: Opened, subject: Hash, decision: &Decision) {
        let Some(ran) = &decision.unchecked else { return self.unread.push(index) };
        let (Ok(lease), Opened { action, name, salt }) = (u64::try_from(ran.lease.get()), opened) else {
            return self.unread.push(index);
        };
        self.records.push(Record {
            index,
            agent: decision.agent.id.clone(),
            tenant: decision.tenant.clone(),
            action,
            name,
            salt,
            subject,
            at_ms: ran.at_ms.get(),
            lease,
            point: ran.point.clone(),
            journal: ran.journal.clone(),
            sequence: ran.sequence.get(),
            exceeded: ran.exceeded.clone(),
            used: false,
        });
    }

    /// How many actions ran unchecked.
    pub(crate) fn count(&self) -> u64 {
        u64::try_from(self.records.len()).unwrap_or(u64::MAX)
    }

    /// Whether the log says that records of a journal cannot be read, or that a journal is gone.
    pub(crate) fn tells_of_damage(&self) -> bool {
        self.windows.iter().any(|window| window.damaged)
    }

    /// What does not hold of the receipts by themselves.
    pub(crate) fn broken(&self) -> Vec<String> {
        let mut wrong: Vec<String> =
            self.unread.iter().map(|index| format!("receipt {index} cannot be read")).collect();
        let mut seen = BTreeSet::new();
        for record in &self.records {
            let index = record.index;
            if let Err(problem) = self.holds(record) {
                wrong.push(format!("receipt {index} of an action that ran unchecked: {problem}"));
            }
            if !seen.insert((&record.point, &record.journal, record.sequence)) {
                wrong.push(format!("receipt {index} tells once more of a record that was told of"));
            }
        }
        let journals: BTreeSet<&String> = self.records.iter().map(|record| &record.journal).collect();
        wrong.extend(journals.into_iter().filter_map(|journal| self.unended(journal)));
        wrong
    }

    /// Whether a lease covers a record.
    fn holds(&self, record: &Record) -> Result<(), String> {
        if record.agent != LEASED {
            return Err(format!("no tier lets `{}` go on without the gate", record.agent));
        }
        if let Some(word) = &record.exceeded {
            return Err(format!("it was beyond its lease ({word})"));
        }
        let lease = self.leases.get(&record.lease).filter(|_| record.lease < record.index);
        let lease = lease.ok_or_else(|| format!("the log has no lease {}", record.lease))?;
        if (&lease.agent, &lease.tenant, &lease.point) != (&record.agent, &record.tenant, &record.point) {
            return Err("its lease is another agent's or point's".to_owned());
        }
        let early = record.at_ms < lease.issued_ms.saturating_sub(APART_MS);
        if early || record.at_ms > lease.expires_ms.saturating_add(APART_MS) {
            return Err("its lease did not hold when it ran".to_owned());
        }
        if lease.tools.as_ref().is_some_and(|tools| !tools.contains(&record.name)) {
            return Err(format!("its lease does not name `{}`", record.name));
        }
        // The most that any lease of this point gave: a later one counts what ran before it.
        let same = self.leases.values().filter(|it| it.point == record.point && it.agent == record.agent);
        let most = same.map(|it| it.most).max().unwrap_or(0);
        let ran = |of: &dyn Fn(&&Record) -> bool| {
            let since = record.at_ms.saturating_sub(lease.window_ms);
            let within =
                self.records.iter().filter(|it| it.point == record.point && it.agent == record.agent);
            let within = within.filter(|it| it.at_ms > since && it.at_ms <= record.at_ms).filter(of);
            u64::try_from(within.count()).unwrap_or(u64::MAX)
        };
        if ran(&|it| it.lease == record.lease) > lease.most || ran(&|_| true) > most {
            return Err("more ran within the window than its lease says".to_owned());
        }
        Ok(())
    }

    /// What is wrong with the end of a journal.
    fn unended(&self, journal: &str) -> Option<String> {
        let count = self.records.iter().filter(|record| record.journal == journal).count();
        let mut ends = self.windows.iter().filter(|window| window.journal == journal);
        match (ends.next(), ends.next()) {
            (Some(window), None) if window.count == count => None,
            (Some(_), None) => Some(format!("the window of journal {journal} does not count {count}")),
            (None, _) => Some(format!("journal {journal} has no window on the log")),
            (Some(_), Some(_)) => Some(format!("journal {journal} has two windows on the log")),
        }
    }

    /// Whether a lease on the log had room for an effect of which no record is left; uses that up.
    pub(crate) fn bounds(&mut self, effect: &Effect) -> bool {
        let covers = |lease: &&mut Lease| {
            let holds = (lease.issued_ms..=lease.expires_ms).contains(&effect.at_ms);
            let names = |tools: &Vec<String>| tools.contains(&format!("{SERVER}.{}", effect.tool));
            holds && lease.most > 0 && lease.agent == LEASED && lease.tools.as_ref().is_none_or(names)
        };
        let lease = self.leases.values_mut().find(covers);
        lease.map(|lease| lease.most = lease.most.saturating_sub(1)).is_some()
    }

    /// Finds the one receipt that tells of exactly this effect, and uses it up.
    pub(crate) fn covers(&mut self, effect: &Effect) -> Result<(), String> {
        let action = action_of(&effect.tool, &effect.args).map_err(|e| e.to_string())?;
        let leases = &self.leases;
        let exact = |record: &&mut Record| {
            let began = record.at_ms.saturating_sub(APART_MS);
            let ended = record.at_ms.saturating_add(PERMIT_MS).saturating_add(ON_THE_WAY_MS);
            let over = leases
                .get(&record.lease)
                .is_none_or(|lease| effect.at_ms > lease.expires_ms.saturating_add(ON_THE_WAY_MS));
            !record.used
                && !over
                && record.action == action
                && record.subject == salted(&record.salt, domain::ACTION, action.as_bytes())
                && (began..=ended).contains(&effect.at_ms)
        };
        let found = self.records.iter_mut().find(exact);
        found
            .map(|record| record.used = true)
            .ok_or_else(|| "no receipt tells that it ran unchecked".to_owned())
    }
}

impl Window {
    fn read(admin: &Admin) -> Option<Self> {
        let damaged = ["damaged_bytes", "lost"].iter().any(|name| admin.details.get(name).is_some());
        let (journal, count) =
            (admin.details.get("journal")?.clone(), admin.details.get("count")?.parse().ok()?);
        Some(Self { journal, count, damaged })
    }
}
