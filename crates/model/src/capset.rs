//! Sets of Linux capabilities (capabilities(7)), as data.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A set of capabilities, one bit per capability number. All of them hold inside the sandbox's own user namespace only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapSet(u64);

/// Name and number of each capability that a profile may grant (linux/capability.h). What is not listed here cannot be
/// granted: among others SYS_ADMIN, SYS_PTRACE, SYS_MODULE, NET_ADMIN, NET_RAW, MKNOD, SYS_RAWIO and BPF.
const GRANTABLE: [(&str, u8); 11] = [
    ("CHOWN", 0),
    ("DAC_OVERRIDE", 1),
    ("FOWNER", 3),
    ("FSETID", 4),
    ("KILL", 5),
    ("SETGID", 6),
    ("SETUID", 7),
    ("SETPCAP", 8),
    ("NET_BIND_SERVICE", 10),
    ("SYS_CHROOT", 18),
    ("SETFCAP", 31),
];

impl CapSet {
    pub const NONE: Self = Self(0);

    /// Those named in `names`.
    ///
    /// # Panics
    /// At compile time of a constant, or in a test, when a name is not grantable.
    #[must_use]
    pub fn of(names: &[&str]) -> Self {
        let bit = |name: &&str| {
            let found = GRANTABLE.iter().find(|(n, _)| n == name);
            found.map_or_else(|| panic!("{name} is not a grantable capability"), |(_, number)| 1 << number)
        };
        Self(names.iter().map(bit).fold(0, |set, bit: u64| set | bit))
    }

    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    #[must_use]
    pub const fn contains(self, number: u8) -> bool {
        self.0 & (1 << number) != 0
    }

    /// Without SETFCAP, which could give a file on the host capabilities there.
    #[must_use]
    pub const fn without_setfcap(self) -> Self {
        Self(self.0 & !(1 << 31))
    }

    #[must_use]
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The names, in order of their numbers.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        GRANTABLE.iter().filter(move |(_, n)| self.contains(*n)).map(|(name, _)| *name)
    }
}

impl fmt::Display for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("none");
        }
        for (i, name) in self.names().enumerate() {
            write!(f, "{}{name}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}
