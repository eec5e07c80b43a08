//! From a temporal condition to a formula and the monitors it needs.

use std::collections::BTreeSet;

use callgate_core::history::Measure;
use dogwood_language::temporal_ast::{CmpOp, Condition, ConditionKind, Predicate, Term, WithinSpec};

use super::body::Body;
use super::formula::{
    Comparison, EventName, Formula, Operand, Past, Path, Previous, Seen, Span, Unless, Watch, Watches,
};
use super::frame::{Frame, Slot, free, free_of_term, name};
use super::refused::Refused;

/// The longest window: a leap year.
const MAX_WINDOW_MS: i64 = 366 * 24 * 60 * 60 * 1000;
/// How deep a condition may nest.
pub(super) const MAX_DEPTH: usize = 32;

/// Compiles temporal conditions over one kind of history.
pub(crate) struct Compiler<'w> {
    /// Whose events the conditions speak of.
    pub(crate) span: Span,
    /// The monitors found so far.
    pub(crate) watches: &'w mut Watches,
}

/// The event that a predicate names.
pub(super) fn event_name(predicate: &Predicate) -> EventName {
    EventName {
        namespace: predicate.namespace.clone(),
        action: predicate.action.clone(),
        kind: predicate.kind.clone(),
    }
}

/// How far back a window reaches, in milliseconds.
pub(super) fn window(within: &WithinSpec) -> Result<i64, Refused> {
    let WithinSpec::Concrete(interval) = within else { return Err(Refused::Macro) };
    let millis = interval.checked_seconds().and_then(|seconds| seconds.checked_mul(1000));
    millis.filter(|millis| (0..=MAX_WINDOW_MS).contains(millis)).ok_or(Refused::Window)
}

/// Whether a condition speaks of other positions.
pub(super) fn is_temporal(condition: &Condition) -> bool {
    let term = |term: &Term| matches!(term, Term::Agg(_) | Term::Arith { .. });
    match &condition.kind {
        ConditionKind::Formerly { .. } | ConditionKind::Previous { .. } | ConditionKind::Since { .. } => true,
        ConditionKind::And { left, right } | ConditionKind::Or { left, right } => {
            is_temporal(left) || is_temporal(right)
        }
        ConditionKind::Not { inner } => is_temporal(inner),
        ConditionKind::Exists { body, .. } => is_temporal(body),
        ConditionKind::Comparison { left, right, .. } => term(left) || term(right),
        _ => false,
    }
}

/// The conjuncts of a condition, in order.
pub(super) fn conjuncts(condition: &Condition) -> Vec<Condition> {
    match &condition.kind {
        ConditionKind::And { left, right } => {
            let mut all = conjuncts(left);
            all.extend(conjuncts(right));
            all
        }
        _ => vec![condition.clone()],
    }
}

/// Whether a condition nests deeper than `left` levels.
fn too_deep(condition: &Condition, left: usize) -> bool {
    let Some(left) = left.checked_sub(1) else { return true };
    match &condition.kind {
        // A chain nests in the parser's tree, but not in ours.
        ConditionKind::And { .. } => conjuncts(condition).iter().any(|part| too_deep(part, left)),
        ConditionKind::Or { left: a, right: b } | ConditionKind::Since { left: a, right: b, .. } => {
            too_deep(a, left) || too_deep(b, left)
        }
        ConditionKind::Not { inner } => too_deep(inner, left),
        ConditionKind::Formerly { body, .. }
        | ConditionKind::Previous { body, .. }
        | ConditionKind::Exists { body, .. } => too_deep(body, left),
        ConditionKind::Comparison { left: a, right: b, .. } => [a, b].into_iter().any(|term| match term {
            Term::Agg(total) => super::total::body(total).is_some_and(|body| too_deep(body, left)),
            _ => false,
        }),
        _ => false,
    }
}

