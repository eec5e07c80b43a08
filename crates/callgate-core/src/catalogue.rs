//! The tool catalogue: what the bundle says of each tool, whatever a caller claims.

use std::collections::{BTreeMap, BTreeSet};

use crate::limit::Amount;
use crate::name::{Name, fold};
use crate::request::Request;
use crate::value::Value;

/// One tool of the catalogue.
#[derive(Debug, Clone)]
pub struct CatalogueTool {
    /// `server.name`, or `name` alone.
    pub identity: Name,
    /// The JSON Schema of its arguments.
    pub input_schema: Option<Value>,
    /// Tags every call of it carries.
    pub risk_tags: BTreeSet<Name>,
    /// What a call of it costs at least, by folded unit.
    pub cost: BTreeMap<String, Amount>,
}

/// The tools of a bundle, by folded identity.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    tools: BTreeMap<String, CatalogueTool>,
    /// The folded names of the servers whose tools are here.
    servers: BTreeSet<String>,
}

impl Catalogue {
    /// Adds a tool; refuses it when one of that (folded) identity is there.
    ///
    /// # Errors
    /// The identity of the refused tool.
    pub fn insert(&mut self, tool: CatalogueTool) -> Result<(), Name> {
        let key = tool.identity.folded().to_owned();
        if self.tools.contains_key(&key) {
            return Err(tool.identity);
        }
        self.servers.extend(server_of(&key).map(str::to_owned));
        self.tools.insert(key, tool);
        Ok(())
    }

    /// The tool of that identity, look-alikes included.
    #[must_use]
    pub fn get(&self, identity: &Name) -> Option<&CatalogueTool> {
        self.tools.get(identity.folded())
    }

    /// The tools whose identity is that text, look-alikes included.
    #[must_use]
    pub fn find(&self, identity: &str) -> Option<&CatalogueTool> {
        self.tools.get(&fold(identity))
    }

    /// Whether the server of that identity has its tools here, so that one that is not among them is
    /// none of its tools.
    #[must_use]
    pub fn lists_server_of(&self, identity: &Name) -> bool {
        server_of(identity.folded()).is_some_and(|server| self.servers.contains(server))
    }

    /// All tools, by folded identity.
    pub fn iter(&self) -> impl Iterator<Item = &CatalogueTool> {
        self.tools.values()
    }

    /// Adds the catalogue's tags to the request's: a caller can add risk, never remove it.
    pub fn tag(&self, request: &mut Request) {
        if let Some(tool) = request.tool.as_ref().and_then(|tool| self.get(&tool.identity)) {
            request.risk_tags.extend(tool.risk_tags.iter().cloned());
        }
    }
}

/// The server in a folded identity; a server's name has no dots.
fn server_of(identity: &str) -> Option<&str> {
    identity.split_once('.').map(|(server, _)| server)
}
