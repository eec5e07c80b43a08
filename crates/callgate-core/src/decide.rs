//! The decision: normalise, evaluate, settle. Pure, total, bounded.
//!
//! Same snapshot, request and facts give the same bytes, now or when an auditor replays them.

use std::sync::Arc;

use crate::constraint::{Constraints, Kind};
use crate::contract;
use crate::decision::{Code, Decision, Reason};
use crate::digest::Digest;
use crate::facts::{Credential, Facts};
use crate::finding::{Consulted, Question};
use crate::history::{HistoryFacts, Observation, Occurrence, Query};
use crate::in_force::Shadow;
use crate::limit::{self, Ask as Level, Limited};
use crate::module::Evaluation;
use crate::monitor::{self, Answer, Said};
use crate::name::Name;
use crate::request::Request;
use crate::rule::{Rule, Specificity, Step, Verdict};
use crate::settle::Settled;
use crate::snapshot::Snapshot;
use crate::state::unchecked::{Exceeded, UncheckedDelta};
use crate::state::{DecisionDelta, NonceUse, Running, SessionKey};

/// What was asked: a request, or bytes that are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// A parsed request.
    Request(Box<Request>),
    /// Something else, and why.
    Malformed(String),
}

/// A decision with everything a receipt binds.
#[derive(Debug)]
pub struct Decided {
    /// The request as decided: identity from the credential, tags from the catalogue.
    pub ask: Ask,
    /// The combined answer.
    pub settled: Settled,
    /// The state change it makes.
    pub effects: DecisionDelta,
    /// Whether a rule holds the action, and what is known of its approvals was not among the facts: with
    /// them the decision may be another one.
    pub held: bool,
    /// How each candidate rule came out: the explanation.
    pub trace: Vec<Step>,
    /// What a judge would have to be asked: while there is any, the decision is the stricter one
    /// that holds without an answer. None when nothing could permit the action.
    pub questions: Vec<Question>,
    /// The findings that the decision rests on, in the order of their rules.
    pub consulted: Vec<Consulted>,
    /// Until when an allow may be acted on, milliseconds since 1970 UTC.
    pub expires_at_ms: i64,
    /// What the candidate in the shadow says, while one is tried.
    pub shadow: Option<Shadow>,
    /// What limits said of it, for an action that ran whatever is decided.
    pub(crate) limited: Option<Box<Limited>>,
}

impl Decided {
    /// The rule that decided.
    #[must_use]
    pub fn matched(&self) -> Option<&Arc<Rule>> {
        self.settled.matched.as_ref()
    }
}

/// Decides. The request comes back in [`Decided::ask`] as it was normalised; deciding that again
/// with the same facts gives the same decision.
#[must_use]
pub fn decide(snapshot: &Snapshot, ask: Ask, facts: &Facts) -> Decided {
    match ask {
        Ask::Malformed(problem) => malformed(snapshot, problem, facts),
        Ask::Request(request) => decide_request(snapshot, request, facts),
    }
}

fn add(now_ms: i64, span_ms: u64) -> i64 {
    now_ms.saturating_add(i64::try_from(span_ms).unwrap_or(i64::MAX))
}

fn malformed(snapshot: &Snapshot, problem: String, facts: &Facts) -> Decided {
    let denials = vec![Reason::guard(Code::InvalidRequest, problem.clone())];
    Decided {
        settled: Settled::denied(denials, None),
        effects: DecisionDelta::NOTHING,
        ask: Ask::Malformed(problem),
        held: false,
        trace: Vec::new(),
        questions: Vec::new(),
        consulted: Vec::new(),
        expires_at_ms: add(facts.now_ms, snapshot.defaults.permit_ttl_ms),
        shadow: None,
        limited: None,
    }
}

