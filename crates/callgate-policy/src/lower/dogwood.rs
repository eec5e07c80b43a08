//! `policies/*.dogwood`: read, checked against the schema of the tools, and compiled; what asks about
//! the past becomes formulas and monitors.
//!
//! Dogwood's parser and Cedar's validator recurse, so that all of it runs on a thread with room, and
//! only on text whose statements are short and do not nest deep.

use std::collections::{BTreeMap, HashMap};

use cedar_policy_core::ast::{Expr, ExprKind, Literal, Policy, StaticPolicy, Template, Var};
use dogwood_language::temporal_ast::Condition;
use dogwood_language::{
    Error, LoweredPolicySet, ParsedPolicySet, PolicySchema, ServiceSchema, TemporalField, ValidationWarning,
    Validator,
};
use miette::Diagnostic;
use smol_str::SmolStr;

use super::annotations::{self, Whose, Written};
use super::cedar::{Fault, LEXIS, MAX_PAIRS, fault, place, report, too_much, unrestricted};
use super::{Lowered, Named, Shared};
use crate::cedar::{self, Actions, Compiled, FUNCTION, MAX_DEPTH, Slice, TOPIC, UNLISTED};
use crate::codes::Code;
use crate::diagnostic::Problems;
use crate::dogwood::{
    AGENT, Compiler, Dogwood, EVENTS, Formula, Mention, NAME, RECORD, SESSION, Span as History, Watches,
    mentions,
};
use crate::engine::{prescan, with_room};
use crate::syntax::{SourceFile, Span};

/// How deep brackets nest: Dogwood's parser reads calls in calls again and again.
const MAX_NESTING: usize = 12;
/// How many temporal clauses one policy has.
const MAX_CLAUSES: usize = 16;
/// How many policies a bundle has in Dogwood.
const MAX_POLICIES: usize = 2_000;

/// What the files share.
struct Room<'s> {
    shared: &'s Shared<'s>,
    actions: &'s Actions,
    service: &'s ServiceSchema,
    schema: &'s PolicySchema,
}

/// What the files come to.
#[derive(Default)]
struct Drafts<'a> {
    named: Vec<Named<'a>>,
    compiled: Vec<Compiled>,
    clauses: HashMap<SmolStr, Formula>,
    watches: Watches,
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
    super::cedar::groups(shared.catalogue, problems);
    let actions = Actions::new(shared.catalogue);
    let text = cedar::text(shared.catalogue, &Slice::Whole, RECORD);
    let schemas = PolicySchema::from_cedarschema_str(&text)
        .and_then(|schema| Ok((ServiceSchema::builder().event_schema_str(EVENTS).build()?, schema)));
    let (service, schema) = match schemas {
        Ok(schemas) => schemas,
        Err(why) => {
            problems.whole(Code::DogwoodInvalid, "", format!("the tools make no Dogwood schema: {why}"));
            return Lowered::default();
        }
    };
    let room = Room { shared, actions: &actions, service: &service, schema: &schema };
    let mut drafts = Drafts::default();
    for (number, file) in files.iter().enumerate() {
        if let Some((code, span, message)) = too_large(file.text()) {
            problems.add(code, file, span, message).help("write several policies");
            continue;
        }
        let read = with_room(|| room.file(number, file, &mut drafts, problems));
        if let Err(why) = read {
            problems.whole(Code::DogwoodSyntax, file.path(), why);
        }
    }
    if drafts.compiled.len() > MAX_POLICIES {
        let message = format!("the bundle has more than {MAX_POLICIES} Dogwood policies");
        problems.whole(Code::DogwoodTooMuch, "", message).help("write those that ask about now in Cedar");
    }
    let Drafts { named, compiled, clauses, watches } = drafts;
    let sound = problems.errors() == before && !compiled.is_empty();
    let engine = sound.then(|| {
        Box::new(Dogwood::new(compiled, actions, clauses, watches)) as Box<dyn crate::engine::Engine>
    });
    Lowered { engine, named }
}

/// Why no parser may see the text.
fn too_large(text: &str) -> Option<(Code, Span, String)> {
    if let Err(found) = prescan(text, LEXIS, MAX_NESTING) {
        let span = Span::new(found.at, found.at.saturating_add(1));
        let message = format!("brackets nest deeper than {} levels", found.most);
        return Some((Code::DogwoodTooMuch, span, message));
    }
    super::cedar::statements(text).err().map(|fault| (Code::DogwoodTooMuch, fault.span, fault.message))
}

