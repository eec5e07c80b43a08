//! Simulating policy over HTTP: one job, recorded decisions, or a corpus. Nothing is decided for good.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use callgate_core::constraint::Kind;
use callgate_core::decision::Decision;
use callgate_core::object;
use callgate_core::pattern::Pattern;
use callgate_gate::simulate::{Candidate, Corpus, Filter};
use callgate_gate::{Asked, Reply};
use serde::Deserialize;
use serde_json::{Map, Value, json as value};

use crate::app::{App, json};
use crate::body::JsonBytes;
use crate::control::{bad, looks, parse, run};
use crate::credential::Caller;
use crate::policy::BundleBody;
use crate::problem::Problem;
use crate::wire_policy;

/// What a simulated job is called where it does not say who asks and where.
const SIMULATION: &str = "simulation";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SimulateBody {
    job: Option<Map<String, Value>>,
    tenant_id: Option<String>,
    snapshot: Option<String>,
    #[serde(default, deserialize_with = "object::maybe")]
    bundle: Option<BundleBody>,
    #[serde(default, deserialize_with = "object::maybe")]
    history: Option<HistoryBody>,
    corpus: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryBody {
    since_ms: Option<i64>,
    until_ms: Option<i64>,
    agent: Option<String>,
    tool: Option<String>,
    decision: Option<String>,
}

impl HistoryBody {
    fn filter(self) -> Result<Filter, Problem> {
        let pattern = |field: &str, text: Option<String>| {
            text.map(|text| Pattern::new(&text).map_err(|e| bad(format!("`{field}`: {e}")))).transpose()
        };
        let decision = self
            .decision
            .map(|word| word.parse::<Decision>().map_err(|()| bad(format!("`decision`: `{word}` is none"))));
        Ok(Filter {
            since_ms: self.since_ms,
            until_ms: self.until_ms,
            agent: pattern("agent", self.agent)?,
            tool: pattern("tool", self.tool)?,
            decision: decision.transpose()?,
            ..Filter::default()
        })
    }
}

/// Says how something would be decided: one job, recorded decisions, or a corpus. Nothing is decided for good.
#[utoipa::path(
    post,
    path = "/api/v1/policy/simulate",
    tag = "policy",
    request_body = wire_policy::Simulate,
    responses(
        (status = 200, description = "The decision on the job; for `history` and `corpus`, a report", body = wire_policy::Simulated),
        (status = 400, description = "The body asks for nothing that can be simulated"),
        (status = 403, description = "An agent's key, or a person who may not"),
        (status = 404, description = "There is no such snapshot"),
        (status = 422, description = "The bundle has errors"),
        (status = 503, description = "The gate cannot simulate now"),
    ),
    security(("key" = []))
)]
pub(crate) async fn simulate(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    looks(&who)?;
    let body: SimulateBody = parse(&body, &app)?;
    match body {
        SimulateBody { job: Some(job), history: None, corpus: None, bundle, snapshot, tenant_id } => {
            let asked = job_request(job, tenant_id)?;
            let candidate = candidate(bundle, snapshot)?;
            let gate = Arc::clone(&app.gate);
            let reply = run(&app, async move { gate.try_out(candidate, Asked::Bytes(asked)).await }).await?;
            json(&app, StatusCode::OK, &simulated(&reply))
        }
        SimulateBody {
            job: None,
            tenant_id: None,
            history: Some(history),
            corpus: None,
            bundle,
            snapshot,
        } => {
            let filter = history.filter()?;
            let gate = Arc::clone(&app.gate);
            let report = match candidate(bundle, snapshot)? {
                Candidate::Kept(name) => {
                    run(
                        &app,
                        async move { gate.simulate_kept(&name, filter, &who, Box::new(|_, _| {})).await },
                    )
                    .await?
                }
                other => run(&app, async move { gate.simulate_history_of(other, filter).await }).await?,
            };
            json(&app, StatusCode::OK, &report)
        }
        SimulateBody { job: None, tenant_id: None, history: None, corpus: Some(lines), bundle, snapshot } => {
            let mut corpus = Corpus::default();
            for (place, line) in (1usize..).zip(&lines) {
                corpus.add_one(&format!("corpus[{place}]"), line.to_string().as_bytes());
            }
            if let Some(wrong) = corpus.bad_lines().first() {
                return Err(bad(format!("{}: {}", wrong.file, wrong.problem)));
            }
            let candidate = candidate(bundle, snapshot)?;
            let gate = Arc::clone(&app.gate);
            let report = run(&app, async move { gate.simulate_corpus_of(candidate, corpus).await }).await?;
            json(&app, StatusCode::OK, &report)
        }
        _ => Err(bad(
            "give one of `job` (with `tenant_id`), `history` or `corpus`, and `snapshot` or `bundle` unless the snapshot in force decides",
        )),
    }
}

fn candidate(bundle: Option<BundleBody>, snapshot: Option<String>) -> Result<Candidate, Problem> {
    match (bundle, snapshot) {
        (Some(_), Some(_)) => Err(bad("give `bundle` or `snapshot`, not both")),
        (Some(bundle), None) => Ok(Candidate::Bundle(bundle.bundle()?)),
        (None, Some(name)) => Ok(Candidate::Kept(name)),
        (None, None) => Ok(Candidate::InForce),
    }
}

/// The wire form of a job: a request that leaves out who asks.
fn job_request(mut job: Map<String, Value>, tenant: Option<String>) -> Result<Vec<u8>, Problem> {
    if let Some(tenant) = tenant
        && job.insert("tenant".to_owned(), tenant.into()).is_some()
    {
        return Err(bad("give `tenant_id` beside `job`, or `tenant` in it, not both"));
    }
    let enforces: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    job.entry("agent").or_insert_with(|| value!({"id": SIMULATION}));
    job.entry("pep").or_insert_with(|| value!({"id": SIMULATION, "enforces": enforces}));
    serde_json::to_vec(&job).map_err(|e| bad(e.to_string()))
}

fn simulated(reply: &Reply) -> Value {
    let mut answer = Map::new();
    answer.insert("decision".to_owned(), reply.decision.as_str().into());
    if let Some(reason) = &reply.reason {
        answer.insert("reason".to_owned(), reason.clone().into());
    }
    let mut constraints = reply.constraints.clone();
    if let Some(all) = constraints.as_object_mut()
        && let Some(ms) = all.get("max_runtime_ms").and_then(Value::as_u64)
        && ms.is_multiple_of(1000)
    {
        all.remove("max_runtime_ms");
        let rest = std::mem::take(all);
        all.insert("max_runtime_sec".to_owned(), (ms / 1000).into());
        all.extend(rest);
    }
    answer.insert("constraints".to_owned(), constraints);
    if let Some(rule) = &reply.matched_rule {
        answer.insert("matched_rule".to_owned(), rule.clone().into());
    }
    Value::Object(answer)
}
