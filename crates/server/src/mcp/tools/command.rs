//! What the tools about commands share.

use agentkernel_model::{
    Result,
    command::{Argv, ExecSpec, Stdio},
};

/// A command that has `stdin` to read, or nothing.
pub(super) fn spec(command: Vec<String>, stdin: &[u8]) -> Result<ExecSpec> {
    Ok(ExecSpec {
        argv: Argv::new(command)?,
        env: Vec::new(),
        workdir: None,
        user: None,
        stdio: if stdin.is_empty() { Stdio::NoInput } else { Stdio::Pipes },
    })
}
