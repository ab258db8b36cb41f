//! System calls that rustix does not wrap: every `unsafe` block of this crate that is not a fork stands here.

use rustix::{
    fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    io::Errno,
    process::Pid,
};
use std::{ffi::CString, mem::size_of, os::fd::RawFd};

/// A result of a raw system call: -1 is `errno`.
pub fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result == -1 {
        return Err(Errno::from_raw_os_error(
            std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO),
        ));
    }
    Ok(result)
}

/// `struct clone_args` up to `cgroup` (linux/sched.h, size 88).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Forked {
    Parent(Pid),
    Child,
}

/// `clone3(2)` into new namespaces, as fork(2) otherwise. `cgroup` places the child in a v2 cgroup from its first
/// moment.
///
/// # Safety
/// The calling process must have one thread: the child has a copy of the heap and of every lock, and only then are
/// none of them held by threads that do not exist in it.
pub unsafe fn clone_single_threaded(
    flags: libc::c_int,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Forked, Errno> {
    let Some(cgroup) = cgroup else {
        // Without a group the older call does as well, which filters can look into and so allow. The exit signal stands in
        // the flags' lowest byte; with CLONE_PARENT it is the caller's own.
        let signal = if flags & libc::CLONE_PARENT == 0 { libc::SIGCHLD } else { 0 };
        // SAFETY: as below; all pointers are null, in whatever order this machine has them.
        let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags | signal, 0, 0, 0, 0) })?;
        return Ok(side(pid));
    };
    let mut args = CloneArgs { flags: u64::from(flags.cast_unsigned()), ..CloneArgs::default() };
    // With CLONE_PARENT the exit signal is the caller's own and must not be given.
    if flags & libc::CLONE_PARENT == 0 {
        args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    }
    // CLONE_INTO_CGROUP
    args.flags |= 0x2_0000_0000;
    args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    // SAFETY: `args` is a valid clone_args of the size given; no stack and no CLONE_VM, so the child continues on a
    // copy of this stack as after fork(2). That this is sound for the heap is the caller's promise.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })?;
    Ok(side(pid))
}

fn side(pid: libc::c_long) -> Forked {
    Pid::from_raw(i32::try_from(pid).unwrap_or(0)).map_or(Forked::Child, Forked::Parent)
}

/// `fork(2)` by the C library, which makes the heap usable in the child of a process with many threads.
///
/// # Safety
/// The child must not touch a lock that another thread could have held, other than the allocator's.
pub unsafe fn fork() -> Result<Forked, Errno> {
    // SAFETY: fork has no memory preconditions; what the child may do is the caller's promise.
    let pid = check(libc::c_long::from(unsafe { libc::fork() }))?;
    Ok(side(pid))
}

/// Registers `fd` with the tokio runtime that this is called in.
pub fn watch(fd: OwnedFd) -> std::io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open for as long as it lives, always the same number, and the AsyncFd owns it.
    Ok(unsafe { tokio::io::unix::AsyncFd::register(fd) }?)
}

/// Runs `child` in a new process that borrows this one's memory until it executes a program or exits (`vfork(2)`, on a
/// stack of its own): nothing is copied. The caller waits meanwhile.
///
/// # Safety
/// The calling process must have one thread. `child` must not unwind, and must leave memory that the caller uses as the
/// caller expects it: what it allocates and does not free is lost.
pub unsafe fn vfork<F: FnOnce() -> std::convert::Infallible>(child: F) -> Result<Pid, Errno> {
    const STACK: usize = 256 * 1024;
    extern "C" fn enter<F: FnOnce() -> std::convert::Infallible>(slot: *mut libc::c_void) -> libc::c_int {
        // SAFETY: `slot` is the Option<F> of the caller, which waits and does not touch it.
        let child = unsafe { (*slot.cast::<Option<F>>()).take() };
        match child.map(|child| child()) {
            Some(never) => match never {},
            None => 127,
        }
    }
    let mut slot = Some(child);
    let mut stack = vec![0_u128; STACK / 16];
    // SAFETY: the stack is ours, 16-byte aligned, and outlives the child's use of it, because CLONE_VFORK returns only
    // when the child has executed or ended; so does `slot`.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(stack.len()).cast();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        libc::clone(enter::<F>, top, flags, (&raw mut slot).cast())
    };
    let pid = check(libc::c_long::from(pid))?;
    Pid::from_raw(i32::try_from(pid).unwrap_or(0)).ok_or(Errno::CHILD)
}

/// Ends this process at once: no destructor, no buffer of the parent's is flushed twice.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions and does not return.
    unsafe { libc::_exit(code) }
}

/// Blocks SIGCHLD and SIGPIPE is left alone; returns a descriptor that is readable when a child changed state.
pub fn signalfd_child() -> Result<OwnedFd, Errno> {
    // SAFETY: `set` is initialised by sigemptyset before any use, the calls only read it, and the descriptor that
    // signalfd returns is new and owned by nobody else.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        check(libc::c_long::from(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut())))?;
        let fd = check(libc::c_long::from(libc::signalfd(
            -1,
            &raw const set,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        )))?;
        Ok(OwnedFd::from_raw_fd(RawFd::try_from(fd).unwrap_or(-1)))
    }
}

