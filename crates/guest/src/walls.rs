//! What stands around every command of a sandbox, whoever made the sandbox.

use agentkernel_archive::Ownership;
use agentkernel_model::{capset::CapSet, seccomp::SeccompLevel};
use rustix::{io::Errno, process::DumpableBehavior};
use serde::{Deserialize, Serialize};

/// The walls around every command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    pub caps: CapSet,
    pub seccomp: SeccompLevel,
    /// Processes of this user namespace, where no control group counts them.
    pub pids: Option<u32>,
    /// How many files a command may have open before it asks for more, where that is not what process 1 may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// Whether supplementary groups can be set.
    pub has_groups: bool,
    /// Whom files of archives belong to.
    #[serde(with = "ownership")]
    pub ownership: Ownership,
    pub host_files: HostFiles,
}

/// Whether the sandbox can make files that the host sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostFiles {
    ReadOnly,
    Writable,
}

/// Lets nobody look into this process, whoever runs it.
pub fn hide() -> Result<(), Errno> {
    let hidden = !crate::mutation::off("init-dumpable");
    let behavior = if hidden { DumpableBehavior::NotDumpable } else { DumpableBehavior::Dumpable };
    rustix::process::set_dumpable_behavior(behavior)
}

mod ownership {
    use agentkernel_archive::Ownership;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &Ownership, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(match value {
            Ownership::Archive => "archive",
            Ownership::ArchivePlain => "archive_plain",
            Ownership::Caller => "caller",
        })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Ownership, D::Error> {
        match String::deserialize(from)?.as_str() {
            "archive" => Ok(Ownership::Archive),
            "archive_plain" => Ok(Ownership::ArchivePlain),
            "caller" => Ok(Ownership::Caller),
            other => Err(D::Error::custom(format!("'{other}' is no ownership"))),
        }
    }
}
