//! Values that events carry and policies compare, with one spelling each.

use dogwood_language::temporal_ast::Term;
use serde::Serialize;

/// Cedar's decimals have four digits behind the point.
const SCALE: i64 = 10_000;
const DIGITS: usize = 4;

/// A value of an event or a literal of a policy. Equal values are equal atoms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Atom {
    /// A `Bool`.
    Bool(bool),
    /// A `Long`.
    Int(i64),
    /// A `decimal`, in ten-thousandths.
    Decimal(i64),
    /// A `String`.
    Text(String),
    /// An entity: its type and id.
    Entity(String, String),
    /// A list, in order.
    List(Vec<Self>),
    /// A text that is no `decimal` where one was written: equal to nothing but itself.
    Odd(String),
}

impl Atom {
    /// A decimal as Cedar writes it; another text is [`Self::Odd`].
    pub(crate) fn decimal(text: &str) -> Self {
        ten_thousandths(text).map_or_else(|| Self::Odd(text.to_owned()), Self::Decimal)
    }

    /// The atom of a literal; `None` for any other term.
    pub(crate) fn literal(term: &Term) -> Option<Self> {
        match term {
            Term::Entity { ty, id } => Some(Self::Entity(ty.clone(), id.clone())),
            Term::Integer(number) => Some(Self::Int(*number)),
            Term::Decimal(text) => Some(Self::decimal(text)),
            Term::String(text) => Some(Self::Text(text.clone())),
            Term::Bool(flag) => Some(Self::Bool(*flag)),
            Term::Array(items) => items.iter().map(Self::literal).collect::<Option<_>>().map(Self::List),
            _ => None,
        }
    }

    /// The number of a `Long`.
    pub(crate) const fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// Appends bytes that no other atom has, nor any two atoms together.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut framed = |tag: u8, bytes: &[u8]| {
            out.push(tag);
            out.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            out.extend_from_slice(bytes);
        };
        match self {
            Self::Bool(flag) => framed(b'b', &[u8::from(*flag)]),
            Self::Int(number) => framed(b'i', &number.to_be_bytes()),
            Self::Decimal(number) => framed(b'd', &number.to_be_bytes()),
            Self::Text(text) => framed(b's', text.as_bytes()),
            Self::Odd(text) => framed(b'x', text.as_bytes()),
            Self::Entity(ty, id) => {
                framed(b'e', ty.as_bytes());
                framed(b'e', id.as_bytes());
            }
            Self::List(items) => {
                framed(b'l', &u64::try_from(items.len()).unwrap_or(u64::MAX).to_be_bytes());
                for item in items {
                    item.write(out);
                }
            }
        }
    }
}

/// Reads `-12.5` exactly: digits on both sides of the point, at most four behind it.
fn ten_thousandths(text: &str) -> Option<i64> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = text.split_once('.')?;
    let (negative, whole) = whole.strip_prefix('-').map_or((false, whole), |whole| (true, whole));
    if !digits(whole) || !digits(fraction) || fraction.len() > DIGITS {
        return None;
    }
    let whole = whole.parse::<i128>().ok()?.checked_mul(i128::from(SCALE))?;
    let padded = format!("{fraction:0<DIGITS$}");
    let magnitude = whole.checked_add(padded.parse::<i128>().ok()?)?;
    i64::try_from(if negative { magnitude.checked_neg()? } else { magnitude }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_as_cedar_reads_them() {
        for (text, number) in [("1.5", 15_000), ("-0.0", 0), ("002.50", 25_000), ("-0.0001", -1)] {
            assert_eq!(Atom::decimal(text), Atom::Decimal(number), "{text}");
        }
        assert_eq!(Atom::decimal("922337203685477.5807"), Atom::Decimal(i64::MAX));
        assert_eq!(Atom::decimal("-922337203685477.5808"), Atom::Decimal(i64::MIN));
        for text in ["1", "1.", ".5", "1.00000", "+1.0", "1e3", "922337203685477.5808", "1.-5"] {
            assert_eq!(Atom::decimal(text), Atom::Odd(text.to_owned()), "{text}");
        }
    }

    #[test]
    fn no_two_lists_of_atoms_share_their_bytes() {
        let text = |text: &str| Atom::Text(text.to_owned());
        let bytes = |atoms: &[Atom]| {
            let mut out = Vec::new();
            atoms.iter().for_each(|atom| atom.write(&mut out));
            out
        };
        let cases = [
            vec![text("ab"), text("")],
            vec![text("a"), text("b")],
            vec![text("ab")],
            vec![Atom::List(vec![text("a"), text("b")])],
            vec![Atom::List(vec![text("a")]), text("b")],
            vec![Atom::Int(1)],
            vec![Atom::Decimal(1)],
            vec![Atom::Entity("a".into(), "b".into())],
            vec![Atom::Bool(true)],
        ];
        for (at, case) in cases.iter().enumerate() {
            for other in cases.iter().skip(at + 1) {
                assert_ne!(bytes(case), bytes(other), "{case:?} {other:?}");
            }
        }
    }
}
