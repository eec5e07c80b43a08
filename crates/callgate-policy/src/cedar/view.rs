//! A request as Cedar sees it: entities and a context, made only as far as the policies at hand read.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use callgate_core::facts::Facts;
use callgate_core::request::Request;
use cedar_policy_core::ast::Request as CedarRequest;
use cedar_policy_core::ast::{Context, Entity, EntityUID, EntityUIDEntry, PartialValue, SlotEnv, Value};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use smol_str::SmolStr;

use super::answer::{Answer, Asked, holds};
use super::engine::Past;
use super::names::{TYPES, shared, uid};
use super::policy::Compiled;
use super::reads::{ARGS, CONFIDENCE, COST, ENVIRONMENT, Guard, LABELS, NOW, Parts, SESSION, TAGS, TOPIC};
use super::schema::{Actions, tool_entity};
use super::shapes::{decimal, moment, untyped};
use super::subject::{Subject, Target};

/// The most work for one decision: nodes visited and bytes walked, as counted before it begins.
const MAX_WORK: u64 = 1 << 28;

/// What cannot be read, and why.
#[derive(Debug, Default)]
struct Broken {
    parts: Vec<(Parts, String)>,
    args: Vec<(SmolStr, String)>,
}

/// One way to see a request.
pub(crate) struct View<'r> {
    subject: Subject<'r>,
    asked: Asked,
    entities: Entities,
    context: Context,
    broken: Broken,
    /// An upper bound for the size of any value.
    size: u64,
}

/// What views are made from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'r> {
    pub(crate) request: &'r Request,
    pub(crate) facts: &'r Facts,
    pub(crate) actions: &'r Actions,
    pub(crate) past: &'r Past,
}

impl<'r> View<'r> {
    /// Who asks and for what; without a context yet.
    pub(crate) fn frame(subject: Subject<'r>, source: Source<'_>, attributes: bool) -> Result<Self, String> {
        let principal = shared(&TYPES.agent, subject.agent);
        let (team, tenant) =
            (subject.team.map(|team| uid(&TYPES.team, team)), uid(&TYPES.tenant, subject.tenant));
        let mut list = Vec::with_capacity(4);
        if let Some(team) = team.as_ref().filter(|_| attributes) {
            let parents = HashSet::from([tenant.clone()]);
            let entity = Entity::new_with_attr_partial_value(team.clone(), [], HashSet::new(), parents, []);
            list.push(Arc::new(entity));
        }
        let held = if attributes { agent_attributes(&subject) } else { Vec::new() };
        let parents = team.into_iter().chain([tenant]).collect();
        let agent =
            Entity::new_with_attr_partial_value((*principal).clone(), held, HashSet::new(), parents, []);
        list.push(Arc::new(agent));
        let (action, resource) = called(&subject.target, source.actions, &mut list);
        let entities = add(Entities::new(), list)?;
        Ok(Self {
            subject,
            asked: Asked { principal, action, resource },
            entities,
            context: Context::empty(),
            broken: Broken::default(),
            size: 0,
        })
    }

    /// The action this is about.
    pub(crate) fn action(&self) -> &EntityUID {
        &self.asked.action
    }

    /// Whether the scope and the guards hold: the rest needs the context.
    pub(crate) fn precheck(&self, policy: &Compiled) -> Option<Answer> {
        if let Some(part) = policy.scope.differs(&self.asked, &self.entities) {
            return Some(Answer::Differs(part));
        }
        let holds = |guard: &Guard| match guard {
            // Reading what is not there fails; the evaluator finds that out.
            Guard::Environment(text) => self.subject.environment.is_none_or(|said| said == text),
            Guard::Tag(tag) => self.subject.tags.contains(&tag.as_str()),
        };
        if policy.guards.iter().all(|guard| {
            holds(guard) || (matches!(guard, Guard::Tag(_)) && self.reads_unsaid_before(policy, guard))
        }) {
            return policy.condition.is_none().then_some(Answer::Yes);
        }
        Some(Answer::False)
    }

    /// Whether an environment that is not said is read before this guard: that fails first.
    fn reads_unsaid_before(&self, policy: &Compiled, guard: &Guard) -> bool {
        self.subject.environment.is_none()
            && policy
                .guards
                .iter()
                .take_while(|other| *other != guard)
                .any(|other| matches!(other, Guard::Environment(_)))
    }

