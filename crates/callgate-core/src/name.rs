//! Names of agents, tools, topics, tags and labels, and the folded form that restrictive rules match.
//!
//! A name is compared two ways. Permissive rules compare it exactly; restrictive rules compare its
//! *fold*, so that `DROP`, `ｄｒｏｐ` and a Cyrillic `о` neither slip past a deny nor widen an allow.

use std::fmt;
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization as _;
use unicode_security::confusable_detection::skeleton;

/// The longest name, in bytes.
pub const MAX_NAME: usize = 256;

/// A checked name: not empty, at most [`MAX_NAME`] bytes, no control or invisible characters, no
/// outer spaces. Cheap to clone.
#[derive(Clone)]
pub struct Name {
    exact: Arc<str>,
    /// `None` when the fold equals the exact form.
    folded: Option<Arc<str>>,
}

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The empty text.
    #[error("a name cannot be empty")]
    Empty,
    /// Longer than [`MAX_NAME`].
    #[error("a name is at most {MAX_NAME} bytes")]
    TooLong,
    /// A control, zero-width, directional or other invisible character.
    #[error("`{0}` has the invisible character U+{1:04X}; write it without")]
    Invisible(String, u32),
    /// Space at either end.
    #[error("`{0}` begins or ends with a space; write it without")]
    OuterSpace(String),
}

impl Name {
    /// Checks and folds `text`.
    ///
    /// # Errors
    /// [`NameError`], naming the offending character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        Self::check(text)?;
        let folds = !text.bytes().all(folds_to_itself);
        let folded = folds.then(|| fold(text)).filter(|folded| folded != text).map(Arc::from);
        Ok(Self { exact: Arc::from(text), folded })
    }

    /// Whether `text` can be a name.
    ///
    /// # Errors
    /// [`NameError`], naming the offending character.
    pub fn check(text: &str) -> Result<(), NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        // The only invisible ASCII characters are controls.
        let plain = text.is_ascii() && !text.bytes().any(|b| b.is_ascii_control());
        if !plain && let Some(c) = text.chars().find(|c| is_invisible(*c)) {
            return Err(NameError::Invisible(text.escape_debug().to_string(), u32::from(c)));
        }
        if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
            return Err(NameError::OuterSpace(text.to_owned()));
        }
        Ok(())
    }

    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.exact
    }

    /// The form restrictive rules compare; see [`fold`].
    #[must_use]
    pub fn folded(&self) -> &str {
        self.folded.as_deref().unwrap_or(&self.exact)
    }
}

/// Characters that do not show or that reorder what is shown (Unicode general categories Cc and Cf,
/// the default-ignorable code points of UAX #44, and blank-looking letters).
#[must_use]
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0xAD | 0x34F | 0x61C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180F
            | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0x2800 | 0x3164
            | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB | 0x1BCA0..=0x1BCA3
            | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
}

/// The form in which look-alikes are equal: NFKC, lower case, the skeleton of UTS #39, and one
/// letter for each of `i l 1 |` and `o 0`, which the skeleton tells apart after lowering.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return fold_ascii(text);
    }
    let lowered: String = text.nfkc().flat_map(char::to_lowercase).filter(|c| !is_invisible(*c)).collect();
    let bare: String = skeleton(&lowered).collect();
    let stripped: String = bare.nfkd().filter(|c| !is_mark(*c)).flat_map(char::to_lowercase).collect();
    fold_ascii(&stripped)
}

/// Combining marks of the common blocks: an accent must not hide a letter.
fn is_mark(c: char) -> bool {
    matches!(u32::from(c), 0x300..=0x36F | 0x483..=0x489 | 0x1AB0..=0x1AFF | 0x1DC0..=0x1DFF | 0x20D0..=0x20FF | 0xFE20..=0xFE2F)
}

/// Whether [`fold_ascii`] leaves a byte as it is.
const fn folds_to_itself(byte: u8) -> bool {
    byte.is_ascii() && !byte.is_ascii_uppercase() && !matches!(byte, b'i' | b'1' | b'|' | b'0' | b'm')
}

/// The same classes for ASCII, where the skeleton of `m` is `rn`.
fn fold_ascii(text: &str) -> String {
    // Every `m` needs one byte more.
    let mut out = String::with_capacity(text.len().saturating_mul(2));
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            'i' | '1' | '|' => out.push('l'),
            '0' => out.push('o'),
            'm' => out.push_str("rn"),
            lower => out.push(lower),
        }
    }
    out
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.exact == other.exact
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.exact.cmp(&other.exact)
    }
}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.exact.hash(state);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.exact)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folds_to_the_same(a: &str, b: &str) {
        assert_eq!(fold(a), fold(b), "{a} {b}");
    }

    #[test]
    fn look_alikes_fold_together() {
        for disguise in ["DROP", "ｄｒｏｐ", "dr\u{43e}p", "Ｄrоp", "dr0p", "drόp", "𝐝𝐫𝐨𝐩", "dröp"]
        {
            folds_to_the_same(disguise, "drop");
        }
        folds_to_the_same("deIete", "delete");
        folds_to_the_same("de1ete", "DELETE");
        folds_to_the_same("rnodel", "model");
        assert_ne!(fold("read"), fold("write"));
    }

    #[test]
    fn names_that_hide_something_are_refused() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        for text in ["a\u{200b}b", "a\u{202e}b", "a\nb", "a\u{0}", "\u{feff}a", "a\u{ad}b", "a\u{e0041}"] {
            assert!(matches!(Name::new(text), Err(NameError::Invisible(..))), "{text:?}");
        }
        assert!(matches!(Name::new(" a"), Err(NameError::OuterSpace(_))));
        assert!(matches!(Name::new("a\u{3000}"), Err(NameError::OuterSpace(_))));
        assert_eq!(Name::new(&"a".repeat(257)), Err(NameError::TooLong));
    }

    proptest! {
        #[test]
        fn folding_is_idempotent_on_ascii_and_total(text in any::<String>(), ascii in "[ -~]{0,20}") {
            let _total = fold(&text);
            let once = fold(&ascii);
            // `m` folds to `rn`, which stays.
            prop_assert_eq!(fold(&once), once.clone());
            prop_assert_eq!(fold(&ascii.to_ascii_uppercase()), once);
            if let Ok(name) = Name::new(&ascii) {
                prop_assert_eq!(name.folded(), fold(&ascii));
            }
        }
    }
}
