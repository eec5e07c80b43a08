//! A bundle to a snapshot: files are parsed and decoded, the parts checked against each other, and
//! lowered into what decides. One path for `check` and `compile`, which therefore cannot disagree.

mod annotations;
mod approval;
mod cedar;
mod contracts;
mod dead;
mod dogwood;
mod judge;
mod limits;
mod rego;
mod rules;
mod settings;
mod tools;

use callgate_core::catalogue::Catalogue;
use callgate_core::module::Module;
use callgate_core::snapshot::{Defaults, Snapshot};

use self::dead::Draft;
pub(crate) use self::rego::compile_bare;
use crate::bundle::{Bundle, FileKind, Language};
use crate::codes::Code;
use crate::decode::{MeantText, Shape, Sink, Spanned};
use crate::diagnostic::{Problems, Report};
use crate::engine::{Engine, Policies};
use crate::language::contracts::{ContractText, ContractsFile};
use crate::language::limits::LimitsFile;
use crate::language::rules::{RuleText, RulesFile};
use crate::language::settings::SettingsFile;
use crate::language::tests::TestsFile;
use crate::limits::Limits;
use crate::rules::Rules;
use crate::syntax::{self, MAX_BUNDLE, MAX_FILE, MAX_FILES, Node, SourceFile, Span};
use crate::testing::{Case, plan};

/// A decoded part and the file it stands in.
pub(crate) struct Part<'a, T> {
    file: &'a SourceFile<'a>,
    text: T,
    /// Whether everything in the file could be read. Where not, what a rule seems to lack may only be
    /// unreadable, and is not reported.
    sound: bool,
}

/// The decoded files, by kind.
#[derive(Default)]
struct Parts<'a> {
    settings: Option<SettingsFile>,
    /// Rules, and whether their file says `invariants: true`.
    rules: Vec<(Part<'a, MeantText<RuleText>>, bool)>,
    contracts: Vec<Part<'a, MeantText<ContractText>>>,
    limits: limits::Written<'a>,
    tools: Vec<Part<'a, Node>>,
    /// Files in languages that have parsers of their own.
    policies: Vec<(Language, &'a SourceFile<'a>)>,
    /// Test files that could be read without a problem.
    tests: Vec<Part<'a, TestsFile>>,
}

/// What the rules of every language may refer to.
pub(super) struct Shared<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) defaults: &'a Defaults,
}

/// One language's part of the bundle.
#[derive(Default)]
pub(super) struct Lowered<'a> {
    /// Its rules, unless it has none or problems.
    pub(super) engine: Option<Box<dyn Engine>>,
    /// The ids it gives.
    pub(super) named: Vec<Named<'a>>,
}

/// An id and where it stands.
pub(super) struct Named<'a> {
    pub(super) file: &'a SourceFile<'a>,
    pub(super) id: String,
    pub(super) span: Span,
    /// What has it, such as `rule`.
    pub(super) what: &'static str,
}

/// What a bundle comes to.
pub(crate) struct Built {
    /// There is one exactly when the report has no errors.
    pub(crate) snapshot: Option<Snapshot>,
    /// The bundle's tests.
    pub(crate) tests: Vec<Case>,
    pub(crate) report: Report,
}

