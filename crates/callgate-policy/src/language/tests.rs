//! `tests/*.yaml`.

use callgate_core::constraint::Constraints;
use callgate_core::decimal::Decimal;
use callgate_core::decision::{Code as DenialCode, Decision};
use callgate_core::facts::Credential;
use callgate_core::finding::{Failure, Ruling};
use callgate_core::name::Name;
use callgate_core::request::DEFAULT_TENANT;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::constraints::ConstraintsText;
use super::measures::SpentText;
use crate::codes::Code;
use crate::decode::{
    Duration, Fields, List, NameText, OneOrList, Prose, Shape, Sink, Spanned, Switch, Version, Whole, Word,
    unknown_word,
};
use crate::syntax::{Kind, Node};

record! {
    /// A file of tests. They decide nothing; `callgate test` plays them.
    struct TestsFile {
        /// The version of the language: `v1`.
        required version: Version,
        /// Members of every request of the file that does not have them.
        optional defaults: RequestText,
        /// The tests; each is played by itself.
        required tests: List<TestText>,
    }
}

record! {
    /// One test: a request and what must come of it, or a session of several.
    struct TestText {
        /// What it shows, in a sentence; unique in the file.
        required name: Prose,
        /// For the people who maintain it.
        optional description: Prose,
        /// What the gate knows beside the request.
        optional facts: FactsText,
        /// Members of every request of this test that does not have them.
        optional defaults: RequestText,
        /// The request.
        optional request: RequestText,
        /// Instead of a request: the bytes that arrive, as text.
        optional raw: Bytes,
        /// What must come of it; what is not named is not compared.
        optional expect: ExpectText,
        /// Instead of a request: those of one session, in order.
        optional steps: List<StepText>,
    }
}

record! {
    /// One request of a session.
    struct StepText {
        /// When, counted from the beginning of the test; left out, when the step before it was.
        optional at: Offset,
        /// The request.
        optional request: RequestText,
        /// Instead of a request: the bytes that arrive, as text.
        optional raw: Bytes,
        /// What must come of it; what is not named is not compared.
        required expect: ExpectText,
        /// How the action ended, if it was allowed and ran.
        optional outcome: OutcomeText,
    }
}

record! {
    /// What the gate knows beside the request.
    struct FactsText {
        /// The gate's clock when the test begins; `2026-01-01T00:00:00Z` unless written.
        optional now: Moment,
        /// Who shows the request: `local` unless written, whose word on the agent is taken.
        optional credential: CredentialText,
        /// Whether an operator set the agent to be monitored only.
        optional monitor: Switch,
        /// What a judge answers, by the rule that asks it; to a rule that is not named, nobody answers.
        optional findings: FindingsText,
    }
}

record! {
    /// What a judge answers, or why it does not.
    struct FindingText {
        /// `complies`, `violates` or `unsure`.
        optional ruling: RulingWord,
        /// How sure it is, from 0 to 1; 1 unless written.
        optional confidence: Confidence,
        /// Instead of a ruling: `timeout`, `unreachable`, `refused`, `too_large`, `malformed`, `internal` or `not_configured`.
        optional failure: FailureWord,
    }
}

record! {
    /// The key of an agent.
    struct KeyText {
        /// The key's agent.
        required agent: NameText,
        /// The key's tenant; `default` unless written.
        optional tenant: NameText,
        /// The key's team, if it has one.
        optional team: NameText,
    }
}

record! {
    /// How an action ended.
    struct OutcomeText {
        /// `succeeded`, `failed`, `timed_out`, `cancelled`, `not_run` or `unknown`.
        required status: StatusWord,
        /// What it cost, by unit, decimals in strings; left out, what was estimated.
        optional cost: SpentText,
    }
}

record! {
    /// What must come of a request. What is not named is not compared.
    struct ExpectText {
        /// The decision.
        optional decision: Word,
        /// The code; `none` for a plain allow.
        optional code: CodeWord,
        /// The rule or contract that decides.
        optional rule: NameText,
        /// Rules and contracts that contribute, among others.
        optional rules: OneOrList<NameText>,
        /// Rules and contracts that must not contribute.
        optional not_rules: OneOrList<NameText>,
        /// Texts that must each stand in the message of some reason.
        optional reasons: OneOrList<Prose>,
        /// All codes among the reasons, in order; `[]` for none.
        optional codes: Codes,
        /// The constraints, exactly; `{}` for none.
        optional constraints: ExactConstraints,
        /// When to ask again, in milliseconds.
        optional retry_after_ms: Whole<0, 9_007_199_254_740_991>,
        /// What enforcement of everything would decide; `none` where that is the decision.
        optional would: WouldWord,
        /// Who may agree, exactly; stage after stage.
        optional reviewers: OneOrList<NameText>,
    }
}

