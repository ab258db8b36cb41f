//! Bombs, each with a bound of its own far below what would hurt a machine without a sandbox.

use super::{Seen, calls::raw, number, outcome};
use rustix::{
    fs::{FallocateFlags, Mode, OFlags},
    process::{Pid, Resource, Signal},
};

/// How the processes of a fork bomb are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Users {
    One,
    /// Each is another user, so that no limit that counts by user holds.
    Many,
}

const MOST: u32 = 2000;

/// `stopped` when fewer than `count` processes could be made, of the number that the resource limit allows where that is
/// what stopped them; `stopped elsewhere` when something else did; else `all`.
pub(super) fn forks(count: &str, users: Users) -> Seen {
    let count: u32 = number(count)?;
    if count > MOST {
        return Err(format!("no more than {MOST} processes, please"));
    }
    let mut children = Vec::new();
    for index in 0..count {
        match fork_sleeper(index, users) {
            Ok(pid) => children.push(pid),
            Err(rustix::io::Errno::AGAIN) => break,
            Err(errno) => return Err(format!("fork: {errno}")),
        }
    }
    for child in &children {
        let _ended = rustix::process::kill_process(*child, Signal::KILL);
    }
    if children.len() == count as usize {
        return Ok("all".to_owned());
    }
    let limit = rustix::process::getrlimit(Resource::Nproc).current;
    let by_limit = limit.is_some_and(|limit| limit < u64::from(count));
    Ok(if by_limit || users == Users::Many { "stopped" } else { "stopped elsewhere" }.to_owned())
}

fn fork_sleeper(index: u32, users: Users) -> Result<Pid, rustix::io::Errno> {
    let flags = usize::try_from(libc::SIGCHLD).unwrap_or(17);
    let pid = raw(libc::SYS_clone, [flags, 0, 0, 0, 0, 0])?;
    if pid == 0 {
        // Only system calls from here: this is a copy of one thread.
        let id = 2000 + index as usize;
        if users == Users::Many && raw(libc::SYS_setresuid, [id, id, id, 0, 0, 0]).is_err() {
            // SAFETY: _exit has no preconditions.
            unsafe { libc::_exit(1) }
        }
        // SAFETY: pause and _exit have no preconditions.
        unsafe {
            libc::pause();
            libc::_exit(0)
        }
    }
    i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::CHILD)
}

/// `had` after every page was written; the limit kills before.
pub(super) fn memory(mebibytes: &str) -> Seen {
    let mebibytes: usize = number(mebibytes)?;
    if mebibytes > 512 {
        return Err("no more than 512 MiB, please".to_owned());
    }
    let mut bytes = vec![0_u8; mebibytes << 20];
    for byte in bytes.iter_mut().step_by(4096) {
        *byte = 1;
    }
    Ok(if std::hint::black_box(&bytes)[4096] == 1 { "had" } else { "lost" }.to_owned())
}

/// Room for `bytes` in a file system in memory. One that is bounded refuses without giving any.
pub(super) fn disk(path: &str, bytes: &str) -> Seen {
    let bytes: u64 = number(bytes)?;
    if bytes > 512 << 20 {
        return Err("no more than 512 MiB, please".to_owned());
    }
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|e| format!("{path}: {e}"))?;
    Ok(outcome(rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes)))
}
