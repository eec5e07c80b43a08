//! The report of a simulation for people: 80 columns.

use callgate_core::decision::Decision;
use callgate_core::state::percent;
use callgate_gate::simulate::{At, Example, Kind, NamedFlips, Report, Source, Top, Volume};
use callgate_policy::Explanation;

use crate::output::{Paint, counted, moment, plain};

/// The whole report.
pub(crate) fn human(report: &Report, paint: Paint) -> String {
    let mut out = Vec::new();
    head(report, paint, &mut out);
    if report.totals.evaluated > 0 {
        matrix(report, paint, &mut out);
        shares(report, paint, &mut out);
    }
    flips(report, paint, &mut out);
    volume("asked of people", &report.approvals, paint, &mut out);
    volume("told to come later", &report.throttles, paint, &mut out);
    not_evaluated(report, paint, &mut out);
    for kind in &report.examples {
        examples(kind, paint, &mut out);
    }
    out.join("\n")
}

fn short(digest: &str) -> String {
    plain(digest).chars().take(19).collect()
}

fn head(report: &Report, paint: Paint, out: &mut Vec<String>) {
    let totals = &report.totals;
    let of = match &report.inputs.source {
        Source::History { from, to, .. } => format!("receipts {from} to {}", to.saturating_sub(1)),
        Source::Corpus { files, .. } => match files.as_slice() {
            [one] => plain(one),
            more => counted(u64::try_from(more.len()).unwrap_or(u64::MAX), "file"),
        },
    };
    let again = counted(totals.evaluated, "decision");
    out.push(format!("{} {again} made again, of {of}", paint.bold("simulated")));
    if let Source::History { filters, .. } = &report.inputs.source {
        for (name, value) in filters {
            let value =
                value.parse().ok().filter(|_| name.ends_with("_ms")).map_or_else(|| plain(value), moment);
            out.push(format!("  only       {} {value}", name.trim_end_matches("_ms")));
        }
    }
    out.push(format!("  candidate  {}", short(&report.inputs.candidate)));
    if let Some(baseline) = &report.inputs.baseline {
        let recorded =
            report.inputs.recorded_by.iter().map(|(version, count)| format!("{} {count}", plain(version)));
        let recorded: Vec<String> = recorded.collect();
        let by =
            if recorded.is_empty() { String::new() } else { format!("; decided by {}", recorded.join(", ")) };
        out.push(format!("  baseline   {}{by}", short(baseline)));
    }
    let left = [(totals.filtered_out, "left out by filters"), (totals.control, "of the gate about itself")];
    let left: Vec<String> =
        left.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if !left.is_empty() {
        out.push(format!("  not looked at  {}", left.join(", ")));
    }
}

/// Room for the longest decision, and for a number.
const NAME: usize = 22;
const NUMBER: usize = 11;

fn column(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow => "ALLOW",
        Decision::AllowWithConstraints => "CONSTRAINT",
        Decision::Throttle => "THROTTLE",
        Decision::RequireApproval => "APPROVAL",
        Decision::Deny => "DENY",
    }
}

fn matrix(report: &Report, paint: Paint, out: &mut Vec<String>) {
    let matrix = &report.matrix;
    let heads: String = matrix.decisions.iter().map(|one| format!("{:>NUMBER$}", column(*one))).collect();
    let was = if report.inputs.baseline.is_some() { "was \\ now" } else { "" };
    out.push(format!("\n{}", paint.dim(&format!("{was:<NAME$}{heads}"))));
    if report.inputs.baseline.is_none() {
        let cells: String = matrix.now.iter().map(|count| format!("{count:>NUMBER$}")).collect();
        out.push(format!("{:<NAME$}{cells}", "now"));
        return;
    }
    for (at, (decision, row)) in matrix.decisions.iter().zip(&matrix.rows).enumerate() {
        let cell = |(to, count): (usize, &u64)| {
            let text = format!("{:>NUMBER$}", if *count == 0 { ".".to_owned() } else { count.to_string() });
            match to.cmp(&at) {
                _ if *count == 0 => paint.dim(&text),
                std::cmp::Ordering::Less => paint.yellow(&text),
                std::cmp::Ordering::Equal => text,
                std::cmp::Ordering::Greater => paint.red(&text),
            }
        };
        let cells: String = row.iter().enumerate().map(cell).collect();
        out.push(format!("{:<NAME$}{cells}", decision.as_str()));
    }
}

