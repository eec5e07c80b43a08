//! Limits and meters as people see them.

use callgate_core::decision::Mode;
use callgate_core::limit::{CALLS, Dimension, Does, Exceed, Gauge, Limit, Span, Trip};
use callgate_core::snapshot::Snapshot;
use serde::Serialize;

/// A limit of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitView {
    /// Its id; of one level of a budget with the level, such as `refunds/team`.
    pub id: String,
    /// `budget`, `throttle` or `breaker`.
    pub kind: &'static str,
    /// `monitor`: counted and told, never enforced.
    pub mode: Mode,
    /// Where it stands in the bundle.
    pub source: String,
    /// Whom it counts by; nothing counts everybody together.
    pub per: Vec<Dimension>,
    /// The most: of a budget or throttle what fits, of a breaker where it opens. A decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<String>,
    /// What it counts; `calls` of a throttle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Over which time: `hour`, `day`, `month`, `execution`, or any time of a length such as `24h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<String>,
    /// Beyond it: `deny` or `require_approval`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exceed: Option<&'static str>,
    /// From where on it is near. A decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near_at: Option<String>,
    /// Of failures: the share at which it opens, in hundredths of a percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_bp: Option<u32>,
    /// Of failures: from how many outcomes on. A decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<String>,
}

/// Whether a limit of the bundle says what a meter is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// One of the snapshot in force.
    InForce,
    /// One of the candidate alone that is tried.
    Tried,
    /// None any more: nothing is held against it.
    Gone,
}

/// One meter, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MeterView {
    /// Its name: the limit's id, and by whom it counts.
    pub name: String,
    /// Whom it counts, names folded; empty: everybody.
    pub counts: String,
    /// What is used of it now, a decimal. Of a token bucket, what is missing in it.
    pub used: String,
    /// What still fits, a decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// Of the enforced budgets of one unit, the one with the least left.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
    /// Of a breaker, whether it is open.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// Of a throttle, how long until one more fits; 0 is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// When it begins at nothing again, milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resets_at_ms: Option<i64>,
    /// Of failures, how many outcomes there were, a decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<String>,
    /// How it counts, and over which time.
    pub gauge: Gauge,
    /// When it holds nothing any more, milliseconds since 1970 UTC; absent where nothing was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_ms: Option<i64>,
    /// Whose it is.
    pub standing: Standing,
    /// The limit; absent when it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitView>,
}

/// A limit that may bound somebody, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// Why not all that it counts is shown.
    pub why: String,
    /// The limit.
    pub limit: LimitView,
}

/// What bounds somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// Budgets first, by unit; of each unit the one with the least left first.
    pub meters: Vec<MeterView>,
    /// Limits of which not everything is shown that may count them.
    pub unseen: Vec<Unseen>,
}

/// `90s`, `24h`.
fn span_of(ms: u64) -> String {
    let whole = |unit: u64| ms.checked_rem(unit).filter(|rest| *rest == 0).and_then(|_| ms.checked_div(unit));
    for (unit, word) in [(3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if let Some(count) = whole(unit) {
            return format!("{count}{word}");
        }
    }
    format!("{ms}ms")
}

fn over(gauge: Gauge) -> Option<String> {
    match gauge {
        Gauge::Sum { over } => Some(match over {
            Span::Life {} => "execution".to_owned(),
            Span::Hour {} => "hour".to_owned(),
            Span::Day {} => "day".to_owned(),
            Span::Month {} => "month".to_owned(),
            Span::Rolling { ms } => span_of(ms),
        }),
        Gauge::Distinct { ms } | Gauge::Failures { ms } => Some(span_of(ms)),
        Gauge::Bucket { .. } => None,
    }
}

impl LimitView {
    pub(super) fn of(limit: &Limit, snapshot: &Snapshot) -> Self {
        let monitor = Mode::Monitor;
        let mode = if snapshot.defaults.mode == monitor { monitor } else { limit.mode };
        let mut view = Self {
            id: limit.id.to_string(),
            kind: limit.module(),
            mode,
            source: limit.source.to_string(),
            per: limit.per.clone(),
            most: limit.most().map(|most| most.to_string()),
            unit: None,
            over: over(limit.gauge()),
            exceed: None,
            near_at: None,
            share_bp: None,
            at_least: None,
        };
        match &limit.does {
            Does::Budget(budget) => {
                view.unit = Some(budget.unit.to_string());
                view.near_at = budget.near.as_ref().map(|near| near.at.to_string());
                view.exceed = Some(match budget.exceed {
                    Exceed::Deny => "deny",
                    Exceed::Approval(_) => "require_approval",
                });
            }
            Does::Throttle(_) => view.unit = Some(CALLS.to_owned()),
            Does::Breaker(breaker) => match breaker.trip {
                Trip::Failed { share_bp } => {
                    (view.share_bp, view.at_least) = (Some(share_bp), Some(breaker.at.to_string()));
                }
                _ => view.most = Some(breaker.at.to_string()),
            },
        }
        view
    }
}
