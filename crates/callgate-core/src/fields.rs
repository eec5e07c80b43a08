//! Taking the fields of a JSON object one by one, so that what is left over is an error.

use std::collections::BTreeMap;

use crate::name::Name;
use crate::value::{Map, Value, key_order};

/// A field that is missing, unknown or not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct FieldError {
    problem: String,
}

impl FieldError {
    /// A problem with the field at `path`; the empty path is the whole document.
    #[must_use]
    pub fn new(path: &str, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        let problem =
            if path.is_empty() { format!("the request: {problem}") } else { format!("`{path}`: {problem}") };
        Self { problem }
    }
}

/// The fields of one object that nobody has taken yet.
#[derive(Debug)]
pub struct Fields {
    path: &'static str,
    /// In no order.
    left: Vec<(String, Value)>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Opens an object found at `path`.
    ///
    /// # Errors
    /// When `value` is not an object.
    pub fn open(value: Value, path: &'static str) -> Result<Self, FieldError> {
        match value {
            Value::Map(map) => Ok(Self { path, left: map.into_pairs(), known: Vec::with_capacity(16) }),
            other => Err(FieldError::new(path, expected("an object", &other))),
        }
    }

    fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn wrong(&self, key: &str, problem: String) -> FieldError {
        FieldError::new(&self.at(key), problem)
    }

    /// Takes `key`; `null` counts as absent.
    pub fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        let at = self.left.iter().position(|(name, _)| name == key)?;
        let (_, value) = self.left.swap_remove(at);
        (value != Value::Null).then_some(value)
    }

    /// Takes `key`, which must be there.
    ///
    /// # Errors
    /// When it is absent.
    pub fn required(&mut self, key: &'static str) -> Result<Value, FieldError> {
        self.take(key).ok_or_else(|| FieldError { problem: format!("`{}` is missing", self.at(key)) })
    }

    /// Takes a string.
    ///
    /// # Errors
    /// When it is something else.
    pub fn string(&mut self, key: &'static str) -> Result<Option<String>, FieldError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Str(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, expected("a string", &other))),
        }
    }

    /// Takes a name.
    ///
    /// # Errors
    /// When it is no string or no name.
    pub fn name(&mut self, key: &'static str) -> Result<Option<Name>, FieldError> {
        let Some(text) = self.string(key)? else { return Ok(None) };
        Name::new(&text).map(Some).map_err(|e| self.wrong(key, e.to_string()))
    }

    /// Takes a name that must be there.
    ///
    /// # Errors
    /// When it is absent, no string or no name.
    pub fn required_name(&mut self, key: &'static str) -> Result<Name, FieldError> {
        self.name(key)?.ok_or_else(|| FieldError { problem: format!("`{}` is missing", self.at(key)) })
    }

    /// Takes a list of names, empty if absent.
    ///
    /// # Errors
    /// When it is no list of names, or longer than `most`.
    pub fn names(&mut self, key: &'static str, most: usize) -> Result<Vec<Name>, FieldError> {
        let texts = self.texts(key, most)?;
        let name = |text: &String| Name::new(text).map_err(|e| self.wrong(key, e.to_string()));
        texts.iter().map(name).collect()
    }

    /// Takes a list of words that could be names, empty if absent.
    ///
    /// # Errors
    /// As [`Self::names`].
    pub fn words(&mut self, key: &'static str, most: usize) -> Result<Vec<String>, FieldError> {
        let texts = self.texts(key, most)?;
        for text in &texts {
            Name::check(text).map_err(|e| self.wrong(key, e.to_string()))?;
        }
        Ok(texts)
    }

    fn texts(&mut self, key: &'static str, most: usize) -> Result<Vec<String>, FieldError> {
        let items = match self.take(key) {
            None => return Ok(Vec::new()),
            Some(Value::List(items)) if items.len() <= most => items,
            Some(Value::List(_)) => return Err(self.wrong(key, format!("at most {most} entries"))),
            Some(other) => return Err(self.wrong(key, expected("a list of strings", &other))),
        };
        items
            .into_iter()
            .map(|item| match item {
                Value::Str(text) => Ok(text),
                other => Err(self.wrong(key, expected("a string", &other))),
            })
            .collect()
    }

    /// Takes an object.
    ///
    /// # Errors
    /// When it is something else.
    pub fn map(&mut self, key: &'static str) -> Result<Option<Map>, FieldError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Map(map)) => Ok(Some(map)),
            Some(other) => Err(self.wrong(key, expected("an object", &other))),
        }
    }

    /// Takes an object of names to strings.
    ///
    /// # Errors
    /// When a key is no name, a value no string, or there are more than `most`.
    pub fn labels(&mut self, key: &'static str, most: usize) -> Result<BTreeMap<Name, String>, FieldError> {
        let map = self.map(key)?.unwrap_or_default();
        if map.len() > most {
            return Err(self.wrong(key, format!("at most {most} entries")));
        }
        map.iter()
            .map(|(label, value)| match value {
                Value::Str(text) => {
                    Name::new(label).map(|n| (n, text.clone())).map_err(|e| self.wrong(key, e.to_string()))
                }
                other => Err(self.wrong(key, expected("strings as values", other))),
            })
            .collect()
    }

    /// Takes a whole number.
    ///
    /// # Errors
    /// When it is something else.
    pub fn integer(&mut self, key: &'static str) -> Result<Option<i64>, FieldError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Int(number)) => Ok(Some(number)),
            Some(other) => Err(self.wrong(key, expected("a whole number", &other))),
        }
    }

    /// Ends the object: whatever was not taken is an error.
    ///
    /// # Errors
    /// The first unknown field, with the nearest known one.
    pub fn close(self) -> Result<(), FieldError> {
        let unknown = self.left.iter().map(|(name, _)| name).min_by(|a, b| key_order(a, b));
        let Some(unknown) = unknown else { return Ok(()) };
        let shown: String = unknown.escape_debug().take(64).collect();
        let hint = nearest(unknown, self.known.iter().copied())
            .map(|near| format!("; did you mean `{}`", self.at(near)))
            .unwrap_or_default();
        Err(FieldError { problem: format!("`{}` is not a field here{hint}", self.at(&shown)) })
    }
}

fn expected(what: &str, found: &Value) -> String {
    let article = if matches!(found, Value::List(_) | Value::Map(_)) { "an" } else { "a" };
    let kind = found.kind();
    if kind == "null" {
        format!("expected {what}, found null")
    } else {
        format!("expected {what}, found {article} {kind}")
    }
}

/// The word of `known` nearest to `word`, if it is near enough to be meant.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let budget = word.chars().count().checked_div(3).unwrap_or(0).max(1);
    let near = known.map(|candidate| (distance(word, candidate), candidate)).min()?;
    (near.0 <= budget).then_some(near.1)
}

/// The Levenshtein distance, on the first 64 characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut left = i.saturating_add(1);
        let mut next = Vec::with_capacity(row.len());
        next.push(left);
        for (cb, pair) in b.iter().zip(row.windows(2)) {
            let [diagonal, above] = pair else { continue };
            let change = diagonal.saturating_add(usize::from(ca != *cb));
            left = change.min(above.saturating_add(1)).min(left.saturating_add(1));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_not() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(nearest("decison", ["decision", "reason"].into_iter()), Some("decision"));
        assert_eq!(nearest("zzz", ["decision", "reason"].into_iter()), None);
    }
}
