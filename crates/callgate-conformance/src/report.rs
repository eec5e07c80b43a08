//! What a suite gave: counts for each of its files, and the cases that failed, by name.

use std::fmt::Write as _;

/// The outcome of one suite.
#[derive(Debug)]
pub(crate) struct Report {
    /// What must pass, in thousandths of the cases that count.
    pub(crate) bar: usize,
    /// How cases are counted, and which are not.
    pub(crate) note: String,
    pub(crate) rows: Vec<Row>,
    /// What is worth saying of the cases that were left out.
    pub(crate) remarks: Vec<String>,
}

/// The outcome of one file or family.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) passed: usize,
    /// Cases that do not count, because they need what the product does not have.
    pub(crate) left_out: usize,
    /// `case: what happened`.
    pub(crate) failures: Vec<String>,
}

impl Row {
    fn counted(&self) -> usize {
        self.passed.saturating_add(self.failures.len())
    }
}

impl Report {
    fn passed(&self) -> usize {
        self.rows.iter().map(|row| row.passed).sum()
    }

    fn counted(&self) -> usize {
        self.rows.iter().map(Row::counted).sum()
    }

    /// Whether enough passed. A suite without cases did not run.
    pub(crate) fn reaches_bar(&self) -> bool {
        let counted = self.counted();
        counted > 0 && self.passed().saturating_mul(1000) >= counted.saturating_mul(self.bar)
    }

    /// The report as text, with the failures if wanted.
    pub(crate) fn shown(&self, suite: &str, failures: bool) -> String {
        let mut out = format!("{suite}: {}\n", self.note);
        for row in &self.rows {
            let (passed, counted, left) = (row.passed, row.counted(), row.left_out);
            let _ = writeln!(out, "  {:<24} {passed:>6} / {counted:<6} {left:>5} left out", row.name);
            for failure in row.failures.iter().filter(|_| failures) {
                let _ = writeln!(out, "      {failure}");
            }
        }
        for remark in &self.remarks {
            let _ = writeln!(out, "  {remark}");
        }
        let (passed, counted) = (self.passed(), self.counted());
        let share = passed.saturating_mul(10_000).checked_div(counted).unwrap_or(0);
        let verdict = if self.reaches_bar() { "reached" } else { "missed" };
        let _ = write!(
            out,
            "{suite}: {passed} of {counted} passed ({}.{:02} %); the bar of {}.{} % is {verdict}",
            share.div_euclid(100),
            share.rem_euclid(100),
            self.bar.div_euclid(10),
            self.bar.rem_euclid(10)
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, Row};

    fn report(passed: usize, failed: usize) -> Report {
        let failures = (0..failed).map(|n| format!("case {n}: wrong")).collect();
        let row = Row { name: "file".to_owned(), passed, left_out: 1, failures };
        Report { bar: 963, note: "a note".to_owned(), rows: vec![row], remarks: Vec::new() }
    }

    #[test]
    fn the_bar_is_met_or_missed_exactly() {
        assert!(report(963, 37).reaches_bar());
        assert!(!report(962, 38).reaches_bar());
        assert!(!report(0, 0).reaches_bar(), "nothing ran");
    }

    #[test]
    fn failures_are_named_only_when_wanted() {
        assert!(report(1, 1).shown("cel", true).contains("case 0: wrong"));
        assert!(!report(1, 1).shown("cel", false).contains("case 0"));
        assert!(
            report(1, 1).shown("cel", false).contains("1 of 2 passed (50.00 %); the bar of 96.3 % is missed")
        );
    }
}