fn decide_request(snapshot: &Snapshot, mut request: Box<Request>, facts: &Facts) -> Decided {
    let expires_at_ms = add(facts.now_ms, snapshot.defaults.permit_ttl_ms);
    if let Err(reason) = identify(&mut request, &facts.credential) {
        // Someone else's session must not be touched, so nothing but the receipt is left.
        return Decided {
            settled: Settled::denied(vec![reason], None),
            effects: DecisionDelta::NOTHING,
            ask: Ask::Request(request),
            held: false,
            trace: Vec::new(),
            questions: Vec::new(),
            consulted: Vec::new(),
            expires_at_ms,
            shadow: None,
            limited: None,
        };
    }
    snapshot.catalogue.tag(&mut request);
    let mut denials = guards(snapshot, &request, facts);
    let ruling = contract::apply(&snapshot.contracts, &request, facts.session.as_ref());
    denials.extend(ruling.denials);
    let mut evaluation = Evaluation::default();
    for module in &snapshot.modules {
        module.evaluate(&request, facts, &mut evaluation);
    }
    let Evaluation { mut verdicts, trace, judged, mut questions, mut consulted } = evaluation;
    verdicts.extend(ruling.permits.map(|rule| Verdict {
        rule,
        specificity: Specificity::default(),
        error: None,
    }));
    let mut limited = limit::judge(snapshot, &request, facts.limits.as_ref(), facts.now_ms);
    let (restricting, near) = (limited.verdicts.clone(), limited.constraints.clone());
    let said = Said { denials, verdicts, judged, limited: restricting, near };
    let answer = monitor::answer(said, &request, facts, &snapshot.defaults);
    if answer.is_denied_unjudged {
        // The judge is not asked then, and nothing rests on it.
        (questions, consulted) = (Vec::new(), Vec::new());
    }
    let (answer, held, approval) = answer.resolved(&request, facts, &snapshot.defaults);
    let resolved = answer.permits();
    let (mut settled, observations) = observe(snapshot, &request, facts, answer);
    settled.reasons.extend(limited.warnings.iter().cloned());
    let charged = limited.after(&request, settled.decision, &codes(&settled));
    // What cannot be remembered is denied after all, and no grant is spent on it.
    let approval = approval.filter(|_| settled.decision.permits() == resolved);
    // What runs against the contract's order, because it is only monitored, moves no session.
    let advance = ruling.advance.filter(|_| settled.decision.permits());
    let effects = DecisionDelta {
        advance,
        approval: approval.map(Box::new),
        charged,
        nonce: nonce_use(snapshot, &request, facts),
        open_until_ms: settled.decision.permits().then(|| add(facts.now_ms, OPEN_MS)),
        key: Some(SessionKey::of(&request)),
        observations,
        reads: facts.history.as_ref().and_then(HistoryFacts::reads),
        running: settled.decision.permits().then(|| Box::new(running(&request, &settled.constraints))),
        // What is denied is denied whatever was stopped meanwhile.
        stops: if settled.decision == Decision::Deny { 0 } else { facts.stops },
        team: request.agent.team.as_ref().map(|team| team.as_str().to_owned()),
        version: facts.session.as_ref().map_or(0, |session| session.version),
        ..DecisionDelta::NOTHING
    };
    Decided {
        ask: Ask::Request(request),
        settled,
        effects,
        held,
        trace,
        questions,
        consulted,
        expires_at_ms,
        shadow: None,
        limited: snapshot.has_limits().then(|| Box::new(limited)),
    }
}

/// Makes of a decision the record of an action that ran before it: what was decided is only what it would have
/// been. The action is open until its outcome comes, no session moves, and no approval is opened or used.
pub fn after_the_fact(decided: &mut Decided, mut unchecked: UncheckedDelta, facts: &Facts) {
    let settled = &decided.settled;
    unchecked.refused = !settled.decision.permits();
    let (decision, codes) = (settled.decision, codes(settled));
    let effects = &mut decided.effects;
    effects.open_until_ms = effects.key.is_some().then(|| add(facts.now_ms, OPEN_MS));
    effects.advance = None;
    effects.approval = None;
    effects.tried = None;
    // It ran, so that it counts, whether or not there was room for it.
    let limited = decided.limited.take();
    effects.charged = match (&decided.ask, limited) {
        // Nobody but the point says that it ran, and to one that never had a lease it cannot have: an agent would
        // use up what it shares with others by telling.
        (Ask::Request(request), Some(limited)) if unchecked.exceeded != Some(Exceeded::NoLease) => {
            limited.anyway(request, effects.charged.take(), decision, &codes)
        }
        _ => None,
    };
    effects.unchecked = Some(Box::new(unchecked));
    decided.shadow = None;
    // A judge was not asked; what holds without it is the stricter answer.
    decided.questions = Vec::new();
    decided.held = false;
}

