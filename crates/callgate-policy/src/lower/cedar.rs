//! `policies/*.cedar`: read, checked against the schema of the tools, and compiled.
//!
//! Cedar's parser and validator recurse, so that they run on a thread with room, and only on text whose
//! statements are short and do not nest deep.

use std::collections::BTreeMap;
use std::sync::Arc;

use callgate_core::catalogue::Catalogue;
use callgate_core::decision::Decision;
use cedar_policy_core::ast::{ActionConstraint, EntityUID, Expr, ExprKind, Literal, Policy, PolicySet};
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::parser::parse_policyset;
use cedar_policy_core::validator::{
    ValidationError, ValidationMode, ValidationWarning, Validator, ValidatorSchema,
};
use miette::Diagnostic;

use super::annotations::{self, Written};
use super::{Lowered, Named, Shared};
use crate::cedar::{
    self, Actions, Cedar, Compiled, MAX_DEPTH, MAX_PATTERN, SERVER, Slice, TAG, TooMuch, children,
    representatives,
};
use crate::codes::Code;
use crate::diagnostic::Problems;
use crate::engine::{Lexis, prescan, with_room};
use crate::syntax::{SourceFile, Span};

/// How deep brackets nest.
const MAX_NESTING: usize = 48;
/// How long one policy is, in bytes.
const MAX_POLICY: usize = 32 * 1024;
/// How often one policy says `if`, which nests without brackets.
const MAX_IFS: usize = 64;
/// How many policies times actions are validated without their actions being named.
pub(super) const MAX_PAIRS: usize = 200_000;

pub(super) const LEXIS: Lexis = Lexis { comment: "//", raw_quote: None };

/// A problem found on the thread with room.
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// One policy of a file.
struct Draft<'a> {
    file: &'a SourceFile<'a>,
    span: Span,
    policy: Policy,
    compiled: Compiled,
}

/// Reads all files; an engine only where nothing is wrong.
pub(super) fn lower<'a>(
    files: &[&'a SourceFile<'a>],
    shared: &Shared<'_>,
    problems: &mut Problems,
) -> Lowered<'a> {
    if files.is_empty() {
        return Lowered::default();
    }
    let before = problems.errors();
    groups(shared.catalogue, problems);
    let actions = Actions::new(shared.catalogue);
    let (mut drafts, mut named) = (Vec::new(), Vec::new());
    for file in files {
        for (at, policy) in read(file, problems).into_iter().enumerate() {
            let span = place(&policy, file);
            let Written { rule, id_span, .. } =
                match annotations::read(&policy, at, file, (cedar::NAME, shared.defaults), problems) {
                    Some(written) => written,
                    None => continue,
                };
            named.push(Named { file, id: rule.id.to_string(), span: id_span, what: "policy" });
            drafts.extend(compile(file, span, policy, rule, shared.catalogue, problems));
        }
    }
    if problems.errors() == before {
        validate(&drafts, &actions, shared.catalogue, problems);
    }
    let sound = problems.errors() == before && !drafts.is_empty();
    let compiled = drafts.into_iter().map(|draft| draft.compiled).collect();
    let engine = sound.then(|| Box::new(Cedar::new(compiled, actions)) as Box<dyn crate::engine::Engine>);
    Lowered { engine, named }
}

/// Tools must not be named as groups of actions are.
pub(super) fn groups(catalogue: &Catalogue, problems: &mut Problems) {
    for tool in catalogue.iter() {
        let name = tool.identity.as_str();
        if [TAG, SERVER].iter().any(|prefix| name.starts_with(prefix)) {
            let message = format!("the tool `{name}` is named like a group of actions");
            problems.whole(Code::CedarGroup, "", message).help(format!(
                "`{TAG}…` and `{SERVER}…` are groups in Cedar policies; rename the server by `\"server\": \"…\"`"
            ));
        }
    }
}

pub(super) fn place(policy: &Policy, file: &SourceFile<'_>) -> Span {
    policy.loc().map_or_else(|| Span::new(0, file.text().len()), |loc| Span::new(loc.start(), loc.end()))
}

