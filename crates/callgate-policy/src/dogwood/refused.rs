//! The temporal forms that a fold cannot answer at a cost independent of history.

use std::fmt;

/// Why a temporal condition is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// One variable in two clauses about the past.
    Join,
    /// A clause about the past that names no event.
    NoEvent,
    /// A nested clause that depends on what the event around it does not carry.
    NotCarried,
    /// A count over what is not a field of the counted event.
    Rows,
    /// Places in the log compared with each other.
    Place,
    /// A `since` whose left side is no test of single events.
    Left,
    /// A total where only a value may stand.
    Total,
    /// An array with something else than literals.
    Array,
    /// Arithmetic.
    Arithmetic,
    /// A window that is too long to be counted.
    Window,
    /// A part of a macro that was not expanded.
    Macro,
    /// A condition that nests too deep.
    Depth,
}

impl Refused {
    /// What to write instead.
    pub(crate) const fn help(self) -> &'static str {
        match self {
            Self::Join => {
                "correlate both clauses with the request instead, such as `input.user: context.input.user`"
            }
            Self::NoEvent => "name an event inside it, such as `Action::\"mail.send\"::request{}`",
            Self::NotCarried => "correlate the event around the nested clause with the same value",
            Self::Rows => "count the event itself: `count_within(24h, Action::\"…\"::request{})`",
            Self::Place => {
                "to say that one event came before another, nest the clauses: `formerly within 1h (B && formerly within 1h A)`"
            }
            Self::Left => "write `!A since within … B`, where `A` names one event",
            Self::Total => "compare the count or sum with a number, directly or by `bind`",
            Self::Array => "compare with one literal after the other",
            Self::Arithmetic => "write two conditions, or a rule with a CEL condition",
            Self::Window => "write a window of at most 366 days",
            Self::Macro => "expand the macro in the policy itself",
            Self::Depth => "write several policies",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join => {
                "one variable ties two clauses about the past together, which would need every pair of events"
            }
            Self::NoEvent => "a clause about the past names no event, which would need every event",
            Self::NotCarried => "a nested clause depends on a value that the event around it does not carry",
            Self::Rows => "a count or sum ranges over something that is no field of one event",
            Self::Place => "places in the log are compared with each other",
            Self::Left => "the left side of `since` is no test of single events",
            Self::Total => "a count or sum stands where only a value may",
            Self::Array => "an array has something else than literals in it",
            Self::Arithmetic => "arithmetic is not supported in temporal conditions",
            Self::Window => "the window is too long",
            Self::Macro => "a macro was not expanded",
            Self::Depth => "the temporal condition nests too deep",
        })
    }
}
