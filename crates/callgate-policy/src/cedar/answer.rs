//! What one policy says of one question: its scope, then its condition.

use std::sync::Arc;

use cedar_policy_core::ast::{
    ActionConstraint, EntityReference, EntityUID, Expr, Literal, Policy, PrincipalOrResourceConstraint,
    SlotEnv, ValueKind,
};
use cedar_policy_core::entities::{Dereference, Entities};
use cedar_policy_core::evaluator::{EvaluationError, Evaluator};

/// How far a policy came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is satisfied.
    Yes,
    /// It is not: this part of its scope differs.
    Differs(&'static str),
    /// It is not: its condition is false.
    False,
    /// It cannot be evaluated.
    Error(String),
}

/// Who and what a policy is about.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) principal: PrincipalOrResourceConstraint,
    pub(crate) action: ActionConstraint,
    pub(crate) resource: PrincipalOrResourceConstraint,
}

/// Who asks for what.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) principal: Arc<EntityUID>,
    pub(crate) action: Arc<EntityUID>,
    pub(crate) resource: Arc<EntityUID>,
}

impl Scope {
    /// The scope of a policy; of a linked one, with its slots filled.
    pub(crate) fn of(policy: &Policy) -> Self {
        Self {
            principal: policy.principal_constraint().into_inner(),
            action: policy.action_constraint().clone(),
            resource: policy.resource_constraint().into_inner(),
        }
    }

    /// The first part that differs.
    pub(crate) fn differs(&self, asked: &Asked, entities: &Entities) -> Option<&'static str> {
        if !admits(&self.principal, &asked.principal, entities) {
            return Some("principal");
        }
        let within = |group: &Arc<EntityUID>| is_in(&asked.action, group, entities);
        let action = match &self.action {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(action) => *action == asked.action,
            ActionConstraint::In(actions) => actions.iter().any(within),
            #[expect(unreachable_patterns, reason = "a feature of Cedar's adds a variant")]
            _ => false,
        };
        if !action {
            return Some("action");
        }
        (!admits(&self.resource, &asked.resource, entities)).then_some("resource")
    }
}

fn admits(constraint: &PrincipalOrResourceConstraint, uid: &EntityUID, entities: &Entities) -> bool {
    let names = |reference: &EntityReference, test: &dyn Fn(&EntityUID) -> bool| match reference {
        EntityReference::EUID(named) => test(named),
        EntityReference::Slot(_) => false,
    };
    match constraint {
        PrincipalOrResourceConstraint::Any => true,
        PrincipalOrResourceConstraint::Eq(named) => names(named, &|named| named == uid),
        PrincipalOrResourceConstraint::In(named) => names(named, &|named| is_in(uid, named, entities)),
        PrincipalOrResourceConstraint::Is(of) => **of == *uid.entity_type(),
        PrincipalOrResourceConstraint::IsIn(of, named) => {
            **of == *uid.entity_type() && names(named, &|named| is_in(uid, named, entities))
        }
    }
}

fn is_in(uid: &EntityUID, ancestor: &EntityUID, entities: &Entities) -> bool {
    uid == ancestor
        || matches!(entities.entity(uid), Dereference::Data(entity) if entity.is_descendant_of(ancestor))
}

/// Whether the condition holds.
///
/// # Errors
/// Why it cannot be evaluated, without any value of the request.
pub(crate) fn holds(condition: &Expr, evaluator: &Evaluator<'_>, slots: &SlotEnv) -> Result<bool, String> {
    match evaluator.interpret(condition, slots) {
        Ok(value) => match value.value {
            ValueKind::Lit(Literal::Bool(answer)) => Ok(answer),
            _ => Err("the condition is not a boolean".to_owned()),
        },
        Err(error) => Err(explain(&error)),
    }
}

/// What went wrong. Cedar's own messages may quote arguments, which receipts must not show.
fn explain(error: &EvaluationError) -> String {
    let what = match error {
        EvaluationError::EntityDoesNotExist(_) => "an entity that the request does not have is read",
        EvaluationError::EntityAttrDoesNotExist(_) => "an attribute that the entity does not have is read",
        // The policy's own word: it quotes nothing but the attribute.
        EvaluationError::RecordAttrDoesNotExist(missing) => return missing.to_string(),
        EvaluationError::FailedExtensionFunctionLookup(_) => "a function that does not exist is called",
        EvaluationError::TypeError(_) => "a value has another type than the operation takes",
        EvaluationError::WrongNumArguments(_) => "a function is called with another number of arguments",
        EvaluationError::IntegerOverflow(_) => "a whole number overflows 64 bits",
        EvaluationError::UnlinkedSlot(_) => "a template is not linked",
        EvaluationError::FailedExtensionFunctionExecution(_) => "a function does not take the value",
        EvaluationError::NonValue(_) => "a value is unknown",
        EvaluationError::RecursionLimit(_) => "the condition nests too deep",
        #[expect(unreachable_patterns, reason = "a feature of Cedar's adds a variant")]
        _ => "the condition failed",
    };
    what.to_owned()
}
