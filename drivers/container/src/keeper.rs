//! The keeper's side of a start: where the agent of a new container reports, and what it is told.

use crate::stream::Attached;
use agentkernel_backend::{Gateway, Uplink};
use agentkernel_guest::{
    agent::{Network, Welcome},
    client::listener,
    conversation::Conversation,
    network::Udp,
    process,
    uplink::CapturedUplink,
    wire::{Exec, Reply},
};
use agentkernel_model::{Error, Result};
use rustix::{
    fd::{BorrowedFd, OwnedFd},
    net::{SocketFlags, accept_with},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::io::unix::AsyncFd;

/// As [`agentkernel_guest::agent::KEEPER`] has it.
const SOCKET: &str = "keeper.sock";

/// A socket on which one agent reports, once.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    listener: AsyncFd<OwnedFd>,
    path: PathBuf,
}

impl Rendezvous {
    /// Listens in `dir`, which the container has read-only.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let failed = |e| Error::io(format!("cannot listen in {}", dir.display()), e);
        let socket = listener(dir, SOCKET)?;
        let path = dir.join(SOCKET);
        // Root of a container may be any user here; on this machine the directories above are closed to others.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).map_err(failed)?;
        Ok(Self { listener: agentkernel_guest::sys::watch(socket).map_err(failed)?, path })
    }

    /// The first connection. No command runs inside before it is answered, so it is the agent's.
    pub(crate) async fn meet(&self) -> Result<OwnedFd> {
        let failed = |e| Error::io("cannot hear the sandbox's agent", e);
        loop {
            let mut ready = self.listener.readable().await.map_err(failed)?;
            let accepted = ready.try_io(|socket| Ok(accept_with(socket.get_ref(), SocketFlags::CLOEXEC)?));
            if let Ok(accepted) = accepted {
                return accepted.map_err(failed);
            }
        }
    }
}

impl Drop for Rendezvous {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Tells the agent on `socket` what to do, and waits until the sandbox is complete.
///
/// # Errors
/// When it cannot be made complete.
pub(crate) async fn welcome(
    socket: OwnedFd,
    welcome: &Welcome,
    fds: &[BorrowedFd<'_>],
    gateway: Option<&Arc<dyn Gateway>>,
) -> Result<Conversation> {
    let conversation = told(socket, welcome, fds).await?;
    if is_captured(&conversation).await? {
        let mut sockets = Vec::new();
        while let Ok(socket) = conversation.take_fd() {
            sockets.push(socket);
        }
        let other = match welcome.network {
            Network::CapturedWithUdp => Udp::Captured,
            Network::Captured | Network::Given => Udp::Rejected,
        };
        serve(Box::new(CapturedUplink::new(sockets, other)?), gateway);
    }
    Ok(conversation)
}

/// The same over a container's streams, which carry its network as well.
///
/// # Errors
/// As [`welcome`].
pub(crate) async fn welcome_attached(
    attached: Attached,
    welcome: &Welcome,
    fds: &[BorrowedFd<'_>],
    gateway: Option<&Arc<dyn Gateway>>,
) -> Result<Conversation> {
    let conversation = told(attached.control, welcome, fds).await?;
    if is_captured(&conversation).await? {
        serve(Box::new(attached.uplink), gateway);
    }
    Ok(conversation)
}

async fn told(socket: OwnedFd, welcome: &Welcome, fds: &[BorrowedFd<'_>]) -> Result<Conversation> {
    let conversation = Conversation::new(socket)?;
    conversation.send_whole(welcome, fds).await?;
    Ok(conversation)
}

/// Waits until the sandbox is complete; whether its network ends at the keeper's.
async fn is_captured(conversation: &Conversation) -> Result<bool> {
    match conversation.recv().await? {
        Some(Reply::Up { network }) => Ok(network),
        other => Err(process::unexpected(other, &Exec::none())),
    }
}

fn serve(uplink: Box<dyn Uplink>, gateway: Option<&Arc<dyn Gateway>>) {
    // Without one nobody listens: every connection of the sandbox is reset.
    if let Some(gateway) = gateway {
        gateway.serve(uplink);
    }
}
