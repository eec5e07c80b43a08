//! URLs of one unmistakable form: `scheme://host[:port][/path][?query][#fragment]` in ASCII. What two
//! programs might read differently is an error.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::types::Kind;
use super::super::value::{CelValue, List};
use super::{BOOL, Definition, INT, ListOf, STR, Signature, Style, define, sig, unsuited};

const LONGEST: usize = 8192;
/// RFC 1035 section 2.3.4.
const LONGEST_HOST: usize = 253;
const LONGEST_LABEL: usize = 63;

const PART: &[Signature] = &[sig(&[STR], STR)];

pub(super) const TABLE: &[Definition] = &[
    define("url.scheme", Style::Function, PART, |args, fuel| {
        part("url.scheme", args, fuel, |url| Ok(url.scheme.clone()))
    }),
    define("url.host", Style::Function, PART, |args, fuel| {
        part("url.host", args, fuel, |url| Ok(url.host.clone()))
    }),
    define("url.path", Style::Function, PART, |args, fuel| {
        part("url.path", args, fuel, |url| plain_path(url.path).map(str::to_owned))
    }),
    define("url.query", Style::Function, PART, |args, fuel| {
        part("url.query", args, fuel, |url| Ok(url.query.to_owned()))
    }),
    define("url.port", Style::Function, &[sig(&[STR], INT)], |args, fuel| {
        let [CelValue::Str(text)] = args else { return Err(unsuited("url.port", args)) };
        let url = parsed("url.port", text, fuel)?;
        let reason = "it names no port, and its scheme has no usual one";
        url.port.map(CelValue::Int).ok_or_else(|| EvalError::argument("url.port", text, reason))
    }),
    define("url.is_plain", Style::Function, &[sig(&[STR], BOOL)], |args, fuel| {
        let [CelValue::Str(text)] = args else { return Err(unsuited("url.is_plain", args)) };
        burn(text, fuel)?;
        Ok(CelValue::Bool(read(text).is_ok_and(|url| plain_path(url.path).is_ok())))
    }),
    define("url.host_in", Style::Function, &[sig(&[STR, ListOf(Kind::Str)], BOOL)], |args, fuel| {
        let [CelValue::Str(text), CelValue::List(patterns)] = args else {
            return Err(unsuited("url.host_in", args));
        };
        let url = parsed("url.host_in", text, fuel)?;
        host_matches("url.host_in", &url.host, patterns, fuel).map(CelValue::Bool)
    }),
];

/// A URL in parts.
struct Url<'t> {
    /// In lower case.
    scheme: String,
    /// In lower case; an IPv6 address without brackets, in its canonical form.
    host: String,
    port: Option<i64>,
    path: &'t str,
    /// Without the question mark.
    query: &'t str,
}

fn burn(text: &str, fuel: &mut Fuel) -> Result<(), EvalError> {
    fuel.burn_bytes(text.len().min(LONGEST).saturating_mul(4))
}

fn parsed<'t>(name: &'static str, text: &'t str, fuel: &mut Fuel) -> Result<Url<'t>, EvalError> {
    burn(text, fuel)?;
    read(text).map_err(|reason| EvalError::argument(name, text, reason))
}

fn part<'a>(
    name: &'static str,
    args: &[CelValue<'a>],
    fuel: &mut Fuel,
    pick: fn(&Url<'_>) -> Result<String, &'static str>,
) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::Str(text)] = args else { return Err(unsuited(name, args)) };
    let url = parsed(name, text, fuel)?;
    pick(&url).map(CelValue::string).map_err(|reason| EvalError::argument(name, text, reason))
}

fn read(text: &str) -> Result<Url<'_>, &'static str> {
    if text.len() > LONGEST {
        return Err("it is longer than 8,192 bytes");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("it has a space, a control character or one outside ASCII");
    }
    if text.contains(['\\', '<', '>', '"', '{', '}', '|', '^', '`']) {
        return Err("it has a sign that URLs do not have, such as a backslash");
    }
    if !escapes_are_whole(text) {
        return Err("a percent sign stands before two hexadecimal digits");
    }
    let (scheme, rest) = text.split_once("://").ok_or("it needs a scheme, as `https://`")?;
    let letters = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(letters) {
        return Err("it needs a scheme, as `https://`");
    }
    let scheme = scheme.to_ascii_lowercase();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = (rest.get(..end).unwrap_or(""), rest.get(end..).unwrap_or(""));
    let (host, port) = authority_parts(authority)?;
    let port = match port {
        Some(port) => Some(port),
        None => usual_port(&scheme),
    };
    let before = rest.split('#').next().unwrap_or("");
    let (path, query) = before.split_once('?').unwrap_or((before, ""));
    Ok(Url { scheme, host, port, path: if path.is_empty() { "/" } else { path }, query })
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        let mut two = after.bytes();
        let mut hex = || two.next().is_some_and(|b| b.is_ascii_hexdigit());
        hex() && hex()
    })
}

