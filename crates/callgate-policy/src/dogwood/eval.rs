//! Reading formulas and monitors at a position.
//!
//! The same walk plans and evaluates: to plan, every question is collected and answered at random; to
//! evaluate, the answers are those that were read from state. So no question can be missing.

use callgate_core::digest::Digest;
use callgate_core::history::{Answer, Break, Measure, Observation, Query, Question, SeriesId};
use dogwood_language::temporal_ast::CmpOp;

use super::atom::Atom;
use super::formula::{
    Comparison, EventName, Formula, Operand, Past, Path, Previous, Seen, Span, Total, Unless, Watch, Watches,
};

/// One event, and the request it is seen from.
pub(crate) trait Sight {
    /// Whether this is such an event.
    fn is(&self, event: &EventName) -> bool;
    /// A field of the event.
    fn field(&self, path: &[String]) -> Option<Atom>;
    /// A field of the context of the request that is decided.
    fn context(&self, path: &[String]) -> Option<Atom>;
    /// `principal` or `resource` of the request that is decided.
    fn scope(&self, path: &[String]) -> Option<Atom>;
    /// Whose history it is.
    fn tenant(&self) -> &str;
}

/// Where answers come from.
pub(crate) type Answers<'a> = dyn FnMut(Query) -> Result<Answer, String> + 'a;

/// A reader of formulas at one position.
pub(crate) struct Reader<'a> {
    pub(crate) sight: &'a dyn Sight,
    pub(crate) watches: &'a Watches,
    /// Hides the values in keys.
    pub(crate) blind: &'a Digest,
    pub(crate) answers: &'a mut Answers<'a>,
}

/// What a total comes to, before it is brought into the range of a `Long`.
#[derive(Default)]
struct Sum {
    count: u64,
    sum: i128,
}

