//! What a sandbox may do. [`EffectivePolicy`] is computed by one pure function and nothing else decides.

use crate::{
    Error, Result,
    capset::CapSet,
    egress::{EgressRule, EgressRules, Otherwise, Verdict},
    limits::{Limit, Limits},
    mount::{Access, Mount},
    seccomp::SeccompLevel,
    secret::{SecretGrant, SecretName},
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
    /// Secrets that the gateway sends; never their values. Left out of the text when there are none, as the next one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretGrant>,
    /// Secrets that are files inside: these the sandbox does see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_files: Vec<SecretName>,
}

/// What someone wrote beside the profile. `None` leaves the profile's choice.
#[derive(Debug, Clone, Default)]
pub struct PolicyRequest {
    pub profile: Profile,
    pub network: Option<NetworkSwitch>,
    /// In order, before what the profile lets through.
    pub rules: Vec<EgressRule>,
    /// Whether only what is listed is let through.
    pub otherwise: Option<Otherwise>,
    pub secrets: Vec<SecretGrant>,
    pub secret_files: Vec<SecretName>,
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
    /// The policy of `request`: explicit values win over the profile's and become [`Limit::Required`]. Rules and secrets of
    /// a sandbox without network stand for nothing here; [`EffectivePolicy::check`] refuses them.
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
        if let Network::Rules(egress) = &mut policy.network {
            egress.rules = request.rules;
            // A sandbox that is trusted with a key gets nowhere but where somebody said.
            let listed = (!request.secrets.is_empty()).then_some(Otherwise::Deny);
            egress.otherwise = listed.or(request.otherwise).unwrap_or_default();
        }
        policy.secrets = request.secrets;
        policy.secret_files = request.secret_files;
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

    /// Sees that nothing asks for a network that `request` takes away.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`] for rules or secrets of a sandbox without network.
    pub fn check(request: &PolicyRequest) -> Result<()> {
        let off = match request.network {
            Some(switch) => switch == NetworkSwitch::Off,
            None => Self::of_profile(request.profile).network == Network::Off,
        };
        let what = match request {
            _ if !off => return Ok(()),
            PolicyRequest { secrets, .. } if !secrets.is_empty() => "secrets that go to hosts",
            PolicyRequest { rules, .. } if rules.iter().any(|r| r.verdict() == Verdict::Allow) => {
                "network rules"
            }
            _ => return Ok(()),
        };
        Err(Error::invalid(format!("{what} need a network, and this sandbox has none")).with_hint(
            "leave out --no-network; with profile restrictive, write network = true under [security], or choose moderate",
        ))
    }

    /// Where the files are that agentkernel itself puts inside: in memory, so that they are gone with the sandbox.
    pub const OWN_FILES: &'static str = "/run/agentkernel";
    /// Where secrets are that are files.
    pub const SECRET_FILES: &'static str = "/run/agentkernel/secrets";

    /// Whether the gateway opens TLS of some host, so that the sandbox has to believe its certificate.
    #[must_use]
    pub fn opens_tls(&self) -> bool {
        !self.secrets.is_empty()
            || self.rules().is_some_and(|egress| egress.rules.iter().any(|r| r.http().is_some()))
    }

    /// Whether the sandbox needs [`EffectivePolicy::OWN_FILES`].
    #[must_use]
    pub fn has_own_files(&self) -> bool {
        self.opens_tls() || !self.secret_files.is_empty()
    }

    /// What the gateway obeys, where there is one.
    #[must_use]
    pub const fn rules(&self) -> Option<&EgressRules> {
        match &self.network {
            Network::Rules(rules) => Some(rules),
            Network::Off | Network::Open => None,
        }
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
                secrets: Vec::new(),
                secret_files: Vec::new(),
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
                secrets: Vec::new(),
                secret_files: Vec::new(),
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
                secrets: Vec::new(),
                secret_files: Vec::new(),
            },
        }
    }
}
