//! Cedar policies by their number: ours from a parsed request (its Cedar form is built within the time)
//! and from bytes, beside the bare engine over one set, and over the few policies that an ideal index
//! finds (its request and entities are built before the time begins).

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::hint::black_box;

use callgate_core::decide::{Ask, decide};
use callgate_core::facts::{Credential, Facts};
use callgate_core::json::Limits;
use callgate_core::module::Evaluation;
use callgate_core::request::Request;
use callgate_core::snapshot::Snapshot;
use callgate_policy::Bundle;
use cedar_policy::{Authorizer, Context, Entities, Policy, PolicySet};

use crate::stats::{Samples, load, nanos};

pub(crate) const TEAMS: [&str; 4] = ["support", "ops", "sales", "dev"];
pub(crate) const ENVIRONMENTS: [&str; 2] = ["prod", "dev"];
pub(crate) const TAGS: [&str; 4] = ["pii", "bulk", "external", "money"];
const REQUESTS: usize = 256;

/// One policy: a tool (or all of them), a team, an environment, a tag, and an amount.
struct Model {
    deny: bool,
    tool: Option<usize>,
    team: Option<&'static str>,
    environment: Option<&'static str>,
    tag: Option<&'static str>,
    amount: usize,
}

/// A small generator, so that every run has the same policies.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    /// One of `all`, or none in one of `sides` cases.
    pub(crate) fn pick(&mut self, all: &[&'static str], sides: usize) -> Option<&'static str> {
        (self.roll(sides) > 0).then(|| all[self.roll(all.len())])
    }
}

fn models(count: usize) -> Vec<Model> {
    let mut dice = Dice(7);
    let globals = 20.min(count / 50);
    let model = |number: usize| {
        let everywhere = number < globals;
        Model {
            deny: everywhere || dice.roll(10) == 0,
            tool: (!everywhere).then(|| dice.roll(tools(count))),
            team: dice.pick(&TEAMS, 2),
            environment: dice.pick(&ENVIRONMENTS, 2),
            tag: if everywhere { Some(TAGS[dice.roll(4)]) } else { dice.pick(&TAGS, 3) },
            amount: 10 * dice.roll(100),
        }
    };
    (0..count).map(model).collect()
}

const fn tools(count: usize) -> usize {
    count / 10
}

fn text(number: usize, model: &Model) -> String {
    let effect = if model.deny { "forbid" } else { "permit" };
    let principal =
        model.team.map_or_else(|| "principal".to_owned(), |team| format!("principal in Team::\"{team}\""));
    let action =
        model.tool.map_or_else(|| "action".to_owned(), |tool| format!("action == Action::\"s.t{tool}\""));
    let mut conditions = Vec::new();
    conditions.extend(model.environment.map(|it| format!("context.environment == \"{it}\"")));
    conditions.extend(model.tag.map(|it| format!("context.risk_tags.contains(\"{it}\")")));
    if model.tool.is_some() {
        conditions.push(format!("context.args.amount > {}", model.amount));
    }
    let condition = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" && ") };
    format!("@id(\"p{number}\")\n{effect}({principal}, {action}, resource) when {{ {condition} }};\n")
}

