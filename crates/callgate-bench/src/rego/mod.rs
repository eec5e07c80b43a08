//! Rego packages by their number, each routed to one tool and of ten rules, beside one package of
//! twenty rules about every request: ours from a parsed request (its `input` is built within the time)
//! and from bytes; the bare engine with one program for each tool that a hash map finds, and over
//! everything in one module (its `input` is built before the time begins); and OPA's server.

mod opa;
mod policies;

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::sync::Arc;

use callgate_core::decide::{Ask, decide};
use callgate_core::decision::Decision;
use callgate_core::facts::{Credential, Facts};
use callgate_core::json::Limits;
use callgate_core::module::Evaluation;
use callgate_core::request::Request;
use callgate_core::snapshot::Snapshot;
use callgate_policy::Bundle;
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::RegoVM;
use regorus::{Engine, Value};

use self::policies::Model;
use crate::cedar::{Dice, ENVIRONMENTS, TAGS, TEAMS};
use crate::stats::{Samples, load, nanos};

const REQUESTS: usize = 256;
/// The most packages in one module, of which the engine takes 1 MiB, and the most of OPA.
const MOST_NAIVE: usize = 100;
const MOST_OPA: usize = 1000;
const DECISION: &str = "data.bench.decision";

/// One request in every form.
struct Asked {
    tool: usize,
    bytes: String,
    request: Request,
    input: Value,
    input_text: String,
    /// What all must say.
    wanted: &'static str,
}

fn asked(packages: usize, models: &[Model]) -> Vec<Asked> {
    let mut dice = Dice(11);
    (0..REQUESTS).map(|_| one(&mut dice, packages, models)).collect()
}

