//! The enforcement points of this build, each in front of the same protected thing.

mod embedded;
mod http;
mod leaseholder;
mod lines;
mod remote;

use std::fmt;

pub(crate) use embedded::Embedded;
pub(crate) use http::{HttpPoint, Manner};
pub(crate) use leaseholder::{Leaseholder, Slip};
pub(crate) use lines::LinePoint;
pub(crate) use remote::{Errand, Wrapper, limited};

use crate::call::Call;

/// Where what may run is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// A program that embeds the gate and acts with a `Permit`.
    Embedded,
    /// A program that asks over HTTP, checks the receipt offline, then acts.
    Http,
    /// `callgate mcp` with a gate of its own, in front of an MCP server.
    Mcp,
    /// `callgate mcp --gate`: the same in front of the same, with a gate that is another program.
    Remote,
    /// The same for an agent of a low tier, which may go on for a while without its gate.
    Leased,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Embedded, Self::Http, Self::Mcp, Self::Remote, Self::Leased];

    /// Whether it is `callgate mcp --gate`.
    pub(crate) const fn is_wrapper(self) -> bool {
        matches!(self, Self::Remote | Self::Leased)
    }

    /// Its name in the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Http => "http",
            Self::Mcp => "mcp",
            Self::Remote => "remote",
            Self::Leased => "leased",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a point said to whoever called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It ran, and somebody decided it.
    Ran,
    /// It ran, and nobody decided it.
    RanUnchecked,
    /// It did not run, and this is why.
    Refused(String),
    /// No answer, or one that does not know; what became of it is in the ledger.
    Silent(String),
}

/// A point that can be called.
#[derive(Debug)]
pub(crate) enum Client {
    /// Nobody listens.
    None,
    Embedded(Embedded),
    Http(Box<HttpPoint>),
    Lines(LinePoint),
    Remote(Box<Wrapper>),
}

impl Client {
    /// The two streams of a point that speaks MCP.
    pub(crate) fn lines(&self) -> Option<&LinePoint> {
        match self {
            Self::Lines(point) => Some(point),
            Self::Remote(wrapper) => Some(&wrapper.point),
            Self::None | Self::Embedded(_) | Self::Http(_) => None,
        }
    }

    pub(crate) async fn call(&self, call: &Call) -> Answer {
        match self {
            Self::None => Answer::Silent("no gate".to_owned()),
            Self::Embedded(point) => point.call(call).await,
            Self::Http(point) => point.call(call).await,
            Self::Lines(point) => point.call(call).await,
            Self::Remote(wrapper) => wrapper.point.call(call).await,
        }
    }
}
