//! What one engine does otherwise than the other.

use crate::engine::Sight;
use crate::facts::Facts;
use crate::mounts::Overlays;
use agentkernel_model::spec::Lifetime;

/// Which engine speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    Docker,
    Podman,
}

impl Flavor {
    /// As in file names.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// As people write it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
        }
    }

    /// What brings it back where it does not answer.
    pub(crate) const fn revival(self) -> &'static str {
        match self {
            Self::Docker => "start it: sudo systemctl start docker",
            Self::Podman => {
                "start it: systemctl --user start podman.socket, or as root systemctl start podman.socket"
            }
        }
    }

    /// What makes it available where nothing of it is there.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::Docker => "install it, on Debian and Ubuntu: sudo apt-get install docker.io",
            Self::Podman => "install it, on Debian and Ubuntu: sudo apt-get install podman uidmap",
        }
    }

    /// How this engine shows a directory of the host without writing to it.
    pub(crate) fn overlays(self, facts: &Facts, sight: Sight, uid: u32, lifetime: Lifetime) -> Overlays {
        if sight == Sight::Elsewhere {
            return Overlays::Copied;
        }
        // What root's engine writes above a directory, a user cannot remove.
        if uid != 0 && !facts.rootless {
            return Overlays::Copied;
        }
        match (self, facts.rootless || facts.remapped, lifetime) {
            (Self::Docker, false, _) => Overlays::Volumes,
            (Self::Podman, false, _) => Overlays::Kept,
            // What a rootless engine writes above a directory belongs to ids that this user cannot remove.
            (Self::Podman, true, Lifetime::Ephemeral) => Overlays::Thrown,
            (_, true, _) => Overlays::Copied,
        }
    }
}
