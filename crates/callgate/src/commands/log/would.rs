//! `callgate log would`: what enforcement would have stopped, from the receipts of decisions that were only recorded.
//! The way from watching to enforcing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use callgate_log::Statement;
use callgate_log::statement::{Body, Decision, Mode, Would};
use serde::Serialize;

use crate::Outcome;
use crate::evidence::{self, Evidence};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format, Paint};

/// Arguments of `callgate log would`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The data folder, or its `log` folder alone; a gate may be running on it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only this agent's
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What enforcement would have changed.
#[derive(Debug, Default, Serialize)]
struct Summary {
    /// Decisions of agents in the log.
    decisions: u64,
    /// Those that were only recorded, or that a rule which only monitors spoke of.
    monitored: u64,
    /// Those that enforcement would have answered otherwise.
    changed: u64,
    /// By what it would have answered.
    by_decision: BTreeMap<String, u64>,
    /// By the rule, or the code where no rule decided.
    by_rule: BTreeMap<String, u64>,
    /// By agent.
    by_agent: BTreeMap<String, u64>,
    /// By tool.
    by_tool: BTreeMap<String, u64>,
}

impl Summary {
    fn count(&mut self, decision: &Decision) {
        let add = |number: &mut u64| *number = number.saturating_add(1);
        add(&mut self.decisions);
        if decision.mode == Mode::Monitor {
            add(&mut self.monitored);
        }
        let watched = |would: &&Would| would.decision != decision.decision && decision.unchecked.is_none();
        let Some(would) = decision.would.as_ref().filter(watched) else {
            return;
        };
        add(&mut self.changed);
        add(self.by_decision.entry(would.decision.to_string()).or_default());
        let ground = would.matched_rule.clone().or_else(|| would.code.clone());
        add(self.by_rule.entry(ground.unwrap_or_else(|| "none".to_owned())).or_default());
        add(self.by_agent.entry(decision.agent.id.clone()).or_default());
        add(self.by_tool.entry(decision.action.identity()).or_default());
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut summary = Summary::default();
    let mut reader = Evidence::open(&args.data)?.reader();
    while let Some(group) = evidence::next(&mut reader)? {
        for receipt in group {
            let wrong = |e| Failure::evidence(format!("receipt {}: {e}", receipt.index));
            let statement = Statement::parse(&receipt.payload).map_err(wrong)?;
            let Body::Decision(decision) = statement.body() else { continue };
            // What people do to the gate is never only recorded.
            let control = decision.snapshot.version.starts_with('c');
            let wanted = args.agent.as_ref().is_none_or(|agent| *agent == decision.agent.id);
            if wanted && !control {
                summary.count(decision);
            }
        }
    }
    match args.format {
        Format::Json => output::json(&summary)?,
        Format::Human => human(&summary)?,
    }
    Ok(Exit::Ok)
}

fn human(summary: &Summary) -> Result<(), Failure> {
    let paint = Paint::stdout();
    let Summary { decisions, monitored, changed, .. } = summary;
    output::line(&format!(
        "{decisions} decisions, {monitored} of them watched; enforcement would have answered"
    ))?;
    output::line(&format!("{} otherwise", paint.bold(&changed.to_string())))?;
    let lists = [
        ("would be", &summary.by_decision),
        ("by rule", &summary.by_rule),
        ("by agent", &summary.by_agent),
        ("by tool", &summary.by_tool),
    ];
    for (title, counts) in lists {
        let mut all: Vec<(&String, &u64)> = counts.iter().collect();
        all.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        for (place, (name, count)) in all.iter().enumerate().take(TOP) {
            let title = if place == 0 { title } else { "" };
            output::line(&format!("  {title:<9} {count:>8}  {}", output::plain(name)))?;
        }
        if all.len() > TOP {
            output::line(&format!("  {:<9} {:>8}  more", "", all.len().saturating_sub(TOP)))?;
        }
    }
    Ok(())
}

/// So many lines of each list.
const TOP: usize = 10;
