//! Rules that cannot do what they seem to say: those that never match, and those that never decide.
//!
//! Every check here is sound, none is complete: what is reported is certain, and most of what people
//! get wrong is reported.

use callgate_core::catalogue::Catalogue;
use callgate_core::decision::{Decision, Mode};
use callgate_core::fields::nearest;
use callgate_core::name::Name;
use callgate_core::pattern::{Pattern, Segment};

use crate::codes::Code;
use crate::decode::{Sink, Spanned};
use crate::diagnostic::Problems;
use crate::language::rules::MatchText;
use crate::rules::{Compiled, Field, LabelTest, Matcher, Tags};
use crate::syntax::{SourceFile, Span};

/// The most rules that are compared with each other; beyond, comparing all pairs would take long.
const MAX_COMPARED: usize = 2000;

/// A rule that was read, and where its id stands.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) file: &'a SourceFile<'a>,
    pub(super) span: Span,
    /// Whether all of its file could be read.
    pub(super) sound: bool,
    pub(super) compiled: Compiled,
}

/// Checks what a rule or limit says by itself of what it matches.
pub(super) fn alone(
    matcher: &Matcher,
    matched: Option<&Spanned<MatchText>>,
    catalogue: &Catalogue,
    sink: &mut Sink<'_>,
) {
    if let Some(tags) = matched.and_then(|it| it.value.risk_tags.as_ref()) {
        if tags.value.any.as_ref().is_some_and(|any| any.value.is_empty()) {
            sink.add(Code::NeverMatches, tags.span, "`any` of no tags never holds")
                .help("name the tags, or leave `any` out");
        }
        if let Some(tag) = contradiction(&matcher.tags) {
            let message = format!("the tag `{tag}` is both required and excluded");
            sink.add(Code::NeverMatches, tags.span, message).help("remove it from one of the two lists");
        }
    }
    let tools = matched.and_then(|it| it.value.tools.as_ref());
    for tool in tools.into_iter().flat_map(|tools| &tools.value) {
        if let Some(help) = misspelt(&tool.value, catalogue) {
            let message = format!("the catalogue has no tool `{}`", tool.value.as_str());
            sink.add(Code::UnknownTool, tool.span, message).help(help);
        }
    }
}

/// A tag without which the rule does not match, and with which neither.
fn contradiction(tags: &Tags) -> Option<&Name> {
    let excluded = |tag: &&Name| tags.none.iter().any(|none| none.folded() == tag.folded());
    let all = tags.all.iter().find(excluded);
    let any = tags.any.first().filter(|_| tags.any.iter().all(|tag| excluded(&tag)));
    all.or(any)
}

/// What to write instead of a tool that its server, which the catalogue describes, does not have.
fn misspelt(pattern: &Pattern, catalogue: &Catalogue) -> Option<String> {
    let identity = pattern.as_str();
    let (server, _) = identity.split_once('.').filter(|_| pattern.is_exact())?;
    let known = || catalogue.iter().map(|tool| tool.identity.as_str());
    let of_server = |tool: &&str| tool.split_once('.').is_some_and(|(name, _)| name == server);
    if !known().any(|tool| of_server(&tool)) || known().any(|tool| tool == identity) {
        return None;
    }
    Some(nearest(identity, known().filter(of_server)).map_or_else(
        || format!("add it to `tools/{server}.json`, or write a tool that is there"),
        |near| format!("did you mean `{near}`?"),
    ))
}

