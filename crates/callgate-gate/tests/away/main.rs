//! A gate elsewhere: what is believed of it, what runs without it, and what it hears of that afterwards.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod hostile;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_gate::clock::{Clock as _, ManualClock};
use callgate_gate::{
    Answer, AnyGate, Asked, Away, Bundle, Carried, Carrier, Claim, Credential, Decided, FailWord, Gate,
    GateOptions, Ground, OutcomeReport, OutcomeStatus, Question, StopRequest, Stopgap,
};
use callgate_store::OsRandom;
use callgate_store::journal::Journal;
use callgate_store::sim::{Faults, SimFs};
use serde_json::{Value, json};

const RULES: &str = r#"
version: v1
rules:
  - {id: read, match: {tools: [s.read]}, decision: allow_with_constraints, constraints: {max_runtime_ms: 50}}
  - {id: write, match: {tools: [s.write]}, decision: allow}
  - {id: drop, match: {tools: [s.drop]}, decision: deny}
  - {id: hold, match: {tools: [s.hold]}, decision: require_approval, reason: ask, approval: {reviewers: ["role:ops"], expires: 30m}}
"#;
const SETTINGS: &str = "version: v1
tiers: {low: [helper]}
fail_open: {tiers: [low], max_actions: 3, window: 1h, tools: [s.read, s.drop, s.hold]}
";
const START_MS: i64 = 1_800_000_000_000;

async fn gate(fs: &SimFs, clock: &Arc<ManualClock>) -> Arc<Gate> {
    gate_of(fs, clock, &[("callgate.yaml", SETTINGS)]).await
}

/// A gate with the rules and these files.
async fn gate_of(fs: &SimFs, clock: &Arc<ManualClock>, files: &[(&str, &str)]) -> Arc<Gate> {
    let files = files.iter().chain(&[("rules/r.yaml", RULES)]);
    let files: BTreeMap<_, _> = files.map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let bundle = Bundle::new(files, BTreeMap::new());
    let clock: Arc<ManualClock> = Arc::clone(clock);
    let options = GateOptions { segment_bytes: 4 << 20, ..GateOptions::default() };
    let opened = Gate::open(Arc::new(fs.clone()), clock, Arc::new(OsRandom), Some(&bundle), options).await;
    opened.unwrap().gate
}

/// What becomes of an answer to a path; `None` where it is lost.
type Change = Box<dyn FnMut(&str, Value) -> Option<Value> + Send>;

/// Answers of a gate in this program, changed as the test says.
struct Link {
    gate: parking_lot::Mutex<Option<Arc<Gate>>>,
    change: parking_lot::Mutex<Change>,
    /// Who asks, as the gate sees it.
    who: Credential,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

impl Link {
    fn new(gate: &Arc<Gate>) -> Arc<Self> {
        Self::of(gate, Credential::Local)
    }

    fn of(gate: &Arc<Gate>, who: Credential) -> Arc<Self> {
        let honest = |_: &str, value| Some(value);
        Arc::new(Self {
            gate: parking_lot::Mutex::new(Some(Arc::clone(gate))),
            change: parking_lot::Mutex::new(Box::new(honest)),
            who,
        })
    }

    fn lies(&self, how: impl FnMut(&str, Value) -> Option<Value> + Send + 'static) {
        *self.change.lock() = Box::new(how);
    }

    fn honest(&self) {
        self.lies(|_, value| Some(value));
    }

