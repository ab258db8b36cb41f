//! System calls that escapes are made of, stopped by the filter (or, where said, by missing capabilities).

use crate::escape::{
    arena::{ALONE, Arena, RESTRICTIVE},
    attempt::{Attempt, Observation},
};
use agentkernel_model::seccomp::{ABSENT, DENIED, TRACING};
use syscalls::Sysno;

pub(super) fn attempts() -> Vec<Attempt> {
    let mut attempts = real();
    attempts.extend(sockets());
    attempts.extend(foreign());
    // The whole table, one by one: asked of the filter, so that no test ever reboots a machine.
    attempts.extend(DENIED.iter().filter_map(|name| table(name, "EPERM", ALONE)));
    // An allow-list: what nobody knew when it was written is closed. 467 is open_tree_attr.
    for (name, number) in [("call/of-newer-kernels", "467"), ("call/of-the-future", "999")] {
        let ask = move |arena: &Arena| arena.inside(ALONE, &["ask", number]);
        attempts.push(Attempt::new(name, "ENOSYS", &["kernel"], ask));
    }
    attempts.extend(ABSENT.iter().filter_map(|name| table(name, "ENOSYS", ALONE)));
    attempts.extend(TRACING.iter().filter_map(|name| table(name, "ENOSYS", RESTRICTIVE)));
    attempts
}

/// A call that this architecture has.
fn table(name: &'static str, stopped: &'static str, flags: &'static [&'static str]) -> Option<Attempt> {
    let number = name.parse::<Sysno>().ok()?.id().to_string();
    let ask = move |arena: &Arena| arena.inside(flags, &["ask", &number]);
    Some(Attempt::new(format!("call/{name}"), stopped, &["kernel"], ask))
}

fn call(
    attempt: &'static str,
    name: &'static str,
    stopped: &'static str,
    through: &'static [&'static str],
) -> Attempt {
    Attempt::new(attempt, stopped, through, move |arena| arena.inside(ALONE, &["call", name]))
}

/// Calls that are really made; what gets through is what the kernel answers to these arguments.
fn real() -> Vec<Attempt> {
    vec![
        call("keyring/add", "add_key", "EPERM", &["ok"]),
        call("keyring/read", "keyctl", "EPERM", &["ok"]),
        call("kernel-code/bpf", "bpf", "EPERM", &["E2BIG", "ENOSYS"]),
        call("kernel-code/perf", "perf_event_open", "EPERM", &["EFAULT", "ENOSYS"]),
        call("kernel-code/userfaultfd", "userfaultfd", "EPERM", &["EINVAL", "ENOSYS"]),
        call("filter-bypass/io-uring", "io_uring_setup", "ENOSYS", &["EFAULT", "EINVAL"])
            .unless(io_uring_is_missing),
        call("filter-bypass/clone3", "clone3", "ENOSYS", &["EINVAL"]),
        call("filter-bypass/personality", "personality", "EPERM", &["ok"]),
        call("namespace/unshare-user", "unshare-user", "EPERM", &["ok"]),
        call("namespace/clone-user", "clone-user", "EPERM", &["ok"]),
        call("namespace/setns", "setns", "EPERM", &["EBADF"]),
        call("mount/attach", "mount", "EPERM", &["EFAULT"]),
        call("mount/open-tree", "open_tree", "EPERM", &["ok"]),
        call("CVE-2022-0492/new-namespaces", "unshare-cgroup", "EPERM", &["ok"]),
        call("shocker/open-by-handle", "open_by_handle_at", "EPERM", &["EFAULT", "EBADF"]),
        call("raw-socket", "raw-socket", "EPERM", &["ok"]),
        Attempt::new("terminal/type-into", "EPERM", &["ok", "EIO"], |arena| on_terminal(arena, "tiocsti")),
        Attempt::new("terminal/paste-into", "EPERM", &["ENOTTY", "EINVAL"], |arena| {
            on_terminal(arena, "tioclinux")
        }),
        Attempt::new("debug/trace-me", "ENOSYS", &["ok"], |arena| {
            arena.inside(RESTRICTIVE, &["call", "ptrace-me"])
        }),
        Attempt::new("debug/read-init", "ENOSYS", &["EPERM", "ESRCH"], |arena| {
            arena.inside(RESTRICTIVE, &["call", "read-init"])
        }),
        Attempt::new("filter/is-there-in-exec", "2", &["0"], |arena| {
            arena.inside_named(&["status", "Seccomp"])
        }),
        Attempt::new("filter/is-there", "2", &["0"], |arena| arena.inside(ALONE, &["status", "Seccomp"])),
    ]
}

