//! A small log from fixed inputs, and the means to write others.

use callgate_log::checkpoint::CheckpointSigner;
use callgate_log::hash::domain;
use callgate_log::json::{Decimal, Map, SafeInt};
use callgate_log::merkle::{Leaves, inclusion_proof, leaf_hash};
use callgate_log::statement::{
    Action, Admin, Agent, Approval, ConstraintValue, Decision, DecisionKind, DecisionRef, Gate, Mode,
    Outcome, Pep, Reason, Session, Snapshot, Stage, Status, Would,
};
use callgate_log::{
    Event, Frontier, Hash, LogVerifier, Report, Signature, SigningKey, Statement, TlogProof, VerifyError,
    VerifyingKey, dsse, salted, sha256,
};

pub(crate) const ORIGIN: &str = "callgate.example/golden";
pub(crate) const START_MS: i64 = 1_795_000_000_000;

pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

pub(crate) fn pinned() -> VerifyingKey {
    key().verifying_key()
}

pub(crate) fn other_key() -> SigningKey {
    SigningKey::from_seed(&[8; 32])
}

pub(crate) fn int(value: i64) -> SafeInt {
    SafeInt::try_from(value).unwrap()
}

pub(crate) fn salt(number: u64) -> [u8; 32] {
    sha256(format!("fixed salt {number}").as_bytes()).into_bytes()
}

pub(crate) fn gate() -> Gate {
    Gate { origin: ORIGIN.to_owned(), version: "0.1.0".to_owned() }
}

pub(crate) fn agent(id: &str) -> Agent {
    Agent {
        chain: vec!["planner".to_owned()],
        id: id.to_owned(),
        on_behalf_of: Some("user:ana".to_owned()),
        team: None,
    }
}

/// A decision with every optional field absent but the session, at time zero.
pub(crate) fn decision(kind: DecisionKind, session: Option<&str>) -> Decision {
    Decision {
        action: Action {
            action_type: None,
            args_commitment: salted(&salt(0), domain::ARGS, br#"{"sql":"update"}"#),
            function: None,
            server: Some("postgres".to_owned()),
            tool: Some("query".to_owned()),
            topic: None,
        },
        agent: agent("support-bot"),
        approval: None,
        code: None,
        constraints: Map::new(),
        decision: kind,
        effects_digest: sha256(b""),
        environment: None,
        expires_at_ms: int(START_MS + 60_000),
        facts_commitment: salted(&salt(0), domain::FACTS, b"{}"),
        findings: Vec::new(),
        gate: gate(),
        grant: None,
        issued_at_ms: int(START_MS),
        matched_rule: None,
        mode: Mode::Enforce,
        nonce: None,
        pep: Pep { enforces: vec!["max_runtime_ms".to_owned()], id: "mcp".to_owned() },
        prev: None,
        reasons: Vec::new(),
        request_commitment: salted(&salt(0), domain::REQUEST, b"{}"),
        retry_after_ms: None,
        risk_tags: vec!["prod".to_owned(), "write".to_owned()],
        session: session.map(|id| Session { id: id.to_owned(), step: None }),
        shadow: None,
        snapshot: Snapshot { digest: sha256(b"bundle"), version: "v1".to_owned() },
        tenant: "default".to_owned(),
        unchecked: None,
        would: None,
    }
}

pub(crate) fn outcome(of: DecisionRef, status: Status, session: Option<&str>) -> Outcome {
    Outcome {
        agent: agent("support-bot"),
        attempts: int(1),
        cost: None,
        decision_receipt: of,
        detail: None,
        effects_digest: sha256(b""),
        finished_at_ms: int(START_MS),
        gate: gate(),
        issued_at_ms: int(START_MS),
        prev: None,
        result_commitment: None,
        session: session.map(|id| Session { id: id.to_owned(), step: None }),
        started_at_ms: None,
        status,
        tenant: "default".to_owned(),
    }
}

pub(crate) fn admin(operation: &str) -> Admin {
    Admin {
        actor: "user:root".to_owned(),
        details: [("version", "v1".to_owned())].into_iter().collect(),
        effects_digest: sha256(b""),
        gate: gate(),
        issued_at_ms: int(START_MS),
        operation: operation.to_owned(),
    }
}

/// What a log holds, owned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Owned {
    Receipt { payload: Vec<u8>, signature: Signature, delta: Vec<u8> },
    Checkpoint(String),
}

