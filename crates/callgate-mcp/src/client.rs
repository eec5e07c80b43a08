//! What the client says: decided, passed or refused.

use callgate_core::decision::Decision;
use callgate_gate::{Decided as Judgement, Ground, OutcomeReport, OutcomeStatus, Permit, Unavailable};
use serde_json::value::RawValue;

use crate::answer::{self, Answer};
use crate::call::{self, Call, CallError, Stamp};
use crate::line::Line;
use crate::message::{Id, Members, Message};
use crate::method::{self, Decided, Fate};
use crate::pending::{Entry, Running, State};
use crate::relay::{Judged, Relay};
use crate::upstream::PassThrough;

impl Relay {
    pub(crate) fn client_says(&mut self, line: Line) {
        match line {
            Line::Text(text) => self.read_client(&text),
            Line::TooLong => {
                let limit = self.options.bounds.message_bytes;
                self.refuse(None, answer::PARSE_ERROR, &format!("the message is longer than {limit} bytes"));
            }
            Line::NotText => self.refuse(None, answer::PARSE_ERROR, "the message is not UTF-8"),
        }
    }

    fn read_client(&mut self, line: &str) {
        let message = match Message::read(line) {
            Ok(message) => message,
            Err(problem) => {
                self.notes.note(&format!("the client sent what is no message: {problem}"));
                return self.refuse(None, answer::INVALID_REQUEST, &problem.to_string());
            }
        };
        match &message {
            Message::Request { id, method, params } => self.request(line, &message, id, method, *params),
            Message::Notification { method, params } if method == "notifications/cancelled" => {
                self.cancelled(line, &message, *params);
            }
            Message::Notification { method, .. } => {
                if PassThrough::of(line, &message).is_none() {
                    self.notes.note(&format!("`{method}` without an id is not passed on"));
                }
                self.pass(line, &message);
            }
            Message::Response { .. } => self.pass(line, &message),
        }
    }

    fn pass(&self, line: &str, message: &Message<'_>) {
        if let (Some(upstream), Some(passed)) = (&self.upstream, PassThrough::of(line, message)) {
            upstream.pass(passed);
        }
    }

    /// Says no to a request as such. Nothing was decided, so there is no receipt.
    pub(crate) fn refuse(&self, id: Option<&Id>, code: i64, message: &str) {
        self.client.put(answer::error(id.map_or("null", Id::raw), code, message));
    }

    fn request(
        &mut self,
        line: &str,
        message: &Message<'_>,
        id: &Id,
        method: &str,
        params: Option<&RawValue>,
    ) {
        if !self.pending.is_free(id) {
            // Answering under that id would answer the other request.
            let text = format!("the id {} is in use; every request needs its own", id.raw());
            self.notes.note(&text);
            return self.refuse(None, answer::INVALID_REQUEST, &text);
        }
        if self.pending.len() >= self.options.bounds.in_flight {
            return self.refuse(
                Some(id),
                answer::INTERNAL_ERROR,
                "too many requests are under way; wait for answers",
            );
        }
        match method::fate(method) {
            Fate::Decide(kind) => self.call(id, kind, params),
            Fate::List => {
                self.pending.insert(id.clone(), State::Listed { modern: call::is_modern(params) });
                self.pass(line, message);
            }
            Fate::Pass => {
                let ends = method != "subscriptions/listen";
                self.pending.insert(id.clone(), State::Passed { ends });
                self.pass(line, message);
            }
            Fate::Refuse => {
                let text = format!("`{method}` is not a method that this gate lets through");
                self.notes.note(&text);
                self.refuse(Some(id), answer::METHOD_NOT_FOUND, &text);
            }
        }
    }

    fn call(&mut self, id: &Id, kind: Decided, params: Option<&RawValue>) {
        match self.read_call(id, kind, params) {
            Ok(call) => {
                self.pending.insert(id.clone(), State::Deciding { cancelled: false });
                self.waiting.push_back(Box::new(call));
            }
            Err(problem) => {
                self.count_refused();
                let answer = Answer::malformed(&problem);
                self.client.put(answer.line(id.raw(), kind, call::is_modern(params)));
            }
        }
    }

    fn read_call(&self, id: &Id, kind: Decided, params: Option<&RawValue>) -> Result<Call, CallError> {
        let nonce = self.gate.nonce().map_err(|_| CallError::Random)?;
        let stamp = Stamp { nonce, now_ms: self.gate.now_ms() };
        Call::read(id.clone(), kind, params, &self.options, self.gate.limits(), stamp)
    }

