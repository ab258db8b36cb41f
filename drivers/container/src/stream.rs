//! The container's standard streams as the way to its agent, where no socket can be shared with it: the engine carries
//! them (Docker Engine API, "Attach to a container").

use crate::{fault, plan};
use agentkernel_guest::link::keeper::{Link, LinkUplink};
use agentkernel_model::{Error, Result, id::SandboxId};
use bollard::{
    Docker,
    container::{AttachContainerResults, LogOutput},
    query_parameters::AttachContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt as _};
use rustix::fd::OwnedFd;
use std::{io, os::unix::net::UnixStream as StdStream, pin::Pin};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::AbortHandle,
};

/// The runtimes that are Linux itself: what is inside shares this kernel, and can be given descriptors.
const OF_THIS_KERNEL: [&str; 6] = [
    "crun",
    "io.containerd.runc.v1",
    "io.containerd.runc.v2",
    "io.containerd.runtime.v1.linux",
    "runc",
    "youki",
];

/// Whether containers of the runtime `name` share the engine's kernel.
pub(crate) fn shares_kernel(name: &str) -> bool {
    OF_THIS_KERNEL.contains(&name)
}

type Output = Pin<Box<dyn Stream<Item = std::result::Result<LogOutput, bollard::errors::Error>> + Send>>;

/// The keeper's end of a container's streams.
#[derive(Debug)]
pub(crate) struct Attached {
    /// A conversation with the agent; the streams end with it.
    pub(crate) control: OwnedFd,
    pub(crate) uplink: LinkUplink,
}

/// Attaches to the container of `id`, which is not started yet. Other processes of this user reach its agent by
/// `callers`, a listening socket.
///
/// # Errors
/// When the engine refuses.
pub(crate) async fn attach(docker: &Docker, id: SandboxId, callers: Option<OwnedFd>) -> Result<Attached> {
    let options = AttachContainerOptionsBuilder::default().stream(true).stdin(true).stdout(true).build();
    let attached = docker.attach_container(&plan::name(id), Some(options)).await;
    let AttachContainerResults { output, input } =
        attached.map_err(|e| fault::failed("attach to the container", e))?;
    let Link { control, wire, uplink } = Link::start(callers)?;
    let failed = |e: io::Error| Error::io("cannot use the container's streams", e);
    let (from_link, to_link) = UnixStream::from_std(StdStream::from(wire)).map_err(failed)?.into_split();
    let back = tokio::spawn(backward(output, to_link)).abort_handle();
    tokio::spawn(forward(from_link, input, back));
    Ok(Attached { control, uplink })
}

/// Ends with the link; the container's standard input ends with it, and so does the connection to the engine.
async fn forward(mut from: OwnedReadHalf, mut to: impl AsyncWrite + Unpin, back: AbortHandle) {
    let copied = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
    // An engine that takes nothing more may still have something to say.
    if copied.is_ok() {
        back.abort();
    }
}

/// Ends with the container, and the link with it.
async fn backward(mut from: Output, mut to: OwnedWriteHalf) {
    while let Some(Ok(chunk)) = from.next().await {
        let bytes = match chunk {
            LogOutput::StdOut { message } | LogOutput::Console { message } => message,
            LogOutput::StdErr { .. } | LogOutput::StdIn { .. } => continue,
        };
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
