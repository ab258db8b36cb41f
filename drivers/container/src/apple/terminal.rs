//! A terminal on this side, for the command line: it wants one where the command inside gets one.

use agentkernel_model::{Error, Result, command::TerminalSize};
use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

/// The end that is ours, and the one for the command line.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) controller: OwnedFd,
    pub(crate) device: OwnedFd,
}

impl Terminal {
    /// # Errors
    /// When the system has none left.
    pub(crate) fn new(size: TerminalSize) -> Result<Self> {
        let failed = |errno: rustix::io::Errno| Error::io("cannot make a terminal", errno.into());
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).map_err(failed)?;
        rustix::io::fcntl_setfd(&controller, rustix::io::FdFlags::CLOEXEC).map_err(failed)?;
        grantpt(&controller).and_then(|()| unlockpt(&controller)).map_err(failed)?;
        let name = ptsname(&controller, Vec::new()).map_err(failed)?;
        // It must not become the terminal of this process.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let device = open(name, flags, Mode::empty()).map_err(failed)?;
        resize(&controller, size).map_err(|e| Error::io("cannot size a terminal", e))?;
        Ok(Self { controller, device })
    }
}

/// Whoever reads the size has to be told that it is another.
pub(crate) fn resize(controller: impl AsFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(controller, size)?)
}