impl Reader<'_> {
    /// Whether `formula` holds. Every question in it is asked, whatever the others say.
    pub(crate) fn holds(&mut self, formula: &Formula) -> Result<bool, String> {
        match formula {
            Formula::Constant(value) => Ok(*value),
            Formula::All(parts) => {
                let mut all = true;
                for part in parts {
                    all &= self.holds(part)?;
                }
                Ok(all)
            }
            Formula::Not(inner) => Ok(!self.holds(inner)?),
            Formula::Happens { event, present, equal } => {
                let fits = self.fits(event, present, equal)?;
                Ok(fits)
            }
            Formula::Compare(op, left, right) => {
                let left = self.value(left)?;
                let right = self.value(right)?;
                Ok(left.zip(right).is_some_and(|(left, right)| compare(*op, &left, &right)))
            }
            Formula::Seen(seen) => self.seen(seen),
            Formula::Previous(previous) => self.previous(previous),
        }
    }

    fn fits(
        &mut self,
        event: &EventName,
        present: &[Path],
        equal: &[(Path, Operand)],
    ) -> Result<bool, String> {
        if !self.sight.is(event) || present.iter().any(|path| self.sight.field(path).is_none()) {
            return Ok(false);
        }
        for (path, operand) in equal {
            let (Some(field), Some(value)) = (self.sight.field(path), self.value(operand)?) else {
                return Ok(false);
            };
            if field != value {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn value(&mut self, operand: &Operand) -> Result<Option<Atom>, String> {
        Ok(match operand {
            Operand::Literal(atom) => Some(atom.clone()),
            Operand::Context(path) => self.sight.context(path),
            Operand::Scope(path) => self.sight.scope(path),
            Operand::Field(path) => self.sight.field(path),
            Operand::Total(total) => Some(Atom::Int(self.total(total)?)),
        })
    }

    fn seen(&mut self, seen: &Seen) -> Result<bool, String> {
        let now = self.holds(&seen.now)?;
        let still = self.holds(&seen.still)?;
        let past = match &seen.past {
            Some(past) => self.happened(past)?,
            None => false,
        };
        Ok(now || (still && past))
    }

    fn happened(&mut self, past: &Past) -> Result<bool, String> {
        let Some((counts, query)) = self.query(past, |unless| Question::Seen { unless })? else {
            return Ok(false);
        };
        match (self.answers)(query)? {
            Answer::Seen { seen } => Ok(counts && seen),
            Answer::Totals { .. } => Err(MISMATCH.to_owned()),
        }
    }

    /// The question for earlier events, and whether they count; `None` where a value of the key is
    /// missing, so that there can be none.
    fn query(
        &mut self,
        past: &Past,
        question: impl FnOnce(Vec<Break>) -> Question,
    ) -> Result<Option<(bool, Query)>, String> {
        let mut counts = self.holds(&past.when)?;
        let mut breaks = Vec::new();
        for unless in &past.unless {
            match unless {
                Unless::Always(formula) => counts &= !self.holds(formula)?,
                Unless::Event(when, monitor, keys) => {
                    let applies = self.holds(when)?;
                    if let Some(series) = self.series(*monitor, keys)?.filter(|_| applies) {
                        breaks.push(Break::Event { series });
                    }
                }
                Unless::Other(monitor, values) => {
                    let series = self.series(*monitor, &[])?;
                    match (series, self.name(values)?) {
                        (Some(series), Some(name)) => breaks.push(Break::Other { name, series }),
                        // What cannot be compared is never equal: every event is another.
                        _ => counts = false,
                    }
                }
            }
        }
        breaks.sort();
        let series = self.series(past.monitor, &past.keys)?;
        let query =
            series.map(|series| Query { series, question: question(breaks), within_ms: past.within_ms });
        Ok(query.map(|query| (counts, query)))
    }

    fn previous(&mut self, previous: &Previous) -> Result<bool, String> {
        let when = self.holds(&previous.when)?;
        let series = self.series(previous.monitor, &[])?;
        let (Some(series), Some(name)) = (series, self.name(&previous.name)?) else { return Ok(false) };
        let query = Query { series, question: Question::Newest { name }, within_ms: previous.within_ms };
        match (self.answers)(query)? {
            Answer::Seen { seen } => Ok(when && seen),
            Answer::Totals { .. } => Err(MISMATCH.to_owned()),
        }
    }

    /// A count or sum in the range of a `Long`, as Dogwood clamps it.
    fn total(&mut self, total: &Total) -> Result<i64, String> {
        let when = self.holds(&total.when)?;
        let now = self.holds(&total.now)?;
        let still = self.holds(&total.still)?;
        // Asked whether or not this position counts, which may depend on another answer.
        let name = match &total.distinct {
            Some(names) => self.fields(names)?,
            None => None,
        };
        let (past, named) = match &total.past {
            Some(past) => self.past_total(past, name)?,
            None => (Sum::default(), false),
        };
        if !when {
            return Ok(0);
        }
        let mut found = if still { past } else { Sum::default() };
        if now && !(named && still) {
            found.count = found.count.saturating_add(1);
            let number = total.sum.as_ref().and_then(|path| self.sight.field(path)?.int());
            found.sum = found.sum.saturating_add(i128::from(number.unwrap_or(0)));
        }
        let value = if total.sum.is_some() { found.sum } else { i128::from(found.count) };
        let value = value.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        i64::try_from(value).map_err(|e| e.to_string())
    }

    fn past_total(&mut self, past: &Past, name: Option<Digest>) -> Result<(Sum, bool), String> {
        let asked = self.query(past, |unless| Question::Totals { name, unless })?;
        let Some((counts, query)) = asked else { return Ok((Sum::default(), false)) };
        match (self.answers)(query)? {
            Answer::Totals { count, named, sum } if counts => Ok((Sum { count, sum }, named)),
            Answer::Totals { .. } => Ok((Sum::default(), false)),
            Answer::Seen { .. } => Err(MISMATCH.to_owned()),
        }
    }

    /// The series of a monitor where its keys have these values; `None` where one is missing.
    fn series(&mut self, monitor: Digest, keys: &[Operand]) -> Result<Option<SeriesId>, String> {
        let watch = self.watches.get(&monitor).ok_or("a monitor is missing")?;
        let span = &watch.span;
        let mut bytes = self.frame(b"key", span)?;
        for key in keys {
            let Some(value) = self.value(key)? else { return Ok(None) };
            value.write(&mut bytes);
        }
        Ok(Some(SeriesId { key: Digest::of(&bytes), monitor }))
    }

    /// The name of an event of a streak, seen from a later position.
    fn name(&mut self, values: &[Operand]) -> Result<Option<Digest>, String> {
        let mut bytes = self.start(b"name");
        for value in values {
            let Some(value) = self.value(value)? else { return Ok(None) };
            value.write(&mut bytes);
        }
        Ok(Some(Digest::of(&bytes)))
    }

    /// The name of the event at this position.
    fn fields(&self, paths: &[Path]) -> Result<Option<Digest>, String> {
        let mut bytes = self.start(b"name");
        for path in paths {
            let Some(value) = self.sight.field(path) else { return Ok(None) };
            value.write(&mut bytes);
        }
        Ok(Some(Digest::of(&bytes)))
    }

    fn start(&self, what: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(b"callgate-history-v1\0");
        bytes.extend_from_slice(what);
        bytes.extend_from_slice(self.blind.as_bytes());
        Atom::Text(self.sight.tenant().to_owned()).write(&mut bytes);
        bytes
    }

    /// What every key begins with: whose history it is.
    fn frame(&self, what: &[u8], span: &Span) -> Result<Vec<u8>, String> {
        let mut bytes = self.start(what);
        if let Span::Fields(paths) = span {
            for path in paths {
                let missing =
                    || format!("the request has no `{}`, which tells whose history it is", path.join("."));
                self.sight.field(path).ok_or_else(missing)?.write(&mut bytes);
            }
        }
        Ok(bytes)
    }

    /// What the event at this position adds to the series of a monitor.
    pub(crate) fn observe(&mut self, monitor: Digest, watch: &Watch) -> Result<Option<Observation>, String> {
        // Asked in any case, so that a plan does not depend on what only becomes known later.
        let guard = if self.sight.is(&watch.event) { self.holds(&watch.guard)? } else { false };
        let fits = guard && self.fits(&watch.event, &watch.present, &watch.equal)?;
        let values = if fits { self.fields(&watch.keys)? } else { None };
        let mut bytes = match self.frame(b"key", &watch.span) {
            Ok(bytes) => bytes,
            // An event of nobody's history.
            Err(_) => return Ok(None),
        };
        if watch.measure == Measure::Streak {
            let series = SeriesId { key: Digest::of(&bytes), monitor };
            return Ok(Some(Observation { name: values, number: 0, series }));
        }
        if values.is_none() {
            return Ok(None);
        }
        for path in &watch.keys {
            if let Some(value) = self.sight.field(path) {
                value.write(&mut bytes);
            }
        }
        let name = match watch.measure {
            Measure::Distinct => self.fields(&watch.names)?,
            _ => None,
        };
        let number = watch.number.as_ref().and_then(|path| self.sight.field(path)?.int()).unwrap_or(0);
        let series = SeriesId { key: Digest::of(&bytes), monitor };
        Ok(Some(Observation { name, number, series }))
    }
}

const MISMATCH: &str = "an answer is of another kind than its question";

fn compare(op: Comparison, left: &Atom, right: &Atom) -> bool {
    let numbers = || left.int().zip(right.int());
    match op.0 {
        CmpOp::Eq => left == right,
        CmpOp::NotEq => left != right,
        CmpOp::Lt => numbers().is_some_and(|(left, right)| left < right),
        CmpOp::Le => numbers().is_some_and(|(left, right)| left <= right),
        CmpOp::Gt => numbers().is_some_and(|(left, right)| left > right),
        CmpOp::Ge => numbers().is_some_and(|(left, right)| left >= right),
    }
}
