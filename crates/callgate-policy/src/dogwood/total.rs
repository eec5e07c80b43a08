//! Counts and sums.

use callgate_core::history::Measure;
use dogwood_language::temporal_ast::{AggExpr, AggExprKind, Condition, ConditionKind};

use super::body::Body;
use super::compile::{Compiler, conjuncts, window};
use super::formula::{Formula, Path, Total};
use super::frame::{Frame, Slot, free, name};
use super::refused::Refused;

/// What a count or sum ranges over.
pub(super) fn body(total: &AggExpr) -> Option<&Condition> {
    match &total.kind {
        AggExprKind::Sum { body, .. } | AggExprKind::Count { body, .. } => Some(body),
        AggExprKind::Call(_) => None,
    }
}

/// The variables of a count or sum.
struct Rows<'c> {
    vars: Vec<&'c str>,
    summed: Option<&'c str>,
}

impl Compiler<'_> {
    pub(super) fn total(&mut self, total: &AggExpr, frame: &Frame<'_>) -> Result<Total, Refused> {
        let (summed, for_vars, body) = match &total.kind {
            AggExprKind::Sum { bound_var, for_vars, body } => (Some(name(bound_var)?), for_vars, body),
            AggExprKind::Count { for_vars, body } => (None, for_vars, body),
            AggExprKind::Call(_) => return Err(Refused::Macro),
        };
        let vars = for_vars.iter().map(|var| name(&var.slot)).collect::<Result<Vec<_>, _>>()?;
        let rows = Rows { vars, summed };
        let mut inner = Frame::within(frame);
        for var in &rows.vars {
            inner.set(var, Slot::Open);
        }
        let mut parts = conjuncts(body);
        super::compile::push_comparisons(&mut parts, &inner)?;
        let names_row = |part: &Condition| free(part).iter().any(|var| rows.vars.contains(&var.as_str()));
        let (ranges, gates): (Vec<Condition>, Vec<Condition>) = parts.into_iter().partition(names_row);
        let temporal = |part: &Condition| {
            matches!(
                part.kind,
                ConditionKind::Formerly { .. } | ConditionKind::Since { .. } | ConditionKind::Previous { .. }
            )
        };
        match ranges.as_slice() {
            [range] if temporal(range) => {
                let when = self.conjunction(gates, frame)?;
                self.over_past(range, when, &rows, &inner)
            }
            // One row at most: this position.
            ranges if !ranges.iter().any(super::compile::is_temporal) => {
                let all = ranges.iter().chain(&gates).cloned().collect();
                self.over_now(all, ranges, &rows, &inner)
            }
            _ => Err(Refused::Rows),
        }
    }

    /// A total over this position alone.
    fn over_now(
        &mut self,
        all: Vec<Condition>,
        ranges: &[Condition],
        rows: &Rows<'_>,
        frame: &Frame<'_>,
    ) -> Result<Total, Refused> {
        let sum = rows.summed.map(|var| field_now(ranges, var).ok_or(Refused::Rows)).transpose()?;
        let now = self.conjunction(all, frame)?;
        Ok(Total {
            when: Formula::Constant(true),
            now,
            still: Formula::Constant(true),
            sum,
            distinct: None,
            past: None,
        })
    }

    fn over_past(
        &mut self,
        range: &Condition,
        when: Formula,
        rows: &Rows<'_>,
        frame: &Frame<'_>,
    ) -> Result<Total, Refused> {
        let (within, events, left) = match &range.kind {
            ConditionKind::Formerly { within, body } => (window(within)?, body, None),
            ConditionKind::Since { left, within, right } => (window(within)?, right, Some(left)),
            ConditionKind::Previous { .. } => return self.over_previous(range, when, rows, frame),
            _ => return Err(Refused::Rows),
        };
        if let Some(left) = left
            && free(left).iter().any(|var| frame.is_open(var))
        {
            return Err(Refused::Join);
        }
        let now = self.condition(events, frame)?;
        let still = match left {
            Some(left) => self.condition(left, frame)?,
            None => Formula::Constant(true),
        };
        let Some(body) = self.body(events, frame)? else {
            return Ok(Total { when, now, still, sum: None, distinct: None, past: None });
        };
        let sum = rows.summed.map(|var| body.vars.get(var).cloned().ok_or(Refused::Rows)).transpose()?;
        let distinct = distinct(rows, &body)?;
        let unless = left.map(|left| self.breaks(left, within, frame)).transpose()?.unwrap_or_default();
        let (measure, names) = match &distinct {
            Some(names) => (Measure::Distinct, names.clone()),
            None => (Measure::Totals, Vec::new()),
        };
        let monitor = self.watch_named(&body, measure, within, names, sum.clone());
        let past = Some(body.past(monitor, within, unless));
        Ok(Total { when, now, still, sum, distinct, past })
    }

    /// `previous` gives one row at most, which can be counted, but whose fields are not kept.
    fn over_previous(
        &mut self,
        range: &Condition,
        when: Formula,
        rows: &Rows<'_>,
        frame: &Frame<'_>,
    ) -> Result<Total, Refused> {
        let ConditionKind::Previous { body, .. } = &range.kind else { return Err(Refused::Rows) };
        if rows.summed.is_some() {
            return Err(Refused::Rows);
        }
        if let Some(body) = self.body(body, frame)? {
            distinct(rows, &body)?;
        }
        let mut inner = Frame::within(frame);
        for var in &rows.vars {
            inner.set(var, Slot::Open);
        }
        let now = self.conjunction(vec![range.clone()], &inner)?;
        Ok(Total { when, now, still: Formula::Constant(true), sum: None, distinct: None, past: None })
    }
}

/// The fields in which events must differ to count twice; `None` where each event counts.
fn distinct(rows: &Rows<'_>, body: &Body) -> Result<Option<Vec<Path>>, Refused> {
    let mut names = Vec::new();
    let mut each = false;
    for var in &rows.vars {
        if body.places.contains(*var) {
            each = true;
        } else {
            names.push(body.vars.get(*var).cloned().ok_or(Refused::Rows)?);
        }
    }
    names.sort();
    names.dedup();
    Ok((!each).then_some(names))
}

/// The field of the event at this position that gives a variable its value.
fn field_now(ranges: &[Condition], var: &str) -> Option<Path> {
    ranges.iter().find_map(|part| match &part.kind {
        ConditionKind::Predicate(predicate) => predicate.args.iter().find_map(|arg| match &arg.value {
            dogwood_language::temporal_ast::Term::Var(name) if name == var => Some(arg.field_path()),
            _ => None,
        }),
        _ => None,
    })
}
