//! One index over the rules of every language: which rules could match this request?
//!
//! Each rule is filed once per alternative under its most selective field: tool, else topic, else
//! function, else one of its tags, else agent. A rule without any of them is always a candidate.
//! The index may only leave out rules that cannot match; what it hands out is still checked.
//! Restrictive rules are filed and looked up by folded names, permissive ones by exact names.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::name::Name;
use crate::pattern::{Pattern, Segment};
use crate::request::Request;

/// A hash map whose order and hashes are the same in every run; its keys come from the bundle.
type FixedMap<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// The fields a rule can be found by. Empty lists do not restrict.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// Tool identities.
    pub tools: Vec<Pattern>,
    /// Topics.
    pub topics: Vec<Pattern>,
    /// Functions of a contract.
    pub functions: Vec<Pattern>,
    /// Tags that the request must all have.
    pub all_tags: Vec<Name>,
    /// Agents.
    pub agents: Vec<Pattern>,
}

/// Which form of a name is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As written: for rules that permit.
    Exact,
    /// Folded: for rules that restrict.
    Folded,
}

impl Form {
    /// The rule forms: restrictive effects compare folded names.
    #[must_use]
    pub const fn of(effect: crate::decision::Decision) -> Self {
        if effect.permits() { Self::Exact } else { Self::Folded }
    }

    /// The text of `name` in this form.
    #[must_use]
    pub fn text(self, name: &Name) -> &str {
        match self {
            Self::Exact => name.as_str(),
            Self::Folded => name.folded(),
        }
    }
}

/// The index; rules are numbered by the caller.
#[derive(Debug, Default)]
pub struct Index {
    exact: Forest,
    folded: Forest,
}

#[derive(Debug, Default)]
struct Forest {
    tools: Trie,
    topics: Trie,
    functions: Trie,
    agents: Trie,
    tags: BTreeMap<String, Vec<u32>>,
    always: Vec<u32>,
}

impl Index {
    /// Files rule number `rule` under `keys`.
    pub fn insert(&mut self, rule: u32, form: Form, keys: &Keys) {
        let forest = match form {
            Form::Exact => &mut self.exact,
            Form::Folded => &mut self.folded,
        };
        forest.insert(rule, form, keys);
    }

    /// Replaces `out` by the numbers of all rules that could match, ascending, each once.
    ///
    /// `tags` are the request's tags together with the catalogue's.
    pub fn candidates(&self, request: &Request, out: &mut Vec<u32>) {
        out.clear();
        self.exact.candidates(Form::Exact, request, out);
        self.folded.candidates(Form::Folded, request, out);
        out.sort_unstable();
        out.dedup();
    }
}

impl Forest {
    fn insert(&mut self, rule: u32, form: Form, keys: &Keys) {
        let trie = if !keys.tools.is_empty() {
            (&mut self.tools, &keys.tools)
        } else if !keys.topics.is_empty() {
            (&mut self.topics, &keys.topics)
        } else if !keys.functions.is_empty() {
            (&mut self.functions, &keys.functions)
        } else if let Some(tag) = keys.all_tags.first() {
            self.tags.entry(form.text(tag).to_owned()).or_default().push(rule);
            return;
        } else if !keys.agents.is_empty() {
            (&mut self.agents, &keys.agents)
        } else {
            self.always.push(rule);
            return;
        };
        let (trie, patterns) = trie;
        for pattern in patterns {
            match form {
                Form::Exact => trie.insert(rule, pattern),
                Form::Folded => trie.insert(rule, &pattern.folded()),
            }
        }
    }

    fn candidates(&self, form: Form, request: &Request, out: &mut Vec<u32>) {
        out.extend_from_slice(&self.always);
        if let Some(tool) = &request.tool {
            self.tools.find(form.text(&tool.identity), out);
        }
        if let Some(topic) = &request.topic {
            self.topics.find(form.text(topic), out);
        }
        if let Some(function) = &request.session.function {
            self.functions.find(form.text(function), out);
        }
        if !self.tags.is_empty() {
            for tag in &request.risk_tags {
                out.extend(self.tags.get(form.text(tag)).into_iter().flatten());
            }
        }
        self.agents.find(form.text(&request.agent.id), out);
    }
}

