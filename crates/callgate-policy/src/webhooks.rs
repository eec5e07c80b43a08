//! The operator's file of webhooks: read as strictly as a bundle, and part of none.
//!
//! Nothing of it decides anything. Files and variables that it names are for the binary to read.

use std::collections::BTreeSet;

use callgate_core::event::Kind;
use callgate_core::name::Name;
use callgate_core::pattern::Pattern;

use crate::codes::Code;
use crate::decode::{Shape as _, Sink, Spanned};
use crate::diagnostic::{Problems, Report};
use crate::language::webhooks::{WebhookText, WebhooksFile, kinds};
use crate::syntax::{self, SourceFile, Span};

pub use crate::language::webhooks::WebhookFormat;

/// The most receivers.
const MAX_WEBHOOKS: usize = 32;
const DEFAULT_TIMEOUT_MS: u64 = 5000;
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 100..=60_000;
const DEFAULT_GIVE_UP_MS: u64 = 24 * 60 * 60 * 1000;
const GIVE_UP_MS: std::ops::RangeInclusive<u64> = 1000..=30 * 24 * 60 * 60 * 1000;

/// Where a text that may be a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It stands in the file itself.
    Here(String),
    /// It lies in a file, beside this one unless the path is absolute.
    File(String),
    /// It is in an environment variable.
    Variable(String),
}

/// One receiver of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// What the log calls it.
    pub id: Name,
    /// Its address.
    pub url: Source,
    /// What events are signed with; a receiver in the format `callgate` has one.
    pub secret: Option<Source>,
    /// The kinds of event it is told; each matches one at least.
    pub events: Vec<Pattern>,
    /// What it is told in.
    pub format: WebhookFormat,
    /// How long it may take to answer, in milliseconds.
    pub timeout_ms: u64,
    /// How old an event may get that it does not take, in milliseconds.
    pub give_up_ms: u64,
}

/// Reads a file of webhooks; `path` is what problems call it.
///
/// # Errors
/// Every problem at once, with its place.
pub fn webhooks(path: &str, text: &str) -> Result<Vec<Webhook>, Report> {
    let mut problems = Problems::default();
    if text.len() > syntax::MAX_FILE {
        problems.whole(Code::TooLarge, path, format!("the file has more than {} bytes", syntax::MAX_FILE));
        return Err(problems.into_report());
    }
    let file = SourceFile::new(path, text);
    let read = syntax::parse(&file, &mut problems).and_then(|root| {
        let mut sink = Sink { file: &file, problems: &mut problems };
        lower(WebhooksFile::decode(&root, &mut sink)?, &mut sink)
    });
    match read {
        Some(webhooks) if problems.errors() == 0 => Ok(webhooks),
        _ => Err(problems.into_report()),
    }
}

fn lower(file: WebhooksFile, sink: &mut Sink<'_>) -> Option<Vec<Webhook>> {
    let list = file.webhooks?;
    if list.value.len() > MAX_WEBHOOKS {
        let message = format!("a file has at most {MAX_WEBHOOKS} webhooks");
        sink.add(Code::OutOfRange, list.span, message).help("let one of them pass events on");
        return None;
    }
    let mut ids = BTreeSet::new();
    let mut webhooks = Vec::with_capacity(list.value.len());
    for Spanned { value, span } in list.value {
        let Some(id) = value.id.clone() else { continue };
        if !ids.insert(id.value.clone()) {
            sink.add(Code::RepeatedId, id.span, format!("the webhook `{}` stands twice", id.value))
                .help("give each an id of its own: the log keeps by it what was delivered");
        }
        webhooks.extend(webhook(value, id.value, span, sink));
    }
    Some(webhooks)
}

fn webhook(text: WebhookText, id: Name, span: Span, sink: &mut Sink<'_>) -> Option<Webhook> {
    let format = text.format.map(|format| format.value).unwrap_or_default();
    let url = source(&[("url", text.url), ("url_file", text.url_file), ("url_env", text.url_env)], sink);
    let secret = source(&[("secret_file", text.secret_file), ("secret_env", text.secret_env)], sink);
    if url.is_none() {
        sink.add(Code::MissingKey, span, "a webhook needs an address")
            .help("add `url:`, or `url_file:` or `url_env:` for one that is a secret");
    }
    if secret.is_none() && format == WebhookFormat::Callgate {
        sink.add(Code::MissingKey, span, "a webhook needs a secret, so that its receiver can tell who asks")
            .help("add `secret_file:` or `secret_env:`; only `format: slack` can do without");
    }
    let timeout_ms = within(text.timeout.as_ref(), DEFAULT_TIMEOUT_MS, TIMEOUT_MS, "`100ms` to `1m`", sink);
    let give_up_ms = within(text.give_up.as_ref(), DEFAULT_GIVE_UP_MS, GIVE_UP_MS, "`1s` to `30d`", sink);
    let events = text.events?.value;
    for pattern in &events {
        if !Kind::ALL.iter().any(|kind| pattern.value.matches(kind.as_str())) {
            let message = format!("there is no event `{}`", pattern.value.as_str());
            sink.add(Code::UnknownWord, pattern.span, message).help(format!("the events are {}", kinds()));
        }
    }
    let events = events.into_iter().map(|pattern| pattern.value).collect();
    Some(Webhook { id, url: url?, secret, events, format, timeout_ms, give_up_ms })
}

