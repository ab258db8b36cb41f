//! A running fake sandbox.

use super::{
    command::{Fate, start},
    control::{FakeControl, Step},
    files::FakeFiles,
    keeper::Link,
    run,
    store::{Home, Plan},
};
use crate::proc;
use agentkernel_backend::{ByteStream, Files, Process, Sandbox, Stats};
use agentkernel_model::{
    Error, Kind, Result,
    command::{ExecSpec, Stdio},
};
use async_trait::async_trait;
use std::{net::Ipv4Addr, sync::Arc};
use tokio::net::TcpStream;

/// Clock ticks of proc(5) per second: a constant of the kernel's interface (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

#[derive(Debug)]
pub(super) struct FakeSandbox {
    home: Home,
    plan: Plan,
    link: Arc<Link>,
    files: FakeFiles,
    control: FakeControl,
}

impl FakeSandbox {
    pub(super) fn new(home: Home, plan: Plan, link: Link, control: FakeControl) -> Self {
        let files = FakeFiles { home: home.clone(), control: control.clone() };
        Self { home, plan, link: Arc::new(link), files, control }
    }

    fn require_running(&self) -> Result<()> {
        if self.link.is_gone() {
            return Err(Error::new(Kind::Conflict, "the sandbox is no longer running")
                .with_hint("agentkernel sandbox start NAME"));
        }
        Ok(())
    }
}

#[async_trait]
impl Sandbox for FakeSandbox {
    async fn exec(&self, spec: &ExecSpec) -> Result<Process> {
        self.control.pass(Step::Exec).await?;
        self.require_running()?;
        let started = start(&self.home, &self.plan, spec, Fate::Independent)?;
        self.home.note_session(started.session())?;
        run::named(started, self.home.clone(), Arc::clone(&self.link))
    }

    async fn begin(&self, spec: &ExecSpec) -> Result<(Process, Option<u32>)> {
        self.control.pass(Step::Exec).await?;
        self.require_running()?;
        let spec = ExecSpec { stdio: Stdio::NoInput, ..spec.clone() };
        let started = start(&self.home, &self.plan, &spec, Fate::Independent)?;
        let session = started.session();
        self.home.note_session(session)?;
        let process = run::named(started, self.home.clone(), Arc::clone(&self.link))?;
        // It has no namespaces: inside is outside.
        Ok((process, u32::try_from(session).ok()))
    }

    async fn forward(&self, port: u16) -> Result<Box<dyn ByteStream>> {
        self.control.pass(Step::Forward).await?;
        self.require_running()?;
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
        stream.map(|s| Box::new(s) as Box<dyn ByteStream>).map_err(|e| {
            Error::new(Kind::Unavailable, format!("nothing listens on port {port} in the sandbox"))
                .with_source(e)
        })
    }

    async fn stats(&self) -> Result<Stats> {
        self.control.pass(Step::Stats).await?;
        self.require_running()?;
        let (mut pids, mut memory, mut ticks) = (0, 0, 0);
        for session in self.home.sessions()? {
            for member in proc::of_session(session).map_err(|e| Error::io("cannot list processes", e))? {
                pids += 1;
                memory += proc::resident_bytes(member.pid);
                ticks += member.cpu_ticks;
            }
        }
        let cpu = ticks * (1_000_000 / TICKS_PER_SECOND);
        Ok(Stats { memory_bytes: Some(memory), cpu_micros: Some(cpu), pids: Some(pids) })
    }

    async fn gone(&self) {
        self.link.gone().await;
    }

    fn files(&self) -> &dyn Files {
        &self.files
    }
}
