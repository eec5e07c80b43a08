//! The catalogue as a Cedar schema: one action per tool, its arguments typed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use callgate_core::catalogue::{Catalogue, CatalogueTool};
use callgate_core::name::Name;
use cedar_policy_core::ast::{Entity, EntityUID, PartialValue, Value};
use smol_str::SmolStr;

use super::names::{self, FUNCTION, SERVER, TAG, TOPIC, TYPES, UNLISTED, shared, uid};
use super::shapes::{self, Record, Shape, declare, quote};
use crate::cel::Type;

/// What every schema begins with: who asks, on what.
const ENTITIES: &str = "\
entity Tenant;
entity Team in [Tenant];
entity User;
entity Agent in [Team, Tenant] {
  id: String,
  team?: Team,
  tenant: Tenant,
  chain: Set<Agent>,
  on_behalf_of?: User,
};
entity Server;
entity Tool in [Server] {
  name: String,
  server?: String,
};
entity Topic;
entity Function;
entity Labels tags String;
entity Costs tags decimal;
type Session = {
  id?: String,
  step?: String,
  function?: String,
  action_type?: String,
};
";

/// What every action's context has beside the arguments.
const CONTEXT: &str = "    session: Session,
    risk_tags: Set<String>,
    labels: Labels,
    environment: String,
    cost: Costs,
    confidence?: decimal,
    topic?: String,
    now: datetime,
  }
};
";

/// One tool as policies see it.
#[derive(Debug)]
pub(crate) struct Listed {
    /// As the catalogue writes it.
    pub(crate) identity: Name,
    /// The tags the catalogue gives it, whatever the caller claims.
    pub(crate) tags: BTreeSet<Name>,
    pub(crate) args: Record,
    /// The arguments that have no Cedar type.
    pub(crate) left_out: Vec<String>,
    pub(crate) action: Arc<EntityUID>,
    pub(crate) action_entity: Arc<Entity>,
    pub(crate) resource: Arc<EntityUID>,
    pub(crate) resource_entity: Arc<Entity>,
}

/// The actions of a bundle.
#[derive(Debug)]
pub(crate) struct Actions {
    /// By folded identity, as the catalogue has them.
    tools: HashMap<Box<str>, Listed>,
    pub(crate) unlisted: Arc<EntityUID>,
    pub(crate) topic: Arc<EntityUID>,
    pub(crate) function: Arc<EntityUID>,
}

/// The server and the name in `server.name`.
fn split(identity: &str) -> (Option<&str>, &str) {
    identity.split_once('.').map_or((None, identity), |(server, name)| (Some(server), name))
}

/// The entity of a tool.
pub(crate) fn tool_entity(server: Option<&str>, name: &str, of: &EntityUID) -> Entity {
    let text = |text: &str| PartialValue::from(Value::from(text));
    let mut attributes = vec![(SmolStr::from("name"), text(name))];
    attributes.extend(server.map(|server| (SmolStr::from("server"), text(server))));
    let parents = server.map(|server| uid(&TYPES.server, server)).into_iter().collect();
    Entity::new_with_attr_partial_value(of.clone(), attributes, HashSet::new(), parents, [])
}

impl Listed {
    fn new(tool: &CatalogueTool) -> Self {
        let mut left_out = Vec::new();
        let schema = tool.input_schema.as_ref().map(Type::from_json_schema);
        let args = schema.and_then(|ty| shapes::record(&ty, "args", &mut left_out)).unwrap_or_default();
        let identity = tool.identity.as_str();
        let (server, name) = split(identity);
        let action = shared(&TYPES.action, identity);
        let groups = groups(tool).iter().map(|group| uid(&TYPES.action, group)).collect();
        let action_entity =
            Entity::new_with_attr_partial_value((*action).clone(), [], HashSet::new(), groups, []);
        let resource = shared(&TYPES.tool, identity);
        let resource_entity = tool_entity(server, name, &resource);
        Self {
            identity: tool.identity.clone(),
            tags: tool.risk_tags.clone(),
            args,
            left_out,
            action,
            action_entity: Arc::new(action_entity),
            resource,
            resource_entity: Arc::new(resource_entity),
        }
    }

    /// Whether a call may lack the argument at that path.
    pub(crate) fn may_lack(&self, path: &[String]) -> bool {
        let mut record = Some(&self.args);
        for name in path {
            let Some(attribute) = record.and_then(|record| record.get(name.as_str())) else { return false };
            if !attribute.required {
                return true;
            }
            record = match &attribute.shape {
                Shape::Record(inner) => Some(inner),
                _ => None,
            };
        }
        false
    }
}

/// The groups a tool's action is in.
fn groups(tool: &CatalogueTool) -> Vec<String> {
    let (server, _) = split(tool.identity.as_str());
    let tags = tool.risk_tags.iter().map(|tag| format!("{TAG}{tag}"));
    server.map(|server| format!("{SERVER}{server}")).into_iter().chain(tags).collect()
}

