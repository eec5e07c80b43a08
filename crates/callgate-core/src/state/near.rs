//! What stands against an agent in part or in whole, when nobody knows yet what it will do: whoever gives a lease
//! for actions that are not decided looks for the least of it.

use super::State;
use super::meters::Opened;
use crate::limit::{Dimension, keys};
use crate::request::Request;

impl State {
    /// Why nothing that whoever asks `request` does may go undecided: an operator stopped the agent, one of its
    /// sessions or a tool, or a breaker is open for some of it. What it would do, in which session and for whom is
    /// left open.
    #[must_use]
    pub fn blocked_in_part(&self, request: &Request) -> Option<&'static str> {
        let team = request.agent.team.as_ref().map(crate::name::Name::as_str);
        if self.stops.near_agent(request.tenant.as_str(), request.agent.id.as_str(), team).is_some() {
            return Some("an operator stopped the agent, one of its sessions or a tool");
        }
        let mut open = self.meters.opened().filter(|(_, opened)| !opened.monitor);
        open.any(|(_, opened)| concerns(opened, request))
            .then_some("a breaker is open for the agent or a tool")
    }
}

/// Whether a breaker blocks something that whoever asks may do.
fn concerns(opened: &Opened, request: &Request) -> bool {
    let parts: Vec<&str> = opened.key.split(',').collect();
    opened.per.iter().all(|dimension| {
        let own = keys(request, &[*dimension]);
        match dimension {
            Dimension::Tenant | Dimension::Team | Dimension::Agent | Dimension::Chain => {
                own.iter().any(|own| parts.contains(&own.as_str()))
            }
            // `session=tenant/agent/id`
            Dimension::Session => own.iter().filter_map(|own| own.rsplit_once('/')).any(|(agent, _)| {
                parts.iter().any(|part| part.rsplit_once('/').is_some_and(|(other, _)| other == agent))
            }),
            Dimension::User | Dimension::Tool => true,
        }
    })
}
