//! What limits and stops must have done, written without them: plain sums over everything that ever ran.

use std::collections::{BTreeMap, BTreeSet};

use crate::breakers::{Breakers, Name, Trip, denied, failing, often};
use crate::call::{Call, Scope, key, name};
use crate::leases::{Leases, Record};
use crate::numbers::{ASK, ESTIMATE, LENT, NEAR, Numbers, OPEN, RUNTIME, counts, is_budget, is_money};

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Failed,
    Cancelled,
    NotRun,
}

/// What an agent was answered.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) receipt: u64,
    pub(crate) ran: bool,
    pub(crate) codes: Vec<String>,
    /// The approval it waits for, or was let run by.
    pub(crate) approval: Option<u64>,
    /// Whether it was told that it comes near the limit of `up`.
    pub(crate) near: bool,
    /// A stop may have come between the question and the answer.
    pub(crate) raced: bool,
}

/// What one limit takes for a call.
struct Take {
    limit: &'static str,
    key: String,
    amount: i64,
    most: i64,
    fits: bool,
}

/// Something that counts.
struct Ran {
    at: i64,
    receipt: u64,
    counts: i64,
    /// The most that it was ever said to cost, before its end.
    most: i64,
    /// When it is given back unless it ended.
    lent: Option<i64>,
}

/// An action that runs.
struct Running {
    call: Call,
    at: i64,
    probes: Vec<Name>,
    /// What each of its budgets may hold meanwhile.
    bounds: Vec<(&'static str, String, i64)>,
    /// Whether it was told to stop.
    told: bool,
    unchecked: bool,
    /// Whether any limit counts it.
    counted: bool,
}

/// What limits make of a call.
struct Weighed {
    takes: Vec<Take>,
    /// Whether limits and breakers let it run.
    fits: bool,
    /// Whether people must agree.
    held: bool,
    /// Whether it comes near the limit of `up`.
    near: bool,
    probes: Vec<Name>,
}

/// Everything that happened.
#[derive(Default)]
pub(crate) struct Reference {
    /// By limit and whom it counts.
    ran: BTreeMap<(&'static str, String), Vec<Ran>>,
    /// Tokens as the milliseconds they took to come, and when that was.
    buckets: BTreeMap<u8, (i64, i64)>,
    pub(crate) breakers: Breakers,
    running: BTreeMap<u64, Running>,
    nonces: BTreeMap<(u8, u8, u8), i64>,
    /// What waits for people, and whether they agreed; what is over is gone.
    held: BTreeMap<u64, (Call, bool)>,
    /// The approval that the very next call must be let run by.
    pub(crate) sure: Option<u64>,
    pub(crate) stops: BTreeMap<u64, Scope>,
    pub(crate) leases: Leases,
    /// What happened, for whoever wants to know whether it ever does.
    pub(crate) reached: BTreeSet<&'static str>,
}

impl Reference {
    /// What a limit has counted for one of those it counts by.
    pub(crate) fn sum(&self, limit: &'static str, key: &str, now: i64) -> i64 {
        let ran = self.ran.get(&(limit, key.to_owned())).into_iter().flatten();
        ran.filter(|one| counts(limit, one.at, now)).map(|one| one.counts).sum()
    }

    fn tokens(&self, agent: u8, now: i64) -> i64 {
        self.buckets.get(&agent).map_or(90_000, |(tokens, at)| (tokens + now - at).min(90_000))
    }

    /// What the limits on sums and windows count of a call.
    fn takes(&self, call: &Call, numbers: &Numbers, now: i64) -> Vec<Take> {
        let cost = call.cents.unwrap_or(0).max(ESTIMATE);
        let (agent, team) = (key("agent", &name(call.agent)), key("team", call.team()));
        let mut all = Vec::new();
        let mut take = |limit, key: String, amount, most| {
            let fits = self.sum(limit, &key, now) + amount <= most;
            all.push(Take { limit, key, amount, most, fits });
        };
        match call.tool {
            "pay" => {
                take("spend/agent", agent, cost, numbers.agent);
                take("spend/team", team, cost, numbers.team);
                if let Some(most) = numbers.roll {
                    take("roll", key("tenant", "default"), cost, most);
                }
            }
            "buy" => {
                take("up", call.life(), cost, numbers.up);
                take("lent", agent, cost, numbers.lent);
            }
            "get" => {
                for one in call.principals() {
                    take(numbers.slide, key("chain", &name(one)), 1, 4);
                }
            }
            "ask" => take("ask", agent, 1, ASK),
            "near" => take("near", team, 1, 100),
            _ => {}
        }
        all
    }

