//! The attempts of `tests/attacks/` to get past limits, as bytes over HTTP. Its README describes the files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use callgate_core::state::Holder;
use callgate_gate::clock::ManualClock;
use callgate_gate::{Bundle, Credential, Gate, GateOptions};
use callgate_server::{Listener, ServerOptions};
use callgate_store::{OsRandom, RealFs};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::http::post_to;
use crate::yaml;

const NOW_MS: i64 = 1_750_000_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    bundle: BTreeMap<String, String>,
    attacks: Vec<Attack>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attack {
    name: String,
    #[serde(default)]
    dev: bool,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    ask: Option<Map<String, Value>>,
    raw: Option<String>,
    outcome: Option<Map<String, Value>>,
    /// A heartbeat; what it is told.
    progress: Option<Map<String, Value>>,
    /// What an operator stops.
    stop: Option<Map<String, Value>>,
    /// Whether the operator lifts the last stop.
    resume: Option<bool>,
    wait_ms: Option<i64>,
    restart: Option<bool>,
    /// What takes the place of `@`, one after the other.
    each: Option<Vec<Value>>,
    times: Option<usize>,
    by: Option<String>,
    gives: Option<String>,
}

/// A gate with a server in front of it.
struct Served {
    gate: Arc<Gate>,
    address: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), callgate_server::ServeError>>,
}

async fn serve(dir: &Path, clock: &Arc<ManualClock>, bundle: Option<&Bundle>, dev: bool) -> Served {
    let options = GateOptions { segment_bytes: 2 << 20, ..GateOptions::default() };
    let fs = Arc::new(RealFs::new(dir).unwrap());
    let gate = Gate::open(fs, Arc::clone(clock) as _, Arc::new(OsRandom), bundle, options).await;
    let gate = gate.unwrap().gate;
    let options = ServerOptions { listen: ([127, 0, 0, 1], 0).into(), dev, ..ServerOptions::default() };
    let listener = callgate_server::bind(&options).await.unwrap();
    let Listener::Tcp(tcp) = &listener else { panic!("no address") };
    let address = tcp.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let until = async { drop(stopped.await) };
    let serving = tokio::spawn(callgate_server::serve(Arc::clone(&gate), vec![listener], options, until));
    Served { gate, address, stop, serving }
}

impl Served {
    async fn end(self) {
        drop(self.stop);
        self.serving.await.unwrap().unwrap();
        self.gate.close();
    }

    async fn key(&self, agent: &str) -> String {
        let holder = Holder::Agent {
            agent: agent.to_owned(),
            owner: None,
            team: Some("red".to_owned()),
            tenant: "default".to_owned(),
        };
        self.gate.create_key(holder, "operator").await.unwrap().1.reveal().to_owned()
    }
}

/// `value` with `one` wherever `@` stands, also as a key.
fn fill(value: &Value, one: &Value) -> Value {
    match value {
        Value::String(text) if text == "@" => one.clone(),
        Value::Array(items) => items.iter().map(|item| fill(item, one)).collect(),
        Value::Object(members) => {
            let key = |key: &String| match one.as_str().filter(|_| key == "@") {
                Some(text) => text.to_owned(),
                None => key.clone(),
            };
            Value::Object(members.iter().map(|(name, value)| (key(name), fill(value, one))).collect())
        }
        other => other.clone(),
    }
}

/// A request: `bot` asks, `server.name` is a tool, and times are counted from the gate's clock.
fn request(ask: &Value, agent: &str, now_ms: i64) -> String {
    let mut whole = ask.as_object().unwrap().clone();
    if let Some(Value::String(tool)) = whole.get("tool") {
        let (server, name) = tool.split_once('.').unwrap();
        let tool = json!({"server": server, "name": name});
        whole.insert("tool".to_owned(), tool);
    }
    if let Some(by) = whole.get("ts_ms") {
        let at = now_ms + by.as_i64().unwrap();
        whole.insert("ts_ms".to_owned(), at.into());
    }
    whole.entry("agent").or_insert_with(|| json!({"id": agent}));
    Value::Object(whole).to_string()
}

/// What one attempt comes to.
struct Attempt {
    keys: BTreeMap<String, String>,
    now_ms: i64,
    /// The receipts of the questions.
    receipts: Vec<u64>,
    /// The last stop.
    stop: String,
}

impl Attempt {
    async fn ask(&mut self, served: &Served, body: &str, key: Option<&str>) -> String {
        let (status, reply) = post_to("/api/v1/decide", &served.address, key, body.as_bytes()).await;
        assert_eq!(status, 200, "{body}: {reply}");
        self.receipts.push(reply["receipt_index"].as_u64().unwrap());
        let decision = reply["decision"].as_str().unwrap().to_owned();
        reply["code"].as_str().map_or(decision, str::to_owned)
    }

