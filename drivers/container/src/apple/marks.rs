//! The marks of what is ours among everybody's containers: the same on every engine.

use agentkernel_model::id::SandboxId;

/// Its value is the sandbox's id.
pub(crate) const SANDBOX: &str = "sh.agentkernel.sandbox";
/// Its value tells the data directory.
pub(crate) const OWNER: &str = "sh.agentkernel.owner";
/// What ends with one command has it.
pub(crate) const EPHEMERAL: &str = "sh.agentkernel.ephemeral";

/// The name of the container of a sandbox.
pub(crate) fn name(id: SandboxId) -> String {
    format!("agentkernel-{id}")
}