    fn weigh(&self, call: &Call, numbers: &Numbers, now: i64) -> Weighed {
        let takes = self.takes(call, numbers, now);
        let (lets, probes) = self.breakers.let_run(call, now);
        let after = |limit: &str| {
            let take = takes.iter().find(|take| take.limit == limit);
            take.map_or(0, |take| self.sum(take.limit, &take.key, now) + take.amount)
        };
        // Beyond its limit `ask` asks people instead.
        let room = takes.iter().all(|take| take.fits || take.limit == "ask");
        let rate = call.tool != "pay" || self.tokens(call.agent, now) >= 30_000;
        let held = call.tool == "move" || after("ask") > ASK || after("near") >= NEAR;
        let near = after("up") * 2 >= numbers.up;
        Weighed { fits: lets && room && rate, held, near, probes, takes }
    }

    fn is_stopped(&self, call: &Call) -> bool {
        self.stops.values().any(|scope| scope.covers(call))
    }

    /// One decision, in the log's order: whether it may have come out like this.
    pub(crate) fn decided(&mut self, call: &Call, numbers: &Numbers, now: i64, heard: &Heard) {
        let Heard { receipt, ran, ref codes, .. } = *heard;
        let said = format!("receipt {receipt}: {call:?} {codes:?}");
        let has = |code: &str| codes.iter().any(|one| one == code);
        let Weighed { takes, fits, held, near, probes } = self.weigh(call, numbers, now);
        let fresh = self.fresh(call, now, has("REPLAY_NONCE"), &said);
        let stopped = self.is_stopped(call);
        assert!(stopped || !has("AGENT_KILLED"), "{said}: nobody stopped it");
        assert!(!stopped || heard.raced || has("AGENT_KILLED"), "{said}: it is stopped");
        assert!(!stopped || heard.approval.is_none(), "{said}: people are asked about what is stopped");
        let may = fits && fresh && !stopped && call.tool != "drop";
        assert!(may || !ran, "{said}: it ran");
        if may && !ran {
            assert!(held && has("APPROVAL_REQUIRED"), "{said}: it was refused");
            assert!(self.sure.is_none(), "{said}: people agreed to it");
        }
        if ran && held {
            let grant = heard.approval.and_then(|id| self.held.remove(&id));
            assert_eq!(grant, Some((call.clone(), true)), "{said}: nobody agreed to it, or once already");
            self.reached.insert("a grant was used");
        }
        self.sure = None;
        self.seen(now);
        if !ran {
            self.refused(call, now, heard);
            return;
        }
        if call.tool == "buy" {
            assert_eq!(heard.near, near, "{said}: near its limit");
        }
        for name in &probes {
            self.breakers.probe(name, receipt, now);
        }
        self.runs(call, numbers, now, receipt, (takes, probes, false));
    }

    fn fresh(&mut self, call: &Call, now: i64, repeated: bool, said: &str) -> bool {
        let Some(nonce) = call.nonce else { return !repeated };
        let until = self.nonces.get(&(call.agent, call.session, nonce)).copied();
        // Once its time is over it may be remembered longer.
        assert!(repeated || until.is_none_or(|until| until < now), "{said}: a nonce again");
        assert!(!repeated || until.is_some(), "{said}: a nonce that was never seen");
        if !repeated {
            self.nonces.insert((call.agent, call.session, nonce), now + 300_000);
        }
        !repeated
    }

    fn refused(&mut self, call: &Call, now: i64, heard: &Heard) {
        let has = |code: &str| heard.codes.iter().any(|one| one == code);
        if has("DENIED_BY_RULE") && !has("BREAKER_OPEN") && !has("AGENT_KILLED") {
            self.breakers.mark(denied(call), now, heard.receipt, Trip::Count(4));
        }
        if let Some(approval) = heard.approval {
            self.held.entry(approval).or_insert_with(|| (call.clone(), false));
        }
    }

