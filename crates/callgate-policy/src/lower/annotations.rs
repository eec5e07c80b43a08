//! The annotations of a Cedar policy: its id, what it answers, and what goes with that.

use std::sync::Arc;

use callgate_core::decision::{Decision, Mode};
use callgate_core::fields::nearest;
use callgate_core::name::Name;
use callgate_core::rule::Rule;
use callgate_core::snapshot::Defaults;
use cedar_policy_core::ast::{Effect, Policy};

use super::cedar::{LEXIS, fits};
use crate::codes::Code;
use crate::decode::{Duration, ModeWord, NameText, OneOrList, Prose, Shape, Sink, Whole, Word};
use crate::diagnostic::Problems;
use crate::fingerprint;
use crate::language::constraints::ConstraintsText;
use crate::language::rules::ApprovalShape;
use crate::syntax::{self, SourceFile, Span};

/// The annotations that say something.
const KEYS: [&str; 10] = [
    "id",
    "description",
    "decision",
    "mode",
    "reason",
    "priority",
    "constraint",
    "approval",
    "retry_after",
    "control",
];
/// Says whose history a policy about the past looks at.
const HISTORY: &str = "history";

/// What a policy's annotations say.
pub(super) struct Written {
    pub(super) rule: Arc<Rule>,
    /// Where the id stands; the policy itself if it has none.
    pub(super) id_span: Span,
    /// Whose history it looks at.
    pub(super) history: Whose,
}

/// Whose history a policy about the past looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Whose {
    /// The agent's own, in all its sessions.
    #[default]
    Agent,
    /// The session's, of that agent.
    Session,
    /// Everyone's in the tenant.
    Tenant,
}

/// The annotations of one policy.
struct Annotations<'p, 'a> {
    policy: &'p Policy,
    file: &'p SourceFile<'a>,
    problems: &'p mut Problems,
    /// The annotations that say something here.
    keys: Vec<&'static str>,
}

