//! What a backend can do, as data. What is not here is refused before anything starts.

use serde::{Deserialize, Serialize};

/// Where a backend's sandboxes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    Local,
    Cluster,
    Remote,
}

/// What separates a sandbox from the machine it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Boundary {
    /// A kernel of its own under a hypervisor.
    Vm,
    /// The host's kernel: namespaces, capabilities, system call filters.
    Kernel,
    Wasm,
    /// Nothing: for tests only, never chosen automatically.
    None,
}

/// Who decides about a sandbox's traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Egress {
    /// The gateway of the keeper: every rule can be enforced.
    HostGateway,
    /// An object of the cluster, such as a NetworkPolicy.
    PolicyObject,
    /// The provider; rules and secrets are refused.
    ProviderOnly,
    /// Only [`crate::policy::Network::Off`].
    OffOnly,
}

/// Whether something is possible at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    Yes,
    No,
}

impl Support {
    #[must_use]
    pub const fn is_yes(self) -> bool {
        matches!(self, Self::Yes)
    }

    #[must_use]
    pub const fn from_test(possible: bool) -> Self {
        if possible { Self::Yes } else { Self::No }
    }
}

/// What one backend can do on this machine, now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    pub boundary: Boundary,
    pub egress: Egress,
    /// Limits that would really be enforced.
    pub limit_memory: Support,
    pub limit_cpus: Support,
    pub limit_pids: Support,
    /// Commands as other users than root inside.
    pub users: Support,
    pub mounts: Support,
    pub workspace_view: Support,
    pub read_only_root: Support,
    /// A writable root reaches the files that the image brought, not only new ones.
    pub image_changes: Support,
    pub terminal: Support,
    pub publish_ports: Support,
    /// Sandboxes whose disk survives a stop.
    pub named: Support,
    /// Files of agentkernel's own in memory, at [`crate::policy::EffectivePolicy::OWN_FILES`]: secrets that are files, and
    /// the certificate of a gateway that opens TLS.
    pub own_files: Support,
    /// Other OCI runtimes than its own, by name.
    pub runtimes: Support,
}
