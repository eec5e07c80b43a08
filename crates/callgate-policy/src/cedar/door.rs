//! A door for conformance suites and benchmarks: whole policy sets under Cedar's own rules, answered
//! by the evaluation that decides here, one policy at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy_core::ast::{
    Context, Eid, EntityType, EntityUID, EntityUIDEntry, Name, Policy, PolicySet, Request as CedarRequest,
};
use cedar_policy_core::entities::{ContextJsonParser, EntityJsonParser, TCComputation};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::{CoreSchema, ValidatorSchema, context_schema_for_action};
use cedar_policy_core::{ast, entities, parser};

use super::answer::{Asked, Scope, holds};
use super::reads::bare;

/// Policies without a bundle around them.
#[derive(Debug)]
pub struct Policies(Vec<(Policy, Scope, Option<ast::Expr>)>);

/// The entities of a case.
#[derive(Debug)]
pub struct Entities(entities::Entities);

/// A question.
#[derive(Debug, Clone)]
pub struct Query {
    asked: Asked,
    context: Context,
}

/// What Cedar's semantics make of the policies' own answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Whether some `permit` is satisfied and no `forbid`.
    pub allow: bool,
    /// The policies that decided.
    pub reasons: BTreeSet<String>,
    /// The policies that could not be evaluated.
    pub errors: BTreeSet<String>,
}

impl Policies {
    /// Reads a set of policies; they are named `policy0`, `policy1`, ….
    ///
    /// # Errors
    /// What Cedar's parser says.
    pub fn parse(text: &str) -> Result<Self, String> {
        parser::parse_policyset(text).map(|set| Self::new(&set)).map_err(|e| e.to_string())
    }

    fn new(set: &PolicySet) -> Self {
        let own =
            |policy: &Policy| (policy.clone(), Scope::of(policy), policy.non_scope_constraints().map(bare));
        Self(set.policies().map(own).collect())
    }

    /// Answers a question.
    #[must_use]
    pub fn answer(&self, query: &Query, entities: &Entities) -> Answered {
        let (mut permits, mut forbids, mut errors) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let known = |uid: &Arc<EntityUID>| EntityUIDEntry::Known { euid: Arc::clone(uid), loc: None };
        let asked = CedarRequest::new_unchecked(
            known(&query.asked.principal),
            known(&query.asked.action),
            known(&query.asked.resource),
            Some(query.context.clone()),
        );
        let evaluator = Evaluator::new(asked, &entities.0, Extensions::all_available());
        for (policy, scope, condition) in &self.0 {
            if scope.differs(&query.asked, &entities.0).is_some() {
                continue;
            }
            let held = condition.as_ref().map_or(Ok(true), |it| holds(it, &evaluator, policy.env()));
            let list = match (held, policy.effect()) {
                (Ok(false), _) => continue,
                (Ok(true), ast::Effect::Permit) => &mut permits,
                (Ok(true), ast::Effect::Forbid) => &mut forbids,
                (Err(_), _) => &mut errors,
            };
            list.insert(policy.id().to_string());
        }
        let allow = forbids.is_empty() && !permits.is_empty();
        Answered { allow, reasons: if forbids.is_empty() { permits } else { forbids }, errors }
    }
}

/// A schema, as cases have it.
#[derive(Debug)]
pub struct Schema(ValidatorSchema);

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// What Cedar's parser says.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read = ValidatorSchema::from_cedarschema_str(text, Extensions::all_available());
        read.map(|(schema, _)| Self(schema)).map_err(|e| e.to_string())
    }
}

impl Entities {
    /// Reads entities in Cedar's JSON form against a schema.
    ///
    /// # Errors
    /// What Cedar's parser says.
    pub fn parse(text: &str, schema: &Schema) -> Result<Self, String> {
        let core = CoreSchema::new(&schema.0);
        let extensions = Extensions::all_available();
        let parser = EntityJsonParser::new(Some(&core), extensions, TCComputation::ComputeNow);
        parser.from_json_str(text).map(Self).map_err(|e| e.to_string())
    }
}

impl Query {
    /// A question of that principal, action and resource, each a type and a name, in a context of
    /// Cedar's JSON form.
    ///
    /// # Errors
    /// What Cedar's parser says.
    pub fn parse(
        principal: (&str, &str),
        action: (&str, &str),
        resource: (&str, &str),
        context: &str,
        schema: &Schema,
    ) -> Result<Self, String> {
        let uid = |(of, name): (&str, &str)| {
            let of: Name = of.parse().map_err(|_| format!("`{of}` is no type"))?;
            let of = EntityType::EntityType(of);
            Ok::<_, String>(Arc::new(EntityUID::from_components(of, Eid::new(name), None)))
        };
        let asked = Asked { principal: uid(principal)?, action: uid(action)?, resource: uid(resource)? };
        let extensions = Extensions::all_available();
        let shape = context_schema_for_action(&schema.0, &asked.action);
        let context = ContextJsonParser::new(shape.as_ref(), extensions).from_json_str(context);
        context.map(|context| Self { asked, context }).map_err(|e| e.to_string())
    }
}
