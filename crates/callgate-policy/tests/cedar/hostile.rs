//! Hostile policies and arguments end in a typed answer.

use callgate_policy::check;

use crate::{asked, policies, with_tools};

fn refused(policies: &str) -> String {
    let report = check(&with_tools(policies));
    assert!(report.has_errors(), "{}", policies.len());
    report.diagnostics().iter().map(|it| it.code).collect::<Vec<_>>().join(" ")
}

fn when(condition: &str) -> String {
    format!("permit(principal == Agent::\"a\", action, resource) when {{ {condition} }};")
}

#[test]
fn deep_and_long_policies_are_refused() {
    let ifs = |count: usize| format!("{}true{}", "if true then true else ".repeat(count), "");
    for (policy, code) in [
        (when(&format!("{}true{}", "(".repeat(100_000), ")".repeat(100_000))), "CG0706"),
        (when(&format!("{}true{}", "[".repeat(49), "]".repeat(49))), "CG0706"),
        (when(&ifs(5_000)), "CG0706"),
        (when(&ifs(65)), "CG0706"),
        (when(&vec!["true"; 5_000].join(" && ")), "CG0706"),
        (when(&vec!["principal is Agent"; 400].join(" || ")), "CG0706"),
        (when(&format!("context{} == 1", ".a".repeat(10_000))), "CG0706"),
        (when(&format!("context{} == 1", ".a".repeat(200))), "CG0706"),
        (when(&format!("{}true", "!".repeat(10_000))), "CG07"),
        (when(&format!("{} == 1", vec!["1"; 10_000].join("+"))), "CG0706"),
        (when(&format!("principal.id like \"{}\"", "*a".repeat(200))), "CG0706"),
        (when(&format!("principal.id == \"{}\"", "x".repeat(40_000))), "CG0706"),
        ("(".repeat(1_000_000), "CG0706"),
        ("\"".to_owned(), "CG0701"),
        ("permit(\u{0}".to_owned(), "CG0701"),
    ] {
        let found = refused(&policy);
        assert!(found.contains(code), "{code}: {found}: {}", policy.chars().take(120).collect::<String>());
    }
}

#[test]
fn numbers_beyond_64_bits_are_refused() {
    assert!(refused(&when("1 == 99999999999999999999")).contains("CG0701"));
    assert!(refused(&when("decimal(\"99999999999999999999.0\") == decimal(\"1.0\")")).contains("CG0703"));
}

#[test]
fn large_arguments_and_stubborn_patterns_stay_bounded() {
    let pattern = "*a".repeat(120);
    let snapshot = policies(&format!(
        "permit(principal is Agent, action, resource);\n\
         @id(\"no\") forbid(principal, action == Action::\"db.query\", resource) when {{ context.args.sql like \"{pattern}b\" }};"
    ));
    let text =
        format!(r#""tool":{{"server":"db","name":"query"}},"args":{{"sql":"{}"}}"#, "a".repeat(200_000));
    assert_eq!(asked(&snapshot, &text), "ALLOW p.cedar#1");
    // Many of them are too much work: that is an error, and a forbid then denies.
    let many: String = (0..20)
        .map(|n| format!("forbid(principal, action == Action::\"db.query\", resource) when {{ context.args.sql like \"{pattern}{n}\" }};\n"))
        .collect();
    let snapshot = policies(&format!("permit(principal is Agent, action, resource);\n{many}"));
    assert_eq!(asked(&snapshot, &text), "DENY POLICY_ERROR");
}
