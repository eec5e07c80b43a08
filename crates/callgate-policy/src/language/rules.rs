//! `rules/*.yaml`.

use callgate_core::name::Name;
use callgate_core::pattern::Pattern;
use callgate_core::rule::Stage;
use serde_json::{Value as Json, json};

use super::constraints::ConstraintsText;
use super::judge::JudgeText;
use crate::codes::Code;
use crate::decode::{
    Condition, Duration, List, Meant, ModeWord, NameText, OneOrList, Patterns, Prose, Shape, Sink, Spanned,
    Switch, Version, Whole, Word,
};
use crate::syntax::{Kind, Node};

record! {
    /// A file of rules.
    struct RulesFile {
        /// The version of the language: `v1`.
        required version: Version,
        /// Whether nothing may outrank the verdicts of this file.
        optional invariants: Switch,
        /// The rules; their order says nothing.
        required rules: List<Meant<RuleText>>,
    }
}

record! {
    /// One rule: who, on what, under which condition, gets which decision.
    struct RuleText {
        /// Unique in the bundle; the name in receipts.
        required id: NameText,
        /// For the people who maintain it.
        optional description: Prose,
        /// Who the rule is about.
        optional scope: ScopeText,
        /// What triggers it.
        optional r#match: MatchText,
        /// A condition in CEL that must also hold.
        optional when: Condition,
        /// A policy in plain language that a model judges once all else matches.
        optional judge: JudgeText,
        /// What it answers.
        required decision: Word,
        /// Whether its answer is enforced; with `monitor` it is only recorded, and never blocks.
        optional mode: ModeWord,
        /// Why, in a sentence that the agent and its people see.
        optional reason: Prose,
        /// Higher outranks lower; 0 unless written.
        optional priority: Whole<-1_000_000, 1_000_000>,
        /// Who must agree, for `require_approval`.
        optional approval: ApprovalShape,
        /// What must be enforced if the action runs.
        optional constraints: ConstraintsText,
        /// When to ask again, for `throttle`.
        optional throttle: ThrottleText,
        /// The controls this rule is evidence for, such as `soc2/cc6.1`.
        optional controls: OneOrList<NameText>,
    }
}

record! {
    /// Who a rule is about. A field that is left out does not restrict.
    struct ScopeText {
        /// Agents, as names or patterns.
        optional agents: Patterns,
        /// Teams of agents.
        optional teams: Patterns,
        /// Tenants.
        optional tenants: Patterns,
        /// Environments, such as `prod`.
        optional environments: Patterns,
    }
}

record! {
    /// What triggers a rule. Every field that is there must match; of a field's entries, one.
    struct MatchText {
        /// Tools, as `server.name` or patterns.
        optional tools: Patterns,
        /// Topics, as dotted names or patterns.
        optional topics: Patterns,
        /// Risk tags: a list means all of them, an empty list says nothing.
        optional risk_tags: TagsText,
        /// Labels and the values they must have.
        optional labels: LabelsText,
        /// Functions of a contract.
        optional functions: Patterns,
        /// Kinds of action, such as `WRITE_DB`.
        optional action_types: Patterns,
    }
}

record! {
    /// Who must agree before the action runs.
    struct ApprovalText {
        /// People or roles, such as `role:finance`; left out, any reviewer.
        optional reviewers: OneOrList<NameText>,
        /// How many of them; 1 unless written.
        optional quorum: Whole<1, 100>,
        /// Instead of `reviewers` and `quorum`: groups that must agree one after the other.
        optional stages: List<StageText>,
        /// How long the request waits, all stages together.
        optional expires: Duration,
        /// What the action can reach if it goes wrong; shown to the reviewers.
        optional blast_radius: Prose,
        /// How the action is undone; shown to the reviewers.
        optional rollback: Prose,
    }
}

record! {
    /// One group of people who must agree.
    struct StageText {
        /// People or roles, such as `role:finance`; left out, any reviewer.
        optional reviewers: OneOrList<NameText>,
        /// How many of them; 1 unless written.
        optional quorum: Whole<1, 100>,
    }
}

/// The most stages of one approval.
const MAX_STAGES: usize = 8;

/// Who must agree: one group, or several stages.
pub(crate) struct ApprovalShape;

impl Shape for ApprovalShape {
    type Out = ApprovalText;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<ApprovalText> {
        let text = ApprovalText::decode(node, sink)?;
        let Some(stages) = &text.stages else { return Some(text) };
        let beside = [text.reviewers.as_ref().map(|it| it.span), text.quorum.as_ref().map(|it| it.span)];
        for (span, key) in beside.into_iter().zip(["reviewers", "quorum"]) {
            let Some(span) = span else { continue };
            sink.add(Code::BadStages, span, format!("`{key}` says nothing beside `stages`"))
                .help(format!("write `{key}` in each stage, or leave `stages` out"));
        }
        if stages.value.len() > MAX_STAGES {
            sink.add(Code::BadStages, stages.span, format!("an approval has at most {MAX_STAGES} stages"))
                .help("let more people of one stage agree: `quorum: 2`");
        }
        for (at, stage) in stages.value.iter().enumerate() {
            let earlier =
                stages.value.iter().take(at).any(|other| other.value.stage() == stage.value.stage());
            if earlier {
                sink.add(Code::BadStages, stage.span, "the same stage stands twice")
                    .help("raise its `quorum`, or name other reviewers");
            }
        }
        Some(text)
    }

