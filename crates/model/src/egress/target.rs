//! What a rule is about.

use crate::{Error, Result, cidr::Cidr, secret::HostPattern, text::printable};
use std::{fmt, str::FromStr};

/// A kind of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Globally reachable unicast addresses, but those of this machine and of metadata services.
    Public,
    /// Networks that are not routed on the internet: RFC 1918, RFC 6598, RFC 4193, link-local.
    Private,
    /// This machine: loopback, and every address of its interfaces.
    Host,
    /// Services of cloud platforms that hand out credentials, such as 169.254.169.254.
    Metadata,
}

impl Group {
    pub const NAMES: [&'static str; 4] = ["public", "private", "host", "metadata"];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Host => "host",
            Self::Metadata => "metadata",
        }
    }

    fn find(text: &str) -> Option<Self> {
        [Self::Public, Self::Private, Self::Host, Self::Metadata].into_iter().find(|g| g.as_str() == text)
    }
}

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    Name(HostPattern),
    Addresses(Cidr),
    Group(Group),
}

impl Target {
    #[must_use]
    pub const fn name(&self) -> Option<&HostPattern> {
        match self {
            Self::Name(pattern) => Some(pattern),
            Self::Addresses(_) | Self::Group(_) => None,
        }
    }
}

const HINT: &str = "write a name (api.example.com, *.example.com), addresses (10.0.0.0/8), or public, private, host, metadata";

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(group) = Group::find(text) {
            return Ok(Self::Group(group));
        }
        // A block, or one address of either family; in brackets only without a prefix.
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if bare.contains(':') || text.starts_with(|c: char| c.is_ascii_digit()) {
            match bare.parse::<Cidr>() {
                Ok(block) => return Ok(Self::Addresses(block)),
                // A name may begin with a digit; the last label of an address is one.
                Err(error) if bare.contains(['/', ':']) => return Err(error),
                Err(_) => {}
            }
        }
        text.parse().map(Self::Name).map_err(|_| {
            Error::invalid(format!("'{}' is nothing that a network rule can be about", printable(text)))
                .with_hint(
                    crate::suggest::nearest(text, Group::NAMES)
                        .map_or_else(|| HINT.to_owned(), |near| format!("did you mean '{near}'? {HINT}")),
                )
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(pattern) => pattern.fmt(f),
            Self::Addresses(block) => block.fmt(f),
            Self::Group(group) => f.write_str(group.as_str()),
        }
    }
}

/// Ports, both ends included; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether it is `port` and no other.
    #[must_use]
    pub const fn is_only(self, port: u16) -> bool {
        self.first == port && self.last == port
    }
}

impl FromStr for PortRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let port =
            |t: &str| t.parse::<u16>().ok().filter(|p| *p != 0 && t.bytes().all(|b| b.is_ascii_digit()));
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(Error::invalid(format!("'{}' is not a port or a range of ports", printable(text)))
                .with_hint("write 443, or 8000-8999")),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}
