//! The caller's terminal: its size, and raw mode for as long as a command has it.

use agentkernel_model::{Error, Result, command::TerminalSize};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::{
    io::{IsTerminal, stderr, stdin, stdout},
    os::fd::{AsFd, OwnedFd},
};

/// What a terminal has when nobody can say.
const USUAL: TerminalSize = TerminalSize { rows: 24, columns: 80 };

/// The size of the caller's terminal.
pub(crate) fn size() -> TerminalSize {
    let of = |fd: std::os::fd::BorrowedFd<'_>| tcgetwinsize(fd).ok().filter(|w| w.ws_row > 0 && w.ws_col > 0);
    let found = of(stdout().as_fd()).or_else(|| of(stdin().as_fd())).or_else(|| of(stderr().as_fd()));
    found.map_or(USUAL, |w| TerminalSize { rows: w.ws_row, columns: w.ws_col })
}

pub(crate) fn stdin_is_terminal() -> bool {
    stdin().is_terminal()
}

pub(crate) fn stderr_is_terminal() -> bool {
    stderr().is_terminal()
}

/// Raw mode, until dropped. A panic restores the terminal too, although the release build then aborts without dropping.
#[derive(Debug)]
pub(crate) struct RawMode {
    terminal: OwnedFd,
    saved: Termios,
}

impl RawMode {
    /// Puts the terminal on stdin into raw mode.
    ///
    /// # Errors
    /// When stdin is no terminal that can be changed.
    pub(crate) fn enter() -> Result<Self> {
        let fd = stdin().as_fd().try_clone_to_owned();
        let mode = Self::enter_on(fd.map_err(|e| Error::io("cannot duplicate stdin", e))?)?;
        let (terminal, saved) = (mode.terminal.try_clone().ok(), mode.saved.clone());
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if let Some(terminal) = &terminal {
                let _ = tcsetattr(terminal, OptionalActions::Now, &saved);
            }
            previous(info);
        }));
        Ok(mode)
    }

    fn enter_on(terminal: OwnedFd) -> Result<Self> {
        let fail = |e: rustix::io::Errno| Error::io("cannot change the mode of the terminal", e.into());
        let saved = tcgetattr(&terminal).map_err(fail)?;
        let mode = Self { terminal, saved };
        mode.apply()?;
        Ok(mode)
    }

    /// Raw again, after something else had the terminal.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn apply(&self) -> Result<()> {
        let mut raw = self.saved.clone();
        raw.make_raw();
        tcsetattr(&self.terminal, OptionalActions::Now, &raw)
            .map_err(|e| Error::io("cannot change the mode of the terminal", e.into()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may be gone; there is then nothing to restore.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.saved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::{
        fs::{Mode, OFlags},
        pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
        termios::LocalModes,
    };

    #[test]
    fn raw_mode_ends_with_its_guard() {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(&path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let canonical =
            || tcgetattr(&slave).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO);
        assert!(canonical());
        let guard = RawMode::enter_on(slave.try_clone().unwrap()).unwrap();
        assert!(!canonical());
        drop(guard);
        assert!(canonical());
    }

    #[test]
    fn what_is_no_terminal_is_refused() {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()).unwrap();
        assert!(RawMode::enter_on(null).is_err());
    }
}
