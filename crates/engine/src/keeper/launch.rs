//! Starting a keeper, and hearing from it.

use super::{
    handover,
    protocol::{self, Report},
};
use crate::{lock::Lock, values::Values};
use agentkernel_backend::Host;
use agentkernel_model::{Error, Kind, Result, id::SandboxId};
use agentkernel_trace as trace;
use std::{os::fd::OwnedFd, process::Stdio};
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::UnixStream,
    process::{Child, Command},
};

/// The hidden verb of the command line that runs [`crate::Engine::keep`].
const VERB: &str = "keeper";

/// Starts the keeper of `id` and waits until the sandbox is up.
///
/// Its stdin is a copy of `operations`: when this process is killed meanwhile, nobody else can work on the sandbox
/// before the keeper has brought it up or has given up. Its stdout is a socket, over which it is given `values` and then
/// reports: they are in no argument, no variable and no file.
///
/// # Errors
/// The keeper's own error, with its kind and hint.
pub(crate) async fn launch(host: &Host, id: SandboxId, operations: &Lock, values: &Values) -> Result<()> {
    let handed = handover::encode(values)?;
    let no_socket = |e| Error::io("cannot make the socket of a keeper", e);
    let (mut ours, theirs) = UnixStream::pair().map_err(no_socket)?;
    let theirs = theirs.into_std().map_err(no_socket)?;
    theirs.set_nonblocking(false).map_err(no_socket)?;
    let mut child = spawn(host, id, operations, OwnedFd::from(theirs), values)?;
    // It reads when the sandbox is there, or ends: then this write fails, however much is left.
    // One that ended before it heard everything has a report, or none: that says more than a broken pipe.
    let _heard = ours.write_all(&handed).await;
    drop(handed);
    let mut ours = BufReader::new(ours);
    let report = loop {
        match protocol::receive::<Report>(&mut ours).await {
            Err(error) if error.kind() == Kind::Invalid => return Err(error),
            Ok(Some(Report::Spans(spans))) => trace::take_in(&spans),
            // What a peer leaves that ended without reading all: a reset.
            report => break report.ok().flatten(),
        }
    };
    match report {
        Some(Report::Ready) => Ok(()),
        Some(Report::Failed(error)) => {
            // It is about to end; without this it would stay a zombie for as long as we live.
            child.wait().await.map_err(|e| Error::io("cannot wait for a keeper", e))?;
            Err(error.into())
        }
        None | Some(Report::Spans(_)) => Err(mute(&mut child).await),
    }
}

/// Its end of the socket is the keeper's alone afterwards: when the keeper is gone, ours says so.
fn spawn(host: &Host, id: SandboxId, operations: &Lock, theirs: OwnedFd, values: &Values) -> Result<Child> {
    let mut command = Command::new(&host.exe);
    // A vault can be the environment, which is in the memory of whatever is cloned from the keeper.
    values.names().for_each(|name| {
        command.env_remove(name.as_str());
    });
    // Nor does it send traces.
    trace::SECRET_VARIABLES.iter().for_each(|name| {
        command.env_remove(name);
    });
    match trace::current() {
        Some(asked) => command.env(trace::VARIABLE, asked.to_string()),
        None => command.env_remove(trace::VARIABLE),
    };
    command
        .arg(VERB)
        .arg(id.to_string())
        .current_dir("/")
        .stdin(operations.share()?)
        .stdout(theirs)
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| Error::io(format!("cannot start the keeper '{} {VERB} {id}'", host.exe.display()), e))
}

async fn mute(child: &mut Child) -> Error {
    let how = match child.wait().await {
        Ok(status) => status.to_string(),
        Err(e) => e.to_string(),
    };
    Error::internal(format!("the keeper of the sandbox ended before the sandbox was up ({how})"))
        .with_hint("agentkernel doctor")
}
