//! Breakers: what they count, and when they open.

use callgate_core::catalogue::Catalogue;
use callgate_core::fields::nearest;
use callgate_core::limit::{Amount, Breaker, Dimension, Does, HalfOpen, Trip};
use callgate_core::value::{Map, Value};

use super::budget::{Spend, Sum};
use super::{HEART, Head, Speaks, Speech, beside, expression, metered, missing, written};
use crate::codes::Code;
use crate::decode::{MeantText, Sink, Spanned};
use crate::language::limits::{BreakerText, HalfOpenText, TripText};
use crate::limits::{Counts, Metered};
use crate::lower::Part;
use crate::syntax::Node;

/// What a breaker counts, each a key of its own, and the keys that go with it.
const KINDS: [(&str, &[&str]); 6] = [
    ("denials", &["codes"]),
    ("allowed", &[]),
    ("sum", &["unit", "amount", "estimate"]),
    ("burn", &["of"]),
    ("distinct", &["of"]),
    ("failures", &["at_least"]),
];

/// What is counted, and from where on the breaker opens.
struct Trips {
    trip: Trip,
    at: Amount,
    counts: Counts,
    speaks: Speaks,
    per: Vec<Dimension>,
    heart: Map,
}

/// What reading a breaker looks at.
struct Reader<'r, 't> {
    text: &'t BreakerText,
    node: &'t Node,
    trip: &'t Spanned<TripText>,
    spends: &'r [Spend],
    catalogue: &'r Catalogue,
}

/// Reads one breaker; `None` only after a report.
pub(super) fn lower(
    part: &Part<'_, MeantText<BreakerText>>,
    spends: &[Spend],
    catalogue: &Catalogue,
    sink: &mut Sink<'_>,
) -> Option<Metered> {
    let MeantText { text, node } = &part.text;
    let trip = text.trip.as_ref()?;
    let reader = Reader { text, node, trip, spends, catalogue };
    let kind = reader.kind(sink);
    if kind != Some("burn") && node.get("per").is_none() {
        missing("per", node, sink);
    }
    let trips = reader.trips(kind?, sink);
    let (trips, id, within) = (trips?, text.id.as_ref()?, trip.value.within.as_ref()?);
    let head = Head { id, mode: text.mode.as_ref(), reason: text.reason.as_ref(), node };
    let mut heart = trips.heart;
    heart.insert("trip".to_owned(), Value::from(kind?));
    let breaker = Breaker {
        trip: trips.trip,
        at: trips.at,
        window_ms: within.value,
        half_open: text.half_open.as_ref().and_then(half_open),
    };
    let limit = head.limit(id.value.as_str(), trips.per, Does::Breaker(breaker), Value::Map(heart), sink);
    Some(metered(limit, trips.speaks, trips.counts))
}

fn half_open(text: &Spanned<HalfOpenText>) -> Option<HalfOpen> {
    let probes = text.value.probes.as_ref().and_then(|probes| u32::try_from(probes.value).ok());
    Some(HalfOpen { after_ms: text.value.after.as_ref()?.value, probes: probes.unwrap_or(1) })
}

fn whole(number: &Spanned<i64>) -> Option<Amount> {
    u32::try_from(number.value).ok().map(Amount::whole)
}

impl Reader<'_, '_> {
    fn is_written(&self, key: &str) -> bool {
        self.node.get("trip").and_then(|trip| trip.get(key)).is_some()
    }