fn shares(report: &Report, paint: Paint, out: &mut Vec<String>) {
    if report.inputs.baseline.is_none() {
        return;
    }
    let totals = &report.totals;
    let share = |bp: u64| percent(u32::try_from(bp).unwrap_or(u32::MAX));
    out.push(String::new());
    let mut line = |name: &str, count: u64, share: String| {
        let text = format!("{name:<30}{count:>10}  {share}");
        out.push(if count > 0 && name != "the same" {
            paint.bold(text.trim_end())
        } else {
            text.trim_end().to_owned()
        });
    };
    line("more permissive", totals.loosened, share(totals.loosened_bp));
    line("stricter", totals.tightened, share(totals.tightened_bp));
    line("other constraints", totals.constraints_changed, String::new());
    if totals.would_changed > 0 {
        line("other only if enforced", totals.would_changed, String::new());
    }
    line("the same", totals.same, String::new());
}

/// `12 looser, 3 stricter`
fn ways(loosened: u64, tightened: u64) -> String {
    let parts = [(loosened, "more permissive"), (tightened, "stricter")];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    parts.map(|(count, way)| format!("{count} {way}")).collect::<Vec<_>>().join(", ")
}

fn flips(report: &Report, paint: Paint, out: &mut Vec<String>) {
    let rules = &report.by_rule;
    if rules.shown.is_empty() {
        return;
    }
    out.push(format!("\n{}", paint.bold("flips by what decided")));
    for one in &rules.shown {
        let ways = ways(one.loosened, one.tightened);
        out.push(format!("  `{}` before, `{}` now: {ways}", plain(&one.was), plain(&one.now)));
    }
    more(rules.more, out);
    let mut named = |title: &str, top: &Top<NamedFlips>| {
        out.push(format!("\n{}", paint.bold(title)));
        for one in &top.shown {
            out.push(format!("  {}: {}", plain(&one.name), ways(one.loosened, one.tightened)));
        }
        more(top.more, out);
    };
    named("flips by agent", &report.by_agent);
    named("flips by tool", &report.by_tool);
}

fn more(count: u64, out: &mut Vec<String>) {
    if count > 0 {
        out.push(format!("  and {count} more"));
    }
}

fn volume(what: &str, volume: &Volume, paint: Paint, out: &mut Vec<String>) {
    if volume.newly == 0 && volume.was == volume.now {
        return;
    }
    out.push(format!("\n{}", paint.bold(what)));
    out.push(format!("  {} before, {} now, {} of them new", volume.was, volume.now, volume.newly));
    if volume.newly > 0 {
        out.push(format!("  {} new an hour over {}", volume.newly_per_hour, counted(volume.hours, "hour")));
    }
    if let Some(busiest) = &volume.busiest {
        out.push(format!("  {} of them in the hour from {}", busiest.count, moment(busiest.from_ms)));
    }
}

fn not_evaluated(report: &Report, paint: Paint, out: &mut Vec<String>) {
    if report.not_evaluated.is_empty() {
        return;
    }
    let title = format!("not decided again: {}", report.totals.not_evaluated);
    out.push(format!("\n{}", paint.yellow(&title)));
    for one in &report.not_evaluated {
        out.push(format!("  {} because {}", one.count, one.reason.message()));
        for place in &one.examples {
            let detail =
                if place.detail.is_empty() { String::new() } else { format!(": {}", plain(&place.detail)) };
            out.push(format!("    {}{detail}", at(&place.at)));
        }
    }
}

fn at(at: &At) -> String {
    match at {
        At::Receipt { receipt } => format!("receipt {receipt}"),
        At::Line { file, line } => format!("{} line {line}", plain(file)),
    }
}

fn examples(kind: &Kind, paint: Paint, out: &mut Vec<String>) {
    let now = paint.decision(kind.now.as_str());
    let title = match kind.was {
        Some(was) if was != kind.now => format!("{} became {now}", paint.decision(was.as_str())),
        Some(_) if kind.changed => format!("{now} with something else beside it"),
        _ => now,
    };
    out.push(format!("\n{title}: {}", kind.count));
    for example in &kind.examples {
        self::example(example, kind.changed, paint, out);
    }
}

fn example(example: &Example, brief: bool, paint: Paint, out: &mut Vec<String>) {
    let session = example.session.as_ref().map(|id| format!(" in session {}", plain(id)));
    let who = format!(
        "{} asked for {}{}",
        plain(&example.agent),
        plain(&example.tool),
        session.unwrap_or_default()
    );
    out.push(format!("  {} {}", at(&example.at), paint.dim(&moment(example.at_ms))));
    out.push(format!("    {who}"));
    if let Some(was) = &example.was {
        side("was", was, brief, paint, out);
    }
    side("now", &example.now, brief, paint, out);
}

/// What one side says: its first lines, or all of them.
fn side(name: &str, explanation: &Explanation, brief: bool, paint: Paint, out: &mut Vec<String>) {
    let text = explanation.to_string();
    for (at, line) in text.lines().take(if brief { 2 } else { usize::MAX }).enumerate() {
        let label = if at == 0 { name } else { "" };
        out.push(format!("    {:<4} {}", paint.dim(label), plain(line)));
    }
}
