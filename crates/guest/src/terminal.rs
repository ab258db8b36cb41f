//! Terminals of the sandbox's own devpts: the host's never comes inside.

use rustix::{
    fd::OwnedFd,
    fs::{Mode, OFlags},
    io::Errno,
    pty::OpenptFlags,
    termios::Winsize,
};

/// A new terminal: its controlling end, and the end that a command holds.
pub(crate) fn open(rows: u16, columns: u16) -> Result<(OwnedFd, OwnedFd), Errno> {
    let controller =
        rustix::fs::open("/dev/pts/ptmx", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::pty::unlockpt(&controller)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let end = match rustix::pty::ioctl_tiocgptpeer(&controller, flags) {
        // gVisor has no such call: by its name, in the same devpts.
        Err(Errno::NOTTY) => {
            let name = rustix::pty::ptsname(&controller, Vec::new())?;
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::open(name.as_c_str(), flags, Mode::empty())?
        }
        other => other?,
    };
    resize(&controller, rows, columns)?;
    Ok((controller, end))
}

pub(crate) fn resize(controller: &OwnedFd, rows: u16, columns: u16) -> Result<(), Errno> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(controller, size)
}
