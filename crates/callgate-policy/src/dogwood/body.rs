//! The inside of a clause about the past: which events of the past it describes.

use std::collections::{BTreeMap, BTreeSet};

use dogwood_language::temporal_ast::{CmpOp, Condition, ConditionKind, Predicate, Term};

use super::compile::{Compiler, event_name, is_temporal};
use super::formula::{EventName, Formula, Operand, Path};
use super::frame::{Frame, Slot, free_of_term, name};
use super::refused::Refused;

/// A description of events of the past, seen from a later position.
pub(super) struct Body {
    /// Their name.
    pub(super) event: EventName,
    /// Fields they carry.
    pub(super) present: Vec<Path>,
    /// Fields whose value does not depend on the later position.
    pub(super) equal: Vec<(Path, Operand)>,
    /// Fields that have a value of the later position.
    pub(super) keys: Vec<(Path, Operand)>,
    /// What else is so at the event.
    pub(super) guard: Formula,
    /// What must be so at the later position.
    pub(super) hoisted: Vec<Formula>,
    /// Variables and the fields that give them their values.
    pub(super) vars: BTreeMap<String, Path>,
    /// Variables that stand for the event's place.
    pub(super) places: BTreeSet<String>,
}

/// The conjuncts of a body, and the variables it declares.
#[derive(Default)]
struct Parts<'c> {
    all: Vec<&'c Condition>,
    locals: BTreeSet<&'c str>,
}

impl<'c> Parts<'c> {
    fn collect(&mut self, condition: &'c Condition) -> Result<(), Refused> {
        match &condition.kind {
            ConditionKind::And { left, right } => {
                self.collect(left)?;
                self.collect(right)
            }
            ConditionKind::Exists { var, body } if !is_total(body) => {
                if !self.locals.insert(name(&var.slot)?) {
                    return Err(Refused::Join);
                }
                self.collect(body)
            }
            _ => {
                self.all.push(condition);
                Ok(())
            }
        }
    }
}

/// Whether the body of an `exists` names a count or sum: that is a test of its own.
fn is_total(body: &Condition) -> bool {
    let total = |term: &Term| matches!(term, Term::Agg(_) | Term::Arith { .. });
    match &body.kind {
        ConditionKind::And { left, right } => is_total(left) || is_total(right),
        ConditionKind::Comparison { left, right, .. } => total(left) || total(right),
        _ => false,
    }
}

impl Body {
    fn new(event: EventName) -> Self {
        Self {
            event,
            present: Vec::new(),
            equal: Vec::new(),
            keys: Vec::new(),
            guard: Formula::Constant(true),
            hoisted: Vec::new(),
            vars: BTreeMap::new(),
            places: BTreeSet::new(),
        }
    }

    /// Takes over what a predicate says of the event's fields.
    fn args(
        &mut self,
        predicate: &Predicate,
        frame: &Frame<'_>,
        locals: &BTreeSet<&str>,
    ) -> Result<(), Refused> {
        for arg in &predicate.args {
            let path = arg.field_path();
            let local = match &arg.value {
                Term::Var(var) if locals.contains(var.as_str()) || frame.is_open(var) => Some(var),
                _ => None,
            };
            if let Some(var) = local {
                match self.vars.get(var) {
                    Some(same) if *same == path => {}
                    Some(other) => self.equal.push((path.clone(), Operand::Field(other.clone()))),
                    None => drop(self.vars.insert(var.clone(), path.clone())),
                }
                self.present.push(path);
                continue;
            }
            match frame.operand(&arg.value)? {
                None => self.present.push(path),
                Some(Operand::Total(_)) => return Err(Refused::Total),
                Some(literal @ Operand::Literal(_)) => self.equal.push((path, literal)),
                Some(value) => self.keys.push((path, value)),
            }
        }
        Ok(())
    }