    fn reach(&self, gate: Option<&Arc<Gate>>) {
        *self.gate.lock() = gate.cloned();
    }
}

impl Carrier for Link {
    fn ask(&self, question: Question) -> Carried<'_> {
        Box::pin(async move {
            let gate = self.gate.lock().clone();
            let gate = gate.ok_or("nobody is there")?;
            let body = question.body.unwrap_or_default();
            let value = match question.path.as_str() {
                "/api/v1/decide" => {
                    let decided = gate.decide(Asked::Bytes(body), self.who.clone()).await;
                    serde_json::to_value(decided.map_err(|e| e.to_string())?.reply).unwrap()
                }
                "/api/v1/enforcement-points/lease" => {
                    let lease = gate.lease(serde_json::from_slice(&body).unwrap(), &self.who).await;
                    serde_json::to_value(lease.map_err(|e| e.to_string())?).unwrap()
                }
                "/api/v1/unchecked" => {
                    let backlog = serde_json::from_slice(&body).unwrap();
                    let reply = gate.reconcile(backlog, &self.who).await;
                    serde_json::to_value(reply.map_err(|e| e.to_string())?).unwrap()
                }
                "/api/v1/progress" => {
                    let report = serde_json::from_slice(&body).unwrap();
                    let progress = gate.progress(&report, &self.who).await;
                    serde_json::to_value(progress.map_err(|e| e.to_string())?).unwrap()
                }
                _ => json!({"status": "ready"}),
            };
            let value = (self.change.lock())(&question.path, value).ok_or("the answer is lost")?;
            // A problem says its status itself.
            let status = value["status"].as_u64().map_or(200, |status| u16::try_from(status).unwrap());
            Ok(Answer { status, body: serde_json::to_vec(&value).unwrap() })
        })
    }
}

fn request(tool: &str, n: u64) -> Request {
    let text = json!({"agent": {"id": "helper"}, "session": {"id": "s1"}, "tool": {"server": "s", "name": tool},
        "args": {"n": n}, "nonce": format!("nonce-{tool}-{n}"), "ts_ms": START_MS,
        "pep": {"id": "mcp", "enforces": ["max_runtime_ms"]}});
    Request::parse(text.to_string().as_bytes(), &Limits::REQUEST).unwrap()
}

fn claim() -> Claim {
    Claim {
        agent: "helper".into(),
        enforces: ["max_runtime_ms".to_owned()].into(),
        point: "mcp-s".into(),
        team: None,
        tenant: "default".into(),
    }
}

fn away(gate: &Arc<Gate>, link: &Arc<Link>, clock: &Arc<ManualClock>, folder: Option<&SimFs>) -> Arc<Away> {
    let pinned = gate.verifying_key();
    let away =
        Away::new(Arc::clone(link) as Arc<dyn Carrier>, pinned, Arc::clone(clock) as _, Arc::new(OsRandom));
    let claim = claim();
    Arc::new(match folder {
        None => away,
        Some(fs) => away.with_stopgap(Stopgap::open(Arc::new(fs.clone()), claim, &pinned).unwrap()),
    })
}

async fn ask(away: &Away, request: &Request) -> Result<Decided, String> {
    let decided = away.decide(Asked::Request(Box::new(request.clone()))).await;
    decided.map_err(|e| e.to_string())
}