    fn schema() -> Json {
        let mut schema = ApprovalText::schema();
        if let Some(keywords) = schema.as_object_mut() {
            let beside = json!({"required": ["stages"], "anyOf": [{"required": ["reviewers"]}, {"required": ["quorum"]}]});
            keywords.insert("not".to_owned(), beside);
        }
        if let Some(stages) = schema.pointer_mut("/properties/stages").and_then(Json::as_object_mut) {
            stages.insert("maxItems".to_owned(), MAX_STAGES.into());
            stages.insert("uniqueItems".to_owned(), true.into());
        }
        schema
    }
}

impl StageText {
    /// The stage it asks for.
    pub(crate) fn stage(&self) -> Stage {
        stage(self.reviewers.as_ref(), self.quorum.as_ref())
    }
}

impl ApprovalText {
    /// The stages it asks for; one where it writes none.
    pub(crate) fn stages(&self) -> Vec<Stage> {
        match &self.stages {
            Some(stages) => stages.value.iter().map(|stage| stage.value.stage()).collect(),
            None => vec![stage(self.reviewers.as_ref(), self.quorum.as_ref())],
        }
    }
}

fn stage(reviewers: Option<&Spanned<Vec<Spanned<Name>>>>, quorum: Option<&Spanned<i64>>) -> Stage {
    let names = reviewers.into_iter().flat_map(|list| &list.value).map(|name| name.value.to_string());
    Stage::of(names, quorum.and_then(|it| u32::try_from(it.value).ok()).unwrap_or(1))
}

record! {
    /// When a throttled caller may ask again.
    struct ThrottleText {
        /// How long to wait.
        required retry_after: Duration,
    }
}

record! {
    /// Tags by how they must occur.
    struct TagChoice {
        /// At least one of these.
        optional any: Names,
        /// All of these.
        optional all: List<NameText>,
        /// None of these.
        optional none: List<NameText>,
    }
}

/// A list of names that may be empty.
pub(crate) struct Names;

impl Shape for Names {
    type Out = Vec<Spanned<Name>>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        match &node.kind {
            Kind::List(items) if items.is_empty() => Some(Vec::new()),
            _ => OneOrList::<NameText>::decode(node, sink),
        }
    }

    fn schema() -> Json {
        json!({"oneOf": [NameText::schema(), {"type": "array", "items": NameText::schema()}]})
    }
}

/// The tags a rule asks for.
pub(crate) struct TagsText;

/// Tags by how they must occur; `any` that is there but empty can never hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tags {
    pub(crate) any: Option<Spanned<Vec<Spanned<Name>>>>,
    pub(crate) all: Vec<Spanned<Name>>,
    pub(crate) none: Vec<Spanned<Name>>,
}

impl Shape for TagsText {
    type Out = Tags;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Tags> {
        if !matches!(node.kind, Kind::Map(_)) {
            let all = Names::decode(node, sink)?;
            return Some(Tags { all, ..Tags::default() });
        }
        let TagChoice { any, all, none } = TagChoice::decode(node, sink)?;
        let list = |tags: Option<Spanned<Vec<_>>>| tags.map(|tags| tags.value).unwrap_or_default();
        Some(Tags { any, all: list(all), none: list(none) })
    }

    fn schema() -> Json {
        json!({"oneOf": [Names::schema(), TagChoice::schema()]})
    }
}

/// Labels and the values they must have.
pub(crate) struct LabelsText;

impl Shape for LabelsText {
    type Out = Vec<(Name, Vec<Spanned<Pattern>>)>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        let Kind::Map(entries) = &node.kind else { return sink.wrong_type(node, "a mapping of labels") };
        if entries.is_empty() {
            sink.add(Code::Empty, node.span, "the mapping is empty")
                .help("add a label, or leave the key out");
            return None;
        }
        let mut labels = Vec::new();
        for (key, value) in entries {
            let patterns = Patterns::decode(value, sink);
            match Name::new(&key.text) {
                Ok(name) => labels.extend(patterns.map(|patterns| (name, patterns))),
                Err(error) => drop(sink.add(Code::BadName, key.span, error.to_string())),
            }
        }
        Some(labels)
    }

    fn schema() -> Json {
        json!({"type": "object", "additionalProperties": Patterns::schema(), "minProperties": 1})
    }
}
