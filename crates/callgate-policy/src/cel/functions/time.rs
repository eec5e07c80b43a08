//! Parts of timestamps and durations.

use jiff::civil::DateTime;

use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::time::in_zone;
use super::super::value::CelValue;
use super::{DURATION, Definition, INT, STR, Signature, Style, TIMESTAMP, define, sig, unsuited};

/// What finding a zone and its offset costs.
const ZONE_FUEL: u64 = 50;

const OF_DATE: &[Signature] = &[sig(&[TIMESTAMP], INT), sig(&[TIMESTAMP, STR], INT)];
const OF_EITHER: &[Signature] = &[sig(&[TIMESTAMP], INT), sig(&[TIMESTAMP, STR], INT), sig(&[DURATION], INT)];

pub(super) const TABLE: &[Definition] = &[
    define("getFullYear", Style::Method, OF_DATE, |args, fuel| {
        part("getFullYear", args, fuel, |at| i64::from(at.year()), None)
    }),
    define("getMonth", Style::Method, OF_DATE, |args, fuel| {
        part("getMonth", args, fuel, |at| i64::from(at.month()).saturating_sub(1), None)
    }),
    define("getDate", Style::Method, OF_DATE, |args, fuel| {
        part("getDate", args, fuel, |at| i64::from(at.day()), None)
    }),
    define("getDayOfMonth", Style::Method, OF_DATE, |args, fuel| {
        part("getDayOfMonth", args, fuel, |at| i64::from(at.day()).saturating_sub(1), None)
    }),
    define("getDayOfWeek", Style::Method, OF_DATE, |args, fuel| {
        part("getDayOfWeek", args, fuel, |at| i64::from(at.weekday().to_sunday_zero_offset()), None)
    }),
    define("getDayOfYear", Style::Method, OF_DATE, |args, fuel| {
        part("getDayOfYear", args, fuel, |at| i64::from(at.day_of_year()).saturating_sub(1), None)
    }),
    define("getHours", Style::Method, OF_EITHER, |args, fuel| {
        part("getHours", args, fuel, |at| i64::from(at.hour()), Some(3_600_000_000_000))
    }),
    define("getMinutes", Style::Method, OF_EITHER, |args, fuel| {
        part("getMinutes", args, fuel, |at| i64::from(at.minute()), Some(60_000_000_000))
    }),
    define("getSeconds", Style::Method, OF_EITHER, |args, fuel| {
        part("getSeconds", args, fuel, |at| i64::from(at.second()), Some(1_000_000_000))
    }),
    define("getMilliseconds", Style::Method, OF_EITHER, milliseconds),
];

/// A part of a date, or how many times `unit` nanoseconds fit into a duration.
fn part<'a>(
    name: &'static str,
    args: &[CelValue<'a>],
    fuel: &mut Fuel,
    pick: fn(DateTime) -> i64,
    unit: Option<i64>,
) -> Result<CelValue<'a>, EvalError> {
    let (nanos, zone) = match (args, unit) {
        ([CelValue::Timestamp(nanos)], _) => (*nanos, "UTC"),
        ([CelValue::Timestamp(nanos), CelValue::Str(zone)], _) => (*nanos, &**zone),
        ([CelValue::Duration(nanos)], Some(unit)) => {
            return Ok(CelValue::Int(nanos.checked_div(unit).unwrap_or(0)));
        }
        _ => return Err(unsuited(name, args)),
    };
    fuel.burn(if args.len() > 1 { ZONE_FUEL } else { 1 })?;
    let reason = "write `UTC`, an offset such as `+02:00`, or a zone such as `Europe/Vienna`";
    let at = in_zone(nanos, zone).ok_or_else(|| EvalError::argument(name, zone, reason))?;
    Ok(CelValue::Int(pick(at)))
}

/// Milliseconds within the second, for durations too.
fn milliseconds<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    match args {
        [CelValue::Duration(nanos)] => {
            let within = nanos.checked_rem(1_000_000_000).and_then(|rest| rest.checked_div(1_000_000));
            Ok(CelValue::Int(within.unwrap_or(0)))
        }
        _ => part("getMilliseconds", args, fuel, |at| i64::from(at.millisecond()), None),
    }
}