/// A request, or some of its members.
pub(crate) struct RequestText;
/// Bytes that arrive in place of a request.
pub(crate) struct Bytes;
/// A time span that may be nothing.
pub(crate) struct Offset;
/// A moment (RFC 3339).
pub(crate) struct Moment;
/// Who shows a request.
pub(crate) struct CredentialText;
/// What a judge answers, by rule.
pub(crate) struct FindingsText;
/// What a judge says of a policy.
pub(crate) struct RulingWord;
/// A number from 0 to 1, as a decimal.
pub(crate) struct Confidence;
/// Why a judge does not answer.
pub(crate) struct FailureWord;
/// How an action ended.
pub(crate) struct StatusWord;
/// A code of a decision, or `none`.
pub(crate) struct CodeWord;
/// A decision, or `none`.
pub(crate) struct WouldWord;
/// A list of codes that may be empty.
pub(crate) struct Codes;
/// Constraints, or none.
pub(crate) struct ExactConstraints;

/// The members of a request, and what they are.
const MEMBERS: [(&str, &str); 14] = [
    ("tenant", "The tenant; `default` unless written."),
    ("agent", "Who asks: `id`, `team`, `chain`, `on_behalf_of`."),
    ("session", "Where in a session: `id`, `step`, `function`, `action_type`."),
    ("tool", "The tool: `server` and `name`."),
    ("args", "The tool's arguments."),
    ("topic", "The topic of a job."),
    ("risk_tags", "Risk tags; the catalogue adds to them."),
    ("labels", "Labels and their values."),
    ("environment", "The environment, such as `prod`."),
    ("cost", "Estimated cost by unit, decimals in strings."),
    ("confidence", "The agent's confidence, 0 to 1."),
    ("nonce", "A value used once in a session; needs `ts_ms`."),
    ("ts_ms", "When it was made: milliseconds since 1970, or `now`, `now-6m`, `now+6m`."),
    ("pep", "The enforcement point: `id` and what it `enforces`."),
];

const STATUSES: [&str; 6] = ["succeeded", "failed", "timed_out", "cancelled", "not_run", "unknown"];

impl Shape for RequestText {
    type Out = Node;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Node> {
        Fields::open(node, &MEMBERS.map(|(name, _)| name), sink)?;
        Some(node.clone())
    }

    fn schema() -> Json {
        let properties: serde_json::Map<String, Json> =
            MEMBERS.iter().map(|(name, about)| ((*name).to_owned(), json!({"description": about}))).collect();
        json!({"type": "object", "properties": properties, "additionalProperties": false})
    }
}

impl Shape for Bytes {
    type Out = String;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<String> {
        match node.scalar() {
            Some(text) if text.is_text() => Some(text.text.clone()),
            _ => sink.wrong_type(node, "text"),
        }
    }

    fn schema() -> Json {
        json!({"type": "string"})
    }
}

impl Shape for Offset {
    type Out = u64;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<u64> {
        match node.scalar() {
            Some(text) if matches!(text.text.as_str(), "0" | "0s" | "0ms" | "0m" | "0h" | "0d") => Some(0),
            _ => Duration::decode(node, sink),
        }
    }

    fn schema() -> Json {
        json!({"oneOf": [Duration::schema(), {"const": 0}]})
    }
}

impl Shape for Moment {
    /// Milliseconds since 1970 UTC.
    type Out = i64;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<i64> {
        let Some(text) = node.scalar().filter(|text| text.is_text()) else {
            return sink.wrong_type(node, "a moment in text, such as `2026-03-01T10:00:00Z`");
        };
        if let Ok(at) = text.text.parse::<Timestamp>() {
            return Some(at.as_millisecond());
        }
        let shown: String = text.text.escape_debug().take(64).collect();
        sink.add(Code::BadMoment, node.span, format!("`{shown}` is not a moment in time"))
            .help("write date, time and offset (RFC 3339), such as `2026-03-01T10:00:00Z`");
        None
    }

    fn schema() -> Json {
        json!({"type": "string", "format": "date-time"})
    }
}

impl Shape for CredentialText {
    type Out = Credential;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Credential> {
        if matches!(node.kind, Kind::Map(_)) {
            let KeyText { agent, tenant, team } = KeyText::decode(node, sink)?;
            let word = |name: Spanned<Name>| name.value.as_str().to_owned();
            return Some(Credential::Agent {
                agent: word(agent?),
                tenant: tenant.map_or_else(|| DEFAULT_TENANT.to_owned(), word),
                team: team.map(word),
            });
        }
        match node.scalar().map(|text| text.text.as_str()) {
            Some("local") => Some(Credential::Local),
            Some("development") => Some(Credential::Development),
            Some(other) => unknown_word(other, "a credential", &["local", "development"], node, sink),
            None => sink.wrong_type(node, "`local`, `development` or the key of an agent"),
        }
    }

    fn schema() -> Json {
        json!({"oneOf": [{"enum": ["local", "development"]}, KeyText::schema()]})
    }
}

