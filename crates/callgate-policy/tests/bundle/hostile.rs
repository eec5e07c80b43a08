//! Hostile bundles are refused with a report: no panic, no stall, no limit passed.

use callgate_policy::{check, compile};
use proptest::prelude::*;

use crate::support::bundle;

const PATHS: [&str; 6] =
    ["callgate.yaml", "rules/a.yaml", "rules/b.yaml", "contracts/c.yaml", "limits/l.yaml", "tools/t.json"];

/// Text that is nearly the language.
fn nearly() -> impl Strategy<Value = String> {
    let word = proptest::sample::select(vec![
        "version: v1\n",
        "rules:\n",
        "  - ",
        "id: ",
        "a",
        "match: ",
        "{",
        "}",
        "[",
        "]",
        "tools",
        ": ",
        ", ",
        "\n",
        "    ",
        "decision: ",
        "deny",
        "allow",
        "when: ",
        "args.x > 1",
        "budgets:\n",
        "throttles: [{id: t, ",
        "breakers: [{id: b, ",
        "per: [agent], ",
        "rate: 9/1s",
        "trip: {allowed: 3, within: 1h}",
        "amount: args.x, ",
        "unit: usd, over: day, limit: 1, ",
        "\"",
        "'",
        "|\n",
        ">-\n",
        "&a ",
        "*a",
        "!!str ",
        "---\n",
        "...\n",
        "#",
        "\t",
        "\u{feff}",
        "é",
        "\r\n",
        "\r",
        "contracts:\n",
        "steps: ",
        "actions: ",
        "env",
        "null",
        "~",
        "true",
        "1e9",
        "tools\":",
        "\"name\":",
        "\\u00",
        "\u{0}",
        "? ",
        "- ",
        "% ",
        "%YAML 1.1\n",
        "**",
    ]);
    proptest::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_text_is_checked_without_a_panic(path in proptest::sample::select(PATHS.to_vec()), text in prop_oneof![any::<String>(), nearly()]) {
        let bundle = bundle(&[(path, &text)]);
        let report = check(&bundle);
        let shown = report.render();
        prop_assert!(!shown.is_empty());
        prop_assert_eq!(compile(&bundle).is_err(), report.has_errors());
    }

    #[test]
    fn an_archive_is_read_or_refused(bytes in prop_oneof![any::<Vec<u8>>(), nearly().prop_map(String::into_bytes)]) {
        if let Ok(read) = callgate_policy::Bundle::from_archive(&bytes) {
            prop_assert_eq!(read.to_archive(), bytes);
        }
    }
}

#[test]
fn what_is_too_much_is_refused_quickly() {
    let deep = "[".repeat(100_000);
    let flat = format!("version: v1\nrules: [{}]", "a,".repeat(250_000));
    let keys = (0..50_000).map(|n| format!("k{n}: 1\n")).collect::<String>();
    let block = (0..5000).map(|n| " ".repeat(n % 1000) + "- \n").collect::<String>();
    let long = format!("version: v1\nrules: [{}]", "{ä: ö},".repeat(60_000));
    let anchors = format!("a: &a [x]\nb: [{}]\n", "*a,".repeat(1000));
    for text in [deep, flat, keys, block, long, anchors] {
        for path in ["rules/a.yaml", "tools/t.json"] {
            assert!(check(&bundle(&[(path, &text)])).has_errors());
        }
    }
    let many: Vec<String> = (0..20_001).map(|n| format!("rules/{n}.yaml")).collect();
    let files: Vec<(&str, &str)> = many.iter().map(|path| (path.as_str(), "version: v1")).collect();
    assert_eq!(check(&bundle(&files)).diagnostics()[0].code, "CG0101");
}

#[test]
fn many_mistakes_are_all_counted_but_not_all_kept() {
    let rules = (0..5000).map(|n| format!("  - {{id: r{n}, decision: no}}\n")).collect::<String>();
    let report = check(&bundle(&[("rules/a.yaml", &format!("version: v1\nrules:\n{rules}"))]));
    assert_eq!(report.diagnostics().len(), 1000);
}

#[test]
fn yaml_surprises_do_not_happen() {
    let snapshot = crate::support::rules(
        "version: v1\nrules: [{id: yes, match: {risk_tags: [on, no, y]}, decision: deny, reason: off}]\n",
    );
    let text = r#"{"agent":{"id":"a"},"topic":"t","risk_tags":["on","no","y"]}"#;
    assert_eq!(crate::support::answer(&snapshot, text), "DENY DENIED_BY_RULE yes");
}
