//! A block of addresses.

use crate::{Error, text::printable};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A block of addresses of one family, such as `10.0.0.0/8`. No bit beyond the prefix is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    base: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// A row of a table, whose base a test of that table checks.
    #[must_use]
    pub const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { base: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    /// As [`Cidr::v4`].
    #[must_use]
    pub const fn v6(words: [u16; 8], prefix: u8) -> Self {
        let [a, b, c, d, e, f, g, h] = words;
        Self { base: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix }
    }

    /// The block of `prefix` bits that begins at `base`. One of IPv4-mapped addresses is the block of IPv4 that it means
    /// (RFC 4291, section 2.5.5.2): those are IPv4 to every kernel.
    ///
    /// # Errors
    /// `Invalid` when the prefix is longer than an address, or `base` has bits beyond it.
    pub fn new(base: IpAddr, prefix: u8) -> Result<Self, Error> {
        let width: u8 = if base.is_ipv4() { 32 } else { 128 };
        if prefix > width {
            return Err(Error::invalid(format!("the prefix /{prefix} is longer than the address {base}"))
                .with_hint(format!("use a prefix from /0 to /{width}")));
        }
        let start = first(base, prefix);
        if start != base {
            return Err(Error::invalid(format!("{base}/{prefix} has bits beyond its prefix"))
                .with_hint(format!("write {start}/{prefix}, or {base}/{width} for the one address")));
        }
        Ok(Self { base, prefix }.unmapped())
    }

    /// The block of `prefix` bits that `ip` lies in; `None` when the prefix is longer than an address.
    #[must_use]
    pub fn around(ip: IpAddr, prefix: u8) -> Option<Self> {
        let width: u8 = if ip.is_ipv4() { 32 } else { 128 };
        (prefix <= width).then(|| Self { base: first(ip, prefix), prefix }.unmapped())
    }

    fn unmapped(self) -> Self {
        match (self.base.to_canonical(), self.prefix.checked_sub(MAPPED)) {
            (base @ IpAddr::V4(_), Some(prefix)) if self.base.is_ipv6() => Self { base, prefix },
            _ => self,
        }
    }

    /// Whether `ip` lies in the block. An IPv4 address is never in an IPv6 block.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.base.is_ipv4() == ip.is_ipv4() && first(ip, self.prefix) == self.base
    }
}

/// The bits before the IPv4 address in one that is mapped.
const MAPPED: u8 = 96;

/// `ip` with everything beyond `prefix` cleared.
fn first(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
        }
    }
}

impl FromStr for Cidr {
    type Err = Error;

    /// `ADDRESS/PREFIX`, or `ADDRESS` alone for the one address.
    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = || {
            Error::invalid(format!("'{}' is not a block of addresses", printable(text)))
                .with_hint("write it as 203.0.113.0/24 or 2001:db8::/32")
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| malformed())?;
        let width: u8 = if base.is_ipv4() { 32 } else { 128 };
        let digits = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit());
        let prefix = match prefix {
            None => width,
            Some(p) => Some(p).filter(digits).and_then(|p| p.parse().ok()).ok_or_else(malformed)?,
        };
        Self::new(base, prefix)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

#[cfg(test)]
#[path = "cidr_tests.rs"]
mod tests;
