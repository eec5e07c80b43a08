//! Policies about the past: what sessions decide, what is refused, and hostile text.

use callgate_policy::testing::run;
use callgate_policy::{Bundle, check};

use crate::support::{folder, root};

fn differences(bundle: &Bundle) -> Vec<String> {
    let report = run(bundle, None).unwrap_or_else(|report| panic!("{report}"));
    assert!(!report.tests.is_empty());
    let failures = report.tests.iter().flat_map(|test| test.failures.iter().map(move |it| (test, it)));
    failures
        .flat_map(|(test, failure)| failure.differences.iter().map(move |one| (test, failure, one)))
        .map(|(test, failure, one)| {
            format!("{} step {:?}: {}: {}/{}", test.name, failure.step, one.field, one.expected, one.actual)
        })
        .collect()
}

#[test]
fn the_office_keeps_mail_and_exports_apart() {
    let bundle = Bundle::new(folder(&root().join("examples/languages/rules")), Default::default());
    let report = check(&bundle);
    assert!(report.is_empty(), "{report}");
    assert_eq!(differences(&bundle), [""; 0]);
}
