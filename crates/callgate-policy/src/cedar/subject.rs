//! Who asks for what, as texts: the part of a request that views differ in.

use callgate_core::name::{Name, fold};
use callgate_core::request::Request;

use super::reads::Reads;
use super::schema::Listed;

/// What stands for an environment of which nothing is known.
pub(crate) const UNSAID: &str = "(unsaid)";

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'r> {
    /// A tool of the catalogue.
    Listed(&'r Listed),
    /// A tool that the catalogue does not have: its server, name and identity.
    Unlisted { server: Option<&'r str>, name: &'r str, identity: &'r str },
    /// A topic.
    Topic(&'r str),
    /// A function.
    Function(&'r str),
}

/// The names of a request.
#[derive(Debug, Clone)]
pub(crate) struct Subject<'r> {
    pub(crate) agent: &'r str,
    pub(crate) team: Option<&'r str>,
    pub(crate) tenant: &'r str,
    pub(crate) chain: Vec<&'r str>,
    pub(crate) on_behalf_of: Option<&'r str>,
    pub(crate) target: Target<'r>,
    pub(crate) topic: Option<&'r str>,
    pub(crate) environment: Option<&'r str>,
    /// `id`, `step`, `function` and `action_type`.
    pub(crate) session: [Option<&'r str>; 4],
    pub(crate) tags: Vec<&'r str>,
    pub(crate) labels: Vec<(&'r str, &'r str)>,
}

/// How names are spelled.
#[derive(Debug, Clone, Copy)]
enum Spelling<'r> {
    AsWritten,
    /// As this policy spells what looks alike.
    As(&'r Reads),
}

impl<'r> Spelling<'r> {
    fn name(self, name: &'r Name) -> &'r str {
        match self {
            Self::AsWritten => name.as_str(),
            Self::As(reads) => reads.spellings.get(name.folded()).map_or(name.as_str(), |text| text.as_str()),
        }
    }

    fn text(self, text: &'r str) -> &'r str {
        match self {
            Self::AsWritten => text,
            Self::As(reads) => reads.spellings.get(&fold(text)).map_or(text, |known| known.as_str()),
        }
    }
}

impl<'r> Subject<'r> {
    /// As the request says.
    pub(crate) fn of(request: &'r Request, listed: Option<&'r Listed>) -> Self {
        Self::spelled(request, listed, Spelling::AsWritten)
    }

    /// With every name that looks like one of the policy's as that.
    pub(crate) fn resembling(request: &'r Request, listed: Option<&'r Listed>, reads: &'r Reads) -> Self {
        Self::spelled(request, listed, Spelling::As(reads))
    }

    fn spelled(request: &'r Request, listed: Option<&'r Listed>, spelling: Spelling<'r>) -> Self {
        let name = |name: &'r Name| spelling.name(name);
        let session = &request.session;
        // What looks alike is added, not replaced: a policy may ask for both.
        let mut tags: Vec<&str> = request.risk_tags.iter().map(Name::as_str).collect();
        let mut labels: Vec<(&str, &str)> =
            request.labels.iter().map(|(key, value)| (name(key), spelling.text(value))).collect();
        if matches!(spelling, Spelling::As(_)) {
            tags.extend(request.risk_tags.iter().map(name));
            labels.dedup_by_key(|(key, _)| *key);
        }
        Self {
            agent: name(&request.agent.id),
            team: request.agent.team.as_ref().map(name),
            tenant: name(&request.tenant),
            chain: request.agent.chain.iter().map(name).collect(),
            on_behalf_of: request.agent.on_behalf_of.as_ref().map(name),
            target: target(request, listed, spelling),
            topic: request.topic.as_ref().map(name),
            environment: request.environment.as_ref().map(name),
            session: [&session.id, &session.step, &session.function, &session.action_type]
                .map(|part| part.as_ref().map(name)),
            tags,
            labels,
        }
    }

    /// Every name of a request that another could look like, and label values.
    pub(crate) fn resembles(request: &Request, known: &dyn Fn(&str, &str) -> bool) -> bool {
        let (agent, session) = (&request.agent, &request.session);
        let optional = [
            &agent.team,
            &agent.on_behalf_of,
            &request.topic,
            &request.environment,
            &session.id,
            &session.step,
            &session.function,
            &session.action_type,
        ];
        let tool = request.tool.as_ref().map(|tool| &tool.identity);
        let mut names = [&agent.id, &request.tenant]
            .into_iter()
            .chain(optional.into_iter().flatten())
            .chain(tool)
            .chain(&agent.chain)
            .chain(&request.risk_tags)
            .chain(request.labels.keys());
        names.any(|name| known(name.as_str(), name.folded()))
            || request.labels.values().any(|value| known(value, &fold(value)))
    }
}

fn target<'r>(request: &'r Request, listed: Option<&'r Listed>, spelling: Spelling<'r>) -> Target<'r> {
    match (listed, &request.tool, &request.topic) {
        (Some(listed), _, _) => Target::Listed(listed),
        (None, Some(tool), _) => {
            let server = tool.server.as_ref().map(|server| spelling.name(server));
            Target::Unlisted {
                server,
                name: spelling.name(&tool.name),
                identity: spelling.name(&tool.identity),
            }
        }
        (None, None, Some(topic)) => Target::Topic(spelling.name(topic)),
        (None, None, None) => {
            Target::Function(request.session.function.as_ref().map_or("", |function| spelling.name(function)))
        }
    }
}