/// Reports rules that another rule keeps from ever deciding.
pub(super) fn check(drafts: &[Draft<'_>], problems: &mut Problems) {
    if drafts.len() > MAX_COMPARED {
        return;
    }
    let sound = || drafts.iter().filter(|draft| draft.sound);
    for draft in sound() {
        let mut others = sound().filter(|other| other.compiled.rule.id != draft.compiled.rule.id);
        let Some(by) = others.find(|other| silences(&other.compiled, &draft.compiled)) else { continue };
        let (id, other) = (&draft.compiled.rule.id, &by.compiled.rule);
        let message =
            format!("the rule `{id}` never decides: `{}` at {} always comes first", other.id, other.source);
        problems
            .add(Code::NeverDecides, draft.file, draft.span, message)
            .help(format!("delete one of the two, or narrow `{}`", other.id));
    }
}

/// Whether `strong` speaks wherever `weak` does, and `weak` then changes nothing.
fn silences(strong: &Compiled, weak: &Compiled) -> bool {
    let (over, under) = (&strong.rule, &weak.rule);
    let unenforced = over.mode == Mode::Monitor && under.mode == Mode::Enforce;
    if unenforced || strong.condition.is_some() || strong.judge.is_some() || under.effect == Decision::Deny {
        return false;
    }
    if over.effect == Decision::Deny {
        // A deny without any restriction is how people stop everything for a while; see `CG0309`.
        return !strong.matcher.is_unrestricted() && covers(&strong.matcher, &weak.matcher);
    }
    // With equal matchers both have the same specificity. Invariants and constraints count beside
    // what decides, and a strict rule does not match all that a cautious one does.
    let comes_first = (over.priority, over.effect) > (under.priority, under.effect);
    let as_often = over.effect == under.effect || !over.effect.permits();
    // What a judge's rule says is applied to what the others decide.
    let idle = under.constraints.is_empty() && !under.invariant && weak.judge.is_none();
    strong.matcher == weak.matcher && comes_first && as_often && idle
}

/// Whether every request that `narrow` matches, strictly or cautiously, is one `wide` matches cautiously.
fn covers(wide: &Matcher, narrow: &Matcher) -> bool {
    let fields = wide.fields().into_iter().zip(narrow.fields());
    fields.into_iter().all(|((_, wide), (_, narrow))| covers_field(wide, narrow))
        && covers_tags(&wide.tags, &narrow.tags)
        && wide.labels.iter().all(|test| covers_label(test, &narrow.labels))
}

fn covers_field(wide: &Field, narrow: &Field) -> bool {
    let covered = |want: &Pattern| wide.iter().any(|wide| covers_pattern(&wide.pattern, want));
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|want| covered(&want.pattern)))
}

/// The certain cases: the same text, a pattern over an exact name, and `**`.
fn covers_pattern(wide: &Pattern, narrow: &Pattern) -> bool {
    wide == narrow || wide.as_str() == "**" || (narrow.is_exact() && wide.matches(narrow.as_str()))
}

fn covers_tags(wide: &Tags, narrow: &Tags) -> bool {
    let within = |tags: &[Name], of: &[Name]| tags.iter().all(|tag| of.contains(tag));
    let any = wide.any.is_empty()
        || wide.any.iter().any(|tag| narrow.all.contains(tag))
        || (!narrow.any.is_empty() && within(&narrow.any, &wide.any));
    any && within(&wide.all, &narrow.all) && within(&wide.none, &narrow.none)
}

fn covers_label(wide: &LabelTest, narrow: &[LabelTest]) -> bool {
    narrow.iter().any(|test| test.label == wide.label && covers_field(&wide.values, &test.values))
}

/// Whether some name could match both patterns. Segments with stars count as overlapping where their
/// ends agree, so `false` is certain.
pub(super) fn overlap(a: &[Segment], b: &[Segment]) -> bool {
    // `reach` holds the places in `b` that the segments of `a` so far can have led to.
    let close = |reach: &mut Vec<bool>| {
        for at in 0..b.len() {
            if b.get(at) == Some(&Segment::Rest) && reach.get(at) == Some(&true) {
                set(reach, at.saturating_add(1));
            }
        }
    };
    let mut reach = vec![false; b.len().saturating_add(1)];
    set(&mut reach, 0);
    close(&mut reach);
    for segment in a {
        let mut next = vec![false; reach.len()];
        for at in (0..reach.len()).filter(|at| reach.get(*at) == Some(&true)) {
            if *segment == Segment::Rest {
                (at..reach.len()).for_each(|later| set(&mut next, later));
            }
            match b.get(at) {
                Some(Segment::Rest) => set(&mut next, at),
                Some(other) if meet(segment, other) => set(&mut next, at.saturating_add(1)),
                _ => {}
            }
        }
        close(&mut next);
        reach = next;
    }
    reach.last() == Some(&true)
}

fn set(reach: &mut [bool], at: usize) {
    if let Some(slot) = reach.get_mut(at) {
        *slot = true;
    }
}

/// Whether some text could match both segments.
fn meet(a: &Segment, b: &Segment) -> bool {
    match (a, b) {
        (Segment::Rest, _) | (_, Segment::Rest) => true,
        (Segment::Literal(text), other) | (other, Segment::Literal(text)) => other.matches(text),
        (Segment::Glob(a), Segment::Glob(b)) => {
            let begins = |a: &str, b: &str| a.starts_with(b) || b.starts_with(a);
            let ends = |a: &str, b: &str| a.ends_with(b) || b.ends_with(a);
            let first = |parts: &[String]| parts.first().cloned().unwrap_or_default();
            let last = |parts: &[String]| parts.last().cloned().unwrap_or_default();
            begins(&first(a), &first(b)) && ends(&last(a), &last(b))
        }
    }
}
