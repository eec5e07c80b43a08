//! The bundle `examples/quickstart`, part of the program so that the demonstration runs from anywhere.

use std::path::Path;

use crate::failure::Failure;
use crate::files;

macro_rules! quickstart {
    ($($path:literal),* $(,)?) => {
        /// The bundle's files, by path.
        pub(super) const FILES: &[(&str, &str)] =
            &[$(($path, include_str!(concat!("../../../../../examples/quickstart/", $path)))),*];
    };
}

quickstart!("callgate.yaml", "rules/files.yaml", "rules/never.yaml", "tests/files.yaml", "tools/files.json");

/// Writes the bundle into a folder.
pub(super) fn write(dir: &Path) -> Result<(), Failure> {
    for (path, text) in FILES {
        let path = dir.join(path);
        if let Some(folder) = path.parent() {
            files::make_dir(folder)?;
        }
        files::write_new(&path, text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_example_is_here() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/quickstart");
        let example = files::read_bundle(&dir).unwrap();
        let here: Vec<(&str, &str)> =
            example.files().iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        assert_eq!(here, FILES);
    }
}