/// Reads the whole bundle, tests included: what they say wrongly stops it, too.
pub(crate) fn build(bundle: &Bundle) -> Built {
    let mut problems = Problems::default();
    let files: Vec<(FileKind, SourceFile<'_>)> = select(bundle, &mut problems);
    let mut parts = decode(&files, &mut problems);
    let tests = std::mem::take(&mut parts.tests);
    let snapshot = assemble(bundle, &parts, &mut problems);
    let tests = plan_tests(tests, snapshot.as_ref(), &mut problems);
    let sound = problems.errors() == 0;
    Built { snapshot: snapshot.filter(|_| sound), tests, report: problems.into_report() }
}

/// Makes the cases of all files. Which rules a test may name is known where the bundle is sound.
fn plan_tests(
    files: Vec<Part<'_, TestsFile>>,
    snapshot: Option<&Snapshot>,
    problems: &mut Problems,
) -> Vec<Case> {
    let rules = snapshot.map(|snapshot| {
        let rules = snapshot.modules.iter().flat_map(|module| module.listed());
        let contracts = snapshot.contracts.iter().map(|contract| contract.rule.clone());
        rules.chain(contracts).map(|rule| rule.id.to_string()).collect()
    });
    let plan = |Part { file, text, .. }| plan(text, rules.as_ref(), &mut Sink { file, problems });
    files.into_iter().flat_map(plan).collect()
}

/// The files that are read, within the limits.
fn select<'a>(bundle: &'a Bundle, problems: &mut Problems) -> Vec<(FileKind, SourceFile<'a>)> {
    let total = bundle.files().values().fold(0usize, |sum, text| sum.saturating_add(text.len()));
    if bundle.files().len() > MAX_FILES {
        let message = format!("the bundle has {} files, more than {MAX_FILES}", bundle.files().len());
        problems.whole(Code::TooLarge, "", message).help("put more rules into each file");
    }
    if total > MAX_BUNDLE {
        let message = format!("the bundle has {total} bytes, more than {MAX_BUNDLE}");
        problems.whole(Code::TooLarge, "", message).help("remove what decides nothing");
    }
    if problems.errors() > 0 {
        return Vec::new();
    }
    bundle.files().iter().filter_map(|(path, text)| file(path, text, problems)).collect()
}

fn file<'a>(path: &'a str, text: &'a str, problems: &mut Problems) -> Option<(FileKind, SourceFile<'a>)> {
    let kind = FileKind::of(path);
    let folder = path.split('/').next().unwrap_or(path);
    match kind {
        Some(FileKind::Later) => {
            let message = format!("this version cannot enforce what is in `{folder}/`");
            problems
                .whole(Code::Unsupported, path, message)
                .help("remove the file; to ignore it would be dangerous");
        }
        Some(FileKind::Misplaced) | None => {
            problems
                .whole(Code::Misplaced, path, "the file is not where or as a file of a bundle must be")
                .help(
                    "a bundle has `callgate.yaml`, `rules/*.yaml`, `contracts/*.yaml`, `limits/*.yaml`, \
                     `tools/*.json` and `tests/*.yaml`, without further folders",
                );
        }
        Some(kind) if text.len() <= MAX_FILE => return Some((kind, SourceFile::new(path, text))),
        Some(_) => {
            let message = format!("the file has {} bytes, more than {MAX_FILE}", text.len());
            problems.whole(Code::TooLarge, path, message).help("split it into several files");
        }
    }
    None
}

