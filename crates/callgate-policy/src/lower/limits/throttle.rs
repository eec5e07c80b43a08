//! Throttles: token buckets and sliding windows.

use callgate_core::catalogue::Catalogue;
use callgate_core::limit::{Does, Rate, Throttle};
use callgate_core::value::Value;

use super::{HEART, Head, Speech, beside, metered, written};
use crate::codes::Code;
use crate::decode::{MeantText, Sink};
use crate::language::limits::ThrottleText;
use crate::limits::{Counts, Metered};
use crate::lower::Part;
use crate::syntax::Node;

/// Nanoseconds in a millisecond.
const NANOS: u64 = 1_000_000;
/// The longest that a bucket takes to fill up: 400 days.
const MAX_FILL_NS: u64 = 400 * 86_400_000 * NANOS;
/// The most that a sliding window counts.
const MAX_SLIDING: i64 = 100_000;

/// Reads one throttle; `None` only after a report.
pub(super) fn lower(
    part: &Part<'_, MeantText<ThrottleText>>,
    catalogue: &Catalogue,
    sink: &mut Sink<'_>,
) -> Option<Metered> {
    let MeantText { text, node } = &part.text;
    let speech =
        Speech { scope: text.scope.as_ref(), matched: text.r#match.as_ref(), when: text.when.as_ref() };
    let speaks = speech.lower(catalogue, sink);
    let rate = rate(text, node, sink);
    let (speaks, rate, id, per) = (speaks?, rate?, text.id.as_ref()?, text.per.as_ref()?);
    let head = Head { id, mode: text.mode.as_ref(), reason: text.reason.as_ref(), node };
    let heart = Value::Map(written(node, &HEART));
    let does = Does::Throttle(Throttle { rate });
    let limit = head.limit(id.value.as_str(), per.value.clone(), does, heart, sink);
    Some(metered(limit, speaks, Counts::Action))
}

fn rate(text: &ThrottleText, node: &Node, sink: &mut Sink<'_>) -> Option<Rate> {
    let written = |key| node.get(key).is_some();
    match (written("rate"), written("at_most")) {
        (true, false) => bucket(text, sink),
        (false, true) => sliding(text, node, sink),
        (both, _) => {
            let message = if both {
                "a throttle has a `rate` or an `at_most`, not both"
            } else {
                "a throttle without `rate` and `at_most` bounds nothing"
            };
            sink.add(Code::BadRate, node.span, message)
                .help("write `rate: 10/1m`, or `at_most: 100` and `within: 1h`");
            None
        }
    }
}

fn bucket(text: &ThrottleText, sink: &mut Sink<'_>) -> Option<Rate> {
    beside(text.within.as_ref(), "within", "beside `rate`, which says its time", "remove it", sink);
    let (count, ms) = text.rate.as_ref()?.value;
    // Rounded up, so that never more come back than are written.
    let interval_ns = ms.checked_mul(NANOS)?.div_ceil(u64::from(count).max(1));
    let burst = text.burst.as_ref().map_or(Some(count), |burst| u32::try_from(burst.value).ok())?;
    if interval_ns.saturating_mul(u64::from(burst)) > MAX_FILL_NS {
        let span = text.rate.as_ref().map(|rate| rate.span).unwrap_or_default();
        sink.add(Code::BadRate, span, "this bucket takes more than 400 days to fill up")
            .help("let fewer run at once, or let them come back sooner");
        return None;
    }
    Some(Rate::Bucket { burst, interval_ns })
}

fn sliding(text: &ThrottleText, node: &Node, sink: &mut Sink<'_>) -> Option<Rate> {
    beside(text.burst.as_ref(), "burst", "beside `at_most`", "remove it, or write a `rate`", sink);
    if node.get("within").is_none() {
        super::missing("within", node, sink);
    }
    let (most, within) = (text.at_most.as_ref()?, text.within.as_ref()?);
    if most.value > MAX_SLIDING {
        let message = format!("a sliding window counts at most {MAX_SLIDING}");
        sink.add(Code::BadRate, most.span, message)
            .help("write it as a token bucket, such as `rate: 1000000/1h`");
        return None;
    }
    Some(Rate::Sliding { limit: u32::try_from(most.value).ok()?, window_ms: within.value })
}