/// The one of several keys that is there.
fn source(keys: &[(&str, Option<Spanned<String>>)], sink: &mut Sink<'_>) -> Option<Source> {
    let mut there = keys.iter().filter_map(|(key, text)| Some((*key, text.as_ref()?)));
    let (key, text) = there.next()?;
    if let Some((other, second)) = there.next() {
        sink.add(Code::RepeatedKey, second.span, format!("`{other}` says again what `{key}` says"))
            .help("keep one of the two");
    }
    let value = text.value.clone();
    Some(match key {
        key if key.ends_with("_file") => Source::File(value),
        key if key.ends_with("_env") => Source::Variable(value),
        _ => Source::Here(value),
    })
}

fn within(
    written: Option<&Spanned<u64>>,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
    words: &str,
    sink: &mut Sink<'_>,
) -> u64 {
    let Some(&Spanned { value, span }) = written else { return default };
    if !range.contains(&value) {
        sink.add(Code::OutOfRange, span, format!("this duration is from {words}"));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "version: v1
webhooks:
  - id: ops
    url: https://ops.example/hooks
    secret_file: ops.secret
    events: [approval.*, key.created]
  - id: chat
    url_env: SLACK_URL
    events: '**'
    format: slack
    timeout: 2s
    give_up: 1h
";

    #[test]
    fn a_file_is_read() {
        let [ops, chat] = webhooks("w.yaml", GOOD).unwrap().try_into().unwrap();
        assert_eq!((ops.id.as_str(), ops.url), ("ops", Source::Here("https://ops.example/hooks".to_owned())));
        assert_eq!(ops.secret, Some(Source::File("ops.secret".to_owned())));
        assert_eq!((ops.format, ops.timeout_ms, ops.give_up_ms), (WebhookFormat::Callgate, 5000, 86_400_000));
        assert_eq!((chat.url, chat.secret), (Source::Variable("SLACK_URL".to_owned()), None));
        assert_eq!((chat.format, chat.timeout_ms, chat.give_up_ms), (WebhookFormat::Slack, 2000, 3_600_000));
    }

    #[test]
    fn problems_have_a_code_and_a_place() {
        let cases = [
            ("version: v1", "version: v2", "CG0210", 1),
            ("    events: '**'", "    evnts: '**'", "CG0201", 9),
            ("  - id: chat", "  - id: ops", "CG0301", 7),
            ("[approval.*, key.created]", "[aproval.*]", "CG0208", 6),
            ("format: slack", "format: slak", "CG0208", 10),
            ("timeout: 2s", "timeout: 2m", "CG0209", 11),
            ("give_up: 1h", "give_up: 1ms", "CG0209", 12),
            ("    secret_file: ops.secret\n", "", "CG0203", 3),
            ("    url_env: SLACK_URL\n", "", "CG0203", 7),
            ("    url_env: SLACK_URL\n", "    url_env: U\n    url: https://x\n", "CG0104", 8),
            ("    events: '**'\n", "", "CG0203", 7),
            ("url: https://ops.example/hooks", "url: [x]", "CG0202", 4),
        ];
        for (from, to, code, line) in cases {
            assert!(GOOD.contains(from), "{from}");
            let report = webhooks("w.yaml", &GOOD.replacen(from, to, 1)).unwrap_err();
            let found: Vec<_> =
                report.diagnostics().iter().map(|d| (d.code, d.place.map(|p| p.line))).collect();
            assert!(found.contains(&(code, Some(line))), "{from} → {to}: {report}");
        }
        let many = (0..33).map(|n| format!("  - {{id: h{n}, url: u, events: [key.*], format: slack}}\n"));
        let many = format!("version: v1\nwebhooks:\n{}", many.collect::<String>());
        assert_eq!(webhooks("w.yaml", &many).unwrap_err().diagnostics()[0].code, "CG0209");
        for text in ["", "- x", "version: v1", "version: v1\nwebhooks: []\n"] {
            assert!(webhooks("w.yaml", text).is_err(), "{text}");
        }
    }
}
