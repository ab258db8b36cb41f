//! What a runner does, as whoever asked for it sees it.

use super::{
    launch::{Runner, Runners},
    line::{Failure, Line, send_now},
    protocol::{Begun, Ended, Order, Reply, Work},
};
use crate::{
    audit::Audit,
    engine::Engine,
    keeper::{handover, protocol::WireError},
    request::{RunRequest, Running},
    values::{self, Source},
};
use agentkernel_backend::{Backend, ByteSink, ByteSource, Control, Exit, Health, Process};
use agentkernel_model::{
    Error, Kind, Result,
    command::{Signal, TerminalSize},
    id::BackendId,
    policy::EffectivePolicy,
};
use agentkernel_trace as trace;
use std::{
    os::{fd::OwnedFd, unix::net},
    sync::Arc,
};
use tokio::{io::AsyncWriteExt as _, net::UnixStream, process::Child};

/// Has a runner do what `request` asks for.
///
/// # Errors
/// As [`crate::Engine::run`].
pub(crate) async fn run(engine: &Engine, runners: &Runners, request: RunRequest) -> Result<Running> {
    let RunRequest { spec, command, backend, values, pool } = request;
    values::check_network(&spec.policy)?;
    let Runner { mut line, mut child } = runners.take(engine).await?;
    let policy = spec.policy.clone();
    let asked = trace::current();
    let order = Order::Run(Box::new(Work { spec, command, backend, pool, asked }));
    match line.send(&order, &[]).await {
        Err(error) if error.kind() == Kind::Invalid => return Err(error),
        // One that ended before it heard everything may have said why.
        _ => {}
    }
    let begun = begun(&mut line, &mut child, &values, &policy).await?;
    // Now, and not before: this one's start has the processors for itself.
    runners.fill(engine)?;
    let choice = begun.choice();
    let backend = engine.backend(engine.registry.find(begun.backend.as_str())?)?;
    let stdin = if begun.stdin { ByteSink::Fd(line.take_fd()?) } else { ByteSink::Closed };
    let source = |line: &mut Line, is_there: bool| -> Result<ByteSource> {
        Ok(if is_there { ByteSource::Fd(line.take_fd()?) } else { ByteSource::Empty })
    };
    let stdout = source(&mut line, begun.stdout)?;
    let stderr = source(&mut line, begun.stderr)?;
    let control = Box::new(Remote(line.socket()));
    let ending = Ending { line, child, backend, audit: engine.audit.clone() };
    let process = Process { stdin, stdout, stderr, control, exit: Box::pin(ending.wait()) };
    Ok(Running { process, choice })
}

/// Has a runner try out `backends`, and write down what it finds: the health of each, in this order.
///
/// # Errors
/// When no runner can be started, or it ends before it has an answer; when the findings cannot be written down.
pub(crate) async fn probe(
    engine: &Engine,
    runners: &Runners,
    backends: Vec<BackendId>,
) -> Result<Vec<Health>> {
    let Runner { mut line, mut child } = runners.take(engine).await?;
    let asked = backends.len();
    // One that ended before it heard everything may have said why.
    let _heard = line.send(&Order::Probe(backends), &[]).await;
    let reply = line.receive::<Reply>().await?;
    runners.fill(engine)?;
    match reply {
        Some(Reply::Probed(found)) if found.len() == asked => Ok(found),
        Some(Reply::Failed(error)) => Err(error.into()),
        Some(_) => Err(misunderstood()),
        None => Err(mute(&mut child, "the process that tried out backends ended before it was done").await),
    }
}

/// Waits until the command runs, and gives the values of its secrets when they are asked for.
async fn begun(
    line: &mut Line,
    child: &mut Child,
    values: &Source,
    policy: &EffectivePolicy,
) -> Result<Begun> {
    // Why the values were not given says more than that they did not come.
    let mut refused = None;
    loop {
        match line.receive::<Reply>().await? {
            Some(Reply::Values) if refused.is_none() => {
                let to = line.take_fd()?;
                refused = give(values, policy, to).await.err();
            }
            Some(Reply::Begun(begun)) => return Ok(*begun),
            Some(Reply::Spans(spans)) => trace::take_in(&spans),
            Some(Reply::Failed(error)) => return Err(refused.unwrap_or_else(|| error.into())),
            Some(Reply::Values | Reply::Ended(_) | Reply::Probed(_)) => return Err(misunderstood()),
            None => {
                return Err(match refused {
                    Some(error) => error,
                    None => {
                        mute(child, "the process that served the run ended before the command began").await
                    }
                });
            }
        }
    }
}

/// Has the values of what `policy` has looked up, and writes them to `to`.
async fn give(values: &Source, policy: &EffectivePolicy, to: OwnedFd) -> Result<()> {
    let handed = handover::encode(&values.ask(policy).await?)?;
    let to = net::UnixStream::from(to);
    let to = to.set_nonblocking(true).and_then(|()| UnixStream::from_std(to));
    let mut to = to.map_err(|e| Error::io("cannot hand secrets to a runner", e))?;
    // One that ends meanwhile says why on its line, or nothing: that says more than a broken pipe.
    let _heard = to.write_all(&handed).await;
    Ok(())
}

/// What is known of a command that runs.
struct Ending {
    line: Line,
    child: Child,
    backend: Arc<dyn Backend>,
    audit: Audit,
}

impl Ending {
    async fn wait(mut self) -> Result<Exit> {
        let mut last = self.line.receive::<Reply>().await?;
        if let Some(Reply::Spans(spans)) = &last {
            trace::take_in(spans);
            last = self.line.receive::<Reply>().await?;
        }
        match last {
            Some(Reply::Ended(Ended { exit, trouble })) => {
                trouble.into_iter().for_each(|trouble: WireError| self.audit.trouble(trouble.into()));
                Ok(exit)
            }
            Some(Reply::Failed(error)) => Err(error.into()),
            Some(Reply::Values | Reply::Begun(_) | Reply::Probed(_) | Reply::Spans(_)) => {
                Err(misunderstood())
            }
            None => {
                let error =
                    mute(&mut self.child, "the process that served the run ended before the command ended")
                        .await;
                // What it would have removed. What cannot be removed now is found by the next run.
                let _swept = self.backend.list_owned().await;
                Err(error)
            }
        }
    }
}

/// Signals and sizes go over the line.
#[derive(Debug)]
struct Remote(Arc<UnixStream>);

impl Remote {
    fn say(&self, order: &Order) -> Result<()> {
        match send_now(&self.0, order, &[]) {
            Ok(()) | Err(Failure::Gone) => Ok(()),
            Err(Failure::Deaf(error)) => Err(error),
        }
    }
}

impl Control for Remote {
    fn signal(&self, signal: Signal) -> Result<()> {
        self.say(&Order::Signal(signal))
    }

    fn signal_group(&self, signal: Signal) -> Result<()> {
        self.say(&Order::SignalGroup(signal))
    }

    fn resize(&self, size: TerminalSize) -> Result<()> {
        self.say(&Order::Resize(size))
    }
}

async fn mute(child: &mut Child, what: &str) -> Error {
    let how = match child.wait().await {
        Ok(status) => status.to_string(),
        Err(e) => e.to_string(),
    };
    Error::internal(format!("{what} ({how})")).with_hint("agentkernel doctor")
}

fn misunderstood() -> Error {
    Error::internal("a runner answered something else")
}
