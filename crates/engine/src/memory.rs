//! The memory of a process that holds values of secrets.

use agentkernel_model::{Error, Result};
use rustix::process::{Resource, Rlimit, setrlimit};

/// From now on this process, and what it starts, leaves no core file. A limit of 1 also holds where a program takes core
/// files (core(5)), which a limit of 0 does not: where 0 is the limit already, a program that takes core files gets them
/// until [`keep_unseen`].
///
/// # Errors
/// When the system refuses: then no secret should come in.
pub fn leave_no_core_files() -> Result<()> {
    let limit = Rlimit { current: Some(1), maximum: Some(1) };
    let lowered = match rustix::process::getrlimit(Resource::Core).maximum {
        // Lower already, and nobody may raise it.
        Some(0) => Ok(()),
        _ => setrlimit(Resource::Core, limit),
    };
    lowered.map_err(|e| Error::io("cannot keep this process's memory out of core files", e.into()))
}

/// From now on nobody but root can look into this process's memory, on Linux. Only when no sandbox is made by cloning this
/// process any more: a user could not write the maps of its user namespace.
///
/// # Errors
/// When the system refuses.
pub fn keep_unseen() -> Result<()> {
    leave_no_core_files()?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|e| Error::io("cannot keep this process's memory to itself", e.into()))?;
    Ok(())
}

/// Whether nobody but root can look into this process's memory: then a user cannot make a user namespace from it.
pub(crate) fn is_unseen() -> bool {
    #[cfg(target_os = "linux")]
    return !matches!(rustix::process::dumpable_behavior(), Ok(rustix::process::DumpableBehavior::Dumpable));
    #[cfg(not(target_os = "linux"))]
    false
}
