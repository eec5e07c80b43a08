//! Addresses and ranges of addresses, as the specification's network extension has them.

use std::net::IpAddr;

use super::super::cidr::{Cidr, parse_ip, plain};
use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::value::CelValue;
use super::{BOOL, CIDR, Definition, INT, IP, STR, Signature, Style, define, sig, unsuited};

const TEST: &[Signature] = &[sig(&[IP], BOOL)];
const ADDRESS: &str = "write one address, as `192.0.2.1` or `2001:db8::1`";
const RANGE: &str = "write an address and a prefix length, as `10.0.0.0/8`";
/// No address or range is longer; a longer text is not read.
const LONGEST: usize = 64;

pub(super) const TABLE: &[Definition] = &[
    define("ip", Style::Function, &[sig(&[STR], IP), sig(&[IP], IP)], |args, fuel| {
        address("ip", args.first(), fuel).map(CelValue::Ip)
    }),
    define("ip", Style::Method, &[sig(&[CIDR], IP)], |args, _| match args {
        [CelValue::Cidr(range)] => Ok(CelValue::Ip(range.address())),
        _ => Err(unsuited("ip", args)),
    }),
    define("cidr", Style::Function, &[sig(&[STR], CIDR), sig(&[CIDR], CIDR)], |args, fuel| {
        range("cidr", args.first(), fuel).map(CelValue::Cidr)
    }),
    define("isIP", Style::Function, &[sig(&[STR], BOOL)], |args, fuel| match args {
        [CelValue::Str(text)] => {
            fuel.burn_bytes(LONGEST)?;
            Ok(CelValue::Bool(text.len() <= LONGEST && parse_ip(text).is_some()))
        }
        _ => Err(unsuited("isIP", args)),
    }),
    define("isCIDR", Style::Function, &[sig(&[STR], BOOL)], |args, fuel| match args {
        [CelValue::Str(text)] => {
            fuel.burn_bytes(LONGEST)?;
            Ok(CelValue::Bool(text.len() <= LONGEST && Cidr::parse(text).is_some()))
        }
        _ => Err(unsuited("isCIDR", args)),
    }),
    define("ip.isCanonical", Style::Function, &[sig(&[STR], BOOL)], |args, fuel| match args {
        [value @ CelValue::Str(text)] => {
            let read = address("ip.isCanonical", Some(value), fuel)?;
            Ok(CelValue::Bool(read.to_string() == **text))
        }
        _ => Err(unsuited("ip.isCanonical", args)),
    }),
    define("family", Style::Method, &[sig(&[IP], INT)], |args, _| match args {
        [CelValue::Ip(address)] => Ok(CelValue::Int(if address.is_ipv4() { 4 } else { 6 })),
        _ => Err(unsuited("family", args)),
    }),
    define("isUnspecified", Style::Method, TEST, |args, _| {
        test("isUnspecified", args, |ip| ip.is_unspecified())
    }),
    define("isLoopback", Style::Method, TEST, |args, _| test("isLoopback", args, |ip| ip.is_loopback())),
    define("isGlobalUnicast", Style::Method, TEST, |args, _| test("isGlobalUnicast", args, global_unicast)),
    define("isLinkLocalMulticast", Style::Method, TEST, |args, _| {
        test("isLinkLocalMulticast", args, link_local_multicast)
    }),
    define("isLinkLocalUnicast", Style::Method, TEST, |args, _| {
        test("isLinkLocalUnicast", args, link_local_unicast)
    }),
    define("isPrivate", Style::Method, TEST, |args, _| test("isPrivate", args, private)),
    define("containsIP", Style::Method, &[sig(&[CIDR, IP], BOOL), sig(&[CIDR, STR], BOOL)], |args, fuel| {
        match args {
            [CelValue::Cidr(range), inner] => {
                Ok(CelValue::Bool(range.contains(address("containsIP", Some(inner), fuel)?)))
            }
            _ => Err(unsuited("containsIP", args)),
        }
    }),
    define(
        "containsCIDR",
        Style::Method,
        &[sig(&[CIDR, CIDR], BOOL), sig(&[CIDR, STR], BOOL)],
        |args, fuel| match args {
            [CelValue::Cidr(outer), inner] => {
                Ok(CelValue::Bool(outer.covers(range("containsCIDR", Some(inner), fuel)?)))
            }
            _ => Err(unsuited("containsCIDR", args)),
        },
    ),
    define("masked", Style::Method, &[sig(&[CIDR], CIDR)], |args, _| match args {
        [CelValue::Cidr(range)] => Ok(CelValue::Cidr(range.masked())),
        _ => Err(unsuited("masked", args)),
    }),
    define("prefixLength", Style::Method, &[sig(&[CIDR], INT)], |args, _| match args {
        [CelValue::Cidr(range)] => Ok(CelValue::Int(i64::from(range.prefix()))),
        _ => Err(unsuited("prefixLength", args)),
    }),
];

/// The address a value is or spells.
fn address(name: &'static str, value: Option<&CelValue<'_>>, fuel: &mut Fuel) -> Result<IpAddr, EvalError> {
    match value {
        Some(CelValue::Ip(address)) => Ok(*address),
        Some(CelValue::Str(text)) => {
            fuel.burn_bytes(LONGEST)?;
            let read = (text.len() <= LONGEST).then(|| parse_ip(text)).flatten();
            read.ok_or_else(|| EvalError::argument(name, text, ADDRESS))
        }
        Some(other) => Err(EvalError::WrongOperand { operation: name, found: other.kind() }),
        None => Err(unsuited(name, &[])),
    }
}

/// The range a value is or spells.
fn range(name: &'static str, value: Option<&CelValue<'_>>, fuel: &mut Fuel) -> Result<Cidr, EvalError> {
    match value {
        Some(CelValue::Cidr(range)) => Ok(*range),
        Some(CelValue::Str(text)) => {
            fuel.burn_bytes(LONGEST)?;
            let read = (text.len() <= LONGEST).then(|| Cidr::parse(text)).flatten();
            read.ok_or_else(|| EvalError::argument(name, text, RANGE))
        }
        Some(other) => Err(EvalError::WrongOperand { operation: name, found: other.kind() }),
        None => Err(unsuited(name, &[])),
    }
}

/// Tests an address; an IPv4-mapped IPv6 address is tested as the IPv4 address that it reaches.
fn test<'a>(
    name: &'static str,
    args: &[CelValue<'a>],
    holds: fn(IpAddr) -> bool,
) -> Result<CelValue<'a>, EvalError> {
    match args {
        [CelValue::Ip(address)] => Ok(CelValue::Bool(holds(plain(*address)))),
        _ => Err(unsuited(name, args)),
    }
}

/// RFC 1122, RFC 4291: any address but broadcast, unspecified, loopback, multicast and link-local.
fn global_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(broadcast
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || link_local_unicast(address))
}

fn link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [224, 0, 0, _]),
        IpAddr::V6(v6) => v6.segments().first().is_some_and(|first| first & 0xff0f == 0xff02),
    }
}

fn link_local_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// RFC 1918 and RFC 4193.
fn private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}
