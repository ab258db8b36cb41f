//! The system call policy: one table, which each backend renders to its own form (BPF, an engine's JSON).
//!
//! Every level is an allow-list: a call that stands nowhere answers `ENOSYS`, so that a C library falls back as on an
//! older kernel. [`DENIED`] lists what escapes are made of; those answer `EPERM`, which says "not allowed" and not
//! "does not exist". Foreign architectures and x32 are the renderer's duty: i386 calls end the process, numbers with
//! the x32 bit answer `ENOSYS`.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeccompLevel {
    /// [`COMMON`] without [`TRACING`].
    Restrictive,
    /// [`COMMON`] and [`TRACING`].
    Moderate,
}

impl SeccompLevel {
    /// Names of the calls that are allowed whatever their arguments. A name that an architecture lacks is skipped.
    pub fn allowed(self) -> impl Iterator<Item = &'static str> {
        let tracing: &[&str] = match self {
            Self::Restrictive => &[],
            Self::Moderate => &TRACING,
        };
        COMMON.iter().chain(tracing).copied()
    }
}

/// The `errno` of a refused call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `EPERM`.
    NotPermitted,
    /// `ENOSYS`.
    NoSuchCall,
    /// `EAFNOSUPPORT`.
    NoSuchFamily,
}

/// A test of one argument's low 32 bits: all that these calls look at, whatever a caller puts above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgTest {
    /// `arg & mask == 0`.
    NoneOf { mask: u32 },
    /// `arg` is one of these.
    OneOf(&'static [u32]),
    /// `arg` is none of these.
    NotOneOf(&'static [u32]),
}

/// A call that is allowed when `test` holds for argument number `arg`, or when the argument that `unless` names has
/// none of these 64 bits, and else answers `otherwise`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditional {
    pub name: &'static str,
    pub arg: u8,
    pub test: ArgTest,
    pub unless: Option<(u8, u64)>,
    pub otherwise: Refusal,
}

impl Conditional {
    const fn new(name: &'static str, arg: u8, test: ArgTest, otherwise: Refusal) -> Self {
        Self { name, arg, test, unless: None, otherwise }
    }

    const fn unless(mut self, arg: u8, mask: u64) -> Self {
        self.unless = Some((arg, mask));
        self
    }
}

/// `CLONE_NEW*` of linux/sched.h: mount, cgroup, uts, ipc, user, pid and network namespaces, and time, whose bit
/// (0x80) lies in what `clone` reads as the exit signal and so means nothing there.
const NEW_NAMESPACES: u32 = 0x7e02_0000;

/// Calls allowed by their arguments, at every level.
pub const CONDITIONAL: [Conditional; 7] = [
    Conditional::new("clone", 0, ArgTest::NoneOf { mask: NEW_NAMESPACES }, Refusal::NotPermitted),
    // TIOCSTI types into the controlling terminal, TIOCLINUX pastes into a virtual console.
    Conditional::new("ioctl", 1, ArgTest::NotOneOf(&[0x5412, 0x541c]), Refusal::NotPermitted),
    // PER_LINUX, PER_LINUX32, UNAME26 with either, and the query 0xffffffff.
    Conditional::new(
        "personality",
        0,
        ArgTest::OneOf(&[0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff]),
        Refusal::NotPermitted,
    ),
    // The limit of core dumps (4) stays at the one value at which no host program is run on them, 1: core(5).
    Conditional::new("prlimit64", 1, ArgTest::NotOneOf(&[4]), Refusal::NotPermitted).unless(2, u64::MAX),
    Conditional::new("setrlimit", 0, ArgTest::NotOneOf(&[4]), Refusal::NotPermitted),
    // UNIX, INET, INET6, NETLINK. VSOCK would reach the hypervisor, ALG and PACKET kernel code that nobody needs.
    Conditional::new("socket", 0, ArgTest::OneOf(&[1, 2, 10, 16]), Refusal::NoSuchFamily),
    Conditional::new("socketpair", 0, ArgTest::OneOf(&[1]), Refusal::NoSuchFamily),
];

/// The bits of a file's mode that make it run with its owner's rights: set-user-ID and set-group-ID.
const SET_ID: u32 = 0o6000;
/// Flags of open(2) with which it looks at its mode: `O_CREAT` and `O_TMPFILE`.
const CREATES: u64 = 0o100 | 0o20_000_000;

