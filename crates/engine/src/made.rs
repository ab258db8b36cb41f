//! What is done to the very sandbox that was made, and to no other that has its name by now.

use crate::{Engine, lifecycle, request::SandboxInfo, step::step};
use agentkernel_backend::Process;
use agentkernel_model::{Result, command::ExecSpec};
use std::time::Duration;

impl Engine {
    /// As [`Engine::stop`].
    ///
    /// # Errors
    /// As [`Engine::stop`] and [`Engine::start_made`].
    pub async fn stop_made(&self, made: &SandboxInfo, grace: Duration) -> Result<SandboxInfo> {
        let stopping = lifecycle::stop_made(self, &made.name, Some(made.uuid), grace);
        self.audit.watched(&made.name, step!("stop", stopping).await)
    }

    /// As [`Engine::exec`].
    ///
    /// # Errors
    /// As [`Engine::exec`] and [`Engine::start_made`].
    pub async fn exec_made(&self, made: &SandboxInfo, command: &ExecSpec) -> Result<Process> {
        self.exec_in(&made.name, Some(made.uuid), command).await
    }
}
