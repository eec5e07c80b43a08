//! What breakers must have done: the marks they counted, and since when each is open.

use std::collections::BTreeMap;

use crate::call::{Call, key, name, team_of};
use crate::numbers::{OPEN, TRIP};

/// The limit, and whom it counts and blocks.
pub(crate) type Name = (&'static str, String);

#[derive(Default)]
struct Breaker {
    marks: Vec<(i64, bool)>,
    open: Option<Opened>,
}

struct Opened {
    since: i64,
    /// The receipt that opened it.
    by: u64,
    /// The action that is tried, and until when its outcome is waited for.
    probing: Option<(u64, i64)>,
    succeeded: u32,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Breakers(BTreeMap<Name, Breaker>);

/// The breakers that look at a call, each with how long it stays open at least.
fn of(call: &Call) -> [(Name, i64); 3] {
    [
        (("often", key("agent", &name(call.agent))), 120_000),
        (("denied", key("team", call.team())), 120_000),
        (failing(call.tool), 60_000),
    ]
}

pub(crate) fn often(call: &Call) -> Name {
    of(call)[0].0.clone()
}

pub(crate) fn denied(call: &Call) -> Name {
    of(call)[1].0.clone()
}

pub(crate) fn failing(tool: &str) -> Name {
    ("failing", key("tool", &format!("files.{tool}")))
}

/// When one opens.
#[derive(Clone, Copy)]
pub(crate) enum Trip {
    /// At so many.
    Count(i64),
    /// At half of three or more; this one failed.
    Failures(bool),
}

impl Breakers {
    /// Whether they let a call run, and whose probe it would be.
    pub(crate) fn let_run(&self, call: &Call, now: i64) -> (bool, Vec<Name>) {
        let (mut lets, mut probes) = (true, Vec::new());
        for (name, after) in of(call) {
            let Some(open) = self.0.get(&name).and_then(|breaker| breaker.open.as_ref()) else { continue };
            let since = open.probing.map_or(open.since, |(_, until)| until);
            if now >= since + after { probes.push(name) } else { lets = false }
        }
        (lets, probes)
    }

    /// Whether one stops an action that runs: not its own probe, and not one that it opened itself.
    pub(crate) fn stop(&self, call: &Call, receipt: u64, probes: &[Name]) -> bool {
        let others = of(call).into_iter().filter(|(name, _)| !probes.contains(name));
        let open = others.filter_map(|(name, _)| self.0.get(&name)?.open.as_ref());
        open.into_iter().any(|open| open.by != receipt)
    }

    /// Whether one is open that blocks something of what an agent does.
    pub(crate) fn concern(&self, agent: u8) -> bool {
        let own = [("often", key("agent", &name(agent))), ("denied", key("team", team_of(agent)))];
        let open = self.0.iter().filter(|(_, breaker)| breaker.open.is_some());
        open.into_iter().any(|(name, _)| name.0 == "failing" || own.contains(name))
    }

    pub(crate) fn mark(&mut self, name: Name, at: i64, receipt: u64, trip: Trip) {
        let breaker = self.0.entry(name).or_default();
        if breaker.open.is_some() {
            return;
        }
        breaker.marks.push((at, matches!(trip, Trip::Failures(true))));
        let inside = |one: &&(i64, bool)| one.0 + TRIP > at;
        let all = breaker.marks.iter().filter(inside).count();
        let failed = breaker.marks.iter().filter(inside).filter(|(_, failed)| *failed).count();
        let trips = match trip {
            Trip::Count(most) => i64::try_from(all).expect("few") >= most,
            Trip::Failures(has_failed) => has_failed && all >= 3 && failed * 2 >= all,
        };
        if trips {
            breaker.open = Some(Opened { since: at, by: receipt, probing: None, succeeded: 0 });
            breaker.marks.clear();
        }
    }

    /// This action is tried.
    pub(crate) fn probe(&mut self, name: &Name, receipt: u64, now: i64) {
        let open = self.0.get_mut(name).and_then(|breaker| breaker.open.as_mut());
        open.expect("it is open").probing = Some((receipt, now + OPEN));
    }

    /// How a probe ended, where that says anything.
    pub(crate) fn probed(&mut self, name: &Name, receipt: u64, succeeded: Option<bool>, now: i64) {
        let needed = if name.0 == "failing" { 2 } else { 1 };
        let breaker = self.0.entry(name.clone()).or_default();
        let own = |open: &&mut Opened| open.probing.is_some_and(|it| it.0 == receipt);
        let Some(open) = breaker.open.as_mut().filter(own) else { return };
        open.probing = None;
        match succeeded {
            Some(true) => open.succeeded += 1,
            Some(false) => (open.succeeded, open.since) = (0, now),
            None => open.since = now,
        }
        if open.succeeded >= needed {
            breaker.open = None;
        }
    }

    /// A person closed one; it counts from nothing.
    pub(crate) fn reset(&mut self, limit: &str, key: &str) {
        let found = self.0.iter_mut().find(|((id, of), _)| *id == limit && of == key);
        let (_, breaker) = found.expect("it was open");
        assert!(breaker.open.take().is_some(), "{limit} of {key} was not open");
        breaker.marks.clear();
    }

    /// The limits' ids of those that are open.
    pub(crate) fn open(&self) -> Vec<String> {
        let open = self.0.iter().filter(|(_, breaker)| breaker.open.is_some());
        open.map(|((id, _), _)| (*id).to_owned()).collect()
    }
}