impl Compiler<'_> {
    /// Compiles the condition of one `temporal { … }` clause.
    ///
    /// # Errors
    /// The form that cannot be folded.
    pub(crate) fn clause(&mut self, condition: &Condition) -> Result<Formula, Refused> {
        if too_deep(condition, MAX_DEPTH) {
            return Err(Refused::Depth);
        }
        self.condition(condition, &Frame::top())
    }

    pub(super) fn condition(&mut self, condition: &Condition, frame: &Frame<'_>) -> Result<Formula, Refused> {
        self.conjunction(conjuncts(condition), frame)
    }

    /// Conjuncts at one position. What a predicate or an equality gives a variable holds for all.
    pub(super) fn conjunction(
        &mut self,
        mut parts: Vec<Condition>,
        frame: &Frame<'_>,
    ) -> Result<Formula, Refused> {
        let mut frame = Frame::within(frame);
        for part in &parts {
            self.bind(part, &mut frame)?;
        }
        push_comparisons(&mut parts, &frame)?;
        one_clause_each(&parts, &frame)?;
        let all = parts.iter().map(|part| self.part(part, &frame)).collect::<Result<_, _>>()?;
        Ok(Formula::all(all))
    }

    /// What this conjunct gives variables that are open.
    fn bind(&mut self, part: &Condition, frame: &mut Frame<'_>) -> Result<(), Refused> {
        match &part.kind {
            ConditionKind::Predicate(predicate) => {
                for arg in &predicate.args {
                    if let Term::Var(var) = &arg.value
                        && frame.is_open(var)
                    {
                        frame.set(var, Slot::Bound(Operand::Field(arg.field_path())));
                    }
                }
            }
            // A place that is known already would have to be compared.
            ConditionKind::Tp { var } if !frame.is_open(name(var)?) => return Err(Refused::Place),
            ConditionKind::Tp { var } => frame.set(name(var)?, Slot::Place),
            ConditionKind::Comparison { op: CmpOp::Eq, left, right } => {
                let open = |term: &Term, frame: &Frame<'_>| match term {
                    Term::Var(var) if frame.is_open(var) => Some(var.clone()),
                    _ => None,
                };
                let closed =
                    |term: &Term, frame: &Frame<'_>| free_of_term(term).iter().all(|var| !frame.is_open(var));
                let (var, value) = match (open(left, frame), open(right, frame)) {
                    (Some(var), None) if closed(right, frame) => (var, right),
                    (None, Some(var)) if closed(left, frame) => (var, left),
                    _ => return Ok(()),
                };
                if let Some(value) = self.operand(value, frame)? {
                    frame.set(&var, Slot::Bound(value));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn part(&mut self, part: &Condition, frame: &Frame<'_>) -> Result<Formula, Refused> {
        match &part.kind {
            ConditionKind::And { .. } => self.condition(part, frame),
            ConditionKind::Or { left, right } => {
                let left = self.closed(left, frame)?.negated();
                let right = self.closed(right, frame)?.negated();
                Ok(Formula::all(vec![left, right]).negated())
            }
            ConditionKind::Not { inner } => Ok(self.closed(inner, frame)?.negated()),
            ConditionKind::Predicate(predicate) => happens(predicate, frame),
            ConditionKind::Comparison { op, left, right } => self.comparison(*op, left, right, frame),
            ConditionKind::Tp { .. } => Ok(Formula::Constant(true)),
            ConditionKind::Exists { var, body } => {
                let mut inner = Frame::within(frame);
                inner.set(name(&var.slot)?, Slot::Open);
                self.condition(body, &inner)
            }
            ConditionKind::Formerly { within, body } => self.formerly(window(within)?, body, frame),
            ConditionKind::Since { left, within, right } => self.since(left, window(within)?, right, frame),
            ConditionKind::Previous { within, body } => self.previous(window(within)?, body, frame),
            _ => Err(Refused::Macro),
        }
    }

    /// A condition that gives no variable a value.
    fn closed(&mut self, condition: &Condition, frame: &Frame<'_>) -> Result<Formula, Refused> {
        if free(condition).iter().any(|var| frame.is_open(var)) {
            return Err(Refused::Join);
        }
        self.condition(condition, frame)
    }

    fn operand(&mut self, term: &Term, frame: &Frame<'_>) -> Result<Option<Operand>, Refused> {
        match term {
            Term::Agg(total) => self.total(total, frame).map(|total| Some(Operand::Total(Box::new(total)))),
            Term::Arith { .. } => Err(Refused::Arithmetic),
            other => frame.operand(other),
        }
    }

    fn comparison(
        &mut self,
        op: CmpOp,
        left: &Term,
        right: &Term,
        frame: &Frame<'_>,
    ) -> Result<Formula, Refused> {
        let left = self.operand(left, frame)?.ok_or(Refused::Join)?;
        let right = self.operand(right, frame)?.ok_or(Refused::Join)?;
        Ok(Formula::Compare(Comparison(op), left, right))
    }

    fn formerly(&mut self, within_ms: i64, body: &Condition, frame: &Frame<'_>) -> Result<Formula, Refused> {
        let now = self.condition(body, frame)?;
        let past = match self.body(body, frame)? {
            None => None,
            Some(body) => {
                let monitor = self.watch(&body, Measure::Newest, within_ms);
                Some(body.past(monitor, within_ms, Vec::new()))
            }
        };
        Ok(Formula::Seen(Box::new(Seen { now, still: Formula::Constant(true), past })))
    }

    fn since(
        &mut self,
        left: &Condition,
        within_ms: i64,
        right: &Condition,
        frame: &Frame<'_>,
    ) -> Result<Formula, Refused> {
        let now = self.condition(right, frame)?;
        let still = self.closed(left, frame)?;
        let past = match self.body(right, frame)? {
            None => None,
            Some(body) => {
                let unless = self.breaks(left, within_ms, frame)?;
                let monitor = self.watch(&body, Measure::Newest, within_ms);
                Some(body.past(monitor, within_ms, unless))
            }
        };
        Ok(Formula::Seen(Box::new(Seen { now, still, past })))
    }

    fn previous(&mut self, within_ms: i64, body: &Condition, frame: &Frame<'_>) -> Result<Formula, Refused> {
        let Some(body) = self.body(body, frame)? else { return Ok(Formula::Constant(false)) };
        let monitor = self.watch(&body, Measure::Streak, within_ms);
        let when = body.when();
        let name = body.values();
        Ok(Formula::Previous(Box::new(Previous { when, monitor, name, within_ms })))
    }

    /// What ends the validity of an earlier event, where `left` must hold ever since.
    pub(super) fn breaks(
        &mut self,
        left: &Condition,
        within_ms: i64,
        frame: &Frame<'_>,
    ) -> Result<Vec<Unless>, Refused> {
        let parts = conjuncts(left);
        if parts.iter().any(|part| matches!(part.kind, ConditionKind::Predicate(_))) {
            let Some(body) = self.body(left, frame)? else {
                return Ok(vec![Unless::Always(Formula::Constant(true))]);
            };
            let monitor = self.watch(&body, Measure::Streak, within_ms);
            return Ok(vec![Unless::Always(body.when().negated()), Unless::Other(monitor, body.values())]);
        }
        let mut found = Vec::new();
        for part in &parts {
            match &part.kind {
                _ if is_temporal(part) => return Err(Refused::Left),
                ConditionKind::Comparison { .. } => {
                    found.push(Unless::Always(self.closed(part, frame)?.negated()));
                }
                ConditionKind::Not { inner } => found.extend(self.broken_by(inner, within_ms, frame)?),
                _ => return Err(Refused::Left),
            }
        }
        Ok(found)
    }

    /// The events at which `inner` holds.
    fn broken_by(
        &mut self,
        inner: &Condition,
        within_ms: i64,
        frame: &Frame<'_>,
    ) -> Result<Option<Unless>, Refused> {
        let names_event = |part: &Condition| matches!(part.kind, ConditionKind::Predicate(_));
        if matches!(inner.kind, ConditionKind::Comparison { .. }) {
            return Ok(Some(Unless::Always(self.closed(inner, frame)?)));
        }
        if !conjuncts(inner).iter().any(names_event) && !matches!(inner.kind, ConditionKind::Exists { .. }) {
            return Err(Refused::Left);
        }
        let Some(body) = self.body(inner, frame)? else { return Ok(None) };
        let monitor = self.watch(&body, Measure::Newest, within_ms);
        Ok(Some(Unless::Event(body.when(), monitor, body.values())))
    }

    /// The monitor of the events that a body describes.
    pub(super) fn watch(
        &mut self,
        body: &Body,
        measure: Measure,
        reach_ms: i64,
    ) -> callgate_core::digest::Digest {
        self.watch_named(body, measure, reach_ms, Vec::new(), None)
    }

    pub(super) fn watch_named(
        &mut self,
        body: &Body,
        measure: Measure,
        reach_ms: i64,
        names: Vec<Path>,
        number: Option<Path>,
    ) -> callgate_core::digest::Digest {
        let keys: Vec<Path> = body.keys.iter().map(|(path, _)| path.clone()).collect();
        let watch = Watch {
            event: body.event.clone(),
            span: self.span.clone(),
            present: body.present.clone(),
            equal: body.equal.clone(),
            guard: body.guard.clone(),
            keys,
            names,
            number,
            measure,
            reach_ms,
        };
        let id = watch.id();
        self.watches.insert(id, watch);
        id
    }
}

impl Body {
    /// What must be so at the later position for any of its events to count.
    pub(super) fn when(&self) -> Formula {
        Formula::all(self.hoisted.clone())
    }

    /// What the later position calls the values of the key fields.
    pub(super) fn values(&self) -> Vec<Operand> {
        self.keys.iter().map(|(_, value)| value.clone()).collect()
    }

    pub(super) fn past(
        &self,
        monitor: callgate_core::digest::Digest,
        within_ms: i64,
        unless: Vec<Unless>,
    ) -> Past {
        Past { when: self.when(), monitor, keys: self.values(), within_ms, unless }
    }
}

fn happens(predicate: &Predicate, frame: &Frame<'_>) -> Result<Formula, Refused> {
    let (mut present, mut equal) = (Vec::new(), Vec::new());
    for arg in &predicate.args {
        let path = arg.field_path();
        match frame.operand(&arg.value)? {
            Some(Operand::Field(same)) if same == path => present.push(path),
            Some(Operand::Total(_)) => return Err(Refused::Total),
            Some(operand) => equal.push((path, operand)),
            None => present.push(path),
        }
    }
    Ok(Formula::Happens { event: event_name(predicate), present, equal })
}

/// Moves a comparison of a variable that one clause about the past gives its value into that clause.
pub(super) fn push_comparisons(parts: &mut Vec<Condition>, frame: &Frame<'_>) -> Result<(), Refused> {
    let open = |part: &Condition| -> BTreeSet<String> {
        free(part).into_iter().filter(|var| frame.is_open(var)).collect()
    };
    let (comparisons, mut others): (Vec<Condition>, Vec<Condition>) = parts
        .drain(..)
        .partition(|part| matches!(part.kind, ConditionKind::Comparison { .. }) && !open(part).is_empty());
    for comparison in comparisons {
        let vars = open(&comparison);
        let mut named: Vec<&mut Condition> =
            others.iter_mut().filter(|part| !vars.is_disjoint(&free(part))).collect();
        let (Some(clause), 1) = (named.pop(), named.len().saturating_add(1)) else {
            return Err(Refused::Join);
        };
        let inside = match &mut clause.kind {
            ConditionKind::Formerly { body, .. } | ConditionKind::Previous { body, .. } => body,
            ConditionKind::Since { right, .. } => right,
            _ => return Err(Refused::Join),
        };
        let span = inside.span;
        let left = Box::new((**inside).clone());
        let kind = ConditionKind::And { left, right: Box::new(comparison) };
        **inside = Condition { span, kind };
    }
    *parts = others;
    Ok(())
}

/// A variable that is still open may be named by one conjunct only.
fn one_clause_each(parts: &[Condition], frame: &Frame<'_>) -> Result<(), Refused> {
    let mut seen = BTreeSet::new();
    for part in parts {
        for var in free(part).into_iter().filter(|var| frame.is_open(var)) {
            if !seen.insert(var) {
                return Err(Refused::Join);
            }
        }
    }
    Ok(())
}
