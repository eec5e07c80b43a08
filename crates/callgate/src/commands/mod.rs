//! One module per command.

pub(crate) mod approvals;
pub(crate) mod breakers;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod decide;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod mcp;
pub(crate) mod prove;
pub(crate) mod release;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod stops;
pub(crate) mod test;
