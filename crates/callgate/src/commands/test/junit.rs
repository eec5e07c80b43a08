//! The report as JUnit XML, in the form that continuous integration reads: a suite for each file, a
//! case for each test, a `failure` with what differs and why.

use std::fmt::Write as _;

use callgate_policy::testing::{StepFailure, TestReport, TestResult};

/// Writes the whole document (XML 1.0).
pub(super) fn write(report: &TestReport) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let (tests, failed) = (report.tests.len(), report.failed());
    put(&mut out, format_args!("<testsuites name=\"callgate\" tests=\"{tests}\" failures=\"{failed}\">\n"));
    // Tests come by file.
    for suite in report.tests.chunk_by(|a, b| a.file == b.file) {
        let failed = suite.iter().filter(|test| !test.passed()).count();
        let name = suite.first().map(|test| escaped(&test.file)).unwrap_or_default();
        put(
            &mut out,
            format_args!(
                "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"0\">\n",
                suite.len()
            ),
        );
        suite.iter().for_each(|test| case(&mut out, test));
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = out.write_fmt(text);
}

fn case(out: &mut String, test: &TestResult) {
    let (file, name) = (escaped(&test.file), escaped(&test.name));
    let line = test.source.line;
    put(
        out,
        format_args!("    <testcase classname=\"{file}\" name=\"{name}\" file=\"{file}\" line=\"{line}\""),
    );
    if test.passed() {
        out.push_str("/>\n");
        return;
    }
    out.push_str(">\n");
    for failure in &test.failures {
        let (message, text) = (escaped(&message(failure)), escaped(&failure.explanation.to_string()));
        put(out, format_args!("      <failure type=\"decision\" message=\"{message}\">{text}</failure>\n"));
    }
    out.push_str("    </testcase>\n");
}

fn message(failure: &StepFailure) -> String {
    let step = failure.step.map(|step| format!("step {step} at {}: ", failure.source)).unwrap_or_default();
    let differences = failure
        .differences
        .iter()
        .map(|one| format!("{}: expected {}, actual {}", one.field, one.expected, one.actual));
    format!("{step}{}", differences.collect::<Vec<_>>().join("; "))
}

/// Text for an attribute or an element. Characters that XML 1.0 cannot carry are written out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn nothing_closes_the_element_it_stands_in() {
        assert_eq!(escaped("a<b>&\"c\u{1}\u{ffff}\n"), "a&lt;b&gt;&amp;&quot;c\\u{1}\\u{ffff}\n");
    }
}
