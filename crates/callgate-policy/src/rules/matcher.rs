//! Whether a rule's scope and match hold for a request, and how narrowly.
//!
//! *Strict* ([`Form::Exact`]) asks whether the rule surely speaks of the request; *cautious*
//! ([`Form::Folded`]) whether it may. `docs/bundle.md` has the table.

use std::collections::BTreeSet;

use callgate_core::catalogue::Catalogue;
use callgate_core::index::{Form, Keys};
use callgate_core::name::{Name, fold};
use callgate_core::pattern::Pattern;
use callgate_core::request::Request;
use callgate_core::rule::Specificity;

/// One alternative of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) pattern: Pattern,
    folded: Pattern,
    exact: bool,
}

/// The alternatives of a field; none do not restrict.
pub(crate) type Field = Vec<Want>;

/// Tags a rule asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tags {
    /// At least one, unless empty.
    pub(crate) any: Vec<Name>,
    pub(crate) all: Vec<Name>,
    pub(crate) none: Vec<Name>,
}

/// A label and the values it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabelTest {
    pub(crate) label: Name,
    pub(crate) values: Field,
}

/// The scope and match of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Matcher {
    pub(crate) agents: Field,
    pub(crate) teams: Field,
    pub(crate) tenants: Field,
    pub(crate) environments: Field,
    pub(crate) tools: Field,
    pub(crate) topics: Field,
    pub(crate) functions: Field,
    pub(crate) action_types: Field,
    pub(crate) tags: Tags,
    pub(crate) labels: Vec<LabelTest>,
}

/// How a rule matched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) specificity: Specificity,
    /// The field that matched only because the request does not say it.
    pub(crate) unsaid: Option<&'static str>,
}

/// Tags whose presence may loosen a decision: of a tool whose server is in the catalogue only the
/// catalogue's own, since a caller can add risk but not remove it.
#[derive(Debug)]
pub(crate) enum Trusted<'a> {
    /// Nothing is known of the tool, or none is called: the request's.
    Claimed(&'a BTreeSet<Name>),
    /// The catalogue's.
    Catalogue(&'a BTreeSet<Name>),
    /// None: the tool only looks like one of the catalogue, or its server has others there.
    Nothing,
}

impl<'a> Trusted<'a> {
    pub(crate) fn of(catalogue: &'a Catalogue, request: &'a Request) -> Self {
        let Some(tool) = &request.tool else { return Self::Claimed(&request.risk_tags) };
        match catalogue.get(&tool.identity) {
            None if catalogue.lists_server_of(&tool.identity) => Self::Nothing,
            None => Self::Claimed(&request.risk_tags),
            Some(known) if known.identity == tool.identity => Self::Catalogue(&known.risk_tags),
            Some(_) => Self::Nothing,
        }
    }

    fn has(&self, tag: &Name) -> bool {
        match self {
            Self::Claimed(tags) | Self::Catalogue(tags) => tags.contains(tag),
            Self::Nothing => false,
        }
    }
}

impl Want {
    pub(crate) fn new(pattern: Pattern) -> Self {
        Self { folded: pattern.folded(), exact: pattern.is_exact(), pattern }
    }

    /// Whether it names exactly one name.
    pub(crate) const fn is_exact(&self) -> bool {
        self.exact
    }

    fn matches(&self, form: Form, text: &str) -> bool {
        match form {
            Form::Exact => self.pattern.matches(text),
            Form::Folded => self.folded.matches(text),
        }
    }
}

/// Whether one of `field` matches, and whether the best that does is exact.
fn best(field: &[Want], form: Form, text: &str) -> Option<bool> {
    let mut found = None;
    for want in field {
        if found != Some(true) && (found.is_none() || want.exact) && want.matches(form, text) {
            found = Some(want.exact);
        }
    }
    found
}

/// Whether one of those behind a request, the agent and everybody who delegated to it, is one of these, look-alikes
/// included; none restrict nothing.
pub(crate) fn is_behind(agents: &[Want], request: &Request) -> bool {
    let mut behind = std::iter::once(&request.agent.id).chain(&request.agent.chain);
    agents.is_empty() || behind.any(|name| best(agents, Form::Folded, name.folded()).is_some())
}

impl Match {
    /// Counts `field` if it restricts; what the request does not say does not match.
    fn known(
        &mut self,
        field: &[Want],
        form: Form,
        name: Option<&Name>,
        word: &'static str,
    ) -> Result<(), &'static str> {
        if field.is_empty() {
            return Ok(());
        }
        let exact = name.and_then(|name| best(field, form, form.text(name))).ok_or(word)?;
        self.specificity.count(exact);
        Ok(())
    }

    /// The same, but cautiously what the request does not say may be anything. It counts as exact, so
    /// that saying it could not have made the rule weigh more.
    fn unless_unsaid(
        &mut self,
        field: &[Want],
        form: Form,
        name: Option<&Name>,
        word: &'static str,
    ) -> Result<(), &'static str> {
        if !field.is_empty() && name.is_none() && form == Form::Folded {
            self.specificity.count(true);
            self.unsaid = Some(word);
            return Ok(());
        }
        self.known(field, form, name, word)
    }
}

