//! Processes of this machine as /proc shows them, and how to end them without a race and without sleeping.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use std::{
    fs, io,
    os::fd::OwnedFd,
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::io::unix::AsyncFd;

/// The facts of one /proc/PID/stat that tests need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub pid: i32,
    pub parent: i32,
    pub session: i32,
    pub state: char,
    /// Clock ticks since boot: with the pid, an identity that is never used twice.
    pub start_time: u64,
    /// Processor time of the process itself, in clock ticks.
    pub cpu_ticks: u64,
}

/// Reads /proc/`pid`/stat; `None` when there is no such process.
#[must_use]
pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Parses a line of proc_pid_stat(5). The command's name may hold anything, so fields count from its last `)`.
#[must_use]
pub fn parse_stat(text: &str) -> Option<Stat> {
    let pid = text.split_once(' ')?.0.parse().ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |i: usize| fields.get(i).and_then(|f: &&str| f.parse::<u64>().ok());
    let id = |i: usize| fields.get(i).and_then(|f| f.parse::<i32>().ok());
    Some(Stat {
        pid,
        state: fields.first()?.chars().next()?,
        parent: id(1)?,
        session: id(3)?,
        cpu_ticks: number(11)?.checked_add(number(12)?)?,
        start_time: number(19)?,
    })
}

/// The ids of all processes of this pid namespace.
///
/// # Errors
/// When /proc cannot be listed.
pub fn all() -> io::Result<Vec<i32>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// Every live (not zombie) process of session `session`, its leader included when it has not called setsid(2) yet.
///
/// # Errors
/// When /proc cannot be listed.
pub fn of_session(session: i32) -> io::Result<Vec<Stat>> {
    let member = |s: &Stat| s.session == session || s.pid == session;
    let live = |s: &Stat| member(s) && !matches!(s.state, 'Z' | 'X');
    Ok(all()?.into_iter().filter_map(stat).filter(live).collect())
}

/// Resident memory of `pid` in bytes; 0 once it is gone.
#[must_use]
pub fn resident_bytes(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    pages.saturating_mul(u64::try_from(rustix::param::page_size()).unwrap_or(4096))
}

/// The binary that `pid` runs, as far as it may be seen.
#[must_use]
pub fn executable(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// A handle on `pid` that cannot come to mean another process; `None` when it is gone.
#[must_use]
pub fn handle(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Sends `signal` to every process of `session`, through handles.
///
/// # Errors
/// When /proc cannot be listed.
pub fn signal_session(session: i32, signal: Signal) -> io::Result<Vec<OwnedFd>> {
    let mut handles = Vec::new();
    for member in of_session(session)? {
        let Some(fd) = handle(member.pid) else { continue };
        // Asked again after the handle was made: between the listing and the handle the pid may have changed hands.
        if stat(member.pid).is_some_and(|now| now.start_time == member.start_time) {
            // ESRCH: it ended by itself in the meantime.
            let _gone = pidfd_send_signal(&fd, signal);
            handles.push(fd);
        }
    }
    Ok(handles)
}

/// Waits until the process of `pidfd` has ended, at most until `deadline`; whether it has.
///
/// # Errors
/// When poll(2) fails.
pub fn wait_until(pidfd: &OwnedFd, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// The end of a process, to be awaited.
#[derive(Debug)]
pub struct Ending(AsyncFd<OwnedFd>);

impl Ending {
    /// Watches the process of `pidfd`. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the descriptor cannot be watched.
    pub fn watch(pidfd: OwnedFd) -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe to call; an OwnedFd keeps its descriptor for as long as it lives"
        )]
        let watched = AsyncFd::new(pidfd)?;
        Ok(Self(watched))
    }

    /// Resolves when the process has ended; a child can be reaped then. Cancel safe.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn wait(&self) -> io::Result<()> {
        self.0.readable().await.map(|_| ())
    }
}

/// Kills every process of `session` and waits for their end, also those that were forked meanwhile.
///
/// # Errors
/// `TimedOut` when some are still there after ten seconds, which only a fault of the kernel can cause.
pub fn kill_session(session: i32) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let handles = signal_session(session, Signal::KILL)?;
        if handles.is_empty() {
            return Ok(());
        }
        for fd in &handles {
            if !wait_until(fd, deadline)? {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("session {session} outlives SIGKILL"),
                ));
            }
        }
    }
}

#[cfg(test)]
#[path = "proc_tests.rs"]
mod tests;