/// The host and the written port.
fn authority_parts(authority: &str) -> Result<(String, Option<i64>), &'static str> {
    if authority.contains('@') {
        return Err("a name or password before the host may hide the host");
    }
    if authority.contains('%') {
        return Err("the host is written without percent signs");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (address, after) = inner.split_once(']').ok_or("a bracket is open")?;
            let port = if after.is_empty() {
                None
            } else {
                Some(after.strip_prefix(':').ok_or("a sign follows the bracket")?)
            };
            (v6(address)?, port)
        }
        None => {
            let (name, port) = match authority.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (authority, None),
            };
            (name_or_v4(&name.to_ascii_lowercase())?, port)
        }
    };
    Ok((host, port.map(port_number).transpose()?))
}

fn v6(address: &str) -> Result<String, &'static str> {
    let read: Ipv6Addr = address.parse().map_err(|_| "the brackets hold no IPv6 address")?;
    if address.contains('.') || read.to_ipv4_mapped().is_some() {
        return Err("write the IPv4 address itself");
    }
    Ok(read.to_string())
}

fn name_or_v4(host: &str) -> Result<String, &'static str> {
    let last = host.rsplit('.').next().unwrap_or("");
    let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    let numeric = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    if numeric || hexadecimal {
        let address = host.parse::<Ipv4Addr>();
        return address
            .map(|address| address.to_string())
            .map_err(|_| "a host in numbers is written as `192.0.2.1`");
    }
    if is_host_name(host) {
        Ok(host.to_owned())
    } else {
        Err("the host is no name of letters, digits and hyphens")
    }
}

fn port_number(text: &str) -> Result<i64, &'static str> {
    let plain =
        (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    let number = text.parse::<u16>().ok().filter(|_| plain);
    number.map(i64::from).ok_or("the port is no number from 1 to 65535")
}

fn usual_port(scheme: &str) -> Option<i64> {
    Some(match scheme {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        "ftp" => 21,
        "ssh" | "sftp" => 22,
        _ => return None,
    })
}

/// The path, if no server reads it as another.
fn plain_path(path: &str) -> Result<&str, &'static str> {
    let lower = path.to_ascii_lowercase();
    if ["%2e", "%2f", "%5c", "%25", "%00"].iter().any(|escape| lower.contains(escape)) {
        return Err("the path hides dots, slashes or percent signs in escapes");
    }
    // Some servers cut `;…` off each part before they resolve dots.
    let dots = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
    if path.split('/').any(dots) || path.contains("//") {
        return Err("the path has `.`, `..` or empty parts");
    }
    Ok(path)
}

/// Whether `name`, in lower case, is made of labels as host names have them. Underscores are let in,
/// since services use them.
pub(super) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    name.len() <= LONGEST_HOST && name.split('.').all(label)
}

/// Whether `host` is one of `patterns`: a name or address, or `*.` and a name for all names below it.
pub(super) fn host_matches(
    function: &'static str,
    host: &str,
    patterns: &List<'_>,
    fuel: &mut Fuel,
) -> Result<bool, EvalError> {
    let mut found = false;
    for pattern in patterns.iter() {
        let CelValue::Str(pattern) = &pattern else {
            return Err(EvalError::WrongOperand { operation: function, found: pattern.kind() });
        };
        fuel.burn_bytes(pattern.len().min(LONGEST))?;
        check_pattern(function, pattern)?;
        found = found || fits(host, pattern);
    }
    Ok(found)
}

fn fits(host: &str, pattern: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => {
            let below = host.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.'));
            below.is_some_and(|below| !below.is_empty()) && is_host_name(host)
        }
        None => host == pattern,
    }
}

/// Refuses patterns that no host fits, such as those with capitals.
pub(super) fn check_pattern(function: &'static str, pattern: &str) -> Result<(), EvalError> {
    let name = pattern.strip_prefix("*.").unwrap_or(pattern);
    let address = v6(name).is_ok_and(|canonical| canonical == pattern);
    if address || name_or_v4(name).is_ok_and(|name_read| name_read == name) {
        return Ok(());
    }
    let reason = "write hosts in lower case, as `api.example.com`, or `*.example.com` for all below it";
    Err(EvalError::argument(function, pattern, reason))
}