/// The codes of its reasons.
fn codes(settled: &Settled) -> Vec<Code> {
    settled.reasons.iter().filter_map(|reason| reason.code).collect()
}

/// What the decided request adds to the history. An action that could not be remembered must not run.
fn observe(
    snapshot: &Snapshot,
    request: &Request,
    facts: &Facts,
    answer: Answer,
) -> (Settled, Vec<Observation>) {
    let Some(history) = facts.history.as_ref().filter(|_| snapshot.looks_back()) else {
        return (answer.settled(), Vec::new());
    };
    let seen = |allowed| snapshot.observe(&Occurrence::Decided { request, allowed }, history);
    match seen(answer.permits()) {
        Ok(observations) => (answer.settled(), observations),
        Err(_) if !answer.permits() => (answer.settled(), Vec::new()),
        Err(why) => {
            let refused = Settled::denied(vec![Reason::guard(Code::PolicyError, unkept(&why))], None);
            (answer.instead(refused).settled(), seen(false).unwrap_or_default())
        }
    }
}

/// The questions about the past that deciding `ask` will ask; `None` where no policy looks back.
/// Pure, like [`decide`] itself. `blind` hides correlated values in what the log keeps of them.
#[must_use]
pub fn plan(snapshot: &Snapshot, ask: &Ask, credential: &Credential, blind: &Digest) -> Option<Vec<Query>> {
    if !snapshot.looks_back() {
        return None;
    }
    let Ask::Request(request) = ask else { return Some(Vec::new()) };
    let mut request = request.clone();
    if identify(&mut request, credential).is_err() {
        return Some(Vec::new());
    }
    snapshot.catalogue.tag(&mut request);
    Some(snapshot.plan(&Occurrence::Asked(&request), blind))
}

/// The levels of meters that deciding `ask` reads; `None` where nothing is limited. Pure, too.
#[must_use]
pub fn levels(snapshot: &Snapshot, ask: &Ask, credential: &Credential) -> Option<Vec<Level>> {
    if !snapshot.has_limits() {
        return None;
    }
    let Ask::Request(request) = ask else { return Some(Vec::new()) };
    let mut request = request.clone();
    if identify(&mut request, credential).is_err() {
        return Some(Vec::new());
    }
    snapshot.catalogue.tag(&mut request);
    Some(limit::asks(&snapshot.charges(&request), &request))
}

/// What of an action is looked at again while it runs.
fn running(request: &Request, constraints: &Constraints) -> Running {
    let text = |name: &Name| name.as_str().to_owned();
    Running {
        called: request.called().map(text).collect(),
        chain: request.agent.chain.iter().map(text).collect(),
        max_runtime_ms: constraints.number(Kind::MaxRuntimeMs),
        on_behalf_of: request.agent.on_behalf_of.as_ref().map(text),
    }
}

/// How long an allowed action waits for its outcome: a day.
const OPEN_MS: u64 = 24 * 60 * 60 * 1000;

impl DecisionDelta {
    /// No effect. The shell fills in `slot`, `snapshot`, `epoch` and `control`, which it alone knows.
    const NOTHING: Self = Self {
        advance: None,
        approval: None,
        charged: None,
        control: false,
        epoch: 0,
        key: None,
        nonce: None,
        observations: Vec::new(),
        open_until_ms: None,
        reads: None,
        running: None,
        slot: None,
        snapshot: 0,
        stops: 0,
        team: None,
        tried: None,
        unchecked: None,
        version: 0,
    };
}

