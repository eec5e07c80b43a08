//! What the variables of a temporal condition stand for at a position.

use std::collections::{BTreeMap, BTreeSet};

use dogwood_language::temporal_ast::{
    AggExpr, AggExprKind, BinderSlot, Condition, ConditionKind, Term, TypedBinder,
};

use super::atom::Atom;
use super::formula::{Operand, Path};
use super::refused::Refused;

/// What a variable stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Nothing yet: the one clause that names it may give it any value.
    Open,
    /// A value at this position.
    Bound(Operand),
    /// A place in the log.
    Place,
}

/// The variables at one position, inside those of the positions around it.
pub(crate) struct Frame<'p> {
    around: Around<'p>,
    slots: BTreeMap<String, Slot>,
}

/// What is around a frame.
enum Around<'p> {
    Nothing,
    /// The same position.
    Same(&'p Frame<'p>),
    /// A later position, which the event at this one agrees with in these fields.
    Later(&'p Frame<'p>, &'p [(Path, Operand)]),
}

impl<'p> Frame<'p> {
    /// The position of the request that is decided.
    pub(crate) const fn top() -> Self {
        Self { around: Around::Nothing, slots: BTreeMap::new() }
    }

    /// The same position with variables of its own.
    pub(crate) const fn within(frame: &'p Self) -> Self {
        Self { around: Around::Same(frame), slots: BTreeMap::new() }
    }

    /// An earlier position whose event has these fields in common with what `frame` knows.
    pub(crate) const fn earlier(frame: &'p Self, keys: &'p [(Path, Operand)]) -> Self {
        Self { around: Around::Later(frame, keys), slots: BTreeMap::new() }
    }

    pub(crate) fn set(&mut self, name: &str, slot: Slot) {
        self.slots.insert(name.to_owned(), slot);
    }

    /// What a variable stands for; one that nobody declared is open.
    pub(crate) fn slot(&self, name: &str) -> Result<Slot, Refused> {
        match (self.slots.get(name), &self.around) {
            (Some(slot), _) => Ok(slot.clone()),
            (None, Around::Nothing) => Ok(Slot::Open),
            (None, Around::Same(frame)) => frame.slot(name),
            (None, Around::Later(frame, keys)) => match frame.slot(name)? {
                Slot::Bound(operand) => carried(operand, keys).map(Slot::Bound),
                other => Ok(other),
            },
        }
    }

    pub(crate) fn is_open(&self, name: &str) -> bool {
        matches!(self.slot(name), Ok(Slot::Open))
    }

    /// The value of a term without a total; `None` for a wildcard or an open variable.
    pub(crate) fn operand(&self, term: &Term) -> Result<Option<Operand>, Refused> {
        if let Some(atom) = Atom::literal(term) {
            return Ok(Some(Operand::Literal(atom)));
        }
        match term {
            Term::ContextField(path) => self.request(Operand::Context(path.clone())).map(Some),
            Term::ScopeField(path) => self.request(Operand::Scope(path.clone())).map(Some),
            Term::Var(name) => match self.slot(name)? {
                Slot::Bound(operand) => Ok(Some(operand)),
                Slot::Open => Ok(None),
                Slot::Place => Err(Refused::Place),
            },
            Term::Wildcard => Ok(None),
            Term::Array(_) => Err(Refused::Array),
            Term::Agg(_) | Term::Arith { .. } => Err(Refused::Total),
            _ => Err(Refused::Macro),
        }
    }

    /// A value of the request that is decided, as this position knows it.
    fn request(&self, operand: Operand) -> Result<Operand, Refused> {
        match &self.around {
            Around::Nothing => Ok(operand),
            Around::Same(frame) => frame.request(operand),
            Around::Later(frame, keys) => carried(frame.request(operand)?, keys),
        }
    }
}

/// The field in which an earlier event carries that value.
fn carried(operand: Operand, keys: &[(Path, Operand)]) -> Result<Operand, Refused> {
    if matches!(operand, Operand::Literal(_)) {
        return Ok(operand);
    }
    let found = keys.iter().find(|(_, value)| *value == operand);
    found.map(|(path, _)| Operand::Field(path.clone())).ok_or(Refused::NotCarried)
}

/// The name of a binder.
pub(crate) fn name(slot: &BinderSlot) -> Result<&str, Refused> {
    match slot {
        BinderSlot::Name(name) => Ok(name),
        BinderSlot::ParamRef(_) | BinderSlot::BinderRef(_) => Err(Refused::Macro),
    }
}

