//! What a reviewer sees of arguments: everything but what looks like a secret.
//!
//! A value is masked by the name of its key, by what the tool's schema says of it, and by its shape. A
//! masked value shows how long it was and none of its characters. This is for people's eyes only: it
//! never changes what is decided, bound or sealed.

use callgate_core::value::{Map, Value};

/// Words in a key's name that make its value a secret; compared without case and separators.
const SECRET_WORDS: [&str; 17] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "authorization",
    "credential",
    "cookie",
    "bearer",
    "cvv",
    "cvc",
    "pwd",
];
/// Names that are secrets only as a whole.
const SECRET_NAMES: [&str; 6] = ["auth", "pin", "otp", "ssn", "jwt", "dsn"];
/// Words in a key's name that make a long random text no secret.
const DIGEST_WORDS: [&str; 8] =
    ["sha", "digest", "hash", "checksum", "commit", "etag", "uuid", "fingerprint"];
/// What keys and tokens of well-known services begin with.
const PREFIXES: [&str; 25] = [
    "sk-",
    "sk_",
    "pk_live_",
    "rk_live_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xoxs-",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "npm_",
    "pypi-",
    "hf_",
    "whsec_",
    "cg_",
];
/// A word this short is no key.
const SHORTEST: usize = 16;
/// A random text this short is not told from a name.
const SHORTEST_RANDOM: usize = 20;
/// How deep a schema is followed.
const DEPTH: usize = 32;

/// The same arguments with their secrets masked, and how many there were.
pub(super) fn mask(args: &Map, schema: Option<&Value>) -> (Value, u64) {
    let mut count = 0;
    let masked = map(args, schema, DEPTH, &mut count);
    (masked, count)
}

fn map(from: &Map, schema: Option<&Value>, depth: usize, count: &mut u64) -> Value {
    let mut out = Map::default();
    let properties = schema.and_then(|schema| member(schema, "properties"));
    for (key, value) in from.iter() {
        let schema = properties.and_then(|properties| member(properties, key));
        let secret = is_secret_name(key) || schema.is_some_and(is_secret_by_schema);
        let shown = if secret { hide(value, count) } else { show(key, value, schema, depth, count) };
        // A key can be a secret, too, as in a map from token to name.
        out.insert(text(key, false, count), shown);
    }
    Value::Map(out)
}

fn show(key: &str, value: &Value, schema: Option<&Value>, depth: usize, count: &mut u64) -> Value {
    let Some(depth) = depth.checked_sub(1) else { return hide(value, count) };
    match value {
        Value::Str(it) => Value::Str(text(it, is_digest_name(key), count)),
        Value::List(items) => {
            let schema = schema.and_then(|schema| member(schema, "items"));
            Value::List(items.iter().map(|item| show(key, item, schema, depth, count)).collect())
        }
        Value::Map(inner) => map(inner, schema, depth, count),
        other => other.clone(),
    }
}

/// Everything in it, but not that it is nothing.
fn hide(value: &Value, count: &mut u64) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value.clone(),
        Value::Str(it) if it.is_empty() => value.clone(),
        Value::Str(it) => {
            *count = count.saturating_add(1);
            Value::Str(hidden(it.chars().count()))
        }
        Value::List(items) => Value::List(items.iter().map(|item| hide(item, count)).collect()),
        Value::Map(inner) => {
            let mut out = Map::default();
            for (key, value) in inner.iter() {
                out.insert(key.to_owned(), hide(value, count));
            }
            Value::Map(out)
        }
        Value::Int(_) | Value::Decimal(_) => {
            *count = count.saturating_add(1);
            Value::Str(hidden(value.canonical().len()))
        }
    }
}

fn hidden(characters: usize) -> String {
    format!("[masked: {characters} characters]")
}

fn member<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    value.as_map()?.get(key)
}