/// Takes identity from the credential; a request that claims another is refused.
fn identify(request: &mut Request, credential: &Credential) -> Result<(), Reason> {
    let (agent, tenant, team) = match credential {
        Credential::Agent { agent, tenant, team } => (agent, tenant, team),
        Credential::Person { id, tenant, .. } => return identify_person(request, id, tenant.as_deref()),
        Credential::Local | Credential::Development => return Ok(()),
    };
    let claims = |what: &str, claimed: &str, held: &str| {
        let message = format!("the request says {what} `{claimed}`, the key is for {what} `{held}`");
        Reason::guard(Code::InvalidRequest, message)
    };
    if request.agent.id.as_str() != agent {
        return Err(claims("agent", request.agent.id.as_str(), agent));
    }
    if request.tenant.as_str() != tenant {
        return Err(claims("tenant", request.tenant.as_str(), tenant));
    }
    match (&request.agent.team, team) {
        (Some(claimed), Some(held)) if claimed.as_str() != held => {
            Err(claims("team", claimed.as_str(), held))
        }
        (Some(claimed), None) => {
            let message =
                format!("the request says team `{claimed}`, the key has no team; register it with one");
            Err(Reason::guard(Code::InvalidRequest, message))
        }
        (None, Some(held)) => {
            request.agent.team = Name::new(held).ok();
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What the agent of a person's own actions is called.
pub const PERSON: &str = "person:";

/// A person acts as nobody but themselves, and only in their tenant.
fn identify_person(request: &Request, id: &str, tenant: Option<&str>) -> Result<(), Reason> {
    let refused = |message: String| Err(Reason::guard(Code::InvalidRequest, message));
    if request.agent.id.as_str().strip_prefix(PERSON) != Some(id) {
        return refused(format!("the key is that of the person `{id}`, who cannot ask as an agent"));
    }
    match tenant {
        Some(tenant) if tenant != request.tenant.as_str() => {
            refused(format!("the person `{id}` looks after the tenant `{tenant}` only"))
        }
        _ => Ok(()),
    }
}

/// Whether the credential may ask this.
pub(crate) fn is_identified(request: &Request, credential: &Credential) -> bool {
    identify(&mut request.clone(), credential).is_ok()
}

/// The request as `snapshot` sees it.
pub(crate) fn normalised(
    snapshot: &Snapshot,
    mut request: Box<Request>,
    credential: &Credential,
) -> Box<Request> {
    // Whoever may not ask was refused before.
    let _refused = identify(&mut request, credential);
    snapshot.catalogue.tag(&mut request);
    request
}

/// Refuses an action that could not be kept in the history that policies ask.
pub(crate) fn forgotten(decided: &mut Decided, why: &str) {
    if decided.settled.decision.permits() {
        decided.settled = Settled::denied(vec![Reason::guard(Code::PolicyError, unkept(why))], None);
        decided.effects.advance = None;
        decided.effects.approval = None;
        decided.effects.charged = None;
        decided.effects.open_until_ms = None;
        decided.effects.running = None;
        decided.effects.observations.clear();
    }
}

fn unkept(why: &str) -> String {
    format!("the request cannot be kept in the history that policies ask: {why}")
}

/// Freshness, nonce and the kill switch.
fn guards(snapshot: &Snapshot, request: &Request, facts: &Facts) -> Vec<Reason> {
    let mut denials = Vec::new();
    let window = snapshot.defaults.freshness_ms;
    match request.ts_ms {
        Some(ts) if ts.abs_diff(facts.now_ms) > window => {
            let away = ts.abs_diff(facts.now_ms);
            let message =
                format!("`ts_ms` is {away} ms away from the gate's clock; {window} ms are accepted");
            denials.push(Reason::guard(Code::StaleTimestamp, message));
        }
        _ => {}
    }
    if facts.nonce_used {
        denials.push(Reason::guard(
            Code::ReplayNonce,
            "the nonce was used before in this session; send a new one",
        ));
    }
    if let Some(stop) = &facts.stopped {
        denials.push(Reason::guard(Code::AgentKilled, stop.message()));
    }
    if snapshot.defaults.require_nonce && request.nonce.is_none() {
        let message = "this policy requires `nonce` and `ts_ms` on every request";
        denials.push(Reason::guard(Code::InvalidRequest, message));
    }
    denials
}

/// A nonce is used up by any decision on it, and remembered until `ts_ms` is stale for certain.
fn nonce_use(snapshot: &Snapshot, request: &Request, facts: &Facts) -> Option<NonceUse> {
    let value = request.nonce.clone().filter(|_| !facts.nonce_used)?;
    let latest = facts.now_ms.max(request.ts_ms.unwrap_or(facts.now_ms));
    // A stale request cannot be accepted again, so its nonce need not be remembered for ever.
    let bounded = latest.min(add(facts.now_ms, snapshot.defaults.freshness_ms));
    Some(NonceUse { until_ms: add(bounded, snapshot.defaults.freshness_ms), value })
}
