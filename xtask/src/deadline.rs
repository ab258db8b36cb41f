//! A child process with a deadline: waits on a pidfd, never polls.

use crate::Outcome;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use std::{
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Exited(ExitStatus),
    /// It was killed because its time was up.
    TimedOut,
}

/// Runs `command` to its end, or kills it when `limit` has passed.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Outcome<Ended> {
    let mut child = command
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", command.get_program().display()))?;
    wait(&mut child, limit)
}

/// Waits for `child`, or kills it when `limit` has passed.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Outcome<Ended> {
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs().try_into()?, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => {
                // Its pid is ours until it is waited for, so this cannot hit another process.
                kill_process(pid, Signal::KILL)?;
                child.wait()?;
                return Ok(Ended::TimedOut);
            }
            Ok(_) => return Ok(Ended::Exited(child.wait()?)),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_ends_keeps_its_status() {
        let ended = run(Command::new("sh").args(["-c", "exit 7"]), Duration::from_secs(60)).unwrap();
        assert!(matches!(ended, Ended::Exited(status) if status.code() == Some(7)), "{ended:?}");
    }

    #[test]
    fn a_command_that_hangs_is_killed() {
        let before = Instant::now();
        let ended = run(Command::new("sleep").arg("600"), Duration::from_millis(50)).unwrap();
        assert_eq!(ended, Ended::TimedOut);
        assert!(before.elapsed() < Duration::from_secs(60));
    }
}
