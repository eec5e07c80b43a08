//! Files and surroundings: the one place of the binary that touches either.
//!
//! Reads are bounded, and a bundle is read from its own folder only: a link that leads out of it is refused.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use callgate_log::VerifyingKey;
use callgate_policy::{Bundle, is_bundle_file};

use crate::exit::Exit;
use crate::failure::Failure;

/// The longest bundle file that is read; `check` refuses it below that.
const MAX_FILE: u64 = 2 << 20;
/// The most bundle files that are read; `check` refuses them below that.
const MAX_FILES: usize = 25_000;
/// How deep folders are followed.
const MAX_DEPTH: usize = 8;
/// The longest key, note or request that is read; the gate's own limits are tighter.
const MAX_TEXT: u64 = 1 << 20;
/// The longest file of a corpus that is read.
const MAX_CORPUS: u64 = 1 << 30;

#[expect(clippy::disallowed_methods, reason = "this file owns the binary's file access")]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

fn bounded(from: impl io::Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {limit} bytes")));
    }
    Ok(bytes)
}

fn unusable(what: &str, path: &Path, problem: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("could not {what} `{}`: {problem}", path.display()))
}

/// Reads a file, or standard input for `-`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    if path == Path::new("-") {
        return bounded(io::stdin().lock(), MAX_TEXT)
            .map_err(|e| Failure::usage(format!("standard input: {e}")));
    }
    open(path).and_then(|file| bounded(file, MAX_TEXT)).map_err(|e| unusable("read", path, &e))
}

/// Reads a file of text.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let bytes =
        open(path).and_then(|file| bounded(file, MAX_TEXT)).map_err(|e| unusable("read", path, &e))?;
    String::from_utf8(bytes).map_err(|_| unusable("use", path, &"it is not text; save it as UTF-8"))
}

/// Reads a segment of a log.
pub(crate) fn read_long(path: &Path) -> Result<Vec<u8>, Failure> {
    let limit = callgate_log::segment::MAX_SEGMENT;
    open(path).and_then(|file| bounded(file, limit)).map_err(|e| unusable("read", path, &e))
}

/// Reads a file of a corpus.
pub(crate) fn read_corpus(path: &Path) -> Result<Vec<u8>, Failure> {
    open(path).and_then(|file| bounded(file, MAX_CORPUS)).map_err(|e| unusable("read", path, &e))
}

/// The files in a folder that end in `.jsonl`, by name, and how many others there are.
pub(crate) fn corpus_folder(dir: &Path) -> Result<(Vec<PathBuf>, u64), Failure> {
    let (mut lines, mut others) = (Vec::new(), 0u64);
    for entry in fs::read_dir(dir).map_err(|e| unusable("read", dir, &e))? {
        let path = entry.map_err(|e| unusable("read", dir, &e))?.path();
        if path.is_file() && path.extension().is_some_and(|ending| ending == "jsonl") {
            lines.push(path);
        } else {
            others = others.saturating_add(u64::from(path.is_file()));
        }
    }
    lines.sort();
    Ok((lines, others))
}

/// Makes a file for what another program says.
#[expect(clippy::disallowed_methods, reason = "this file owns the binary's file access")]
pub(crate) fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|e| unusable("make", path, &e))
}

/// Reads a pinned public key.
pub(crate) fn read_key(path: &Path) -> Result<VerifyingKey, Failure> {
    let text = String::from_utf8(read(path)?).map_err(|_| unusable("use", path, &"it is not text"))?;
    VerifyingKey::from_spki_pem(&text).map_err(|e| unusable("use", path, &e))
}

/// Reads the bundle in a folder, with the environment variables it names.
pub(crate) fn read_bundle(dir: &Path) -> Result<Bundle, Failure> {
    let root = dir.canonicalize().map_err(|e| unusable("open the bundle", dir, &e))?;
    if !root.is_dir() {
        return Err(unusable("open the bundle", dir, &"it is not a folder"));
    }
    let mut reading = Reading { root: &root, files: BTreeMap::new() };
    reading.folder("", 0)?;
    let named = Bundle::new(reading.files.clone(), BTreeMap::new()).env_names();
    let env = named.into_iter().filter_map(|name| variable(&name).map(|value| (name, value))).collect();
    Ok(Bundle::new(reading.files, env))
}

struct Reading<'a> {
    root: &'a Path,
    files: BTreeMap<String, String>,
}