/// Types into a terminal of the sandbox's own, where the call would be understood.
fn on_terminal(arena: &Arena, name: &str) -> Observation {
    let said = arena.env.file("project/said", "");
    let file = std::fs::File::create(&said).map_err(|e| format!("set-up: {e}"))?;
    let run = arena.run(&["--no-network", "--tty"], &["/probe", "probe", "call", name]);
    let finished = run.stdout(file).run();
    if finished.code != Some(0) {
        return Err(format!("the probe did not get to say what it saw: {finished}"));
    }
    let said = std::fs::read_to_string(said).map_err(|e| e.to_string())?;
    Ok(said.trim().to_owned())
}

/// A kernel without io_uring, or with it switched off, answers as the filter does.
fn io_uring_is_missing() -> Option<String> {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    (disabled.trim() != "0").then(|| "io_uring is switched off on this machine".to_owned())
}

/// Kinds of sockets that reach past the sandbox.
fn sockets() -> Vec<Attempt> {
    let Some(number) = "socket".parse::<Sysno>().ok().map(|call| call.id().to_string()) else {
        return Vec::new();
    };
    let families = [("vsock", "40"), ("alg", "38"), ("packet", "17"), ("bluetooth", "31"), ("tipc", "30")];
    let attempt = |(name, family): (&str, &'static str)| {
        let number = number.clone();
        let ask = move |arena: &Arena| arena.inside(ALONE, &["ask", &number, family, "1"]);
        Attempt::new(format!("socket/{name}"), "EAFNOSUPPORT", &["kernel"], ask)
    };
    let mut attempts: Vec<Attempt> = families.into_iter().map(attempt).collect();
    if let Ok(call) = "socketpair".parse::<Sysno>() {
        let number = call.id().to_string();
        let ask = move |arena: &Arena| arena.inside(ALONE, &["ask", &number, "30", "1"]);
        attempts.push(Attempt::new("socket/pair-of-tipc", "EAFNOSUPPORT", &["kernel"], ask));
    }
    attempts
}

/// The doors of other instruction sets, past the numbers that the filter knows.
#[cfg(target_arch = "x86_64")]
fn foreign() -> Vec<Attempt> {
    const X32_BIT: i32 = 0x4000_0000;
    let x32 = |call: Sysno| (call.id() | X32_BIT).to_string();
    let (ptrace, getpid) = (x32(Sysno::ptrace), x32(Sysno::getpid));
    vec![
        Attempt::new("foreign/i386", "SIGSYS", &["pid"], |arena| arena.inside(ALONE, &["i386"]))
            .unless(no_i386_door),
        Attempt::new("foreign/x32", "ENOSYS", &["kernel"], move |a| a.inside(ALONE, &["ask", &getpid])),
        Attempt::new("foreign/x32-ptrace", "ENOSYS", &["kernel"], move |a| {
            a.inside(RESTRICTIVE, &["ask", &ptrace])
        }),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn foreign() -> Vec<Attempt> {
    Vec::new()
}

/// Without a sandbox the door must be open, or the attempt proves nothing.
#[cfg(target_arch = "x86_64")]
fn no_i386_door() -> Option<String> {
    let arena = Arena::new(None).ok()?;
    match arena.outside(&["i386"]) {
        Ok(word) if word == "pid" => None,
        other => Some(format!("this kernel has no door for 32-bit programs: {other:?}")),
    }
}
