//! Waiting for the end of a keeper, for those who look on.

use crate::{directories::SandboxDir, lock};
use agentkernel_model::Result;
use std::time::Duration;

/// Longer than anybody looks: the wait for the end of a sandbox has no other end.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Resolves when nobody keeps the sandbox. Whoever gives up waiting leaves nothing behind: a wait for the keeper's lock
/// would leave a thread, and a conversation takes one of the keeper's few places.
///
/// # Errors
/// When the lock cannot be looked at, or the process not be waited for.
pub(crate) async fn ended(dir: &SandboxDir) -> Result<()> {
    while lock::is_held(&dir.keeping())? {
        if !process_ends(dir).await? {
            // It does not listen yet, or not any more: a moment.
            lock::is_released(&dir.keeping(), FOR_EVER).await?;
        }
    }
    Ok(())
}

/// Waits for the end of the process that listens; `false` when none does.
#[cfg(any(target_os = "linux", target_os = "android"))]
async fn process_ends(dir: &SandboxDir) -> Result<bool> {
    use agentkernel_model::Error;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use tokio::io::{Interest, unix::AsyncFd};

    let fail = |e| Error::io("cannot wait for the end of a keeper", e);
    let Ok(stream) = super::socket::connect(&dir.path).await else { return Ok(false) };
    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()).and_then(Pid::from_raw);
    let Some(process) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::NONBLOCK).ok()) else {
        return Ok(false);
    };
    drop(stream);
    // Had it ended before it was opened, its number could be another's.
    if !lock::is_held(&dir.keeping())? {
        return Ok(true);
    }
    #[expect(deprecated, reason = "its successor is unsafe; an OwnedFd keeps what that one asks for")]
    let watched = AsyncFd::with_interest(process, Interest::READABLE).map_err(fail)?;
    // The kernel tells of an end when everything that was open is closed, the lock among it.
    watched.readable().await.map(|_| true).map_err(fail)
}

/// Waits for the end of the process that listens; `false` when none does.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
async fn process_ends(_: &SandboxDir) -> Result<bool> {
    Ok(false)
}
