//! E-mail addresses of the plainest form: `name@example.com`, ASCII, one recipient.

use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::types::Kind;
use super::super::value::CelValue;
use super::url::{host_matches, is_host_name};
use super::{BOOL, Definition, ListOf, STR, Style, define, sig, unsuited};

/// RFC 5321 section 4.5.3.1.
const LONGEST: usize = 254;
const LONGEST_LOCAL: usize = 64;
const REASON: &str = "write one plain address, as `ana@example.com`, without names, quotes or comments";

pub(super) const TABLE: &[Definition] = &[
    define("email.domain", Style::Function, &[sig(&[STR], STR)], |args, fuel| {
        let [CelValue::Str(text)] = args else { return Err(unsuited("email.domain", args)) };
        Ok(CelValue::string(parts("email.domain", text, fuel)?.1))
    }),
    define("email.local", Style::Function, &[sig(&[STR], STR)], |args, fuel| {
        let [CelValue::Str(text)] = args else { return Err(unsuited("email.local", args)) };
        Ok(CelValue::string(parts("email.local", text, fuel)?.0))
    }),
    define("email.is_plain", Style::Function, &[sig(&[STR], BOOL)], |args, fuel| {
        let [CelValue::Str(text)] = args else { return Err(unsuited("email.is_plain", args)) };
        fuel.burn_bytes(text.len().min(LONGEST))?;
        Ok(CelValue::Bool(read(text).is_some()))
    }),
    define("email.domain_in", Style::Function, &[sig(&[STR, ListOf(Kind::Str)], BOOL)], |args, fuel| {
        let [CelValue::Str(text), CelValue::List(patterns)] = args else {
            return Err(unsuited("email.domain_in", args));
        };
        let (_, domain) = parts("email.domain_in", text, fuel)?;
        host_matches("email.domain_in", &domain, patterns, fuel).map(CelValue::Bool)
    }),
];

fn parts<'t>(name: &'static str, text: &'t str, fuel: &mut Fuel) -> Result<(&'t str, String), EvalError> {
    fuel.burn_bytes(text.len().min(LONGEST))?;
    read(text).ok_or_else(|| EvalError::argument(name, text, REASON))
}

/// The part before the `@` as written, and the domain in lower case.
fn read(text: &str) -> Option<(&str, String)> {
    if text.len() > LONGEST || !text.is_ascii() {
        return None;
    }
    let (local, domain) = text.split_once('@')?;
    // `%` and `!` once routed mail onwards, and some servers still obey.
    let atom = |c: char| c.is_ascii_alphanumeric() || "#$&'*+-/=?^_`{|}~".contains(c);
    let dotted = local.split('.').all(|part| !part.is_empty() && part.chars().all(atom));
    let domain = domain.to_ascii_lowercase();
    let named = domain.contains('.') && is_host_name(&domain) && !ends_in_number(&domain);
    (dotted && local.len() <= LONGEST_LOCAL && named).then_some((local, domain))
}

fn ends_in_number(domain: &str) -> bool {
    domain.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
}
