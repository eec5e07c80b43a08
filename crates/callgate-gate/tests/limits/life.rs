//! A life of a gate: each step is done to the gate, and the reference is told what came of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use callgate_core::name::fold;
use callgate_gate::{
    Asked, BreakerFilter, Credential, Decided, Gate, LimitFilter, OutcomeStatus, ProgressReport,
    ResetRequest, Said, StopFilter, approval_number,
};
use callgate_log::{Body, Statement};
use callgate_store::{Keyring, OsRandom};

use crate::call::{Call, Scope};
use crate::common::{NOW, World, flips_nothing_of_its_own};
use crate::journal::Journal;
use crate::kit::{chains, open, replays, report, usd, used};
use crate::model::Op;
use crate::numbers::{NUMBERS, Numbers};
use crate::reference::{End, Heard, Reference};

pub(crate) struct Life {
    world: World,
    pub(crate) gate: Arc<Gate>,
    pub(crate) numbers: &'static Numbers,
    pub(crate) reference: Reference,
    pub(crate) journal: Journal,
    clock: i64,
    /// After how many receipts the state is saved: often, or never in a life this short.
    save_every: u64,
    permitted: BTreeSet<u64>,
    /// The receipts of what ran unchecked.
    pub(crate) unchecked: BTreeSet<u64>,
    /// What happened, for whoever wants to know whether it ever does.
    pub(crate) reached: BTreeSet<String>,
}

/// One of them, whichever that is.
pub(crate) fn pick<T: Clone>(all: &[T], which: usize) -> Option<T> {
    all.get(which.checked_rem(all.len())?).cloned()
}

/// One of them, mostly one of the newest.
fn recent(running: &[u64], which: usize) -> Option<u64> {
    let newest = running.get(running.len().saturating_sub(4)..).unwrap_or_default();
    pick(if which.is_multiple_of(4) { running } else { newest }, which / 4)
}

pub(crate) const fn status(end: End) -> OutcomeStatus {
    match end {
        End::Succeeded => OutcomeStatus::Succeeded,
        End::Failed => OutcomeStatus::Failed,
        End::Cancelled => OutcomeStatus::Cancelled,
        End::NotRun => OutcomeStatus::NotRun,
    }
}

fn heard(decided: &Decided, raced: bool) -> Heard {
    let reply = &decided.reply;
    let held = reply.approval.as_ref().and_then(|approval| approval.id.clone());
    let approval = reply.grant.as_ref().map(|grant| grant.approval.clone()).or(held);
    let near = |rule: Option<&str>, message: &str| rule == Some("up") && message.contains("near its limit");
    Heard {
        receipt: reply.receipt_index.expect("a receipt"),
        ran: decided.permit.is_some(),
        codes: reply.reasons.iter().filter_map(|reason| reason.code).map(|code| code.to_string()).collect(),
        approval: approval.map(|id| approval_number(&id).expect("a number")),
        near: reply.reasons.iter().any(|reason| near(reason.rule.as_deref(), &reason.message)),
        raced,
    }
}

impl Life {
    pub(crate) async fn begin(seed: u64) -> Self {
        let world = World::new(seed);
        let numbers = &NUMBERS[0];
        let save_every = if seed.is_multiple_of(2) { 4 } else { 100_000 };
        let gate = open(&world, Some(&numbers.bundle()), save_every).await;
        Self {
            world,
            gate,
            numbers,
            reference: Reference::default(),
            journal: Journal::default(),
            clock: NOW,
            save_every,
            permitted: BTreeSet::new(),
            unchecked: BTreeSet::new(),
            reached: BTreeSet::new(),
        }
    }

    pub(crate) fn now(&self) -> i64 {
        self.gate.now_ms()
    }

    pub(crate) fn reach(&mut self, what: impl Into<String>) {
        self.reached.insert(what.into());
    }

    pub(crate) async fn play(&mut self, op: Op) {
        let before = self.gate.size();
        match op {
            Op::Ask(calls, stop) => self.ask(calls, stop).await,
            Op::End { which, end, cents, twice } => self.end(which, end, cents, twice).await,
            Op::Beat { which, cents } => self.beat(which, cents).await,
            Op::Approve { which, at_once } => self.approve(which, at_once).await,
            Op::Reset { which, seen } => self.reset(which, seen).await,
            Op::Lift(which) => self.lift(which).await,
            Op::Lease => self.lease().await,
            Op::RunAway { call, end } => self.run_away(call, end),
            Op::HandIn { from, to, complete } => self.hand_in(from, to, complete).await,
            Op::Publish(number) => {
                self.numbers = &NUMBERS[number];
                self.gate.publish(&self.numbers.bundle(), "operator").await.expect("published");
            }
            Op::Clock(by) => {
                self.clock = (self.clock + by).max(NOW);
                self.world.clock.set(self.clock);
            }
            Op::Restart => {
                self.gate.close();
                self.gate = open(&self.world, None, self.save_every).await;
            }
            Op::Crash => {
                self.world.fs.crash();
                self.gate = open(&self.world, None, self.save_every).await;
            }
        }
        // What is announced beside the answers is announced now, not at some later time.
        while self.gate.announce_breakers().await != Ok(0) {}
        if self.gate.size() != before {
            self.reference.seen(self.now());
        }
    }

