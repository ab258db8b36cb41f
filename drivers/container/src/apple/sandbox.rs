//! A running sandbox of this driver.

use super::{answers, defaults::Defaults, inside::Inside, lifeline::Lifeline, process, scripts};
use agentkernel_backend::{ByteStream, Files, Process, Sandbox, Stats};
use agentkernel_model::{Error, Kind, Result, command::ExecSpec};
use async_trait::async_trait;
use rustix::fd::OwnedFd;

#[derive(Debug)]
pub(crate) struct AppleSandbox {
    pub(crate) inside: Inside,
    pub(crate) defaults: Defaults,
    /// The keeper's hold on it.
    pub(crate) hold: Option<Hold>,
}

#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) lifeline: Lifeline,
    /// Says that this process is the keeper.
    pub(crate) _lock: OwnedFd,
}

impl Inside {
    /// The error that the sandbox is not running, if that is so.
    pub(crate) async fn not_running(&self) -> Option<Error> {
        match answers::one(&self.program, &self.name).await {
            Ok(Some(container)) if container.is_running() => None,
            Ok(_) => Some(Error::new(Kind::Conflict, "the sandbox is not running")),
            Err(error) => Some(error),
        }
    }
}

#[async_trait]
impl Sandbox for AppleSandbox {
    async fn exec(&self, spec: &ExecSpec) -> Result<Process> {
        let begun = self.inside.begin(&self.defaults.command(spec)).await?;
        Ok(process::process(self.inside.clone(), begun, None))
    }

    async fn forward(&self, _port: u16) -> Result<Box<dyn ByteStream>> {
        // `admit` refuses published ports, so nobody comes here with a sandbox that has one.
        Err(Error::new(Kind::Unsupported, "'container' has no way to a port of a sandbox without a network"))
    }

    async fn stats(&self) -> Result<Stats> {
        if let Some(error) = self.inside.not_running().await {
            return Err(error);
        }
        let usage = answers::usage(&self.inside.program, &self.inside.name).await?;
        Ok(usage.map_or_else(Stats::default, |usage| Stats {
            memory_bytes: usage.memory_usage_bytes,
            cpu_micros: usage.cpu_usage_usec,
            pids: usage.num_processes,
        }))
    }

    async fn gone(&self) {
        if let Some(hold) = &self.hold {
            return hold.lifeline.ended().await;
        }
        // A script that does nothing until the sandbox ends, which it cannot outlive.
        let words = self.inside.script(scripts::WATCH, &["--interactive"], &[]);
        if let Ok(watch) = Lifeline::begin(&self.inside.program, &words, "agentkernel").await {
            watch.ended().await;
        }
    }

    fn files(&self) -> &dyn Files {
        &self.inside
    }
}
