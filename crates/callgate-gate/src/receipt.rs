//! From a decision to the signed statement about it.
//!
//! Nothing of the request's content goes in unsalted but names: who, which tool, which rule.

use callgate_core::approval::{ApprovalDelta, ApprovalEffect};
use callgate_core::constraint::Limit;
use callgate_core::decide::{Ask, Decided};
use callgate_core::decision::{Code, Decision as CoreDecision, Mode as CoreMode};
use callgate_core::finding::{Answer, Consulted, Failure, Ruling as CoreRuling};
use callgate_core::in_force;
use callgate_core::request::Request;
use callgate_core::rule::Stage as CoreStage;
use callgate_core::state::DecisionDelta;
use callgate_core::state::unchecked::UncheckedDelta;
use callgate_log::Hash;
use callgate_log::hash::{domain, salted, sha256};
use callgate_log::json::{Decimal, Map, SafeInt};
use callgate_log::statement::{
    Action, Admin, Agent, Approval, ConstraintValue, Decision, DecisionKind, Finding, FindingKind, Gate,
    Grant, Mode, Pep, Reason, Ruling, Session, Shadow, Snapshot, Stage, Statement, Unchecked, Would,
};

/// What a malformed request is called in its receipt; the details may quote the request, so they
/// stay with the encrypted bytes and the reply.
const MALFORMED: &str = "the request is not well-formed";

/// The parts of a statement that are the same for every receipt of this gate.
#[derive(Debug, Clone)]
pub(crate) struct Letterhead {
    pub(crate) origin: String,
    pub(crate) version: String,
}

/// What a decision receipt binds beside the decision itself.
pub(crate) struct Binding<'a> {
    pub(crate) salt: &'a [u8; 32],
    pub(crate) action_bytes: &'a [u8],
    pub(crate) request_bytes: &'a [u8],
    pub(crate) facts_bytes: &'a [u8],
    pub(crate) delta_bytes: &'a [u8],
    pub(crate) prev: Option<[u8; 32]>,
    pub(crate) now_ms: i64,
    pub(crate) digest: [u8; 32],
    pub(crate) version: &'a str,
    /// The digest and version of the candidate beside it.
    pub(crate) candidate: Option<([u8; 32], &'a str)>,
    /// The credential's agent and tenant, for a request too malformed to name its own.
    pub(crate) presented: (&'a str, &'a str),
}

pub(crate) fn int(number: i64) -> SafeInt {
    SafeInt::try_from(number).unwrap_or(if number < 0 { SafeInt::MIN } else { SafeInt::MAX })
}

pub(crate) fn unsigned(number: u64) -> SafeInt {
    int(i64::try_from(number).unwrap_or(i64::MAX))
}

impl Letterhead {
    /// Of this version of the program.
    pub(crate) fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    pub(crate) fn gate(&self) -> Gate {
        Gate { origin: self.origin.clone(), version: self.version.clone() }
    }

