//! Addresses and ranges of addresses, read strictly: one spelling errors are worth more than the
//! many that some libraries take.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses: an address and how many of its leading bits are the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Reads an address: four decimal numbers without leading zeros, or RFC 4291 text. An IPv4 address in
/// dotted form inside an IPv6 one, and zones (`%eth0`), are refused.
pub(super) fn parse_ip(text: &str) -> Option<IpAddr> {
    match text.parse::<IpAddr>().ok()? {
        IpAddr::V6(_) if text.contains('.') => None,
        address => Some(address),
    }
}

/// The IPv4 address that an IPv4-mapped IPv6 address (`::ffff:c0a8:1`) stands for; others as they are.
pub(super) fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address with all bits after the first `prefix` zero.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let drop = u32::from(width(address).saturating_sub(prefix));
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(drop).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(drop).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

impl Cidr {
    /// Reads `address/bits`; the address may have bits beyond the prefix.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address = parse_ip(address)?;
        let plain = !prefix.is_empty() && prefix.len() <= 3 && prefix.bytes().all(|b| b.is_ascii_digit());
        let canonical = plain && (prefix.len() == 1 || !prefix.starts_with('0'));
        let prefix = prefix.parse::<u8>().ok().filter(|bits| canonical && *bits <= width(address))?;
        Some(Self { address, prefix })
    }

    /// The address as written.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits are the network's.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// The range with the bits of the host zero.
    #[must_use]
    pub fn masked(self) -> Self {
        Self { address: masked(self.address, self.prefix), prefix: self.prefix }
    }

    /// Whether `address` lies in the range; addresses of another family do not. An IPv4-mapped IPv6
    /// address counts as the IPv4 address.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let address = if self.address.is_ipv4() { plain(address) } else { address };
        self.address.is_ipv4() == address.is_ipv4()
            && masked(self.address, self.prefix) == masked(address, self.prefix)
    }

    /// Whether every address of `other` lies in the range.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
            && self.prefix <= other.prefix
            && self.contains(other.address)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}
