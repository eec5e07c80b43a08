//! Rego files to an engine: each is read on a thread with room, linked with the others, and every
//! package that decides is compiled with the packages it builds on.

mod bare;
mod forms;
mod header;
mod link;

use std::collections::BTreeMap;

use callgate_core::constraint::Constraints;
use callgate_core::decision::{Decision, Mode};
use callgate_core::digest::Digest;
use callgate_core::rule::Rule;
use callgate_core::value::Value;

pub(crate) use self::bare::compile as compile_bare;
use self::link::{Linked, Unit};
use super::rules::{lowered_tags, names, wants};
use super::{Lowered, Named, Shared};
use crate::codes::Code;
use crate::decode::Spanned;
use crate::diagnostic::Problems;
use crate::engine::{Lexis, prescan, with_room};
use crate::fingerprint;
use crate::language::rego::HeaderText;
use crate::rego::survey::survey;
use crate::rego::{self, Entry, Options, Package, Program, Rego, Source};
use crate::rules::Matcher;
use crate::syntax::{Node, SourceFile, Span};

/// How deep brackets may nest.
const MAX_NESTING: usize = 32;
/// The most lines and the longest line that the parser takes.
const MAX_LINES: usize = 20_000;
const MAX_LINE: usize = 1000;
const LEXIS: Lexis = Lexis { comment: "#", raw_quote: Some('`') };

/// Lowers all Rego files together, since packages build on each other.
pub(super) fn lower<'a>(
    files: &[&'a SourceFile<'a>],
    shared: &Shared<'_>,
    problems: &mut Problems,
) -> Lowered<'a> {
    let before = problems.errors();
    let units = read(files, problems);
    if units.is_empty() {
        return Lowered::default();
    }
    let linked = link::link(&units, problems);
    let drafts: Vec<Draft<'_, '_>> = linked
        .entries
        .iter()
        .filter_map(|(package, entry)| draft(&units, &linked, *package, *entry, problems))
        .collect();
    let named = drafts.iter().map(|draft| {
        let (file, id) = (draft.unit.file, draft.rule.id.to_string());
        Named { file, id, span: draft.span, what: "package" }
    });
    let named = named.collect();
    if problems.errors() > before {
        return Lowered { engine: None, named };
    }
    let packages = compile(drafts, &units, problems);
    let engine = Rego::new(packages, shared.catalogue.clone(), shared.defaults.clone());
    Lowered { engine: (problems.errors() == before).then(|| Box::new(engine) as _), named }
}

/// A package that decides, before it is compiled.
struct Draft<'u, 'a> {
    unit: &'u Unit<'a>,
    span: Span,
    rule: Rule,
    matcher: Matcher,
    entry: Entry,
    path: String,
    sources: Vec<&'u str>,
    options: Options,
}

/// Reads every file; what cannot be read is reported and left out.
fn read<'a>(files: &[&'a SourceFile<'a>], problems: &mut Problems) -> Vec<Unit<'a>> {
    let sound: Vec<_> = files.iter().copied().filter(|file| is_bounded(file, problems)).collect();
    let surveyed =
        with_room(|| sound.iter().map(|file| survey(file.path(), file.text())).collect::<Vec<_>>());
    let surveyed = match surveyed {
        Ok(surveyed) => surveyed,
        Err(error) => {
            for file in sound {
                problems.whole(Code::BadRego, file.path(), format!("the file cannot be read: {error}"));
            }
            return Vec::new();
        }
    };
    let mut units = Vec::new();
    for (file, surveyed) in sound.into_iter().zip(surveyed) {
        match surveyed {
            Ok(survey) => {
                if let Some(span) = &survey.too_long {
                    problems
                        .add(Code::TooDeep, file, *span, "the body or the expression is too long")
                        .help("move a part of it into a rule of its own");
                }
                let (header, meaning) = header::read(file, survey.span.start, problems).unzip();
                units.push(Unit { file, survey, header, meaning });
            }
            Err(error) => {
                if let Some(form) = forms::find(file.text()) {
                    let message = format!("this version does not take `{}` in Rego", form.name);
                    problems.add(Code::RegoForm, file, form.span, message).help(form.help);
                    continue;
                }
                problems
                    .add(Code::BadRego, file, error.at, format!("not Rego v1: {}", error.message))
                    .help("check the line with `opa check`; rules of v1 have `if` before their body");
            }
        }
    }
    units
}

/// Whether the parser can take the text without harm.
fn is_bounded(file: &SourceFile<'_>, problems: &mut Problems) -> bool {
    if let Err(deep) = prescan(file.text(), LEXIS, MAX_NESTING) {
        let span = Span::new(deep.at, deep.at.saturating_add(1));
        let message = format!("brackets nest deeper than {} levels", deep.most);
        problems.add(Code::TooDeep, file, span, message).help("give a part a name of its own");
        return false;
    }
    let (mut start, mut sound) = (0usize, true);
    for (number, line) in file.text().split_inclusive('\n').enumerate() {
        if line.chars().count() > MAX_LINE || number >= MAX_LINES {
            let message =
                format!("a line is longer than {MAX_LINE} characters, or the file than {MAX_LINES} lines");
            problems.add(Code::TooLarge, file, Span::new(start, start), message).help("break it up");
            sound = false;
            break;
        }
        start = start.saturating_add(line.len());
    }
    sound
}