fn decode<'a>(files: &'a [(FileKind, SourceFile<'a>)], problems: &mut Problems) -> Parts<'a> {
    let mut parts = Parts::default();
    for (kind, file) in files {
        if let FileKind::Policy(language) = kind {
            parts.policies.push((*language, file));
            continue;
        }
        let Some(root) = syntax::parse(file, problems) else { continue };
        let before = problems.errors();
        let sink = &mut Sink { file, problems };
        match kind {
            FileKind::Settings => parts.settings = SettingsFile::decode(&root, sink),
            FileKind::Tools => parts.tools.push(Part { file, text: root, sound: true }),
            FileKind::Rules => {
                let Some(RulesFile { invariants, rules, .. }) = RulesFile::decode(&root, sink) else {
                    continue;
                };
                let invariant = invariants.is_some_and(|flag| flag.value);
                let rules = rules.into_iter().flat_map(|rules| rules.value);
                let sound = problems.errors() == before;
                parts.rules.extend(rules.map(|rule| (Part { file, text: rule.value, sound }, invariant)));
            }
            FileKind::Contracts => {
                let contracts = ContractsFile::decode(&root, sink).and_then(|file| file.contracts);
                let contracts = contracts.into_iter().flat_map(|contracts| contracts.value);
                let sound = problems.errors() == before;
                parts.contracts.extend(contracts.map(|contract| Part { file, text: contract.value, sound }));
            }
            FileKind::Limits => {
                let Some(text) = LimitsFile::decode(&root, sink) else { continue };
                let sound = problems.errors() == before;
                parts.limits.add(text, &Part { file, text: (), sound });
            }
            FileKind::Tests => {
                let tests = TestsFile::decode(&root, sink).filter(|_| sink.problems.errors() == before);
                parts.tests.extend(tests.map(|text| Part { file, text, sound: true }));
            }
            FileKind::Policy(_) | FileKind::Later | FileKind::Misplaced => {}
        }
    }
    parts
}

fn assemble(bundle: &Bundle, parts: &Parts<'_>, problems: &mut Problems) -> Option<Snapshot> {
    let defaults = settings::lower(parts.settings.as_ref());
    let catalogue = tools::lower(&parts.tools, problems);
    let contracts = contracts::lower(&parts.contracts, bundle.env(), problems);
    let drafts: Vec<Draft<'_>> = parts
        .rules
        .iter()
        .filter_map(|(part, invariant)| rules::lower(part, *invariant, &catalogue, &defaults, problems))
        .collect();
    dead::check(&drafts, problems);
    let others = others(parts, &Shared { catalogue: &catalogue, defaults: &defaults }, problems);
    let limits = parts.limits.lower(&catalogue, &defaults, problems);
    repeated_ids(parts, &others, problems);
    let silent = others.iter().all(|lowered| lowered.named.is_empty());
    if problems.errors() == 0 && parts.rules.is_empty() && parts.contracts.is_empty() && silent {
        problems
            .whole(
                Code::DecidesNothing,
                "",
                "the bundle has no rule and no contract, so it denies everything",
            )
            .help("write `rules/policy.yaml` or `contracts/<name>.yaml`");
    }
    if problems.errors() > 0 {
        return None;
    }
    let compiled = drafts.into_iter().map(|draft| draft.compiled).collect();
    let rules = Rules::new(compiled, catalogue.clone(), defaults.approval_expires_ms);
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(rules)];
    engines.extend(others.into_iter().filter_map(|lowered| lowered.engine));
    let mut modules: Vec<Box<dyn Module>> = vec![Box::new(Policies::new(engines))];
    if !limits.is_empty() {
        modules.push(Box::new(Limits::new(limits, catalogue.clone())));
    }
    Some(Snapshot { digest: bundle.digest(), modules, contracts, catalogue, defaults })
}

/// The languages that have files of their own.
fn others<'a>(parts: &Parts<'a>, shared: &Shared<'_>, problems: &mut Problems) -> Vec<Lowered<'a>> {
    let of = |language: Language| -> Vec<&'a SourceFile<'a>> {
        parts.policies.iter().filter(|(of, _)| *of == language).map(|(_, file)| *file).collect()
    };
    vec![
        cedar::lower(&of(Language::Cedar), shared, problems),
        rego::lower(&of(Language::Rego), shared, problems),
        dogwood::lower(&of(Language::Dogwood), shared, problems),
    ]
}

/// The Cedar schema of the bundle's tools, as far as they can be read.
pub(crate) fn cedar_schema(bundle: &Bundle) -> String {
    let mut problems = Problems::default();
    let files = select(bundle, &mut problems);
    let parts = decode(&files, &mut problems);
    crate::cedar::text(
        &tools::lower(&parts.tools, &mut problems),
        &crate::cedar::Slice::Whole,
        crate::cedar::RECORD,
    )
}

/// Ids name rules and contracts in receipts, so no two may share one.
fn repeated_ids(parts: &Parts<'_>, others: &[Lowered<'_>], problems: &mut Problems) {
    let rules = parts.rules.iter().map(|(part, _)| (part.file, part.text.text.id.as_ref(), "rule"));
    let contracts = parts.contracts.iter().map(|part| (part.file, part.text.text.id.as_ref(), "contract"));
    let written = rules
        .chain(contracts)
        .filter_map(|(file, id, what)| id.map(|Spanned { value, span }| (file, value.as_str(), *span, what)));
    let limits = parts.limits.named();
    let named = others.iter().flat_map(|lowered| &lowered.named).chain(&limits);
    let named = named.map(|named| (named.file, named.id.as_str(), named.span, named.what));
    let mut first: std::collections::BTreeMap<&str, String> = std::collections::BTreeMap::new();
    for (file, id, span, what) in written.chain(named) {
        match first.get(id) {
            None => drop(first.insert(id, format!("the {what} at {}", file.source(span)))),
            Some(earlier) => {
                problems
                    .add(Code::RepeatedId, file, span, format!("the id `{id}` is that of {earlier}"))
                    .help("give each rule, policy, contract and limit an id of its own");
            }
        }
    }
}

