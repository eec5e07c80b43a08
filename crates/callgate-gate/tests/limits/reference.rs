//! What limits must have counted, written without them: plain sums over everything that ever ran.

use std::collections::BTreeMap;

/// Amounts are cents, times milliseconds.
const DAY: i64 = 86_400_000;
/// How long an outcome is waited for.
const OPEN: i64 = DAY;
/// What `files.pay` costs at least.
pub(crate) const ESTIMATE: i64 = 50;

/// The numbers of a policy; all the rest of it stays the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) agent: i64,
    pub(crate) team: i64,
    pub(crate) roll: Option<i64>,
    /// What the sliding window is called.
    pub(crate) slide: &'static str,
    pub(crate) often: i64,
}

pub(crate) const NUMBERS: [Numbers; 6] = [
    Numbers { agent: 1_000, team: 1_500, roll: Some(1_200), slide: "slide", often: 9 },
    Numbers { agent: 400, team: 1_500, roll: Some(1_200), slide: "slide", often: 9 },
    Numbers { agent: 3_000, team: 2_500, roll: Some(600), slide: "slide", often: 9 },
    Numbers { agent: 1_000, team: 1_500, roll: None, slide: "slide", often: 9 },
    Numbers { agent: 1_000, team: 1_500, roll: Some(1_200), slide: "other", often: 9 },
    Numbers { agent: 1_000, team: 800, roll: Some(1_200), slide: "slide", often: 4 },
];

/// Windows that no clock of the test ends on: it goes by whole seconds.
pub(crate) const ROLL: i64 = 599_400;
pub(crate) const SLIDE: i64 = 59_500;
pub(crate) const TRIP: i64 = 299_500;

impl Numbers {
    pub(crate) fn text(&self) -> String {
        let usd = crate::kit::usd;
        let roll = self.roll.map_or_else(String::new, |roll| {
            format!("  - {{id: roll, match: {{tools: [files.pay]}}, unit: usd, limit: \"{}\", per: [tenant], over: {ROLL}ms, estimate: \"0.50\"}}\n", usd(roll))
        });
        let Self { agent, team, slide, often, .. } = self;
        let (agent, team) = (usd(*agent), usd(*team));
        format!(
            r#"
budgets:
  - {{id: spend, match: {{tools: [files.pay]}}, unit: usd, levels: {{agent: "{agent}", team: "{team}"}}, over: day, estimate: "0.50"}}
{roll}throttles:
  - {{id: {slide}, match: {{tools: [files.get]}}, at_most: 4, within: {SLIDE}ms, per: [chain]}}
  - {{id: bucket, match: {{tools: [files.pay]}}, rate: 2/1m, burst: 3, per: [agent]}}
breakers:
  - {{id: often, per: [agent], trip: {{allowed: {often}, within: {TRIP}ms}}, half_open: {{after: 2m}}}}
  - {{id: denied, per: [team], trip: {{denials: 4, codes: [DENIED_BY_RULE], within: {TRIP}ms}}, half_open: {{after: 2m}}}}
  - {{id: failing, match: {{tools: [files.get]}}, per: [tool], trip: {{failures: 50%, at_least: 3, within: {TRIP}ms}}, half_open: {{after: 1m, probes: 2}}}}
"#
        )
    }
}

/// What somebody asks.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) agent: u8,
    pub(crate) tool: &'static str,
    pub(crate) cents: Option<i64>,
    pub(crate) chained: bool,
    pub(crate) session: u8,
    pub(crate) nonce: Option<u8>,
}

