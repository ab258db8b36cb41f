//! Real system calls with arguments that tell who answered: the filter, or the kernel behind it.

use super::{Seen, number, outcome};
use rustix::io::Errno;

/// The system call `number`, whatever it is.
pub(super) fn raw(number: libc::c_long, args: [usize; 6]) -> Result<libc::c_long, Errno> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: callers pass pointers that are null, or to memory that outlives the call and that the call may use.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 { Err(last_error()) } else { Ok(result) }
}

fn last_error() -> Errno {
    Errno::from_raw_os_error(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

/// -1 and its neighbours as the kernel takes them: as two's complement.
const fn minus(n: isize) -> usize {
    (-n).cast_unsigned()
}

/// A `struct rlimit`: soft and hard.
const NO_CORE: [u64; 2] = [0, 0];

pub(super) fn call(name: &str) -> Seen {
    let (kind, key, value) = (c"user".as_ptr() as usize, c"agentkernel-escape".as_ptr() as usize, [7_u8]);
    let newns = usize::try_from(libc::CLONE_NEWNS | libc::CLONE_NEWUSER | libc::CLONE_NEWCGROUP).unwrap_or(0);
    let newuser = usize::try_from(libc::CLONE_NEWUSER).unwrap_or(0);
    // Into the keyring of this process, which ends with it.
    let process_keyring = minus(2);
    let result = match name {
        "add_key" => raw(libc::SYS_add_key, [kind, key, value.as_ptr() as usize, 1, process_keyring, 0]),
        "keyctl" => raw(libc::SYS_keyctl, [0, process_keyring, 1, 0, 0, 0]),
        // More than a page of attributes is refused before anybody's rights are looked at.
        "bpf" => raw(libc::SYS_bpf, [0, value.as_ptr() as usize, 1 << 20, 0, 0, 0]),
        "perf_event_open" => raw(libc::SYS_perf_event_open, [0, 0, minus(1), minus(1), 0, 0]),
        // For faults of user mode only, which needs no privilege, and with a flag that does not exist.
        "userfaultfd" => raw(libc::SYS_userfaultfd, [1 << 20 | 1, 0, 0, 0, 0, 0]),
        "clone3" => raw(libc::SYS_clone3, [0, 0, 0, 0, 0, 0]),
        "io_uring_setup" => raw(libc::SYS_io_uring_setup, [0, 0, 0, 0, 0, 0]),
        "open_tree" => raw(libc::SYS_open_tree, [minus(100), c"/".as_ptr() as usize, 0, 0, 0, 0]),
        "mount" => raw(libc::SYS_mount, [0, 0, 0, 0, 0, 0]),
        "open_by_handle_at" => raw(libc::SYS_open_by_handle_at, [minus(1), 0, 0, 0, 0, 0]),
        "setns" => raw(libc::SYS_setns, [minus(1), 0, 0, 0, 0, 0]),
        "unshare-user" => raw(libc::SYS_unshare, [newuser, 0, 0, 0, 0, 0]),
        "unshare-cgroup" => raw(libc::SYS_unshare, [newns, 0, 0, 0, 0, 0]),
        "clone-user" => clone_user(newuser),
        // ADDR_NO_RANDOMIZE
        "personality" => raw(libc::SYS_personality, [0x004_0000, 0, 0, 0, 0, 0]),
        "tiocsti" => raw(libc::SYS_ioctl, [0, 0x5412, c"\n".as_ptr() as usize, 0, 0, 0]),
        "tioclinux" => raw(libc::SYS_ioctl, [0, 0x541c, c"\x03".as_ptr() as usize, 0, 0, 0]),
        "ptrace-me" => raw(libc::SYS_ptrace, [0, 0, 0, 0, 0, 0]),
        "read-init" => read_of(1),
        "raw-socket" => raw(libc::SYS_socket, [2, 3, 1, 0, 0, 0]),
        "make-a-disk" => make_a_disk(),
        "no-core-limit" => raw(libc::SYS_setrlimit, [4, NO_CORE.as_ptr() as usize, 0, 0, 0, 0]),
        "no-core-limit-of-init" => raw(libc::SYS_prlimit64, [0, 4, NO_CORE.as_ptr() as usize, 0, 0, 0]),
        _ => return Err(format!("there is no call '{name}'")),
    };
    Ok(outcome(result))
}

fn clone_user(flags: usize) -> Result<libc::c_long, Errno> {
    let flags = flags | usize::try_from(libc::SIGCHLD).unwrap_or(17);
    let pid = raw(libc::SYS_clone, [flags, 0, 0, 0, 0, 0])?;
    if pid == 0 {
        // SAFETY: _exit has no preconditions.
        unsafe { libc::_exit(0) }
    }
    Ok(pid)
}

/// Eight bytes of process `pid` from an address that exists nowhere.
fn read_of(pid: usize) -> Result<libc::c_long, Errno> {
    let mut bytes = [0_u8; 8];
    let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: 0x1000 as *mut libc::c_void, iov_len: bytes.len() };
    let (local, remote) = ((&raw const local) as usize, (&raw const remote) as usize);
    raw(libc::SYS_process_vm_readv, [pid, local, 1, remote, 1, 0])
}

/// A node for a block device with numbers that no driver has.
fn make_a_disk() -> Result<libc::c_long, Errno> {
    let mode = usize::try_from(libc::S_IFBLK | 0o600).unwrap_or(0);
    let device = usize::try_from(libc::makedev(240, 250)).unwrap_or(0);
    raw(libc::SYS_mknodat, [minus(100), c"/tmp/disk".as_ptr() as usize, mode, device, 0, 0])
}

/// A set-user-ID file, made in one of the ways in which files get their mode.
pub(super) fn set_user_id(how: &str, path: &str) -> Seen {
    /// `struct open_how`: flags, mode, resolve.
    type How = [u64; 3];
    let place = std::ffi::CString::new(path).map_err(|e| e.to_string())?;
    let place = place.as_ptr() as usize;
    let (cwd, mode) = (minus(100), 0o4755);
    let creates =
        usize::try_from(libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC).map_err(|e| e.to_string())?;
    let result = match how {
        "chmod" => {
            std::fs::write(path, "program").map_err(|e| format!("{path}: {e}"))?;
            raw(libc::SYS_fchmodat, [cwd, place, mode, 0, 0, 0])
        }
        "create" => raw(libc::SYS_openat, [cwd, place, creates, mode, 0, 0]),
        "create-unseen" => {
            let how: How = [creates as u64, mode as u64, 0];
            raw(libc::SYS_openat2, [cwd, place, how.as_ptr() as usize, size_of::<How>(), 0, 0])
        }
        _ => return Err(format!("no file is made by '{how}'")),
    };
    Ok(outcome(result))
}

/// `getpid` by the door of 32-bit programs.
#[cfg(target_arch = "x86_64")]
pub(super) fn i386() -> Seen {
    let result: i32;
    // SAFETY: getpid (20 on i386) touches no memory; the registers that the entry clobbers are named.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("eax") 20 => result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    Ok(if result > 0 { "pid".to_owned() } else { format!("answer {result}") })
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn i386() -> Seen {
    Err("this machine has no such door".to_owned())
}

pub(super) fn signal(pid: &str) -> Seen {
    let pid: usize = number(pid)?;
    Ok(outcome(raw(libc::SYS_kill, [pid, 0, 0, 0, 0, 0])))
}

/// A segment of System V shared memory by its key.
pub(super) fn shared_memory(verb: &str, key: &str) -> Seen {
    const CREATE: usize = 0o3600;
    const REMOVE: usize = 0;
    let key: usize = number(key)?;
    let find = || raw(libc::SYS_shmget, [key, 0, 0, 0, 0, 0]);
    match verb {
        "make" => raw(libc::SYS_shmget, [key, 4096, CREATE, 0, 0, 0]).map_err(|e| e.to_string())?,
        "find" => return Ok(outcome(find())),
        "remove" => {
            let id = find().map_err(|e| e.to_string())?;
            raw(libc::SYS_shmctl, [id.cast_unsigned() as usize, REMOVE, 0, 0, 0, 0])
                .map_err(|e| e.to_string())?
        }
        _ => return Err(format!("'{verb}' is nothing to do with shared memory")),
    };
    Ok("done".to_owned())
}