/// The rules and the catalogue of a bundle, whether or not some of its rules are dead.
#[cfg(test)]
pub(crate) fn rules_of(bundle: &Bundle) -> Option<(Rules, callgate_core::catalogue::Catalogue)> {
    let mut problems = Problems::default();
    let files = select(bundle, &mut problems);
    let parts = decode(&files, &mut problems);
    let defaults = settings::lower(None);
    let catalogue = tools::lower(&parts.tools, &mut problems);
    let read = |(part, invariant): &(Part<'_, MeantText<RuleText>>, bool)| {
        rules::lower(part, *invariant, &catalogue, &defaults, &mut problems).map(|draft| draft.compiled)
    };
    let compiled: Option<Vec<_>> = parts.rules.iter().map(read).collect();
    Some((Rules::new(compiled?, catalogue.clone(), defaults.approval_expires_ms), catalogue))
}

/// The Cedar policies and the catalogue of a bundle that has no problems.
#[cfg(test)]
pub(crate) fn cedar_of(bundle: &Bundle) -> Option<(Box<dyn Engine>, Catalogue)> {
    engine_of(bundle, "cedar")
}

/// The Rego packages of a bundle that has no problems.
#[cfg(test)]
pub(crate) fn rego_of(bundle: &Bundle) -> Option<Box<dyn Engine>> {
    engine_of(bundle, "rego").map(|(engine, _)| engine)
}

#[cfg(test)]
fn engine_of(bundle: &Bundle, name: &str) -> Option<(Box<dyn Engine>, Catalogue)> {
    let mut problems = Problems::default();
    let files = select(bundle, &mut problems);
    let parts = decode(&files, &mut problems);
    let defaults = settings::lower(None);
    let catalogue = tools::lower(&parts.tools, &mut problems);
    let lowered = others(&parts, &Shared { catalogue: &catalogue, defaults: &defaults }, &mut problems);
    let mut engines = lowered.into_iter().filter_map(|lowered| lowered.engine);
    let engine = engines.find(|engine| engine.name() == name).filter(|_| problems.errors() == 0);
    engine.map(|engine| (engine, catalogue))
}

/// The Dogwood policies of a bundle that has no problems.
#[cfg(test)]
pub(crate) fn dogwood_of(bundle: &Bundle) -> Option<Box<dyn Engine>> {
    let mut problems = Problems::default();
    let files = select(bundle, &mut problems);
    let parts = decode(&files, &mut problems);
    let defaults = settings::lower(None);
    let catalogue = tools::lower(&parts.tools, &mut problems);
    let shared = Shared { catalogue: &catalogue, defaults: &defaults };
    let dogwood = others(&parts, &shared, &mut problems).into_iter().next_back();
    dogwood.and_then(|lowered| lowered.engine).filter(|_| problems.errors() == 0)
}