/// A trie over pattern segments, kept in one vector. Node 0 is the root.
#[derive(Debug, Default)]
struct Trie {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    literal: FixedMap<Box<str>, usize>,
    /// `*` alone.
    any: Option<usize>,
    /// Segments with `*` inside, by the text before the first star.
    globs: FixedMap<Box<str>, Vec<(Segment, usize)>>,
    /// The distinct lengths of those texts, in bytes, ascending.
    prefixes: Vec<usize>,
    /// The node behind `**`, which also stays active for every further segment.
    rest: Option<usize>,
    /// Whether this node was reached by `**`.
    is_rest: bool,
    rules: Vec<u32>,
}

impl Trie {
    fn node(&mut self, at: usize) -> Option<&mut Node> {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        self.nodes.get_mut(at)
    }

    fn insert(&mut self, rule: u32, pattern: &Pattern) {
        let mut at = 0;
        for segment in pattern.segments() {
            at = self.child(at, segment);
        }
        if let Some(node) = self.node(at) {
            node.rules.push(rule);
        }
    }

    /// The child of `at` behind `segment`, made if absent.
    fn child(&mut self, at: usize, segment: &Segment) -> usize {
        let next = self.nodes.len().max(1);
        let Some(node) = self.node(at) else { return at };
        let found = match segment {
            Segment::Literal(text) => *node.literal.entry(text.as_str().into()).or_insert(next),
            Segment::Rest => *node.rest.get_or_insert(next),
            Segment::Glob(parts) if parts.iter().all(String::is_empty) => *node.any.get_or_insert(next),
            Segment::Glob(parts) => node.glob(segment, parts.first().map_or("", String::as_str), next),
        };
        if found == next {
            self.nodes.push(Node { is_rest: *segment == Segment::Rest, ..Node::default() });
        }
        found
    }

    /// Appends the rules of every pattern that matches `name`.
    fn find(&self, name: &str, out: &mut Vec<u32>) {
        if self.nodes.is_empty() {
            return;
        }
        let mut active = Vec::with_capacity(8);
        let mut next = Vec::with_capacity(8);
        self.enter(0, &mut active);
        for part in name.split('.') {
            next.clear();
            for at in &active {
                self.advance(*at, part, &mut next);
            }
            std::mem::swap(&mut active, &mut next);
        }
        for at in active {
            out.extend(self.nodes.get(at).into_iter().flat_map(|node| &node.rules));
        }
    }

    /// Adds node `at` and, since `**` may match nothing, the node behind it.
    fn enter(&self, at: usize, active: &mut Vec<usize>) {
        let mut at = Some(at);
        while let Some(here) = at.filter(|here| !active.contains(here)) {
            active.push(here);
            at = self.nodes.get(here).and_then(|node| node.rest);
        }
    }

    fn advance(&self, at: usize, part: &str, next: &mut Vec<usize>) {
        let Some(node) = self.nodes.get(at) else { return };
        if node.is_rest {
            self.enter(at, next);
        }
        for child in node.literal.get(part).into_iter().chain(&node.any) {
            self.enter(*child, next);
        }
        for length in &node.prefixes {
            let globs = part.get(..*length).and_then(|prefix| node.globs.get(prefix));
            for (segment, child) in globs.into_iter().flatten() {
                if segment.matches(part) {
                    self.enter(*child, next);
                }
            }
        }
    }
}

impl Node {
    fn glob(&mut self, segment: &Segment, prefix: &str, next: usize) -> usize {
        let bucket = self.globs.entry(prefix.into()).or_default();
        if let Some((_, found)) = bucket.iter().find(|(known, _)| known == segment) {
            return *found;
        }
        bucket.push((segment.clone(), next));
        if let Err(place) = self.prefixes.binary_search(&prefix.len()) {
            self.prefixes.insert(place, prefix.len());
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The trie finds exactly what matching each pattern finds.
        #[test]
        fn the_trie_is_a_linear_scan(
            patterns in proptest::collection::vec(r"(\*\*|\*|a|b|c|a\*|\*b|a\*b)(\.(\*\*|\*|a|b|a\*)){0,3}", 1..20),
            name in r"[abc]{1,3}(\.[abc]{1,2}){0,4}",
        ) {
            let patterns: Vec<Pattern> = patterns.iter().filter_map(|p| Pattern::new(p).ok()).collect();
            let mut trie = Trie::default();
            for (rule, pattern) in (0u32..).zip(&patterns) {
                trie.insert(rule, pattern);
            }
            let mut found = Vec::new();
            trie.find(&name, &mut found);
            found.sort_unstable();
            found.dedup();
            let expected: Vec<u32> =
                (0u32..).zip(&patterns).filter(|(_, p)| p.matches(&name)).map(|(rule, _)| rule).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
