//! What people see of limits: what is left to somebody, and what nobody owns any more.

use callgate_core::decision::Mode;
use callgate_core::state::Holder;
use callgate_gate::{
    Asked, Bounded, Bounds, ControlError, Credential, Gate, LimitFilter, MeterView, Standing,
};

use crate::common::World;
use crate::kit::{call, policy, said};

const ME: &Credential = &Credential::Local;
const TREE: &str = r#"budgets:
  - {id: spend, unit: usd, estimate: "1.00", over: day, levels: {agent: "10", team: "3", tenant: "100"}}
  - {id: each, unit: calls, limit: "5", per: [agent, tool], over: 24h, mode: monitor}
  - {id: whole, unit: calls, limit: "7", per: [session], over: execution, near: {at: 50%}}
throttles:
  - {id: rate, rate: 2/1m, burst: 2, per: [agent]}
  - {id: slide, at_most: 9, within: 1h, per: []}
breakers:
  - {id: strikes, per: [agent], trip: {denials: 3, within: 5m, codes: [DENIED_BY_RULE]}}
  - {id: errors, per: [tool], trip: {failures: 50%, at_least: 4, within: 5m}}
"#;

async fn ask(gate: &Gate, agent: &str, team: &str, more: &str) -> String {
    let body = format!(
        r#"{{"agent":{{"id":"{agent}","team":"{team}"}},"tool":{{"server":"files","name":"read"}}{more}}}"#
    );
    said(&gate.decide(Asked::Bytes(body.into()), Credential::Development).await.expect("decided"))
}

fn of(agent: &str, team: Option<&str>) -> Bounded {
    Bounded { agent: Some(agent.to_owned()), team: team.map(str::to_owned), ..Bounded::default() }
}

fn row<'a>(bounds: &'a Bounds, id: &str) -> &'a MeterView {
    let is = |view: &&MeterView| view.limit.as_ref().is_some_and(|limit| limit.id == id);
    bounds.meters.iter().find(is).unwrap_or_else(|| panic!("no {id}: {bounds:#?}"))
}

fn unseen(bounds: &Bounds) -> Vec<&str> {
    bounds.unseen.iter().map(|it| it.limit.id.as_str()).collect()
}