impl Room<'_> {
    /// One file, on the thread with room: what nests too deep is dropped here, too.
    fn file<'a>(
        &self,
        number: usize,
        file: &'a SourceFile<'a>,
        drafts: &mut Drafts<'a>,
        problems: &mut Problems,
    ) {
        if let Some(at) = definition(file.text()) {
            let span = Span::new(at, at.saturating_add(3));
            problems
                .add(Code::DogwoodOutside, file, span, "macros cannot be defined in a bundle")
                .help("write out what it stands for; `count_within`, `sum_within`, `count_distinct_within` and `bind` are there");
            return;
        }
        let lowered = match self.read(number, file, problems) {
            Some(Ok(lowered)) => lowered,
            Some(Err(error)) => return fatal(&error, file, problems),
            None => return,
        };
        if !validate(&lowered, file, problems) {
            return;
        }
        let mut fields: BTreeMap<&str, &TemporalField> = BTreeMap::new();
        for field in lowered.nonrelativized_temporal_fields() {
            fields.insert(field.id.as_str(), field);
        }
        let mut policies: Vec<&cedar_policy::Policy> = lowered.as_cedar().policies().collect();
        policies.sort_by_key(|policy| {
            let policy: &Policy = (*policy).as_ref();
            policy.loc().map_or(0, |loc| loc.start())
        });
        if policies.is_empty() {
            problems
                .whole(Code::Empty, file.path(), "the file has no policy")
                .help("write a `permit` or `forbid`, or delete the file");
        }
        for (at, policy) in policies.into_iter().enumerate() {
            self.policy(at, policy.as_ref(), file, &fields, drafts, problems);
        }
    }

    /// Parses and lowers; `None` after a report.
    fn read(
        &self,
        number: usize,
        file: &SourceFile<'_>,
        problems: &mut Problems,
    ) -> Option<Result<LoweredPolicySet, Error>> {
        let parsed = match ParsedPolicySet::parse(file.text(), self.service) {
            Ok(parsed) => parsed,
            Err(error) => return Some(Err(error)),
        };
        if parsed.policies().any(|policy| policy.uses_providers()) {
            problems
                .whole(Code::DogwoodOutside, file.path(), "a bundle has no information providers")
                .help("use a rule with a CEL condition, or a judge, for what is not in the request");
            return None;
        }
        let open = |policy: &dogwood_language::ParsedPolicy<'_>| {
            !matches!(policy.scope().action(), dogwood_language::ActionConstraint::Eq(_))
        };
        let open = parsed.policies().filter(open).count();
        if open.saturating_mul(self.shared.catalogue.iter().count()) > MAX_PAIRS {
            let message = format!("{open} policies do not name one action, too many for so many tools");
            problems
                .whole(Code::DogwoodTooMuch, file.path(), message)
                .help("name the action in the scope: `action == …`");
            return None;
        }
        Some(parsed.lower_with_distincter(self.schema, &format!("f{number}")))
    }

    fn policy<'a>(
        &self,
        at: usize,
        policy: &Policy,
        file: &'a SourceFile<'a>,
        fields: &BTreeMap<&str, &TemporalField>,
        drafts: &mut Drafts<'a>,
        problems: &mut Problems,
    ) {
        let span = place(policy, file);
        let terms = (NAME, self.shared.defaults);
        let Some(Written { rule, id_span, history }) = annotations::read(policy, at, file, terms, problems)
        else {
            return;
        };
        drafts.named.push(Named { file, id: rule.id.to_string(), span: id_span, what: "policy" });
        let deep = policy.non_scope_constraints().is_some_and(|it| cedar::is_deeper(it, MAX_DEPTH));
        let written = if deep { Err(cedar::TooMuch::Depth) } else { Ok(plain(policy, fields)) };
        let compiled = match written.and_then(|plain| Compiled::new(rule, &plain)) {
            Ok(compiled) => compiled,
            Err(what) => {
                problems.add(Code::DogwoodTooMuch, file, span, too_much(what)).help("write several policies");
                return;
            }
        };
        unrestricted(file, span, &compiled, self.shared.catalogue, problems);
        if compiled.reads.past.len() > MAX_CLAUSES {
            let message = format!("the policy has more than {MAX_CLAUSES} temporal clauses");
            problems.add(Code::DogwoodTooMuch, file, span, message).help("write several policies");
            return;
        }
        for name in &compiled.reads.past {
            let field = name.strip_prefix(cedar::PAST).and_then(|id| fields.get(id));
            let Some(field) = field else { continue };
            let clause =
                self.clause(field, history, compiled.restricts(), file, &mut drafts.watches, problems);
            drafts.clauses.extend(clause.map(|formula| (name.clone(), formula)));
        }
        drafts.compiled.push(compiled);
    }

    fn clause(
        &self,
        field: &TemporalField,
        history: Whose,
        restricts: bool,
        file: &SourceFile<'_>,
        watches: &mut Watches,
        problems: &mut Problems,
    ) -> Option<Formula> {
        let block = &field.condition.span;
        let span = Span::new(block.start.min(file.text().len()), block.end.min(file.text().len()));
        let condition = &field.condition.condition;
        if let Some(outside) = outside(condition) {
            let message = format!("a temporal condition cannot compare with `{outside}`");
            problems.add(Code::DogwoodOutside, file, span, message).help(
                "compare with an argument (`context.input.…`), `principal` or `resource`; other conditions go into a `when { … }` of their own",
            );
            return None;
        }
        let fields = |name: &str| History::Fields(vec![vec![name.to_owned()]]);
        let whose = match history {
            Whose::Agent => fields(AGENT),
            Whose::Session => History::Fields(vec![vec![AGENT.to_owned()], vec![SESSION.to_owned()]]),
            Whose::Tenant => History::Tenant,
        };
        let mut own = Watches::new();
        let formula = match (Compiler { span: whose, watches: &mut own }).clause(condition) {
            Ok(formula) => formula,
            Err(refused) => {
                problems.add(Code::DogwoodRefused, file, span, refused.to_string()).help(refused.help());
                return None;
            }
        };
        let unlisted = |action: &str| [UNLISTED, TOPIC, FUNCTION].contains(&action);
        if let Some(watch) = own.values().find(|watch| unlisted(&watch.event.action)) {
            let message = format!("calls of `{}` are not remembered", watch.event.action);
            problems
                .add(Code::DogwoodOutside, file, span, message)
                .help("list the tool in `tools/<server>.json`, and name its action");
            return None;
        }
        if restricts {
            self.optional(field, file, span, problems);
        }
        watches.extend(own);
        Some(formula)
    }

    /// Warns where a call could untie itself from the past by leaving an argument out.
    fn optional(&self, field: &TemporalField, file: &SourceFile<'_>, span: Span, problems: &mut Problems) {
        let mentions = mentions(&field.condition.condition);
        for tool in self.actions.sorted() {
            if !field.target_actions.iter().any(|action| action.id == tool.identity.as_str()) {
                continue;
            }
            let left_out = mentions.iter().find_map(|mention| match mention {
                Mention::Context(path) => tool.may_lack(path.get(1..)?).then(|| path.join(".")),
                Mention::Scope(_) => None,
            });
            if let Some(path) = left_out {
                let message = format!(
                    "a call of `{}` may leave out `{path}`, and then nothing is found",
                    tool.identity
                );
                problems.add(Code::DogwoodOptional, file, span, message).help(
                    "make the argument required in the tool's schema, or forbid the call without it in a policy of its own",
                );
                return;
            }
        }
    }
}