impl Reading<'_> {
    /// Reads what belongs to a bundle below the folder at `path`, which is relative and uses `/`.
    fn folder(&mut self, path: &str, depth: usize) -> Result<(), Failure> {
        let here = self.root.join(path);
        let failed = |e: io::Error| unusable("read", &here, &e);
        for entry in fs::read_dir(&here).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            // A folder is looked into when a file in it could belong.
            if is_bundle_file(&path) || is_bundle_file(&format!("{path}/x.yaml")) {
                self.entry(&path, depth)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &str, depth: usize) -> Result<(), Failure> {
        let whole = self.root.join(path);
        let target = whole.canonicalize().map_err(|e| unusable("read", &whole, &e))?;
        if !target.starts_with(self.root) {
            return Err(unusable(
                "read",
                &whole,
                &"it leads out of the bundle's folder; copy the file instead",
            ));
        }
        if target.is_dir() {
            if depth >= MAX_DEPTH {
                return Err(unusable("read", &whole, &"its folders nest too deep"));
            }
            return self.folder(path, depth.saturating_add(1));
        }
        if !is_bundle_file(path) {
            return Ok(());
        }
        if !target.is_file() || self.files.len() >= MAX_FILES {
            let problem = if target.is_file() { "there are too many files" } else { "it is not a file" };
            return Err(unusable("read", &whole, &problem));
        }
        let bytes = open(&target)
            .and_then(|file| bounded(file, MAX_FILE))
            .map_err(|e| unusable("read", &whole, &e))?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Failure::new(Exit::PolicyInvalid, format!("`{path}` is not UTF-8 text; save it as UTF-8"))
        })?;
        self.files.insert(path.to_owned(), text);
        Ok(())
    }
}

/// An environment variable: one that a bundle names, or one of the judge's.
#[expect(clippy::disallowed_methods, reason = "the one place that reads variables, each by name")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where data lies when nobody says: `$XDG_STATE_HOME/callgate`, else `~/.local/state/callgate`.
pub(crate) fn default_data() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("callgate"))
}

/// Where enforcement points keep leases and journals when nobody says: beside [`default_data`].
pub(crate) fn default_points() -> Option<PathBuf> {
    default_data().map(|data| data.with_file_name("callgate-points"))
}

/// Makes a folder and those above it, for their owner only.
pub(crate) fn make_dir(path: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| unusable("make", path, &e))
}

/// Writes a file, readable by its owner only; refuses one that is there.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    write(&options, path, bytes)
}

/// Writes a file, replacing one that is there.
pub(crate) fn overwrite(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    write(&options, path, bytes)
}

#[expect(clippy::disallowed_methods, reason = "this file owns the binary's file access")]
fn write(options: &OpenOptions, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    options.open(path).and_then(|mut file| file.write_all(bytes)).map_err(|e| unusable("write", path, &e))
}

/// Makes room for a socket that only its owner may open. The caller holds the data folder's lock, so one that lies
/// there belongs to nobody.
pub(crate) fn clear_socket(path: &Path) -> Result<(), Failure> {
    match remove(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(unusable("replace", path, &e)),
        _ => Ok(()),
    }
}

#[expect(clippy::disallowed_methods, reason = "this file owns the binary's file access")]
fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// Lets only the owner open the socket at `path`.
pub(crate) fn close_to_others(path: &Path) -> Result<(), Failure> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|e| unusable("protect", path, &e))
}

/// Whether nobody but this user can put files into a folder, or take some away.
pub(crate) fn is_ours(folder: &Path) -> Result<(), String> {
    let found = fs::metadata(folder).map_err(|e| format!("`{}`: {e}", folder.display()))?;
    let shown = folder.display();
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(format!("`{shown}` belongs to another user; give a folder of your own"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(format!("others can write to `{shown}`; say `chmod go-w {shown}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            make_dir(path.parent().unwrap()).unwrap();
            write_new(&path, b"version: v1\n").unwrap();
        }
        dir
    }

    #[test]
    fn a_bundle_is_what_belongs_to_one() {
        let dir = folder(&[
            "callgate.yaml",
            "rules/a.yaml",
            "rules/x.json",
            "node_modules/rules/b.yaml",
            ".git/rules/c",
        ]);
        let bundle = read_bundle(dir.path()).unwrap();
        let files: Vec<&str> = bundle.files().keys().map(String::as_str).collect();
        assert_eq!(files, ["callgate.yaml", "rules/a.yaml", "rules/x.json"]);
    }

    #[test]
    fn links_stay_inside() {
        let (dir, outside) = (folder(&["rules/a.yaml"]), folder(&["secret.yaml"]));
        let link = |to: &Path| std::os::unix::fs::symlink(to, dir.path().join("rules/b.yaml")).unwrap();
        link(&dir.path().join("rules/a.yaml"));
        assert_eq!(read_bundle(dir.path()).unwrap().files().len(), 2);
        remove(&dir.path().join("rules/b.yaml")).unwrap();
        link(&outside.path().join("secret.yaml"));
        let refused = read_bundle(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("leads out of the bundle's folder"), "{refused}");
    }

    #[test]
    fn reading_is_bounded() {
        let dir = folder(&[]);
        let path = dir.path().join("long");
        write_new(&path, &vec![b'x'; 2 << 20]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("longer than"));
        assert!(write_new(&path, b"").is_err(), "a file that is there stays");
        assert!(read_bundle(&path).is_err() && read_bundle(&dir.path().join("none")).is_err());
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, ours) in [(0o700, true), (0o755, true), (0o775, false), (0o757, false), (0o1777, false)] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_ours(dir.path()).is_ok(), ours, "{mode:o}");
        }
        assert!(is_ours(&dir.path().join("none")).is_err());
    }
}
