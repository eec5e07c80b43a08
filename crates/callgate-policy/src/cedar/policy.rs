//! One policy in the form that is judged.

use std::sync::Arc;

use callgate_core::decision::Decision;
use callgate_core::index::Keys;
use callgate_core::name::Name;
use callgate_core::pattern::Pattern;
use callgate_core::rule::{Rule, Specificity};
use cedar_policy_core::ast::{
    ActionConstraint, EntityReference, EntityUID, Expr, Policy, PrincipalOrResourceConstraint,
};

use super::answer::Scope;
use super::names::{TYPES, UNLISTED, eid};
use super::reads::{Guard, Reads, bare, guards, is_deeper};
use super::schema::Actions;

/// How deep a condition may nest: every level costs the evaluator some kilobytes of stack.
pub(crate) const MAX_DEPTH: usize = 128;
/// The longest pattern of a `like`, in characters.
pub(crate) const MAX_PATTERN: usize = 256;

/// Why a policy is refused although Cedar reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMuch {
    Depth,
    Pattern,
}

/// A policy.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) rule: Arc<Rule>,
    pub(crate) scope: Scope,
    pub(crate) condition: Option<Expr>,
    pub(crate) reads: Reads,
    pub(crate) guards: Vec<Guard>,
    /// Whether it names what the catalogue does not list, so that it may permit that.
    pub(crate) names_unlisted: bool,
}

impl Compiled {
    /// Compiles a static policy.
    ///
    /// # Errors
    /// What there is too much of.
    pub(crate) fn new(rule: Arc<Rule>, policy: &Policy) -> Result<Self, TooMuch> {
        let written = policy.non_scope_constraints();
        if written.is_some_and(|condition| is_deeper(condition, MAX_DEPTH)) {
            return Err(TooMuch::Depth);
        }
        let condition = written.map(bare);
        let mut reads = Reads::of(condition.as_ref());
        if reads.longest > MAX_PATTERN {
            return Err(TooMuch::Pattern);
        }
        let scope = Scope::of(policy);
        for uid in scope.named() {
            reads.spell(eid(uid));
        }
        let guards = condition.as_ref().map(guards).unwrap_or_default();
        let names_unlisted = scope.names_unlisted();
        Ok(Self { rule, scope, condition, reads, guards, names_unlisted })
    }

    /// Whether it may restrict: then look-alikes count, and what is unsaid.
    pub(crate) fn restricts(&self) -> bool {
        self.rule.effect != Decision::Allow
    }

    /// Whether it may permit.
    pub(crate) fn permits(&self) -> bool {
        self.rule.effect.permits()
    }

    /// How narrowly its scope fits a request for that action.
    pub(crate) fn specificity(&self, action: &EntityUID) -> Specificity {
        let mut found = Specificity::default();
        for constraint in [&self.scope.principal, &self.scope.resource] {
            match constraint {
                PrincipalOrResourceConstraint::Any => {}
                PrincipalOrResourceConstraint::Eq(_) => found.count(true),
                _ => found.count(false),
            }
        }
        match &self.scope.action {
            ActionConstraint::Any => {}
            ActionConstraint::Eq(_) => found.count(true),
            ActionConstraint::In(list) => found.count(list.iter().any(|it| **it == *action)),
            #[expect(unreachable_patterns, reason = "a feature of Cedar's adds a variant")]
            _ => {}
        }
        found
    }

    /// What it can be found by.
    pub(crate) fn keys(&self, actions: &Actions) -> Keys {
        let resource = match &self.scope.resource {
            PrincipalOrResourceConstraint::Eq(EntityReference::EUID(uid)) => Some(uid),
            _ => None,
        };
        let only = |of: &cedar_policy_core::ast::EntityType| {
            resource
                .filter(|uid| uid.entity_type() == of)
                .and_then(|uid| exactly(eid(uid)))
                .into_iter()
                .collect()
        };
        let agent = match &self.scope.principal {
            PrincipalOrResourceConstraint::Eq(EntityReference::EUID(uid))
                if *uid.entity_type() == TYPES.agent =>
            {
                exactly(eid(uid))
            }
            _ => None,
        };
        let mut tools: Vec<Pattern> = only(&TYPES.tool);
        if tools.is_empty() {
            tools = self.scope.tools(actions).unwrap_or_default();
        }
        Keys {
            tools,
            topics: only(&TYPES.topic),
            functions: only(&TYPES.function),
            all_tags: self.tags(),
            agents: agent.into_iter().collect(),
        }
    }

    /// Tags without which the condition is surely false. Where the environment is not said, reading it
    /// fails for a permit, which is to be seen; a restrictive policy does not fail there.
    fn tags(&self) -> Vec<Name> {
        let mut tags = Vec::new();
        for guard in &self.guards {
            match guard {
                Guard::Environment(_) if self.permits() => break,
                Guard::Environment(_) => {}
                Guard::Tag(tag) => tags.extend(Name::new(tag)),
            }
        }
        tags
    }
}

/// The pattern of exactly this name; `None` if it has stars.
fn exactly(text: &str) -> Option<Pattern> {
    Pattern::new(text).ok().filter(Pattern::is_exact)
}

impl Scope {
    /// The entities it names.
    fn named(&self) -> Vec<&Arc<EntityUID>> {
        let of = |constraint| match constraint {
            &PrincipalOrResourceConstraint::Eq(EntityReference::EUID(ref uid))
            | &PrincipalOrResourceConstraint::In(EntityReference::EUID(ref uid))
            | &PrincipalOrResourceConstraint::IsIn(_, EntityReference::EUID(ref uid)) => Some(uid),
            _ => None,
        };
        of(&self.principal).into_iter().chain(of(&self.resource)).collect()
    }

    /// Whether it names unlisted tools as such, or one tool exactly.
    fn names_unlisted(&self) -> bool {
        let unlisted = |action: &Arc<EntityUID>| eid(action) == UNLISTED;
        let action = match &self.action {
            ActionConstraint::Eq(action) => unlisted(action),
            ActionConstraint::In(actions) => actions.iter().any(unlisted),
            _ => false,
        };
        action || matches!(self.resource, PrincipalOrResourceConstraint::Eq(_))
    }

    /// The tools whose actions it names; `None` where it speaks of other actions, too.
    fn tools(&self, actions: &Actions) -> Option<Vec<Pattern>> {
        let list = match &self.action {
            ActionConstraint::Eq(action) => std::slice::from_ref(action),
            ActionConstraint::In(list) => list.as_slice(),
            _ => return None,
        };
        let mut tools = Vec::new();
        for action in list {
            for tool in actions.members(action)? {
                tools.push(exactly(tool.identity.as_str())?);
            }
        }
        Some(tools)
    }

    /// Whether nothing of it restricts.
    pub(crate) fn is_open(&self) -> bool {
        matches!(
            (&self.principal, &self.action, &self.resource),
            (PrincipalOrResourceConstraint::Any, ActionConstraint::Any, PrincipalOrResourceConstraint::Any)
        )
    }
}
