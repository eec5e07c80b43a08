//! The suite's files: ledgers, bundles, and copies of data folders that it damages.

#![expect(
    clippy::disallowed_methods,
    reason = "this file owns the suite's file access; what it touches lies in the suite's own folder"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use callgate_log::VerifyingKey;
use callgate_policy::Bundle;

use crate::trouble::Trouble;

/// The one file of a bundle that lies in no folder of it.
const SETTINGS: &str = "callgate.yaml";

fn at(what: &str, path: &Path) -> impl Fn(io::Error) -> Trouble {
    let place = format!("could not {what} `{}`", path.display());
    move |error| Trouble::new(format!("{place}: {error}"))
}

pub(crate) fn make_dir(path: &Path) -> Result<(), Trouble> {
    fs::create_dir_all(path).map_err(at("make", path))
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Trouble> {
    fs::read(path).map_err(at("read", path))
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    if let Some(folder) = path.parent() {
        make_dir(folder)?;
    }
    fs::write(path, bytes).map_err(at("write", path))
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Trouble> {
    fs::rename(from, to).map_err(at("rename", from))
}

pub(crate) fn remove(path: &Path) -> Result<(), Trouble> {
    fs::remove_file(path).map_err(at("remove", path))
}

pub(crate) fn remove_dir(path: &Path) -> Result<(), Trouble> {
    fs::remove_dir_all(path).map_err(at("remove", path))
}

/// The names of the files in a folder; none where there is no folder.
pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// Writes a bundle as a folder.
pub(crate) fn write_bundle(bundle: &Bundle, dir: &Path) -> Result<(), Trouble> {
    bundle.files().iter().try_for_each(|(path, text)| write(&dir.join(path), text.as_bytes()))
}

/// Reads a bundle that the suite wrote.
pub(crate) fn read_bundle(dir: &Path) -> Result<Bundle, Trouble> {
    let mut files = std::collections::BTreeMap::new();
    if let Ok(settings) = read(&dir.join(SETTINGS)) {
        files.insert(SETTINGS.to_owned(), String::from_utf8_lossy(&settings).into_owned());
    }
    for folder in ["rules", "policies", "tools", "limits"] {
        let Ok(entries) = fs::read_dir(dir.join(folder)) else { continue };
        for entry in entries {
            let path = entry.map_err(at("read", dir))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let text = String::from_utf8_lossy(&read(&path)?).into_owned();
            files.insert(format!("{folder}/{name}"), text);
        }
    }
    Ok(Bundle::new(files, std::collections::BTreeMap::new()))
}

/// The public key that a gate published beside its log, to be pinned before anything breaks.
pub(crate) fn public_key(data: &Path) -> Result<VerifyingKey, Trouble> {
    let folder = data.join("keys");
    let names = fs::read_dir(&folder).map_err(at("read", &folder))?;
    let mut paths = names.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let path = paths.find(|path| path.to_string_lossy().ends_with(".pub.pem"));
    let path: PathBuf = path.ok_or_else(|| Trouble::new("the gate published no key"))?;
    let text = String::from_utf8_lossy(&read(&path)?).into_owned();
    VerifyingKey::from_spki_pem(&text).map_err(Trouble::at("the published key"))
}

/// A file that lines are added to, each durable before the call returns.
#[derive(Debug)]
pub(crate) struct Lines(File);

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, Trouble> {
        let opened = OpenOptions::new().create(true).append(true).open(path);
        opened.map(Self).map_err(at("open", path))
    }

    pub(crate) fn add(&mut self, line: &str) -> io::Result<()> {
        // One write, so that lines of two programs do not mix.
        self.0.write_all(format!("{line}\n").as_bytes())?;
        self.0.sync_data()
    }
}

/// A mark that a program which may still act is alive.
#[derive(Debug)]
pub(crate) struct Mark {
    _file: File,
}

/// Says that this program may act until the mark is dropped or the program ends.
pub(crate) fn mark(path: &Path) -> Result<Mark, Trouble> {
    let file = OpenOptions::new().create(true).append(true).open(path).map_err(at("open", path))?;
    file.lock_shared().map_err(at("lock", path))?;
    Ok(Mark { _file: file })
}

/// Whether a marked program is still alive.
pub(crate) fn is_marked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
}
