//! `limits/*.yaml`: what is read of them, and what each makes of a request.

use callgate_core::limit::{Amount, Charge, Dimension, Does, Exceed, Rate, Span, Then, Trip};
use callgate_core::snapshot::Snapshot;
use callgate_policy::{check, compile};

use proptest::prelude::*;

use crate::generate::{CATALOGUE, Line, Lines, asked, lines};
use crate::support::{ask, bundle, folder, read, request, root, snapshot};

const RULES: &str = "version: v1\nrules: [{id: any, match: {tools: [\"**\"]}, decision: allow}]\n";
const TOOLS: &str = r#"{"tools":[{"name":"pay","x-callgate":{"cost":{"usd":"0.02"}},
    "inputSchema":{"type":"object","required":["amount","to"],
    "properties":{"amount":{"type":"string"},"to":{"type":"string"},"count":{"type":"integer"}}}}]}"#;

/// A bundle of rules that permit, one catalogued tool `bank.pay`, and these limits.
fn limited(text: &str) -> callgate_policy::Bundle {
    let text = format!("version: v1\n{text}\n");
    bundle(&[("rules/r.yaml", RULES), ("tools/bank.json", TOOLS), ("limits/l.yaml", &text)])
}

fn limits(text: &str) -> Snapshot {
    snapshot(&limited(text))
}

/// The codes that `check` reports.
fn codes(text: &str) -> Vec<&'static str> {
    let bundle = limited(text);
    let report = check(&bundle);
    assert_eq!(compile(&bundle).is_err(), report.has_errors());
    report.diagnostics().iter().map(|found| found.code).collect()
}

/// `id amount` of each limit that speaks, an error as `id !problem`.
fn charged(snapshot: &Snapshot, text: &str) -> Vec<String> {
    let told = |charge: &Charge| match &charge.amount {
        Ok(amount) => format!("{} {amount}", charge.limit.id),
        Err(problem) => format!("{} !{problem}", charge.limit.id),
    };
    snapshot.charges(&request(text)).iter().map(told).collect()
}

