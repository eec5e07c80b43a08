//! What the arguments of a simulation name: snapshots, times, decisions, files, limits.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use callgate_core::decision::Decision;
use callgate_core::pattern::Pattern;
use callgate_core::snapshot::{Rollout, Snapshot};
use callgate_core::state::percent;
use callgate_gate::clock::{Clock as _, SystemClock};
use callgate_gate::simulate::{Filter, Library, Report};

use crate::evidence::{self, Evidence};
use crate::failure::Failure;
use crate::output;
use crate::{files, opening, span};

/// Which recorded decisions are decided again.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Choice {
    /// Not before this time: `2026-11-20`, `2026-11-20T09:30:00Z`, or a span such as `24h` before now
    #[arg(long, value_name = "TIME", help_heading = "Which recorded decisions")]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME", help_heading = "Which recorded decisions")]
    until: Option<String>,
    /// Of these agents, such as `support-*`
    #[arg(long, value_name = "PATTERN", help_heading = "Which recorded decisions")]
    agent: Option<String>,
    /// Of these tools, such as `files.*`
    #[arg(long, value_name = "PATTERN", help_heading = "Which recorded decisions")]
    tool: Option<String>,
    /// That were decided so, such as `DENY`
    #[arg(long, value_name = "DECISION", help_heading = "Which recorded decisions")]
    decision: Option<String>,
    /// That this snapshot decided, such as `v42`
    #[arg(long, value_name = "vN", help_heading = "Which recorded decisions")]
    snapshot: Option<String>,
}

impl Choice {
    pub(super) fn filter(&self) -> Result<Filter, Failure> {
        let now_ms = SystemClock.now_ms();
        let time = |text: &Option<String>| text.as_deref().map(|text| moment(text, now_ms)).transpose();
        Ok(Filter {
            since_ms: time(&self.since)?,
            until_ms: time(&self.until)?,
            agent: pattern(self.agent.as_deref())?,
            tool: pattern(self.tool.as_deref())?,
            decision: self.decision.as_deref().map(decision).transpose()?,
            snapshot: self.snapshot.clone(),
        })
    }

    /// Requests from files were never recorded.
    pub(super) fn refuse_with_requests(&self) -> Result<(), Failure> {
        let given = [&self.since, &self.until, &self.agent, &self.tool, &self.decision, &self.snapshot];
        if given.iter().any(|given| given.is_some()) {
            return Err(Failure::usage(
                "`--since`, `--until`, `--agent`, `--tool`, `--decision` and `--snapshot` choose among recorded \
                 decisions; leave them out with `--request` and `--corpus`",
            ));
        }
        Ok(())
    }
}

fn pattern(text: Option<&str>) -> Result<Option<Pattern>, Failure> {
    text.map(Pattern::new).transpose().map_err(Failure::usage)
}

fn decision(text: &str) -> Result<Decision, Failure> {
    text.replace('-', "_").parse().map_err(|()| {
        let words = Decision::ALL.map(Decision::as_str).join(", ");
        Failure::usage(format!("`{text}` is not a decision; write one of {words}"))
    })
}

/// A day, a moment, or a span before now; in milliseconds since 1970 UTC.
fn moment(text: &str, now_ms: i64) -> Result<i64, Failure> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.as_millisecond());
    }
    if let Ok(day) = text.parse::<jiff::civil::Date>()
        && let Ok(at) = day.to_zoned(jiff::tz::TimeZone::UTC)
    {
        return Ok(at.timestamp().as_millisecond());
    }
    let span = days(text).map_or_else(|| span::parse(text), Ok);
    let span = span.map_err(|_| {
        Failure::usage(format!(
            "`{text}` is not a time; write `2026-11-20`, `2026-11-20T09:30:00Z`, or a span before now such as `24h` or `7d`"
        ))
    })?;
    Ok(now_ms.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}

fn days(text: &str) -> Option<std::time::Duration> {
    let days: u64 = text.strip_suffix('d')?.parse().ok()?;
    Some(std::time::Duration::from_secs(days.checked_mul(24 * 60 * 60)?))
}

/// How many decisions may flip.
#[derive(Debug, clap::Args)]
pub(crate) struct Limits {
    /// Exit with 21 when more of the decisions become more permissive, such as `0.5`; the candidate's
    /// `rollout` limit if left out
    #[arg(long, value_name = "PERCENT", value_parser = basis_points)]
    max_loosen: Option<u64>,
    /// Exit with 21 when more of the decisions become stricter; the candidate's `rollout` limit if left out
    #[arg(long, value_name = "PERCENT", value_parser = basis_points)]
    max_tighten: Option<u64>,
}

/// A percentage with at most two digits after the point, in hundredths of a percent.
fn basis_points(text: &str) -> Result<u64, String> {
    let wrong = || "write a percentage such as `5` or `0.25`".to_owned();
    let (whole, rest) =
        text.trim_end_matches('%').split_once('.').unwrap_or((text.trim_end_matches('%'), ""));
    if whole.is_empty()
        || rest.len() > 2
        || !(whole.to_owned() + rest).bytes().all(|digit| digit.is_ascii_digit())
    {
        return Err(wrong());
    }
    let number: u64 = format!("{whole}{rest:0<2}").parse().map_err(|_| wrong())?;
    if number > 10_000 { Err(wrong()) } else { Ok(number) }
}

