//! A gate that runs elsewhere, as an enforcement point uses it.
//!
//! Whatever comes back is believed only as far as the pinned key signed it. An answer that is none (nothing, late,
//! cut off, garbage, another key's, another question's) is the gate's absence, and permits nothing by itself.

mod any;
mod book;
mod carrier;
mod keeping;
mod lease;
mod proven;
mod refused;
mod stopgap;

use std::sync::Arc;
use std::time::Duration;

use callgate_core::decision::{Code, Decision};
use callgate_core::digest::hex;
use callgate_core::json::Limits;
use callgate_core::progress::Halt;
use callgate_core::request::Request;
use callgate_log::VerifyingKey;
use callgate_store::Random;
use serde::Deserialize;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::error::{OutcomeError, ProgressError, Unavailable};
use crate::gate::{Asked, Decided};
use crate::outcome::OutcomeReport;
use crate::progress::Progress;
use crate::reply::Reply;
use crate::unchecked::wire::BacklogOutcome;

pub use any::AnyGate;
pub use carrier::{Answer, Carried, Carrier, Lost, Question};
pub use keeping::PointHealth;
pub use stopgap::{Claim, Stopgap, StopgapError};

/// How long an answer may take where no lease says otherwise.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long the gate may take at least to say that it is there.
const LOOK: Duration = Duration::from_millis(500);
/// And at most: it answers that beside its decisions.
const LOOK_MOST: Duration = Duration::from_secs(2);
/// How often it is asked again, where that is broken off: with too many connections it says so on most of them.
const LOOKS: usize = 8;
/// How long it may take to say which tools need not be shown, and how many are asked about at a time.
const LISTING: Duration = Duration::from_secs(2);
const LISTED: usize = 64;
/// How long an outcome may take.
const REPORTING: Duration = Duration::from_secs(10);
/// How long a report waits before it is tried again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// What the server calls it when it has too much to do.
const BUSY: &str = "urn:callgate:problem:busy";
/// The longest the server lets a read wait.
const LONGEST_WAIT: u64 = 60;

/// Why there is no decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Nobody is there who can prove to be the gate.
    Absent(String),
    /// Somebody is there, and this question has no answer. It is never a reason to run anything.
    Refused(String),
}

/// Who is told of what people should know.
type Notes = Box<dyn Fn(&str) + Send + Sync>;

/// A gate elsewhere.
pub struct Away {
    carrier: Arc<dyn Carrier>,
    pinned: VerifyingKey,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// Both clocks at the start: time here never goes back, nor slower than the machine's own count.
    started: (i64, Instant),
    limits: Limits,
    stopgap: Option<Stopgap>,
    seen: parking_lot::Mutex<keeping::Seen>,
    notes: Option<Notes>,
}

impl std::fmt::Debug for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Away").field("carrier", &self.carrier).finish_non_exhaustive()
    }
}

impl Away {
    /// The gate that `carrier` reaches, which proves itself with `pinned`.
    #[must_use]
    pub fn new(
        carrier: Arc<dyn Carrier>,
        pinned: VerifyingKey,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let started = (clock.now_ms(), Instant::now());
        Self {
            carrier,
            pinned,
            clock,
            random,
            started,
            limits: Limits::REQUEST,
            stopgap: None,
            seen: parking_lot::Mutex::default(),
            notes: None,
        }
    }

    /// With what it may rely on while the gate is away; without it nothing ever runs unchecked.
    #[must_use]
    pub fn with_stopgap(mut self, stopgap: Stopgap) -> Self {
        self.stopgap = Some(stopgap);
        self
    }

    /// With somebody who is told, one line at a time, of what people should know.
    #[must_use]
    pub fn with_notes(mut self, notes: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.notes = Some(Box::new(notes));
        self
    }

    fn note(&self, text: &str) {
        if let Some(notes) = &self.notes {
            notes(text);
        }
    }