impl Call {
    fn team(&self) -> &'static str {
        if self.agent == 2 { "blue" } else { "red" }
    }

    pub(crate) fn bytes(&self, now_ms: i64) -> Vec<u8> {
        let Self { agent, tool, session, .. } = self;
        let chain = if self.chained { r#","chain":["bot-0"]"# } else { "" };
        let cost = self
            .cents
            .map_or_else(String::new, |cents| format!(r#","cost":{{"usd":"{}"}}"#, crate::kit::usd(cents)));
        let session =
            if *session == 0 { String::new() } else { format!(r#","session":{{"id":"s{session}"}}"#) };
        let nonce =
            self.nonce.map_or_else(String::new, |nonce| format!(r#","nonce":"n{nonce}","ts_ms":{now_ms}"#));
        format!(
            r#"{{"agent":{{"id":"bot-{agent}","team":"{}"{chain}}},"tool":{{"server":"files","name":"{tool}"}}{cost}{session}{nonce}}}"#,
            self.team()
        )
        .into_bytes()
    }

    fn principals(&self) -> Vec<u8> {
        if self.chained && self.agent != 0 { vec![0, self.agent] } else { vec![self.agent] }
    }

    /// The breakers that look at it, each with whom it looks at and how long it stays open.
    fn breakers(&self) -> [((&'static str, String), i64); 3] {
        [
            (("often", format!("{}", self.agent)), 120_000),
            (("denied", self.team().to_owned()), 120_000),
            (("failing", self.tool.to_owned()), 60_000),
        ]
    }
}

/// Something that ran.
struct Ran {
    at: i64,
    cents: i64,
    receipt: u64,
}

#[derive(Default)]
struct Breaker {
    marks: Vec<(i64, bool)>,
    open: Option<Opened>,
}

struct Opened {
    since: i64,
    probing: Option<(u64, i64)>,
    succeeded: u32,
}

/// An action that runs.
struct Running {
    call: Call,
    at: i64,
    probes: Vec<(&'static str, String)>,
}

/// Everything that happened.
#[derive(Default)]
pub(crate) struct Reference {
    /// By limit and whom it counts.
    ran: BTreeMap<(&'static str, String), Vec<Ran>>,
    /// Tokens as the milliseconds they took to come, and when that was.
    buckets: BTreeMap<u8, (i64, i64)>,
    breakers: BTreeMap<(&'static str, String), Breaker>,
    running: BTreeMap<u64, Running>,
    nonces: BTreeMap<(u8, u8, u8), i64>,
    pub(crate) granted: usize,
    pub(crate) moved: usize,
}

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Failed,
    Cancelled,
    NotRun,
}

impl Reference {
    fn sum(&self, limit: &'static str, key: &str, inside: impl Fn(i64) -> bool) -> i64 {
        let ran = self.ran.get(&(limit, key.to_owned())).into_iter().flatten();
        ran.filter(|one| inside(one.at)).map(|one| one.cents).sum()
    }

    fn tokens(&self, agent: u8, now: i64) -> i64 {
        self.buckets.get(&agent).map_or(90_000, |(tokens, at)| (tokens + now - at).min(90_000))
    }

    /// What the limits on sums and rates count of it: the limit, whom, how much, and whether it fits.
    fn takes(&self, call: &Call, numbers: &Numbers, now: i64) -> Vec<(&'static str, String, i64, bool)> {
        let mut all = Vec::new();
        if call.tool == "pay" {
            let cents = call.cents.unwrap_or(0).max(ESTIMATE);
            let today = |at: i64| at.div_euclid(DAY) == now.div_euclid(DAY);
            let (agent, team) = (format!("{}", call.agent), call.team().to_owned());
            let mut take = |limit, key: String, used: i64, most: i64| {
                all.push((limit, key, cents, used + cents <= most));
            };
            take("agent", agent.clone(), self.sum("agent", &agent, today), numbers.agent);
            take("team", team.clone(), self.sum("team", &team, today), numbers.team);
            if let Some(most) = numbers.roll {
                take("roll", String::new(), self.sum("roll", "", |at| at + ROLL > now), most);
            }
        }
        if call.tool == "get" {
            for one in call.principals() {
                let key = format!("{one}");
                let used = self.sum(numbers.slide, &key, |at| at + SLIDE > now);
                all.push((numbers.slide, key, 1, used < 4));
            }
        }
        all
    }

    /// Whether limits and breakers let it run, and whose probe it would be.
    fn lets(&self, call: &Call, numbers: &Numbers, now: i64) -> (bool, Vec<(&'static str, String)>) {
        let mut probes = Vec::new();
        let mut fits = self.takes(call, numbers, now).iter().all(|(.., fits)| *fits);
        fits &= call.tool != "pay" || self.tokens(call.agent, now) >= 30_000;
        for (name, after) in call.breakers() {
            let Some(open) = self.breakers.get(&name).and_then(|breaker| breaker.open.as_ref()) else {
                continue;
            };
            let since = open.probing.map_or(open.since, |(_, until)| until);
            if now >= since + after { probes.push(name) } else { fits = false }
        }
        (fits, probes)
    }

    fn mark(&mut self, name: (&'static str, String), at: i64, has_failed: bool, most: Option<i64>) {
        let breaker = self.breakers.entry(name).or_default();
        if breaker.open.is_some() {
            return;
        }
        breaker.marks.push((at, has_failed));
        let inside = |one: &&(i64, bool)| one.0 + TRIP > at;
        let all = breaker.marks.iter().filter(inside).count();
        let failed = breaker.marks.iter().filter(inside).filter(|(_, failed)| *failed).count();
        let trips = match most {
            Some(most) => i64::try_from(all).expect("few") >= most,
            None => has_failed && all >= 3 && failed * 2 >= all,
        };
        if trips {
            breaker.open = Some(Opened { since: at, probing: None, succeeded: 0 });
            breaker.marks.clear();
        }
    }

    /// One decision, in the log's order: whether it may have come out like this.
    pub(crate) fn decided(
        &mut self,
        call: &Call,
        numbers: &Numbers,
        now: i64,
        (receipt, ran, codes): (u64, bool, &[String]),
    ) {
        let has = |code: &str| codes.iter().any(|one| one == code);
        let (lets, probes) = self.lets(call, numbers, now);
        let repeated = call.nonce.and_then(|nonce| self.nonces.get(&(call.agent, call.session, nonce)));
        match repeated {
            Some(until) if *until >= now => assert!(has("REPLAY_NONCE"), "receipt {receipt}: a nonce again"),
            // It may be remembered longer.
            Some(_) => {}
            None => assert!(!has("REPLAY_NONCE"), "receipt {receipt}: a nonce that was never seen"),
        }
        let fresh = !has("REPLAY_NONCE");
        match call.tool {
            "move" if ran => assert!(lets && fresh, "receipt {receipt}: {call:?}"),
            "move" => {}
            tool => assert_eq!(ran, lets && fresh && tool != "drop", "receipt {receipt}: {call:?} {codes:?}"),
        }
        if let Some(nonce) = call.nonce.filter(|_| fresh) {
            self.nonces.insert((call.agent, call.session, nonce), now + 300_000);
        }
        if !ran {
            if has("DENIED_BY_RULE") && !has("BREAKER_OPEN") {
                self.mark(("denied", call.team().to_owned()), now, true, Some(4));
            }
            return;
        }
        for (limit, key, cents, _) in self.takes(call, numbers, now) {
            self.ran.entry((limit, key)).or_default().push(Ran { at: now, cents, receipt });
        }
        if call.tool == "pay" {
            self.buckets.insert(call.agent, (self.tokens(call.agent, now) - 30_000, now));
        }
        self.moved += usize::from(call.tool == "move");
        assert!(self.moved <= self.granted, "receipt {receipt}: more ran than was granted");
        for name in &probes {
            let open = self.breakers.get_mut(name).and_then(|breaker| breaker.open.as_mut());
            open.expect("it is open").probing = Some((receipt, now + OPEN));
        }
        self.mark(("often", format!("{}", call.agent)), now, false, Some(numbers.often));
        self.running.insert(receipt, Running { call: call.clone(), at: now, probes });
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
        let running = self.running.remove(&receipt).expect("it runs");
        let counts = cents.or((end == End::NotRun).then_some(0));
        for (limit, _) in [("agent", 0), ("team", 0), ("roll", 0)] {
            for ((id, _), ran) in &mut self.ran {
                let found = ran.iter_mut().find(|one| one.receipt == receipt).filter(|_| *id == limit);
                if let (Some(found), Some(cents)) = (found, counts) {
                    found.cents = cents;
                }
            }
        }
        if running.call.tool == "get" && matches!(end, End::Succeeded | End::Failed) {
            self.mark(("failing", "get".to_owned()), now, end == End::Failed, None);
        }
        for name in &running.probes {
            let needed = if name.0 == "failing" { 2 } else { 1 };
            let breaker = self.breakers.entry(name.clone()).or_default();
            let Some(open) =
                breaker.open.as_mut().filter(|open| open.probing.is_some_and(|it| it.0 == receipt))
            else {
                continue;
            };
            open.probing = None;
            match end {
                End::Succeeded => open.succeeded += 1,
                End::Failed => (open.succeeded, open.since) = (0, now),
                End::Cancelled | End::NotRun => open.since = now,
            }
            if open.succeeded >= needed {
                breaker.open = None;
            }
        }
    }

    /// A person closed a breaker; it counts from nothing.
    pub(crate) fn reset(&mut self, limit: &str, key: &str) {
        let found = self.breakers.iter_mut().find(|((id, of), _)| *id == limit && of == key);
        let (_, breaker) = found.expect("it was open");
        assert!(breaker.open.take().is_some(), "{limit} of {key} was not open");
        breaker.marks.clear();
    }

    /// The limits' ids of the breakers that are open.
    pub(crate) fn open(&self) -> Vec<String> {
        let open = self.breakers.iter().filter(|(_, breaker)| breaker.open.is_some());
        open.map(|((id, _), _)| (*id).to_owned()).collect()
    }

    /// The receipts of everything that ran and has not ended.
    pub(crate) fn running(&self) -> Vec<u64> {
        self.running.keys().copied().collect()
    }

    /// What each agent has used today.
    pub(crate) fn spent(&self, agent: u8, now: i64) -> i64 {
        self.sum("agent", &format!("{agent}"), |at| at.div_euclid(DAY) == now.div_euclid(DAY))
    }
}
