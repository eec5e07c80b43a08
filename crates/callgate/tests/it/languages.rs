//! The examples, as their readers meet them: each bundle checks and passes its tests, those that say the
//! same in several languages share their tests, and what the pages show is what the bundles hold.

use std::path::{Path, PathBuf};

use crate::program::run;

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The folders in `path`, sorted.
fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = path.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// The bundles under `examples/`: folders with tests.
fn bundles(path: &Path) -> Vec<PathBuf> {
    let inner = folders(path).into_iter().filter(|path| !path.ends_with("node_modules"));
    inner.flat_map(|path| if path.join("tests").is_dir() { vec![path] } else { bundles(&path) }).collect()
}

#[test]
fn every_example_checks_and_passes_its_tests() {
    let found = bundles(&root().join("examples"));
    assert!(found.len() >= 7, "{found:?}");
    for bundle in found {
        let bundle = bundle.to_string_lossy();
        for args in [vec!["check", &bundle], vec!["test", "--require-coverage", &bundle]] {
            let ran = run(&root(), &args);
            assert_eq!((ran.code, &*ran.err), (0, ""), "{args:?}: {}", ran.out);
            assert!(ran.out.contains("ok "), "{args:?}: {}", ran.out);
        }
    }
}

#[test]
fn the_languages_share_their_tests_and_tools() {
    let [first, rest @ ..] = &*folders(&root().join("examples/languages")) else { panic!("no languages") };
    assert!(rest.len() >= 2, "{rest:?}");
    for file in ["tests/office.yaml", "tests/history.yaml", "policies/office.dogwood", "tools/office.json"] {
        let text = read(&first.join(file));
        for other in rest {
            assert_eq!(text, read(&other.join(file)), "{file}: {} and {}", first.display(), other.display());
        }
    }
}

/// The blocks of a page that name their file: `` ```cedar examples/… ``.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in page.split("\n```") {
        let Some((info, body)) = part.split_once('\n') else { continue };
        if let Some((_, file)) = info.split_once(" examples/") {
            found.push((format!("examples/{file}"), body.to_owned()));
        }
    }
    found
}

#[test]
fn what_the_pages_show_is_what_the_examples_hold() {
    for (page, least) in [("cel", 7), ("cedar", 9), ("rego", 12), ("judge", 1), ("dogwood", 2)] {
        let found = blocks(&read(&root().join(format!("docs/{page}.md"))));
        assert!(found.len() >= least, "{page}: {}", found.len());
        for (file, body) in found {
            assert!(!body.trim().is_empty(), "{page}: {file}");
            assert!(
                read(&root().join(&file)).contains(&body),
                "{page}.md shows what {file} does not hold:\n{body}"
            );
        }
    }
}