/// The policies of a file in their order, unless it has problems.
fn read(file: &SourceFile<'_>, problems: &mut Problems) -> Vec<Policy> {
    let text = file.text();
    if let Err(found) = prescan(text, LEXIS, MAX_NESTING) {
        let span = Span::new(found.at, found.at.saturating_add(1));
        problems
            .add(Code::CedarTooMuch, file, span, format!("brackets nest deeper than {} levels", found.most))
            .help("write several policies");
        return Vec::new();
    }
    if let Err(fault) = statements(text) {
        report(file, fault, problems);
        return Vec::new();
    }
    let (policies, faults) = with_room(|| parse(text)).unwrap_or_else(|why| {
        let span = Span::new(0, 0);
        (Vec::new(), vec![Fault { code: Code::CedarSyntax, span, message: why, help: None }])
    });
    let sound = faults.is_empty();
    for fault in faults {
        report(file, fault, problems);
    }
    if sound && policies.is_empty() {
        problems
            .whole(Code::Empty, file.path(), "the file has no policy")
            .help("write a `permit` or `forbid`, or delete the file");
    }
    if sound { policies } else { Vec::new() }
}

pub(super) fn report(file: &SourceFile<'_>, fault: Fault, problems: &mut Problems) {
    let found = problems.add(fault.code, file, fault.span, fault.message);
    if let Some(help) = fault.help {
        found.help(help);
    }
}

/// Finds a policy that is too long, or nests by `if`.
pub(super) fn statements(text: &str) -> Result<(), Fault> {
    let bytes = text.as_bytes();
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let (mut at, mut start, mut ifs) = (0usize, 0usize, 0usize);
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    while at < bytes.len() {
        let next = at.saturating_add(1);
        match (byte(at), byte(next)) {
            (b'"', _) => at = end_of_string(bytes, next),
            (b'/', b'/') => {
                at = bytes
                    .iter()
                    .skip(at)
                    .position(|b| *b == b'\n')
                    .map_or(bytes.len(), |n| at.saturating_add(n));
            }
            (b';', _) => (at, start, ifs) = (next, next, 0),
            (b'i', b'f') if !word(byte(at.wrapping_sub(1))) && !word(byte(next.saturating_add(1))) => {
                ifs = ifs.saturating_add(1);
                at = next;
            }
            _ => at = next,
        }
        let what = if at.saturating_sub(start) > MAX_POLICY {
            format!("the policy has more than {MAX_POLICY} bytes")
        } else if ifs > MAX_IFS {
            format!("the policy says `if` more than {MAX_IFS} times")
        } else {
            continue;
        };
        let first = text.get(start..).map_or(0, |rest| rest.len().saturating_sub(rest.trim_start().len()));
        let start = start.saturating_add(first);
        let span = Span::new(start, start.saturating_add(1));
        let help = Some("write several policies".to_owned());
        return Err(Fault { code: Code::CedarTooMuch, span, message: what, help });
    }
    Ok(())
}

/// Behind the closing quote of a string whose opening quote is before `at`.
pub(super) fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at = at.saturating_add(2),
            b'"' => return at.saturating_add(1),
            _ => at = at.saturating_add(1),
        }
    }
    bytes.len()
}

/// Parses a file; on the thread with room, where what nests too deep is dropped, too.
fn parse(text: &str) -> (Vec<Policy>, Vec<Fault>) {
    let set = match parse_policyset(text) {
        Ok(set) => set,
        Err(errors) => {
            let related = errors.related().into_iter().flatten();
            let all = std::iter::once(&errors as &dyn Diagnostic).chain(related);
            return (Vec::new(), all.map(|error| fault(Code::CedarSyntax, error, text)).collect());
        }
    };
    let mut faults: Vec<Fault> = set.templates().map(template).collect();
    let (mut policies, mut deep): (Vec<Policy>, Vec<Policy>) = set.policies().cloned().partition(|policy| {
        policy.non_scope_constraints().is_none_or(|condition| !cedar::is_deeper(condition, MAX_DEPTH))
    });
    faults.extend(deep.drain(..).map(|policy| Fault {
        code: Code::CedarTooMuch,
        span: policy.loc().map_or(Span::default(), |loc| Span::new(loc.start(), loc.end())),
        message: too_much(TooMuch::Depth),
        help: Some("write several policies, or a set instead of a chain".to_owned()),
    }));
    policies.sort_by_key(|policy| policy.loc().map_or(0, |loc| loc.start()));
    (policies, faults)
}

