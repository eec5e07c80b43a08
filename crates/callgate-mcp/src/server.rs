//! What the server says: answers go to whoever asked, everything else that is a message passes.

use callgate_core::digest::Digest;
use callgate_gate::{OutcomeReport, OutcomeStatus};
use tokio::time::Instant;

use crate::answer::{self, Answer};
use crate::line::{Line, one_line};
use crate::message::{Id, Members, Message};
use crate::pending::{Entry, Running, State};
use crate::relay::Relay;
use crate::result::{Told, with_ground};
use crate::upstream::PassThrough;

impl Relay {
    pub(crate) fn server_says(&mut self, line: Line) {
        match line {
            Line::Text(text) => self.read_server(&text),
            Line::TooLong => {
                let limit = self.options.bounds.message_bytes;
                self.notes
                    .note(&format!("the server sent a line of more than {limit} bytes; it was dropped"));
                // Nobody can tell whose answer that was.
                self.give_up_all(&format!(
                    "the server sent more than {limit} bytes at once, which is not passed on; nobody knows whether it ran."
                ));
            }
            Line::NotText => self.notes.note("the server sent a line that is not UTF-8; it was dropped"),
        }
    }

    fn read_server(&mut self, line: &str) {
        match Message::read(line) {
            Err(problem) => {
                self.notes.note(&format!("the server sent what is no message, dropped: {problem}"));
            }
            Ok(Message::Response { id: Some(id), members }) => self.response(line, &id, &members),
            Ok(Message::Response { id: None, .. }) => {
                self.notes.note("the server answered without an id; dropped");
            }
            // Its own requests and notifications are between it and the client.
            Ok(Message::Request { .. } | Message::Notification { .. }) => {
                self.client.put(one_line(line).into_owned());
            }
        }
    }

    fn response(&mut self, line: &str, id: &Id, members: &Members<'_>) {
        let Some(Entry { id, state }) = self.pending.answered(id) else {
            return self
                .notes
                .note(&format!("the server answered id {}, which nobody waits for; dropped", id.raw()));
        };
        match state {
            State::Running(running) => self.finished(&id, &running, members),
            State::Listed { modern } => self.list(line, &id, modern, members),
            State::Passed { .. } | State::Deciding { .. } => self.client.put(one_line(line).into_owned()),
        }
    }

    /// A decided call was answered.
    fn finished(&mut self, id: &Id, running: &Running, members: &Members<'_>) {
        let Some(result) = members.get("result") else {
            let Told { status, detail } = Told::ERROR;
            self.conclude(running, status, detail, None);
            let error = members.get("error").map_or("null", |error| error.get());
            let line = format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, id.raw());
            return self.client.put(one_line(&line).into_owned());
        };
        let digest = Digest::of(result.get().as_bytes());
        let Some(read) = Members::read(result.get()) else {
            let Told { status, detail } = Told::UNREADABLE;
            self.conclude(running, status, detail, Some(digest));
            return self.stop_answer(
                id,
                running,
                "the server's result could not be read, so it was not passed on.",
                "unknown",
            );
        };
        let Told { status, detail } = Told::of(&read);
        let size = u64::try_from(result.get().len()).unwrap_or(u64::MAX);
        match running.max_bytes.filter(|most| size > *most) {
            Some(most) => {
                self.conclude(
                    running,
                    status,
                    Some("its result was larger than permitted and was withheld"),
                    Some(digest),
                );
                let what = format!(
                    "it ran, but its result has {size} bytes and {most} are permitted. Ask for less."
                );
                self.stop_answer(id, running, &what, "withheld");
            }
            None => {
                self.conclude(running, status, detail, Some(digest));
                self.client.put(answer::result_line(id.raw(), &with_ground(&read, running.ground)));
            }
        }
    }

    pub(crate) fn stop_answer(&self, id: &Id, running: &Running, what: &str, status: &str) {
        let answer = Answer::enforced(&running.name, what, running.ground, status);
        self.client.put(answer.line(id.raw(), running.kind, running.modern));
    }

    /// Counts and records how a call ended.
    pub(crate) fn conclude(
        &mut self,
        running: &Running,
        status: OutcomeStatus,
        detail: Option<&str>,
        result: Option<Digest>,
    ) {
        match status {
            OutcomeStatus::Failed | OutcomeStatus::TimedOut => self.ledger.failed(running.action),
            OutcomeStatus::Succeeded => self.ledger.succeeded(running.action),
            OutcomeStatus::Unknown | OutcomeStatus::Cancelled | OutcomeStatus::NotRun => {}
        }
        let mut report = OutcomeReport::new(running.ground.number(), status);
        report.started_at_ms = Some(running.started_ms);
        report.finished_at_ms = Some(self.gate.now_ms().max(running.started_ms));
        report.detail = detail.map(str::to_owned);
        report.result_sha256 = result.map(|digest| digest.hex());
        self.report(running.ground, report);
    }

    /// Calls off what ran for longer than it may.
    pub(crate) fn out_of_time(&mut self) {
        for id in self.pending.expired(Instant::now()) {
            let Some(Entry { state: State::Running(running), .. }) = self.pending.retire(&id) else {
                continue;
            };
            if let Some(upstream) = &self.upstream {
                upstream.pass(PassThrough::cancel(&id, "out of time"));
            }
            let by = if running.limited { "the policy permits" } else { "the gate waits for by default" };
            let what = format!(
                "it was called off after {} ms, which is what {by}. It may have had some effect: look before you try again.",
                running.span_ms
            );
            self.conclude(
                &running,
                OutcomeStatus::TimedOut,
                Some("called off by the enforcement point"),
                None,
            );
            self.stop_answer(&id, &running, &what, "timed_out");
        }
    }

    /// Answers everything that waits for the server, because no answer can come any more.
    pub(crate) fn give_up_all(&mut self, why: &str) {
        for id in self.pending.at_server() {
            match self.pending.retire(&id).map(|entry| entry.state) {
                Some(State::Running(running)) => {
                    self.ledger.failed(running.action);
                    self.conclude(
                        &running,
                        OutcomeStatus::Unknown,
                        Some("no answer can come any more"),
                        None,
                    );
                    self.stop_answer(&id, &running, why, "unknown");
                }
                Some(_) => self.refuse(Some(&id), answer::INTERNAL_ERROR, &format!("no answer: {why}")),
                None => {}
            }
        }
    }
}