    /// All at once, and perhaps a stop with them.
    async fn ask(&mut self, mut calls: Vec<Call>, stop: Option<Scope>) {
        let now = self.now();
        // What the first receipt gives back, the others could have seen or not.
        if (calls.len() > 1 || stop.is_some()) && self.reference.lends(now) {
            let first = calls.remove(0);
            Box::pin(self.ask(vec![first], None)).await;
        }
        let asking: Vec<_> = calls
            .into_iter()
            .map(|call| {
                let gate = Arc::clone(&self.gate);
                tokio::spawn(async move {
                    let asked = Asked::Bytes(call.bytes(now));
                    (call, gate.decide(asked, Credential::Local).await.expect("a decision"))
                })
            })
            .collect();
        let stopped = match &stop {
            Some(scope) => Some(self.gate.stop(scope.request(), &Credential::Local).await.expect("stopped")),
            None => None,
        };
        let mut answers = Vec::new();
        for one in asking {
            let (call, decided) = one.await.expect("ends");
            answers.push((call, heard(&decided, stop.is_some())));
        }
        answers.sort_by_key(|(_, heard)| heard.receipt);
        let stopped = stopped.zip(stop);
        let stop_at = stopped.as_ref().map_or(u64::MAX, |(stopped, _)| stopped.stop.receipt_index);
        let after = answers.split_off(answers.partition_point(|(_, heard)| heard.receipt < stop_at));
        self.answered(&answers, now);
        if let Some((stopped, scope)) = stopped {
            let known = self.reference.stops.values().any(|known| *known == scope);
            assert_ne!(stopped.created, known, "{scope:?}");
            if stopped.created {
                self.stopped(stop_at, scope);
            }
        }
        self.answered(&after, now);
    }

    fn answered(&mut self, answers: &[(Call, Heard)], now: i64) {
        for (call, heard) in answers {
            self.reference.decided(call, self.numbers, now, heard);
            self.reached.extend(heard.near.then(|| "near its limit".to_owned()));
            if heard.ran {
                assert!(self.permitted.insert(heard.receipt), "one receipt for two");
            }
        }
    }

    /// What waited for people is over.
    fn stopped(&mut self, stop: u64, scope: Scope) {
        let said = format!("{scope:?}");
        self.reach(format!("stop {}", said.split('(').next().unwrap_or(&said)));
        for id in self.reference.stopped(stop, scope) {
            let status = self.gate.approval(id, &Credential::Local).expect("known").approval.status;
            assert!(!matches!(status, "open" | "granted"), "{id}: {status}");
            self.reach(format!("approval {status}"));
        }
    }

    async fn lift(&mut self, which: usize) {
        let stops: Vec<u64> = self.reference.stops.keys().copied().collect();
        let Some(stop) = pick(&stops, which) else { return };
        let id = format!("stop-{stop}");
        self.gate.lift_stop(&id, Some("looked into it"), &Credential::Local).await.expect("lifted");
        self.reference.stops.remove(&stop);
        self.reach("lifted");
    }

    async fn end(&mut self, which: usize, end: End, cents: Option<i64>, twice: bool) {
        let Some(receipt) = recent(&self.reference.running(false), which) else { return };
        let now = self.now();
        let taken = report(&self.gate, receipt, status(end), cents).await.is_ok();
        assert!(self.reference.expects(receipt, now).is_none_or(|expected| taken == expected), "{receipt}");
        if taken {
            self.reference.ended(receipt, end, cents, now);
            if twice {
                report(&self.gate, receipt, OutcomeStatus::NotRun, Some(0)).await.expect_err("it came");
            }
        }
    }

    async fn beat(&mut self, which: usize, cents: Option<i64>) {
        let Some(receipt) = recent(&self.reference.running(true), which) else { return };
        let (now, before) = (self.now(), self.gate.size());
        if self.reference.expects(receipt, now) != Some(true) {
            return;
        }
        let (halt, receipts) = self.reference.beat(receipt, cents, now);
        let mut report = ProgressReport::new(receipt);
        report.cost.extend(cents.map(|cents| ("usd".to_owned(), usd(cents).parse().expect("a decimal"))));
        let said = self.gate.progress(&report, &Credential::Local).await.expect("an answer");
        assert_eq!(said.code.map(|code| code.as_str()), halt, "receipt {receipt}: {said:?}");
        assert_eq!(said.goes_on, halt.is_none());
        assert_eq!(self.gate.size() - before, receipts, "receipt {receipt}: {said:?}");
        self.reach(format!("beat {}", halt.unwrap_or("goes on")));
        self.reached.extend((cents.is_some() && receipts > 0).then(|| "beat raised".to_owned()));
    }