    /// It runs, so that it counts.
    fn runs(
        &mut self,
        call: &Call,
        numbers: &Numbers,
        now: i64,
        receipt: u64,
        (takes, probes, unchecked): (Vec<Take>, Vec<Name>, bool),
    ) {
        let mut bounds = Vec::new();
        for Take { limit, key, amount, most, fits } in takes {
            if is_budget(limit) && fits && !unchecked {
                bounds.push((limit, key.clone(), most));
            }
            let lent = (limit == "lent").then_some(now + LENT);
            let ran = Ran { at: now, receipt, counts: amount, most: amount, lent };
            self.ran.entry((limit, key)).or_default().push(ran);
        }
        if call.tool == "pay" {
            // What runs unchecked does not empty it further than empty.
            self.buckets.insert(call.agent, ((self.tokens(call.agent, now) - 30_000).max(0), now));
        }
        self.breakers.mark(often(call), now, receipt, Trip::Count(numbers.often));
        let running =
            Running { call: call.clone(), at: now, probes, bounds, told: false, unchecked, counted: true };
        self.running.insert(receipt, running);
    }

    /// What ran unchecked is handed in: whether it would have been let run, where that can be told, and why it was
    /// beyond its lease.
    pub(crate) fn took_in(
        &mut self,
        record: &Record,
        numbers: &Numbers,
        now: i64,
        receipt: u64,
    ) -> (Option<bool>, Option<&'static str>) {
        let call = &record.call;
        let Weighed { takes, fits, held, .. } = self.weigh(call, numbers, now);
        let would = fits && !self.is_stopped(call) && call.tool != "drop";
        let violates = call.tool == "drop" && !self.is_stopped(call) && self.breakers.let_run(call, now).0;
        let why = self.leases.took_in(record);
        self.seen(now);
        if why == Some("no_lease") {
            // Nobody but the point says that it ran.
            let (probes, bounds) = (Vec::new(), Vec::new());
            let call = call.clone();
            let running =
                Running { call, at: now, probes, bounds, told: false, unchecked: true, counted: false };
            self.running.insert(receipt, running);
        } else {
            self.runs(call, numbers, now, receipt, (takes, Vec::new(), true));
            if violates {
                self.breakers.mark(denied(call), now, receipt, Trip::Count(4));
            }
        }
        ((!held).then_some(would), why)
    }

    /// There is a receipt of that time: what was lent until then is given back.
    pub(crate) fn seen(&mut self, now: i64) {
        let running = &self.running;
        let lent = self.ran.iter_mut().filter(|((limit, _), _)| *limit == "lent");
        for one in lent.flat_map(|(_, ran)| ran) {
            if one.lent.is_some_and(|until| until <= now) && running.contains_key(&one.receipt) {
                (one.counts, one.lent) = (0, None);
                self.reached.insert("given back");
            }
        }
    }

    /// Whether the next receipt gives something back.
    pub(crate) fn lends(&self, now: i64) -> bool {
        let all = self.ran.values().flatten();
        all.filter(|one| self.running.contains_key(&one.receipt))
            .any(|one| one.lent.is_some_and(|at| at <= now))
    }

    /// A heartbeat: what it must be told, and how many receipts that takes.
    pub(crate) fn beat(&mut self, receipt: u64, cents: Option<i64>, now: i64) -> (Option<&'static str>, u64) {
        let mut receipts = 0;
        let own = |limit: &str, ran: &Ran| is_money(limit) && ran.receipt == receipt;
        let all = self.ran.iter().flat_map(|((limit, _), ran)| ran.iter().map(move |one| (*limit, one)));
        let counted = all.filter(|(limit, ran)| own(limit, ran)).map(|(_, ran)| ran.counts).min();
        if let Some(cents) = cents.filter(|cents| counted.is_some_and(|counted| *cents > counted)) {
            receipts += 1;
            self.seen(now);
            for ((limit, _), ran) in &mut self.ran {
                for ran in ran.iter_mut().filter(|ran| own(limit, ran) && cents > ran.counts) {
                    let again = *limit == "lent" && ran.lent.is_none();
                    self.reached.extend(again.then_some("spent after it was given back"));
                    (ran.counts, ran.most) = (cents, cents.max(ran.most));
                }
            }
        }
        let running = &self.running[&receipt];
        let timed = matches!(running.call.tool, "pay" | "get");
        // By all that counts now, or by what it has spent alone, whenever that counts.
        let alone = |ran: &Ran, most: i64| ran.receipt == receipt && ran.counts > most;
        let over = |(limit, key, most): &(&'static str, String, i64)| {
            let mut ran = self.ran.get(&(*limit, key.clone())).into_iter().flatten();
            self.sum(limit, key, now) > *most || ran.any(|ran| alone(ran, *most))
        };
        let halt = if self.is_stopped(&running.call) {
            Some("AGENT_KILLED")
        } else if self.breakers.stop(&running.call, receipt, &running.probes) {
            Some("BREAKER_OPEN")
        } else if timed && now - running.at > RUNTIME {
            Some("RUNTIME_EXCEEDED")
        } else {
            running.bounds.iter().any(over).then_some("BUDGET_EXCEEDED")
        };
        if halt.is_some() && !running.told {
            receipts += 1;
            self.running.get_mut(&receipt).expect("it runs").told = true;
        }
        (halt, receipts)
    }

