//! Bombs: processes, memory, files in memory, core dumps.

use crate::escape::{
    arena::{ALONE, Arena, RESTRICTIVE},
    attempt::{Attempt, Observation},
};

pub(super) fn attempts() -> Vec<Attempt> {
    vec![
        // 256 processes are allowed.
        Attempt::new("bomb/fork", "stopped", &["all", "stopped elsewhere"], |a| {
            a.inside(RESTRICTIVE, &["fork-bomb", "300"])
        }),
        // 1024 are; a limit that counts by user does not see these.
        Attempt::new("bomb/fork-of-many-users", "stopped", &["all"], |a| {
            a.inside(&["--no-network", "--memory", "2GB"], &["fork-bomb-of-many-users", "1200"])
        })
        .for_root(),
        Attempt::new("bomb/memory", "SIGKILL", &["had"], |a| {
            a.inside(&["--no-network", "--memory", "64MB"], &["memory-bomb", "160"])
        })
        .for_root(),
        // Without the bound the memory limit kills where there is one.
        Attempt::new("bomb/tmp", "ENOSPC", &["ok", "SIGKILL"], |a| disk(a, "/tmp/bomb")),
        Attempt::new("bomb/shared-memory", "ENOSPC", &["ok", "SIGKILL"], |a| disk(a, "/dev/shm/bomb")),
        Attempt::new("core-dump/limit", "held", &["other"], core_dump),
        Attempt::new("core-dump/lower-limit", "EPERM", &["ok"], |a| {
            a.inside(ALONE, &["call", "no-core-limit"])
        }),
        Attempt::new("core-dump/lower-limit-of-another", "EPERM", &["ok"], |a| {
            a.inside(ALONE, &["call", "no-core-limit-of-init"])
        }),
    ]
}

/// More than the 256 MiB that everything in memory has together.
fn disk(arena: &Arena, path: &str) -> Observation {
    let bytes = ((256_u64 << 20) + 4096).to_string();
    arena.inside(RESTRICTIVE, &["disk-bomb", path, &bytes])
}

/// With a limit of exactly one byte the kernel neither writes a core nor runs the program that core_pattern may name
/// (core(5)); with any other one, 0 among them, it would run that program as the host's root.
fn core_dump(arena: &Arena) -> Observation {
    const CORE: &str = "Max core file size";
    if arena.outside(&["limit", CORE, "1"])? != "other" {
        return Err("set-up: whoever runs this test has that very limit: set another 'ulimit -Hc'".to_owned());
    }
    arena.inside(ALONE, &["limit", CORE, "1"])
}