    async fn approve(&mut self, which: usize, at_once: bool) {
        let open = self.gate.approvals(&callgate_gate::ApprovalFilter::default(), &Credential::Local);
        let Some(one) = pick(&open, which) else { return };
        let id = approval_number(&one.id).expect("a number");
        let ana = Credential::Person { id: "ana".into(), roles: vec!["ops".into()], tenant: None };
        if self.gate.approve(id, &ana, Said::default()).await.is_ok() {
            self.reference.seen(self.now());
            let call = self.reference.granted(id);
            if at_once {
                self.reference.sure = Some(id);
                self.ask(vec![call], None).await;
            }
        }
    }

    async fn reset(&mut self, which: usize, seen: bool) {
        let (open, _) = self.gate.breakers(&BreakerFilter::default(), &Credential::Local);
        let Some(one) = pick(&open, which) else { return };
        let through = if seen { one.through } else { one.through - 1 };
        let what = ResetRequest { name: one.name.clone(), note: Some("looked at it".into()), through };
        let agent = Credential::Agent { agent: "bot-0".into(), tenant: "default".into(), team: None };
        self.gate.reset_breaker(what.clone(), &agent).await.expect_err("an agent");
        let done = self.gate.reset_breaker(what, &Credential::Local).await;
        assert_eq!(done.is_ok(), seen, "{done:?}");
        if seen {
            self.reference.breakers.reset(&one.limit, &one.blocks);
        }
    }

    /// What the log says at the end.
    pub(crate) fn verify(&mut self) -> usize {
        let now = self.now();
        let live = self.gate.meters(&LimitFilter::default(), &Credential::Local);
        let live: Vec<_> = live.into_iter().map(|view| (view.name, view.used)).collect();
        let stops = self.gate.stops(&StopFilter::default(), &Credential::Local).0;
        let stops: BTreeSet<u64> = stops.iter().map(|stop| stop.receipt_index).collect();
        assert_eq!(stops, self.reference.stops.keys().copied().collect());
        self.gate.close();
        self.log();
        let state = replays(&self.world, &self.gate);
        chains(&self.gate, &state);
        let folded =
            state.meters().list("").map(|(name, meter)| (name.to_owned(), meter.used(now).to_string()));
        assert_eq!(live, folded.collect::<Vec<_>>(), "the meters are those that the log folds to");
        let keyring = Keyring::open(self.world.fs(), Arc::new(OsRandom)).expect("a key ring");
        flips_nothing_of_its_own(&self.gate, &keyring);
        for ((limit, key), cents) in self.reference.levels(now) {
            let is_calls = matches!(limit, "ask" | "near" | "slide" | "other");
            let text = if is_calls { cents.to_string() } else { usd(cents) };
            let counted: callgate_core::limit::Amount = text.parse().expect("an amount");
            let found = used(&state, limit, now).remove(&key);
            assert_eq!(found, Some(counted.to_string()), "{limit} of {key}");
        }
        let mut open: Vec<String> =
            state.meters().opened().map(|(_, opened)| opened.id().to_owned()).collect();
        open.sort();
        assert_eq!(open, self.reference.breakers.open());
        assert_eq!(fold("bot-1"), "bot-l", "names of meters are folded");
        let reached = self.reference.reached.iter().map(|what| (*what).to_owned());
        self.reached.extend(reached);
        self.permitted.len()
    }

    /// Every effect has its receipt, and there are no others.
    fn log(&mut self) {
        let (mut permitted, mut unchecked) = (BTreeSet::new(), BTreeSet::new());
        for receipt in self.gate.scan() {
            let receipt = receipt.expect("readable");
            let statement = Statement::parse(&receipt.payload).expect("a statement");
            let Body::Decision(one) = statement.body() else { continue };
            self.reached.extend(one.reasons.iter().map(|reason| format!("{reason:?}")));
            if one.unchecked.is_some() {
                unchecked.insert(receipt.index);
            } else if one.decision.permits() && one.snapshot.version.starts_with('v') {
                permitted.insert(receipt.index);
            }
        }
        assert_eq!(permitted, self.permitted, "what may run is what the log has");
        assert_eq!(unchecked, self.unchecked, "what ran unchecked is there once");
    }
}
