//! What a policy says of a request, where the request can be seen in more than one way.
//!
//! A policy that permits must hold *surely*: by exact names, for a tool that the catalogue lists (or
//! that the policy names), with the tags the caller claims and without them. A policy that restricts
//! must hold *maybe*: a name that looks like one of the policy's counts as that, claimed tags may be
//! disregarded, and an environment that is not said may be any. So nothing that a caller adds, leaves
//! out or disguises takes a restriction away.

use std::cell::{Cell, OnceCell};

use callgate_core::name::Name;
use cedar_policy_core::ast::EntityUID;

use super::answer::Answer;
use super::policy::Compiled;
use super::reads::{ATTRIBUTES, ENVIRONMENT, SESSION, TAGS};
use super::schema::Listed;
use super::subject::{Subject, UNSAID};
use super::view::{Source, View};

/// How many values are tried for one thing that the request leaves unsaid.
const MAX_TRIES: usize = 32;
/// Where the action type stands in [`Subject::session`].
const ACTION_TYPE: usize = 3;

/// Says something that a request leaves unsaid.
type Say<'r> = fn(&mut Subject<'r>, &'r str);

/// The views of one request.
pub(crate) struct Judge<'r> {
    source: Source<'r>,
    listed: Option<&'r Listed>,
    /// The request's tool only looks like the listed one.
    alike: bool,
    /// Some name looks like a policy's, but is not that.
    disguised: bool,
    base: View<'r>,
    /// The work done so far.
    spent: Cell<u64>,
    /// The view with the catalogue's tags alone, where the caller claims others.
    trusted: Option<OnceCell<Result<View<'r>, String>>>,
    candidates: &'r [&'r Compiled],
}