/// Calls that could make a set-user-ID file, for sandboxes that share a writable directory with the host: the host would
/// run such a file with its owner's rights, which inside may be root's. `openat2`, whose mode stands behind a pointer,
/// is then absent, and C libraries fall back.
pub const SET_ID_CONDITIONAL: [Conditional; 9] = {
    const TEST: ArgTest = ArgTest::NoneOf { mask: SET_ID };
    const NO: Refusal = Refusal::NotPermitted;
    [
        Conditional::new("chmod", 1, TEST, NO),
        Conditional::new("creat", 1, TEST, NO),
        Conditional::new("fchmod", 1, TEST, NO),
        Conditional::new("fchmodat", 2, TEST, NO),
        Conditional::new("fchmodat2", 2, TEST, NO),
        Conditional::new("mknod", 1, TEST, NO),
        Conditional::new("mknodat", 2, TEST, NO),
        Conditional::new("open", 2, TEST, NO).unless(1, CREATES),
        Conditional::new("openat", 3, TEST, NO).unless(2, CREATES),
    ]
};

/// Calls that answer `ENOSYS` although they exist: `clone3` hides its flags behind a pointer, so the C library is sent
/// back to `clone`; io_uring makes system calls that no filter sees.
pub const ABSENT: [&str; 4] = ["clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"];

/// Calls that answer `EPERM`.
pub const DENIED: [&str; 60] = [
    "acct",
    "add_key",
    "adjtimex",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "create_module",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_kernel_syms",
    "get_mempolicy",
    "init_module",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "listmount",
    "lookup_dcookie",
    "mbind",
    "migrate_pages",
    "modify_ldt",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "open_tree_attr",
    "perf_event_open",
    "pivot_root",
    "query_module",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "sethostname",
    "setdomainname",
    "setns",
    "settimeofday",
    "stime",
    "statmount",
    "swapoff",
    "swapon",
    "syslog",
    "umount2",
    "unshare",
    "userfaultfd",
    "vhangup",
    "vmsplice",
];

/// Calls for debuggers: allowed from moderate on. They reach the sandbox's own processes only.
pub const TRACING: [&str; 5] =
    ["pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"];

/// Calls that ordinary programs make.
pub const COMMON: [&str; 306] = [
    "_llseek",
    "_newselect",
    "accept",
    "accept4",
    "access",
    "alarm",
    "arch_prctl",
    "bind",
    "brk",
    "cachestat",
    "capget",
    "capset",
    "chdir",
    "chmod",
    "chown",
    "chroot",
    "clock_getres",
    "clock_getres_time64",
    "clock_gettime",
    "clock_gettime64",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "close",
    "close_range",
    "connect",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd",
    "eventfd2",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fadvise64_64",
    "fallocate",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fcntl",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fork",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "futex",
    "futex_requeue",
    "futex_time64",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "futimesat",
    "get_robust_list",
    "get_thread_area",
    "getcpu",
    "getcwd",
    "getdents",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getitimer",
    "getpeername",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrusage",
    "getsid",
    "getsockname",
    "getsockopt",
    "gettid",
    "gettimeofday",
    "getuid",
    "getxattr",
    "getxattrat",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_pgetevents_time64",
    "io_setup",
    "io_submit",
    "ioprio_get",
    "ioprio_set",
    "kill",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listen",
    "listxattr",
    "listxattrat",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "memfd_create",
    "memfd_secret",
    "mincore",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mprotect",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedsend",
    "mq_unlink",
    "mremap",
    "mseal",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pause",
    "pidfd_open",
    "pidfd_send_signal",
    "pipe",
    "pipe2",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "poll",
    "ppoll",
    "ppoll_time64",
    "prctl",
    "pread64",
    "preadv",
    "preadv2",
    "process_mrelease",
    "pselect6",
    "pselect6_time64",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "recvfrom",
    "recvmmsg",
    "recvmmsg_time64",
    "recvmsg",
    "remap_file_pages",
    "removexattr",
    "removexattrat",
    "rename",
    "renameat",
    "renameat2",
    "restart_syscall",
    "riscv_hwprobe",
    "rmdir",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
    "rt_tgsigqueueinfo",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_rr_get_interval_time64",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "seccomp",
    "select",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "semtimedop_time64",
    "sendfile",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "set_thread_area",
    "set_tid_address",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setitimer",
    "setpgid",
    "setpriority",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setsid",
    "setsockopt",
    "setuid",
    "setxattr",
    "setxattrat",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "shutdown",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "splice",
    "stat",
    "statfs",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "sync_file_range2",
    "syncfs",
    "sysinfo",
    "tee",
    "tgkill",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    "times",
    "tkill",
    "truncate",
    "umask",
    "uname",
    "unlink",
    "unlinkat",
    "uretprobe",
    "utime",
    "utimensat",
    "utimensat_time64",
    "utimes",
    "vfork",
    "wait4",
    "waitid",
    "write",
    "writev",
];
