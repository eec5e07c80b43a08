//! Every code has a page and a bundle that shows it, and the report on it reads well.
//!
//! A fixture is a folder `fixtures/errors/CG…`; its report is kept as a snapshot.

use std::collections::BTreeMap;
use std::path::PathBuf;

use callgate_policy::{Bundle, Code, Report, Severity, check, compile};

use crate::support::{bundle, folder, read, root};

fn fixtures() -> PathBuf {
    root().join("crates/callgate-policy/tests/fixtures/errors")
}

/// The report on the fixture of `code`. A bundle that is too large is made here rather than kept.
fn report(code: Code) -> Report {
    if code == Code::TooLarge {
        let large = format!("# {}\n", "x".repeat(1024 * 1024));
        return check(&bundle(&[("rules/large.yaml", &large)]));
    }
    let env = BTreeMap::from([("CALLGATE_TEST_BROKEN".to_owned(), "intake,,settle".to_owned())]);
    let bundle = Bundle::new(folder(&fixtures().join(code.as_str())), env);
    let report = check(&bundle);
    assert_eq!(compile(&bundle).is_err(), report.has_errors(), "{code:?}: check and compile disagree");
    report
}

#[test]
fn every_code_has_a_fixture_whose_report_is_kept() {
    for code in Code::ALL {
        let report = report(*code);
        let found: Vec<_> = report.diagnostics().iter().map(|found| found.code).collect();
        assert!(found.contains(&code.as_str()), "{} is not reported but {found:?}\n{report}", code.as_str());
        let severity = code.severity();
        assert!(severity == Severity::Error || !report.has_errors(), "{}\n{report}", code.as_str());
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(code.as_str(), report.render());
        });
    }
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let mut pages: Vec<String> = root()
        .join("docs/errors")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("CG"))
        .collect();
    pages.sort();
    let codes: Vec<String> = Code::ALL.iter().map(|code| format!("{}.md", code.as_str())).collect();
    assert_eq!(pages, codes);
    for code in Code::ALL {
        let page = read(&root().join(format!("docs/errors/{}.md", code.as_str())));
        let title = format!("# {}: {}\n", code.as_str(), code.title());
        assert!(page.starts_with(&title), "{}: begins with {:?}", code.as_str(), page.lines().next());
        for part in ["## What", "## Why", "## Example", "## Fix"] {
            assert!(page.contains(part), "{}: {part} is missing", code.as_str());
        }
    }
}

#[test]
fn every_fixture_has_a_code() {
    for entry in fixtures().read_dir().unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(Code::ALL.iter().any(|code| code.as_str() == name), "{name}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = "version: v2\nrules:\n  - {id: a, decision: alow, match: {tool: x}, when: 1 +}\n  - {id: a, decision: deny, match: {tools: [..]}}\n";
    let report = check(&bundle(&[("rules/r.yaml", text), ("contracts/c.yaml", "contracts: 7")]));
    let found: Vec<_> = report.diagnostics().iter().map(|found| found.code).collect();
    for code in ["CG0202", "CG0203", "CG0205", "CG0208", "CG0210", "CG0301", "CG0302"] {
        assert!(found.contains(&code), "{code}: {found:?}");
    }
}

#[test]
fn the_json_report_names_places() {
    let report = check(&bundle(&[("rules/r.yaml", "version: v1\nrules: []\n")]));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    let found = &json["diagnostics"][0];
    assert_eq!(json["errors"], 1);
    assert_eq!((&found["code"], &found["file"]), (&"CG0106".into(), &"rules/r.yaml".into()));
    assert_eq!(
        (&found["line"], &found["column"], &found["severity"]),
        (&2.into(), &8.into(), &"error".into())
    );
    assert_eq!(found["excerpt"], "rules: []");
}

#[test]
fn an_excerpt_cannot_play_tricks_on_a_terminal() {
    let text = "version: v1\nrules:\n  - {id: \"a\u{202e}b\u{1b}[31m\", decision: deny}\n";
    let shown = check(&bundle(&[("rules/r.yaml", text)])).render();
    assert!(!shown.contains('\u{202e}') && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn the_place_of_a_problem_in_a_long_or_foreign_line_is_found() {
    let padding = "ä".repeat(500);
    let text = format!(
        "version: v1\nrules: [{{id: a, description: {padding}, match: {{tools: [x]}}, decision: alow}}]\n"
    );
    let report = check(&bundle(&[("rules/r.yaml", &text)]));
    let place = report.diagnostics()[0].place.unwrap();
    let column = text
        .lines()
        .nth(1)
        .unwrap()
        .chars()
        .collect::<String>()
        .split("alow")
        .next()
        .unwrap()
        .chars()
        .count();
    assert_eq!((place.line, usize::try_from(place.column).unwrap()), (2, column + 1));
    let shown = report.render();
    let caret = shown.lines().find(|line| line.trim_end().ends_with('^')).unwrap();
    let excerpt = shown.lines().find(|line| line.contains("alow}")).unwrap();
    assert_eq!(
        caret.find('^').unwrap(),
        excerpt.chars().collect::<Vec<_>>().windows(4).position(|w| w == ['a', 'l', 'o', 'w']).unwrap()
    );
}