    /// A decision came back: run the call, or say why not.
    pub(crate) fn decided(&mut self, judged: Result<Judged, tokio::task::JoinError>) {
        let Ok((call, decided)) = judged else {
            // The decision died with its task; without one nothing runs, and without its call
            // nobody can be answered but by the client's own patience.
            self.notes.note("a decision was lost; its call did not run");
            return;
        };
        let called_off = |entry: &mut Entry| matches!(entry.state, State::Deciding { cancelled: true });
        let cancelled = self.pending.get_mut(&call.id).is_none_or(called_off);
        let (call, decided) = match decided {
            Ok(Judgement { permit: None, reply })
                if !cancelled && matches!(reply.decision, Decision::RequireApproval | Decision::Throttle) =>
            {
                let reply = Box::new(reply);
                let waits = match reply.decision {
                    Decision::Throttle => self.put_off(call, reply),
                    _ => self.hold(call, reply),
                };
                match waits {
                    None => return,
                    Some((call, reply)) => (call, Ok(Judgement { permit: None, reply: *reply })),
                }
            }
            other => (call, other),
        };
        self.pending.remove(&call.id);
        match decided {
            Ok(Judgement { permit: Some(permit), .. }) if cancelled => {
                self.not_run(permit.ground(), "called off before it ran");
            }
            _ if cancelled => {}
            Err(unavailable) => self.answer_unavailable(&call, &unavailable),
            Ok(Judgement { permit: None, reply }) => {
                self.answer(&call, &Answer::refused(call.request.action_name(), &reply));
            }
            Ok(Judgement { permit: Some(permit), .. }) => self.run(&call, permit),
        }
    }

    fn answer_unavailable(&mut self, call: &Call, unavailable: &Unavailable) {
        self.notes.note(&format!("the gate could not decide: {unavailable}"));
        self.answer(call, &Answer::unavailable(call.request.action_name(), unavailable));
    }

    /// Answers a call that did not run.
    pub(crate) fn answer(&mut self, call: &Call, answer: &Answer) {
        self.count_refused();
        self.client.put(answer.line(call.id.raw(), call.kind, call.modern));
    }

    const fn count_refused(&mut self) {
        self.ended.refused = self.ended.refused.saturating_add(1);
    }

    fn run(&mut self, call: &Call, permit: Permit) {
        let ground = permit.ground();
        let name = call.request.action_name();
        let now_ms = self.gate.now_ms();
        let Some(upstream) = &self.upstream else {
            self.not_run(ground, "the server had ended");
            let what = "it did not run: the server has ended. Tell the user.";
            return self.answer(call, &Answer::enforced(name, what, ground, "not_run"));
        };
        if let Some(trouble) = self.gate.halted(ground) {
            self.not_run(ground, "stopped before it ran");
            let what = format!("it did not run: {}. Tell the user.", trouble.reason);
            return self.answer(call, &Answer::enforced(name, &what, ground, "not_run"));
        }
        match upstream.call(permit, call, &self.ledger, now_ms) {
            Ok(enforcement) => {
                self.ended.forwarded = self.ended.forwarded.saturating_add(1);
                let running = Running::new(call, &enforcement, self.options.bounds.default_timeout, now_ms);
                self.pending.insert(call.id.clone(), State::Running(Box::new(running)));
            }
            Err(stopped) => {
                self.not_run(ground, "stopped by the enforcement point before it ran");
                self.answer(call, &Answer::enforced(name, &stopped.to_string(), ground, "not_run"));
            }
        }
    }

    fn not_run(&mut self, ground: Ground, detail: &str) {
        let mut report = OutcomeReport::new(ground.number(), OutcomeStatus::NotRun);
        report.attempts = Some(0);
        report.detail = Some(detail.to_owned());
        self.report(ground, report);
    }

    /// The client calls a request off. It gets no answer any more, as the protocol has it.
    fn cancelled(&mut self, line: &str, message: &Message<'_>, params: Option<&RawValue>) {
        let members = params.and_then(|raw| Members::read(raw.get()));
        let id = members.and_then(|members| members.get("requestId").and_then(Id::read));
        let Some(id) = id else {
            return self.notes.note("the client called off a request without saying which");
        };
        match self.pending.get_mut(&id).map(|entry| &mut entry.state) {
            None => {}
            Some(State::Deciding { cancelled }) => {
                *cancelled = true;
                self.forget_waiting(&id);
                self.forget_held(&id);
            }
            Some(_) => {
                self.pass(line, message);
                if let Some(Entry { state: State::Running(running), .. }) = self.pending.retire(&id) {
                    self.conclude(&running, OutcomeStatus::Cancelled, Some("called off by the client"), None);
                }
            }
        }
    }

    /// A call that was not asked about yet never will be.
    fn forget_waiting(&mut self, id: &Id) {
        let before = self.waiting.len();
        self.waiting.retain(|call| call.id.key() != id.key());
        if self.waiting.len() < before {
            self.pending.remove(id);
        }
    }
}

impl Running {
    fn new(
        call: &Call,
        enforcement: &callgate_gate::Enforcement,
        default: std::time::Duration,
        started_ms: i64,
    ) -> Self {
        let limit = enforcement.max_runtime();
        let span = limit.unwrap_or(default);
        let now = tokio::time::Instant::now();
        Self {
            kind: call.kind,
            modern: call.modern,
            name: call.request.action_name().to_owned(),
            action: call.request.action_digest(),
            ground: enforcement.ground(),
            max_bytes: enforcement.constraints().number(callgate_core::constraint::Kind::MaxBytes),
            limited: limit.is_some(),
            span_ms: span.as_millis(),
            started_ms,
            // A span beyond what the clock can count is no limit; a day is.
            deadline: now.checked_add(span).or_else(|| now.checked_add(DAY)).unwrap_or(now),
        }
    }
}

const DAY: std::time::Duration = std::time::Duration::from_hours(24);
