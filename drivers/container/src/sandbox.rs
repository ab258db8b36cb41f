//! A running sandbox of this driver: commands and files go through its agent, numbers come from the engine.

use crate::backend::STUCK;
use agentkernel_backend::{ByteStream, Exit, Files, Process, Sandbox, Stats};
use agentkernel_guest::{agent::Road, client::Client, conversation::Conversation};
use agentkernel_model::{
    Result,
    command::{ExecSpec, Signal},
};
use async_trait::async_trait;
use bollard::{
    Docker,
    query_parameters::{StatsOptionsBuilder, WaitContainerOptionsBuilder},
};
use futures_util::StreamExt as _;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct ContainerSandbox {
    pub(crate) client: Client,
    pub(crate) engine: Docker,
    /// The container's name.
    pub(crate) name: String,
    /// Whether pipes can be given to a user of the container from here.
    pub(crate) same_ids: SameIds,
    pub(crate) accounts: Accounts,
    /// Whether the agent sees the control group that the container is in.
    pub(crate) road: Road,
    /// The keeper's connection to the agent: the sandbox ends with it.
    pub(crate) lifeline: Option<Arc<Conversation>>,
}

/// Whether the engine counts what a container uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accounts {
    Kept,
    /// A rootless engine on cgroup v1 has no group for it, and tells of the whole machine.
    None,
}

/// Whether users have the same numbers inside and here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SameIds {
    Yes,
    No,
}

impl SameIds {
    /// Whom pipes for a command of that user are given to.
    pub(crate) fn owner(self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        (self == Self::Yes).then_some((uid, gid))
    }
}

/// `exit`, and whether it was for want of memory where only the engine knows: a runtime with a kernel of its own ends
/// whole then, and says nothing inside.
pub(crate) async fn explained(engine: &Docker, name: &str, exit: Exit) -> Exit {
    let Exit::Signal { number, out_of_memory: false } = exit else { return exit };
    if number != Signal::Kill.number() {
        return exit;
    }
    let over = WaitContainerOptionsBuilder::default().condition("not-running").build();
    let _code = tokio::time::timeout(STUCK, engine.wait_container(name, Some(over)).next()).await;
    let state = engine.inspect_container(name, None).await.ok().and_then(|seen| seen.state);
    let out_of_memory = state.and_then(|state| state.oom_killed).unwrap_or(false);
    Exit::Signal { number, out_of_memory }
}

impl ContainerSandbox {
    /// The same, which tells at its end what only the engine knows, where that is so.
    fn explaining(&self, process: Process) -> Process {
        if self.road == Road::Socket {
            return process;
        }
        let (engine, name, exit) = (self.engine.clone(), self.name.clone(), process.exit);
        let client = Client::new(self.client.place().to_owned(), self.client.defaults().clone());
        let exit = Box::pin(async move {
            let exit = exit.await?;
            if !matches!(exit, Exit::Signal { .. }) {
                return Ok(exit);
            }
            // Where the sandbox lives on, it was one command that was killed.
            if client.is_answered().await { Ok(exit) } else { Ok(explained(&engine, &name, exit).await) }
        });
        Process { exit, ..process }
    }
}

#[async_trait]
impl Sandbox for ContainerSandbox {
    async fn exec(&self, spec: &ExecSpec) -> Result<Process> {
        let exec = self.client.defaults().command(spec);
        let owner = self.same_ids.owner(exec.uid, exec.gid);
        // On this kernel the agent sees the container's own control group, and says so itself.
        let process = self.client.exec(exec, spec.stdio, owner, || false).await?;
        Ok(self.explaining(process))
    }

    async fn begin(&self, spec: &ExecSpec) -> Result<(Process, Option<u32>)> {
        let exec = self.client.defaults().command(spec);
        let owner = self.same_ids.owner(exec.uid, exec.gid);
        let (process, pid) = self.client.begin(exec, owner, || false).await?;
        Ok((self.explaining(process), pid))
    }

    async fn forward(&self, port: u16) -> Result<Box<dyn ByteStream>> {
        self.client.forward(port).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.client.check_running()?;
        if self.accounts == Accounts::None {
            return Ok(Stats::default());
        }
        let once = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let mut answers = Box::pin(self.engine.stats(&self.name, Some(once)));
        // An engine that has no control group for it cannot tell.
        let Some(Ok(seen)) = answers.next().await else { return Ok(Stats::default()) };
        let cpu = seen.cpu_stats.and_then(|s| s.cpu_usage).and_then(|u| u.total_usage);
        Ok(Stats {
            memory_bytes: seen.memory_stats.and_then(|s| s.usage),
            cpu_micros: cpu.map(|nanos| nanos / 1000),
            pids: seen.pids_stats.and_then(|s| s.current),
        })
    }

    async fn gone(&self) {
        match &self.lifeline {
            Some(lifeline) => while let Ok(Some(_)) = lifeline.recv().await {},
            None => self.client.gone().await,
        }
    }

    fn files(&self) -> &dyn Files {
        &self.client
    }
}
