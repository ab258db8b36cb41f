//! A command from its start to its end, of an ephemeral sandbox or of a named one.

use super::{
    command::{Handle, Started, exit_of},
    keeper::Link,
    store::Home,
};
use crate::proc::{self, Ending};
use agentkernel_backend::{Exit, Process};
use agentkernel_model::{Error, Result};
use std::{fs::File, process::Child, sync::Arc};

/// Everything of an ephemeral run; dropping it removes everything.
#[derive(Debug)]
pub(super) struct Ephemeral {
    home: Home,
    session: i32,
    /// Held so that others see that this run has an owner.
    _lock: File,
    /// Set once the command's number may belong to somebody else.
    over: bool,
}

impl Ephemeral {
    pub(super) const fn new(home: Home, session: i32, lock: File) -> Self {
        Self { home, session, _lock: lock, over: false }
    }

    fn clear(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.over, true) {
            return Ok(());
        }
        proc::kill_session(self.session).map_err(|e| Error::io("cannot end a run of the fake backend", e))?;
        self.home.remove()
    }
}

impl Drop for Ephemeral {
    fn drop(&mut self) {
        // Nobody is left to tell; `list_owned` finds what could not be removed.
        let _reported_by_list_owned = self.clear();
    }
}

/// The process of an ephemeral run: its end is the end of all of it.
pub(super) fn ephemeral(started: Started, mut owner: Ephemeral) -> Result<Process> {
    let (child, ended, process) = split(started)?;
    Ok(process(Box::pin(async move {
        let mut child = child;
        wait(&ended).await?;
        // Before the leader is reaped, so that its number cannot come to mean another session.
        owner.clear()?;
        reap(&mut child)
    })))
}

/// The process of a command in a named sandbox, which ends early when the sandbox does.
pub(super) fn named(started: Started, home: Home, link: Arc<Link>) -> Result<Process> {
    let session = started.session();
    let (child, ended, process) = split(started)?;
    // A task, so that the command is reaped and its note dropped also when nobody awaits its end.
    let task = tokio::spawn(async move {
        let mut child = child;
        tokio::select! {
            done = wait(&ended) => done?,
            () = link.gone() => {
                proc::kill_session(session).map_err(|e| Error::io("cannot end a command of a fake sandbox", e))?;
                wait(&ended).await?;
            }
        }
        let exit = reap(&mut child)?;
        home.forget_if_over(session)?;
        Ok(exit)
    });
    Ok(process(Box::pin(async move {
        task.await
            .unwrap_or_else(|e| Err(Error::internal("the task of a fake command ended early").with_source(e)))
    })))
}

type Finish = Box<dyn FnOnce(agentkernel_backend::process::ExitFuture) -> Process>;

fn split(started: Started) -> Result<(Child, Ending, Finish)> {
    let session = started.session();
    let Started { child, stdin, stdout, stderr, terminal } = started;
    let start_time = proc::stat(session).map_or(0, |s| s.start_time);
    let handle = proc::handle(session)
        .ok_or_else(|| Error::internal("a command vanished before it was waited for"))?;
    let ended = Ending::watch(handle).map_err(|e| Error::io("cannot watch a command", e))?;
    let control = Box::new(Handle { session, start_time, terminal });
    Ok((child, ended, Box::new(move |exit| Process { stdin, stdout, stderr, control, exit })))
}

async fn wait(ended: &Ending) -> Result<()> {
    ended.wait().await.map_err(|e| Error::io("cannot wait for a command", e))
}

fn reap(child: &mut Child) -> Result<Exit> {
    child.wait().map(exit_of).map_err(|e| Error::io("cannot wait for a command", e))
}