fn is_secret_by_schema(schema: &Value) -> bool {
    member(schema, "writeOnly") == Some(&Value::Bool(true))
        || member(schema, "format").and_then(Value::as_str) == Some("password")
}

fn bare(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_secret_name(name: &str) -> bool {
    let bare = bare(name);
    // `max_tokens` counts; it opens nothing.
    let counts = bare.ends_with("tokens");
    SECRET_NAMES.contains(&bare.as_str())
        || SECRET_WORDS.iter().any(|word| bare.contains(word) && !(counts && *word == "token"))
}

fn is_digest_name(name: &str) -> bool {
    let bare = bare(name);
    DIGEST_WORDS.iter().any(|word| bare.contains(word))
}

/// A text with the words in it masked that look like secrets.
fn text(whole: &str, digest: bool, count: &mut u64) -> String {
    if whole.contains("-----BEGIN") && whole.contains("PRIVATE KEY") {
        *count = count.saturating_add(1);
        return hidden(whole.chars().count());
    }
    let mut out = String::with_capacity(whole.len());
    let mut after = "";
    let mut rest = whole;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !is_separator(c)).unwrap_or(rest.len());
        let (separators, tail) = rest.split_at(end);
        out.push_str(separators);
        let end = tail.find(is_separator).unwrap_or(tail.len());
        let (word, tail) = tail.split_at(end);
        if word.is_empty() {
            break;
        }
        // What stands before tells: `Bearer …`, `password=…`, `user:…@host`.
        let named = is_announced(after, separators) || is_in_address(&out, tail);
        if named || is_secret_shape(word, digest) {
            *count = count.saturating_add(1);
            out.push_str(&hidden(word.chars().count()));
        } else {
            out.push_str(word);
        }
        (after, rest) = (word, tail);
    }
    out
}

const fn is_separator(c: char) -> bool {
    c.is_ascii_whitespace()
        || matches!(
            c,
            '"' | '\''
                | '`'
                | ','
                | ';'
                | '='
                | ':'
                | '&'
                | '?'
                | '('
                | ')'
                | '{'
                | '}'
                | '['
                | ']'
                | '<'
                | '>'
                | '@'
                | '|'
        )
}

/// Whether the word before says that this one is a secret.
fn is_announced(before: &str, separators: &str) -> bool {
    let scheme = before.eq_ignore_ascii_case("bearer") || before.eq_ignore_ascii_case("basic");
    let joins = separators.contains(['=', ':']);
    (scheme && !separators.is_empty()) || (joins && is_secret_name(before) && separators.len() <= 3)
}

/// The password of `scheme://user:password@host`.
fn is_in_address(before: &str, after: &str) -> bool {
    if !after.starts_with('@') || !before.ends_with(':') {
        return false;
    }
    before.rsplit(|c: char| c.is_ascii_whitespace()).next().is_some_and(|word| word.contains("://"))
}

fn is_secret_shape(word: &str, digest: bool) -> bool {
    if word.len() < SHORTEST {
        return false;
    }
    PREFIXES.iter().any(|prefix| word.starts_with(prefix))
        || is_jwt(word)
        || (!digest && word.len() >= SHORTEST_RANDOM && is_random(word))
}

/// Three parts in base64url, the first of which begins as `{"` does.
fn is_jwt(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let base64 = |part: &&str| part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    word.starts_with("eyJ") && (2..=5).contains(&parts.len()) && parts.iter().all(base64)
}

/// Whether a word changes between letters, capitals and digits as often as chance does. Names, paths and
/// sentences do not, nor UUIDs, which name things.
fn is_random(word: &str) -> bool {
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'.' | b'~');
    if !word.bytes().all(base64) || is_uuid(word) {
        return false;
    }
    let kind = |b: u8| match b {
        b'0'..=b'9' => Some(0u8),
        b'a'..=b'z' => Some(1),
        b'A'..=b'Z' => Some(2),
        _ => None,
    };
    // Between separators, so that a path of dates and versions is not one word.
    let longest = word.split(['/', '.', '-', '_']).max_by_key(|part| part.len()).unwrap_or_default();
    let kinds: Vec<u8> = longest.bytes().filter_map(kind).collect();
    let changes = kinds.windows(2).filter(|pair| pair.first() != pair.last()).count();
    let distinct = longest.bytes().collect::<std::collections::BTreeSet<u8>>().len();
    longest.len() >= SHORTEST && distinct >= 9 && changes.saturating_mul(4) >= longest.len()
}