/// What a change to an answer is called, and the change.
type Lie = (&'static str, Change);

fn lie(
    name: &'static str,
    mut change: impl FnMut(&mut serde_json::Map<String, Value>) + Send + 'static,
) -> Lie {
    let all = move |path: &str, mut value: Value| {
        if path == "/api/v1/decide" {
            change(value.as_object_mut().unwrap());
        }
        Some(value)
    };
    (name, Box::new(all))
}

#[tokio::test]
async fn law_1_a_permit_comes_only_of_a_receipt_that_answers_this_very_question() {
    let clock = Arc::new(ManualClock::new(START_MS));
    let (here, other) = (gate(&SimFs::new(1), &clock).await, gate(&SimFs::new(2), &clock).await);
    let link = Link::new(&here);
    let point = away(&here, &link, &clock, None);
    let honest = request("read", 1);
    let decided = ask(&point, &honest).await.unwrap();
    let replayed = serde_json::to_value(&decided.reply).unwrap();
    let enforcement = decided.permit.unwrap().redeem(&honest, point.now_ms()).unwrap();
    assert_eq!(enforcement.max_runtime().map(|span| span.as_millis()), Some(50));
    let of = |gate: Arc<Gate>, request: Request| async move {
        let decided = gate.decide(Asked::Request(Box::new(request)), Credential::Local).await.unwrap();
        serde_json::to_value(decided.reply).unwrap()
    };
    let denied = of(Arc::clone(&here), request("drop", 2)).await;
    let foreign = of(other, request("read", 99)).await;
    let another = of(Arc::clone(&here), request("write", 99)).await;
    let take = |from: &Value, keys: &'static [&'static str]| {
        let from = from.clone();
        move |reply: &mut serde_json::Map<String, Value>| {
            for key in keys {
                reply.insert((*key).to_owned(), from[*key].clone());
            }
        }
    };
    const PROOF: &[&str] = &["receipt", "proof", "salt"];
    let drop_key =
        |key: &'static str| move |reply: &mut serde_json::Map<String, Value>| drop(reply.remove(key));
    let lies: Vec<Lie> = vec![
        lie("no receipt", drop_key("receipt")),
        lie("no proof", drop_key("proof")),
        lie("no salt", drop_key("salt")),
        lie("another salt", |reply| drop(reply.insert("salt".into(), "00".repeat(32).into()))),
        lie("a denial's receipt", take(&denied, PROOF)),
        lie("another gate's receipt", take(&foreign, PROOF)),
        lie("another action's receipt", take(&another, PROOF)),
        lie("the receipt of an earlier question", take(&replayed, PROOF)),
        lie("a proof of another receipt", take(&another, &["proof"])),
        lie("a signature changed", |reply| {
            let text = reply["receipt"]["signatures"][0]["sig"].as_str().unwrap().to_owned();
            let swapped = if text.starts_with('A') { "B" } else { "A" };
            reply["receipt"]["signatures"][0]["sig"] = format!("{swapped}{}", &text[1..]).into();
        }),
        lie("a payload changed", |reply| reply["receipt"]["payload"] = "e30=".into()),
    ];
    for (n, (name, change)) in (100..).zip(lies) {
        link.lies(change);
        // The very action that was decided before, or a fresh one: neither runs.
        for asked in [request("read", n), Request { nonce: Some(format!("n{n}")), ..honest.clone() }] {
            let refused = ask(&point, &asked).await;
            assert!(refused.is_err(), "{name}: {refused:?}");
        }
    }
    // What is not signed is not believed, either way.
    let (_, loosened) = lie("constraints", |reply| drop(reply.insert("constraints".into(), json!({}))));
    link.lies(loosened);
    let asked = request("read", 500);
    let permit = ask(&point, &asked).await.unwrap().permit.unwrap();
    assert!(permit.redeem(&asked, point.now_ms()).unwrap().max_runtime().is_some());
    link.honest();
    let asked = request("read", 501);
    let permit = ask(&point, &asked).await.unwrap().permit.unwrap();
    clock.set(START_MS + 3_600_000);
    assert!(permit.redeem(&asked, point.now_ms()).is_err(), "too old by the local clock");
}

/// Every `UNCHECKED` receipt's place in its journal, and how many windows there are.
fn unchecked(gate: &Gate) -> (Vec<u64>, usize) {
    let all = (0..gate.size()).map(|n| gate.receipt(n, &Credential::Local).unwrap().statement);
    let all: Vec<Value> = all.map(|it| it["predicate"].clone()).collect();
    let ran = all.iter().filter(|it| it["decision"] == "UNCHECKED");
    let windows = all.iter().filter(|it| it["operation"] == "unchecked.window").count();
    (ran.map(|it| it["unchecked"]["sequence"].as_u64().unwrap()).collect(), windows)
}