/// Where a macro is defined: the word at the level of policies.
fn definition(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let (mut at, mut depth) = (0usize, 0usize);
    while let Some(byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        match byte {
            b'"' => {
                at = super::cedar::end_of_string(bytes, at.saturating_add(1));
                continue;
            }
            b'/' if rest.starts_with(b"//") => {
                let line = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                at = at.saturating_add(line);
                continue;
            }
            b'(' | b'{' | b'[' => depth = depth.saturating_add(1),
            b')' | b'}' | b']' => depth = depth.saturating_sub(1),
            b'd' if depth == 0
                && rest.starts_with(b"def")
                && !word(rest.get(3))
                && !word(before)
                && before != Some(&b'@') =>
            {
                return Some(at);
            }
            _ => {}
        }
        at = at.saturating_add(1);
    }
    None
}

/// Dogwood's own finding, which often is its own hint.
fn told(code: Code, error: &dyn Diagnostic, file: &SourceFile<'_>) -> Fault {
    let found = fault(code, error, file.text());
    let help = found.help.filter(|help| *help != found.message);
    Fault { help, ..found }
}

/// Reports why a file cannot be read or lowered.
fn fatal(error: &Error, file: &SourceFile<'_>, problems: &mut Problems) {
    let mut found = told(Code::DogwoodSyntax, error, file);
    if let Some(related) = error.related() {
        let all: Vec<Fault> = related.map(|error| told(Code::DogwoodSyntax, error, file)).collect();
        if !all.is_empty() && found.span == Span::default() {
            all.into_iter().for_each(|fault| report(file, fault, problems));
            return;
        }
    }
    if found.span == Span::default() {
        found.span = Span::new(0, file.text().len().min(1));
    }
    report(file, found, problems);
}