fn is_uuid(word: &str) -> bool {
    let lengths: Vec<usize> = word.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && word.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use callgate_core::json::{Limits, parse};

    use super::*;

    fn masked(text: &str, schema: Option<&str>) -> String {
        let value = |text: &str| parse(text.as_bytes(), &Limits::REQUEST).unwrap();
        let Value::Map(args) = value(text) else { panic!("an object") };
        mask(&args, schema.map(value).as_ref()).0.canonical()
    }

    #[test]
    fn what_looks_like_a_secret_is_not_shown() {
        let secrets = [
            r#"{"password":"hunter2"}"#,
            r#"{"api_key":"x"}"#,
            r#"{"API-KEY":{"inner":["hunter2"]}}"#,
            r#"{"pin":1234}"#,
            r#"{"note":"use sk-proj-abcdefghijklmnop please"}"#,
            r#"{"note":"AKIAIOSFODNN7EXAMPLE"}"#,
            r#"{"header":"Authorization: Bearer abc"}"#,
            r#"{"url":"postgres://ana:hunter2@db/prod"}"#,
            r#"{"cmd":"login --user ana password=hunter2"}"#,
            r#"{"t":"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"}"#,
            r#"{"x":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}"#,
            r#"{"x":"4f6c0c0de1a94a1f9b0e8f7d6c5b4a39"}"#,
            r#"{"x":"-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----"}"#,
            r#"{"map":{"ghp_abcdefghijklmnopqrst":"ana"}}"#,
        ];
        let seen = ["hunter2", "1234", "sk-proj", "AKIA", "abc", "eyJ", "wJalr", "4f6c", "MII", "ghp_"];
        for text in secrets {
            let shown = masked(text, None);
            assert!(shown.contains("masked") || text.contains("\"x\"}"), "{text}: {shown}");
            for secret in seen {
                assert!(!shown.contains(secret), "{text}: {shown}");
            }
        }
        assert!(!masked(r#"{"api_key":"x"}"#, None).contains("\"x\""));
    }

    #[test]
    fn what_is_none_is_shown_exactly() {
        for text in [
            r#"{"amount":"12.50","currency":"EUR","max_tokens":1200}"#,
            r#"{"path":"/home/ana/projects/2024-05-12/report-final-v2.pdf"}"#,
            r#"{"sql":"update tickets set state = 'closed' where id = 4711"}"#,
            r#"{"charge":"550e8400-e29b-41d4-a716-446655440000"}"#,
            r#"{"sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c0ff6b5e1b4"}"#,
            r#"{"name":"InternationalBusinessMachinesCorporation","empty":"","none":null}"#,
            r#"{"text":"ein langer Satz, in dem kein Geheimnis steht: nur Wörter und 12 Zahlen"}"#,
        ] {
            assert_eq!(masked(text, None), parse(text.as_bytes(), &Limits::REQUEST).unwrap().canonical());
        }
    }

    #[test]
    fn the_tools_schema_says_what_is_secret() {
        let schema = r#"{"properties":{"a":{"type":"string","writeOnly":true},"b":{"properties":{"c":{"format":"password"}}},"d":{"items":{"properties":{"e":{"writeOnly":true}}}}}}"#;
        let text = r#"{"a":"one","b":{"c":"two"},"d":[{"e":"three"}],"f":"four"}"#;
        let shown = masked(text, Some(schema));
        for secret in ["one", "two", "three"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("four"), "{shown}");
    }
}
