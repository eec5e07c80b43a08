//! A bundle: the text of its files and the values of the environment variables it names.
//!
//! Nothing here reads a file or the environment: both come in as text. A bundle has one canonical
//! archive, and its digest names the bundle wherever it is recorded.

use std::collections::BTreeMap;

use callgate_core::digest::Digest;
use callgate_core::json::{self, JsonError, Limits};
use callgate_core::value::{Map, Value};

use crate::language;
use crate::syntax::MAX_FILES;

/// The word that opens every archive of this form.
const FORMAT: &str = "callgate-bundle-v1";

/// The largest archive that is read back: 64 MiB, since escapes may lengthen the text, and a value for
/// each file and variable.
const ARCHIVE: Limits = Limits { bytes: 64 * 1024 * 1024, depth: 4, values: MAX_FILES + 4096 };

/// The files of a bundle by path (with forward slashes, relative to its folder), and the
/// environment variables its contracts name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    files: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
}

/// Why bytes are not the archive of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// Not a JSON document of bounded size.
    #[error("the archive cannot be read: {0}")]
    Json(#[from] JsonError),
    /// Another shape or another version.
    #[error("the archive is not of the form `{FORMAT}`; write it again with this version")]
    Format,
    /// The same bundle has another, canonical spelling.
    #[error("the archive is not canonical JSON (RFC 8785); write it again from the bundle's files")]
    NotCanonical,
}

impl Bundle {
    /// A bundle of `files`. Of `env`, only the variables that its contracts name are kept.
    #[must_use]
    pub fn new(files: BTreeMap<String, String>, env: BTreeMap<String, String>) -> Self {
        let mut bundle = Self { files, env: BTreeMap::new() };
        if !env.is_empty() {
            let named = bundle.env_names();
            bundle.env = env.into_iter().filter(|(name, _)| named.contains(name)).collect();
        }
        bundle
    }

    /// The files, by path.
    #[must_use]
    pub const fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    /// The values of the environment variables, by name.
    #[must_use]
    pub const fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// The environment variables the contracts name, sorted, each once: what the caller looks up
    /// before it compiles.
    #[must_use]
    pub fn env_names(&self) -> Vec<String> {
        language::env_names(&self.files)
    }

    /// The SHA-256 of [`Self::to_archive`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_archive())
    }

    /// The canonical archive (RFC 8785): `{"env":{…},"files":{…},"format":"callgate-bundle-v1"}`.
    #[must_use]
    pub fn to_archive(&self) -> Vec<u8> {
        let mut archive = Map::default();
        archive.insert("env".to_owned(), texts(&self.env));
        archive.insert("files".to_owned(), texts(&self.files));
        archive.insert("format".to_owned(), Value::from(FORMAT));
        Value::Map(archive).canonical().into_bytes()
    }

    /// Reads an archive back to the bundle it was written from.
    ///
    /// # Errors
    /// When the bytes are anything but what [`Self::to_archive`] writes.
    pub fn from_archive(bytes: &[u8]) -> Result<Self, ArchiveError> {
        let Value::Map(mut archive) = json::parse(bytes, &ARCHIVE)? else {
            return Err(ArchiveError::Format);
        };
        let format = archive.remove("format");
        let bundle = Self {
            files: archive.remove("files").and_then(from_texts).ok_or(ArchiveError::Format)?,
            env: archive.remove("env").and_then(from_texts).ok_or(ArchiveError::Format)?,
        };
        if !archive.is_empty() || format.as_ref().and_then(Value::as_str) != Some(FORMAT) {
            return Err(ArchiveError::Format);
        }
        if bundle.to_archive() == bytes { Ok(bundle) } else { Err(ArchiveError::NotCanonical) }
    }
}

fn texts(entries: &BTreeMap<String, String>) -> Value {
    let mut map = Map::default();
    for (key, text) in entries {
        map.insert(key.clone(), Value::Str(text.clone()));
    }
    Value::Map(map)
}

fn from_texts(value: Value) -> Option<BTreeMap<String, String>> {
    let Value::Map(map) = value else { return None };
    map.iter().map(|(key, value)| Some((key.to_owned(), value.as_str()?.to_owned()))).collect()
}

/// A policy language of its own files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// `.cedar`.
    Cedar,
    /// `.dogwood`: Cedar with history.
    Dogwood,
    /// `.rego`.
    Rego,
}

impl Language {
    /// The language of a file of that name.
    fn of(name: &str) -> Option<Self> {
        match name.rsplit_once('.') {
            Some((_, "cedar")) => Some(Self::Cedar),
            Some((_, "dogwood")) => Some(Self::Dogwood),
            Some((_, "rego")) => Some(Self::Rego),
            _ => None,
        }
    }
}

