//! A running sandbox of this driver.

use crate::{cgroup::Group, idmap::IdMap, launch::Init};
use agentkernel_backend::{ByteStream, Files, Process, Sandbox, Stats};
use agentkernel_guest::{client::Client, conversation::Conversation, wire::Exec};
use agentkernel_model::{Error, Kind, Result, command::ExecSpec};
use async_trait::async_trait;
use std::sync::Arc;

/// What keeps a sandbox alive: only its keeper has one. Ends the sandbox when dropped.
#[derive(Debug)]
pub(crate) struct Lifeline {
    // Before the group in order: a group can be removed when its processes are gone.
    pub(crate) init: Init,
    pub(crate) group: Option<Group>,
    pub(crate) control: Arc<Conversation>,
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(self.init.pidfd(), rustix::process::Signal::KILL);
        self.init.reap();
        if let Some(group) = &self.group {
            let _ = group.remove();
        }
    }
}

#[derive(Debug)]
pub(crate) struct NativeSandbox {
    pub(crate) client: Client,
    pub(crate) map: IdMap,
    pub(crate) group: Option<Group>,
    pub(crate) lifeline: Option<Lifeline>,
}

#[async_trait]
impl Sandbox for NativeSandbox {
    async fn exec(&self, spec: &ExecSpec) -> Result<Process> {
        let exec = self.client.defaults().command(spec);
        check_user(&self.map, &exec)?;
        let owner = self.map.host_ids(exec.uid, exec.gid);
        let group = self.group.clone();
        let out_of_memory = move || group.as_ref().is_some_and(Group::out_of_memory);
        self.client.exec(exec, spec.stdio, owner, out_of_memory).await
    }

    async fn begin(&self, spec: &ExecSpec) -> Result<(Process, Option<u32>)> {
        let exec = self.client.defaults().command(spec);
        check_user(&self.map, &exec)?;
        let owner = self.map.host_ids(exec.uid, exec.gid);
        let group = self.group.clone();
        self.client.begin(exec, owner, move || group.as_ref().is_some_and(Group::out_of_memory)).await
    }

    async fn forward(&self, port: u16) -> Result<Box<dyn ByteStream>> {
        self.client.forward(port).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.client.check_running()?;
        Ok(self.group.as_ref().map(Group::stats).unwrap_or_default())
    }

    async fn gone(&self) {
        if let Some(lifeline) = &self.lifeline {
            let copy = lifeline.init.pidfd().try_clone().and_then(crate::sys::watch);
            if let Ok(pidfd) = copy {
                let _ = pidfd.readable().await;
            }
            return;
        }
        self.client.gone().await;
    }

    fn files(&self) -> &dyn Files {
        &self.client
    }
}

/// A user that the sandbox's map does not have cannot be become.
pub(crate) fn check_user(map: &IdMap, exec: &Exec) -> Result<()> {
    if map.has(exec.uid) && map.has(exec.gid) {
        return Ok(());
    }
    Err(Error::new(Kind::Unsupported, format!("this sandbox has no user {}:{}", exec.uid, exec.gid))
        .with_hint(
            "it has one user, root inside, because no subordinate ids are set up; see 'agentkernel doctor'",
        ))
}