/// One question tells what an agent may still spend, on every level, and which is used up first.
#[tokio::test]
async fn what_is_left_to_an_agent_is_told_level_by_level() {
    let world = World::new(960);
    let gate = world.open(Some(&policy(TREE))).await.expect("opens");
    assert_eq!(ask(&gate, "bot-1", "Ops", r#","session":{"id":"s"}"#).await, "ALLOW");
    assert_eq!(ask(&gate, "BOT-l", "Ops", r#","session":{"id":"s"}"#).await, "ALLOW");
    let now = gate.now_ms();
    // As people write it, which is not how it asked.
    let bounds = gate.bounds(&of("B0T-1", Some("ops")), ME).expect("known");
    let (agent, team, tenant) =
        (row(&bounds, "spend/agent"), row(&bounds, "spend/team"), row(&bounds, "spend/tenant"));
    let left = |view: &MeterView| (view.used.clone(), view.left.clone().expect("a budget"));
    assert_eq!(left(agent), ("2".to_owned(), "8".to_owned()));
    assert_eq!((left(team), left(tenant)), (("2".into(), "1".into()), ("2".into(), "98".into())));
    assert_eq!((agent.first, team.first, tenant.first), (false, true, false));
    let order: Vec<&str> =
        bounds.meters.iter().filter_map(|view| Some(view.limit.as_ref()?.id.as_str())).collect();
    assert_eq!(
        order,
        ["each", "whole", "spend/team", "spend/agent", "spend/tenant", "rate", "slide", "strikes"]
    );
    let resets = team.resets_at_ms.expect("a day ends");
    assert!(resets > now && resets - now <= 86_400_000 && resets % 86_400_000 == 0, "{resets}");
    let limit = team.limit.as_ref().expect("its limit");
    assert_eq!(
        (limit.most.as_deref(), limit.unit.as_deref(), limit.over.as_deref()),
        (Some("3"), Some("usd"), Some("day"))
    );
    assert_eq!((limit.mode, limit.exceed, limit.kind), (Mode::Enforce, Some("deny"), "budget"));
    assert!(limit.source.starts_with("limits/l.yaml:"), "{}", limit.source);
    // The bucket is empty: the next comes in half a minute at most.
    let rate = row(&bounds, "rate");
    let wait = rate.retry_after_ms.expect("a throttle");
    assert!((1..=30_000).contains(&wait), "{wait}");
    assert_eq!(rate.left.as_deref(), Some("0"));
    assert_eq!(
        (row(&bounds, "slide").left.as_deref(), row(&bounds, "slide").retry_after_ms),
        (Some("7"), Some(0))
    );
    let each = row(&bounds, "each");
    assert_eq!((each.left.as_deref(), each.first, each.resets_at_ms), (Some("3"), false, None));
    assert_eq!(each.limit.as_ref().expect("its limit").mode, Mode::Monitor);
    assert_eq!(row(&bounds, "whole").counts, "session=default/bot-l/s");
    assert_eq!(row(&bounds, "strikes").left.as_deref(), Some("3"));
    assert_eq!(
        unseen(&bounds),
        ["each", "errors", "whole"],
        "other tools and sessions have meters of their own"
    );
    // What nobody has used yet is there whole.
    let fresh = gate.bounds(&of("newcomer", Some("new")), ME).expect("known");
    assert_eq!(
        (left(row(&fresh, "spend/agent")), row(&fresh, "spend/agent").ends_ms),
        (("0".into(), "10".into()), None)
    );
    assert_eq!(row(&fresh, "rate").retry_after_ms, Some(0));
    // What is not named is said, not guessed.
    let alone = gate.bounds(&of("bot-1", None), ME).expect("known");
    assert!(unseen(&alone).contains(&"spend/team"), "{alone:#?}");
    assert!(row(&alone, "spend/agent").first);
    let whole = Bounded {
        session: Some("S".to_owned()),
        tool: Some("Files.read".to_owned()),
        ..of("bot-1", Some("ops"))
    };
    let whole = gate.bounds(&whole, ME).expect("known");
    assert!(whole.unseen.is_empty(), "{whole:#?}");
    assert_eq!(row(&whole, "whole").left.as_deref(), Some("5"));
    assert!(row(&whole, "errors").limit.as_ref().expect("its limit").share_bp == Some(5000));
    for wrong in ["", " bot", "bo\u{200b}t"] {
        assert!(matches!(gate.bounds(&of(wrong, None), ME), Err(ControlError::Invalid(_))), "{wrong:?}");
    }
    gate.close();
}

/// A breaker that is open says so where somebody looks at what blocks an agent.
#[tokio::test]
async fn an_open_breaker_stands_among_what_bounds() {
    let world = World::new(961);
    let gate = world.open(Some(&policy(TREE))).await.expect("opens");
    for _ in 0..3 {
        let asked = Asked::Bytes(call("bot", "drop", ""));
        gate.decide(asked, Credential::Development).await.expect("decided");
    }
    assert!(row(&gate.bounds(&of("Bot", None), ME).expect("known"), "strikes").open);
    assert!(!row(&gate.bounds(&of("cat", None), ME).expect("known"), "strikes").open);
    gate.close();
}

fn key(tenant: &str, team: Option<&str>) -> Holder {
    let (agent, tenant, team) = ("bot".to_owned(), tenant.to_owned(), team.map(str::to_owned));
    Holder::Agent { agent, owner: None, team, tenant }
}

/// Team and tenant are those of the agent's key, where there is one.
#[tokio::test]
async fn what_the_key_says_need_not_be_said() {
    let world = World::new(962);
    let gate = world.open(Some(&policy(TREE))).await.expect("opens");
    gate.create_key(key("acme", Some("ops")), "ana").await.expect("a key");
    let bounds = gate.bounds(&of("BOT", None), ME).expect("known");
    assert_eq!(row(&bounds, "spend/team").counts, "team=ops");
    assert_eq!(row(&bounds, "spend/tenant").counts, "tenant=acrne");
    gate.create_key(key("other", None), "ana").await.expect("a key");
    let both = gate.bounds(&of("bot", None), ME).expect("known");
    assert!(unseen(&both).contains(&"spend/team"), "one key has a team, one has none: {both:#?}");
    let there = Bounded { tenant: Some("other".to_owned()), ..of("bot", None) };
    let there = gate.bounds(&there, ME).expect("known");
    assert_eq!(row(&there, "spend/team").counts, "team=");
    gate.close();
}

/// Whoever looks after one tenant sees what counts by it, hears that there is more, and nothing of others.
#[tokio::test]
async fn one_tenant_is_all_that_its_person_sees() {
    let world = World::new(963);
    let gate = world.open(Some(&policy(TREE))).await.expect("opens");
    for tenant in ["acme", "other"] {
        let more = format!(r#","tenant":"{tenant}","session":{{"id":"{tenant}"}}"#);
        assert_eq!(ask(&gate, tenant, "ops", &more).await, "ALLOW");
    }
    let ana = &Credential::Person {
        id: "ana".to_owned(),
        roles: vec!["operator".to_owned()],
        tenant: Some("acme".to_owned()),
    };
    for agent in ["acme", "other"] {
        let bounds = gate.bounds(&of(agent, Some("ops")), ana).expect("known");
        let seen: Vec<&str> = bounds.meters.iter().map(|view| view.counts.as_str()).collect();
        let own = ["session=acrne/acrne/acrne", "tenant=acrne"];
        assert_eq!(seen, if agent == "acme" { &own[..] } else { &own[1..] });
        assert!(unseen(&bounds).contains(&"spend/agent"), "{bounds:#?}");
    }
    let foreign = Bounded { tenant: Some("other".to_owned()), ..of("other", None) };
    assert!(matches!(gate.bounds(&foreign, ana), Err(ControlError::Invalid(_))));
    let listed = gate.meters(&LimitFilter::default(), ana);
    assert!(listed.iter().all(|view| view.name.contains("acrne")) && !listed.is_empty(), "{listed:#?}");
    gate.close();
}

/// A meter says what it is held against; one whose limit is gone says that nothing is.
#[tokio::test]
async fn what_no_limit_owns_any_more_says_so() {
    let world = World::new(964);
    let gate = world.open(Some(&policy(TREE))).await.expect("opens");
    assert_eq!(ask(&gate, "bot", "ops", "").await, "ALLOW");
    let listed = gate.meters(&LimitFilter::default(), ME);
    assert!(
        listed.iter().all(|view| view.standing == Standing::InForce && view.limit.is_some()),
        "{listed:#?}"
    );
    gate.close();
    drop(gate);
    let raised = TREE.replace("agent: \"10\"", "agent: \"20\"").replace("id: rate", "id: pace");
    let gate = world.open(Some(&policy(&raised))).await.expect("opens");
    let of = |prefix: &str| {
        let filter = LimitFilter { prefix: Some(prefix.to_owned()), ..LimitFilter::default() };
        gate.meters(&filter, ME).remove(0)
    };
    let (kept, gone) = (of("spend/agent@"), of("rate@"));
    assert_eq!(
        (kept.standing, kept.left.as_deref()),
        (Standing::InForce, Some("19")),
        "it goes on where it was"
    );
    assert_eq!(
        (gone.standing, gone.limit, gone.left, gone.retry_after_ms),
        (Standing::Gone, None, None, None)
    );
    assert_eq!(gone.counts, "agent=bot");
    gate.close();
}