fn one(dice: &mut Dice, packages: usize, models: &[Model]) -> Asked {
    let (tool, team) = (dice.roll(packages), TEAMS[dice.roll(4)]);
    let (environment, amount) = (ENVIRONMENTS[dice.roll(2)], 10 * dice.roll(100) + 5);
    let tags: Vec<&str> = TAGS.into_iter().filter(|_| dice.roll(4) == 0).collect();
    let rest = format!(
        r#""args":{{"amount":{amount},"customer":"c-1001","note":"as agreed with the customer on the phone"}},"risk_tags":{tags:?},"labels":{{"mcp.server":"s","channel":"mail"}},"environment":"{environment}","pep":{{"id":"bench","enforces":["max_runtime_ms"]}}"#
    );
    let agent = format!(r#""agent":{{"id":"bot-7","team":"{team}","chain":["planner"]}}"#);
    let session = r#""session":{"id":"s-1","step":"execution"}"#;
    let bytes = format!(r#"{{{agent},{session},"tool":{{"server":"s","name":"t{tool}"}},{rest}}}"#);
    let input_text = format!(
        r#"{{{agent},{session},"tool":{{"server":"s","name":"t{tool}","identity":"s.t{tool}"}},{rest}}}"#
    );
    let request =
        Request::parse(bytes.as_bytes(), &Limits::REQUEST).unwrap_or_else(|e| panic!("{bytes}: {e}"));
    let fits = |model: &&Model| model.fits(tool, team, environment, &tags, amount);
    let wanted = match models.iter().filter(fits).map(|model| model.deny).max() {
        Some(true) => "deny",
        Some(false) => "allow",
        None => "none",
    };
    let input = Value::from_json_str(&input_text).unwrap_or_else(|e| panic!("{input_text}: {e}"));
    Asked { tool, bytes, request, input, input_text, wanted }
}

fn snapshot(packages: usize, models: &[Model]) -> Snapshot {
    let mut files: BTreeMap<String, String> = (0..packages)
        .map(|tool| (format!("policies/t{tool}.rego"), policies::routed(tool, models)))
        .collect();
    files.insert("policies/everywhere.rego".to_owned(), policies::everywhere(models));
    match callgate_policy::compile(&Bundle::new(files, BTreeMap::new())) {
        Ok(snapshot) => snapshot,
        Err(report) => panic!("the bench's own bundle has problems: {report}"),
    }
}

/// Times `work` on every request, several rounds after one to warm up.
fn time(asked: &[Asked], rounds: usize, mut work: impl FnMut(&Asked)) -> Samples {
    let mut samples = Samples::with_capacity(asked.len() * rounds);
    for round in 0..=rounds {
        for one in asked {
            let ((), took) = nanos(|| work(one));
            if round > 0 {
                samples.push(took);
            }
        }
    }
    samples
}

/// Ours: evaluation, a decision, and a decision from bytes.
fn ours(snapshot: &Snapshot, asked: &[Asked]) -> [Samples; 3] {
    let facts = Facts::new(Credential::Development, 0);
    for one in asked {
        let settled = decide(snapshot, Ask::Request(Box::new(one.request.clone())), &facts).settled;
        let allowed = settled.decision == Decision::Allow;
        assert_eq!(allowed, one.wanted == "allow", "{}: {:?}", one.bytes, settled.code);
    }
    let evaluate = time(asked, 40, |one| {
        let mut evaluation = Evaluation::default();
        for module in &snapshot.modules {
            module.evaluate(&one.request, &facts, &mut evaluation);
        }
        black_box(&evaluation);
    });
    let decides = time(asked, 40, |one| {
        black_box(decide(snapshot, Ask::Request(Box::new(one.request.clone())), &facts));
    });
    let bytes = time(asked, 40, |one| {
        let request =
            Request::parse(one.bytes.as_bytes(), &Limits::REQUEST).unwrap_or_else(|e| panic!("{e}"));
        black_box(decide(snapshot, Ask::Request(Box::new(request)), &facts));
    });
    [evaluate, decides, bytes]
}

fn engine(text: &str) -> Engine {
    let mut engine = Engine::new();
    engine.add_policy("bench.rego".to_owned(), text.to_owned()).unwrap_or_else(|e| panic!("{e:#}"));
    engine
}

fn agree(value: &Value, one: &Asked) {
    assert_eq!(value.as_string().map(|text| text.to_string()).ok().as_deref(), Some(one.wanted));
}

/// The bare engine with one program for each tool that is asked.
fn per_tool(models: &[Model], asked: &[Asked]) -> Samples {
    let mut machines: HashMap<usize, RegoVM> = HashMap::new();
    for one in asked {
        let machine = machines.entry(one.tool).or_insert_with(|| {
            let policy =
                engine(&policies::module(models.iter().filter(|model| model.is_of(one.tool)), false))
                    .compile_with_entrypoint(&DECISION.into())
                    .unwrap_or_else(|e| panic!("{e:#}"));
            let program = Compiler::compile_from_policy(&policy, &[DECISION]);
            let mut machine = RegoVM::new();
            machine.load_program(Arc::clone(&program.unwrap_or_else(|e| panic!("{e}"))));
            machine
        });
        machine.set_input(one.input.clone());
        agree(&machine.execute_entry_point_by_index(0).unwrap_or_else(|e| panic!("{e}")), one);
    }
    time(asked, 40, |one| {
        if let Some(machine) = machines.get_mut(&one.tool) {
            machine.set_input(one.input.clone());
            black_box(machine.execute_entry_point_by_index(0).is_ok());
        }
    })
}

/// The bare interpreter over everything in one module.
fn one_module(models: &[Model], asked: &[Asked], rounds: usize) -> Samples {
    let mut engine = engine(&policies::module(models.iter(), true));
    time(asked, rounds, |one| {
        engine.set_input(one.input.clone());
        agree(&engine.eval_rule(DECISION.to_owned()).unwrap_or_else(|e| panic!("{e:#}")), one);
    })
}

/// OPA's server over the same rules.
fn over_http(models: &[Model], asked: &[Asked]) -> Result<Samples, String> {
    let mut server = opa::Server::start(&policies::module(models.iter(), true))?;
    let mut failed = None;
    let samples = time(asked, 4, |one| match server.ask(&one.input_text) {
        Ok(answer) if answer.contains(&format!("\"{}\"", one.wanted)) => {}
        Ok(answer) => failed = Some(format!("it says {answer} instead of {}", one.wanted)),
        Err(error) => failed = Some(error),
    });
    failed.map_or(Ok(samples), Err)
}

pub(crate) fn run() {
    println!("\n## Rego: {REQUESTS} requests (p50/p99 ns, one thread; load {})", load());
    println!(
        "{:>8} {:>8} {:>16} {:>16} {:>16}   {:>16} {:>22} {:>18}  load average",
        "packages",
        "load ms",
        "ours: evaluate",
        "ours: decide",
        "ours: from bytes",
        "bare: per tool",
        "bare: one module",
        "OPA over HTTP"
    );
    for packages in [10, 100, 1000, 10_000] {
        let models = policies::models(packages);
        let asked = asked(packages, &models);
        let (snapshot, took) = nanos(|| snapshot(packages, &models));
        let [evaluate, decides, bytes] = ours(&snapshot, &asked).map(|mut samples| samples.p50_p99());
        let bare = per_tool(&models, &asked).p50_p99();
        let naive = if packages > MOST_NAIVE {
            "not run".to_owned()
        } else {
            one_module(&models, &asked, 4).p50_p99()
        };
        let http = match opa::binary() {
            _ if packages > MOST_OPA => "not run".to_owned(),
            None => "skipped: no opa".to_owned(),
            Some(_) => match over_http(&models, &asked) {
                Ok(mut samples) => samples.p50_p99(),
                Err(error) => panic!("OPA: {error}"),
            },
        };
        println!(
            "{packages:>8} {:>8} {evaluate:>16} {decides:>16} {bytes:>16}   {bare:>16} {naive:>22} {http:>18}  {}",
            took / 1_000_000,
            load()
        );
    }
}