/// `setsid(2)`. gVisor answers 0 in place of the session's number, which rustix takes for impossible.
pub fn new_session() -> Result<(), Errno> {
    // SAFETY: setsid has no memory preconditions.
    check(libc::c_long::from(unsafe { libc::setsid() })).map(drop)
}

/// No signal arrives at this thread until this is dropped, nor at a child that is forked meanwhile until it calls
/// [`reset_signals`]. Between the two a child has this process's handlers, and what they take for the child is lost.
#[derive(Debug)]
pub struct HeldSignals(libc::sigset_t);

/// Holds back every signal.
pub fn hold_signals() -> Result<HeldSignals, Errno> {
    // SAFETY: `all` is initialised by sigfillset before sigprocmask reads it, and `before` by sigprocmask.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        check(libc::c_long::from(libc::sigprocmask(libc::SIG_SETMASK, &raw const all, &raw mut before)))?;
        Ok(HeldSignals(before))
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        // SAFETY: the set was filled in by sigprocmask.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

/// Gives every signal its default action and unblocks all: a command starts as from a login shell.
pub fn reset_signals() {
    // What is ignored stays so when a program is executed, as SIGPIPE is in Rust programs, and as a caller may have set those
    // that shells and nohup(1) set. Handlers go then, but one that waits here runs before.
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is a valid disposition for every signal; the few that cannot be set are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: `set` is initialised by sigemptyset before sigprocmask reads it.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Sends `signal` to every process that init may signal: all of the pid namespace but init itself.
pub fn signal_everyone(signal: rustix::process::Signal) {
    // Without a pid namespace that would be everyone on the machine.
    if crate::mutation::off("pid-namespace") {
        return;
    }
    // SAFETY: kill has no memory preconditions; -1 means every process of the caller's pid namespace, and only init of
    // a sandbox calls this.
    unsafe { libc::kill(-1, signal.as_raw()) };
}

/// One instruction of classic BPF, as `struct sock_filter`.
pub type Instruction = libc::sock_filter;

/// Puts the whole process under `filter` (seccomp(2), `SECCOMP_SET_MODE_FILTER`). Needs `no_new_privs`.
pub fn install_filter(filter: &[Instruction]) -> Result<(), Errno> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| Errno::TOOBIG)?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: `program` points at `len` instructions that live through the call; the kernel copies and does not write.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) })?;
    Ok(())
}

/// A NULL-terminated array of C strings, as execve(2) wants it.
#[derive(Debug)]
pub struct StringArray {
    strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl StringArray {
    pub fn new(strings: Vec<CString>) -> Self {
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Self { strings, pointers }
    }

    pub fn strings(&self) -> &[CString] {
        &self.strings
    }
}

/// `execve(2)`; returns only when it failed.
pub fn execve(path: &CString, argv: &StringArray, env: &StringArray) -> Errno {
    // SAFETY: `path` is a C string and both arrays are NULL-terminated arrays of C strings that their owners keep.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    Errno::from_raw_os_error(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

/// Brings the network interface named `lo` of this network namespace up (netdevice(7), `SIOCSIFFLAGS`).
pub fn loopback_up(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: an all-zero ifreq is a valid value of that plain C struct.
    let mut request = unsafe { std::mem::zeroed::<libc::ifreq>() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes_with_nul()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(1);
    // SAFETY: `request` is a valid ifreq with a terminated name, which the kernel reads.
    check(libc::c_long::from(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request)
    }))?;
    Ok(())
}

/// Where a redirected connection was meant to go: `SO_ORIGINAL_DST` (80) of the IP or IPv6 level.
pub fn original_dst(socket: BorrowedFd<'_>, v6: bool) -> Result<std::net::SocketAddr, Errno> {
    const SO_ORIGINAL_DST: libc::c_int = 80;
    let fd = socket.as_raw_fd();
    if v6 {
        // SAFETY: an all-zero sockaddr_in6 is valid, `size` is its size, and the kernel writes at most that much.
        let address = unsafe {
            let mut address = std::mem::zeroed::<libc::sockaddr_in6>();
            let mut size = u32::try_from(size_of::<libc::sockaddr_in6>()).unwrap_or(0);
            let to = (&raw mut address).cast();
            check(libc::getsockopt(fd, libc::IPPROTO_IPV6, SO_ORIGINAL_DST, to, &raw mut size).into())?;
            address
        };
        let ip = std::net::Ipv6Addr::from(address.sin6_addr.s6_addr);
        return Ok((ip, u16::from_be(address.sin6_port)).into());
    }
    // SAFETY: as above, for sockaddr_in.
    let address = unsafe {
        let mut address = std::mem::zeroed::<libc::sockaddr_in>();
        let mut size = u32::try_from(size_of::<libc::sockaddr_in>()).unwrap_or(0);
        let to = (&raw mut address).cast();
        check(libc::getsockopt(fd, libc::IPPROTO_IP, SO_ORIGINAL_DST, to, &raw mut size).into())?;
        address
    };
    let ip = std::net::Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
    Ok((ip, u16::from_be(address.sin_port)).into())
}

/// Sets an option of a socket that is one number.
pub fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> Result<(), Errno> {
    let size = u32::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: `value` is an int of the size given, which the kernel reads.
    check(libc::c_long::from(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size)
    }))?;
    Ok(())
}

