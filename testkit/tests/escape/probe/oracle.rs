//! Asks the filter for its verdict on one call, whatever the kernel would say, and without the kernel ever doing it.
//!
//! The probe puts a filter of its own under the same call, which asks this program (seccomp_unotify(2)). The sandbox's
//! verdict, where it is a refusal, is the stronger one and is what the caller gets; else the question arrives here, and
//! the call would have reached the kernel.

use super::{Seen, calls::raw, name_of, number};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::{AsRawFd, FromRawFd, OwnedFd},
    io::Errno,
};
use std::{os::fd::RawFd, sync::mpsc};

const SET_FILTER: usize = 1;
const NEW_LISTENER: usize = 8;
/// `_IOWR('!', 0, struct seccomp_notif)`, `_IOWR('!', 1, struct seccomp_notif_resp)`.
const RECEIVE: usize = 0xc050_2100;
const ANSWER: usize = 0xc018_2101;
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// `kernel` when the call would reach it, else the refusal.
pub(super) fn ask(call: &str, arguments: &[&str]) -> Seen {
    let call: u32 = number(call)?;
    let mut args = [0_usize; 6];
    for (to, from) in args.iter_mut().zip(arguments) {
        *to = number(from)?;
    }
    let (tell, listener) = mpsc::channel();
    let (done, end) = std::io::pipe().map_err(|e| format!("cannot make a pipe: {e}"))?;
    let asker = std::thread::spawn(move || {
        let listening = listen_to(call);
        let listens = listening.is_ok();
        let told = tell.send(listening).is_ok();
        let answer = (listens && told).then(|| raw(i64::from(call), args));
        // The end of the pipe is the event that there is an answer.
        drop(end);
        answer
    });
    let listener = listener.recv().map_err(|e| e.to_string())?.map_err(|e| format!("no filter: {e}"))?;
    let asked = wait(&listener, &done)?;
    let answer = asker.join().map_err(|_| "the asking thread panicked".to_owned())?;
    match (asked, answer) {
        (true, _) => Ok("kernel".to_owned()),
        (false, Some(Err(errno))) => Ok(name_of(errno)),
        (false, answer) => Err(format!("the call was neither refused nor asked about: {answer:?}")),
    }
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}

fn listen_to(call: u32) -> Result<OwnedFd, Errno> {
    let program = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let length = libc::c_ushort::try_from(program.len()).unwrap_or(0);
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let fd = raw(libc::SYS_seccomp, [SET_FILTER, NEW_LISTENER, (&raw const program) as usize, 0, 0, 0])?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).unwrap_or(-1)) })
}

/// Whether the question arrived; it is answered with success then.
fn wait(listener: &OwnedFd, done: &std::io::PipeReader) -> Result<bool, String> {
    let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(done, PollFlags::IN)];
    let ready = poll(&mut fds, Some(&PATIENCE)).map_err(|e| e.to_string())?;
    if ready == 0 {
        return Err("neither an answer nor a question came".to_owned());
    }
    if !fds[0].revents().contains(PollFlags::IN) {
        return Ok(false);
    }
    let fd = usize::try_from(listener.as_raw_fd()).map_err(|e| e.to_string())?;
    // SAFETY: all-zero is a valid value of this plain C struct, and the kernel wants it zeroed.
    let mut question = unsafe { std::mem::zeroed::<libc::seccomp_notif>() };
    raw(libc::SYS_ioctl, [fd, RECEIVE, (&raw mut question) as usize, 0, 0, 0]).map_err(|e| e.to_string())?;
    let answer = libc::seccomp_notif_resp { id: question.id, val: 0, error: 0, flags: 0 };
    raw(libc::SYS_ioctl, [fd, ANSWER, (&raw const answer) as usize, 0, 0, 0]).map_err(|e| e.to_string())?;
    Ok(true)
}