#[tokio::test]
async fn what_runs_unchecked_is_covered_counted_and_handed_in_once_however_often_an_answer_is_lost() {
    for lost in 1..8u64 {
        let clock = Arc::new(ManualClock::new(START_MS));
        let (disk, folder) = (SimFs::new(1), SimFs::new(2));
        let mut here = gate(&disk, &clock).await;
        let link = Link::new(&here);
        let point = away(&here, &link, &clock, Some(&folder));
        point.begin().await;
        link.reach(None);
        let any = AnyGate::from(Arc::clone(&point));
        for (n, tool) in [(1, "read"), (2, "drop"), (3, "read")] {
            let asked = request(tool, n);
            let permit = ask(&point, &asked).await.unwrap().permit.unwrap();
            let ground = permit.ground();
            assert!(matches!(ground, Ground::Unchecked(_)), "{ground:?}");
            assert!(permit.redeem(&asked, point.now_ms()).is_ok());
            let report = OutcomeReport::new(ground.number(), OutcomeStatus::Succeeded);
            any.report(ground, report, &Credential::Local).await.unwrap();
        }
        assert!(ask(&point, &request("read", 4)).await.unwrap_err().contains("3 action(s) ran unchecked"));
        assert!(ask(&point, &request("write", 5)).await.unwrap_err().contains("does not name"));
        // The gate comes back, and answers are lost: it dies after its commit and begins again.
        let asked = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&asked);
        link.lies(move |path, value| {
            let n = if path.contains("unchecked") { seen.fetch_add(1, Ordering::SeqCst) } else { u64::MAX };
            (n >= lost).then_some(value)
        });
        for _ in 0..lost + 2 {
            here.close();
            here = gate(&disk, &clock).await;
            link.reach(Some(&here));
            point.tend().await;
        }
        assert_eq!(unchecked(&here), (vec![0, 1, 2], 1), "{lost}");
        let told = point.health();
        assert_eq!((told.backlog, told.unchecked), (0, 3));
        // What ran counts against the next lease: there is no room for another one.
        clock.set(START_MS + 60_000);
        point.tend().await;
        link.reach(None);
        assert!(
            ask(&point, &request("read", 6)).await.unwrap_err().contains("ran unchecked within the window")
        );
        let dropped = (0..here.size()).map(|n| here.receipt(n, &Credential::Local).unwrap().statement);
        let dropped = dropped.map(|it| it["predicate"].clone()).find(|it| it["unchecked"]["sequence"] == 1);
        assert_eq!(dropped.unwrap()["would"]["decision"], "DENY");
    }
}

#[tokio::test]
async fn no_record_no_action_whenever_the_power_of_the_point_fails() {
    let clock = Arc::new(ManualClock::new(START_MS));
    let disk = SimFs::new(1);
    let here = gate(&disk, &clock).await;
    for crash_at in 1..60 {
        let (folder, link) = (SimFs::new(crash_at), Link::new(&here));
        let point = away(&here, &link, &clock, Some(&folder));
        point.begin().await;
        link.reach(None);
        let begun = folder.calls();
        let mut faults = Faults::default();
        faults.crash_at = Some(begun + crash_at);
        folder.set_faults(faults);
        let mut ran = 0;
        for n in 0..5 {
            let asked = request("read", n);
            ran += usize::from(ask(&point, &asked).await.is_ok());
        }
        drop(point);
        folder.crash();
        folder.set_faults(Faults::default());
        let point = away(&here, &link, &clock, Some(&folder));
        let known = usize::try_from(point.health().backlog).unwrap();
        assert!(known >= ran, "{crash_at}: {ran} ran and {known} are known");
        for n in 10..15 {
            ran += usize::from(ask(&point, &request("read", n)).await.is_ok());
        }
        assert!(ran <= 3, "{crash_at}: {ran}");
    }
}

#[tokio::test]
async fn a_request_that_the_gate_cannot_answer_does_not_make_it_absent() {
    let clock = Arc::new(ManualClock::new(START_MS));
    let here = gate(&SimFs::new(1), &clock).await;
    let (link, folder) = (Link::new(&here), SimFs::new(2));
    let point = away(&here, &link, &clock, Some(&folder));
    point.begin().await;
    link.lies(|path, value| (path != "/api/v1/decide").then_some(value));
    assert!(ask(&point, &request("read", 1)).await.unwrap_err().contains("the gate is there"));
    link.lies(|_, _| None);
    assert!(ask(&point, &request("read", 2)).await.is_ok(), "now it is away");
}

#[tokio::test]
async fn a_lease_is_nobodys_to_forge() {
    let clock = Arc::new(ManualClock::new(START_MS));
    let (here, other) = (gate(&SimFs::new(1), &clock).await, gate(&SimFs::new(2), &clock).await);
    // Another gate's lease, and one that answered an earlier question.
    let link = Link::new(&other);
    let point = away(&here, &link, &clock, Some(&SimFs::new(3)));
    point.begin().await;
    link.reach(None);
    assert!(ask(&point, &request("read", 1)).await.is_err());
    let link = Link::new(&here);
    let first = Arc::new(parking_lot::Mutex::new(None::<Value>));
    let kept = Arc::clone(&first);
    link.lies(move |path, value| {
        if path.contains("lease") { Some(kept.lock().get_or_insert(value).clone()) } else { Some(value) }
    });
    away(&here, &link, &clock, Some(&SimFs::new(4))).begin().await;
    let point = away(&here, &link, &clock, Some(&SimFs::new(5)));
    point.begin().await;
    assert!(point.health().lease_until_ms.is_none(), "{:?}", point.health());
    link.reach(None);
    assert!(ask(&point, &request("read", 2)).await.is_err());
    // Over: the clock goes on, and back before it began.
    let link = Link::new(&here);
    let folder = SimFs::new(6);
    let point = away(&here, &link, &clock, Some(&folder));
    point.begin().await;
    link.reach(None);
    clock.set(START_MS + 25 * 3_600_000);
    assert!(ask(&point, &request("read", 3)).await.unwrap_err().contains("over"));
    drop(point);
    clock.set(START_MS - 3_600_000);
    let point = away(&here, &link, &clock, Some(&folder));
    assert!(ask(&point, &request("read", 4)).await.unwrap_err().contains("over"));
    assert_eq!(clock.now_ms(), START_MS - 3_600_000);
}

