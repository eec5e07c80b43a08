//! The pure core: `decide` on facts, and the state it folds to.

use callgate_core::decide::{Ask, decide, levels};
use callgate_core::decision::Code;
use callgate_core::facts::Credential;
use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_core::state::{Change, Delta, State};
use serde_json::Value;

use crate::case::{Answer, Asked, Case};

const NOW_MS: i64 = 1_790_000_000_000;

pub(crate) fn ask(case: &Case) -> Result<Vec<Answer>, String> {
    let snapshot =
        callgate_policy::compile(&case.bundle).unwrap_or_else(|report| panic!("{}:\n{report}", case.name));
    let credential = case.key.as_ref().map_or(Credential::Local, |key| Credential::Agent {
        agent: key.agent.clone(),
        tenant: key.tenant.clone(),
        team: key.team.clone(),
    });
    let mut state = State::default();
    let one = |(index, asked): (u64, &Asked)| {
        let ask = match Request::parse(&asked.bytes(NOW_MS), &Limits::REQUEST) {
            Ok(request) => Ask::Request(Box::new(request)),
            Err(problem) => Ask::Malformed(problem.to_string()),
        };
        let request = match &ask {
            Ask::Request(request) => Some(request.as_ref()),
            Ask::Malformed(_) => None,
        };
        let asks = levels(&snapshot, &ask, &credential);
        let facts = state.facts_of(request, credential.clone(), NOW_MS, asks.as_deref());
        let decided = decide(&snapshot, ask, &facts);
        let delta = Delta { change: Change::Decision(decided.effects.clone()), now_ms: NOW_MS };
        let mut sha256 = [0; 32];
        sha256[..8].copy_from_slice(&index.to_be_bytes());
        state.apply(index, &sha256, &delta);
        answer(&decided)
    };
    Ok((0..).zip(&case.asks).map(one).collect())
}

fn answer(decided: &callgate_core::decide::Decided) -> Answer {
    let settled = &decided.settled;
    let word = |code: Code| code.as_str().to_owned();
    let constraints: Value = serde_json::from_str(&settled.constraints.to_value().canonical()).unwrap();
    Answer {
        decision: settled.decision.as_str().to_owned(),
        code: settled.code.map(word),
        rule: settled.matched.as_ref().map(|rule| rule.id.to_string()),
        constraints,
        retry_after_ms: settled.retry_after_ms,
        codes: settled.reasons.iter().filter_map(|reason| reason.code).map(word).collect(),
        reviewers: settled.approval.as_ref().map(|terms| terms.stages[0].reviewers.clone()),
    }
}