impl<'r> Judge<'r> {
    /// Makes the view that all candidates share, as far as those whose scope fits read it.
    pub(crate) fn new(
        source: Source<'r>,
        candidates: &'r [&'r Compiled],
        resembles: &dyn Fn(&str, &str) -> bool,
    ) -> Result<Self, String> {
        let Source { request, actions, .. } = source;
        let listed = request.tool.as_ref().and_then(|tool| actions.get(&tool.identity));
        let same =
            |listed: &Listed| request.tool.as_ref().is_some_and(|tool| tool.identity == listed.identity);
        let alike = listed.is_some_and(|listed| !same(listed));
        let claims = |listed: &Listed| listed.tags.len() != request.risk_tags.len();
        let attributes = candidates.iter().any(|policy| policy.reads.has(ATTRIBUTES));
        let mut base = View::frame(Subject::of(request, listed), source, attributes)?;
        let fit: Vec<&Compiled> =
            candidates.iter().copied().filter(|policy| base.precheck(policy).is_none()).collect();
        if !fit.is_empty() {
            base.fill(source, &fit)?;
        }
        Ok(Self {
            source,
            listed,
            alike,
            disguised: Subject::resembles(request, resembles),
            base,
            spent: Cell::new(0),
            trusted: listed.filter(|listed| claims(listed)).map(|_| OnceCell::new()),
            candidates,
        })
    }

    /// The action that restrictive policies see.
    pub(crate) fn action(&self) -> &EntityUID {
        self.base.action()
    }

    /// What the policy surely says.
    pub(crate) fn surely(&self, policy: &Compiled) -> Answer {
        let unlisted = self.listed.is_none() && self.source.request.tool.is_some();
        if self.alike || (unlisted && !policy.names_unlisted) {
            return Answer::Differs("action");
        }
        let first = self.base(policy);
        match self.trusted(policy) {
            Some(trusted) if first == Answer::Yes => trusted,
            _ => first,
        }
    }

    /// What the policy may say.
    pub(crate) fn maybe(&self, policy: &'r Compiled) -> Answer {
        let unsaid = self.unsaid(policy);
        let said = unsaid.is_empty();
        let written = || Subject::of(self.source.request, self.listed);
        let mut found = if said { self.base(policy) } else { self.tried(policy, &unsaid, &written()) };
        if found != Answer::Yes && self.trusted.is_some() && policy.reads.has(TAGS) {
            let trusted = self.trusted(policy).filter(|_| said);
            let other = trusted.unwrap_or_else(|| self.tried(policy, &unsaid, &self.without_claims()));
            found = stricter(found, other);
        }
        if found != Answer::Yes && self.disguised {
            let subject = Subject::resembling(self.source.request, self.listed, &policy.reads);
            let other = if said { self.seen(policy, subject) } else { self.tried(policy, &unsaid, &subject) };
            found = stricter(found, other);
        }
        found
    }

    /// The request with the catalogue's tags alone.
    fn without_claims(&self) -> Subject<'r> {
        let mut subject = Subject::of(self.source.request, self.listed);
        subject.tags = self.listed.into_iter().flat_map(|listed| &listed.tags).map(Name::as_str).collect();
        subject
    }

    fn base(&self, policy: &Compiled) -> Answer {
        self.base.precheck(policy).unwrap_or_else(|| self.base.answer(policy, &self.spent))
    }

    /// What the policy says where the caller's own tags are disregarded; `None` where that is the same.
    fn trusted(&self, policy: &Compiled) -> Option<Answer> {
        let cell = self.trusted.as_ref().filter(|_| policy.reads.has(TAGS))?;
        let view = cell.get_or_init(|| {
            let readers: Vec<&Compiled> =
                self.candidates.iter().copied().filter(|policy| policy.reads.has(TAGS)).collect();
            let attributes = readers.iter().any(|policy| policy.reads.has(ATTRIBUTES));
            let mut view = View::frame(self.without_claims(), self.source, attributes)?;
            view.fill(self.source, &readers)?;
            Ok(view)
        });
        Some(match view {
            Ok(view) => view.precheck(policy).unwrap_or_else(|| view.answer(policy, &self.spent)),
            Err(why) => Answer::Error(why.clone()),
        })
    }

    /// What the policy says of that subject.
    fn seen(&self, policy: &Compiled, subject: Subject<'_>) -> Answer {
        let view = View::frame(subject, self.source, policy.reads.has(ATTRIBUTES));
        let answer = view.and_then(|mut view| match view.precheck(policy) {
            Some(answer) => Ok(answer),
            None => view.fill(self.source, &[policy]).map(|()| view.answer(policy, &self.spent)),
        });
        answer.unwrap_or_else(Answer::Error)
    }

    /// What the policy reads and the request leaves unsaid.
    fn unsaid(&self, policy: &Compiled) -> Vec<Say<'r>> {
        let (request, reads) = (self.source.request, &policy.reads);
        let mut found: Vec<Say<'r>> = Vec::new();
        if request.environment.is_none() && reads.has(ENVIRONMENT) {
            found.push(|subject, text| subject.environment = Some(text));
        }
        let function = request.session.function.is_some() && request.session.action_type.is_none();
        if function && reads.has(SESSION) {
            found.push(|subject, text| {
                if let Some(action_type) = subject.session.get_mut(ACTION_TYPE) {
                    *action_type = Some(text);
                }
            });
        }
        found
    }

    /// What the policy says of the likeliest values of what is unsaid: each text it compares with, and
    /// one that it does not know.
    fn tried(&self, policy: &'r Compiled, unsaid: &[Say<'r>], subject: &Subject<'r>) -> Answer {
        if policy.reads.texts.len() > MAX_TRIES {
            return Answer::Error("the request leaves too much unsaid, such as its `environment`".to_owned());
        }
        let mut found = Answer::False;
        for text in policy.reads.texts.iter().map(|text| text.as_str()).chain([UNSAID]) {
            let mut subject = subject.clone();
            for say in unsaid {
                say(&mut subject, text);
            }
            found = stricter(found, self.seen(policy, subject));
        }
        found
    }
}

/// The answer that restricts more; of two that do not restrict, the first.
fn stricter(a: Answer, b: Answer) -> Answer {
    match (&a, &b) {
        (Answer::Yes, _) => a,
        (_, Answer::Yes) => b,
        (Answer::Error(_), _) => a,
        (_, Answer::Error(_)) => b,
        _ => a,
    }
}