/// Whether Dogwood's validator finds nothing wrong.
fn validate(lowered: &LoweredPolicySet, file: &SourceFile<'_>, problems: &mut Problems) -> bool {
    let result = Validator::new().validate(lowered);
    for error in result.validation_errors() {
        report(file, told(Code::DogwoodInvalid, error, file), problems);
    }
    let passed = result.validation_passed();
    if passed {
        for warning in result.validation_warnings() {
            report(file, doubt(warning, file), problems);
        }
    }
    passed
}

fn doubt(warning: &ValidationWarning, file: &SourceFile<'_>) -> Fault {
    let mut found = told(Code::CedarDoubtful, warning, file);
    if matches!(warning, ValidationWarning::Cedar(cedar_policy::ValidationWarning::ImpossiblePolicy(_))) {
        found.code = Code::NeverTrue;
        found.message = "the policy can never be satisfied".to_owned();
        found.help = Some("correct its scope or condition, or delete it".to_owned());
    }
    found
}

/// What a temporal condition compares with and must not: only arguments and who asks for what are the
/// same whatever a caller leaves unsaid.
fn outside(condition: &Condition) -> Option<String> {
    mentions(condition).into_iter().find_map(|mention| match mention {
        Mention::Context(path) if path.first().is_some_and(|root| root == RECORD) => None,
        Mention::Context(path) => Some(format!("context.{}", path.join("."))),
        Mention::Scope(path) if path.len() == 1 => None,
        Mention::Scope(path) => Some(path.join(".")),
    })
}

/// The lowered policy as the Cedar module judges policies: the arguments by the name they have there, the
/// clauses by names of their own, and no condition where there was none.
fn plain(policy: &Policy, fields: &BTreeMap<&str, &TemporalField>) -> Policy {
    let context = || Expr::var(Var::Context);
    let of_context = |expr: &Expr| matches!(expr.expr_kind(), ExprKind::Var(Var::Context));
    let swap = |expr: &Expr| match expr.expr_kind() {
        ExprKind::GetAttr { expr, attr } if of_context(expr) && attr == RECORD => {
            Some(Expr::get_attr(context(), cedar::RECORD.into()))
        }
        ExprKind::HasAttr { expr, attr } if of_context(expr) && attr == RECORD => {
            Some(Expr::has_attr(context(), cedar::RECORD.into()))
        }
        ExprKind::GetAttr { expr, attr } if of_context(expr) && fields.contains_key(attr.as_str()) => {
            Some(Expr::get_attr(context(), format!("{}{attr}", cedar::PAST).into()))
        }
        _ => None,
    };
    let always = |expr: &&Expr| matches!(expr.expr_kind(), ExprKind::Lit(Literal::Bool(true)));
    let condition = policy.non_scope_constraints().filter(|expr| !always(expr));
    let template = Template::new(
        policy.id().clone(),
        policy.loc().cloned(),
        policy.annotations().map(|(key, text)| (key.clone(), text.clone())).collect(),
        policy.effect(),
        policy.principal_constraint(),
        policy.action_constraint().clone(),
        policy.resource_constraint(),
        condition.map(|expr| cedar::rebuilt(expr, &swap)),
    );
    StaticPolicy::try_from(template).map_or_else(|_| policy.clone(), Policy::from)
}