fn stop(scope: &str, names: &[(&str, &str)]) -> StopRequest {
    let names = names.iter().map(|(field, name)| ((*field).to_owned(), Value::from(*name)));
    let note = [("note", "it loops"), ("scope", scope)].map(|(field, text)| (field.to_owned(), text.into()));
    serde_json::from_value(Value::Object(names.chain(note).collect())).unwrap()
}

#[tokio::test]
async fn a_stopped_agent_gets_no_lease() {
    let clock = Arc::new(ManualClock::new(START_MS));
    let here = gate(&SimFs::new(1), &clock).await;
    let asks = |team: Option<&str>| {
        let who = Credential::Agent {
            agent: "helper".into(),
            tenant: "default".into(),
            team: team.map(str::to_owned),
        };
        let what = json!({"agent": "helper", "enforces": ["max_runtime_ms"], "nonce": "n", "point": "p"});
        let (here, what) = (Arc::clone(&here), serde_json::from_value(what).unwrap());
        async move { here.lease(what, &who).await.unwrap().fail_mode == FailWord::Open }
    };
    for (scope, names, stops) in [
        ("everything", &[][..], true),
        ("tenant", &[("tenant", "default")], true),
        ("tenant", &[("tenant", "acme")], false),
        ("team", &[("team", "docs")], true),
        ("team", &[("team", "sales")], false),
        ("agent", &[("agent", "HELPER")], true),
        ("agent", &[("agent", "helper"), ("tenant", "acme")], false),
        ("agent", &[("agent", "other")], false),
    ] {
        let id = here.stop(stop(scope, names), &Credential::Local).await.unwrap().stop.id;
        assert_eq!(asks(Some("docs")).await, !stops, "{scope} {names:?}");
        here.lift_stop(&id, Some("over"), &Credential::Local).await.unwrap();
        assert!(asks(Some("docs")).await && asks(None).await);
    }
}

/// A stop after the lease: a gate that is away cannot say so, and what runs within the lease is handed in as what
/// would have been stopped; once the gate is heard there is no other lease.
#[tokio::test]
async fn a_stop_after_the_lease_holds_as_soon_as_the_gate_is_heard() {
    let clock = Arc::new(ManualClock::new(START_MS));
    let here = gate(&SimFs::new(1), &clock).await;
    let (link, folder) = (Link::new(&here), SimFs::new(2));
    let point = away(&here, &link, &clock, Some(&folder));
    point.begin().await;
    here.stop(stop("agent", &[("agent", "helper")]), &Credential::Local).await.unwrap();
    link.reach(None);
    let unheard = request("read", 2);
    let permit = ask(&point, &unheard).await.unwrap().permit.unwrap();
    let ground = permit.ground();
    assert!(permit.redeem(&unheard, point.now_ms()).is_ok());
    let report = OutcomeReport::new(ground.number(), OutcomeStatus::Succeeded);
    AnyGate::from(Arc::clone(&point)).report(ground, report, &Credential::Local).await.unwrap();
    link.reach(Some(&here));
    clock.set(START_MS + 60_000);
    point.tend().await;
    let all = (0..here.size()).map(|n| here.receipt(n, &Credential::Local).unwrap().statement);
    let all: Vec<Value> = all.map(|it| it["predicate"].clone()).collect();
    let ran: Vec<&Value> = all.iter().filter(|it| it["decision"] == "UNCHECKED").collect();
    assert_eq!(ran.len(), 1);
    assert_eq!(ran[0]["would"]["code"], "AGENT_KILLED");
    assert_eq!(ran[0]["unchecked"].get("exceeded"), None, "the lease covered it");
    assert!(point.health().fails_closed.unwrap().contains("stopped"), "{:?}", point.health());
    link.reach(None);
    assert!(ask(&point, &request("read", 3)).await.unwrap_err().contains("stopped"));
}

