//! Fingerprints: a rule that means the same has the same one, wherever and however it is written.

use std::collections::BTreeMap;

use callgate_core::digest::Digest;
use callgate_core::snapshot::Snapshot;
use callgate_policy::{Bundle, compile};

use crate::support::{bundle, snapshot};

/// The fingerprints of all rules and contracts, by id.
fn prints(snapshot: &Snapshot) -> BTreeMap<String, Digest> {
    let rules = snapshot.modules.iter().flat_map(|module| module.listed());
    let contracts = snapshot.contracts.iter().map(|contract| contract.rule.clone());
    rules.chain(contracts).map(|rule| (rule.id.to_string(), rule.fingerprint)).collect()
}

fn of(files: &[(&str, &str)]) -> BTreeMap<String, Digest> {
    prints(&snapshot(&bundle(files)))
}

const HEAD: &str = "version: v1\nrules:\n";

#[test]
fn yaml_means_what_its_mapping_says() {
    let rule = |body: &str| of(&[("rules/r.yaml", &format!("{HEAD}  - {{{body}}}\n"))])["a"];
    let base = rule("id: a, match: {tools: [x.y]}, when: args.n > 1, decision: deny, priority: 2");
    let block = "version: v1\n# why\nrules:
  - id: b
    match: {tools: [x.z]}
    decision: allow
  - priority: 2          # high
    description: For the people who maintain it
    when: \"args.n > 1\"
    decision: deny
    match:
      tools:
        - 'x.y'
    id: a
";
    assert_eq!(of(&[("rules/other.yaml", block)])["a"], base);
    for other in [
        "id: a, match: {tools: [x.y]}, when: args.n > 1, decision: deny, priority: 3",
        "id: a, match: {tools: [x.y]}, when: args.n > 1, decision: deny",
        "id: a, match: {tools: [x.y]}, when: args.n > 2, decision: deny, priority: 2",
        "id: a, match: {tools: [x.y]}, when: args.n > 1, decision: deny, priority: 2, mode: monitor",
        "id: a, match: {tools: [x.y]}, when: args.n > 1, decision: deny, priority: 2, reason: No",
    ] {
        assert_ne!(rule(other), base, "{other}");
    }
    let invariant = format!(
        "version: v1\ninvariants: true\nrules:\n  - {}\n",
        "{id: a, match: {tools: [x.y]}, when: args.n > 1, decision: deny, priority: 2}"
    );
    assert_ne!(of(&[("rules/r.yaml", &invariant)])["a"], base, "what the file says of it counts");
}

#[test]
fn cedar_and_dogwood_mean_what_their_tokens_say() {
    for path in ["policies/p.cedar", "policies/p.dogwood"] {
        let one = "@id(\"a\")\npermit(principal, action, resource == Tool::\"x.y\");";
        let spread = "// first\n@id(\"z\") forbid(principal, action, resource == Tool::\"x.z\");\n@id( \"a\" )\n// why\npermit(\n  principal,\n  action,\n  resource  ==  Tool::\"x.y\"\n);\n";
        let base = of(&[(path, one)])["a"];
        assert_eq!(of(&[(path, spread)])["a"], base, "{path}");
        for other in [
            one.replace("x.y", "x.z"),
            one.replace("\"a\")", "\"a\") @mode(\"monitor\")"),
            one.replace("principal,", "principal in Team::\"t\","),
        ] {
            assert_ne!(of(&[(path, &other)])["a"], base, "{other}");
        }
    }
}

#[test]
fn rego_means_its_header_and_what_it_is_compiled_from() {
    let header = "# METADATA\n# custom:\n#   callgate: {id: a, tools: [x.y]}\n";
    let body =
        "package p\n\nimport data.lib\n\ndefault decision := null\n\ndecision := \"deny\" if lib.odd\n";
    let library = "package lib\n\nodd if input.args.n == 1\n";
    let print = |header: &str, body: &str, library: &str| {
        of(&[("policies/p.rego", &format!("{header}{body}")), ("policies/lib.rego", library)])["a"]
    };
    let base = print(header, body, library);
    let spread = body.replace("\n\n", "\n\n# why\n").replace(" := ", "  :=  ");
    assert_eq!(print(header, &spread, &library.replace("odd if", "# odd\nodd  if")), base);
    assert_eq!(
        print("# METADATA\n# custom:\n#   callgate:\n#     tools: [x.y]\n#     id: a\n", body, library),
        base
    );
    assert_ne!(print(&header.replace("x.y", "x.z"), body, library), base);
    assert_ne!(print(header, &body.replace("deny", "throttle"), library), base);
    assert_ne!(print(header, body, &library.replace("== 1", "== 2")), base, "what it builds on counts");
}

#[test]
fn contracts_mean_their_order_wherever_it_comes_from() {
    let text = "version: v1\ncontracts:\n  - id: loan\n    steps: {env: LOAN_STEPS}\n";
    let print = |steps: &str| {
        let env = BTreeMap::from([("LOAN_STEPS".to_owned(), steps.to_owned())]);
        let files = BTreeMap::from([("contracts/c.yaml".to_owned(), text.to_owned())]);
        prints(&compile(&Bundle::new(files, env)).unwrap())["loan"]
    };
    assert_eq!(print("intake,settle"), print("intake, settle"));
    assert_ne!(print("intake,settle"), print("intake,review,settle"));
}
