//! Which variables an expression may name, and where their values come from.

use super::types::Type;
use super::value::CelValue;

/// The declared variables of an expression. A variable's *slot* is its place in declaration order.
#[derive(Debug, Clone, Default)]
pub struct Env {
    variables: Vec<(String, Type)>,
    container: String,
    unchecked: bool,
}

impl Env {
    /// No variables; only the standard functions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares `name`, which may be dotted (`agent.id`); a repeated name replaces the earlier type.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, ty: Type) -> Self {
        let name = name.into();
        match self.variables.iter_mut().find(|(known, _)| *known == name) {
            Some(slot) => slot.1 = ty,
            None => self.variables.push((name, ty)),
        }
        self
    }

    /// Names are tried inside `container` first, then in each part around it (`a.b.x`, `a.x`, `x`).
    #[must_use]
    pub fn container(mut self, container: impl Into<String>) -> Self {
        self.container = container.into();
        self
    }

    /// Mistakes of type become errors of the evaluation: the specification's parse-only mode. For
    /// conformance suites; rules are always checked.
    #[must_use]
    pub const fn unchecked(mut self) -> Self {
        self.unchecked = true;
        self
    }

    pub(super) const fn is_unchecked(&self) -> bool {
        self.unchecked
    }

    /// The slot of `name`.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.variables.iter().position(|(known, _)| known == name)
    }

    /// The declared names and types, in slot order.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Type)> {
        self.variables.iter().map(|(name, ty)| (name.as_str(), ty))
    }

    /// The slot, full name and type of `name` as written; `rooted` names (`.x`) skip the container.
    pub(super) fn resolve(&self, name: &str, rooted: bool) -> Option<(usize, &str, &Type)> {
        self.candidates(name, rooted).into_iter().find_map(|full| {
            let at = self.slot(&full)?;
            self.variables.get(at).map(|(known, ty)| (at, known.as_str(), ty))
        })
    }

    /// What `name` may stand for, most qualified first.
    pub(super) fn candidates(&self, name: &str, rooted: bool) -> Vec<String> {
        let mut found = Vec::new();
        let mut scope = if rooted { "" } else { self.container.as_str() };
        while !scope.is_empty() {
            found.push(format!("{scope}.{name}"));
            scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
        found.push(name.to_owned());
        found
    }
}

/// Where an evaluation reads its variables. Called only for the variables it needs, when it needs
/// them; values borrow from the implementor.
pub trait Lookup {
    /// The value of the variable declared as `name`, in `slot` of the [`Env`] it was checked with;
    /// `None` if this request does not set it.
    fn get(&self, slot: usize, name: &str) -> Option<CelValue<'_>>;
}

/// No variables at all.
impl Lookup for () {
    fn get(&self, _slot: usize, _name: &str) -> Option<CelValue<'_>> {
        None
    }
}

/// Values in slot order.
impl Lookup for [CelValue<'_>] {
    fn get(&self, slot: usize, _name: &str) -> Option<CelValue<'_>> {
        <[CelValue<'_>]>::get(self, slot).cloned()
    }
}