impl Shape for FindingsText {
    type Out = Vec<(Spanned<Name>, FindingText)>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        let Kind::Map(entries) = &node.kind else {
            return sink.wrong_type(node, "a mapping of rules and what a judge answers them");
        };
        let mut read = Vec::new();
        for (key, finding) in entries {
            match Name::new(&key.text) {
                Ok(value) => {
                    let rule = Spanned { value, span: key.span };
                    read.extend(FindingText::decode(finding, sink).map(|finding| (rule, finding)));
                }
                Err(error) => drop(sink.add(Code::BadName, key.span, error.to_string())),
            }
        }
        Some(read)
    }

    fn schema() -> Json {
        json!({"type": "object", "additionalProperties": FindingText::schema()})
    }
}

impl Shape for RulingWord {
    type Out = Ruling;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Ruling> {
        let Some(text) = node.scalar() else { return sink.wrong_type(node, "a ruling in text") };
        let known = Ruling::ALL.into_iter().find(|ruling| ruling.as_str() == text.text);
        known.or_else(|| unknown_word(&text.text, "a ruling", &Ruling::ALL.map(Ruling::as_str), node, sink))
    }

    fn schema() -> Json {
        json!({"enum": Ruling::ALL.map(Ruling::as_str)})
    }
}

impl Shape for FailureWord {
    type Out = Failure;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Failure> {
        let Some(text) = node.scalar() else { return sink.wrong_type(node, "a failure in text") };
        let known = Failure::ALL.into_iter().find(|failure| failure.as_str() == text.text);
        known
            .or_else(|| unknown_word(&text.text, "a failure", &Failure::ALL.map(Failure::as_str), node, sink))
    }

    fn schema() -> Json {
        json!({"enum": Failure::ALL.map(Failure::as_str)})
    }
}

impl Shape for Confidence {
    type Out = Decimal;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Decimal> {
        let Some(text) = node.scalar() else { return sink.wrong_type(node, "a decimal in text") };
        let number =
            text.text.parse().ok().filter(|number| (Decimal::from(0)..=Decimal::from(1)).contains(number));
        if number.is_none() {
            let shown: String = text.text.escape_debug().take(64).collect();
            sink.add(Code::OutOfRange, node.span, format!("`{shown}` is not a decimal from 0 to 1"))
                .help("write such as \"0.9\"");
        }
        number
    }

    fn schema() -> Json {
        json!({"oneOf": [{"type": "string"}, {"type": "number", "minimum": 0, "maximum": 1}]})
    }
}

impl Shape for StatusWord {
    type Out = &'static str;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<&'static str> {
        let Some(text) = node.scalar() else { return sink.wrong_type(node, "an outcome in text") };
        let known = STATUSES.into_iter().find(|status| *status == text.text);
        known.or_else(|| unknown_word(&text.text, "an outcome", &STATUSES, node, sink))
    }

    fn schema() -> Json {
        json!({"enum": STATUSES})
    }
}

impl Shape for WouldWord {
    type Out = Option<Decision>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        match node.scalar() {
            Some(text) if text.text == "none" => Some(None),
            _ => Word::decode(node, sink).map(Some),
        }
    }

    fn schema() -> Json {
        json!({"oneOf": [Word::schema(), {"const": "none"}]})
    }
}

impl Shape for CodeWord {
    type Out = Option<DenialCode>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        let Some(text) = node.scalar() else { return sink.wrong_type(node, "a code in text") };
        if text.text == "none" {
            return Some(None);
        }
        let known = DenialCode::ALL.into_iter().find(|code| code.as_str() == text.text);
        let words = DenialCode::ALL.map(DenialCode::as_str);
        known.map(Some).or_else(|| unknown_word(&text.text, "a code", &words, node, sink))
    }

    fn schema() -> Json {
        let words: Vec<&str> = DenialCode::ALL.map(DenialCode::as_str).into_iter().chain(["none"]).collect();
        json!({"enum": words})
    }
}

impl Shape for Codes {
    type Out = Vec<DenialCode>;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Self::Out> {
        let Kind::List(items) = &node.kind else { return sink.wrong_type(node, "a list of codes") };
        let read: Vec<Option<DenialCode>> =
            items.iter().filter_map(|item| CodeWord::decode(item, sink)).collect();
        Some(read.into_iter().flatten().collect())
    }

    fn schema() -> Json {
        json!({"type": "array", "items": CodeWord::schema()})
    }
}

impl Shape for ExactConstraints {
    type Out = Constraints;

    fn decode(node: &Node, sink: &mut Sink<'_>) -> Option<Constraints> {
        match &node.kind {
            Kind::Map(entries) if entries.is_empty() => Some(Constraints::default()),
            _ => ConstraintsText::decode(node, sink),
        }
    }

    fn schema() -> Json {
        let mut schema = ConstraintsText::schema();
        if let Some(keywords) = schema.as_object_mut() {
            keywords.remove("minProperties");
        }
        schema
    }
}
