//! An agent that would have its gate away, and whoever answers in the gate's place.

use callgate_gate::{LimitFilter, Lost, StopRequest};

use super::*;

/// Asks while nobody is there.
async fn alone(point: &Away, link: &Link, asked: &Request) -> Result<Decided, String> {
    let gate = link.gate.lock().take();
    let answer = ask(point, asked).await;
    link.reach(gate.as_ref());
    answer
}

struct World {
    clock: Arc<ManualClock>,
    disk: SimFs,
    here: Arc<Gate>,
    link: Arc<Link>,
    folder: SimFs,
    point: Arc<Away>,
}

impl World {
    async fn new() -> Self {
        Self::of(&[("callgate.yaml", SETTINGS)], Credential::Local).await
    }

    /// A point with a lease.
    async fn of(files: &[(&str, &str)], who: Credential) -> Self {
        let (clock, disk, folder) = (Arc::new(ManualClock::new(START_MS)), SimFs::new(1), SimFs::new(2));
        let here = gate_of(&disk, &clock, files).await;
        let link = Link::of(&here, who);
        let point = away(&here, &link, &clock, Some(&folder));
        point.begin().await;
        assert!(point.health().lease_until_ms.is_some(), "{:?}", point.health());
        Self { clock, disk, here, link, folder, point }
    }

    /// The program ends and begins again.
    fn restart(mut self) -> Self {
        drop(self.point);
        self.point = away(&self.here, &self.link, &self.clock, Some(&self.folder));
        self
    }

    /// A few seconds later.
    async fn later(&self) {
        self.clock.set(self.clock.now_ms().saturating_add(6_000));
        self.point.tend().await;
    }

    async fn alone(&self, asked: &Request) -> Result<Decided, String> {
        alone(&self.point, &self.link, asked).await
    }