impl Actions {
    pub(crate) fn new(catalogue: &Catalogue) -> Self {
        let listed = |tool: &CatalogueTool| (tool.identity.folded().into(), Listed::new(tool));
        Self {
            tools: catalogue.iter().map(listed).collect(),
            unlisted: shared(&TYPES.action, UNLISTED),
            topic: shared(&TYPES.action, TOPIC),
            function: shared(&TYPES.action, FUNCTION),
        }
    }

    /// The tool of that identity, look-alikes included.
    pub(crate) fn get(&self, identity: &Name) -> Option<&Listed> {
        self.tools.get(identity.folded())
    }

    /// The tools, by identity.
    pub(crate) fn sorted(&self) -> Vec<&Listed> {
        let mut all: Vec<&Listed> = self.tools.values().collect();
        all.sort_by(|a, b| a.identity.cmp(&b.identity));
        all
    }

    /// The tools that an action stands for: itself, or the members of a group. `None` for what is no
    /// tool's action.
    pub(crate) fn members(&self, action: &EntityUID) -> Option<Vec<&Listed>> {
        if [&self.unlisted, &self.topic, &self.function].iter().any(|own| ***own == *action) {
            return None;
        }
        let stands = |tool: &&Listed| *tool.action == *action || tool.action_entity.is_descendant_of(action);
        let name = Name::new(names::eid(action)).ok()?;
        match self.get(&name) {
            Some(tool) if *tool.action == *action => Some(vec![tool]),
            _ => Some(self.sorted().into_iter().filter(stands).collect()),
        }
    }
}

/// One of the tools of each kind of arguments: what is true of it for a validator is true of all.
pub(crate) fn representatives<'t>(tools: impl IntoIterator<Item = &'t Listed>) -> Vec<String> {
    let mut kinds: BTreeMap<String, &Listed> = BTreeMap::new();
    for tool in tools {
        let mut kind = String::new();
        declare(&tool.args, &mut kind);
        let first = kinds.entry(kind).or_insert(tool);
        if tool.identity < first.identity {
            *first = tool;
        }
    }
    kinds.values().map(|tool| tool.identity.to_string()).collect()
}

/// Which actions a policy must be validated against.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slice {
    /// These tools, by identity, and whether the actions without a tool are there, too.
    Tools(Vec<String>, bool),
    /// Everything.
    Whole,
}

/// The schema as text, of the whole catalogue or a slice of it. `record` is the name of the arguments
/// in the context.
pub(crate) fn text(catalogue: &Catalogue, slice: &Slice, record: &str) -> String {
    let mut out = String::from(ENTITIES);
    let tools: BTreeMap<&str, &CatalogueTool> = match slice {
        Slice::Whole => catalogue.iter().map(|tool| (tool.identity.as_str(), tool)).collect(),
        Slice::Tools(chosen, _) => {
            chosen.iter().filter_map(|name| Some((name.as_str(), catalogue.find(name)?))).collect()
        }
    };
    let groups: BTreeSet<String> = tools.values().flat_map(|tool| groups(tool)).collect();
    for group in &groups {
        out.push_str("action ");
        quote(group, &mut out);
        out.push_str(";\n");
    }
    for (identity, tool) in tools {
        declare_tool(identity, tool, record, &mut out);
    }
    if matches!(slice, Slice::Whole | Slice::Tools(_, true)) {
        for (action, resource) in [(UNLISTED, "Tool"), (TOPIC, "Topic"), (FUNCTION, "Function")] {
            open_action(action, &[], resource, &mut out);
            out.push_str(CONTEXT);
        }
    }
    out
}

fn declare_tool(identity: &str, tool: &CatalogueTool, record: &str, out: &mut String) {
    let listed = Listed::new(tool);
    if !listed.left_out.is_empty() {
        let list = listed.left_out.iter().map(|path| path.escape_debug().to_string()).collect::<Vec<_>>();
        out.push_str("// without a Cedar type: ");
        out.push_str(&list.join(", "));
        out.push('\n');
    }
    open_action(identity, &groups(tool), "Tool", out);
    out.push_str("    ");
    out.push_str(record);
    out.push_str(": ");
    declare(&listed.args, out);
    out.push_str(",\n");
    out.push_str(CONTEXT);
}

fn open_action(name: &str, groups: &[String], resource: &str, out: &mut String) {
    out.push_str("action ");
    quote(name, out);
    if !groups.is_empty() {
        out.push_str(" in [");
        for (at, group) in groups.iter().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            quote(group, out);
        }
        out.push(']');
    }
    out.push_str(" appliesTo {\n  principal: [Agent],\n  resource: [");
    out.push_str(resource);
    out.push_str("],\n  context: {\n");
}