fn template(template: &cedar_policy_core::ast::Template) -> Fault {
    Fault {
        code: Code::CedarTemplate,
        span: template.loc().map_or(Span::default(), |loc| Span::new(loc.start(), loc.end())),
        message: "the policy is a template: it has `?principal` or `?resource`".to_owned(),
        help: Some("name the principal or resource, such as `principal in Team::\"support\"`".to_owned()),
    }
}

/// Cedar's own finding: its place, message and help.
pub(super) fn fault(code: Code, error: &dyn Diagnostic, text: &str) -> Fault {
    let label = error.labels().and_then(|mut labels| labels.next());
    let span = label.as_ref().map_or(Span::default(), |label| {
        let end = label.offset().saturating_add(label.len());
        Span::new(label.offset().min(text.len()), end.min(text.len()))
    });
    let hint = label.and_then(|label| label.label().map(str::to_owned));
    let help = error.help().map(|help| help.to_string()).or(hint);
    Fault { code, span, message: plain(&error.to_string()), help }
}

/// The message without the policy's internal id.
pub(super) fn plain(message: &str) -> String {
    let rest = message.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, "));
    rest.map_or(message, |(_, rest)| rest).to_owned()
}

pub(super) fn too_much(what: TooMuch) -> String {
    match what {
        TooMuch::Depth => format!("the condition nests deeper than {MAX_DEPTH} operations"),
        TooMuch::Pattern => format!("a pattern of `like` has more than {MAX_PATTERN} characters"),
    }
}

fn compile<'a>(
    file: &'a SourceFile<'a>,
    span: Span,
    policy: Policy,
    rule: Arc<callgate_core::rule::Rule>,
    catalogue: &Catalogue,
    problems: &mut Problems,
) -> Option<Draft<'a>> {
    let compiled = match Compiled::new(rule, &policy) {
        Ok(compiled) => compiled,
        Err(what) => {
            problems.add(Code::CedarTooMuch, file, span, too_much(what)).help("write several policies");
            return None;
        }
    };
    unrestricted(file, span, &compiled, catalogue, problems);
    Some(Draft { file, span, policy, compiled })
}

/// A policy without a scope and condition must be meant.
pub(super) fn unrestricted(
    file: &SourceFile<'_>,
    span: Span,
    compiled: &Compiled,
    catalogue: &Catalogue,
    problems: &mut Problems,
) {
    let (id, open) = (&compiled.rule.id, compiled.scope.is_open());
    if open && compiled.condition.is_none() && compiled.permits() {
        problems
            .add(
                Code::SilentAllowAll,
                file,
                span,
                format!("the policy `{id}` would permit everything to everyone"),
            )
            .help("say whom or what it permits; if everything is meant, write `principal is Agent`");
    } else if open && compiled.condition.is_none() {
        let word = compiled.rule.effect.as_str().to_ascii_lowercase();
        problems
            .add(Code::RestrictsAll, file, span, format!("the policy `{id}` answers `{word}` to everything"))
            .help("add a scope or a condition unless that is meant");
    } else if compiled.permits()
        && catalogue.iter().next().is_none()
        && !compiled.names_unlisted
        && matches!(compiled.scope.action, ActionConstraint::Any)
    {
        problems
            .add(
                Code::CedarDoubtful,
                file,
                span,
                format!("the policy `{id}` permits no tool, since the bundle lists none"),
            )
            .help("add `tools/<server>.json`, or name the tool: `resource == Tool::\"server.name\"`");
    }
}