/// A journal that says less than it did makes no room for more.
#[tokio::test]
async fn nothing_runs_on_a_journal_that_is_damaged_or_gone_before_the_log_tells_of_it() {
    for gone in [false, true] {
        let clock = Arc::new(ManualClock::new(START_MS));
        let here = gate(&SimFs::new(1), &clock).await;
        let (link, folder) = (Link::new(&here), SimFs::new(2));
        let point = away(&here, &link, &clock, Some(&folder));
        point.begin().await;
        link.reach(None);
        assert!(ask(&point, &request("read", 1)).await.is_ok());
        drop(point);
        let name = folder.files().into_iter().find(|name| name.ends_with(".jsonl")).unwrap();
        if gone {
            folder.lose(&name);
        } else {
            folder.edit(&name, |bytes| bytes[100] ^= 1).unwrap();
        }
        // However often it looks, and is started again.
        for n in 10..14 {
            let point = away(&here, &link, &clock, Some(&folder));
            let refused = ask(&point, &request("read", n)).await.unwrap_err();
            assert!(refused.contains("damaged or gone"), "{gone}: {refused}");
            point.tend().await;
            assert!(ask(&point, &request("read", n + 10)).await.is_err(), "{gone}");
            assert!(point.health().fails_closed.unwrap().contains("damaged or gone"));
        }
        let point = away(&here, &link, &clock, Some(&folder));
        link.reach(Some(&here));
        point.tend().await;
        assert_eq!(unchecked(&here), (Vec::new(), 1), "{gone}");
        let all = (0..here.size()).map(|n| here.receipt(n, &Credential::Local).unwrap().statement);
        let told = all.filter(|it| it["predicate"]["details"]["damaged_bytes"].is_string());
        assert_eq!(told.count(), 1, "{gone}");
        point.tend().await;
        link.reach(None);
        assert!(ask(&point, &request("read", 30)).await.is_ok(), "under a new lease");
    }
}

#[tokio::test]
async fn what_ran_is_handed_in_though_its_journal_vanished_under_the_point() {
    let clock = Arc::new(ManualClock::new(START_MS));
    let here = gate(&SimFs::new(1), &clock).await;
    let (link, folder) = (Link::new(&here), SimFs::new(2));
    let point = away(&here, &link, &clock, Some(&folder));
    point.begin().await;
    link.reach(None);
    let any = AnyGate::from(Arc::clone(&point));
    for n in 0..2 {
        let ground = ask(&point, &request("read", n)).await.unwrap().permit.unwrap().ground();
        let report = OutcomeReport::new(ground.number(), OutcomeStatus::Succeeded);
        any.report(ground, report, &Credential::Local).await.unwrap();
        let name = folder.files().into_iter().find(|name| name.ends_with(".jsonl"));
        name.into_iter().for_each(|name| folder.lose(&name));
    }
    link.reach(Some(&here));
    point.tend().await;
    assert_eq!(unchecked(&here), (vec![0, 1], 1));
    assert_eq!(point.health().backlog, 0);
}

/// Of two that are there, both are handed in, and nothing of them is left.
#[tokio::test]
async fn a_second_journal_that_was_open_is_handed_in_and_removed() {
    let clock = Arc::new(ManualClock::new(START_MS));
    let here = gate(&SimFs::new(1), &clock).await;
    let (link, folder) = (Link::new(&here), SimFs::new(2));
    for name in ["open-aa.jsonl", "open-bb.jsonl"] {
        drop(Journal::create(&folder, name, &name[5..7]).unwrap());
    }
    let point = away(&here, &link, &clock, Some(&folder));
    for _ in 0..3 {
        point.tend().await;
    }
    let left: Vec<String> = folder.files().into_iter().filter(|name| name.ends_with(".jsonl")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(unchecked(&here), (Vec::new(), 2));
}
