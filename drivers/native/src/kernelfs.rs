//! /proc, with what tells about or changes the host masked or read-only. There is no /sys.

use crate::{
    mounts::{Place, Step, Trust, clone_mount, clone_tree, mount_at, new_filesystem},
    sys::{Depth, MOUNT_NOEXEC, MOUNT_NOSUID, MOUNT_RDONLY, MountAttr, mount_setattr},
    wire::Fault,
};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::CWD,
    io::Errno,
    mount::{MountAttrFlags, MoveMountFlags},
};

/// Writable to root by the kernel's own rules, and about the whole machine.
const READ_ONLY: [&str; 5] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"];

/// Files that tell about the host's kernel or its other users.
const MASKED_FILES: [&str; 7] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/kallsyms",
];
const MASKED_DIRECTORIES: [&str; 4] = ["/proc/acpi", "/proc/asound", "/proc/scsi", "/proc/driver"];

/// A new /proc of this pid namespace, mounted nowhere yet.
#[derive(Debug)]
pub(crate) struct KernelFs {
    proc: OwnedFd,
}

/// Must run while the host's /proc is visible: the kernel lets nobody make a /proc who could not see one.
pub(crate) fn open() -> Result<KernelFs, Fault> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    // A process sees those it may trace: never init, whose command line and memory are the host's.
    let hidden = [("hidepid", "invisible")];
    let options: &[(&str, &str)] = if crate::mutation::off("hidepid") { &[] } else { &hidden };
    if crate::mutation::off("pid-namespace") {
        let proc = clone_tree(std::path::Path::new("/proc"), crate::plan::Origin::Image, 0, None)
            .step(|| "show /proc".to_owned())?;
        return Ok(KernelFs { proc });
    }
    let proc = new_filesystem("proc", options, &[], attributes).step(|| "make /proc".to_owned())?;
    Ok(KernelFs { proc })
}

impl KernelFs {
    /// Files are masked with the sandbox's own /dev/null, so /dev must be there already; directories with `empty`.
    pub(crate) fn mount(self, empty: &OwnedFd, trust: Trust) -> Result<(), Fault> {
        let proc = mount_at(self.proc.as_fd(), "/proc", Place::Directory, trust);
        proc.step(|| "mount /proc".to_owned())?;
        if !crate::mutation::off("proc-read-only") {
            for path in READ_ONLY {
                freeze(path).step(|| format!("make {path} read-only"))?;
            }
        }
        if !crate::mutation::off("proc-masks") {
            for path in MASKED_FILES {
                cover(path, "/dev/null").step(|| format!("mask {path}"))?;
            }
            mask_directories(empty)?;
        }
        Ok(())
    }
}

/// Covers `path` with a read-only copy of itself.
fn freeze(path: &str) -> Result<(), Errno> {
    cover(path, path)
}

/// Covers `path` with a read-only copy of the mount at `with`; does nothing when this kernel has no `path`.
fn cover(path: &str, with: &str) -> Result<(), Errno> {
    let copy = match clone_mount(with) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    put(&copy, path).map(drop)
}

/// Whether `path` existed and is covered by `tree` now, read-only.
fn put(tree: &OwnedFd, path: &str) -> Result<bool, Errno> {
    let set = MOUNT_RDONLY | MOUNT_NOSUID | MOUNT_NOEXEC;
    mount_setattr(tree.as_fd(), Depth::Top, &MountAttr { set, ..MountAttr::default() })?;
    match rustix::mount::move_mount(tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// A mount can be attached once: the first place gets `empty` itself, each further one a copy of what the first shows.
fn mask_directories(empty: &OwnedFd) -> Result<(), Fault> {
    let mut first = None;
    for path in MASKED_DIRECTORIES {
        let what = || format!("mask {path}");
        match first {
            Some(first) => cover(path, first).step(what)?,
            None => first = put(empty, path).step(what)?.then_some(path),
        }
    }
    Ok(())
}
