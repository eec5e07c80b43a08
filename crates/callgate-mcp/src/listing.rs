//! Lists of tools on their way to the client: what would be denied with any arguments is left out.
//!
//! Cosmetic: calling what is hidden is decided like any call. So a gate elsewhere that does not answer in time hides
//! nothing, where a shorter list would tell the client that tools are gone.

use std::collections::BTreeSet;

use callgate_core::name::Name;
use callgate_core::request::{Request, Tool};
use callgate_gate::AnyGate;
use tokio::task::JoinError;

use crate::line::one_line;
use crate::message::{Id, Members};
use crate::options::WrapOptions;
use crate::relay::Relay;
use crate::result::{filter_tools, tool_names};
use crate::{answer, call};

/// A list that may pass, or `None` where it could not be read.
pub(crate) type Listed = (Id, Option<String>);

impl Relay {
    /// The server answered with a list of tools: the gate is asked beside everything else.
    pub(crate) fn list(&mut self, line: &str, id: &Id, modern: bool, members: &Members<'_>) {
        let Some(result) = members.get("result") else {
            return self.client.put(one_line(line).into_owned());
        };
        let (gate, options) = (self.gate.clone(), std::sync::Arc::clone(&self.options));
        let (id, result) = (id.clone(), result.get().to_owned());
        self.lists.spawn(async move {
            let shown = shown(&gate, &options, modern, &result).await;
            (id, shown)
        });
    }

    /// The gate has said what need not be shown.
    pub(crate) fn listed(&mut self, listed: Result<Listed, JoinError>) {
        match listed {
            Ok((id, Some(result))) => self.client.put(answer::result_line(id.raw(), &result)),
            Ok((id, None)) => {
                let problem = "the server's list of tools could not be read";
                self.refuse(Some(&id), answer::INTERNAL_ERROR, problem);
            }
            Err(stopped) => self.notes.note(&format!("a list of tools was lost: {stopped}")),
        }
    }
}

/// The list without what is hidden.
async fn shown(gate: &AnyGate, options: &WrapOptions, modern: bool, result: &str) -> Option<String> {
    let names: BTreeSet<String> = tool_names(&Members::read(result)?)?;
    let mut hidden = BTreeSet::new();
    let (mut asked, mut probes) = (Vec::new(), Vec::new());
    for name in names {
        match probe(options, &name) {
            Ok(Some(probe)) => {
                asked.push(name);
                probes.push(probe);
            }
            Ok(None) => {}
            Err(NoTool) => drop(hidden.insert(name)),
        }
    }
    let never = gate.never_allow(probes, &options.credential).await;
    hidden.extend(asked.into_iter().zip(never).filter(|(_, never)| *never).map(|(name, _)| name));
    filter_tools(&Members::read(result)?, modern, &|name| hidden.contains(name))
}

/// A name that no call can have.
struct NoTool;

fn probe(options: &WrapOptions, name: &str) -> Result<Option<Request>, NoTool> {
    let name = Name::new(name).map_err(|_| NoTool)?;
    let tool = Tool::new(Some(options.server.clone()), name).map_err(|_| NoTool)?;
    Ok(call::probe(options, tool))
}