fn pay(args: &str, more: &str) -> String {
    format!(r#"{{"agent":{{"id":"bot"}},"tool":{{"server":"bank","name":"pay"}},"args":{args}{more}}}"#)
}

/// The limit of that id among those that speak of a payment.
fn limit(snapshot: &Snapshot, id: &str) -> callgate_core::limit::Limit {
    let charges = snapshot.charges(&request(&pay(r#"{"amount":"5","to":"ana"}"#, "")));
    let found = charges.iter().find(|charge| &*charge.limit.id == id).unwrap();
    (*found.limit).clone()
}

#[test]
fn a_budget_is_read_whole() {
    let snapshot = limits(
        "budgets:
  - {id: spend, match: {tools: [bank.pay]}, unit: usd, limit: \"100.50\", per: [team, agent], over: 24h,
     amount: dec(args.amount), exceed: require_approval, approval: {reviewers: role:finance},
     near: {at: 80%, constraints: {max_retries: 1}}, settle: upward, release: 30m, mode: monitor, reason: Too much}",
    );
    let limit = limit(&snapshot, "spend");
    let Does::Budget(budget) = &limit.does else { panic!("{limit:?}") };
    assert_eq!((&*budget.unit, budget.limit.to_string().as_str()), ("usd", "100.5"));
    assert_eq!(limit.per, [Dimension::Team, Dimension::Agent]);
    assert_eq!(budget.span, Span::Rolling { ms: 86_400_000 });
    let Exceed::Approval(terms) = &budget.exceed else { panic!("{budget:?}") };
    assert_eq!(terms.stages[0].reviewers.iter().collect::<Vec<_>>(), ["role:finance"]);
    let near = budget.near.as_ref().unwrap();
    assert_eq!(near.at.to_string(), "80.4");
    assert!(matches!(near.then, Then::Constrain(_)));
    assert_eq!(budget.release_ms, Some(1_800_000));
    assert_eq!(limit.reason.as_deref(), Some("Too much"));
    assert_eq!(limit.source.to_string(), "limits/l.yaml:3:10");
    let listed: Vec<String> =
        snapshot.modules.iter().flat_map(|module| module.listed()).map(|rule| rule.id.to_string()).collect();
    assert_eq!(listed, ["any", "spend"]);
}

#[test]
fn the_most_that_is_said_counts() {
    let snapshot = limits(
        "budgets:
  - {id: args, unit: usd, limit: 100, per: [], over: day, amount: dec(args.amount)}
  - {id: said, unit: usd, limit: 100, per: [], over: day, estimate: \"0.05\"}
  - {id: tool, unit: usd, limit: 100, per: [], over: day, estimate: \"0.01\"}
  - {id: rows, unit: rows, limit: 100, per: [], over: day, estimate: 1}
  - {id: calls, unit: calls, limit: 100, per: [], over: day}",
    );
    let told = charged(&snapshot, &pay(r#"{"amount":"5.25","to":"ana"}"#, ""));
    assert_eq!(told, ["args 5.25", "calls 1", "rows 1", "said 0.05", "tool 0.02"]);
    // Units are compared as look-alikes are; the largest counts, and a small one lowers nothing.
    let more = r#","cost":{"USD":"7","ＵＳＤ":"0.001","rows":"0"}"#;
    let told = charged(&snapshot, &pay(r#"{"amount":"5.25","to":"ana"}"#, more));
    assert_eq!(told, ["args 7", "calls 1", "rows 1", "said 7", "tool 7"]);
    // A look-alike of the tool costs no less, nor does one without a server.
    let look = r#"{"agent":{"id":"bot"},"tool":{"server":"Bank","name":"PAY"},"args":{"amount":"1"}}"#;
    assert_eq!(charged(&snapshot, look), ["args 1", "calls 1", "rows 1", "said 0.05", "tool 0.02"]);
}

#[test]
fn what_is_no_amount_denies() {
    let snapshot = limits(
        "budgets: [{id: b, match: {tools: [other]}, unit: usd, limit: 100, per: [], over: day, amount: args.amount}]",
    );
    let ask = |args: &str| format!(r#"{{"agent":{{"id":"bot"}},"tool":{{"name":"other"}},"args":{args}}}"#);
    for args in [
        r#"{"amount":"5"}"#,
        r#"{"amount":-5}"#,
        r#"{"amount":-0.001}"#,
        r#"{"amount":[5]}"#,
        r#"{"amount":{"a":5}}"#,
        r#"{"amount":null}"#,
        r#"{"amount":true}"#,
        r#"{"amount":""}"#,
        r#"{"amount":"NaN"}"#,
        r#"{"amount":1e16}"#,
        r#"{"Amount":5}"#,
        "{}",
    ] {
        let told = charged(&snapshot, &ask(args));
        assert!(told.len() == 1 && told[0].starts_with("b !`amount`: "), "{args}: {told:?}");
    }
    assert_eq!(charged(&snapshot, &ask(r#"{"amount":5}"#)), ["b 5"]);
    assert_eq!(charged(&snapshot, &ask(r#"{"amount":0.1}"#)), ["b 0.1"]);
    assert_eq!(charged(&snapshot, &ask(r#"{"amount":0}"#)), ["b 0"]);
}

#[test]
fn a_text_that_is_made_a_decimal_must_be_one() {
    let snapshot = limits(
        "budgets: [{id: b, unit: usd, limit: 100, per: [], over: day, amount: dec(args.amount), estimate: 1}]",
    );
    for amount in ["1,000", "1 000", "NaN", "inf", "-1", "0x10", "", "١٢", "5\u{200b}", "1e16"] {
        let args = serde_json::json!({"amount": amount, "to": "ana"}).to_string();
        let told = charged(&snapshot, &pay(&args, ""));
        assert!(told.len() == 1 && told[0].starts_with("b !"), "{amount:?}: {told:?}");
    }
    // Less than the estimate counts as the estimate.
    assert_eq!(charged(&snapshot, &pay(r#"{"amount":"0.00","to":"ana"}"#, "")), ["b 1"]);
}

#[test]
fn limits_are_matched_cautiously() {
    let snapshot = limits(
        "throttles:
  - {id: prod, scope: {environments: [prod]}, rate: 1/1m, per: []}
  - {id: team, scope: {teams: [ops]}, rate: 1/1m, per: []}
  - {id: tool, match: {tools: [bank.pay]}, rate: 1/1m, per: []}
  - {id: tagged, match: {risk_tags: [money]}, rate: 1/1m, per: []}
  - {id: some, match: {tools: [bank.pay]}, when: args.count > 3, rate: 1/1m, per: []}",
    );
    let told = charged(
        &snapshot,
        r#"{"agent":{"id":"bot"},"tool":{"server":"Bаnk","name":"Pay"},"args":{"count":4}}"#,
    );
    assert_eq!(told, ["prod 1", "some 1", "tool 1"]);
    // A condition without an answer speaks, and the action does not run.
    let told = charged(&snapshot, &pay("{}", r#","environment":"dev","risk_tags":["Money"]"#));
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("some !`when`: "), "{told:?}");
    assert_eq!(told[1..], ["tagged 1", "tool 1"]);
    let told = charged(&snapshot, &pay(r#"{"count":3}"#, r#","environment":"PROD""#));
    assert_eq!(told, ["prod 1", "tool 1"]);
}

#[test]
fn rates_never_give_back_more_than_is_written() {
    let snapshot = limits(
        "throttles:
  - {id: a, rate: 10/1m, per: []}
  - {id: b, rate: 3/1s, burst: 7, per: []}
  - {id: c, at_most: 100, within: 1h, per: []}",
    );
    let rate = |id: &str| match limit(&snapshot, id).does {
        Does::Throttle(throttle) => throttle.rate,
        other => panic!("{other:?}"),
    };
    assert_eq!(rate("a"), Rate::Bucket { burst: 10, interval_ns: 6_000_000_000 });
    assert_eq!(rate("b"), Rate::Bucket { burst: 7, interval_ns: 333_333_334 });
    assert_eq!(rate("c"), Rate::Sliding { limit: 100, window_ms: 3_600_000 });
}

#[test]
fn breakers_count_one_thing() {
    let snapshot = limits(
        "budgets: [{id: spend, match: {tools: [bank.pay]}, unit: usd, limit: 100, per: [agent], over: day, amount: dec(args.amount)}]
breakers:
  - {id: denied, per: [agent], trip: {denials: 20, within: 5m, codes: [DENIED_BY_RULE, POLICY_ERROR]}}
  - {id: many, per: [agent], trip: {allowed: 50, within: 1h}, half_open: {after: 10m}}
  - {id: sums, per: [], trip: {sum: \"1000.00\", unit: usd, amount: dec(args.amount), within: 1h}}
  - {id: burn, trip: {burn: 50%, of: spend, within: 10m}}
  - {id: many-to, per: [agent], trip: {distinct: 30, of: args.to, within: 1h}}
  - {id: fails, per: [tool], trip: {failures: 50%, at_least: 10, within: 5m}}",
    );
    let told = |id: &str| {
        let limit = limit(&snapshot, id);
        let Does::Breaker(breaker) = limit.does else { panic!("no breaker") };
        (breaker.trip, breaker.at.to_string(), limit.per)
    };
    let codes = vec![callgate_core::decision::Code::DeniedByRule, callgate_core::decision::Code::PolicyError];
    assert_eq!(told("denied"), (Trip::Denied(codes), "20".to_owned(), vec![Dimension::Agent]));
    assert_eq!(told("many").1, "50");
    assert_eq!(told("sums"), (Trip::Allowed, "1000".to_owned(), vec![]));
    assert_eq!(told("burn"), (Trip::Allowed, "50".to_owned(), vec![Dimension::Agent]));
    assert_eq!(told("many-to").0, Trip::Distinct);
    assert_eq!(told("fails").0, Trip::Failed { share_bp: 5000 });
    // What a burn counts is what its budget counts.
    let charges = charged(&snapshot, &pay(r#"{"amount":"5","to":"ana"}"#, ""));
    assert!(charges.contains(&"burn 5".to_owned()) && charges.contains(&"sums 5".to_owned()), "{charges:?}");
    let elsewhere = r#"{"agent":{"id":"bot"},"topic":"t","args":{"to":"ana","amount":"1"}}"#;
    assert!(!charged(&snapshot, elsewhere).iter().any(|charge| charge.starts_with("burn")));
    let name = |to: &str| {
        let args = format!(r#"{{"amount":"5","to":{to}}}"#);
        let charges = snapshot.charges(&request(&pay(&args, "")));
        charges.into_iter().find(|charge| &*charge.limit.id == "many-to").unwrap().name
    };
    assert_eq!(name(r#""ana""#), name(r#""\u0061na""#));
    assert_ne!(name(r#""ana""#), name(r#""ben""#));
}

#[test]
fn levels_are_budgets_of_their_own() {
    let snapshot = limits(
        "budgets: [{id: spend, levels: {tenant: 1000, team: \"100.00\", agent: 10}, unit: usd, over: day,
   amount: dec(args.amount), near: {at: 50%}}]",
    );
    for (id, limit_, near) in
        [("spend/agent", "10", "5"), ("spend/team", "100", "50"), ("spend/tenant", "1000", "500")]
    {
        let limit = limit(&snapshot, id);
        let Does::Budget(budget) = limit.does else { panic!("no budget") };
        assert_eq!(budget.limit.to_string(), limit_);
        assert_eq!(budget.near.unwrap().at, near.parse::<Amount>().unwrap());
        assert_eq!(limit.per, [Dimension::from_word(id.rsplit('/').next().unwrap()).unwrap()]);
    }
}

#[test]
fn a_limit_goes_on_where_it_was_when_only_its_numbers_change() {
    let base = "budgets: [{id: b, unit: usd, limit: 100, per: [agent], over: day, estimate: 1}]";
    let of = |text: &str| {
        let limit = limit(&limits(text), "b");
        (limit.lineage, limit.fingerprint)
    };
    let (lineage, fingerprint) = of(base);
    for (from, to) in [
        ("limit: 100", "limit: 200"),
        ("estimate: 1", "estimate: 2, mode: monitor"),
        ("estimate: 1", "estimate: 1, reason: x, exceed: require_approval, near: {at: 80%}"),
    ] {
        let (same, other) = of(&base.replace(from, to));
        assert_eq!(same, lineage, "{to}");
        assert_ne!(other, fingerprint, "{to}");
    }
    for (from, to) in [
        ("unit: usd", "unit: eur"),
        ("per: [agent]", "per: [team]"),
        ("over: day", "over: month"),
        ("estimate: 1", "estimate: 1, amount: args.amount"),
        ("estimate: 1", "estimate: 1, match: {tools: [bank.pay]}"),
    ] {
        assert_ne!(of(&base.replace(from, to)).0, lineage, "{to}");
    }
    assert_eq!(of(&base.replace("estimate: 1", "estimate: 1, description: why")), (lineage, fingerprint));
}

#[test]
fn mistakes_are_told() {
    let budget = |more: &str| format!("budgets: [{{id: b, unit: usd, over: day, {more}}}]");
    let throttle = |more: &str| format!("throttles: [{{id: t, per: [], {more}}}]");
    let breaker = |more: &str| format!("breakers: [{{id: k, per: [], trip: {{within: 1h, {more}}}}}]");
    let whole = "limit: 1, per: [], estimate: 1";
    for (text, code) in [
        (budget("limit: 1, per: []"), "CG1102"),
        (budget("per: [], estimate: 1"), "CG0203"),
        (budget("limit: 1, estimate: 1"), "CG0203"),
        (budget("limit: 0.1, per: [], estimate: 1"), "CG0212"),
        (budget("limit: \"1,000\", per: [], estimate: 1"), "CG0212"),
        (budget("limit: -1, per: [], estimate: 1"), "CG0212"),
        (budget("limit: 0, per: [], estimate: 1"), "CG0212"),
        (budget("limit: NaN, per: [], estimate: 1"), "CG0212"),
        (budget("limit: 1, per: [], estimate: 0"), "CG0212"),
        (budget("limit: 1, per: [agents], estimate: 1"), "CG0208"),
        (budget("limit: 1, per: [agent, agent], estimate: 1"), "CG1101"),
        (budget("limit: 1, per: [agent, chain], estimate: 1"), "CG1101"),
        (budget(&format!("{whole}, levels: {{agent: 1}}")), "CG1106"),
        (budget(&format!("{whole}, near: {{at: 100%}}")), "CG0211"),
        (budget(&format!("{whole}, near: {{at: 0%}}")), "CG0211"),
        (budget(&format!("{whole}, near: {{at: 50%, approval: {{quorum: 2}}}}")), "CG1106"),
        (budget(&format!("{whole}, approval: {{quorum: 2}}")), "CG1106"),
        (budget(&format!("{whole}, exceed: warn")), "CG0208"),
        (budget(&format!("{whole}, release: 25h")), "CG0209"),
        (budget("limit: 1, per: [], amount: '\"5\"'"), "CG0212"),
        (budget("limit: 1, per: [], amount: -5"), "CG0212"),
        (budget("limit: 1, per: [], amount: nothing"), "CG0302"),
        (budget(&format!("{whole}, when: now > timestamp('2026-01-01T00:00:00Z')")), "CG0302"),
        (budget(&format!("{whole}, when: 'false'")), "CG0303"),
        (budget(&format!("{whole}, match: {{tools: [bank.pya]}}")), "CG0307"),
        (budget(&format!("{whole}, match: {{risk_tags: {{all: [a], none: [a]}}}}")), "CG0304"),
        ("budgets: [{id: b, unit: USD, over: day, limit: 1, per: [], estimate: 1}]".to_owned(), "CG0204"),
        ("budgets: [{id: b, unit: usd, over: week, limit: 1, per: [], estimate: 1}]".to_owned(), "CG0208"),
        ("budgets: [{id: b, unit: usd, over: 0s, limit: 1, per: [], estimate: 1}]".to_owned(), "CG0206"),
        ("budgets: [{id: b, unit: usd, over: 500d, limit: 1, per: [], estimate: 1}]".to_owned(), "CG0206"),
        (
            "budgets: [{id: b, unit: usd, over: execution, limit: 1, per: [agent], estimate: 1}]".to_owned(),
            "CG1101",
        ),
        ("budgets: [{id: any, unit: usd, over: day, limit: 1, per: [], estimate: 1}]".to_owned(), "CG0301"),
        ("budgets: [{id: b, unit: calls, over: day, levels: {agent: 1}}, {id: b/agent, unit: calls, over: day, limit: 1, per: []}]".to_owned(), "CG0301"),
        ("budgets: [{id: b, unit: calls, over: day, limit: 1, per: [], estimate: 1}]".to_owned(), "CG1106"),
        (throttle(""), "CG1103"),
        (throttle("rate: 10"), "CG1103"),
        (throttle("rate: 0/1m"), "CG1103"),
        (throttle("rate: 1/0s"), "CG1103"),
        (throttle("rate: 1/1m, at_most: 1, within: 1m"), "CG1103"),
        (throttle("at_most: 100001, within: 1h"), "CG1103"),
        (throttle("rate: 1/30d, burst: 100"), "CG1103"),
        (throttle("at_most: 1"), "CG0203"),
        (throttle("rate: 1/1m, within: 1m"), "CG1106"),
        (throttle("at_most: 1, within: 1m, burst: 1"), "CG1106"),
        (breaker(""), "CG1104"),
        (breaker("allowed: 1, denials: 1"), "CG1104"),
        (breaker("denials: 1, codes: [BREAKER_OPEN]"), "CG1104"),
        (breaker("denials: 1, codes: [DENIED]"), "CG0208"),
        (breaker("allowed: 1, codes: [DENIED_BY_RULE]"), "CG1106"),
        (breaker("burn: 50%, of: spend"), "CG1105"),
        (breaker("failures: 0%, at_least: 1"), "CG0211"),
        (breaker("failures: 50%"), "CG0203"),
        (breaker("distinct: 3"), "CG0203"),
        (breaker("sum: 3"), "CG0203"),
        (breaker("sum: 3, unit: usd"), "CG1102"),
        ("breakers: [{id: k, trip: {allowed: 1, within: 1h}}]".to_owned(), "CG0203"),
    ] {
        let found = codes(&text);
        assert!(found.contains(&code), "{text}: {found:?}, not {code}");
    }
}

#[test]
fn limits_alone_decide_nothing() {
    let text = "version: v1\nthrottles: [{id: t, rate: 1/1m, per: []}]\n";
    let report = check(&bundle(&[("limits/l.yaml", text)]));
    let found: Vec<_> = report.diagnostics().iter().map(|found| found.code).collect();
    assert_eq!(found, ["CG0601"]);
}

#[test]
fn a_request_that_no_limit_speaks_of_looks_at_none() {
    let mut text = String::from("throttles:\n");
    for number in 0..3000 {
        text.push_str(&format!(
            "  - {{id: t{number}, match: {{tools: [s.t{number}]}}, rate: 1/1m, per: [agent]}}\n"
        ));
    }
    let snapshot = limits(&text);
    assert_eq!(charged(&snapshot, &pay("{}", "")), [""; 0]);
    let one = r#"{"agent":{"id":"bot"},"tool":{"server":"s","name":"t17"}}"#;
    assert_eq!(charged(&snapshot, one).len(), 1);
}

/// Every line as a rule that denies, or as a throttle.
fn as_denials_and_throttles(lines: &Lines) -> [callgate_policy::Bundle; 2] {
    let (mut denials, mut throttles) =
        (String::from("version: v1\nrules:\n"), String::from("version: v1\nthrottles:\n"));
    for Line { id, speaks, .. } in &lines.0 {
        denials.push_str(&format!("  - {{id: {id}, decision: deny, {speaks}}}\n"));
        throttles.push_str(&format!("  - {{id: {id}, rate: 1/1m, per: [], {speaks}}}\n"));
    }
    [
        bundle(&[("rules/r.yaml", &denials), ("tools/disk.json", CATALOGUE)]),
        bundle(&[("rules/a.yaml", RULES), ("limits/l.yaml", &throttles), ("tools/disk.json", CATALOGUE)]),
    ]
}

proptest! {
    /// What restricts is matched cautiously, whether it is a rule or a limit; and the index leaves out none.
    #[test]
    fn a_limit_speaks_where_a_denial_would(lines in lines(), asked in asked()) {
        let [denials, throttles] = as_denials_and_throttles(&lines).map(|bundle| compile(&bundle));
        let (Ok(denials), Ok(throttles)) = (&denials, &throttles) else {
            prop_assert_eq!(denials.is_ok(), throttles.is_ok());
            return Ok(());
        };
        let decided = ask(denials, &asked.text());
        let mut expected: Vec<(String, bool)> = decided
            .settled
            .verdicts
            .iter()
            .map(|verdict| (verdict.rule.id.to_string(), verdict.error.is_some()))
            .collect();
        expected.sort();
        let mut tagged = request(&asked.text());
        throttles.catalogue.tag(&mut tagged);
        let told = |charge: &Charge| (charge.limit.id.to_string(), charge.amount.is_err());
        let mut found: Vec<(String, bool)> = throttles.charges(&tagged).iter().map(told).collect();
        found.sort();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn the_page_and_the_example_are_sound() {
    let page = read(&root().join("docs/limits.md"));
    let text = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let page = bundle(&[("rules/r.yaml", RULES), ("limits/l.yaml", text)]);
    assert!(check(&page).is_empty(), "{}", check(&page));
    assert_eq!(snapshot(&page).limits().len(), 3);
    let example = callgate_policy::Bundle::new(folder(&root().join("examples/limits")), Default::default());
    assert!(check(&example).is_empty(), "{}", check(&example));
    assert_eq!(snapshot(&example).limits().len(), 7);
}

/// Every form of `trip` that the page names.
#[test]
fn the_pages_trips_are_taken() {
    let page = read(&root().join("docs/limits.md"));
    let (_, table) = page.split_once("| breaker: `trip` is one of").unwrap();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let trips = rows.filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).map(|(trip, _)| trip);
    let mut found = 0;
    for trip in trips {
        let trip = trip.replace("codes: […]", "codes: [DENIED_BY_RULE]");
        let trip =
            trip.replace("amount: …", "amount: dec(args.amount)").replace("estimate: …", "estimate: 1");
        let per = if trip.contains("burn") { "" } else { "per: [agent], " };
        let text = format!(
            "budgets: [{{id: refunds/agent, unit: calls, limit: 9, per: [agent], over: day}}]\nbreakers: [{{id: b, {per}trip: {trip}}}]"
        );
        assert_eq!(codes(&text), [""; 0], "{trip}");
        found += 1;
    }
    assert_eq!(found, 6);
}
