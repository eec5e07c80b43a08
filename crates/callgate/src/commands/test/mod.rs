//! `callgate test`: plays a bundle's tests, for people, programs and continuous integration.

mod junit;

use std::path::PathBuf;

use callgate_policy::testing::{StepFailure, TestReport, TestResult, run as play};
use clap::ValueEnum;
use serde_json::{Value, json};

use super::explain;
use crate::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::output::{self, Paint, counted, plain};

/// Arguments of `callgate test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle's folder
    #[arg(value_name = "DIR")]
    bundle: PathBuf,
    /// Play only the tests whose `file: name` contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Show for every rule how many decisions it spoke in
    #[arg(long)]
    coverage: bool,
    /// Fail when some rule spoke in no decision
    #[arg(long, conflicts_with = "filter")]
    require_coverage: bool,
    /// How the report is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How the report is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
    /// For continuous integration (JUnit XML).
    Junit,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let bundle = files::read_bundle(&args.bundle)?;
    let report = play(&bundle, args.filter.as_deref()).map_err(|report| {
        output::note(report.render().trim_end());
        Failure::new(Exit::PolicyInvalid, "the bundle has errors, so it is not tested; see above")
    })?;
    match args.format {
        Format::Human => human(args, &report)?,
        Format::Json => output::json(&machine(&report)?)?,
        Format::Junit => output::line(junit::write(&report).trim_end())?,
    }
    let uncovered = report.uncovered().count();
    if uncovered > 0 && args.filter.is_none() && !report.tests.is_empty() {
        warn_uncovered(&report);
    }
    // Where nothing was tested, nothing passed.
    if report.tests.is_empty() {
        return Err(Failure::new(Exit::TestsFailed, nothing(args, &report)));
    }
    let failed = report.failed() > 0 || (args.require_coverage && uncovered > 0);
    Ok(if failed { Exit::TestsFailed } else { Exit::Ok })
}

fn nothing(args: &Args, report: &TestReport) -> String {
    match &args.filter {
        Some(filter) if report.left_out > 0 => {
            format!(
                "no test has `{}` in its `file: name`; {} left out",
                plain(filter),
                number(report.left_out)
            )
        }
        _ => "the bundle has no tests; write `tests/<name>.yaml`".to_owned(),
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn warn_uncovered(report: &TestReport) {
    let names: Vec<String> = report.uncovered().map(|rule| format!("`{}`", plain(&rule.rule))).collect();
    let (count, all) = (number(report.uncovered().count()), number(report.coverage.len()));
    output::warn(&format!("{count} of {} spoke in no test: {}", counted(all, "rule"), names.join(", ")));
}

fn human(args: &Args, report: &TestReport) -> Result<(), Failure> {
    let paint = Paint::stdout();
    for test in &report.tests {
        let word = if test.passed() { paint.green("pass") } else { paint.red("FAIL") };
        output::line(&format!("{word}  {}: {}", plain(&test.file), plain(&test.name)))?;
        for failure in &test.failures {
            output::line(&shown(test, failure, paint))?;
        }
    }
    if args.coverage {
        coverage(report, paint)?;
    }
    if report.tests.is_empty() {
        return Ok(());
    }
    let (all, failed) = (number(report.tests.len()), number(report.failed()));
    let word = if failed == 0 { paint.green("ok") } else { paint.red("failed") };
    let left_out = match report.left_out {
        0 => String::new(),
        count => format!(", {} left out", number(count)),
    };
    output::line(&format!(
        "\n{word} {}: {} passed, {failed} failed{left_out}",
        counted(all, "test"),
        all.saturating_sub(failed)
    ))
}

/// A failure: what was expected, what came out, and why.
fn shown(test: &TestResult, failure: &StepFailure, paint: Paint) -> String {
    let step = failure.step.map(|step| format!("step {step} ")).unwrap_or_default();
    let source = if failure.step.is_some() { &failure.source } else { &test.source };
    let mut lines = vec![format!("  {step}at {}", plain(&source.to_string()))];
    let width = failure.differences.iter().map(|one| one.field.len()).max().unwrap_or(0);
    for one in &failure.differences {
        lines.push(format!("    {:<width$}  expected  {}", one.field, paint.green(&plain(&one.expected))));
        lines.push(format!("    {:<width$}  actual    {}", "", paint.red(&plain(&one.actual))));
    }
    let explained = explain::human(&failure.explanation, paint);
    lines.extend(explained.lines().map(|line| format!("    {} {line}", paint.dim("|"))));
    lines.join("\n")
}

fn coverage(report: &TestReport, paint: Paint) -> Result<(), Failure> {
    let width = |column: &dyn Fn(usize) -> usize| (0..report.coverage.len()).map(column).max().unwrap_or(0);
    let rule = width(&|at| report.coverage.get(at).map_or(0, |one| plain(&one.rule).chars().count()));
    let engine = width(&|at| report.coverage.get(at).map_or(0, |one| one.engine.len()));
    output::line(&format!("\n{}", paint.bold("decisions each rule spoke in")))?;
    for one in &report.coverage {
        let count = format!("{:>5}", one.decisions);
        let count = if one.decisions == 0 { paint.yellow(&count) } else { count };
        let place = plain(&one.source.to_string());
        output::line(&format!("{count}  {:<rule$}  {:<engine$}  {place}", plain(&one.rule), one.engine))?;
    }
    Ok(())
}

/// The report, and whether all passed.
fn machine(report: &TestReport) -> Result<Value, Failure> {
    let mut out = serde_json::to_value(report).map_err(Failure::unexpected)?;
    if let Some(members) = out.as_object_mut() {
        members.insert("passed".to_owned(), json!(report.tests.len().saturating_sub(report.failed())));
        members.insert("failed".to_owned(), json!(report.failed()));
        members.insert("ok".to_owned(), json!(report.failed() == 0 && !report.tests.is_empty()));
    }
    Ok(out)
}
