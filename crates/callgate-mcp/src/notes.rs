//! Notes for people, bounded: a hostile server must not fill the operator's terminal or disk.

use crate::options::Notes;

/// After this many notes, no more are written.
const MAX_NOTES: u32 = 200;
/// The longest note, in characters.
const MAX_NOTE: usize = 500;

/// Counts and cuts notes.
pub(crate) struct Notebook {
    write: Notes,
    left: u32,
}

impl Notebook {
    pub(crate) const fn new(write: Notes) -> Self {
        Self { write, left: MAX_NOTES }
    }

    /// Writes one note; control characters are escaped.
    pub(crate) fn note(&mut self, text: &str) {
        match self.left {
            0 => return,
            1 => (self.write)("more happened than is noted here; further notes are left out"),
            _ => {
                let text: String = text.chars().take(MAX_NOTE).flat_map(visible).collect();
                (self.write)(&text);
            }
        }
        self.left = self.left.saturating_sub(1);
    }
}

fn visible(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = (!c.is_control()).then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn notes_are_few_short_and_harmless() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&seen);
        let mut notebook = Notebook::new(Arc::new(move |text: &str| into.lock().push(text.to_owned())));
        for _ in 0..1000 {
            notebook.note(&format!("\u{1b}[2J{}", "x".repeat(10_000)));
        }
        let seen = seen.lock();
        assert_eq!(seen.len(), 200);
        assert!(seen.iter().all(|note| !note.contains('\u{1b}') && note.len() < 600));
    }
}