/// Validates each policy against the part of the schema that its actions need.
fn validate(drafts: &[Draft<'_>], actions: &Actions, catalogue: &Catalogue, problems: &mut Problems) {
    let mut slices: BTreeMap<Slice, Vec<&Draft<'_>>> = BTreeMap::new();
    let anything = Slice::Tools(representatives(actions.sorted()), true);
    for draft in drafts {
        slices.entry(slice(draft, actions, &anything)).or_default().push(draft);
    }
    let whole = slices.get(&Slice::Whole).map_or(0, Vec::len);
    if whole.saturating_mul(catalogue.iter().count()) > MAX_PAIRS {
        let message =
            format!("{whole} policies name actions in their conditions, too many for so many tools");
        problems.whole(Code::CedarTooMuch, "", message).help("name the actions in the scope: `action == …`");
        return;
    }
    for (slice, drafts) in slices {
        let found = with_room(|| check(&cedar::text(catalogue, &slice, cedar::RECORD), &drafts));
        match found.and_then(|found| found) {
            Ok(faults) => {
                for (file, fault) in faults {
                    report(file, helped(fault, catalogue, actions), problems);
                }
            }
            Err(why) => {
                problems.whole(Code::CedarInvalid, "", format!("the tools make no Cedar schema: {why}"));
            }
        }
        if problems.is_full() {
            return;
        }
    }
}

/// The part of the schema a policy needs.
fn slice(draft: &Draft<'_>, actions: &Actions, anything: &Slice) -> Slice {
    if draft.policy.non_scope_constraints().is_some_and(names_an_action) {
        return Slice::Whole;
    }
    let list = match draft.policy.action_constraint() {
        ActionConstraint::Eq(action) => std::slice::from_ref(action),
        ActionConstraint::In(list) => list.as_slice(),
        _ => return anything.clone(),
    };
    let (mut tools, mut others) = (Vec::new(), false);
    for action in list {
        match actions.members(action) {
            None => others = true,
            Some(members) if members.is_empty() => return Slice::Whole,
            Some(members) => tools.extend(representatives(members)),
        }
    }
    tools.sort();
    tools.dedup();
    Slice::Tools(tools, others)
}

/// Whether an expression names an action.
fn names_an_action(expr: &Expr) -> bool {
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        if matches!(expr.expr_kind(), ExprKind::Lit(Literal::EntityUID(uid)) if EntityUID::is_action(uid)) {
            return true;
        }
        open.extend(children(expr));
    }
    false
}

type Found<'a> = Vec<(&'a SourceFile<'a>, Fault)>;

/// What the validator says of those policies.
fn check<'a>(schema: &str, drafts: &[&Draft<'a>]) -> Result<Found<'a>, String> {
    let read = ValidatorSchema::from_cedarschema_str(schema, Extensions::all_available());
    let (schema, _) = read.map_err(|e| e.to_string())?;
    let validator = Validator::new(schema);
    let mut found = Vec::new();
    for draft in drafts {
        let result = validator.validate(&PolicySet::singleton(draft.policy.clone()), ValidationMode::Strict);
        let errors: Vec<&ValidationError> = result.validation_errors().collect();
        found.extend(errors.iter().map(|error| {
            let mut fault = fault(Code::CedarInvalid, *error, draft.file.text());
            if fault.span == Span::default() {
                fault.span = draft.span;
            }
            (draft.file, fault)
        }));
        if errors.is_empty() {
            found.extend(result.validation_warnings().map(|warning| (draft.file, doubt(warning, draft))));
        }
    }
    Ok(found)
}

fn doubt(warning: &ValidationWarning, draft: &Draft<'_>) -> Fault {
    if matches!(warning, ValidationWarning::ImpossiblePolicy(_)) {
        let id = &draft.compiled.rule.id;
        return Fault {
            code: Code::NeverTrue,
            span: draft.span,
            message: format!("the policy `{id}` can never be satisfied"),
            help: Some("correct its scope or condition, or delete it".to_owned()),
        };
    }
    let mut fault = fault(Code::CedarDoubtful, warning, draft.file.text());
    if fault.span == Span::default() {
        fault.span = draft.span;
    }
    fault
}

/// Adds what Cedar cannot know: where actions come from, and which arguments have no type.
fn helped(mut fault: Fault, catalogue: &Catalogue, actions: &Actions) -> Fault {
    if fault.code != Code::CedarInvalid {
        return fault;
    }
    // Cedar quotes the attribute as the policy writes it, such as `args.note`.
    let mut untyped = actions.sorted().into_iter().flat_map(|tool| &tool.left_out);
    let untyped = untyped.find(|path| fault.message.contains(&format!("`{path}`")));
    if let Some(path) = untyped {
        fault.help = Some(format!(
            "`{path}` has no Cedar type, because its JSON Schema allows several; use a rule with a CEL condition"
        ));
    } else if fault.message.contains("unrecognized action") && catalogue.iter().next().is_none() {
        fault.help = Some(
            "add `tools/<server>.json`, the server's `tools/list` result: each tool becomes an action"
                .to_owned(),
        );
    }
    fault
}

/// Whether a policy of that decision permits; for annotations.
pub(super) const fn fits(permit: bool, decision: Decision) -> bool {
    match decision {
        Decision::Allow | Decision::AllowWithConstraints => permit,
        Decision::Throttle | Decision::RequireApproval => true,
        Decision::Deny => !permit,
    }
}
