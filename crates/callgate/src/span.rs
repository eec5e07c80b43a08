//! Durations as people write them on a command line: `500ms`, `30s`, `5m`, `1h`.

use std::time::Duration;

/// Reads a duration; for `clap`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || "write a duration such as `500ms`, `30s`, `5m` or `1h`".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit_ms).filter(|ms| *ms > 0).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_written_out() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("2h"), Ok(Duration::from_secs(7200)));
        for text in ["", "5", "s", "-1s", "1.5s", "0s", "1 s", "99999999999999999999h", "9999999999999999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