/// The variables that a condition names and does not declare.
pub(crate) fn free(condition: &Condition) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    visit(condition, &mut Vec::new(), &mut found);
    found
}

/// The variables that a term names and does not declare.
pub(crate) fn free_of_term(term: &Term) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    visit_term(term, &mut Vec::new(), &mut found);
    found
}

fn note<'c>(name: &'c str, declared: &[&'c str], found: &mut BTreeSet<String>) {
    if !declared.contains(&name) {
        found.insert(name.to_owned());
    }
}

fn visit<'c>(condition: &'c Condition, declared: &mut Vec<&'c str>, found: &mut BTreeSet<String>) {
    match &condition.kind {
        ConditionKind::And { left, right }
        | ConditionKind::Or { left, right }
        | ConditionKind::Since { left, right, .. } => {
            visit(left, declared, found);
            visit(right, declared, found);
        }
        ConditionKind::Not { inner } => visit(inner, declared, found),
        ConditionKind::Formerly { body, .. } | ConditionKind::Previous { body, .. } => {
            visit(body, declared, found);
        }
        ConditionKind::Predicate(predicate) => {
            for arg in &predicate.args {
                visit_term(&arg.value, declared, found);
            }
        }
        ConditionKind::Comparison { left, right, .. } => {
            visit_term(left, declared, found);
            visit_term(right, declared, found);
        }
        ConditionKind::Exists { var, body } => {
            declared.extend(name(&var.slot).ok());
            visit(body, declared, found);
            declared.pop();
        }
        ConditionKind::Tp { var } => {
            if let Ok(var) = name(var) {
                note(var, declared, found);
            }
        }
        _ => {}
    }
}

fn visit_term<'c>(term: &'c Term, declared: &mut Vec<&'c str>, found: &mut BTreeSet<String>) {
    match term {
        Term::Var(name) => note(name, declared, found),
        Term::Array(items) => items.iter().for_each(|item| visit_term(item, declared, found)),
        Term::Arith { left, right, .. } => {
            visit_term(left, declared, found);
            visit_term(right, declared, found);
        }
        Term::Agg(total) => visit_total(total, declared, found),
        _ => {}
    }
}

fn visit_total<'c>(total: &'c AggExpr, declared: &mut Vec<&'c str>, found: &mut BTreeSet<String>) {
    let (vars, body): (&'c [TypedBinder], &'c Condition) = match &total.kind {
        AggExprKind::Sum { for_vars, body, .. } | AggExprKind::Count { for_vars, body } => (for_vars, body),
        AggExprKind::Call(_) => return,
    };
    let before = declared.len();
    declared.extend(vars.iter().filter_map(|var| name(&var.slot).ok()));
    visit(body, declared, found);
    declared.truncate(before);
}

/// A value of the request that a condition compares with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mention {
    /// `context.…`.
    Context(Path),
    /// `principal…` or `resource…`.
    Scope(Path),
}

/// Every value of the request that a condition compares with.
pub(crate) fn mentions(condition: &Condition) -> BTreeSet<Mention> {
    let (mut conditions, mut terms): (Vec<&Condition>, Vec<&Term>) = (vec![condition], Vec::new());
    let mut found = BTreeSet::new();
    loop {
        while let Some(term) = terms.pop() {
            match term {
                Term::ContextField(path) => drop(found.insert(Mention::Context(path.clone()))),
                Term::ScopeField(path) => drop(found.insert(Mention::Scope(path.clone()))),
                Term::Array(items) => terms.extend(items),
                Term::Arith { left, right, .. } => terms.extend([&**left, &**right]),
                Term::Agg(total) => conditions.extend(super::total::body(total)),
                _ => {}
            }
        }
        let Some(condition) = conditions.pop() else { return found };
        match &condition.kind {
            ConditionKind::And { left, right }
            | ConditionKind::Or { left, right }
            | ConditionKind::Since { left, right, .. } => conditions.extend([&**left, &**right]),
            ConditionKind::Not { inner: body }
            | ConditionKind::Formerly { body, .. }
            | ConditionKind::Previous { body, .. }
            | ConditionKind::Exists { body, .. } => conditions.push(body),
            ConditionKind::Predicate(predicate) => terms.extend(predicate.args.iter().map(|arg| &arg.value)),
            ConditionKind::Comparison { left, right, .. } => terms.extend([left, right]),
            _ => {}
        }
    }
}
