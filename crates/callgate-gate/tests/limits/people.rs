//! What people see of limits and do about them, and what actions that run hear.

use callgate_core::event::Kind;
use callgate_core::progress::Halt;
use callgate_gate::{
    Asked, BreakerFilter, ControlError, Credential, Gate, LimitFilter, ProgressReport, ResetRequest,
};

use crate::common::World;
use crate::kit::{call, policy, said};

const ME: &Credential = &Credential::Local;
const STRIKES: &str = "breakers:
  - {id: strikes, per: [agent], trip: {denials: 3, within: 5m, codes: [DENIED_BY_RULE]}}
";
const SPEND: &str = "budgets:
  - {id: spend, unit: usd, estimate: \"1.00\", limit: \"10.00\", per: [agent], over: day, exceed: deny}
";

async fn ask(gate: &Gate, agent: &str, tool: &str) -> callgate_gate::Decided {
    gate.decide(Asked::Bytes(call(agent, tool, "")), Credential::Development).await.expect("decided")
}

async fn beat(gate: &Gate, receipt: u64, usd: Option<&str>) -> callgate_gate::Progress {
    let mut report = ProgressReport::new(receipt);
    if let Some(usd) = usd {
        report.cost.insert("USD".to_owned(), usd.parse().expect("a decimal"));
    }
    gate.progress(&report, ME).await.expect("an answer")
}

fn reset(name: &str, through: u64) -> ResetRequest {
    ResetRequest { name: name.to_owned(), note: Some("a typo in a path".to_owned()), through }
}

/// A breaker that opens stops what runs, and closes only for whoever has seen everything that it counted.
#[tokio::test]
async fn a_breaker_stops_what_runs_and_waits_for_a_person_who_looked() {
    let world = World::new(950);
    let gate = world.open(Some(&policy(STRIKES))).await.expect("opens");
    let running = ask(&gate, "bot", "read").await.permit.expect("allowed").ground().number();
    let other = ask(&gate, "other", "read").await.permit.expect("allowed").ground().number();
    let mut events = gate.events(None);
    for _ in 0..3 {
        assert_eq!(said(&ask(&gate, "bot", "drop").await), "DENIED_BY_RULE");
    }
    assert_eq!(said(&ask(&gate, "bot", "read").await), "BREAKER_OPEN");
    assert_eq!(beat(&gate, running, None).await.code, Some(Halt::BreakerOpen));
    assert!(beat(&gate, other, None).await.goes_on, "it blocks whom it counted");
    loop {
        let event = events.next().await.expect("readable").expect("an event");
        if event.kind == Kind::BreakerOpened {
            assert!(event.text("breaker").expect("which").starts_with("strikes@"));
            break;
        }
    }
    let (listed, count) = gate.breakers(&BreakerFilter::default(), ME);
    assert_eq!((count, listed[0].violations.len(), listed[0].limit.as_str()), (1, 3, "strikes"));
    let (name, through) = (listed[0].name.clone(), listed[0].through);
    let agent = Credential::Agent { agent: "bot".to_owned(), tenant: "default".to_owned(), team: None };
    assert!(matches!(gate.reset_breaker(reset(&name, through), &agent).await, Err(ControlError::Agent(_))));
    let home = Credential::Person {
        id: "ana".to_owned(),
        roles: vec!["operator".to_owned()],
        tenant: Some("acme".to_owned()),
    };
    let foreign = gate.reset_breaker(reset(&name, through), &home).await;
    assert!(matches!(foreign, Err(ControlError::Unknown(_))), "{foreign:?}");
    let unseen = gate.reset_breaker(reset(&name, through - 1), ME).await;
    assert!(matches!(unseen, Err(ControlError::Conflict(_))), "{unseen:?}");
    let silent = ResetRequest { note: None, ..reset(&name, through) };
    assert!(matches!(gate.reset_breaker(silent, ME).await, Err(ControlError::Invalid(_))));
    gate.reset_breaker(reset("strikes@", through), ME).await.expect("closed");
    assert_eq!(said(&ask(&gate, "bot", "read").await), "ALLOW");
    let again = gate.reset_breaker(reset(&name, through), ME).await;
    assert!(matches!(again, Err(ControlError::Unknown(_))), "{again:?}");
    gate.close();
}

/// More than was reserved raises the reservation in the log, for everybody; more than the limit stops it.
#[tokio::test]
async fn what_costs_more_than_it_said_is_counted_while_it_runs() {
    let world = World::new(951);
    let gate = world.open(Some(&policy(SPEND))).await.expect("opens");
    let running = ask(&gate, "bot", "read").await.permit.expect("allowed").ground().number();
    let used = || {
        let filter = LimitFilter { prefix: Some("spend@".to_owned()), ..LimitFilter::default() };
        gate.meters(&filter, ME)[0].used.clone()
    };
    assert_eq!(used(), "1");
    let size = gate.size();
    assert!(beat(&gate, running, Some("0.50")).await.goes_on, "less than was reserved");
    assert_eq!((used().as_str(), gate.size()), ("1", size));
    assert!(beat(&gate, running, Some("9.50")).await.goes_on);
    assert_eq!(used(), "9.5");
    assert_eq!(said(&ask(&gate, "bot", "read").await), "BUDGET_EXCEEDED", "for everybody");
    assert_eq!(beat(&gate, running, Some("10.01")).await.code, Some(Halt::BudgetExceeded));
    assert_eq!(beat(&gate, running, None).await.code, Some(Halt::BudgetExceeded));
    gate.close();
}
