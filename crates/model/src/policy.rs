//! What a sandbox may do. [`EffectivePolicy`] is computed by one pure function and nothing else decides.

use crate::{
    Error, Result,
    capset::CapSet,
    limits::{Limit, Limits},
    mount::{Access, Mount},
    seccomp::SeccompLevel,
    size::{ByteSize, Cpus},
    suggest,
    text::printable,
};
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf, str::FromStr};

/// A named starting point of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    Restrictive,
    #[default]
    Moderate,
    Permissive,
}

impl Profile {
    pub const NAMES: [&'static str; 3] = ["restrictive", "moderate", "permissive"];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restrictive => "restrictive",
            Self::Moderate => "moderate",
            Self::Permissive => "permissive",
        }
    }
}

impl FromStr for Profile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "restrictive" => Ok(Self::Restrictive),
            "moderate" => Ok(Self::Moderate),
            "permissive" => Ok(Self::Permissive),
            _ => Err(Error::invalid(format!("'{}' is not a profile", printable(text)))
                .with_hint(suggest::hint(text, &Self::NAMES))),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which hosts a sandbox may reach. Every connection ends in the gateway, which asks these rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// No network but a loopback of the sandbox's own.
    Off,
    /// What the gateway allows.
    Rules(EgressRules),
    /// The backend's own network, which agentkernel does not decide about.
    Open,
}

/// The first form of the gateway's rules: globally reachable addresses only. Loopback, private, link-local, metadata,
/// multicast and reserved addresses are refused whatever name led to them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressRules {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootAccess {
    ReadOnly,
    /// A writable layer of the sandbox's own; the image is never written.
    ReadWrite,
}

/// Environment variables of the caller that reach the sandbox. PATH is never among them: it names the host's places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvPassthrough {
    None,
    /// [`EnvPassthrough::LOCALE_KEYS`].
    Locale,
}

impl EnvPassthrough {
    pub const LOCALE_KEYS: [&'static str; 4] = ["LANG", "LC_ALL", "TERM", "TZ"];
}

/// Everything that limits a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffectivePolicy {
    /// The profile it started from; for people, decides nothing.
    pub profile: Profile,
    pub network: Network,
    pub root: RootAccess,
    pub mounts: Vec<Mount>,
    pub env: EnvPassthrough,
    pub caps: CapSet,
    pub seccomp: SeccompLevel,
    pub limits: Limits,
}

/// What someone wrote beside the profile. `None` leaves the profile's choice.
#[derive(Debug, Clone, Default)]
pub struct PolicyRequest {
    pub profile: Profile,
    pub network: Option<NetworkSwitch>,
    pub mounts: Vec<Mount>,
    pub memory: Option<ByteSize>,
    pub cpus: Option<Cpus>,
    pub pids: Option<u32>,
    /// The caller's home, mounted read-only at `/home/user` by a profile that grants it.
    pub home: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkSwitch {
    On,
    Off,
}

impl EffectivePolicy {
    /// The policy of `request`: explicit values win over the profile's and become [`Limit::Required`].
    #[must_use]
    pub fn resolve(request: PolicyRequest) -> Self {
        let mut policy = Self::of_profile(request.profile);
        match request.network {
            Some(NetworkSwitch::Off) => policy.network = Network::Off,
            Some(NetworkSwitch::On) if policy.network == Network::Off => {
                policy.network = Network::Rules(EgressRules::default());
            }
            Some(NetworkSwitch::On) | None => {}
        }
        if request.profile == Profile::Permissive
            && let (Some(source), Ok(target)) = (request.home, "/home/user".parse())
        {
            policy.mounts.push(Mount { source, target, access: Access::ReadOnly });
        }
        policy.mounts.extend(request.mounts);
        let limits = &mut policy.limits;
        limits.memory = request.memory.map(Limit::Required).or(limits.memory);
        limits.cpus = request.cpus.map(Limit::Required).or(limits.cpus);
        limits.pids = request.pids.map(Limit::Required).or(limits.pids);
        policy
    }

    /// The profile alone.
    #[must_use]
    pub fn of_profile(profile: Profile) -> Self {
        let rules = || Network::Rules(EgressRules::default());
        let limits = |mib: u32, milli: u32, pids: u32| Limits {
            memory: Some(Limit::Default(ByteSize::from_mib(mib))),
            cpus: Some(Limit::Default(Cpus::from_milli(milli))),
            pids: Some(Limit::Default(pids)),
        };
        let standard_caps = [
            "CHOWN",
            "DAC_OVERRIDE",
            "FOWNER",
            "FSETID",
            "KILL",
            "SETGID",
            "SETUID",
            "NET_BIND_SERVICE",
            "SYS_CHROOT",
        ];
        match profile {
            Profile::Restrictive => Self {
                profile,
                network: Network::Off,
                root: RootAccess::ReadOnly,
                mounts: Vec::new(),
                env: EnvPassthrough::None,
                caps: CapSet::NONE,
                seccomp: SeccompLevel::Restrictive,
                limits: limits(256, 500, 256),
            },
            Profile::Moderate => Self {
                profile,
                network: rules(),
                root: RootAccess::ReadWrite,
                mounts: Vec::new(),
                env: EnvPassthrough::None,
                caps: CapSet::of(&standard_caps),
                seccomp: SeccompLevel::Moderate,
                limits: limits(512, 1000, 1024),
            },
            Profile::Permissive => Self {
                profile,
                network: rules(),
                root: RootAccess::ReadWrite,
                mounts: Vec::new(),
                env: EnvPassthrough::Locale,
                caps: CapSet::of(&[&standard_caps[..], &["SETPCAP", "SETFCAP"]].concat()),
                seccomp: SeccompLevel::Moderate,
                limits: Limits { memory: None, cpus: None, pids: Some(Limit::Default(4096)) },
            },
        }
    }
}