    /// What it counts; `None` only after a report.
    fn kind(&self, sink: &mut Sink<'_>) -> Option<&'static str> {
        let mut kinds = KINDS.iter().filter(|(kind, _)| self.is_written(kind));
        let (kind, keys) = match (kinds.next(), kinds.next()) {
            (Some(kind), None) => *kind,
            (first, _) => {
                let message = match first {
                    Some(_) => "a breaker counts one thing, and here are several",
                    None => "nothing says what opens the breaker",
                };
                sink.add(Code::BadTrip, self.trip.span, message).help(
                    "write one of `denials`, `allowed`, `sum`, `burn`, `distinct` and `failures`, and `within`",
                );
                return None;
            }
        };
        let others = KINDS.iter().flat_map(|(_, keys)| keys.iter()).filter(|key| !keys.contains(key));
        let mut strange: Vec<&str> = others.copied().filter(|key| self.is_written(key)).collect();
        strange.dedup();
        for key in strange {
            let span =
                self.node.get("trip").and_then(|trip| trip.get(key)).map_or(self.trip.span, |it| it.span);
            sink.add(Code::KeyBesideLimit, span, format!("`{key}` says nothing beside `{kind}`"))
                .help("remove it");
        }
        Some(kind)
    }

    fn trips(&self, kind: &str, sink: &mut Sink<'_>) -> Option<Trips> {
        let text = &self.trip.value;
        if kind == "burn" {
            return self.burn(sink);
        }
        let speech = Speech {
            scope: self.text.scope.as_ref(),
            matched: self.text.r#match.as_ref(),
            when: self.text.when.as_ref(),
        };
        let speaks = speech.lower(self.catalogue, sink)?;
        let plain = |trip, at| Some((trip, at, Counts::Action));
        let (trip, at, counts) = match kind {
            "denials" => {
                let codes = text.codes.iter().flat_map(|codes| &codes.value).map(|code| code.value);
                let mut codes: Vec<_> = codes.collect();
                codes.sort_unstable();
                codes.dedup();
                plain(Trip::Denied(codes), whole(text.denials.as_ref()?)?)
            }
            "allowed" => plain(Trip::Allowed, whole(text.allowed.as_ref()?)?),
            "failures" => self.failures(sink),
            "distinct" => {
                let Some(of) = &text.of else {
                    missing("of", self.node.get("trip").unwrap_or(self.node), sink);
                    return None;
                };
                let name = expression(of, "of", &speaks.matcher, self.catalogue, sink)?;
                Some((Trip::Distinct, whole(text.distinct.as_ref()?)?, Counts::Name(name)))
            }
            _ => self.sum(&speaks, sink),
        }?;
        let mut heart = written(self.node, &HEART);
        if let Some(trip) = self.node.get("trip") {
            let inner = written(trip, &["codes", "unit", "amount", "of"]);
            heart.insert("of".to_owned(), Value::Map(inner));
        }
        let per = self.text.per.as_ref()?.value.clone();
        Some(Trips { trip, at, counts, speaks, per, heart })
    }

    fn failures(&self, sink: &mut Sink<'_>) -> Option<(Trip, Amount, Counts)> {
        let text = &self.trip.value;
        if !self.is_written("at_least") {
            missing("at_least", self.node.get("trip").unwrap_or(self.node), sink);
        }
        let share = text.failures.as_ref()?;
        let share_bp = some_share(share, sink)?;
        Some((Trip::Failed { share_bp }, whole(text.at_least.as_ref()?)?, Counts::Action))
    }

    fn sum(&self, speaks: &Speaks, sink: &mut Sink<'_>) -> Option<(Trip, Amount, Counts)> {
        let text = &self.trip.value;
        if !self.is_written("unit") {
            missing("unit", self.node.get("trip").unwrap_or(self.node), sink);
        }
        let sum = Sum {
            unit: text.unit.as_ref()?,
            amount: text.amount.as_ref(),
            estimate: text.estimate.as_ref(),
            has_estimate: self.is_written("estimate"),
        };
        let counts = sum.counts(&speaks.matcher, self.catalogue, sink)?;
        Some((Trip::Allowed, text.sum.as_ref()?.value, counts))
    }

    /// A share of a budget in a short time: it counts what the budget counts.
    fn burn(&self, sink: &mut Sink<'_>) -> Option<Trips> {
        let text = &self.trip.value;
        let (with, help) =
            ("beside `burn`, which counts what its budget counts", "remove it, or write `sum`");
        beside(self.text.scope.as_ref(), "scope", with, help, sink);
        beside(self.text.r#match.as_ref(), "match", with, help, sink);
        beside(self.text.when.as_ref(), "when", with, help, sink);
        let Some(of) = &text.of else {
            missing("of", self.node.get("trip").unwrap_or(self.node), sink);
            return None;
        };
        let share = some_share(text.burn.as_ref()?, sink)?;
        let Some(spend) = self.spends.iter().find(|spend| *spend.id == *of.value) else {
            let ids = || self.spends.iter().map(|spend| &*spend.id);
            let levels =
                ids().find(|id| id.strip_prefix(of.value.as_str()).is_some_and(|it| it.starts_with('/')));
            let near = levels.or_else(|| nearest(&of.value, ids()));
            let help = near.map_or_else(
                || "write the id of a budget of this bundle".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            let shown: String = of.value.escape_debug().take(64).collect();
            sink.add(Code::UnknownBudget, of.span, format!("no budget has the id `{shown}`")).help(help);
            return None;
        };
        let mut heart = Map::default();
        heart.insert("burns".to_owned(), spend.heart.clone());
        let per = self.text.per.as_ref().map_or_else(|| spend.per.clone(), |per| per.value.clone());
        Some(Trips {
            trip: Trip::Allowed,
            at: spend.limit.share(share),
            counts: spend.counts.clone(),
            speaks: spend.speaks.clone(),
            per,
            heart,
        })
    }
}

/// A share that is more than nothing.
fn some_share(share: &Spanned<u32>, sink: &mut Sink<'_>) -> Option<u32> {
    if share.value == 0 {
        sink.add(Code::BadShare, share.span, "a breaker that opens at `0%` is always open")
            .help("write the share from which on it opens, such as \"50%\"");
        return None;
    }
    Some(share.value)
}
