//! The declared language of each file kind: what keys there are, what they take, what they say.
//!
//! Declarations only; what a rule then means is decided in `lower`.

pub(crate) mod actions;
pub(crate) mod constraints;
pub(crate) mod contracts;
pub(crate) mod judge;
pub(crate) mod limits;
pub(crate) mod measures;
pub(crate) mod rego;
pub(crate) mod rules;
pub(crate) mod settings;
pub(crate) mod steps;
pub(crate) mod tests;
pub(crate) mod webhooks;

use std::collections::{BTreeMap, BTreeSet};

use crate::bundle::FileKind;
use crate::diagnostic::Problems;
use crate::syntax::{self, SourceFile, Text};

/// The environment variables that contracts name, sorted. Reads leniently: what is wrong with a file
/// is for `check` to say.
pub(crate) fn env_names(files: &BTreeMap<String, String>) -> Vec<String> {
    let mut names = BTreeSet::new();
    for (path, text) in files.iter().filter(|(path, _)| FileKind::of(path) == Some(FileKind::Contracts)) {
        if text.len() > syntax::MAX_FILE {
            continue;
        }
        let file = SourceFile::new(path, text);
        let Some(root) = syntax::parse(&file, &mut Problems::default()) else { continue };
        for contract in root.get("contracts").map(syntax::Node::items).unwrap_or_default() {
            let name = contract.get("steps").and_then(|steps| steps.get("env")).and_then(|env| env.scalar());
            names.extend(
                name.filter(|name| steps::is_variable(&name.text)).map(|Text { text, .. }| text.clone()),
            );
        }
    }
    names.into_iter().collect()
}
