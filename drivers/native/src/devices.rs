//! /dev: the six devices that programs need, a devpts of the sandbox's own, and shared memory. Read-only otherwise.

use crate::{
    mounts::{Place, Step, Trust, clone_mount, make_directory, mount_at, new_filesystem},
    sys::{Depth, MOUNT_NOEXEC, MOUNT_NOSUID, MOUNT_RDONLY, MountAttr, mount_setattr},
    wire::Fault,
};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags},
    mount::MountAttrFlags,
};

const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
];

/// The host's device nodes: a user namespace cannot make its own.
#[derive(Debug)]
pub(crate) struct Devices {
    nodes: Vec<(&'static str, OwnedFd)>,
    /// The host's terminals: with the mutation `own-devpts` only.
    hosts_pts: Option<OwnedFd>,
}

pub(crate) fn open() -> Result<Devices, Fault> {
    let open = |path| Ok((path, clone_mount(path).step(|| format!("open {path}"))?));
    let hosts_pts = if crate::mutation::off("own-devpts") { Some(open("/dev/pts")?.1) } else { None };
    Ok(Devices { nodes: DEVICES.into_iter().map(open).collect::<Result<_, Fault>>()?, hosts_pts })
}

impl Devices {
    /// `dev` and `shm` are empty and in memory.
    pub(crate) fn mount(self, dev: &OwnedFd, shm: &OwnedFd, trust: Trust) -> Result<(), Fault> {
        mount_at(dev.as_fd(), "/dev", Place::Directory, trust).step(|| "mount /dev".to_owned())?;
        for (path, tree) in &self.nodes {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            drop(rustix::fs::open(*path, flags, Mode::from_raw_mode(0o666)).step(|| format!("make {path}"))?);
            mount_at(tree.as_fd(), path, Place::File, Trust::Fresh).step(|| format!("mount {path}"))?;
        }
        for (says, path) in LINKS {
            rustix::fs::symlink(says, path).step(|| format!("link {path}"))?;
        }
        for path in ["/dev/pts", "/dev/shm"] {
            make_directory(path, 0o755).step(|| format!("make {path}"))?;
        }
        let plain = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let options = [("ptmxmode", "0666"), ("mode", "0620")];
        let pts = match self.hosts_pts {
            Some(pts) => pts,
            None => new_filesystem("devpts", &options, &["newinstance"], plain)
                .step(|| "make /dev/pts".to_owned())?,
        };
        let pts = mount_at(pts.as_fd(), "/dev/pts", Place::Directory, Trust::Fresh);
        pts.step(|| "mount /dev/pts".to_owned())?;
        let shm = mount_at(shm.as_fd(), "/dev/shm", Place::Directory, Trust::Fresh);
        shm.step(|| "mount /dev/shm".to_owned())?;
        if crate::mutation::off("dev-read-only") {
            return Ok(());
        }
        let set = MOUNT_RDONLY | MOUNT_NOSUID | MOUNT_NOEXEC;
        let attr = MountAttr { set, ..MountAttr::default() };
        mount_setattr(dev.as_fd(), Depth::Top, &attr).step(|| "make /dev read-only".to_owned())
    }
}
