//! The ledger of effects: what the protected thing did, written by itself and by nobody else.
//!
//! It knows nothing of the gate. An effect has happened when its line is durable.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callgate_gate::clock::Clock as _;
use callgate_gate::clock::SystemClock;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::{self, Lines, Mark};
use crate::trouble::Trouble;

/// How long a program that was left behind may take to end.
const LEFT_BEHIND: Duration = Duration::from_secs(20);

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Effect {
    /// When, by the machine's clock, milliseconds since 1970 UTC.
    pub(crate) at_ms: i64,
    /// The tool that was called.
    pub(crate) tool: String,
    /// Exactly what it was called with.
    pub(crate) args: Value,
}

impl Effect {
    /// The call it came of.
    pub(crate) fn n(&self) -> Option<u64> {
        self.args.get("n").and_then(Value::as_str).and_then(|n| n.parse().ok())
    }
}

/// The protected thing: whoever holds this can act.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    lines: Arc<Mutex<Lines>>,
    _mark: Arc<Mark>,
}

fn mark_of(path: &Path) -> PathBuf {
    path.with_extension("mark")
}

impl Ledger {
    pub(crate) fn open(path: &Path) -> Result<Self, Trouble> {
        let mark = files::mark(&mark_of(path))?;
        Ok(Self { lines: Arc::new(Mutex::new(Lines::open(path)?)), _mark: Arc::new(mark) })
    }

    /// Acts.
    pub(crate) fn act(&self, tool: &str, args: &Value) -> Result<(), Trouble> {
        let mut lines = self.lines.lock();
        let effect = Effect { at_ms: SystemClock.now_ms(), tool: tool.to_owned(), args: args.clone() };
        let line = serde_json::to_string(&effect).map_err(Trouble::at("an effect"))?;
        lines.add(&line).map_err(Trouble::at("the ledger"))
    }
}

/// What was done, once nobody is left who could act.
pub(crate) async fn read(path: &Path) -> Result<Vec<Effect>, Trouble> {
    let until = tokio::time::Instant::now().checked_add(LEFT_BEHIND);
    while files::is_marked(&mark_of(path)) {
        if until.is_none_or(|until| tokio::time::Instant::now() > until) {
            return Err(Trouble::new("a program that can act on the protected thing did not end"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let text = String::from_utf8_lossy(&files::read(path)?).into_owned();
    let effect = |line: &str| serde_json::from_str(line).map_err(Trouble::at("a line of the ledger"));
    text.lines().map(effect).collect()
}
