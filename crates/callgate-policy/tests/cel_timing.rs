//! How long typical conditions take. Measures only when asked:
//! `cargo test --release -p callgate-policy --test cel_timing -- --ignored --nocapture`.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement")]

use std::hint::black_box;
use std::time::Instant;

use callgate_core::json;
use callgate_core::value::Value;
use callgate_policy::cel::{CelValue, Env, Fuel, Limits, Lookup, Type, compile};

const ROUNDS: u32 = 1_000;
/// The best batch counts: the machine may be busy with others.
const BATCHES: u32 = 200;

struct Args(Value);

impl Lookup for Args {
    fn get(&self, _slot: usize, _name: &str) -> Option<CelValue<'_>> {
        Some(CelValue::from_json(&self.0))
    }
}

#[test]
#[ignore = "a measurement"]
fn typical_conditions() {
    let text = br#"{"amount": "120.50", "rate": 50.25, "path": "/srv/data/reports/2026/q1.csv", "tags": ["prod", "write", "eu"],
        "sql": "update tickets set state = 'closed' where id = 4711", "count": 12}"#;
    let args = Args(json::parse(text, &json::Limits::REQUEST).expect("valid"));
    let env = Env::new().variable("args", Type::Dyn);
    for source in [
        "true",
        "args.count > 10",
        "args.path.startsWith(\"/srv/data/\")",
        "dec(args.amount) > dec(\"50.00\")",
        "args.rate > 50.10",
        "\"prod\" in args.tags && args.count < 20",
        "args.tags.exists(t, t == \"eu\")",
        "args.sql.matches(\"(?i)^\\\\s*(update|delete|drop)\\\\b\")",
        "args.path.split(\"/\").size() > 3",
    ] {
        let program = compile(source, &env, &Limits::default()).expect("valid");
        let (mut used, mut best) = (0, f64::INFINITY);
        for _ in 0..BATCHES {
            let start = Instant::now();
            for _ in 0..ROUNDS {
                let mut fuel = Fuel::default();
                black_box(program.evaluate_bool(black_box(&args), &mut fuel)).expect("a bool");
                used = 100_000 - fuel.left();
            }
            best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
        }
        println!("{best:>7.1} ns {used:>4} fuel  {source}");
    }
    let args = Args(Value::List((0..1000).map(Value::Int).collect()));
    let long = Args(Value::Str("x".repeat(100_000)));
    let env = Env::new().variable("a", Type::Dyn);
    for (source, args) in [
        ("a.all(x, a.all(y, x + y >= 0))", &args),
        ("a.map(x, [x, x, x]).size() + a.map(x, a.map(y, y)).size() > 0", &args),
        ("[1,2,3,4,5,6,7,8,9].all(x, a.contains(\"y\") || true)", &long),
        ("[1,2,3,4,5,6,7,8,9].all(x, a.matches(\"(x+x+)+y\") || true)", &long),
        ("[1,2,3,4,5,6,7,8,9].all(x, a.split(\"\").size() > 0)", &long),
    ] {
        let program = compile(source, &env, &Limits::default()).expect("valid");
        let (mut spent, mut best) = (false, f64::INFINITY);
        for _ in 0..20 {
            let mut fuel = Fuel::default();
            let start = Instant::now();
            spent = program.evaluate(args, &mut fuel).is_err();
            best = best.min(start.elapsed().as_secs_f64() * 1e6);
        }
        println!("{best:>7.0} µs, out of fuel: {spent}  {source}");
    }
}