    /// Makes the context, as far as one of `policies` reads it.
    pub(crate) fn fill(&mut self, source: Source<'_>, policies: &[&Compiled]) -> Result<(), String> {
        let reads = |part: Parts| policies.iter().any(|policy| policy.reads.has(part));
        let mut context: BTreeMap<SmolStr, Value> = BTreeMap::new();
        if reads(ARGS) {
            let named = |name: &str| policies.iter().any(|policy| policy.reads.reads_arg(name));
            if let Some(args) = self.args(source.request, &named) {
                context.insert("args".into(), args);
            }
        }
        if reads(ARGS | LABELS) {
            self.size = size_of(source.request);
        }
        if reads(SESSION) {
            let names = ["id", "step", "function", "action_type"];
            let said = names.into_iter().zip(self.subject.session);
            let said = said.filter_map(|(name, text)| Some((SmolStr::new_static(name), Value::from(text?))));
            context.insert("session".into(), Value::record(said, None));
        }
        if reads(TAGS) {
            let tags = self.subject.tags.iter().map(|tag| Value::from(*tag));
            context.insert("risk_tags".into(), Value::set(tags, None));
        }
        if let Some(environment) = self.subject.environment.filter(|_| reads(ENVIRONMENT)) {
            context.insert("environment".into(), Value::from(environment));
        }
        if let Some(topic) = self.subject.topic.filter(|_| reads(TOPIC)) {
            context.insert("topic".into(), Value::from(topic));
        }
        if let Some(confidence) = source.request.confidence.filter(|_| reads(CONFIDENCE)) {
            self.number("confidence", CONFIDENCE, decimal(confidence), &mut context);
        }
        if reads(NOW) {
            self.number("now", NOW, moment(source.facts.now_ms), &mut context);
        }
        for name in policies.iter().flat_map(|policy| &policy.reads.past) {
            if let Some(Ok(held)) = source.past.get(name) {
                context.insert(name.clone(), Value::from(*held));
            }
        }
        let mut list = Vec::new();
        if reads(LABELS) {
            let tags = self.subject.labels.iter();
            let tags =
                tags.map(|(name, text)| (SmolStr::from(*name), PartialValue::from(Value::from(*text))));
            let entity = uid(&TYPES.labels, "request");
            context.insert("labels".into(), Value::from(entity.clone()));
            list.push(Arc::new(tagged(entity, tags.collect())));
        }
        if reads(COST) {
            let entity = uid(&TYPES.costs, "request");
            context.insert("cost".into(), Value::from(entity.clone()));
            list.push(Arc::new(tagged(entity, self.costs(source.request))));
        }
        if !list.is_empty() {
            self.entities = add(std::mem::take(&mut self.entities), list)?;
        }
        self.context = Context::Value(Arc::new(context));
        Ok(())
    }

    fn number(
        &mut self,
        name: &str,
        part: Parts,
        value: Option<Value>,
        context: &mut BTreeMap<SmolStr, Value>,
    ) {
        match value {
            Some(value) => drop(context.insert(name.into(), value)),
            None => {
                let why = format!("`context.{name}` is a number that Cedar cannot carry exactly");
                self.broken.parts.push((part, why));
            }
        }
    }

    fn costs(&mut self, request: &Request) -> Vec<(SmolStr, PartialValue)> {
        let mut tags = Vec::new();
        for (unit, amount) in &request.cost {
            match decimal(*amount) {
                Some(amount) => tags.push((SmolStr::from(unit.as_str()), PartialValue::from(amount))),
                None => {
                    let why = "`context.cost` has an amount that Cedar cannot carry exactly".to_owned();
                    self.broken.parts.push((COST, why));
                }
            }
        }
        tags
    }

    /// The arguments that are read, typed as the catalogue says; `None` where there is no tool.
    fn args(&mut self, request: &Request, named: &dyn Fn(&str) -> bool) -> Option<Value> {
        let mut args: Vec<(SmolStr, Value)> = Vec::new();
        let mut keep = |name: &SmolStr, value: Result<Value, String>| match value {
            Ok(value) => args.push((name.clone(), value)),
            Err(why) => self.broken.args.push((name.clone(), why)),
        };
        match self.subject.target {
            Target::Listed(tool) => {
                for (name, attribute) in tool.args.iter().filter(|(name, _)| named(name)) {
                    if let Some(value) = request.args.get(name) {
                        keep(name, attribute.shape.value(value, &format!("args.{name}")));
                    }
                }
            }
            Target::Unlisted { .. } => {
                for (name, value) in request.args.iter().filter(|(name, _)| named(name)) {
                    keep(&SmolStr::from(name), untyped(value, &format!("args.{name}")));
                }
            }
            Target::Topic(_) | Target::Function(_) => return None,
        }
        Some(Value::record(args, None))
    }