    /// An equality of one of its fields with a value of the later position is a key, too.
    fn key(&mut self, part: &Condition, frame: &Frame<'_>) -> Result<bool, Refused> {
        let ConditionKind::Comparison { op: CmpOp::Eq, left, right } = &part.kind else { return Ok(false) };
        let field = |term: &Term| match term {
            Term::Var(var) => self.vars.get(var).cloned(),
            _ => None,
        };
        let (path, value) = match (field(left), field(right)) {
            (Some(path), None) => (path, right),
            (None, Some(path)) => (path, left),
            _ => return Ok(false),
        };
        if matches!(value, Term::Agg(_) | Term::Arith { .. }) {
            return Ok(false);
        }
        match frame.operand(value)? {
            Some(value @ (Operand::Context(_) | Operand::Scope(_) | Operand::Field(_))) => {
                self.keys.push((path, value));
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Whether a comparison has only values of the later position in it.
    fn is_outside(&self, part: &Condition, locals: &BTreeSet<&str>) -> bool {
        let ConditionKind::Comparison { left, right, .. } = &part.kind else { return false };
        let inside = |var: &String| self.vars.contains_key(var) || locals.contains(var.as_str());
        let outside = |term: &Term| {
            !matches!(term, Term::Agg(_) | Term::Arith { .. }) && !free_of_term(term).iter().any(inside)
        };
        outside(left) && outside(right)
    }

    fn tidy(&mut self) {
        self.present.sort();
        self.present.dedup();
        self.equal.sort();
        self.equal.dedup();
        self.keys.sort();
        self.keys.dedup();
    }
}

impl Compiler<'_> {
    /// The events that `condition` describes, seen from `frame`; `None` where there can be none.
    pub(super) fn body(&mut self, condition: &Condition, frame: &Frame<'_>) -> Result<Option<Body>, Refused> {
        let mut parts = Parts::default();
        parts.collect(condition)?;
        let Parts { all, locals } = parts;
        let predicates: Vec<&Predicate> = all
            .iter()
            .filter_map(|part| match &part.kind {
                ConditionKind::Predicate(predicate) => Some(predicate),
                _ => None,
            })
            .collect();
        let Some((first, others)) = predicates.split_first() else { return Err(Refused::NoEvent) };
        let mut event = event_name(first);
        for other in others {
            // There is one event at each position.
            let Some(both) = event.and(event_name(other)) else { return Ok(None) };
            event = both;
        }
        let mut body = Body::new(event);
        for predicate in &predicates {
            body.args(predicate, frame, &locals)?;
        }
        let mut rest = Vec::new();
        for part in all {
            match &part.kind {
                ConditionKind::Predicate(_) => {}
                ConditionKind::Tp { var } if frame.is_open(name(var)?) => {
                    body.places.insert(name(var)?.to_owned());
                }
                ConditionKind::Tp { .. } => return Err(Refused::Place),
                _ if is_temporal(part) => rest.push(part),
                _ if body.is_outside(part, &locals) => {
                    body.hoisted.push(self.condition(part, frame)?);
                }
                _ if body.key(part, frame)? => {}
                _ => rest.push(part),
            }
        }
        body.tidy();
        body.guard = self.guard(&body, rest, frame, &locals)?;
        Ok(Some(body))
    }

    /// What must be so at the event itself, by the event's own fields.
    fn guard(
        &mut self,
        body: &Body,
        rest: Vec<&Condition>,
        frame: &Frame<'_>,
        locals: &BTreeSet<&str>,
    ) -> Result<Formula, Refused> {
        let mut inner = Frame::earlier(frame, &body.keys);
        for local in locals {
            inner.set(local, Slot::Open);
        }
        for (var, path) in &body.vars {
            inner.set(var, Slot::Bound(Operand::Field(path.clone())));
        }
        for place in &body.places {
            inner.set(place, Slot::Place);
        }
        self.conjunction(rest.into_iter().cloned().collect(), &inner)
    }
}
