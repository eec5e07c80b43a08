//! Timestamps and durations as counts of nanoseconds: reading, writing and parts of a calendar date.
//! No clock is read; zone rules come with the program, not from the machine.

use std::sync::LazyLock;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

pub(super) const NANOS: i64 = 1_000_000_000;
/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999999Z, in nanoseconds since 1970.
const FIRST: i128 = -62_135_596_800_000_000_000;
const LAST: i128 = 253_402_300_799_999_999_999;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// `nanos` if it is in the range of timestamps.
pub(super) fn in_range(nanos: i128) -> Option<i128> {
    (FIRST..=LAST).contains(&nanos).then_some(nanos)
}

/// Seconds since 1970 as a timestamp.
pub(super) fn from_seconds(seconds: i64) -> Option<i128> {
    in_range(i128::from(seconds).checked_mul(i128::from(NANOS))?)
}

/// Reads a date and time as RFC 3339 section 5.6 writes them.
pub(super) fn parse_timestamp(text: &str) -> Option<i128> {
    let (local, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, 0),
        None => {
            let at = text.len().checked_sub(6)?;
            (text.get(..at)?, offset_seconds(text.get(at..)?)?)
        }
    };
    let shape = |(at, b): (usize, u8)| match at {
        4 | 7 => b == b'-',
        10 => matches!(b, b'T' | b't'),
        13 | 16 => b == b':',
        19 => b == b'.' && local.len() > 20,
        _ => b.is_ascii_digit(),
    };
    if !(19..=29).contains(&local.len()) || !local.bytes().enumerate().all(shape) {
        return None;
    }
    let written: DateTime = local.parse().ok()?;
    let nanos = written.duration_since(epoch()?).as_nanos();
    in_range(nanos.checked_sub(i128::from(offset).checked_mul(i128::from(NANOS))?)?)
}

fn epoch() -> Option<DateTime> {
    DateTime::new(1970, 1, 1, 0, 0, 0, 0).ok()
}

/// Reads `+hh:mm`, `-hh:mm` or `hh:mm`.
fn offset_seconds(text: &str) -> Option<i32> {
    let (unsigned, sign) = match text.strip_prefix('-') {
        Some(rest) => (rest, -1),
        None => (text.strip_prefix('+').unwrap_or(text), 1),
    };
    let (hours, minutes) = unsigned.split_once(':')?;
    let two = |digits: &str| {
        let shaped = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<i32>().ok().filter(|_| shaped)
    };
    let (hours, minutes) = (two(hours).filter(|h| *h < 24)?, two(minutes).filter(|m| *m < 60)?);
    hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60)?.checked_mul(sign)
}

/// The calendar date and time of `nanos`, `offset` seconds east of Greenwich.
fn civil(nanos: i128, offset: i32) -> Option<DateTime> {
    let local = nanos.checked_add(i128::from(offset).checked_mul(i128::from(NANOS))?)?;
    let seconds = i64::try_from(local.div_euclid(i128::from(NANOS))).ok()?;
    let rest = i32::try_from(local.rem_euclid(i128::from(NANOS))).ok()?;
    epoch()?.checked_add(SignedDuration::new(seconds, rest)).ok()
}

/// The date and time in `zone`: `UTC`, a fixed offset such as `+02:00`, or an IANA name.
pub(super) fn in_zone(nanos: i128, zone: &str) -> Option<DateTime> {
    if let Some(offset) = offset_seconds(zone) {
        return civil(nanos, offset);
    }
    if matches!(zone, "" | "UTC" | "Z") {
        return civil(nanos, 0);
    }
    let named = ZONES.get(zone).ok()?;
    let seconds = i64::try_from(nanos.div_euclid(i128::from(NANOS))).ok()?;
    let at = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    let offset: Offset = named.to_offset(at);
    civil(nanos, offset.seconds())
}

/// The timestamp as RFC 3339 writes it, in UTC, with as many fractional digits as are needed.
pub(super) fn timestamp_text(nanos: i128) -> String {
    let Some(at) = civil(nanos, 0) else { return String::new() };
    let mut out = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    push_fraction(&mut out, at.subsec_nanosecond().unsigned_abs());
    out.push('Z');
    out
}

/// The duration in seconds, as in `-1.5s`.
pub(super) fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    let mut out = format!("{sign}{}", size.div_euclid(NANOS.unsigned_abs()));
    push_fraction(&mut out, u32::try_from(size.rem_euclid(NANOS.unsigned_abs())).unwrap_or(0));
    out.push('s');
    out
}

fn push_fraction(out: &mut String, nanos: u32) {
    if nanos > 0 {
        out.push('.');
        out.push_str(format!("{nanos:09}").trim_end_matches('0'));
    }
}

/// Reads a duration: a sign, then numbers with a unit from hours to nanoseconds, or `0`.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let (mut rest, negative) = match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text.strip_prefix('+').unwrap_or(text), false),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.get(..rest.find(|c: char| !c.is_ascii_digit() && c != '.')?)?;
        let after = rest.get(number.len()..)?;
        let unit =
            after.get(..after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len()))?;
        total = total.checked_add(scaled(number, unit_nanos(unit)?)?)?;
        rest = after.get(unit.len()..)?;
    }
    i64::try_from(if negative { total.checked_neg()? } else { total }).ok()
}

fn unit_nanos(unit: &str) -> Option<i128> {
    Some(match unit {
        "h" => 3_600_000_000_000,
        "m" => 60_000_000_000,
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" | "µs" | "μs" => 1000,
        "ns" => 1,
        _ => return None,
    })
}

/// `number × unit`, cut to whole nanoseconds.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let read = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<i128>().ok() };
    let fraction = fraction.get(..18.min(fraction.len()))?;
    let scale = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = read(fraction)?.checked_mul(unit)?.checked_div(scale)?;
    read(whole)?.checked_mul(unit)?.checked_add(part)
}