impl Owned {
    pub(crate) fn event(&self) -> Event<'_> {
        match self {
            Self::Receipt { payload, signature, delta } => Event::Receipt { payload, signature, delta },
            Self::Checkpoint(note) => Event::Checkpoint { note: note.as_bytes() },
        }
    }
}

/// A log under construction. It writes what it is told to, right or wrong.
pub(crate) struct Log {
    pub(crate) events: Vec<Owned>,
    pub(crate) leaves: Vec<Hash>,
    pub(crate) payloads: Vec<Vec<u8>>,
    pub(crate) frontier: Frontier,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { events: Vec::new(), leaves: Vec::new(), payloads: Vec::new(), frontier: Frontier::new() }
    }

    /// Appends a statement and says where it went.
    pub(crate) fn put(&mut self, statement: &Statement, delta: &[u8]) -> DecisionRef {
        let payload = statement.to_payload().unwrap();
        self.put_raw(payload, delta)
    }

    pub(crate) fn put_raw(&mut self, payload: Vec<u8>, delta: &[u8]) -> DecisionRef {
        let signature = dsse::sign(&key(), &payload);
        self.leaves.push(leaf_hash(&payload));
        let index = self.frontier.append(leaf_hash(&payload));
        let payload_sha256 = sha256(&payload);
        self.payloads.push(payload.clone());
        self.events.push(Owned::Receipt { payload, signature, delta: delta.to_vec() });
        DecisionRef { index: SafeInt::try_from(index).unwrap(), payload_sha256 }
    }

    pub(crate) fn decide(&mut self, decision: Decision) -> DecisionRef {
        self.put(&Statement::decision(decision, salted(&salt(1), domain::ACTION, b"query")), b"")
    }

    pub(crate) fn checkpoint(&mut self) -> String {
        let note = note(self.frontier.size(), &self.frontier.root());
        self.events.push(Owned::Checkpoint(note.clone()));
        note
    }

    pub(crate) fn verify(&self) -> Result<Report, VerifyError> {
        verify_events(LogVerifier::new(&pinned(), Some(ORIGIN)), &self.events)
    }

    /// The proof of a receipt under the whole log.
    pub(crate) fn proof(&self, index: u64) -> TlogProof {
        let hashes = inclusion_proof(&Leaves(&self.leaves), index, self.frontier.size()).unwrap();
        let checkpoint = note(self.frontier.size(), &self.frontier.root());
        TlogProof { extra: None, index, hashes, checkpoint }
    }
}

pub(crate) fn signer() -> CheckpointSigner {
    CheckpointSigner::new(ORIGIN, key()).unwrap()
}

pub(crate) fn note(size: u64, root: &Hash) -> String {
    signer().sign(size, root).unwrap()
}

pub(crate) fn verify_events(mut verifier: LogVerifier, events: &[Owned]) -> Result<Report, VerifyError> {
    for event in events {
        verifier.push(event.event())?;
    }
    verifier.finish()
}