fn snapshot(count: usize, texts: &[String]) -> Snapshot {
    let mut catalogue = String::from(r#"{"server":"s","tools":["#);
    for tool in 0..tools(count).max(1) {
        let comma = if tool == 0 { "" } else { "," };
        let _ = write!(
            catalogue,
            r#"{comma}{{"name":"t{tool}","inputSchema":{{"type":"object","required":["amount"],"properties":{{"amount":{{"type":"integer"}},"customer":{{"type":"string"}},"note":{{"type":"string"}}}}}}}}"#
        );
    }
    catalogue.push_str("]}");
    let mut files = BTreeMap::from([("tools/s.json".to_owned(), catalogue)]);
    for (number, chunk) in texts.chunks(2000).enumerate() {
        files.insert(format!("policies/{number}.cedar"), chunk.concat());
    }
    match callgate_policy::compile(&Bundle::new(files, BTreeMap::new())) {
        Ok(snapshot) => snapshot,
        Err(report) => panic!("the bench's own bundle has problems: {report}"),
    }
}

/// One request in both forms, and what an ideal index looks at.
struct Asked {
    tool: usize,
    team: &'static str,
    environment: &'static str,
    tags: Vec<&'static str>,
    bytes: String,
    request: Request,
    bare: cedar_policy::Request,
    entities: Entities,
}

fn asked(count: usize) -> Vec<Asked> {
    let mut dice = Dice(11);
    (0..REQUESTS).map(|_| one(&mut dice, count)).collect()
}

fn one(dice: &mut Dice, count: usize) -> Asked {
    let (tool, team) = (dice.roll(tools(count).max(1)), TEAMS[dice.roll(4)]);
    let (environment, amount) = (ENVIRONMENTS[dice.roll(2)], 10 * dice.roll(100) + 5);
    let tags: Vec<&str> = TAGS.into_iter().filter(|_| dice.roll(4) == 0).collect();
    let bytes = format!(
        r#"{{"agent":{{"id":"bot-7","team":"{team}","chain":["planner"]}},"session":{{"id":"s-1","step":"execution"}},"tool":{{"server":"s","name":"t{tool}"}},"args":{{"amount":{amount},"customer":"c-1001","note":"as agreed with the customer on the phone"}},"risk_tags":{tags:?},"labels":{{"mcp.server":"s","channel":"mail"}},"environment":"{environment}","pep":{{"id":"bench","enforces":["max_runtime_ms"]}}}}"#
    );
    let request =
        Request::parse(bytes.as_bytes(), &Limits::REQUEST).unwrap_or_else(|e| panic!("{bytes}: {e}"));
    let context = format!(
        r#"{{"args":{{"amount":{amount},"customer":"c-1001","note":"as agreed"}},"risk_tags":{tags:?},"environment":"{environment}"}}"#
    );
    let uid = |text: &str| text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    let context = Context::from_json_str(&context, None).unwrap_or_else(|e| panic!("{e}"));
    let (action, resource) = (format!("Action::\"s.t{tool}\""), format!("Tool::\"s.t{tool}\""));
    let bare =
        cedar_policy::Request::new(uid("Agent::\"bot-7\""), uid(&action), uid(&resource), context, None);
    let entities = format!(
        r#"[{{"uid":{{"type":"Agent","id":"bot-7"}},"attrs":{{}},"parents":[{{"type":"Team","id":"{team}"}}]}}]"#
    );
    let entities = Entities::from_json_str(&entities, None).unwrap_or_else(|e| panic!("{e}"));
    Asked {
        tool,
        team,
        environment,
        tags,
        bytes,
        request,
        bare: bare.unwrap_or_else(|e| panic!("{e}")),
        entities,
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

/// The bare engine over the policies that an ideal index finds.
fn indexed(models: &[Model], policies: &[Policy], asked: &[Asked]) -> Samples {
    let mut by_tool: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
    for (number, model) in models.iter().enumerate() {
        by_tool.entry(model.tool).or_default().push(number);
    }
    let authorizer = Authorizer::new();
    let fits = |model: &Model, one: &Asked| {
        model.team.is_none_or(|team| team == one.team)
            && model.environment.is_none_or(|it| it == one.environment)
            && model.tag.is_none_or(|tag| one.tags.contains(&tag))
    };
    time(asked, 40, |one| {
        let numbers = [None, Some(one.tool)].into_iter().filter_map(|tool| by_tool.get(&tool)).flatten();
        let found =
            numbers.filter(|number| fits(&models[**number], one)).map(|number| policies[*number].clone());
        let set = PolicySet::from_policies(found).unwrap_or_else(|e| panic!("{e}"));
        black_box(authorizer.is_authorized(&one.bare, &set, &one.entities));
    })
}

pub(crate) fn run() {
    println!("\n## Cedar: 256 requests (p50/p99 ns, one thread; load {})", load());
    println!(
        "{:>8} {:>18} {:>18} {:>18}   {:>22} {:>18}",
        "policies",
        "ours: evaluate",
        "ours: decide",
        "ours: from bytes",
        "bare: one set",
        "bare: ideal index"
    );
    let facts = Facts::new(Credential::Development, 0);
    for count in [10, 100, 1000, 10_000] {
        let models = models(count);
        let texts: Vec<String> =
            models.iter().enumerate().map(|(number, model)| text(number, model)).collect();
        let snapshot = snapshot(count, &texts);
        let asked = asked(count);
        let mut evaluate = time(&asked, 40, |one| {
            let mut evaluation = Evaluation::default();
            for module in &snapshot.modules {
                module.evaluate(&one.request, &facts, &mut evaluation);
            }
            black_box(&evaluation);
        });
        let mut decides = time(&asked, 40, |one| {
            black_box(decide(&snapshot, Ask::Request(Box::new(one.request.clone())), &facts));
        });
        let mut bytes = time(&asked, 40, |one| {
            let request =
                Request::parse(one.bytes.as_bytes(), &Limits::REQUEST).unwrap_or_else(|e| panic!("{e}"));
            black_box(decide(&snapshot, Ask::Request(Box::new(request)), &facts));
        });
        let policies: Vec<Policy> = texts
            .iter()
            .enumerate()
            .map(|(number, text)| {
                let id = cedar_policy::PolicyId::new(format!("p{number}"));
                Policy::parse(Some(id), text).unwrap_or_else(|e| panic!("{e}"))
            })
            .collect();
        let one_set = if count <= 1000 {
            let set = PolicySet::from_policies(policies.iter().cloned()).unwrap_or_else(|e| panic!("{e}"));
            let authorizer = Authorizer::new();
            time(&asked, 4, |one| {
                black_box(authorizer.is_authorized(&one.bare, &set, &one.entities));
            })
            .p50_p99()
        } else {
            "not run".to_owned()
        };
        let mut ideal = indexed(&models, &policies, &asked);
        println!(
            "{count:>8} {:>18} {:>18} {:>18}   {one_set:>22} {:>18}",
            evaluate.p50_p99(),
            decides.p50_p99(),
            bytes.p50_p99(),
            ideal.p50_p99()
        );
    }
}