/// A datagram of a socket that is told where each was sent (`IP_RECVORIGDSTADDR`): how many bytes of `buffer` it takes,
/// who sent it, and where to. One that tells neither is `PROTO`.
pub fn receive_with_target(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, std::net::SocketAddr, std::net::SocketAddr), Errno> {
    // Of 8 bytes each: a control message must be aligned.
    let mut control = [0_u64; 16];
    // SAFETY: all-zero values of these plain C structs are valid. `header` names memory that outlives the call, with its
    // sizes; the kernel writes no more. CMSG_FIRSTHDR and CMSG_NXTHDR stay within the control bytes that it says it wrote,
    // and each address is read only from a message of its type, as long as it is, without asking for alignment.
    unsafe {
        let mut from = std::mem::zeroed::<libc::sockaddr_storage>();
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut header = std::mem::zeroed::<libc::msghdr>();
        header.msg_name = (&raw mut from).cast();
        header.msg_namelen = u32::try_from(size_of::<libc::sockaddr_storage>()).unwrap_or(0);
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control) as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        let count = check(libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) as libc::c_long)?;
        let sender = address(&raw const from, libc::c_int::from(from.ss_family));
        let mut target = None;
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while let Some(found) = message.as_ref() {
            let family = match (found.cmsg_level, found.cmsg_type) {
                (libc::SOL_IP, libc::IP_ORIGDSTADDR) => libc::AF_INET,
                (libc::SOL_IPV6, libc::IPV6_ORIGDSTADDR) => libc::AF_INET6,
                _ => libc::AF_UNSPEC,
            };
            target = target.or(address(libc::CMSG_DATA(message).cast(), family));
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
        let (sender, target) = sender.zip(target).ok_or(Errno::PROTO)?;
        Ok((usize::try_from(count).unwrap_or(0), sender, target))
    }
}

/// The address of `family` at `at`.
///
/// # Safety
/// There must be a `sockaddr_in` or a `sockaddr_in6` at `at`, whichever `family` says; for other families nothing is read.
unsafe fn address(at: *const libc::sockaddr_storage, family: libc::c_int) -> Option<std::net::SocketAddr> {
    match family {
        libc::AF_INET => {
            // SAFETY: the caller's promise.
            let found = unsafe { at.cast::<libc::sockaddr_in>().read_unaligned() };
            let ip = std::net::Ipv4Addr::from(u32::from_be(found.sin_addr.s_addr));
            Some((ip, u16::from_be(found.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the caller's promise.
            let found = unsafe { at.cast::<libc::sockaddr_in6>().read_unaligned() };
            let ip = std::net::Ipv6Addr::from(found.sin6_addr.s6_addr);
            Some((ip, u16::from_be(found.sin6_port)).into())
        }
        _ => None,
    }
}

/// Process id and user of whoever listens at the other end of a Unix socket. The id is 0 when that process is in no pid
/// namespace below this one's.
pub fn peer(socket: &OwnedFd) -> Result<(i32, u32), Errno> {
    // SAFETY: an all-zero ucred is valid, `size` is its size, and the kernel writes at most that much.
    let peer = unsafe {
        let mut peer = std::mem::zeroed::<libc::ucred>();
        let mut size = u32::try_from(size_of::<libc::ucred>()).unwrap_or(0);
        let to = (&raw mut peer).cast();
        check(
            libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, to, &raw mut size)
                .into(),
        )?;
        peer
    };
    Ok((peer.pid, peer.uid))
}

/// Whether this process has one thread: then its children may use the heap after a raw clone.
pub fn is_single_threaded() -> bool {
    // `nlink` of /proc/self/task is the number of threads plus two.
    rustix::fs::stat("/proc/self/task").is_ok_and(|stat| stat.st_nlink == 3)
}

/// Closes every descriptor from 3 on except those in `keep`.
pub fn close_all_except(keep: &[BorrowedFd<'_>]) {
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_fd().as_raw_fd().cast_unsigned()).collect();
    keep.sort_unstable();
    let mut from = 3_u32;
    for fd in keep {
        if fd > from {
            close_range(from, fd - 1);
        }
        from = from.max(fd.saturating_add(1));
    }
    // As far as numbers of descriptors go: gVisor takes more for a negative one.
    close_range(from, i32::MAX.unsigned_abs());
}

fn close_range(first: u32, last: u32) {
    // SAFETY: used by processes that are about to own nothing but what they kept: no live object of theirs refers to a
    // descriptor of this range. An error cannot happen for a valid range.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}
