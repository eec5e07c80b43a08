//! Contracts: steps from text or environment, action maps, and which contract may claim a request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use callgate_core::contract::{self, Contract};
use callgate_core::fields::nearest;
use callgate_core::name::Name;
use callgate_core::pattern::Pattern;
use callgate_core::value::Value;

use super::Part;
use super::dead::overlap;
use crate::codes::Code;
use crate::decode::{MeantText, Sink, Spanned};
use crate::diagnostic::Problems;
use crate::fingerprint;
use crate::language::contracts::ContractText;
use crate::language::steps::{Steps, step_order};

/// Reads all contracts, sorted by id.
pub(super) fn lower(
    parts: &[Part<'_, MeantText<ContractText>>],
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Vec<Contract> {
    let mut lowered: Vec<(&Part<'_, MeantText<ContractText>>, Contract)> = Vec::new();
    for part in parts {
        let sink = &mut Sink { file: part.file, problems };
        let Some(contract) = contract(part, env, sink) else { continue };
        if let Some((_, other)) = lowered.iter().find(|(_, other)| ambiguous(other, &contract)) {
            let message = format!(
                "the contracts `{}` and `{}` could both claim one request",
                other.rule.id, contract.rule.id
            );
            let span = part.text.text.id.as_ref().map(|id| id.span).unwrap_or_default();
            sink.add(Code::AmbiguousContracts, span, message)
                .help("give each contract `agents` of its own, or steps and functions of its own");
        }
        lowered.push((part, contract));
    }
    lowered.sort_by(|(_, a), (_, b)| a.rule.id.cmp(&b.rule.id));
    lowered.into_iter().map(|(_, contract)| contract).collect()
}

fn contract(
    part: &Part<'_, MeantText<ContractText>>,
    env: &BTreeMap<String, String>,
    sink: &mut Sink<'_>,
) -> Option<Contract> {
    let MeantText { text, node } = &part.text;
    let id = text.id.as_ref()?;
    let steps = steps(text.steps.as_ref()?, env, sink)?;
    let actions = text.actions.as_ref().map(|actions| {
        let entry = |(function, types): &(Spanned<Name>, Vec<Spanned<Name>>)| {
            (function.value.to_string(), types.iter().map(|ty| ty.value.to_string()).collect())
        };
        actions.value.iter().map(entry).collect::<BTreeMap<String, BTreeSet<String>>>()
    });
    if part.sound {
        impassable(text, &steps, actions.as_ref(), sink);
    }
    let seal_at = seal_at(text, &steps, sink)?;
    let seal_on = seal_on(text, &seal_at, actions.as_ref(), sink);
    let agents =
        text.agents.iter().flat_map(|agents| &agents.value).map(|agent| agent.value.clone()).collect();
    // The order may come from an environment variable.
    let order = Value::List(steps.iter().map(|step| Value::from(step.as_str())).collect());
    let fingerprint = fingerprint::of_mapping(node, &[("steps", order)]);
    let rule = Arc::new(contract::rule_of(id.value.as_str(), sink.file.source(id.span), fingerprint));
    Some(Contract { rule, steps, actions, seal_at, seal_on, agents })
}

/// The steps, each once.
fn steps(text: &Spanned<Steps>, env: &BTreeMap<String, String>, sink: &mut Sink<'_>) -> Option<Vec<String>> {
    let spanned = match &text.value {
        Steps::Here(steps) => steps.clone(),
        Steps::Variable(variable) => {
            let value = variable_steps(variable, env, sink)?;
            value.into_iter().map(|value| Spanned { value, span: variable.span }).collect()
        }
    };
    let mut seen = BTreeSet::new();
    for step in &spanned {
        if !seen.insert(step.value.as_str()) {
            let message = format!("the step `{}` stands twice in the order", step.value);
            sink.add(Code::BadSteps, step.span, message).help("give each step a name of its own");
        }
    }
    Some(spanned.iter().map(|step| step.value.to_string()).collect())
}

fn variable_steps(
    variable: &Spanned<String>,
    env: &BTreeMap<String, String>,
    sink: &mut Sink<'_>,
) -> Option<Vec<Name>> {
    let name = &variable.value;
    let Some(value) = env.get(name) else {
        let message = format!("the environment variable `{name}` is not set");
        let help = format!("set it where the gate is started, such as `{name}=\"intake,execution,settle\"`");
        sink.add(Code::EnvVariable, variable.span, message).help(help);
        return None;
    };
    step_order(value)
        .map_err(|problem| {
            let message = format!("the environment variable `{name}` holds no step order: {problem}");
            sink.add(Code::EnvVariable, variable.span, message)
                .help("separate the steps by commas, such as `intake,execution,settle`");
        })
        .ok()
}

/// Warns of steps that no session can pass. Only where functions are steps: otherwise a request may
/// name a function beside its step.
fn impassable(
    text: &ContractText,
    steps: &[String],
    actions: Option<&BTreeMap<String, BTreeSet<String>>>,
    sink: &mut Sink<'_>,
) {
    let (Some(actions), Some(span)) = (actions, text.actions.as_ref().map(|text| text.span)) else { return };
    if actions.keys().any(|function| !steps.contains(function)) {
        return;
    }
    let closed = |step: &&String| actions.get(*step).is_none_or(BTreeSet::is_empty);
    let closed: Vec<String> = steps.iter().filter(closed).map(|step| format!("`{step}`")).collect();
    if !closed.is_empty() {
        let message =
            format!("no action type is permitted in {}, so no session can pass there", closed.join(", "));
        sink.add(Code::ImpassableStep, span, message).help("add what these steps may do to `actions`");
    }
}

fn seal_at(text: &ContractText, steps: &[String], sink: &mut Sink<'_>) -> Option<String> {
    let Some(seal_at) = &text.seal_at else { return steps.last().cloned() };
    if steps.iter().any(|step| step == seal_at.value.as_str()) {
        return Some(seal_at.value.to_string());
    }
    let message = format!("`{}` is not a step of this contract", seal_at.value);
    unknown(seal_at, message, steps.iter().map(String::as_str), sink);
    None
}

fn seal_on(
    text: &ContractText,
    seal_at: &str,
    actions: Option<&BTreeMap<String, BTreeSet<String>>>,
    sink: &mut Sink<'_>,
) -> BTreeSet<String> {
    let wanted = text.seal_on.iter().flat_map(|types| &types.value);
    let known = actions.and_then(|actions| actions.get(seal_at));
    let mut found = BTreeSet::new();
    for ty in wanted {
        found.insert(ty.value.to_string());
        if let Some(known) = known.filter(|known| !known.contains(ty.value.as_str())) {
            let message = format!("`{seal_at}` does not permit `{}`, so it never ends the session", ty.value);
            unknown(ty, message, known.iter().map(String::as_str), sink);
        }
    }
    found
}

fn unknown<'k>(
    word: &Spanned<Name>,
    message: String,
    known: impl Iterator<Item = &'k str> + Clone,
    sink: &mut Sink<'_>,
) {
    let help = nearest(word.value.as_str(), known.clone()).map_or_else(
        || format!("write one of {}", known.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    sink.add(Code::UnknownStep, word.span, message).help(help);
}

/// Whether two contracts could claim one request: agents of both, or a word of both for requests of
/// any agent.
fn ambiguous(a: &Contract, b: &Contract) -> bool {
    match (a.agents.is_empty(), b.agents.is_empty()) {
        (true, true) => words(a).any(|word| words(b).any(|other| word == other)),
        (false, false) => a.agents.iter().any(|one| b.agents.iter().any(|two| shares(one, two))),
        // A contract that binds an agent comes before those that anyone may begin.
        _ => false,
    }
}

fn shares(a: &Pattern, b: &Pattern) -> bool {
    overlap(a.folded().segments(), b.folded().segments())
}

fn words(contract: &Contract) -> impl Iterator<Item = &str> {
    let functions = contract.actions.iter().flatten().map(|(function, _)| function.as_str());
    contract.steps.iter().map(String::as_str).chain(functions)
}
