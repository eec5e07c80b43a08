//! Bundles from folders and text, and decisions on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use callgate_core::decide::{Ask, Decided, decide};
use callgate_core::decision::Decision;
use callgate_core::facts::{Credential, Facts};
use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_core::snapshot::Snapshot;
use callgate_policy::{Bundle, compile, is_bundle_file};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of the repository.
#[expect(clippy::disallowed_methods, reason = "tests read the files they are about")]
pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below a folder that a loader would read, by path.
pub(crate) fn folder(path: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![path.to_owned()];
    while let Some(next) = open.pop() {
        for entry in next.read_dir().unwrap() {
            let entry = entry.unwrap().path();
            let name = entry.strip_prefix(path).unwrap().to_string_lossy().replace('\\', "/");
            if entry.is_dir() {
                open.push(entry);
            } else if is_bundle_file(&name) {
                found.insert(name, read(&entry));
            }
        }
    }
    found
}

/// A bundle of files written in place.
pub(crate) fn bundle(files: &[(&str, &str)]) -> Bundle {
    let own = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
    Bundle::new(files.iter().map(own).collect(), BTreeMap::new())
}

/// The snapshot of a bundle that must compile.
pub(crate) fn snapshot(bundle: &Bundle) -> Snapshot {
    compile(bundle).unwrap_or_else(|report| panic!("{report}"))
}

/// The snapshot of one file of rules.
pub(crate) fn rules(text: &str) -> Snapshot {
    snapshot(&bundle(&[("rules/r.yaml", text)]))
}

/// What a gate without state or identity knows.
pub(crate) fn facts() -> Facts {
    let text = r#"{"credential":{"kind":"local"},"now_ms":1700000000000,"nonce_used":false}"#;
    let facts: Facts = serde_json::from_str(text).unwrap();
    assert_eq!(facts.credential, Credential::Local);
    facts
}

/// A request from its wire form.
pub(crate) fn request(text: &str) -> Request {
    Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Decides one request, written as on the wire.
pub(crate) fn ask(snapshot: &Snapshot, text: &str) -> Decided {
    decide(snapshot, Ask::Request(Box::new(request(text))), &facts())
}

/// The answer and the code or rule that explains it, such as `DENY NO_POLICY_MATCH` or `ALLOW read`.
pub(crate) fn answer(snapshot: &Snapshot, text: &str) -> String {
    let decided = ask(snapshot, text);
    let settled = &decided.settled;
    let why = match (settled.decision, settled.code, settled.matched.as_ref()) {
        (Decision::Deny, Some(code), None) => code.as_str().to_owned(),
        (Decision::Deny, Some(code), Some(rule)) => format!("{code} {}", rule.id),
        (_, _, Some(rule)) => rule.id.to_string(),
        _ => "?".to_owned(),
    };
    format!("{} {why}", settled.decision)
}