    /// What a policy that passed [`Self::precheck`] says; the context is filled.
    pub(crate) fn answer(&self, policy: &Compiled, work: &Cell<u64>) -> Answer {
        let Some(condition) = &policy.condition else { return Answer::Yes };
        if let Some(why) = self.unreadable(policy) {
            return Answer::Error(why.to_owned());
        }
        let walked = policy.reads.walks.saturating_mul(self.size);
        let spent = work.get().saturating_add(policy.reads.nodes).saturating_add(walked);
        work.set(spent);
        if spent > MAX_WORK {
            return Answer::Error("it would be too much work on arguments of this size".to_owned());
        }
        let known = |uid: &Arc<EntityUID>| EntityUIDEntry::Known { euid: Arc::clone(uid), loc: None };
        let asked = CedarRequest::new_unchecked(
            known(&self.asked.principal),
            known(&self.asked.action),
            known(&self.asked.resource),
            Some(self.context.clone()),
        );
        let evaluator = Evaluator::new(asked, &self.entities, Extensions::all_available());
        match holds(condition, &evaluator, &SlotEnv::new()) {
            Ok(true) => Answer::Yes,
            Ok(false) => Answer::False,
            Err(why) => Answer::Error(why),
        }
    }

    /// Why something that the policy reads cannot be read.
    fn unreadable(&self, policy: &Compiled) -> Option<&str> {
        let part = self.broken.parts.iter().find(|(part, _)| policy.reads.has(*part));
        let arg = || self.broken.args.iter().find(|(name, _)| policy.reads.reads_arg(name));
        part.map(|(_, why)| why.as_str()).or_else(|| arg().map(|(_, why)| why.as_str()))
    }
}

fn agent_attributes(subject: &Subject<'_>) -> Vec<(SmolStr, PartialValue)> {
    let entity = |of, name: &str| PartialValue::from(Value::from(uid(of, name)));
    let chain = subject.chain.iter().map(|agent| Value::from(uid(&TYPES.agent, agent)));
    let mut attributes = vec![
        (SmolStr::new_static("id"), PartialValue::from(Value::from(subject.agent))),
        (SmolStr::new_static("tenant"), entity(&TYPES.tenant, subject.tenant)),
        (SmolStr::new_static("chain"), PartialValue::from(Value::set(chain, None))),
    ];
    attributes.extend(subject.team.map(|team| (SmolStr::new_static("team"), entity(&TYPES.team, team))));
    let user = subject.on_behalf_of;
    attributes.extend(user.map(|user| (SmolStr::new_static("on_behalf_of"), entity(&TYPES.user, user))));
    attributes
}

/// The action and the resource; their entities are added to `list`.
fn called(
    target: &Target<'_>,
    actions: &Actions,
    list: &mut Vec<Arc<Entity>>,
) -> (Arc<EntityUID>, Arc<EntityUID>) {
    match target {
        Target::Listed(tool) => {
            list.push(Arc::clone(&tool.action_entity));
            list.push(Arc::clone(&tool.resource_entity));
            (Arc::clone(&tool.action), Arc::clone(&tool.resource))
        }
        Target::Unlisted { server, name, identity } => {
            let resource = shared(&TYPES.tool, identity);
            list.push(Arc::new(tool_entity(*server, name, &resource)));
            (Arc::clone(&actions.unlisted), resource)
        }
        Target::Topic(topic) => (Arc::clone(&actions.topic), shared(&TYPES.topic, topic)),
        Target::Function(function) => (Arc::clone(&actions.function), shared(&TYPES.function, function)),
    }
}

fn tagged(entity: EntityUID, tags: Vec<(SmolStr, PartialValue)>) -> Entity {
    Entity::new_with_attr_partial_value(entity, [], HashSet::new(), HashSet::new(), tags)
}

/// Adds entities whose ancestors are all named.
fn add(entities: Entities, list: Vec<Arc<Entity>>) -> Result<Entities, String> {
    entities
        .add_entities(
            list,
            None::<&NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            Extensions::all_available(),
        )
        .map_err(|_| "the request's entities do not fit together".to_owned())
}

/// How many bytes and values the arguments and labels have.
fn size_of(request: &Request) -> u64 {
    use callgate_core::value::Value as Json;
    let mut open: Vec<&Json> = request.args.iter().map(|(_, value)| value).collect();
    let mut size = request.labels.values().fold(0usize, |size, text| size.saturating_add(text.len()));
    while let Some(value) = open.pop() {
        size = size.saturating_add(1);
        match value {
            Json::Str(text) => size = size.saturating_add(text.len()),
            Json::List(items) => open.extend(items),
            Json::Map(map) => open.extend(map.iter().map(|(_, value)| value)),
            _ => {}
        }
    }
    u64::try_from(size).unwrap_or(u64::MAX)
}