/// Reads the annotations of the policy that is number `at` of its file; `None` only after a report.
pub(super) fn read(
    policy: &Policy,
    at: usize,
    file: &SourceFile<'_>,
    (module, defaults): (&'static str, &Defaults),
    problems: &mut Problems,
) -> Option<Written> {
    let before = problems.errors();
    let looks_back = (module == crate::dogwood::NAME).then_some(HISTORY);
    let keys = KEYS.into_iter().chain(looks_back).collect();
    let mut all = Annotations { policy, file, problems, keys };
    all.unknown();
    let (id, id_span) = all.id(at)?;
    let permit = policy.effect() == Effect::Permit;
    let constraints = all.decode::<ConstraintsText>("constraint", |text| format!("{{{text}}}"));
    let plain = if constraints.is_some() { Decision::AllowWithConstraints } else { Decision::Allow };
    let effect = all.decision(permit, if permit { plain } else { Decision::Deny })?;
    all.goes_with(effect, constraints.is_some(), defaults);
    let approval = all.decode::<ApprovalShape>("approval", |text| format!("{{{text}}}"));
    let approval =
        (effect == Decision::RequireApproval).then(|| super::approval::lower(approval.as_ref(), defaults));
    let priority = all.decode::<Whole<-1_000_000, 1_000_000>>("priority", str::to_owned).unwrap_or(0);
    let controls = all.decode::<OneOrList<NameText>>("control", |text| format!("[{text}]"));
    let rule = Rule {
        id: id.as_str().into(),
        module,
        source: file.source(policy_span(policy, file)),
        effect,
        mode: all.decode::<ModeWord>("mode", quoted).unwrap_or_default(),
        priority: i32::try_from(priority).unwrap_or(0),
        // Nothing outranks a `forbid`.
        invariant: !permit,
        reason: all.decode::<Prose>("reason", quoted),
        constraints: constraints.unwrap_or_default(),
        approval,
        retry_after_ms: all.decode::<Duration>("retry_after", quoted),
        controls: controls.into_iter().flatten().map(|name| name.value.to_string()).collect(),
        fingerprint: fingerprint::of_text(file.slice(policy_span(policy, file)), LEXIS),
    };
    all.permits_nothing(&rule, defaults);
    let history = all.history();
    (all.problems.errors() == before).then(|| Written { rule: Arc::new(rule), id_span, history })
}

fn policy_span(policy: &Policy, file: &SourceFile<'_>) -> Span {
    policy.loc().map_or_else(|| Span::new(0, file.text().len()), |loc| Span::new(loc.start(), loc.end()))
}

/// A text as YAML writes it, so that it stays text.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Annotations<'_, '_> {
    /// The text of an annotation and where it stands.
    fn get(&self, key: &str) -> Option<(&str, Span)> {
        let (_, found) = self.policy.annotations().find(|(known, _)| known.as_ref() == key)?;
        let span = found.loc.as_ref().map(|loc| Span::new(loc.start(), loc.end()));
        Some((found.val.as_str(), span.unwrap_or_else(|| policy_span(self.policy, self.file))))
    }

    fn unknown(&mut self) {
        let keys: Vec<String> = self
            .policy
            .annotations()
            .map(|(key, _)| {
                let text: &str = key.as_ref();
                text.to_owned()
            })
            .collect();
        let unknown: Vec<&String> = keys.iter().filter(|key| !self.keys.contains(&key.as_str())).collect();
        for key in unknown {
            let Some((_, span)) = self.get(key) else { continue };
            let known = || self.keys.iter().map(|key| format!("`@{key}`")).collect::<Vec<_>>().join(", ");
            let help = nearest(key, self.keys.iter().copied()).map_or_else(
                || format!("the annotations are {}", known()),
                |near| format!("did you mean `@{near}`?"),
            );
            let message = format!("`@{key}` is not an annotation here");
            self.problems.add(Code::CedarAnnotation, self.file, span, message).help(help);
        }
    }

    /// The id: `@id`, else the file's name and the policy's number in it.
    fn id(&mut self, at: usize) -> Option<(Name, Span)> {
        let number = at.saturating_add(1);
        let file = self.file.path().rsplit('/').next().unwrap_or_default();
        let default = (format!("{file}#{number}"), policy_span(self.policy, self.file));
        let (text, span) = self.get("id").map_or(default, |(text, span)| (text.to_owned(), span));
        match Name::new(&text) {
            Ok(name) => Some((name, span)),
            Err(error) => {
                self.problems.add(Code::CedarAnnotation, self.file, span, error.to_string());
                None
            }
        }
    }

    /// Reads an annotation by the shape that rules have for it; `write` makes YAML of its text.
    fn decode<S: Shape>(&mut self, key: &str, write: fn(&str) -> String) -> Option<S::Out> {
        let (text, span) = self.get(key)?;
        let text = write(text);
        let mut inner = Problems::default();
        let scratch = SourceFile::new("annotation.yaml", &text);
        let node = syntax::parse(&scratch, &mut inner);
        let out = node.and_then(|node| S::decode(&node, &mut Sink { file: &scratch, problems: &mut inner }));
        let report = inner.into_report();
        for found in report.diagnostics() {
            let message = format!("`@{key}`: {}", found.message);
            let added = self.problems.add(Code::CedarAnnotation, self.file, span, message);
            if let Some(help) = &found.help {
                added.help(help.clone());
            }
        }
        if report.is_empty() { out } else { None }
    }

    /// Warns of a policy that would permit, and only monitors.
    fn permits_nothing(&mut self, rule: &Rule, defaults: &Defaults) {
        let Some((_, span)) = self.get("mode") else { return };
        if rule.mode == Mode::Monitor && rule.effect.permits() && defaults.mode == Mode::Enforce {
            let message = format!("the policy `{}` only monitors, so that it permits nothing", rule.id);
            self.problems
                .add(Code::MonitorPermits, self.file, span, message)
                .help("what no other rule permits is denied; to permit it, leave `@mode` out");
        }
    }

    /// Whose history it looks at: `@history`, else the agent's.
    fn history(&mut self) -> Whose {
        let Some((text, span)) = self.get(HISTORY) else { return Whose::default() };
        match text {
            "agent" => Whose::Agent,
            "session" => Whose::Session,
            "tenant" => Whose::Tenant,
            _ => {
                let message = format!("`@{HISTORY}`: `{text}` has no history of its own");
                self.problems
                    .add(Code::CedarAnnotation, self.file, span, message)
                    .help("write `agent`, `session` or `tenant`");
                Whose::default()
            }
        }
    }

    /// What the policy answers, which must fit its effect.
    fn decision(&mut self, permit: bool, default: Decision) -> Option<Decision> {
        let Some((_, span)) = self.get("decision") else { return Some(default) };
        let decision = self.decode::<Word>("decision", quoted)?;
        if fits(permit, decision) {
            return Some(decision);
        }
        let (has, wants) = if permit { ("permit", "forbid") } else { ("forbid", "permit") };
        let message = format!("a `{has}` cannot answer `{}`", decision.as_str().to_ascii_lowercase());
        self.problems.add(Code::CedarAnnotation, self.file, span, message).help(format!("write `{wants}`"));
        None
    }

    /// Reports annotations that say nothing beside this decision, and constraints that are missing.
    fn goes_with(&mut self, effect: Decision, constrained: bool, defaults: &Defaults) {
        let constrains = matches!(effect, Decision::AllowWithConstraints | Decision::RequireApproval);
        let fits = [
            ("constraint", constrains, "allow_with_constraints"),
            ("approval", effect == Decision::RequireApproval, "require_approval"),
            ("retry_after", effect == Decision::Throttle, "throttle"),
        ];
        let word = effect.as_str().to_ascii_lowercase();
        for (key, fits, wanted) in fits {
            if let Some((_, span)) = self.get(key).filter(|_| !fits) {
                let message = format!("`@{key}` says nothing beside the decision `{word}`");
                let help = format!("remove it, or write `@decision(\"{wanted}\")`");
                self.problems.add(Code::CedarAnnotation, self.file, span, message).help(help);
            }
        }
        let needs =
            effect == Decision::AllowWithConstraints && !constrained && defaults.constraints.is_empty();
        if let Some((_, span)) = self.get("decision").filter(|_| needs) {
            let message = "`allow_with_constraints` needs constraints, of its own or among the defaults";
            let help = "add `@constraint(\"max_runtime_sec: 60\")`, or decide `allow`";
            self.problems.add(Code::CedarAnnotation, self.file, span, message).help(help);
        }
    }
}
