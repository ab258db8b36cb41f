//! Starting a keeper, and hearing from it.

use super::protocol::{self, Report};
use crate::lock::Lock;
use agentkernel_backend::Host;
use agentkernel_model::{Error, Result, id::SandboxId};
use std::process::Stdio;
use tokio::{
    io::BufReader,
    process::{Child, Command},
};

/// The hidden verb of the command line that runs [`crate::Engine::keep`].
const VERB: &str = "keeper";

/// Starts the keeper of `id` and waits until the sandbox is up.
///
/// Its stdin is a copy of `operations`: when this process is killed meanwhile, nobody else can work on the sandbox
/// before the keeper has brought it up or has given up. Its stdout is the pipe that it reports through.
///
/// # Errors
/// The keeper's own error, with its kind and hint.
pub(crate) async fn launch(host: &Host, id: SandboxId, operations: &Lock) -> Result<()> {
    let mut child = Command::new(&host.exe)
        .arg(VERB)
        .arg(id.to_string())
        .current_dir("/")
        .stdin(operations.share()?)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| Error::io(format!("cannot start the keeper '{} {VERB} {id}'", host.exe.display()), e))?;
    let report = match child.stdout.take() {
        Some(pipe) => protocol::receive::<Report>(&mut BufReader::new(pipe)).await?,
        None => None,
    };
    match report {
        Some(Report::Ready) => Ok(()),
        Some(Report::Failed(error)) => {
            // It is about to end; without this it would stay a zombie for as long as we live.
            child.wait().await.map_err(|e| Error::io("cannot wait for a keeper", e))?;
            Err(error.into())
        }
        None => Err(mute(&mut child).await),
    }
}

async fn mute(child: &mut Child) -> Error {
    let how = match child.wait().await {
        Ok(status) => status.to_string(),
        Err(e) => e.to_string(),
    };
    Error::internal(format!("the keeper of the sandbox ended before the sandbox was up ({how})"))
        .with_hint("agentkernel doctor")
}
