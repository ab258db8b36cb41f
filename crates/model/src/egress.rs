//! The rules of the gateway: which connections of a sandbox are let out.
//!
//! Rules are asked in order; the first that matches decides, and [`Otherwise`] where none does. A rule is a line of text:
//!
//! ```text
//! [allow|deny] [METHOD[,METHOD...]] [udp:]TARGET[:PORT[-PORT]][/PATH]
//! ```
//!
//! | target | is |
//! |---|---|
//! | `api.example.com` | a name; only at addresses that this sandbox was told for it |
//! | `*.example.com` | every name below it, not itself |
//! | `10.0.0.0/8`, `192.0.2.1`, `[2001:db8::1]`, `2001:db8::/32` | addresses, however they were found |
//! | `public`, `private`, `host`, `metadata` | kinds of addresses, see [`Group`] |
//!
//! Methods and a path stand with names only, and make a rule about HTTP requests: the connection is opened to look at
//! them. A path matches itself and what is below it.
//!
//! Rules are about TCP. UDP gets out by rules that begin with `udp:` alone, and only by them; what is denied without it
//! is denied over both.

mod rule;
mod target;

pub use rule::{EgressRule, HttpMatch, Protocol, Verdict};
pub use target::{Group, PortRange, Target};

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// All rules of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressRules {
    /// In order; the first that matches decides. Written as text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<EgressRule>,
    #[serde(default, skip_serializing_if = "Otherwise::is_default")]
    pub otherwise: Otherwise,
}

impl EgressRules {
    /// The most rules of one sandbox.
    pub const MAX: usize = 1000;

    /// Whether every address is decided by its kind alone: no rule is there, and the public is let through.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Whether some UDP beside DNS may get out.
    #[must_use]
    pub fn let_udp_out(&self) -> bool {
        self.rules.iter().any(|rule| rule.is_only_udp() && rule.verdict() == Verdict::Allow)
    }
}

/// Sees that there are not too many.
///
/// # Errors
/// [`Kind::Invalid`](crate::Kind::Invalid) for more than [`EgressRules::MAX`].
pub fn check_count(rules: &[EgressRule]) -> Result<()> {
    if rules.len() <= EgressRules::MAX {
        return Ok(());
    }
    Err(Error::invalid(format!("there are {} network rules, and {} at most", rules.len(), EgressRules::MAX))
        .with_hint("say more with less: '*.example.com' is about every name below it"))
}

/// What happens to a connection that no rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// Refused.
    Deny,
    /// Over TCP, globally reachable addresses are let through; loopback, private, link-local, metadata, multicast and reserved ones
    /// are refused whatever name led to them.
    #[default]
    Public,
}

impl Otherwise {
    /// As it is written in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Public => "public",
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