impl Limits {
    /// What to say when more flips than may, or nothing was compared although a limit was given. One
    /// request is no share of anything: only limits that are given count for it.
    pub(super) fn broken_by(&self, report: &Report, rollout: &Rollout, is_one: bool) -> Option<String> {
        let own = |limit: u32| (!is_one).then(|| u64::from(limit));
        let loosen = self.max_loosen.or_else(|| own(rollout.max_loosen_bp));
        let tighten = self.max_tighten.or_else(|| own(rollout.max_tighten_bp));
        let totals = &report.totals;
        if totals.evaluated == 0 && (self.max_loosen.is_some() || self.max_tighten.is_some()) {
            return Some("no decision was made again, so nothing is known about flips".to_owned());
        }
        let say = |share: u64, limit: Option<u64>, way: &str| {
            let shown = |bp: u64| percent(u32::try_from(bp).unwrap_or(u32::MAX));
            limit.filter(|limit| share > *limit).map(|limit| {
                format!("{} of the decisions become {way}; {} is the limit", shown(share), shown(limit))
            })
        };
        let loosened = say(totals.loosened_bp, loosen, "more permissive");
        let tightened = say(totals.tightened_bp, tighten, "stricter");
        let both: Vec<String> = loosened.into_iter().chain(tightened).collect();
        (!both.is_empty()).then(|| both.join("; "))
    }
}

/// Snapshots by what people call them.
pub(crate) struct Named<'a> {
    data: Option<&'a Path>,
    library: Option<Library>,
}

impl<'a> Named<'a> {
    /// With the log of this data folder, for versions.
    pub(crate) const fn new(data: Option<&'a Path>) -> Self {
        Self { data, library: None }
    }

    /// The snapshot of a bundle's folder, or of a version such as `v42`.
    pub(crate) fn snapshot(&mut self, name: &Path) -> Result<Arc<Snapshot>, Failure> {
        let version = name.to_str().filter(|text| is_version(text) && !name.is_dir());
        let Some(version) = version else { return Ok(Arc::new(opening::compile(name)?)) };
        if self.data.is_none() {
            return Err(Failure::usage(format!(
                "`{version}` is a version in a log; give that log with `--data DIR`, or the folder of a bundle"
            )));
        }
        self.library()?.get(version).map_err(Failure::usage)
    }

    /// The snapshot in force in the log, if there is a log.
    pub(crate) fn in_force(&mut self) -> Result<Option<Arc<Snapshot>>, Failure> {
        if self.data.is_none() {
            return Ok(None);
        }
        let library = self.library()?;
        let version = library.in_force().map(str::to_owned);
        version.map(|version| library.get(&version).map_err(Failure::usage)).transpose()
    }

    fn library(&mut self) -> Result<&mut Library, Failure> {
        if self.library.is_none() {
            let mut library = Library::default();
            if let Some(data) = self.data {
                let mut problem = None;
                evidence::visit(&mut Evidence::open(data)?.reader(), |receipt| {
                    let noted = library.note(receipt);
                    problem = problem.take().or(noted.err());
                })?;
                problem.map_or(Ok(()), |problem| Err(Failure::evidence(problem)))?;
            }
            self.library = Some(library);
        }
        self.library.as_mut().ok_or_else(|| Failure::unexpected("the log was not read"))
    }
}

fn is_version(text: &str) -> bool {
    text.strip_prefix('v')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()))
}

/// The files of a corpus: those that are named, and in a folder those that end in `.jsonl`, by name.
pub(crate) fn corpus_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let (mut lines, others) = files::corpus_folder(path)?;
        if others > 0 {
            output::warn(&format!(
                "{} in `{}` not ending in `.jsonl` left out; unpack what is packed",
                output::counted(others, "file"),
                path.display()
            ));
        }
        if lines.is_empty() {
            return Err(Failure::usage(format!("there is no `.jsonl` file in `{}`", path.display())));
        }
        found.append(&mut lines);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_days_or_spans() {
        assert_eq!(moment("1970-01-02", 0).unwrap(), 86_400_000);
        assert_eq!(moment("1970-01-01T00:00:01Z", 0).unwrap(), 1000);
        assert_eq!(moment("2h", 10_000_000).unwrap(), 2_800_000);
        assert_eq!(moment("1d", 86_400_001).unwrap(), 1);
        for text in ["yesterday", "", "1w", "2026-13-01", "d"] {
            assert!(moment(text, 0).is_err(), "{text}");
        }
    }

    #[test]
    fn percentages_have_two_digits() {
        assert_eq!(basis_points("5"), Ok(500));
        assert_eq!(basis_points("0.25%"), Ok(25));
        assert_eq!(basis_points("100"), Ok(10_000));
        for text in ["", "-1", "0.001", "101", "x", "1.x"] {
            assert!(basis_points(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_version_is_a_v_and_a_number() {
        assert!(is_version("v1") && is_version("v42"));
        assert!(!is_version("v") && !is_version("vx") && !is_version("42"));
    }
}
