//! Decide latency by the number of rules: the first, the last, and none that matches.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;

use callgate_core::decide::{Ask, decide};
use callgate_core::facts::{Credential, Facts};
use callgate_core::json::Limits;
use callgate_core::request::Request;
use callgate_core::snapshot::Snapshot;
use callgate_policy::Bundle;

use crate::stats::{Samples, nanos};

/// Rules over `count / 10` tools: allows, constrained allows, approvals and denials, by tag and environment.
fn rules(count: usize, condition: bool) -> String {
    let mut text = String::from("version: v1\nrules:\n");
    for rule in 0..count {
        let tool = rule / 10;
        let decision = match rule % 10 {
            0 | 1 => "decision: allow",
            2 => "decision: allow_with_constraints\n    constraints: {max_runtime_sec: 30}",
            3 => "decision: require_approval",
            4 => "decision: deny",
            _ => "decision: allow",
        };
        let narrowing = match rule % 10 {
            0 => String::new(),
            other => format!(", risk_tags: [tag{other}]"),
        };
        let when = if condition { "    when: dec(args.amount) > dec(\"50.00\")\n" } else { "" };
        let _ = write!(
            text,
            "  - id: rule-{rule}\n    match: {{tools: [\"server{}.tool{tool}\"]{narrowing}}}\n{when}    {decision}\n",
            tool % 7
        );
    }
    text
}

fn snapshot(count: usize, condition: bool) -> Snapshot {
    let text = rules(count, condition);
    // Files have a size limit, as in any bundle.
    let mut files = BTreeMap::new();
    let (head, body) = text.split_once("rules:\n").unwrap_or_default();
    let entries: Vec<&str> = body.split("  - id: ").skip(1).collect();
    for (number, chunk) in entries.chunks(2000).enumerate() {
        let listed: String = chunk.iter().map(|entry| format!("  - id: {entry}")).collect();
        files.insert(format!("rules/{number}.yaml"), format!("{head}rules:\n{listed}"));
    }
    match callgate_policy::compile(&Bundle::new(files, BTreeMap::new())) {
        Ok(snapshot) => snapshot,
        Err(report) => panic!("the bench's own bundle has problems: {report:?}"),
    }
}

fn request(tool: usize) -> Request {
    let text = format!(
        r#"{{"agent":{{"id":"support-bot","team":"support","chain":["planner"]}},"session":{{"id":"s-1"}},"tool":{{"server":"server{}","name":"tool{tool}"}},"args":{{"amount":"75.00","customer":"c-1001","note":"as agreed"}},"risk_tags":["prod"],"environment":"prod","pep":{{"id":"bench","enforces":["max_runtime_ms"]}}}}"#,
        tool % 7
    );
    match Request::parse(text.as_bytes(), &Limits::REQUEST) {
        Ok(request) => request,
        Err(problem) => panic!("the bench's own request is refused: {problem}"),
    }
}

fn measure(snapshot: &Snapshot, asked: &Request, facts: &Facts) -> Samples {
    const ROUNDS: usize = 20_000;
    let mut samples = Samples::with_capacity(ROUNDS);
    for round in 0..ROUNDS + 1000 {
        let ask = Ask::Request(Box::new(asked.clone()));
        let (decided, took) = nanos(|| decide(snapshot, ask, facts));
        black_box(&decided);
        if round >= 1000 {
            samples.push(took);
        }
    }
    samples
}

/// From the bytes of a request to a settled decision.
fn from_bytes(snapshot: &Snapshot, asked: &Request, facts: &Facts) -> Samples {
    const ROUNDS: usize = 20_000;
    let text = asked.to_value().canonical();
    let mut samples = Samples::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let (decided, took) = nanos(|| {
            let request = Request::parse(text.as_bytes(), &Limits::REQUEST).ok()?;
            Some(decide(snapshot, Ask::Request(Box::new(request)), facts))
        });
        black_box(&decided);
        samples.push(took);
    }
    samples
}

/// The bare engine over the same conditions, its variables built before the time begins: all of
/// them, each asking for its tool, and the ten that an ideal index finds.
fn bare(count: usize, tool: usize) -> (String, String) {
    const ROUNDS: usize = 200;
    let compile = |text: &str| match cel::Program::compile(text) {
        Ok(program) => program,
        Err(problem) => panic!("the bench's own condition is refused: {problem}"),
    };
    let each = (0..count).map(|rule| compile(&format!("tool == \"tool{}\" && amount > 50.0", rule / 10)));
    let each: Vec<cel::Program> = each.collect();
    let found: Vec<cel::Program> = (0..10).map(|_| compile("amount > 50.0")).collect();
    let mut variables = cel::Context::default();
    variables.add_variable_from_value("tool", format!("tool{tool}"));
    variables.add_variable_from_value("amount", 75.0);
    let measure = |programs: &[cel::Program], rounds: usize| {
        let mut samples = Samples::with_capacity(rounds);
        for _ in 0..rounds {
            let holds = |program: &cel::Program| program.execute(&variables) == Ok(cel::Value::Bool(true));
            let (held, took) = nanos(|| programs.iter().filter(|program| holds(program)).count());
            assert_eq!(held, 10, "the bare engine's answer");
            samples.push(took);
        }
        samples.p50_p99()
    };
    (measure(&each, ROUNDS), measure(&found, ROUNDS * 100))
}

pub(crate) fn run() {
    println!("\n## Decide: one request, parsed already, to a settled decision (p50/p99 ns, one thread)");
    println!(
        "{:>8} {:>16} {:>16} {:>16}   {:>16} {:>16}   {:>18} {:>18}",
        "rules",
        "first matches",
        "last matches",
        "none matches",
        "last, with CEL",
        "from bytes",
        "bare cel: all",
        "bare cel: indexed"
    );
    let facts = Facts::new(Credential::Development, 0);
    for count in [10, 100, 1000, 10_000] {
        let plain = snapshot(count, false);
        let conditional = snapshot(count, true);
        let last = count / 10 - 1;
        let cells = [
            measure(&plain, &request(0), &facts),
            measure(&plain, &request(last), &facts),
            measure(&plain, &request(1_000_000), &facts),
            measure(&conditional, &request(last), &facts),
        ];
        let [first, matched, none, cel] = cells.map(|mut samples| samples.p50_p99());
        let bytes = from_bytes(&conditional, &request(last), &facts).p50_p99();
        let (all, indexed) = bare(count, last);
        println!(
            "{count:>8} {first:>16} {matched:>16} {none:>16}   {cel:>16} {bytes:>16}   {all:>18} {indexed:>18}"
        );
    }
    let text = request(3).to_value().canonical();
    let mut samples = Samples::with_capacity(20_000);
    for _ in 0..20_000 {
        let (parsed, took) = nanos(|| Request::parse(text.as_bytes(), &Limits::REQUEST));
        black_box(&parsed);
        samples.push(took);
    }
    println!("parsing that request ({} bytes): {} ns", text.len(), samples.p50_p99());
}