fn draft<'u, 'a>(
    units: &'u [Unit<'a>],
    linked: &Linked,
    package: usize,
    entry: Entry,
    problems: &mut Problems,
) -> Option<Draft<'u, 'a>> {
    let own = linked.packages.get(package)?;
    let mut files = own.units.iter().filter_map(|at| units.get(*at));
    let first = files.clone().next()?;
    // The header may stand in any one file of the package.
    let unit = files.find(|unit| unit.header.is_some()).unwrap_or(first);
    if let Some(Unit { file, survey, .. }) = files.find(|unit| unit.header.is_some()) {
        problems
            .add(Code::RegoHeader, file, survey.span, "the package has a routing header in another file, too")
            .help("keep one of the two");
    }
    let Unit { file, survey, header, .. } = unit;
    let header = header.as_ref();
    let (id, span) = match header::id(header, &survey.package) {
        Ok((id, span)) => (id, span.unwrap_or(survey.span)),
        Err(message) => {
            problems.add(Code::BadName, file, survey.span, message).help("write `id:` in the header");
            return None;
        }
    };
    let (sources, bytecode) = sources(units, linked, package);
    let rule = Rule {
        id: id.as_str().into(),
        module: rego::NAME,
        source: file.source(survey.span),
        effect: Decision::Deny,
        mode: header.and_then(|it| it.mode.as_ref()).map_or(Mode::Enforce, |mode| mode.value),
        priority: header
            .and_then(|it| it.priority.as_ref())
            .and_then(|it| i32::try_from(it.value).ok())
            .unwrap_or(0),
        invariant: header.and_then(|it| it.invariants.as_ref()).is_some_and(|it| it.value),
        reason: None,
        constraints: Constraints::default(),
        approval: None,
        retry_after_ms: None,
        controls: names(header.and_then(|it| it.controls.as_ref())).map(ToString::to_string).collect(),
        fingerprint: meaning(units, unit, &sources),
    };
    Some(Draft {
        unit,
        span,
        rule,
        matcher: header.map(matcher).unwrap_or_default(),
        entry,
        path: format!("{}.{}", dotted(&survey.package), entry.as_str()),
        sources,
        options: Options { bytecode, strict: true },
    })
}

/// The fingerprint of a package: its header, and every file it is compiled from.
fn meaning(units: &[Unit<'_>], own: &Unit<'_>, sources: &[&str]) -> Digest {
    let mut texts: Vec<String> = units
        .iter()
        .filter(|unit| sources.contains(&unit.file.path()))
        .map(|unit| fingerprint::of_lines(unit.file.text(), LEXIS))
        .collect();
    texts.sort();
    let header = own.meaning.as_ref().map_or(Value::Null, Node::to_value);
    let texts = Value::List(texts.into_iter().map(Value::Str).collect());
    Digest::of(Value::List(vec![header, texts]).canonical().as_bytes())
}

/// The files that a package is compiled from, and whether bytecode answers it rightly.
fn sources<'u>(units: &'u [Unit<'_>], linked: &Linked, package: usize) -> (Vec<&'u str>, bool) {
    let modules: Vec<&Unit<'_>> = linked.closure(package).iter().filter_map(|at| units.get(*at)).collect();
    let needs_tree = modules.len() > 1 || modules.iter().any(|unit| unit.survey.needs_tree);
    (modules.iter().map(|unit| unit.file.path()).collect(), !needs_tree)
}

/// The path of a package as regorus writes it.
fn dotted(package: &[String]) -> String {
    let mut out = String::from("data");
    for part in package {
        let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if plain && !part.starts_with(|c: char| c.is_ascii_digit()) {
            out.push('.');
            out.push_str(part);
        } else {
            out.push_str(&format!("[{}]", serde_json::Value::from(part.as_str())));
        }
    }
    out
}

fn matcher(header: &HeaderText) -> Matcher {
    let tags = header.risk_tags.as_ref().map(|Spanned { value, .. }| lowered_tags(value));
    Matcher {
        tools: wants(header.tools.as_ref()),
        topics: wants(header.topics.as_ref()),
        agents: wants(header.agents.as_ref()),
        tags: tags.unwrap_or_default(),
        ..Matcher::default()
    }
}

fn compile(drafts: Vec<Draft<'_, '_>>, units: &[Unit<'_>], problems: &mut Problems) -> Vec<Package> {
    let texts: BTreeMap<&str, &str> = units.iter().map(|unit| (unit.file.path(), unit.file.text())).collect();
    let source = |path: &&str| Source {
        path: (*path).to_owned(),
        text: texts.get(path).copied().unwrap_or_default().to_owned(),
    };
    let run = || {
        let program = |draft: &Draft<'_, '_>| {
            let modules: Vec<Source> = draft.sources.iter().map(source).collect();
            Program::compile(&modules, &regorus::Value::new_object(), &draft.path, draft.options)
        };
        drafts.iter().map(program).collect::<Vec<_>>()
    };
    let compiled = with_room(run).unwrap_or_else(|error| drafts.iter().map(|_| Err(error.clone())).collect());
    let mut packages = Vec::new();
    for (draft, compiled) in drafts.into_iter().zip(compiled) {
        match compiled {
            Ok(program) => packages.push(Package::new(draft.rule, draft.matcher, draft.entry, program)),
            Err(message) => {
                let Unit { file, survey, .. } = draft.unit;
                problems
                    .add(Code::BadRego, file, survey.span, format!("the package does not compile: {message}"))
                    .help("check it with `opa check`");
            }
        }
    }
    packages
}
