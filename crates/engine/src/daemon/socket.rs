//! The daemon's files in the data directory: its lock, which is the fact that it runs, and its socket.

use agentkernel_backend::Host;
use agentkernel_model::{Error, Result};
use std::{
    fs::{self, File, Permissions},
    io,
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
};
use tokio::net::{UnixListener, UnixStream};

const NAME: &str = "daemon.sock";

/// Held by the daemon. The text in it is for people.
pub(super) fn lock(host: &Host) -> PathBuf {
    host.data.join("daemon.lock")
}

pub(super) fn path(host: &Host) -> PathBuf {
    host.data.join(NAME)
}

/// A short path to the socket, valid while the file beside it is open: the name of a socket has at most 107 bytes
/// (unix(7)), and a data directory may be longer than that.
fn short(directory: &Path) -> io::Result<(File, PathBuf)> {
    let open = File::open(directory)?;
    let through = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
    let path = if cfg!(target_os = "linux") { through.join(NAME) } else { directory.join(NAME) };
    Ok((open, path))
}

/// Listens, in the place of a dead daemon's socket if there is one. Only for the holder of the lock.
pub(super) fn listen(host: &Host) -> Result<UnixListener> {
    let bind = || {
        forget(host)?;
        let (_open, path) = short(&host.data)?;
        let listener = UnixListener::bind(&path)?;
        // The directory is private from the start; this says so of the socket as well.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bind().map_err(|e| Error::io(format!("cannot open the socket '{}'", path(host).display()), e))
}

/// Removes the socket; that there is none is no error.
pub(super) fn forget(host: &Host) -> io::Result<()> {
    match fs::remove_file(path(host)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// A connection to a daemon of this user: who listens as somebody else is not talked to.
pub(super) async fn connect(host: &Host) -> io::Result<UnixStream> {
    let (_open, path) = short(&host.data)?;
    let stream = UnixStream::connect(path).await?;
    if is_own_user(&stream) { Ok(stream) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Whether the other side of `stream` is this user.
pub(super) fn is_own_user(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw())
}
