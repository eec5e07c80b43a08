//! The repository's own rules, as tests: the crate table, the names of the laws, what a stranger looks for.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at what it cannot read"
)]
#![expect(clippy::disallowed_methods, reason = "this test reads the repository's own files")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The text of every file below `folders` with one of these endings.
fn sources(folders: &[&str], endings: &[&str]) -> Vec<String> {
    let mut waiting: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut texts = Vec::new();
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|e| endings.iter().any(|known| e == *known)) {
                texts.push(std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    texts
}

/// Crate → the crates it may use, from the table of ARCHITECTURE.md.
fn table() -> BTreeMap<String, String> {
    let page = read("ARCHITECTURE.md");
    let rows = page.lines().filter(|line| line.starts_with("| `callgate"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), cells[3].to_owned())
    })
    .collect()
}

/// Crate → the packages Cargo builds into it, dependencies of dependencies included.
fn packages(of: &str) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            of,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).unwrap();
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The dependencies a crate names itself.
fn direct(of: &str) -> BTreeSet<String> {
    let manifest = read(&format!("crates/{of}/Cargo.toml"));
    let section = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    section.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).map(str::to_owned).collect()
}

#[test]
fn the_crate_table_is_what_cargo_builds() {
    let table = table();
    let folders: BTreeSet<String> = std::fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(table.keys().cloned().collect::<BTreeSet<_>>(), folders, "every crate has its row");
    for (name, may) in &table {
        let permitted: BTreeSet<String> = match may.as_str() {
            "–" => BTreeSet::new(),
            "all" => folders.clone(),
            list => list.split(',').map(|word| format!("callgate-{}", word.trim())).collect(),
        };
        for used in direct(name).iter().filter(|used| used.starts_with("callgate")) {
            assert!(permitted.contains(used), "`{name}` uses `{used}`, which the table does not permit");
        }
    }
}

#[test]
fn the_pure_crates_build_no_runtime_clock_network_or_randomness() {
    let shell = ["tokio", "hyper", "axum", "reqwest", "getrandom", "rand", "mio", "rustix"];
    let rows: [(&str, Vec<&str>); 7] = [
        ("callgate-core", [&shell[..], &["callgate-policy", "regex", "cel", "ed25519-dalek"]].concat()),
        // The engines of Cedar, Dogwood and Rego bring randomness along for hash maps and for built-in
        // functions that `check` refuses; a runtime or a network they do not bring.
        (
            "callgate-policy",
            vec!["tokio", "hyper", "axum", "reqwest", "mio", "callgate-log", "callgate-store"],
        ),
        ("callgate-log", [&["tokio", "hyper", "getrandom", "rand", "mio"][..], &["callgate-core"]].concat()),
        ("callgate-store", vec!["hyper", "axum", "rmcp", "callgate-policy"]),
        ("callgate-gate", vec!["hyper", "axum", "rmcp"]),
        // Only the voice speaks to the outside.
        ("callgate-server", vec!["hyper-rustls", "rustls", "reqwest"]),
        ("callgate-mcp", vec!["hyper-rustls", "rustls", "reqwest"]),
    ];
    for (name, forbidden) in rows {
        let built = packages(name);
        for package in forbidden {
            assert!(!built.contains(package), "`{name}` builds `{package}`");
        }
    }
}

#[test]
fn every_law_is_found_by_its_name_in_a_test() {
    let texts = sources(&["crates"], &["rs"]);
    for law in 1..=10 {
        let name = format!("fn law_{law}_");
        assert!(texts.iter().any(|text| text.contains(&name)), "no test is named `law_{law}_…`");
    }
}

#[test]
fn what_a_stranger_looks_for_is_there() {
    for file in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "LICENSE",
        "docs/bundle.md",
        "docs/cel.md",
        "docs/mcp.md",
        "docs/cli.md",
        "docs/events.md",
        "docs/openapi.json",
        "docs/spec/receipt.md",
        "docs/spec/log.md",
        "docs/spec/segment.md",
        "docs/spec/state.md",
        "docs/spec/wire.md",
    ] {
        assert!(root().join(file).is_file(), "`{file}` is missing");
    }
}

/// A page that says `[test: name]` names a test that exists.
#[test]
fn every_must_of_the_specs_names_a_test() {
    let texts = sources(&["crates", "tests"], &["rs", "sh", "py"]);
    for page in ["receipt", "log", "segment", "state", "wire"] {
        let text = read(&format!("docs/spec/{page}.md"));
        assert!(text.contains("MUST"), "{page}.md is normative");
        let named = text.split("[test: ").skip(1).filter_map(|rest| rest.split(']').next());
        for name in named.flat_map(|names| names.split(',')) {
            let last = name.rsplit("::").next().unwrap_or(name).trim().trim_matches('`');
            assert!(
                texts.iter().any(|text| text.contains(last)),
                "{page}.md names the test `{last}`, which is nowhere"
            );
        }
    }
}