/// What a file's place in the folder makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// `callgate.yaml`.
    Settings,
    /// `rules/*.yaml`.
    Rules,
    /// `contracts/*.yaml`.
    Contracts,
    /// `tools/*.json`.
    Tools,
    /// `policies/*.{cedar,dogwood,rego}`.
    Policy(Language),
    /// `limits/*.yaml`.
    Limits,
    /// `tests/*.yaml`: they decide nothing.
    Tests,
    /// A folder this version knows of but cannot enforce.
    Later,
    /// In a known folder, but not where or as its files must be.
    Misplaced,
}

impl FileKind {
    /// The kind of the file at `path`; `None` when it is no part of a bundle.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path {
            "callgate.yaml" => return Some(Self::Settings),
            "callgate.yml" => return Some(Self::Misplaced),
            _ => {}
        }
        let (folder, name) = path.split_once('/')?;
        let last = path.rsplit('/').next().unwrap_or(name);
        if last.starts_with('.') || last.ends_with('~') || last.ends_with(".md") {
            return None;
        }
        let yaml = !name.contains('/') && (name.ends_with(".yaml") || name.ends_with(".yml"));
        let json = !name.contains('/') && name.ends_with(".json");
        match folder {
            "rules" if yaml => Some(Self::Rules),
            "contracts" if yaml => Some(Self::Contracts),
            "tools" if json => Some(Self::Tools),
            "policies" if !name.contains('/') => {
                Some(Language::of(name).map_or(Self::Misplaced, Self::Policy))
            }
            "tests" if yaml => Some(Self::Tests),
            "limits" if yaml => Some(Self::Limits),
            "agents" | "data" => Some(Self::Later),
            "rules" | "contracts" | "tools" | "policies" | "tests" | "limits" => Some(Self::Misplaced),
            _ => None,
        }
    }
}

/// Whether a loader should read the file at `path` (forward slashes, relative to the bundle's
/// folder) into a [`Bundle`]. Files of a known folder are read even where they are misplaced, so
/// that `check` can refuse them: a policy file that is quietly ignored is dangerous.
#[must_use]
pub fn is_bundle_file(path: &str) -> bool {
    FileKind::of(path).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(files: &[(&str, &str)], env: &[(&str, &str)]) -> Bundle {
        let own = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>()
        };
        Bundle::new(own(files), own(env))
    }

    const CONTRACT: &str = "version: v1\ncontracts: [{id: c, steps: {env: ORDER}}]";

    #[test]
    fn an_archive_gives_the_bundle_back() {
        let bundle = bundle(
            &[("rules/é.yaml", "a\r\n\"b\"\t\u{1}"), ("contracts/c.yaml", CONTRACT)],
            &[("ORDER", "a,b")],
        );
        let archive = bundle.to_archive();
        assert_eq!(Bundle::from_archive(&archive), Ok(bundle.clone()));
        assert_eq!(Digest::of(&archive), bundle.digest());
        assert!(String::from_utf8(archive).unwrap().starts_with(r#"{"env":{"ORDER":"a,b"},"files":{"#));
    }

    #[test]
    fn other_bytes_are_no_archive() {
        let cases = [
            "[]",
            r#"{"env":{},"files":{}}"#,
            r#"{"env":{},"files":{},"format":"callgate-bundle-v2"}"#,
            r#"{"env":{},"files":{"a":1},"format":"callgate-bundle-v1"}"#,
            r#"{"env":{},"extra":1,"files":{},"format":"callgate-bundle-v1"}"#,
        ];
        for text in cases {
            assert_eq!(Bundle::from_archive(text.as_bytes()), Err(ArchiveError::Format), "{text}");
        }
        let spaced = br#"{ "env":{},"files":{},"format":"callgate-bundle-v1"}"#;
        assert_eq!(Bundle::from_archive(spaced), Err(ArchiveError::NotCanonical));
        assert!(matches!(Bundle::from_archive(b"{"), Err(ArchiveError::Json(_))));
    }

    #[test]
    fn only_named_variables_are_kept() {
        let bundle = bundle(&[("contracts/c.yaml", CONTRACT)], &[("ORDER", "a"), ("SECRET", "s")]);
        assert_eq!(bundle.env().keys().collect::<Vec<_>>(), ["ORDER"]);
    }

    #[test]
    fn a_loader_knows_what_to_read() {
        for path in ["callgate.yaml", "rules/a.yml", "tools/f.json", "policies/p.cedar", "rules/sub/a.yaml"] {
            assert!(is_bundle_file(path), "{path}");
        }
        for path in ["README.md", "rules/README.md", "rules/.a.yaml.swp", "rules/a.yaml~", "src/a.yaml"] {
            assert!(!is_bundle_file(path), "{path}");
        }
    }
}
