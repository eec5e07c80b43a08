//! Loops over lists and maps. Each round costs fuel, and each stops as soon as its result is known.

use super::super::ast::LoopKind;
use super::super::entries::Key;
use super::super::error::EvalError;
use super::super::program::{Loop, Node};
use super::super::value::{CelValue, List, Map};
use super::{Outcome, Run};

/// What a loop has found so far.
#[derive(Default)]
struct Found<'a> {
    /// The first error that a later round may still absorb.
    failure: Option<EvalError>,
    count: usize,
    items: Vec<CelValue<'a>>,
    pairs: Vec<(Key<'a>, CelValue<'a>)>,
}

impl<'a> Run<'a, '_> {
    pub(super) fn looping(&mut self, inner: &'a Loop) -> Outcome<'a> {
        let range = self.eval(&inner.range)?;
        let rounds = self.rounds(&range, inner.two)?;
        let bottom = self.locals.len();
        let mut found = Found::default();
        let decided = self.run_rounds(inner, rounds, bottom, &mut found);
        // Whatever ended it: an error may be absorbed, and the next loop counts from here.
        self.locals.truncate(bottom);
        match decided? {
            Some(value) => Ok(value),
            None => self.result(inner.kind, found),
        }
    }

    /// Runs rounds until one decides; leaves the variables of the last one behind.
    fn run_rounds(
        &mut self,
        inner: &'a Loop,
        rounds: Rounds<'a>,
        bottom: usize,
        found: &mut Found<'a>,
    ) -> Result<Option<CelValue<'a>>, EvalError> {
        let [first_expected, second_expected] = inner.expect;
        for (first, second) in rounds {
            self.fuel.burn(1)?;
            self.locals.truncate(bottom);
            self.locals.push(first_expected.admit(first)?);
            if let Some(second) = second {
                self.locals.push(second_expected.admit(second)?);
            }
            if let Some(decided) = self.round(inner, bottom, found)? {
                return Ok(Some(decided));
            }
        }
        Ok(None)
    }

    /// The values of the loop's variables, round by round.
    fn rounds(&mut self, range: &CelValue<'a>, two: bool) -> Result<Rounds<'a>, EvalError> {
        match range {
            CelValue::List(list) => Ok(Rounds::List { list: list.clone(), next: 0, two }),
            CelValue::Map(map) => {
                self.fuel.burn_elements(map.len())?;
                Ok(Rounds::Map(pairs(map, two).into_iter()))
            }
            other => Err(EvalError::WrongOperand { operation: "loop", found: other.kind() }),
        }
    }

    /// One round; a value if it decides the loop.
    fn round(
        &mut self,
        inner: &'a Loop,
        bottom: usize,
        found: &mut Found<'a>,
    ) -> Result<Option<CelValue<'a>>, EvalError> {
        if let Some(filter) = &inner.filter
            && !self.test(filter)?
        {
            return Ok(None);
        }
        match inner.kind {
            LoopKind::All => Ok(self.absorbing(&inner.body, false, found)?),
            LoopKind::Exists => Ok(self.absorbing(&inner.body, true, found)?),
            LoopKind::ExistsOne => {
                found.count = found.count.saturating_add(usize::from(self.test(&inner.body)?));
                Ok(None)
            }
            LoopKind::Filter => {
                if self.test(&inner.body)? {
                    found.items.push(self.local(bottom)?);
                }
                Ok(None)
            }
            LoopKind::Map => {
                found.items.push(self.eval(&inner.body)?);
                Ok(None)
            }
            LoopKind::TransformMap => {
                let value = self.eval(&inner.body)?;
                let key = self.local(bottom)?;
                let kind = key.kind();
                let key = Key::from_value(key);
                found
                    .pairs
                    .push((key.ok_or(EvalError::WrongOperand { operation: "{}", found: kind })?, value));
                Ok(None)
            }
            LoopKind::TransformMapEntry => self.entry(&inner.body, found),
        }
    }

    fn entry(&mut self, body: &'a Node, found: &mut Found<'a>) -> Result<Option<CelValue<'a>>, EvalError> {
        let value = self.eval(body)?;
        let CelValue::Map(map) = &value else {
            return Err(EvalError::WrongOperand { operation: "transformMapEntry", found: value.kind() });
        };
        self.fuel.burn_elements(map.len())?;
        let pairs = map.entries().into_iter().filter_map(|(key, value)| Some((Key::from_value(key)?, value)));
        found.pairs.extend(pairs);
        Ok(None)
    }

    fn test(&mut self, node: &'a Node) -> Result<bool, EvalError> {
        match self.eval(node)? {
            CelValue::Bool(flag) => Ok(flag),
            other => Err(EvalError::WrongOperand { operation: "loop", found: other.kind() }),
        }
    }

    /// A round of `all` or `exists`: `deciding` ends the loop, errors wait for a deciding round.
    fn absorbing(
        &mut self,
        body: &'a Node,
        deciding: bool,
        found: &mut Found<'a>,
    ) -> Result<Option<CelValue<'a>>, EvalError> {
        match self.test(body) {
            Ok(flag) if flag == deciding => Ok(Some(CelValue::Bool(flag))),
            Ok(_) => Ok(None),
            Err(error) if error.absorbable() => {
                found.failure.get_or_insert(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn result(&mut self, kind: LoopKind, found: Found<'a>) -> Outcome<'a> {
        if let Some(failure) = found.failure {
            return Err(failure);
        }
        Ok(match kind {
            LoopKind::All => CelValue::Bool(true),
            LoopKind::Exists => CelValue::Bool(false),
            LoopKind::ExistsOne => CelValue::Bool(found.count == 1),
            LoopKind::Map | LoopKind::Filter => return self.made(found.items),
            LoopKind::TransformMap | LoopKind::TransformMapEntry => return self.entries(found.pairs),
        })
    }

    pub(super) fn bind(&mut self, value: &'a Node, body: &'a Node) -> Outcome<'a> {
        let value = self.eval(value)?;
        let bottom = self.locals.len();
        self.locals.push(value);
        let result = self.eval(body);
        self.locals.truncate(bottom);
        result
    }
}

/// The loop variables of each round.
enum Rounds<'a> {
    List { list: List<'a>, next: usize, two: bool },
    Map(std::vec::IntoIter<(CelValue<'a>, Option<CelValue<'a>>)>),
}

impl<'a> Iterator for Rounds<'a> {
    type Item = (CelValue<'a>, Option<CelValue<'a>>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Map(pairs) => pairs.next(),
            Self::List { list, next, two } => {
                let item = list.get(*next)?;
                let index = CelValue::Int(i64::try_from(*next).unwrap_or(i64::MAX));
                *next = next.saturating_add(1);
                Some(if *two { (index, Some(item)) } else { (item, None) })
            }
        }
    }
}

fn pairs<'a>(map: &Map<'a>, two: bool) -> Vec<(CelValue<'a>, Option<CelValue<'a>>)> {
    if two {
        map.entries().into_iter().map(|(key, value)| (key, Some(value))).collect()
    } else {
        map.keys().into_iter().map(|key| (key, None)).collect()
    }
}
