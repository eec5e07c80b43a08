//! One entry rule, compiled: bytecode where that is known to be right, else the syntax tree.
//!
//! Bytecode is taken for what cannot fail and was seen to answer as the interpreter does
//! ([`super::survey`] marks the rest). Both are bounded by steps, never by a clock, so that the
//! same question has the same answer on any machine.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::{Program as Bytecode, RegoVM};
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

use crate::engine::guarded;

/// The most instructions of one evaluation in bytecode.
const MAX_INSTRUCTIONS: usize = 200_000;
/// The most steps of one evaluation of the syntax tree.
const MAX_STEPS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();
/// The most machines that wait for the next evaluation of one rule.
const MAX_IDLE: usize = 8;
/// How much of an error's text is kept, in characters.
const MAX_MESSAGE: usize = 200;

/// One module's name and text.
#[derive(Debug, Clone)]
pub struct Source {
    /// The path, for messages.
    pub path: String,
    /// The text, Rego v1.
    pub text: String,
}

/// A compiled rule that is asked with one input after the other, from any thread.
pub struct Program {
    rule: String,
    machine: Machine,
}

enum Machine {
    Bytecode {
        program: Arc<Bytecode>,
        data: Value,
        strict: bool,
        idle: Idle<RegoVM>,
    },
    /// The prepared engine; clones share the parsed policy.
    Tree {
        engine: Box<Engine>,
        idle: Idle<Engine>,
    },
}

/// How a rule is compiled.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether bytecode may be used.
    pub bytecode: bool,
    /// Whether the error of a builtin is an error; else it is undefined, as OPA has it by default.
    pub strict: bool,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("rule", &self.rule)
            .field("bytecode", &self.is_bytecode())
            .finish_non_exhaustive()
    }
}

impl Program {
    /// Compiles `rule`, such as `data.shop.decision`, over all of `modules` and `data`.
    ///
    /// # Errors
    /// What is wrong with a module, in words.
    pub fn compile(modules: &[Source], data: &Value, rule: &str, options: Options) -> Result<Self, String> {
        guarded(|| Self::compile_unguarded(modules, data, rule, options)).and_then(|compiled| compiled)
    }

    fn compile_unguarded(
        modules: &[Source],
        data: &Value,
        rule: &str,
        options: Options,
    ) -> Result<Self, String> {
        let mut engine = Engine::new();
        engine.set_rego_v0(false);
        engine.set_strict_builtin_errors(options.strict);
        for module in modules {
            engine.add_policy(module.path.clone(), module.text.clone()).map_err(|e| message(&e))?;
        }
        engine.add_data(data.clone()).map_err(|e| message(&e))?;
        let policy = engine.compile_with_entrypoint(&rule.into()).map_err(|e| message(&e))?;
        let bytecode = || Compiler::compile_from_policy(&policy, &[rule]).ok();
        let machine = match options.bytecode.then(bytecode).flatten() {
            Some(program) => {
                let first = machine(&program, data, options.strict)?;
                Machine::Bytecode {
                    program,
                    data: data.clone(),
                    strict: options.strict,
                    idle: Idle::starting_with(first),
                }
            }
            None => {
                // A limit of no time that is looked at once after so many steps is a limit of steps.
                engine.set_execution_timer_config(ExecutionTimerConfig {
                    limit: Duration::ZERO,
                    check_interval: MAX_STEPS,
                });
                Machine::Tree { engine: Box::new(engine), idle: Idle::default() }
            }
        };
        Ok(Self { rule: rule.to_owned(), machine })
    }

    /// Whether the rule runs as bytecode.
    #[must_use]
    pub const fn is_bytecode(&self) -> bool {
        matches!(self.machine, Machine::Bytecode { .. })
    }

    /// The value of the rule for `input`; [`Value::Undefined`] when it has none.
    ///
    /// # Errors
    /// Why there is no answer, in words: an error of the policy, too many steps, or a panic.
    pub fn run(&self, input: &Value) -> Result<Value, String> {
        guarded(|| self.run_unguarded(input)).and_then(|answer| answer)
    }

    // A machine that failed or unwound is not used again.
    fn run_unguarded(&self, input: &Value) -> Result<Value, String> {
        match &self.machine {
            Machine::Bytecode { program, data, strict, idle } => {
                let mut vm = match idle.take() {
                    Some(vm) => vm,
                    None => machine(program, data, *strict)?,
                };
                vm.set_input(input.clone());
                let answer = vm.execute_entry_point_by_index(0).map_err(|e| shortened(&e.to_string()))?;
                vm.set_input(Value::Null);
                idle.put(vm);
                Ok(answer)
            }
            Machine::Tree { engine, idle } => {
                let mut engine = idle.take().unwrap_or_else(|| engine.as_ref().clone());
                engine.set_input(input.clone());
                let answer = engine.eval_rule(self.rule.clone()).map_err(|e| message(&e))?;
                engine.set_input(Value::Null);
                idle.put(engine);
                Ok(answer)
            }
        }
    }
}

fn machine(program: &Arc<Bytecode>, data: &Value, strict: bool) -> Result<RegoVM, String> {
    let mut vm = RegoVM::new();
    vm.load_program(Arc::clone(program));
    vm.set_max_instructions(MAX_INSTRUCTIONS);
    vm.set_strict_builtin_errors(strict);
    vm.set_data(data.clone()).map_err(|e| shortened(&e.to_string()))?;
    Ok(vm)
}

/// Machines between evaluations. The lock is held only to take or to put one.
struct Idle<T>(Mutex<Vec<T>>);

impl<T> Default for Idle<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T> Idle<T> {
    fn starting_with(first: T) -> Self {
        Self(Mutex::new(vec![first]))
    }

    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, machine: T) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(machine);
        }
    }
}

/// An error of the interpreter without its excerpt of the source, and without times.
fn message(error: &impl fmt::Display) -> String {
    let text = format!("{error:#}");
    if text.contains("execution exceeded time limit") {
        return format!("the policy takes more than {MAX_STEPS} steps");
    }
    shortened(text.rsplit_once("error: ").map_or(text.as_str(), |(_, problem)| problem))
}

fn shortened(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().take(MAX_MESSAGE).collect()
}