    /// The local clock, milliseconds since 1970 UTC; never goes back.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        let (at_ms, at) = self.started;
        let passed = i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.clock.now_ms().max(at_ms.saturating_add(passed))
    }

    /// The bounds on a request.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A value for `nonce`: 128 random bits in hex.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    pub fn nonce(&self) -> Result<String, Unavailable> {
        let mut bytes = [0u8; 16];
        let filled = self.random.fill(&mut bytes);
        filled.map_err(|e| Unavailable::now(format!("the system gave no random bytes: {e}")))?;
        Ok(hex(&bytes))
    }

    /// Asks for a decision, and believes a permit only as far as it is proven.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing may run.
    pub async fn decide(&self, asked: Asked) -> Result<Decided, Unavailable> {
        let Asked::Request(request) = asked else {
            return Err(Unavailable::for_good("a gate elsewhere is asked with requests"));
        };
        let problem = match self.ask(&request, self.patience()).await {
            Ok(decided) => {
                self.saw(Ok(Some(decided.reply.snapshot.clone())));
                if decided.permit.is_none() {
                    self.remember(&request, &decided.reply);
                }
                return Ok(decided);
            }
            Err(Silence::Refused(problem)) => return Err(Unavailable::for_good(problem)),
            Err(Silence::Absent(problem)) => problem,
        };
        self.saw(Err(problem.clone()));
        self.unchecked(*request, &problem)
    }

    /// What the gate did not let run does not run unchecked either. Nobody need prove that: to fail closed is
    /// always safe.
    fn remember(&self, request: &Request, reply: &Reply) {
        let Some(stopgap) = &self.stopgap else { return };
        let span = match (reply.decision, reply.retry_after_ms) {
            (Decision::Throttle, Some(wait)) => i64::try_from(wait).unwrap_or(refused::LASTING_MS),
            _ => refused::LASTING_MS,
        };
        let mut done = stopgap.refused(request.action_name(), self.now_ms(), span);
        if matches!(reply.code, Some(Code::AgentKilled | Code::BreakerOpen)) {
            done = done.and(stopgap.forgo("the gate blocks the agent"));
        }
        if let Err(problem) = done {
            self.note(&problem);
        }
    }

    /// What becomes of an action that nobody is there to decide.
    fn unchecked(&self, mut request: Request, problem: &str) -> Result<Decided, Unavailable> {
        let closed = |why: &str| Unavailable::now(format!("{problem}; nothing runs unchecked: {why}"));
        let Some(stopgap) = &self.stopgap else { return Err(closed("there is no journal to write it to")) };
        // The gate may have decided it and not been able to say so: the record is another question.
        request.nonce = Some(self.nonce()?);
        let now_ms = self.now_ms();
        request.ts_ms = Some(now_ms);
        let permit = stopgap.permit(&request, &self.nonce()?, now_ms).map_err(|why| closed(&why))?;
        let number = permit.ground().number();
        self.note(&format!(
            "UNCHECKED: `{}` runs without a decision, record {number} of the journal: {problem}",
            request.action_name()
        ));
        Ok(Decided { reply: Reply::unchecked(problem), permit: Some(permit) })
    }

    /// Writes how an action ended that ran unchecked; the gate hears of it with the journal.
    pub(crate) fn report_unchecked(&self, line: u64, report: &OutcomeReport) -> Result<(), OutcomeError> {
        let outcome = BacklogOutcome {
            finished_at_ms: report.finished_at_ms,
            result_sha256: report.result_sha256.clone(),
            status: report.status,
        };
        let stopgap = self.stopgap.as_ref().ok_or(OutcomeError::NotOpen(line))?;
        stopgap.ended(line, outcome).map_err(|problem| Unavailable::now(problem).into())
    }

    async fn ask(&self, request: &Request, within: Duration) -> Result<Decided, Silence> {
        let question = Question::post("/api/v1/decide", request.canonical().into_bytes(), within);
        let asked_at_ms = self.now_ms();
        let answer = match self.carried(question).await {
            Err(problem) => return Err(self.looked(problem, within).await),
            Ok(answer) => answer,
        };
        if (400..500).contains(&answer.status) || is_busy(&answer) {
            return Err(Silence::Refused(refusal(&answer)));
        }
        match understood(&answer, request, &self.pinned, asked_at_ms) {
            Ok(decided) => Ok(decided),
            Err(problem) => Err(self.looked(problem, within).await),
        }
    }

    /// One question, within its time whatever the carrier does.
    async fn carried(&self, question: Question) -> Result<Answer, String> {
        self.told(question).await.map_err(|lost| lost.to_string())
    }

    async fn told(&self, question: Question) -> Result<Answer, Lost> {
        let (within, late) = (question.within, question.within.as_millis());
        let asked = tokio::time::timeout(within, self.carrier.ask(question));
        asked.await.unwrap_or_else(|_| Err(format!("the gate did not answer within {late} ms").into()))
    }

    /// A question had no good answer: is nobody there, or is it this question? What an agent asks, and how much of
    /// it, must not be able to make a gate look absent that is not. It has as long again to say that it is there.
    async fn looked(&self, problem: String, within: Duration) -> Silence {
        let until = Instant::now().checked_add(within.clamp(LOOK, LOOK_MOST));
        let left = || until.map_or(LOOK, |until| until.saturating_duration_since(Instant::now()));
        let mut there = false;
        for _ in 0..LOOKS {
            there = match self.told(Question::look(left())).await {
                Ok(answer) => is_ready(&answer) || is_busy(&answer),
                Err(Lost::BrokenOff(_)) => continue,
                Err(lost) => matches!(lost, Lost::Unasked(_)),
            };
            break;
        }
        if there {
            Silence::Refused(format!("{problem}; the gate is there, so nothing runs unchecked"))
        } else {
            Silence::Absent(problem)
        }
    }

    /// Records what became of a permitted action. While the gate is away it is tried again: dropping the future
    /// gives up.
    ///
    /// # Errors
    /// [`OutcomeError`].
    pub async fn report(&self, report: &OutcomeReport) -> Result<(), OutcomeError> {
        let body = serde_json::to_vec(report).map_err(|e| OutcomeError::Invalid(e.to_string()))?;
        let (mut pause, most) = AGAIN;
        let mut before = false;
        loop {
            let question = Question::post("/api/v1/outcomes", body.clone(), REPORTING);
            match self.carried(question).await {
                Ok(answer) if answer.status == 200 => return Ok(()),
                // The answer to an earlier try may have been lost.
                Ok(answer) if answer.status == 409 && before => return Ok(()),
                Ok(answer) if answer.status == 409 => {
                    return Err(OutcomeError::NotOpen(report.receipt_index));
                }
                Ok(answer) if (400..500).contains(&answer.status) => {
                    return Err(OutcomeError::Invalid(refusal(&answer)));
                }
                Ok(_) | Err(_) => {}
            }
            before = true;
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(most);
        }
    }

    /// Whether an action that runs on a receipt may go on. While the gate is away one goes on only where a lease
    /// would let it begin.
    ///
    /// # Errors
    /// [`ProgressError`]: then it must stop as well.
    pub(crate) async fn progress(&self, receipt: u64, action: &str) -> Result<Progress, ProgressError> {
        let body = format!(r#"{{"receipt_index":{receipt}}}"#).into_bytes();
        let within = self.patience().min(DEADLINE);
        let problem = match self.carried(Question::post("/api/v1/progress", body, within)).await {
            Ok(answer) if answer.status == 200 => match serde_json::from_slice::<Progress>(&answer.body) {
                Ok(progress) => {
                    self.heed(&progress);
                    return Ok(progress);
                }
                Err(problem) => format!("the answer is none: {problem}"),
            },
            Ok(answer) if (400..500).contains(&answer.status) => {
                return Err(ProgressError::Invalid(refusal(&answer)));
            }
            Ok(answer) => refusal(&answer),
            Err(problem) => problem,
        };
        match self.looked(problem, within).await {
            Silence::Refused(problem) => Err(Unavailable::now(problem).into()),
            Silence::Absent(problem) => self.goes_on(action).map_err(|why| {
                Unavailable::now(format!("{problem}; it does not go on unchecked: {why}")).into()
            }),
        }
    }

    /// Whether an action that nobody decided may go on: as long as it could begin.
    pub(crate) fn progress_unchecked(&self, action: &str) -> Result<Progress, ProgressError> {
        self.goes_on(action).map_err(|why| Unavailable::now(why).into())
    }

    fn goes_on(&self, action: &str) -> Result<Progress, String> {
        let stopgap = self.stopgap.as_ref().ok_or("there is no lease")?;
        stopgap.goes_on(action, self.now_ms()).map(|()| Progress::go_on())
    }

    /// Whoever blocks the agent while it runs something blocks what it would run unchecked, too.
    fn heed(&self, progress: &Progress) {
        let blocks = matches!(progress.code, Some(Halt::AgentKilled | Halt::BreakerOpen));
        if let Some(stopgap) = self.stopgap.as_ref().filter(|_| blocks)
            && let Err(problem) = stopgap.forgo("the gate blocks the agent")
        {
            self.note(&problem);
        }
    }

    /// How long to wait for the gate.
    fn patience(&self) -> Duration {
        let leased = self.stopgap.as_ref().and_then(|stopgap| stopgap.deadline_ms(self.now_ms()));
        leased.map_or(DEADLINE, Duration::from_millis)
    }

    /// For each of these, whether the gate says that it denies it with any arguments. That is not signed, and only
    /// for what a list shows; without an answer it is never so.
    pub(crate) async fn never_allow(&self, probes: &[Request]) -> Vec<bool> {
        #[derive(Deserialize)]
        struct Hidden {
            hidden: Vec<bool>,
        }
        let mut all = Vec::with_capacity(probes.len());
        for part in probes.chunks(LISTED) {
            let asked: Vec<String> = part.iter().map(Request::canonical).collect();
            let body = format!(r#"{{"requests":[{}]}}"#, asked.join(","));
            let answer =
                self.carried(Question::post("/api/v1/tools/hidden", body.into_bytes(), LISTING)).await;
            let told = answer.ok().filter(|answer| answer.status == 200);
            let told = told.and_then(|answer| serde_json::from_slice::<Hidden>(&answer.body).ok());
            // Who does not answer once is not waited for again.
            let Some(told) = told.filter(|told| told.hidden.len() == part.len()) else { break };
            all.extend(told.hidden);
        }
        all.resize(probes.len(), false);
        all
    }

    /// Whether people have still to decide on an approval, told at `until` at the latest.
    ///
    /// # Errors
    /// The gate does not say.
    pub(crate) async fn is_open_until(&self, id: u64, until: Instant) -> Result<bool, Unavailable> {
        #[derive(Deserialize)]
        struct View {
            status: String,
        }
        let left = until.saturating_duration_since(Instant::now());
        let wait = left.as_secs().clamp(1, LONGEST_WAIT);
        let path = format!("/api/v1/approvals/apr-{id}?wait={wait}s");
        let within = Duration::from_secs(wait).saturating_add(DEADLINE);
        let answer = self.carried(Question::get(path, within)).await.map_err(Unavailable::now)?;
        if answer.status != 200 {
            return Err(Unavailable::now(refusal(&answer)));
        }
        let view: View = serde_json::from_slice(&answer.body).map_err(|e| Unavailable::now(e.to_string()))?;
        Ok(view.status == "open")
    }
}

/// Whether a gate says that it is ready. Nothing of that is signed, so nothing runs because of it.
fn is_ready(answer: &Answer) -> bool {
    #[derive(Deserialize)]
    struct Health {
        status: String,
    }
    let health = serde_json::from_slice::<Health>(&answer.body);
    answer.status == 200 && health.is_ok_and(|health| health.status == "ready")
}

/// Whether a gate says that it is there and has too much to do: whoever can keep it busy must not run unchecked.
fn is_busy(answer: &Answer) -> bool {
    #[derive(Deserialize)]
    struct Problem {
        #[serde(rename = "type")]
        kind: String,
    }
    let problem = serde_json::from_slice::<Problem>(&answer.body);
    answer.status == 503 && problem.is_ok_and(|problem| problem.kind == BUSY)
}

/// What an answer says that is no decision.
fn refusal(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let problem = serde_json::from_slice::<Problem>(&answer.body);
    let detail = problem.map_or_else(|_| "it did not say why".to_owned(), |problem| problem.detail);
    let shown: String = detail.chars().filter(|c| !c.is_control()).take(300).collect();
    format!("the gate answered {}: {shown}", answer.status)
}

/// A decision and its permit, or why the answer is none.
fn understood(
    answer: &Answer,
    request: &Request,
    pinned: &VerifyingKey,
    asked_at_ms: i64,
) -> Result<Decided, String> {
    if answer.status != 200 {
        return Err(refusal(answer));
    }
    let reply: Reply =
        serde_json::from_slice(&answer.body).map_err(|e| format!("the answer is no decision: {e}"))?;
    let permit = if reply.decision.permits() {
        let permit = proven::permit(&reply, request, pinned, asked_at_ms);
        Some(permit.map_err(|problem| format!("the answer does not prove its permission: {problem}"))?)
    } else {
        None
    };
    Ok(Decided { reply, permit })
}