    /// An action that runs while nobody is there, and ends.
    async fn ran(&self, asked: &Request) {
        let ground = self.alone(asked).await.unwrap().permit.unwrap().ground();
        let report = OutcomeReport::new(ground.number(), OutcomeStatus::Succeeded);
        AnyGate::from(Arc::clone(&self.point)).report(ground, report, &Credential::Local).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_denied_or_held_waits_in_vain_for_the_gate_to_fail() {
    let world = World::new().await;
    for tool in ["drop", "hold"] {
        assert!(ask(&world.point, &request(tool, 1)).await.unwrap().permit.is_none());
        for asked in [request(tool, 1), request(tool, 2), request(&tool.to_uppercase(), 3)] {
            let refused = world.alone(&asked).await.unwrap_err();
            assert!(refused.contains("did not let") || refused.contains("does not name"), "{refused}");
        }
    }
    let world = world.restart();
    let refused = world.alone(&request("hold", 4)).await.unwrap_err();
    assert!(refused.contains("did not let"), "{refused}");
    assert!(world.alone(&request("read", 5)).await.is_ok());
    // After a day it is as if it had not been asked.
    world.clock.set(START_MS + 25 * 3_600_000);
    world.point.tend().await;
    assert!(world.alone(&request("hold", 6)).await.is_ok());
}

#[tokio::test]
async fn what_cannot_be_remembered_costs_the_lease() {
    let world = World::new().await;
    let mut faults = Faults::default();
    faults.fail_at = Some(world.folder.calls() + 2);
    world.folder.set_faults(faults);
    assert!(ask(&world.point, &request("drop", 1)).await.unwrap().permit.is_none());
    assert!(world.alone(&request("read", 2)).await.unwrap_err().contains("cannot be written down"));
}

#[tokio::test]
async fn what_the_gate_could_not_read_never_runs_unchecked() {
    let world = World::new().await;
    let nested = |depth: usize| {
        let args = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let text = request("read", 1).canonical().replace(r#""n":1"#, &format!(r#""n":{args}"#));
        Request::parse(text.as_bytes(), &Limits { depth: 64, ..Limits::REQUEST }).unwrap()
    };
    for depth in [31, 32, 40] {
        let refused = world.alone(&nested(depth)).await.unwrap_err();
        assert!(refused.contains("could not read"), "{depth}: {refused}");
    }
    world.ran(&nested(30)).await;
    world.later().await;
    let told = world.point.health();
    assert_eq!((told.backlog, told.backlog_problem), (0, None));
    assert_eq!(unchecked(&world.here), (vec![0], 1));
}

#[tokio::test]
async fn a_journal_goes_only_when_the_gates_own_receipt_says_that_it_has_it() {
    let world = World::new().await;
    let other = gate(&SimFs::new(9), &world.clock).await;
    // A copy of the gate that has its key and has lost some of its log.
    let twin = gate(&world.disk.fork(), &world.clock).await;
    for n in 1..=2 {
        world.ran(&request("read", n)).await;
    }
    // Whatever else is asked is lost, so that nothing but the reply to the journal counts.
    let reply = |window: Value| {
        let reply = json!({"closed": true, "exceeded": 0, "next": 2, "receipts": [7, 8], "refused": 0, "window": window});
        move |path: &str, _: Value| path.contains("unchecked").then(|| reply.clone())
    };
    let window_of = |gate: &Arc<Gate>, journal: &str, complete: bool| {
        let backlog = json!({"agent": "helper", "point": "mcp-s", "journal": journal, "complete": complete});
        let (gate, backlog) = (Arc::clone(gate), serde_json::from_value(backlog).unwrap());
        async move { gate.reconcile(backlog, &Credential::Local).await.unwrap().window }
    };
    let names = world.folder.files();
    let journal = names.iter().find_map(|name| name.strip_prefix("open-")?.strip_suffix(".jsonl")).unwrap();
    let lies = [
        Value::Null,
        json!({"receipt_index": 1, "receipt": {}, "proof": ""}),
        // Another gate says that it has it.
        json!(window_of(&other, journal, true).await.unwrap()),
        // This gate has another one.
        json!(window_of(&world.here, "another", true).await.unwrap()),
        // This gate has it, with less in it than ran.
        json!(window_of(&twin, journal, true).await.unwrap()),
    ];
    for lie in lies {
        let shown = lie.to_string();
        world.link.lies(reply(lie));
        world.point.tend().await;
        let told = world.point.health();
        assert_eq!(told.backlog, 2, "{shown}");
        assert!(told.backlog_problem.unwrap().contains("does not prove"), "{shown}");
    }
    let world = world.restart();
    assert_eq!(world.point.health().backlog, 2);
}

#[tokio::test]
async fn a_gate_that_is_kept_busy_is_there() {
    let world = World::new().await;
    let problem =
        |kind: &str| json!({"type": format!("urn:callgate:problem:{kind}"), "status": 503, "detail": "x"});
    let (busy, broken) = (problem("busy"), problem("gate-unavailable"));
    let says = |decide: Value, readyz: Value| {
        move |path: &str, _: Value| {
            let value = if path == "/api/v1/decide" { &decide } else { &readyz };
            (!value.is_null()).then(|| value.clone())
        }
    };
    for (decide, readyz) in [(&busy, &Value::Null), (&broken, &busy), (&Value::Null, &busy)] {
        world.link.lies(says(decide.clone(), readyz.clone()));
        let refused = ask(&world.point, &request("read", 1)).await;
        assert!(refused.is_err(), "{decide} {readyz}");
    }
    world.link.lies(says(broken.clone(), broken));
    assert!(ask(&world.point, &request("read", 2)).await.is_ok(), "a gate that failed is away");
}

/// Breaks off the question whether it is there so many times, and answers no other.
#[derive(Debug)]
struct Crowded(Arc<Link>, AtomicU64, Lost);

impl Carrier for Crowded {
    fn ask(&self, question: Question) -> Carried<'_> {
        let left = self.1.load(Ordering::SeqCst);
        if question.path == "/api/v1/decide" || (question.standing && left > 0) {
            self.1.store(left.saturating_sub(u64::from(question.standing)), Ordering::SeqCst);
            let lost = self.2.clone();
            return Box::pin(async { Err(lost) });
        }
        self.0.ask(question)
    }
}

#[tokio::test]
async fn a_gate_that_breaks_off_some_connections_is_there() {
    let broken = || Lost::BrokenOff("broken off".into());
    for (times, lost, is_there) in [
        (3, broken(), true),
        // Something stands before a gate that is gone.
        (1_000, broken(), false),
        // This side has no more files.
        (1_000, Lost::Unasked("too many open files".into()), true),
        (1_000, Lost::Nobody("refused".into()), false),
    ] {
        let world = World::new().await;
        let (pinned, clock) = (world.here.verifying_key(), Arc::clone(&world.clock));
        drop(world.point);
        let stopgap = Stopgap::open(Arc::new(world.folder.clone()), claim(), &pinned).unwrap();
        let crowded = Arc::new(Crowded(Arc::clone(&world.link), AtomicU64::new(times), lost));
        let point = Away::new(crowded, pinned, clock, Arc::new(OsRandom)).with_stopgap(stopgap);
        assert!(point.health().lease_until_ms.is_some());
        let asked = ask(&point, &request("read", 1)).await;
        assert_eq!(asked.is_err(), is_there, "{times}: {asked:?}");
    }
}

#[tokio::test]
async fn a_stop_takes_the_lease_though_nothing_is_asked() {
    for (scope, agent, session, tool) in [
        ("everything", None, None, None),
        ("agent", Some("HELPER"), None, None),
        ("session", Some("helper"), Some("s1"), None),
        ("tool", None, None, Some("s.read")),
    ] {
        let world = World::new().await;
        let text = |text: Option<&str>| text.map(str::to_owned);
        let stop = StopRequest {
            scope: scope.to_owned(),
            agent: text(agent),
            session: text(session),
            tool: text(tool),
            note: Some("n".to_owned()),
            ..StopRequest::default()
        };
        let id = world.here.stop(stop, &Credential::Local).await.unwrap().stop.id;
        world.later().await;
        let refused = world.alone(&request("read", 1)).await.unwrap_err();
        assert!(refused.contains("an operator stopped"), "{scope}: {refused}");
        let world = world.restart();
        assert!(world.alone(&request("read", 2)).await.is_err(), "{scope}: in the folder, too");
        world.here.lift_stop(&id, Some("n"), &Credential::Local).await.unwrap();
        world.later().await;
        assert!(world.alone(&request("read", 3)).await.is_ok(), "{scope}");
    }
    let world = World::new().await;
    let other = StopRequest {
        scope: "agent".to_owned(),
        agent: Some("another".to_owned()),
        note: Some("n".to_owned()),
        ..StopRequest::default()
    };
    world.here.stop(other, &Credential::Local).await.unwrap();
    world.later().await;
    assert!(world.alone(&request("read", 1)).await.is_ok());
}

const STRIKES: &str = "version: v1
breakers: [{id: strikes, per: [agent], trip: {denials: 2, within: 5m, codes: [DENIED_BY_RULE]}}]
";

#[tokio::test]
async fn an_open_breaker_takes_the_lease_and_gives_none() {
    let world =
        World::of(&[("callgate.yaml", SETTINGS), ("limits/l.yaml", STRIKES)], Credential::Local).await;
    let strike = |n: u64| {
        let body = request("drop", n).canonical().into_bytes();
        let gate = Arc::clone(&world.here);
        async move { gate.decide(Asked::Bytes(body), Credential::Local).await.unwrap() }
    };
    strike(1).await;
    world.later().await;
    assert!(world.point.health().lease_until_ms.is_some());
    strike(2).await;
    world.later().await;
    let refused = world.alone(&request("read", 1)).await.unwrap_err();
    assert!(refused.contains("breaker is open"), "{refused}");
}

#[tokio::test]
async fn denied_actions_that_ran_unchecked_are_told_and_counted_by_breakers() {
    let world =
        World::of(&[("callgate.yaml", SETTINGS), ("limits/l.yaml", STRIKES)], Credential::Local).await;
    for (n, tool) in [(1, "read"), (2, "drop"), (3, "drop")] {
        world.ran(&request(tool, n)).await;
    }
    world.later().await;
    assert_eq!(world.here.health().unchecked_refused, 2);
    let window = (0..world.here.size())
        .map(|n| world.here.receipt(n, &Credential::Local).unwrap().statement["predicate"].clone())
        .find(|it| it["operation"] == "unchecked.window")
        .unwrap();
    assert_eq!((&window["details"]["count"], &window["details"]["refused"]), (&json!("3"), &json!("2")));
    let refused = ask(&world.point, &request("read", 4)).await.unwrap().reply;
    assert_eq!(refused.code.map(|code| code.to_string()).as_deref(), Some("BREAKER_OPEN"));
}

const SPEND: &str = r#"version: v1
budgets: [{id: calls, unit: calls, limit: "5", per: [], over: day}]
"#;

#[tokio::test]
async fn nobody_uses_up_what_others_share_by_telling_of_actions_that_no_lease_permits() {
    let clock = Arc::new(ManualClock::new(START_MS));
    let here =
        gate_of(&SimFs::new(1), &clock, &[("callgate.yaml", SETTINGS), ("limits/l.yaml", SPEND)]).await;
    let who = Credential::Agent { agent: "stranger".into(), tenant: "default".into(), team: None };
    let records: Vec<Value> = (0..10)
        .map(|n| {
            let text = request("drop", n).canonical().replace("helper", "stranger");
            let request: Value = serde_json::from_str(&text).unwrap();
            // Times and leases as nobody has them.
            let (at_ms, lease) = if n == 0 { (i64::MIN, u64::MAX >> 11) } else { (START_MS, n) };
            json!({"at_ms": at_ms, "lease": lease, "request": request, "sequence": n})
        })
        .collect();
    let backlog =
        json!({"agent": "stranger", "point": "p", "journal": "j", "records": records, "complete": true});
    let reply = here.reconcile(serde_json::from_value(backlog).unwrap(), &who).await.unwrap();
    assert_eq!((reply.next, reply.exceeded, reply.refused), (10, 10, 10));
    let used = here.meters(&LimitFilter::default(), &Credential::Local);
    assert!(used.is_empty(), "{used:?}");
}

#[tokio::test]
async fn a_policy_without_it_takes_the_lease_though_nothing_is_asked() {
    let mut world = World::new().await;
    world.here.close();
    let closed = "version: v1\ntiers: {critical: [helper]}\n";
    world.here = gate_of(&world.disk, &world.clock, &[("callgate.yaml", closed)]).await;
    world.link.reach(Some(&world.here));
    world.later().await;
    let refused = world.alone(&request("read", 1)).await.unwrap_err();
    assert!(refused.contains("does not let this agent"), "{refused}");
}

#[tokio::test]
async fn asking_whether_a_lease_is_right_writes_nothing_and_tells_whether_the_gate_is_there() {
    let world = World::new().await;
    let (before, until) = (world.here.size(), world.point.health().lease_until_ms);
    for _ in 0..5 {
        world.later().await;
    }
    assert_eq!((world.here.size(), world.point.health().lease_until_ms), (before, until));
    world.link.reach(None);
    assert_eq!(world.point.health().status, "ready");
    world.later().await;
    assert_eq!(world.point.health().status, "unchecked", "nobody asked anything");
    world.link.reach(Some(&world.here));
    world.later().await;
    assert_eq!(world.point.health().status, "ready");
}

#[tokio::test]
async fn what_runs_goes_on_without_the_gate_only_where_it_could_begin() {
    let world = World::new().await;
    let any = AnyGate::from(Arc::clone(&world.point));
    let ground = async |tool: &str, n: u64| {
        let permit = ask(&world.point, &request(tool, n)).await.unwrap().permit.unwrap();
        permit.ground()
    };
    let (write, read) = (ground("write", 1).await, ground("read", 2).await);
    let goes_on = async |ground: Ground, name: &str| {
        let progress = any.progress(ground, name, &Credential::Local).await;
        progress.is_ok_and(|progress| progress.goes_on)
    };
    assert!(goes_on(write, "s.write").await && goes_on(read, "s.read").await);
    // The gate is there, and does not answer this.
    world.link.lies(|path, value| (path != "/api/v1/progress").then_some(value));
    assert!(!goes_on(read, "s.read").await);
    world.link.honest();
    world.link.reach(None);
    assert!(!goes_on(write, "s.write").await, "the lease does not name it");
    assert!(goes_on(read, "s.read").await);
    let unchecked = ground("read", 3).await;
    assert!(matches!(unchecked, Ground::Unchecked(_)) && goes_on(unchecked, "s.read").await);
    // The gate is back, and the agent was stopped.
    world.link.reach(Some(&world.here));
    let stop =
        StopRequest { scope: "everything".to_owned(), note: Some("n".to_owned()), ..StopRequest::default() };
    world.here.stop(stop, &Credential::Local).await.unwrap();
    assert!(!goes_on(read, "s.read").await);
    assert!(!goes_on(unchecked, "s.read").await, "the stop of one is heeded by the other");
}

#[tokio::test]
async fn a_record_of_another_team_is_taken_in_once() {
    let who =
        Credential::Agent { agent: "helper".into(), tenant: "default".into(), team: Some("new".into()) };
    let world = World::of(&[("callgate.yaml", SETTINGS)], who).await;
    let text = request("read", 1).canonical().replace(r#""id":"helper""#, r#""id":"helper","team":"old""#);
    let asked = Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap();
    assert_eq!(asked.agent.team.as_ref().map(ToString::to_string).as_deref(), Some("old"));
    world.ran(&asked).await;
    world.ran(&request("read", 2)).await;
    for _ in 0..3 {
        world.later().await;
    }
    assert_eq!(unchecked(&world.here), (vec![0, 1], 1));
}

#[tokio::test]
async fn a_disk_that_fails_while_a_journal_begins_leaves_nothing_that_cannot_be_handed_in() {
    for fail_at in 1..8 {
        for removed in [true, false] {
            let world = World::new().await;
            let mut faults = Faults::default();
            faults.fail_at = Some(world.folder.calls() + fail_at);
            if !removed {
                // Nor can what is left be removed.
                faults.crash_at = Some(world.folder.calls() + fail_at + 1);
            }
            world.folder.set_faults(faults);
            let mut ran: Vec<u64> = Vec::new();
            for n in 1..=2 {
                if world.alone(&request("read", n)).await.is_ok() {
                    ran.push(n);
                }
            }
            world.folder.crash();
            world.folder.set_faults(Faults::default());
            let world = world.restart();
            if world.alone(&request("read", 3)).await.is_ok() {
                ran.push(3);
            }
            let world = world.restart();
            for _ in 0..4 {
                world.later().await;
            }
            let told = world.point.health();
            assert_eq!((told.backlog, told.backlog_problem), (0, None), "{fail_at}");
            let known = unchecked(&world.here).0.len();
            assert!(known >= ran.len(), "{fail_at}: {ran:?} ran, {known} are known");
            assert!(world.folder.files().iter().all(|name| !name.contains(".jsonl")), "{fail_at}");
        }
    }
}

#[tokio::test]
async fn nothing_runs_beside_a_journal_of_which_nobody_knows_what_ran() {
    let world = World::new().await;
    world.ran(&request("read", 1)).await;
    world.link.lies(|path, value| (!path.contains("unchecked")).then_some(value));
    world.later().await;
    let names = world.folder.files();
    let closing = names.iter().find(|name| name.starts_with("closing-")).unwrap();
    world.folder.edit(closing, |bytes| bytes[20] ^= 1).unwrap();
    let world = world.restart();
    let refused = world.alone(&request("read", 2)).await.unwrap_err();
    assert!(refused.contains("damaged or gone"), "{refused}");
}

#[tokio::test]
async fn a_journal_that_somebody_shortens_takes_no_more() {
    let world = World::new().await;
    world.ran(&request("read", 1)).await;
    let names = world.folder.files();
    let open = names.iter().find(|name| name.starts_with("open-")).unwrap();
    world.folder.edit(open, |bytes| bytes.truncate(512)).unwrap();
    let refused = world.alone(&request("read", 2)).await.unwrap_err();
    assert!(refused.contains("changed its length"), "{refused}");
}