impl Matcher {
    /// How the rule matches, or the field that does not.
    pub(crate) fn find(
        &self,
        form: Form,
        request: &Request,
        trusted: &Trusted<'_>,
    ) -> Result<Match, &'static str> {
        let mut found = Match::default();
        let function = request.session.function.as_ref();
        let tool = request.tool.as_ref().map(|tool| &tool.identity);
        found.known(&self.tools, form, tool, "tools")?;
        found.known(&self.topics, form, request.topic.as_ref(), "topics")?;
        found.known(&self.functions, form, function, "functions")?;
        let action = request.session.action_type.as_ref();
        if function.is_some() {
            found.unless_unsaid(&self.action_types, form, action, "session.action_type")?;
        } else {
            found.known(&self.action_types, form, action, "action_types")?;
        }
        self.find_tags(form, request, trusted, &mut found)?;
        found.known(&self.agents, form, Some(&request.agent.id), "agents")?;
        found.known(&self.teams, form, request.agent.team.as_ref(), "teams")?;
        found.known(&self.tenants, form, Some(&request.tenant), "tenants")?;
        self.find_labels(form, request, &mut found)?;
        found.unless_unsaid(&self.environments, form, request.environment.as_ref(), "environment")?;
        Ok(found)
    }

    fn find_tags(
        &self,
        form: Form,
        request: &Request,
        trusted: &Trusted<'_>,
        found: &mut Match,
    ) -> Result<(), &'static str> {
        let Tags { any, all, none } = &self.tags;
        if any.is_empty() && all.is_empty() && none.is_empty() {
            return Ok(());
        }
        // What makes the rule match: surely there, or maybe there. What keeps it from matching: the
        // other way round.
        let surely = |tag: &Name| trusted.has(tag);
        let maybe = |tag: &Name| request.risk_tags.iter().any(|has| has.folded() == tag.folded());
        let wanted = |tag: &Name| if form == Form::Exact { surely(tag) } else { maybe(tag) };
        let unwanted = |tag: &Name| if form == Form::Exact { maybe(tag) } else { surely(tag) };
        let holds = all.iter().all(wanted) && (any.is_empty() || any.iter().any(wanted));
        if !holds || none.iter().any(unwanted) {
            return Err("risk_tags");
        }
        found.specificity.count(!any.is_empty() || !all.is_empty());
        Ok(())
    }

    fn find_labels(&self, form: Form, request: &Request, found: &mut Match) -> Result<(), &'static str> {
        if self.labels.is_empty() {
            return Ok(());
        }
        let mut exact = true;
        for test in &self.labels {
            exact &= test.find(form, request).ok_or("labels")?;
        }
        found.specificity.count(exact);
        Ok(())
    }

    /// What the rule can be found by in the index: one entry, or one for each of alternative tags.
    pub(crate) fn keys(&self) -> Vec<Keys> {
        let patterns = |field: &Field| field.iter().map(|want| want.pattern.clone()).collect();
        let keys = Keys {
            tools: patterns(&self.tools),
            topics: patterns(&self.topics),
            functions: patterns(&self.functions),
            all_tags: self.tags.all.clone(),
            agents: patterns(&self.agents),
        };
        if !keys.all_tags.is_empty() || self.tags.any.is_empty() {
            return vec![keys];
        }
        self.tags.any.iter().map(|tag| Keys { all_tags: vec![tag.clone()], ..keys.clone() }).collect()
    }

    /// The fields of patterns, by their words.
    pub(crate) const fn fields(&self) -> [(&'static str, &Field); 8] {
        [
            ("agents", &self.agents),
            ("teams", &self.teams),
            ("tenants", &self.tenants),
            ("environments", &self.environments),
            ("tools", &self.tools),
            ("topics", &self.topics),
            ("functions", &self.functions),
            ("action_types", &self.action_types),
        ]
    }

    /// Whether it matches every request.
    pub(crate) fn is_unrestricted(&self) -> bool {
        self.fields().iter().all(|(_, field)| field.is_empty())
            && self.tags == Tags::default()
            && self.labels.is_empty()
    }
}

impl LabelTest {
    /// Whether the label has one of the values, and whether the best that matches is exact. Cautiously,
    /// any label of a look-alike name counts.
    fn find(&self, form: Form, request: &Request) -> Option<bool> {
        match form {
            Form::Exact => request.labels.get(&self.label).and_then(|value| best(&self.values, form, value)),
            Form::Folded => {
                let alike = request.labels.iter().filter(|(name, _)| name.folded() == self.label.folded());
                alike.filter_map(|(_, value)| best(&self.values, form, &fold(value))).max()
            }
        }
    }
}
