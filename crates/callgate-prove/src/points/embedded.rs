//! The gate inside the program that acts: decide, redeem the permit against the very request, act.

use std::sync::Arc;
use std::time::Duration;

use callgate_gate::{Asked, Credential, Gate, OutcomeReport, OutcomeStatus};

use super::Answer;
use crate::call::Call;
use crate::ledger::Ledger;

/// A program with a gate inside.
#[derive(Debug)]
pub(crate) struct Embedded {
    gate: Arc<Gate>,
    ledger: Ledger,
    patience: Duration,
}

impl Embedded {
    pub(crate) const fn new(gate: Arc<Gate>, ledger: Ledger, patience: Duration) -> Self {
        Self { gate, ledger, patience }
    }

    pub(crate) async fn call(&self, call: &Call) -> Answer {
        self.call_as(call, call).await
    }

    /// Asks for one call and tries to run another one with its permit.
    pub(crate) async fn call_as(&self, asked: &Call, run: &Call) -> Answer {
        let now_ms = self.gate.now_ms();
        let (Ok(request), Ok(running)) = (asked.request(now_ms), run.request(now_ms)) else {
            return Answer::Refused("INVALID_REQUEST".to_owned());
        };
        let deciding = self.gate.decide(Asked::Request(Box::new(request)), Credential::Local);
        let decided = match tokio::time::timeout(self.patience, deciding).await {
            Err(_) => return Answer::Silent("no answer".to_owned()),
            Ok(Err(_)) => return Answer::Refused("GATE_UNAVAILABLE".to_owned()),
            Ok(Ok(decided)) => decided,
        };
        let Some(permit) = decided.permit else {
            let code = decided.reply.code.map_or_else(|| "DENY".to_owned(), |code| code.to_string());
            return Answer::Refused(code);
        };
        match permit.redeem(&running, self.gate.now_ms()) {
            Err(refused) => Answer::Refused(format!("permit: {refused}")),
            Ok(enforcement) => match self.ledger.act(&run.tool, &run.args) {
                Err(trouble) => Answer::Silent(trouble.to_string()),
                Ok(()) => {
                    let report = OutcomeReport::new(enforcement.ground().number(), OutcomeStatus::Succeeded);
                    // What cannot be recorded leaves the action open in the log; it ran all the same.
                    let reporting = self.gate.report(report, &Credential::Local);
                    let _open = tokio::time::timeout(self.patience, reporting).await;
                    Answer::Ran
                }
            },
        }
    }
}
