//! The entity types of the schema, and how their entities are named.

use std::sync::{Arc, LazyLock};

use cedar_policy_core::ast::{Eid, EntityType, EntityUID, Name};

/// The action of a call of a tool that the catalogue does not have.
pub(crate) const UNLISTED: &str = "unlisted-tool";
/// The action of a request that names a topic and no tool.
pub(crate) const TOPIC: &str = "topic";
/// The action of a request that names a function, no tool and no topic.
pub(crate) const FUNCTION: &str = "function";
/// What begins the name of the group of all tools with a tag.
pub(crate) const TAG: &str = "tag:";
/// What begins the name of the group of all tools of a server.
pub(crate) const SERVER: &str = "server:";

/// The entity types.
pub(crate) struct Types {
    pub(crate) action: EntityType,
    pub(crate) agent: EntityType,
    pub(crate) team: EntityType,
    pub(crate) tenant: EntityType,
    pub(crate) user: EntityType,
    pub(crate) tool: EntityType,
    pub(crate) server: EntityType,
    pub(crate) topic: EntityType,
    pub(crate) function: EntityType,
    pub(crate) labels: EntityType,
    pub(crate) costs: EntityType,
}

/// The entity types, made once.
pub(crate) static TYPES: LazyLock<Types> = LazyLock::new(|| Types {
    action: entity_type("Action"),
    agent: entity_type("Agent"),
    team: entity_type("Team"),
    tenant: entity_type("Tenant"),
    user: entity_type("User"),
    tool: entity_type("Tool"),
    server: entity_type("Server"),
    topic: entity_type("Topic"),
    function: entity_type("Function"),
    labels: entity_type("Labels"),
    costs: entity_type("Costs"),
});

#[expect(clippy::expect_used, reason = "the words are identifiers, and none is reserved")]
fn entity_type(word: &str) -> EntityType {
    EntityType::EntityType(Name::parse_unqualified_name(word).expect("an identifier"))
}

/// The entity of that type and name.
pub(crate) fn uid(of: &EntityType, name: &str) -> EntityUID {
    EntityUID::from_components(of.clone(), Eid::new(name), None)
}

/// The same, shared.
pub(crate) fn shared(of: &EntityType, name: &str) -> Arc<EntityUID> {
    Arc::new(uid(of, name))
}

/// The name of an entity.
pub(crate) fn eid(uid: &EntityUID) -> &str {
    let eid: &Eid = uid.eid();
    eid.as_ref()
}