    /// `report` on the receipt of one of the questions.
    fn about(&self, report: &Value) -> String {
        let mut report = report.as_object().unwrap().clone();
        let of = usize::try_from(report.remove("of").unwrap().as_u64().unwrap()).unwrap();
        report.insert("receipt_index".to_owned(), self.receipts[of - 1].into());
        Value::Object(report).to_string()
    }

    async fn outcome(&self, served: &Served, report: &Value, key: Option<&str>) -> String {
        let body = self.about(report);
        post_to("/api/v1/outcomes", &served.address, key, body.as_bytes()).await.0.to_string()
    }

    /// `CONTINUE`, why it must stop, or the status of what was refused.
    async fn progress(&self, served: &Served, report: &Value, key: Option<&str>) -> String {
        let body = self.about(report);
        let (status, reply) = post_to("/api/v1/progress", &served.address, key, body.as_bytes()).await;
        match (status, reply["continue"].as_bool()) {
            (200, Some(true)) => "CONTINUE".to_owned(),
            (200, Some(false)) => reply["code"].as_str().unwrap().to_owned(),
            _ => status.to_string(),
        }
    }

    /// What the operator does, who is at the gate itself.
    async fn operate(&mut self, served: &Served, step: &Step) {
        if let Some(stop) = &step.stop {
            let what = serde_json::from_value(Value::Object(stop.clone())).unwrap();
            self.stop = served.gate.stop(what, &Credential::Local).await.unwrap().stop.id;
        } else {
            served.gate.lift_stop(&self.stop, Some("looked into it"), &Credential::Local).await.unwrap();
        }
    }

    /// One step, once; what came of it.
    async fn step(&mut self, served: &Served, step: &Step, one: &Value) -> String {
        let agent = step.by.as_deref().unwrap_or("bot");
        let key = self.keys.get(agent).cloned();
        let key = key.as_deref();
        match (&step.ask, &step.raw, &step.outcome, &step.progress) {
            (Some(ask), None, None, None) => {
                let body = request(&fill(&Value::Object(ask.clone()), one), agent, self.now_ms);
                self.ask(served, &body, key).await
            }
            (None, Some(raw), None, None) => self.ask(served, raw, key).await,
            (None, None, Some(report), None) => {
                self.outcome(served, &fill(&Value::Object(report.clone()), one), key).await
            }
            (None, None, None, Some(report)) => {
                self.progress(served, &fill(&Value::Object(report.clone()), one), key).await
            }
            _ => panic!("a step asks, reports, stops, waits or restarts"),
        }
    }
}

/// Makes one attempt; gives what came out otherwise.
async fn attempt(attack: &Attack, bundle: &Bundle) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let mut served = serve(dir.path(), &clock, Some(bundle), attack.dev).await;
    let mut keys = BTreeMap::new();
    if !attack.dev {
        for agent in ["bot", "other"] {
            keys.insert(agent.to_owned(), served.key(agent).await);
        }
    }
    let mut attempt = Attempt { keys, now_ms: NOW_MS, receipts: Vec::new(), stop: String::new() };
    let mut wrong = Vec::new();
    for (number, step) in (1..).zip(&attack.steps) {
        if let Some(by) = step.wait_ms {
            attempt.now_ms += by;
            clock.set(attempt.now_ms);
            continue;
        }
        if step.restart == Some(true) {
            served.end().await;
            served = serve(dir.path(), &clock, None, attack.dev).await;
            continue;
        }
        if step.stop.is_some() || step.resume == Some(true) {
            attempt.operate(&served, step).await;
            continue;
        }
        let gives = step.gives.as_deref().unwrap();
        let times = vec![Value::Null; step.times.unwrap_or(1)];
        for (time, one) in (1..).zip(step.each.as_ref().unwrap_or(&times)) {
            let came = attempt.step(&served, step, one).await;
            if came != gives {
                wrong.push(format!("{}, step {number}.{time} {one}: {came}, expected {gives}", attack.name));
            }
        }
    }
    served.end().await;
    wrong
}

#[test]
fn no_attempt_gets_past_a_limit() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/attacks");
    let (mut wrong, mut names) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let file: File = serde_json::from_value(yaml::parse(&text)).unwrap();
        let bundle = Bundle::new(file.bundle, BTreeMap::new());
        for attack in &file.attacks {
            wrong.extend(runtime.block_on(attempt(attack, &bundle)));
        }
        names.extend(file.attacks.into_iter().map(|attack| attack.name));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(names.len() >= 75, "{} attempts", names.len());
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "every attempt has a name of its own");
}