    /// Whether an outcome must be taken; `None` where it may or may not.
    pub(crate) fn expects(&self, receipt: u64, now: i64) -> Option<bool> {
        match self.running.get(&receipt) {
            None => Some(false),
            Some(running) if now <= running.at + OPEN => Some(true),
            Some(_) => None,
        }
    }

    /// An outcome that was taken.
    pub(crate) fn ended(&mut self, receipt: u64, end: End, cents: Option<i64>, now: i64) {
        let Running { call, probes, counted, .. } = self.running.remove(&receipt).expect("it runs");
        for ((limit, _), ran) in &mut self.ran {
            for ran in ran.iter_mut().filter(|ran| ran.receipt == receipt && is_budget(limit)) {
                let unsaid = if end == End::NotRun { 0 } else { ran.most };
                let reported = cents.filter(|_| is_money(limit)).unwrap_or(unsaid);
                let least = match (*limit, end) {
                    ("up", End::NotRun) => ran.counts,
                    ("up", _) => ran.most,
                    _ => 0,
                };
                let late = *limit == "lent" && ran.lent.is_none() && ran.counts == 0 && reported > 0;
                self.reached.extend(late.then_some("counted although given back"));
                self.reached.extend((least > reported).then_some("settled upward"));
                ran.counts = reported.max(least);
            }
        }
        let succeeded = match end {
            End::Succeeded => Some(true),
            End::Failed => Some(false),
            End::Cancelled | End::NotRun => None,
        };
        if let Some(succeeded) = succeeded.filter(|_| counted && call.tool == "get") {
            self.breakers.mark(failing("get"), now, 0, Trip::Failures(!succeeded));
        }
        for name in &probes {
            self.breakers.probed(name, receipt, succeeded, now);
        }
        self.seen(now);
    }

    /// People agree to a call.
    pub(crate) fn granted(&mut self, approval: u64) -> Call {
        let (call, granted) = self.held.get_mut(&approval).expect("it waits");
        *granted = true;
        call.clone()
    }

    /// An operator stops something: the approvals that are over.
    pub(crate) fn stopped(&mut self, stop: u64, scope: Scope) -> Vec<u64> {
        let hit = self.held.iter().filter(|(_, (call, _))| scope.covers(call)).map(|(id, _)| *id);
        let hit: Vec<u64> = hit.collect();
        self.held.retain(|id, _| !hit.contains(id));
        self.stops.insert(stop, scope);
        hit
    }

    /// The receipts of everything that runs; only what was decided before it ran.
    pub(crate) fn running(&self, decided: bool) -> Vec<u64> {
        let wanted = |(_, running): &(_, &Running)| !decided || !running.unchecked;
        self.running.iter().filter(wanted).map(|(receipt, _)| *receipt).collect()
    }

    /// What each limit on a sum or a window has counted for each of those it counts by, where that is anything.
    pub(crate) fn levels(&self, now: i64) -> BTreeMap<(&'static str, String), i64> {
        let sums = self.ran.keys().map(|(limit, key)| ((*limit, key.clone()), self.sum(limit, key, now)));
        sums.filter(|(_, sum)| *sum > 0).collect()
    }
}
