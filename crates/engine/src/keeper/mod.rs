//! The keeper: one small process per running named sandbox. It holds what must outlive the command that started the
//! sandbox: the lock that says that it runs, its gateway, its published ports, its detached commands and the timer of its
//! expiry.
//!
//! When a keeper ends for whatever reason, its sandbox ends with it, and the kernel lets go of the lock.

mod boot;
mod client;
mod commands;
mod ending;
mod expiry;
pub(crate) mod handover;
mod launch;
pub(crate) mod protocol;
mod serve;
mod socket;
mod visitors;

pub(crate) use client::{detach, expiry, kill, rules, stays, stop};
pub(crate) use ending::ended;
pub(crate) use launch::launch;

use crate::{engine::Engine, step};
use agentkernel_model::{Error, Result, id::SandboxId};
use agentkernel_trace::{self as trace, Context, Recorder};
use handover::Incoming;
use protocol::{Report, WireError};
use std::{
    fs::File,
    io::Write as _,
    os::fd::{AsFd, OwnedFd},
};
use tracing::Span;

/// The whole life of the keeper of `id`, in a process of its own. Returns when the sandbox is gone.
///
/// # Errors
/// Why the sandbox could not be started; the one who started this process has been told as well.
pub(crate) async fn keep(engine: &Engine, id: SandboxId, asked: Option<Context>) -> Result<()> {
    leave_the_terminal()?;
    let (inherited, report) = take_streams()?;
    let span = asked.map_or_else(Span::none, |asked| Recorder::install_for(asked, || step::span!("keeper")));
    let booting = async {
        match Incoming::of(&report) {
            Ok(incoming) => boot::boot(engine, id, inherited, incoming).await,
            Err(error) => Err(error),
        }
    };
    let booted = step::recorded(span, booting).await;
    match booted {
        Ok(Some(kept)) => {
            tell(report, &Report::Ready);
            serve::serve(engine, kept).await
        }
        // Somebody else keeps it: what the caller wanted is the case.
        Ok(None) => {
            tell(report, &Report::Ready);
            Ok(())
        }
        Err(error) => {
            tell(report, &Report::Failed(WireError::from(&error)));
            Err(error)
        }
    }
}

/// A session of its own: no hangup and no Ctrl-C of the terminal in which it happened to be started.
pub(crate) fn leave_the_terminal() -> Result<()> {
    match rustix::process::setsid() {
        // The leader of a process group, as when the verb is typed into a shell, cannot leave and need not.
        Ok(_) | Err(rustix::io::Errno::PERM) => Ok(()),
        Err(e) => Err(Error::io("cannot leave the session of the terminal", e.into())),
    }
}

/// What came in through stdin and stdout, which become /dev/null: see [`launch`].
fn take_streams() -> Result<(File, File)> {
    let fail = |e: std::io::Error| Error::io("cannot take over the standard streams", e);
    let copy = |fd: std::os::fd::BorrowedFd<'_>| -> std::io::Result<OwnedFd> { fd.try_clone_to_owned() };
    let inherited = copy(std::io::stdin().as_fd()).map_err(fail)?;
    let report = copy(std::io::stdout().as_fd()).map_err(fail)?;
    let null = File::options().read(true).write(true).open("/dev/null").map_err(fail)?;
    rustix::stdio::dup2_stdin(&null).map_err(|e| fail(e.into()))?;
    rustix::stdio::dup2_stdout(&null).map_err(|e| fail(e.into()))?;
    Ok((inherited.into(), report.into()))
}

/// Tells the one who started us and closes the pipe. Nobody may be there any more: the sandbox was asked for all the
/// same.
fn tell(mut pipe: File, report: &Report) {
    let spans = trace::take_out();
    if !spans.is_empty() {
        let _nobody_there = protocol::line(&Report::Spans(spans)).map(|bytes| pipe.write_all(&bytes));
    }
    let _nobody_there = protocol::line(report).map(|bytes| pipe.write_all(&bytes));
}
