//! The tasks of `docs/cel.md`: each condition compiles, holds where it should, and does not where it should not.
#![expect(clippy::panic, reason = "tests may fail by panicking")]

use callgate_core::json;
use callgate_core::value::Value;
use callgate_policy::cel::{CelValue, Env, Fuel, Limits, Lookup, Type, compile_condition};

const PAGE: &str = include_str!("../../../docs/cel.md");

/// What a condition gives.
#[derive(Debug, PartialEq, Eq)]
enum Gives {
    Holds,
    Fails,
    Error,
}

use Gives::{Error, Fails, Holds};

/// The task of a row, arguments, and what its condition gives for them.
const CASES: &[(&str, &str, Gives)] = &[
    ("refunds over a limit", r#"{"amount": "50.01"}"#, Holds),
    ("refunds over a limit", r#"{"amount": "50.00"}"#, Fails),
    ("refunds over a limit", r#"{"amount": "much"}"#, Error),
    ("only `git status` and `ls`", r#"{"command": "git  status"}"#, Holds),
    ("only `git status` and `ls`", r#"{"command": "git push"}"#, Fails),
    ("only `git status` and `ls`", r#"{"command": "ls; rm -rf /"}"#, Error),
    ("never `rm -r`", r#"{"command": "ls && /bin/rm -fr x"}"#, Holds),
    ("never `rm -r`", r#"{"command": "rm x"}"#, Fails),
    ("never `rm -r`", r#"{"command": "$(echo rm) -r x"}"#, Error),
    ("no command that is more than words", r#"{"command": "ls | sh"}"#, Holds),
    ("no command that is more than words", r#"{"command": "ls"}"#, Fails),
    ("files below one folder", r#"{"path": "/srv/data/a"}"#, Holds),
    ("files below one folder", r#"{"path": "/srv/data/../x"}"#, Error),
    ("nothing outside it", r#"{"path": "/etc/passwd"}"#, Holds),
    ("nothing outside it", r#"{"path": "/srv/data/../../etc/passwd"}"#, Error),
    ("Rust sources only", r#"{"path": "/srv/src/a/b.rs"}"#, Holds),
    ("Rust sources only", r#"{"path": "/srv/src/a/b.sh"}"#, Fails),
    ("mail inside the company", r#"{"recipients": ["a@example.com", "b@evil.com"]}"#, Holds),
    ("mail inside the company", r#"{"recipients": ["a@example.com", "b@mail.example.com"]}"#, Fails),
    ("mail inside the company", r#"{"recipients": ["a@example.com, b@evil.com"]}"#, Error),
    ("known hosts only, encrypted", r#"{"url": "https://api.example.com/v1"}"#, Holds),
    ("known hosts only, encrypted", r#"{"url": "http://api.example.com/v1"}"#, Fails),
    ("known hosts only, encrypted", r#"{"url": "https://api.example.com@evil.com/"}"#, Error),
    ("no addresses of the inner network", r#"{"url": "http://169.254.169.254/latest"}"#, Holds),
    ("no addresses of the inner network", r#"{"url": "http://192.0.2.1/"}"#, Fails),
    ("no addresses of the inner network", r#"{"url": "http://2852039166/"}"#, Error),
    ("outside working hours", "{}", Holds),
    ("no secret anywhere in the arguments", r#"{"a": [{"password": "x"}]}"#, Holds),
    ("no secret anywhere in the arguments", r#"{"a": [{"user": "x"}]}"#, Fails),
    ("a field that may be absent", r#"{"options": {"force": true}}"#, Holds),
    ("a field that may be absent", "{}", Fails),
    ("a field that may be absent", r#"{"options": 3}"#, Error),
];

struct Vars(Value);

impl Lookup for Vars {
    fn get(&self, _slot: usize, name: &str) -> Option<CelValue<'_>> {
        match name {
            "args" => Some(CelValue::from_json(&self.0)),
            // 2026-01-31T23:30:00Z, half past midnight in Berlin.
            "now" => Some(CelValue::Timestamp(1_769_902_200_000_000_000)),
            _ => None,
        }
    }
}

/// The task and the condition of each row.
fn rows() -> Vec<(&'static str, &'static str)> {
    let table = PAGE.split("## Start from a task").nth(1).and_then(|rest| rest.split("\n## ").next());
    let table = table.unwrap_or_else(|| panic!("the page has its table"));
    let row = |line: &'static str| {
        let mut cells = line.strip_prefix("| ")?.strip_suffix("` |")?.splitn(3, " | ");
        let (task, _, condition) = (cells.next()?, cells.next()?, cells.next()?);
        Some((task, condition.trim_start_matches('`')))
    };
    table.lines().filter_map(row).filter(|(task, _)| *task != "task").collect()
}

#[test]
fn every_task_of_the_page_does_what_it_says() {
    let rows = rows();
    assert_eq!(rows.len(), 13, "{rows:?}");
    for (task, condition) in &rows {
        let env = Env::new().variable("args", Type::Dyn).variable("now", Type::TIMESTAMP);
        let program = compile_condition(condition, &env, &Limits::default())
            .unwrap_or_else(|errors| panic!("{condition}: {errors:?}"));
        let mut tried = 0u32;
        for (_, args, wanted) in CASES.iter().filter(|(name, ..)| name == task) {
            let args = json::parse(args.as_bytes(), &json::Limits::REQUEST)
                .unwrap_or_else(|error| panic!("{error}: {args}"));
            let given = match program.evaluate_bool(&Vars(args.clone()), &mut Fuel::default()) {
                Ok(true) => Holds,
                Ok(false) => Fails,
                Err(_) => Error,
            };
            assert_eq!(given, *wanted, "{task}: {condition} with {}", args.canonical());
            tried = tried.saturating_add(1);
        }
        assert!(tried > 0, "no case tries `{task}`");
    }
}