/// The log of the golden files: every kind of receipt, every kind of value.
pub(crate) fn golden_log() -> Log {
    let mut log = Log::new();
    log.put(&Statement::admin(admin("log.start")), b"");
    log.put(
        &Statement::admin(Admin { effects_digest: sha256(b"activate"), ..admin("snapshot.activate") }),
        b"activate",
    );
    log.checkpoint();

    let plain = Decision { nonce: Some("n-1".to_owned()), ..decision(DecisionKind::Allow, Some("loan-001")) };
    let allowed = log.decide(plain);
    let done = Outcome {
        prev: Some(allowed.payload_sha256),
        result_commitment: Some(salted(&salt(2), domain::RESULT, sha256(b"1 row").as_bytes())),
        started_at_ms: Some(int(START_MS)),
        ..outcome(allowed, Status::Succeeded, Some("loan-001"))
    };
    let done = log.put(&Statement::outcome(done), b"");
    log.checkpoint();

    let bound =
        log.put(&Statement::decision(constrained(), salted(&salt(3), domain::ACTION, b"refund")), b"delta");
    let denied = log.decide(denied(done.payload_sha256));
    log.decide(Decision { retry_after_ms: Some(int(1500)), ..decision(DecisionKind::Throttle, None) });
    log.checkpoint();

    log.decide(held(denied.payload_sha256));
    let late = Outcome {
        agent: agent("refund-bot"),
        attempts: int(2),
        cost: Some(
            [("usd", Decimal::parse("0.02").unwrap()), ("tokens", Decimal::parse("1200").unwrap())]
                .into_iter()
                .collect(),
        ),
        detail: Some("the server did not answer".to_owned()),
        prev: Some(bound.payload_sha256),
        ..outcome(bound, Status::TimedOut, Some("refund-7"))
    };
    log.put(&Statement::outcome(late), b"");
    log.put(&Statement::admin(admin("key.create")), b"");
    log.checkpoint();
    log
}

fn constrained() -> Decision {
    Decision {
        agent: agent("refund-bot"),
        action: Action {
            action_type: Some("CALL_EXTERNAL_API".to_owned()),
            function: Some("execution".to_owned()),
            server: Some("stripe".to_owned()),
            tool: Some("refund".to_owned()),
            topic: Some("job.refund".to_owned()),
            ..decision(DecisionKind::Allow, None).action
        },
        constraints: [
            ("max_runtime_ms", ConstraintValue::Int(int(60_000))),
            ("redact", ConstraintValue::Bool(true)),
            ("max_amount", ConstraintValue::Text("50.00".to_owned())),
            ("hosts", ConstraintValue::List(vec!["api.stripe.com".to_owned()])),
        ]
        .into_iter()
        .collect(),
        effects_digest: sha256(b"delta"),
        environment: Some("prod".to_owned()),
        matched_rule: Some("refunds-small".to_owned()),
        mode: Mode::Monitor,
        would: Some(Would {
            code: Some("DENIED_BY_RULE".to_owned()),
            decision: DecisionKind::Deny,
            matched_rule: Some("refunds-at-night".to_owned()),
        }),
        session: Some(Session { id: "refund-7".to_owned(), step: Some("execution".to_owned()) }),
        ..decision(DecisionKind::AllowWithConstraints, Some("refund-7"))
    }
}

fn denied(prev: Hash) -> Decision {
    Decision {
        code: Some("DENIED_BY_RULE".to_owned()),
        prev: Some(prev),
        reasons: vec![Reason {
            code: "DENIED_BY_RULE".to_owned(),
            message: "no \"drop\" here\n".to_owned(),
            rule: Some("no-drop".to_owned()),
            source: Some("rules/db.yaml:3:5".to_owned()),
        }],
        ..decision(DecisionKind::Deny, Some("loan-001"))
    }
}

fn held(prev: Hash) -> Decision {
    Decision {
        approval: Some(Approval {
            expires_at_ms: int(START_MS + 1_800_000),
            receipt: None,
            stages: vec![
                Stage {
                    quorum: int(1),
                    reviewers: vec!["role:finance".to_owned(), "Zoë 🔐 \u{1}".to_owned()],
                },
                Stage { quorum: int(2), reviewers: Vec::new() },
            ],
        }),
        code: Some("APPROVAL_REQUIRED".to_owned()),
        prev: Some(prev),
        ..decision(DecisionKind::RequireApproval, Some("loan-001"))
    }
}