    /// The statement about a decision.
    pub(crate) fn decision(&self, decided: &Decided, binding: &Binding<'_>) -> Statement {
        let settled = &decided.settled;
        let request = match &decided.ask {
            Ask::Request(request) => Some(request.as_ref()),
            Ask::Malformed(_) => None,
        };
        let (agent, tenant) = principal(request, binding.presented);
        let terms = settled.approval.as_ref().filter(|_| decided.effects.unchecked.is_none());
        let approval = terms.map(|terms| Approval {
            expires_at_ms: int(binding
                .now_ms
                .saturating_add(i64::try_from(terms.expires_ms).unwrap_or(i64::MAX))),
            receipt: None,
            stages: terms.stages.iter().map(stage).collect(),
        });
        let (approval, grant) = by_approval(approval, decided.effects.approval.as_deref());
        let unchecked = decided.effects.unchecked.as_deref();
        let predicate = Decision {
            action: action(request, binding.salt),
            agent,
            approval,
            code: unchecked
                .map_or(settled.code, |_| Some(Code::GateUnavailable))
                .map(|code| code.as_str().to_owned()),
            constraints: if unchecked.is_some() { Map::new() } else { constraints(decided) },
            decision: if unchecked.is_some() { DecisionKind::Unchecked } else { kind(settled.decision) },
            effects_digest: sha256(binding.delta_bytes),
            environment: request.and_then(|r| r.environment.as_ref()).map(ToString::to_string),
            expires_at_ms: int(decided.expires_at_ms),
            facts_commitment: salted(binding.salt, domain::FACTS, binding.facts_bytes),
            findings: findings(decided, binding.salt),
            gate: self.gate(),
            grant,
            issued_at_ms: int(binding.now_ms),
            matched_rule: settled
                .matched
                .as_ref()
                .filter(|_| unchecked.is_none())
                .map(|rule| rule.id.to_string()),
            mode: match settled.mode {
                CoreMode::Enforce => Mode::Enforce,
                CoreMode::Monitor => Mode::Monitor,
            },
            nonce: request.and_then(|r| r.nonce.clone()),
            pep: pep(request),
            prev: binding.prev.map(Hash::new),
            reasons: reasons(decided, request.is_none()),
            request_commitment: salted(binding.salt, domain::REQUEST, binding.request_bytes),
            retry_after_ms: settled.retry_after_ms.filter(|_| unchecked.is_none()).map(unsigned),
            risk_tags: request
                .map(|r| r.risk_tags.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            session: chained(&decided.effects)
                .map(|id| Session { id, step: request.and_then(Request::step).map(ToString::to_string) }),
            shadow: decided.shadow.as_ref().zip(binding.candidate).map(shadow),
            snapshot: Snapshot { digest: Hash::new(binding.digest), version: binding.version.to_owned() },
            tenant,
            unchecked: unchecked.map(ran_unchecked),
            would: would(decided),
        };
        Statement::decision(predicate, salted(binding.salt, domain::ACTION, binding.action_bytes))
    }

    /// The statement about a change to the gate itself.
    pub(crate) fn admin(
        &self,
        actor: &str,
        operation: &str,
        details: &[(&str, String)],
        delta_bytes: &[u8],
        now_ms: i64,
    ) -> Statement {
        let mut map = Map::new();
        for (key, value) in details {
            map.insert(*key, value.clone());
        }
        Statement::admin(Admin {
            actor: actor.to_owned(),
            details: map,
            effects_digest: sha256(delta_bytes),
            gate: self.gate(),
            issued_at_ms: int(now_ms),
            operation: operation.to_owned(),
        })
    }
}

/// What would have been answered, where that is not what was.
fn would(decided: &Decided) -> Option<Would> {
    let settled = &decided.settled;
    if decided.effects.unchecked.is_some() {
        return Some(Would {
            code: settled.code.map(|code| code.as_str().to_owned()),
            decision: kind(settled.decision),
            matched_rule: settled.matched.as_ref().map(|rule| rule.id.to_string()),
        });
    }
    settled.would.as_ref().map(|would| Would {
        code: would.code.map(|code| code.as_str().to_owned()),
        decision: kind(would.decision),
        matched_rule: would.matched.as_ref().map(|rule| rule.id.to_string()),
    })
}

fn ran_unchecked(ran: &UncheckedDelta) -> Unchecked {
    Unchecked {
        at_ms: int(ran.at_ms),
        exceeded: ran.exceeded.map(|why| why.as_str().to_owned()),
        journal: ran.journal.clone(),
        lease: unsigned(ran.lease),
        point: ran.point.clone(),
        sequence: unsigned(ran.sequence),
    }
}

fn stage(stage: &CoreStage) -> Stage {
    Stage { quorum: unsigned(u64::from(stage.quorum)), reviewers: stage.reviewers.clone() }
}

/// What the receipt says of approvals that earlier receipts opened.
fn by_approval(
    approval: Option<Approval>,
    delta: Option<&ApprovalDelta>,
) -> (Option<Approval>, Option<Grant>) {
    let grant = |receipt: u64, by: &[String], standing: Option<u64>| {
        Some(Grant { by: by.to_vec(), receipt: unsigned(receipt), standing: standing.map(unsigned) })
    };
    match delta.map(|delta| &delta.effect) {
        Some(ApprovalEffect::Meets { approval: opened, expires_at_ms }) => {
            let met = approval.map(|approval| Approval {
                expires_at_ms: int(*expires_at_ms),
                receipt: Some(unsigned(*opened)),
                ..approval
            });
            (met, None)
        }
        Some(ApprovalEffect::Uses { approval: opened, by }) => (approval, grant(*opened, by, None)),
        Some(ApprovalEffect::UsesStanding { approval: opened, by, standing }) => {
            (approval, grant(*opened, by, Some(*standing)))
        }
        _ => (approval, None),
    }
}

/// The id of the session whose chain this receipt continues.
fn chained(effects: &DecisionDelta) -> Option<String> {
    effects.key.as_ref().filter(|key| key.is_chained()).map(|key| key.session.clone())
}

fn principal(request: Option<&Request>, presented: (&str, &str)) -> (Agent, String) {
    match request {
        Some(request) => {
            let agent = &request.agent;
            let principal = Agent {
                chain: agent.chain.iter().map(ToString::to_string).collect(),
                id: agent.id.to_string(),
                on_behalf_of: agent.on_behalf_of.as_ref().map(ToString::to_string),
                team: agent.team.as_ref().map(ToString::to_string),
            };
            (principal, request.tenant.to_string())
        }
        None => {
            let (agent, tenant) = presented;
            (
                Agent { chain: Vec::new(), id: agent.to_owned(), on_behalf_of: None, team: None },
                tenant.to_owned(),
            )
        }
    }
}

fn action(request: Option<&Request>, salt: &[u8; 32]) -> Action {
    let mut args = String::new();
    if let Some(request) = request {
        request.args.write_canonical(&mut args);
    }
    let session = request.map(|r| &r.session);
    let tool = request.and_then(|r| r.tool.as_ref());
    Action {
        action_type: session.and_then(|s| s.action_type.as_ref()).map(ToString::to_string),
        args_commitment: salted(salt, domain::ARGS, args.as_bytes()),
        function: session.and_then(|s| s.function.as_ref()).map(ToString::to_string),
        server: tool.and_then(|t| t.server.as_ref()).map(ToString::to_string),
        tool: tool.map(|t| t.name.to_string()),
        topic: request.and_then(|r| r.topic.as_ref()).map(ToString::to_string),
    }
}

fn pep(request: Option<&Request>) -> Pep {
    request.and_then(|r| r.pep.as_ref()).map_or_else(
        || Pep { enforces: Vec::new(), id: "unnamed".to_owned() },
        |pep| Pep { enforces: pep.enforces.iter().cloned().collect(), id: pep.id.to_string() },
    )
}

const fn kind(decision: CoreDecision) -> DecisionKind {
    match decision {
        CoreDecision::Allow => DecisionKind::Allow,
        CoreDecision::AllowWithConstraints => DecisionKind::AllowWithConstraints,
        CoreDecision::Throttle => DecisionKind::Throttle,
        CoreDecision::RequireApproval => DecisionKind::RequireApproval,
        CoreDecision::Deny => DecisionKind::Deny,
    }
}

fn constraints(decided: &Decided) -> Map<ConstraintValue> {
    let mut map = Map::new();
    for (kind, limit) in decided.settled.constraints.iter() {
        let value = match limit {
            Limit::Number(number) => ConstraintValue::Int(unsigned(*number)),
            Limit::Names(names) => ConstraintValue::List(names.iter().cloned().collect()),
            Limit::Switch(on) => ConstraintValue::Bool(*on),
        };
        map.insert(kind.as_str(), value);
    }
    map
}

fn shadow((said, (digest, version)): (&in_force::Shadow, ([u8; 32], &str))) -> Shadow {
    Shadow {
        code: said.code.map(|code| code.as_str().to_owned()),
        decision: said.decision.map(kind),
        matched_rule: said.matched.as_ref().map(ToString::to_string),
        snapshot: Snapshot { digest: Hash::new(digest), version: version.to_owned() },
    }
}

/// What the decision rests on that a judge said.
fn findings(decided: &Decided, salt: &[u8; 32]) -> Vec<Finding> {
    decided.consulted.iter().map(|consulted| finding(consulted, salt)).collect()
}

fn finding(consulted: &Consulted, salt: &[u8; 32]) -> Finding {
    let found = &consulted.finding;
    let whole = Finding {
        answer: None,
        cached: found.cached,
        confidence: None,
        failure: None,
        kind: FindingKind::Judge,
        latency_ms: unsigned(found.latency_ms),
        model: None,
        question_commitment: salted(salt, domain::QUESTION, found.question.as_bytes()),
        rule: consulted.rule.to_string(),
    };
    let given = match &found.answer {
        Answer::Failed { failure } => Err(*failure),
        // Only a confidence that was not checked has no plain decimal form.
        Answer::Given { model, ruling, confidence } => Decimal::parse(&confidence.to_string())
            .map(|confidence| (model.clone(), word(*ruling), confidence))
            .map_err(|_| Failure::Malformed),
    };
    match given {
        Err(failure) => Finding { failure: Some(failure.as_str().to_owned()), ..whole },
        Ok((model, answer, confidence)) => {
            Finding { answer: Some(answer), confidence: Some(confidence), model: Some(model), ..whole }
        }
    }
}

const fn word(ruling: CoreRuling) -> Ruling {
    match ruling {
        CoreRuling::Complies => Ruling::Complies,
        CoreRuling::Violates => Ruling::Violates,
        CoreRuling::Unsure => Ruling::Unsure,
    }
}

/// The most reasons a receipt lists, and the longest message: a denial must always fit into one. The
/// reply has them all.
const MAX_REASONS: usize = 32;
const MAX_MESSAGE: usize = 256;

/// What a receipt says of a reason. An evaluation error may quote an argument, so it stays in the reply.
fn public_message(reason: &callgate_core::decision::Reason, malformed: bool) -> String {
    match (malformed, reason.code) {
        (true, _) => MALFORMED.to_owned(),
        (false, Some(Code::PolicyError)) => "the rule could not be evaluated on this request".to_owned(),
        _ => reason.message.chars().take(MAX_MESSAGE).collect(),
    }
}

fn reasons(decided: &Decided, malformed: bool) -> Vec<Reason> {
    let reasons = decided.settled.reasons.iter().take(MAX_REASONS);
    reasons
        .map(|reason| Reason {
            code: reason.code.map_or("ALLOW", Code::as_str).to_owned(),
            message: public_message(reason, malformed),
            rule: reason.rule.as_ref().map(ToString::to_string),
            source: reason.source.as_ref().map(ToString::to_string),
        })
        .collect()
}
