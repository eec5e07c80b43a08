//! Expressions and inputs meant to stall, exhaust or abort the gate. Each ends within its bounds.
#![expect(clippy::expect_used, clippy::panic, reason = "tests may fail by panicking")]

use callgate_core::value::Value;
use callgate_policy::cel::{CelValue, Env, EvalError, Fuel, Limits, Lookup, Program, Type, compile};

/// The smallest stack a gate's thread has.
const STACK: usize = 2 << 20;

struct Args(Value);

impl Lookup for Args {
    fn get(&self, _slot: usize, _name: &str) -> Option<CelValue<'_>> {
        Some(CelValue::from_json(&self.0))
    }
}

fn env() -> Env {
    Env::new().variable("a", Type::Dyn)
}

fn program(text: &str) -> Program {
    compile(text, &env(), &Limits::default()).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

fn refusal(text: &str) -> String {
    let errors = compile(text, &env(), &Limits::default()).expect_err("refused");
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(run).expect("a thread");
    thread.join().expect("no overflow");
}

#[test]
fn nesting_and_chains_of_every_shape_are_refused_without_recursion() {
    on_a_small_stack(|| {
        for (open, middle, close) in [
            ("(", "1", ")"),
            ("[", "1", "]"),
            ("{1:", "1", "}"),
            ("!", "true", ""),
            ("-", "a", ""),
            ("- -", "a", ""),
            ("a[", "1", "]"),
            ("size(", "a", ")"),
            ("true ? 1 : ", "2", ""),
            ("", "a", ".b"),
            ("", "a", "[0]"),
            ("", "a", ".size()"),
            ("", "a", "+1"),
            ("", "a", "-1"),
            ("", "a", "*1"),
            ("", "a", "==1"),
            ("", "a", " in a"),
            ("[1].map(x, ", "1", ")"),
            ("cel.bind(x, 1, ", "1", ")"),
            ("a.b(", "1", ")"),
            ("has(a.b) && (", "true", ")"),
        ] {
            for count in [200, 400, 1000, 4000] {
                let text = format!("{}{middle}{}", open.repeat(count), close.repeat(count));
                assert!(
                    compile(&text, &env(), &Limits::default()).is_err(),
                    "{open}{middle}{close} × {count}"
                );
                let unbounded = Limits { source_bytes: usize::MAX, ..Limits::default() };
                assert!(compile(&text, &env(), &unbounded).is_err(), "{open}{middle}{close} × {count}");
            }
        }
    });
}

#[test]
fn the_tallest_accepted_programs_run_on_a_small_stack() {
    on_a_small_stack(|| {
        let deep = 60;
        for text in [
            format!("{}1{}", "(".repeat(deep), ")".repeat(deep)),
            format!("a{}", "+1".repeat(150)),
            format!("{}a{}", "[".repeat(deep), "]".repeat(deep)),
            format!("{}a{}", "size([".repeat(deep / 2), "])".repeat(deep / 2)),
            format!("{}a", "!".repeat(deep)),
            format!("{}a{}", "cel.bind(x, a, ".repeat(deep), ")".repeat(deep)),
            format!("{}a > 0{}", "a == 1 ? true : (".repeat(25), ")".repeat(25)),
            format!("a == [{}] || {}", vec!["a"; 500].join(","), vec!["a == 2"; 200].join("||")),
            format!("{}1{} == {}a{}", "[".repeat(30), "]".repeat(30), "[".repeat(30), "]".repeat(30)),
        ] {
            let program = program(&text);
            let args = Args(Value::Int(1));
            drop(program.evaluate(&args, &mut Fuel::default()).map(|value| value.kind()));
        }
    });
}

#[test]
fn long_texts_and_many_parts_are_refused() {
    assert!(refusal(&" ".repeat(4097)).contains("4097 bytes"));
    let many = Limits { source_bytes: 1 << 20, ..Limits::default() };
    let text = vec!["a"; 3000].join("||");
    let errors = compile(&text, &env(), &many).expect_err("refused");
    assert!(errors.iter().any(|error| error.message.contains("more than 2000 parts")), "{errors:?}");
    let errors = compile(&"§".repeat(4000), &env(), &many).expect_err("refused");
    assert!(errors.len() <= 4000);
}

#[test]
fn loops_over_long_lists_run_out_of_fuel() {
    let args = Args(Value::List((0..1000).map(Value::Int).collect()));
    for text in [
        "a.all(x, a.all(y, a.all(z, x + y + z >= 0)))",
        "a.map(x, a.map(y, a.map(z, [x, y, z]))).size() > 0",
        "a.filter(x, a.exists(y, y > x + 1000)).size() == 0",
        "a.exists(x, a.exists(y, a.exists(z, z == -1))) || true",
        "a.map(x, a).distinct().size() == 1",
        "a.transformMap(i, v, a).size() + a.map(x, a.transformMap(i, v, v)).size() > 0",
        "a.map(x, a + a + a).size() > 0",
        "a.map(x, string(x) + 'xxxxxxxx').map(s, a.map(x, s).join(s).size()).size() > 0",
        "a.all(x, a in [a, a, a] && a == a)",
    ] {
        let mut fuel = Fuel::default();
        let program = program(text);
        let result = program.evaluate(&args, &mut fuel).map(|value| value.kind());
        assert_eq!(result, Err(EvalError::OutOfFuel), "{text}");
        assert_eq!(fuel.left(), 0, "{text}");
    }
}

#[test]
fn texts_cannot_grow_past_the_fuel() {
    let args = Args(Value::Str("x".repeat(10_000)));
    let mut doubling = "size(x)".to_owned();
    for _ in 0..40 {
        doubling = format!("cel.bind(x, x + x, {doubling})");
    }
    for text in [
        format!("cel.bind(x, a, {doubling})"),
        "a.replace('', a).size() > 0".to_owned(),
        "a.replace('x', a).size() > 0".to_owned(),
        "a.split('').map(c, a).join(a).size() > 0".to_owned(),
        "a.split('').map(c, a.contains('xy')).size() > 0".to_owned(),
        "a.split('').all(c, a.matches('(x+x+)+y') || a.matches('^(([a-z])+.)+[A-Z]([a-z])+$') || true)"
            .to_owned(),
        "a.split('').map(c, a.indexOf('y') + a.lastIndexOf('y')).size() > 0".to_owned(),
        "a.split('').map(c, a.substring(5000)).size() > 0".to_owned(),
        "a.split('').map(c, a == a + '').size() > 0".to_owned(),
    ] {
        let result = program(&text).evaluate(&args, &mut Fuel::default()).map(|value| value.kind());
        assert_eq!(result, Err(EvalError::OutOfFuel), "{text}");
    }
}

#[test]
fn constants_cannot_make_the_compiler_work_without_end() {
    let mut text = "'xxxxxxxxxxxxxxxx'".to_owned();
    for _ in 0..6 {
        text = format!("{text}.split('').join({text}.upperAscii())");
        if text.len() > 3000 {
            break;
        }
    }
    drop(compile(&text, &env(), &Limits::default()));
    let many = vec!["a.matches('x')"; 17].join("||");
    assert!(refusal(&many).contains("more than 16 patterns"));
    for text in ["'a'.matches('((((((a{9}){9}){9}){9}){9}){9})')", "'a'.matches('(?:\\\\pL{200}){200}')"] {
        assert!(refusal(text).contains("too large"), "{text}");
    }
}

#[test]
fn inputs_nested_deeper_than_any_request_are_refused_not_followed() {
    on_a_small_stack(|| {
        let mut value = Value::Null;
        for _ in 0..400 {
            value = Value::List(vec![value]);
        }
        let args = Args(value);
        let result = program("a == a").evaluate(&args, &mut Fuel::default()).map(|value| value.kind());
        assert_eq!(result, Err(EvalError::TooDeep));
    });
}

#[test]
fn functions_for_authors_end_within_the_fuel_on_ten_megabytes() {
    const TEXTS: [&str; 22] = [
        "cmd.argv(a).size() > 0",
        "cmd.commands(a).size() > 0",
        "cmd.is_simple(a)",
        "path.under(a, '/srv')",
        "path.under('/srv', a)",
        "path.normalize(a) == ''",
        "path.is_plain(a)",
        "url.host(a) == ''",
        "url.path(a) == ''",
        "url.is_plain(a)",
        "url.host_in(a, ['example.com'])",
        "email.domain(a) == ''",
        "email.is_plain(a)",
        "glob.matches(a, '**/*a*b*c*/{x,y}/**')",
        "isIP(a) || ip(a).isLoopback()",
        "cidr(a).containsIP(a)",
        "base64.decode(a).size() > 0",
        "base64.encode(bytes(a)).size() > 0",
        "'%s%s%s'.format([a, a, a]).size() > 0",
        "a.format([a]).size() > 0",
        "json.path([a], a).size() > 0",
        "sets.contains([a], [a + ''])",
    ];
    for unit in [
        "/", "a/", "a ", "%2e", "\"", "'", "\\", "$", "\u{2024}", "a@b.", "1.", ":", "[", "\u{0}", "é", "{",
        "%s",
    ] {
        let args = Args(Value::Str(unit.repeat((10 << 20) / unit.len())));
        for text in TEXTS {
            let mut fuel = Fuel::default();
            let value = program(text).evaluate_bool(&args, &mut fuel);
            assert!(value.is_err() || value == Ok(false), "{text} on {unit:?} gave {value:?}");
        }
    }
}

#[test]
fn json_paths_over_wide_and_deep_values_end_within_the_fuel() {
    on_a_small_stack(|| {
        let mut deep = Value::Null;
        for _ in 0..400 {
            deep = Value::List(vec![deep]);
        }
        let wide = Value::List((0..1000).map(|_| Value::List((0..300).map(Value::Int).collect())).collect());
        for value in [deep, wide] {
            let args = Args(value);
            for path in ["$..x", "$..*", "$..[*]..[*]..[*]", "$[*][*]", "$[::1][::1]"] {
                let mut fuel = Fuel::default();
                let program = program(&format!("json.path(a, '{path}').size() < 0"));
                let value = program.evaluate_bool(&args, &mut fuel);
                assert!(value.is_err() || value == Ok(false), "{path}: {value:?}");
            }
        }
    });
}

#[test]
fn optionals_and_new_syntax_nest_no_deeper_than_the_limits() {
    on_a_small_stack(|| {
        for (open, middle, close) in [
            ("", "a", ".?b"),
            ("", "a", "[?0]"),
            ("[?dyn(", "a", ")]"),
            ("{?1:dyn(", "a", ")}"),
            ("a.optMap(x, ", "1", ")"),
            ("optional.of(", "a", ")"),
        ] {
            for count in [200, 1000, 4000] {
                let text = format!("{}{middle}{}", open.repeat(count), close.repeat(count));
                let unbounded = Limits { source_bytes: usize::MAX, ..Limits::default() };
                assert!(compile(&text, &env(), &unbounded).is_err(), "{open}{middle}{close} × {count}");
            }
            let text = format!("{}{middle}{}", open.repeat(20), close.repeat(20));
            drop(
                program(&text).evaluate(&Args(Value::Int(1)), &mut Fuel::default()).map(|value| value.kind()),
            );
        }
    });
}

#[test]
fn globs_cannot_grow_without_end() {
    for text in [
        format!("glob.matches(a, '{}')", "*a".repeat(300)),
        format!("glob.matches(a, '{}')", "{a,b,c}".repeat(200)),
    ] {
        assert!(refusal(&text).contains("512 bytes"), "{text}");
    }
    drop(compile(&format!("glob.matches(a, '{}')", "**/".repeat(100)), &env(), &Limits::default()));
}

#[test]
fn programs_are_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    shared(&program("a == 1"));
}
