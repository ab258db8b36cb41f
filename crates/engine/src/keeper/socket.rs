//! The keeper's socket in the directory of its sandbox.

use agentkernel_model::{Error, Result};
use std::{
    fs::{self, File, Permissions},
    io,
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
};
use tokio::net::{UnixListener, UnixStream};

const NAME: &str = "keeper.sock";

/// A short path to the socket in `directory`, valid while the file beside it is open: the name of a socket has at most
/// 107 bytes (unix(7)), and a data directory may be longer than that.
fn short(directory: &Path) -> io::Result<(File, PathBuf)> {
    let open = File::open(directory)?;
    let through = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
    let path = if cfg!(target_os = "linux") { through.join(NAME) } else { directory.join(NAME) };
    Ok((open, path))
}

/// Listens, in the place of a dead keeper's socket if there is one. Only for the holder of the keeper's lock.
pub(crate) fn listen(directory: &Path) -> Result<UnixListener> {
    let bind = || {
        forget(directory)?;
        let (_open, path) = short(directory)?;
        let listener = UnixListener::bind(&path)?;
        // The directory is private from the start; this says so of the socket as well.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bind().map_err(|e| Error::io(format!("cannot open the keeper's socket in '{}'", directory.display()), e))
}

/// Removes the socket; that there is none is no error.
pub(crate) fn forget(directory: &Path) -> io::Result<()> {
    match fs::remove_file(directory.join(NAME)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

pub(crate) async fn connect(directory: &Path) -> io::Result<UnixStream> {
    let (_open, path) = short(directory)?;
    UnixStream::connect(path).await
}

/// Whether the other side of `stream` is this user.
pub(crate) fn is_own_user(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw())
}
