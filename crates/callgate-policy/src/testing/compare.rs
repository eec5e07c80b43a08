//! What a test expects against what came out.

use callgate_core::decision::{Code, Decision};
use callgate_core::settle::Settled;

use super::TestDifference;
use crate::language::tests::ExpectText;

/// Everything that came out otherwise; what the test does not name is not compared.
pub(super) fn differences(expect: &ExpectText, settled: &Settled) -> Vec<TestDifference> {
    let mut found = Differences(Vec::new());
    answer(expect, settled, &mut found);
    contributions(expect, settled, &mut found);
    terms(expect, settled, &mut found);
    found.0
}

struct Differences(Vec<TestDifference>);

impl Differences {
    fn unless(&mut self, equal: bool, field: &'static str, expected: String, actual: String) {
        if !equal {
            self.0.push(TestDifference { field, expected, actual });
        }
    }

    fn compare(&mut self, field: &'static str, expected: String, actual: String) {
        self.unless(expected == actual, field, expected, actual);
    }
}

fn word(code: Option<Code>) -> String {
    code.map_or("none", Code::as_str).to_owned()
}

fn answer(expect: &ExpectText, settled: &Settled, found: &mut Differences) {
    if let Some(decision) = &expect.decision {
        let as_text = |decision: Decision| decision.as_str().to_owned();
        found.compare("decision", as_text(decision.value), as_text(settled.decision));
    }
    if let Some(code) = &expect.code {
        found.compare("code", word(code.value), word(settled.code));
    }
    if let Some(rule) = &expect.rule {
        let actual = settled.matched.as_ref().map_or_else(|| "none".to_owned(), |rule| rule.id.to_string());
        found.compare("rule", rule.value.as_str().to_owned(), actual);
    }
    if let Some(codes) = &expect.codes {
        let expected = codes.value.iter().map(|code| code.as_str());
        let actual = settled.reasons.iter().filter_map(|reason| reason.code).map(Code::as_str);
        found.compare("codes", listed(expected), listed(actual));
    }
}

fn contributions(expect: &ExpectText, settled: &Settled, found: &mut Differences) {
    let contributing: Vec<&str> =
        settled.reasons.iter().filter_map(|reason| reason.rule.as_deref()).collect();
    let actual = || listed(contributing.iter().copied());
    for rule in expect.rules.iter().flat_map(|rules| &rules.value) {
        let name = rule.value.as_str();
        found.unless(contributing.contains(&name), "rules", name.to_owned(), actual());
    }
    for rule in expect.not_rules.iter().flat_map(|rules| &rules.value) {
        let name = rule.value.as_str();
        found.unless(!contributing.contains(&name), "not_rules", format!("not {name}"), actual());
    }
    for text in expect.reasons.iter().flat_map(|texts| &texts.value) {
        let said = settled.reasons.iter().any(|reason| reason.message.contains(text.value.as_str()));
        let actual = listed(settled.reasons.iter().map(|reason| reason.message.as_str()));
        found.unless(said, "reasons", text.value.clone(), actual);
    }
}

fn terms(expect: &ExpectText, settled: &Settled, found: &mut Differences) {
    if let Some(constraints) = &expect.constraints {
        let expected = constraints.value.to_value().canonical();
        found.compare("constraints", expected, settled.constraints.to_value().canonical());
    }
    if let Some(would) = &expect.would {
        let as_text = |decision: Option<Decision>| decision.map_or("none", Decision::as_str).to_owned();
        let actual = settled.would.as_ref().map(|would| would.decision);
        found.compare("would", as_text(would.value), as_text(actual));
    }
    if let Some(wait) = &expect.retry_after_ms {
        let actual = settled.retry_after_ms.map_or_else(|| "none".to_owned(), |ms| ms.to_string());
        found.compare("retry_after_ms", wait.value.to_string(), actual);
    }
    if let Some(reviewers) = &expect.reviewers {
        let expected = reviewers.value.iter().map(|name| name.value.as_str());
        let terms = settled.approval.as_ref();
        let actual = terms.map_or_else(
            || "no approval".to_owned(),
            |terms| {
                let named = terms.stages.iter().flat_map(|stage| &stage.reviewers);
                listed(named.map(String::as_str))
            },
        );
        found.compare("reviewers", listed(expected), actual);
    }
}

/// Words separated by commas, or `none`.
fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
