//! Mount operations as functions over descriptors: nothing here takes a path that a guest could have changed.

use crate::{
    plan::Origin,
    sys::{Depth, MountAttr, mount_setattr},
};
use rustix::{
    fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    fs::{CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags},
};
use std::path::Path;

pub(crate) use agentkernel_guest::fault::Step;

/// A detached copy of the one mount at `path` with the flags that it has.
pub(crate) fn clone_mount(path: &str) -> Result<OwnedFd, Errno> {
    rustix::mount::open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
}

/// A detached copy of the mount tree at `path`, private (nothing mounted on the host later shows up inside) and with
/// `set` added to the flags that it has. `userns` translates the owners of its files.
///
/// Only a path that the image names may lead through symbolic links.
pub(crate) fn clone_tree(
    path: &Path,
    origin: Origin,
    set: u64,
    userns: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = if origin != Origin::Caller || crate::mutation::off("source-symlinks") {
        rustix::mount::open_tree(CWD, path, flags)?
    } else {
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let found = rustix::fs::openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?;
        rustix::mount::open_tree(&found, "", flags | OpenTreeFlags::AT_EMPTY_PATH)?
    };
    let propagation = if crate::mutation::off("private-mounts") { 0 } else { libc::MS_PRIVATE };
    let attr = MountAttr { set, propagation, ..MountAttr::default() };
    let Some(userns) = userns else {
        return mount_setattr(tree.as_fd(), Depth::Recursive, &attr).map(|()| tree);
    };
    // Usually all in one; where a file system below cannot translate owners, in parts.
    let userns_fd = u64::from(userns.as_raw_fd().cast_unsigned());
    let all = MountAttr { set: set | crate::sys::MOUNT_IDMAP, userns_fd, ..attr };
    if let Err(errno) = mount_setattr(tree.as_fd(), Depth::Recursive, &all) {
        // Root inside would own nothing of its root.
        if origin == Origin::Layer {
            return Err(errno);
        }
        mount_setattr(tree.as_fd(), Depth::Recursive, &attr)?;
        translate(&tree, userns_fd)?;
    }
    Ok(tree)
}

/// Translates the top alone; where that cannot be done either, files keep their owners, who are nobody inside: readable
/// as far as "others" may read.
fn translate(tree: &OwnedFd, userns_fd: u64) -> Result<(), Errno> {
    let attr = MountAttr { set: crate::sys::MOUNT_IDMAP, userns_fd, ..MountAttr::default() };
    match mount_setattr(tree.as_fd(), Depth::Top, &attr) {
        Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// A new file system that is mounted nowhere yet.
pub(crate) fn new_filesystem(
    kind: &str,
    options: &[(&str, &str)],
    flags: &[&str],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(&context, *key, *value)?;
    }
    for flag in flags {
        rustix::mount::fsconfig_set_flag(&context, *flag)?;
    }
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

pub(crate) fn tmpfs(bytes: u64, mode: &str, attributes: MountAttrFlags) -> Result<OwnedFd, Errno> {
    new_filesystem("tmpfs", &[("size", &bytes.to_string()), ("mode", mode)], &[], attributes)
}

/// Puts the detached mount `tree` onto what `target` is open on.
pub(crate) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", target, "", flags)
}

/// Opens `path` (absolute, of the sandbox) as a place to mount on. A symbolic link anywhere on the way is refused: an
/// image, or a sandbox that ran before, could have put one there to have a mount appear elsewhere.
pub(crate) fn open_target(path: &str) -> Result<OwnedFd, Errno> {
    let relative = path.trim_start_matches('/');
    let relative = if relative.is_empty() { "." } else { relative };
    if crate::mutation::off("mount-target-symlinks") {
        return rustix::fs::openat(CWD, relative, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    }
    // Init's working directory is the sandbox's root throughout.
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(CWD, relative, flags, Mode::empty(), resolve)
}

/// Makes `path` and its parents, with `mode` for what is new. Existing directories stay as they are; links are refused
/// as in [`open_target`].
pub(crate) fn make_directory(path: &str, mode: u32) -> Result<(), Errno> {
    let relative = path.trim_matches('/');
    match rustix::fs::mkdir(path, Mode::from_raw_mode(mode)) {
        Ok(()) if mode & 0o7000 != 0 => return rustix::fs::chmod(path, Mode::from_raw_mode(mode)),
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => return Ok(()),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let mut parent = String::new();
    let parts: Vec<&str> = relative.split('/').collect();
    for (i, part) in parts.iter().enumerate() {
        parent.push('/');
        parent.push_str(part);
        let mode = if i + 1 == parts.len() { mode } else { 0o755 };
        match rustix::fs::mkdir(parent.as_str(), Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Who could have put something at a path inside before this start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Nobody: the root was made a moment ago, or the path lies in a kernel file system.
    Fresh,
    /// A command of an earlier start, or an image.
    Written,
}

/// What a tree is mounted on when there is nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Directory,
    File,
}

/// Mounts `tree` on `path`, which is made first when it does not exist.
pub(crate) fn mount_at(tree: BorrowedFd<'_>, path: &str, place: Place, trust: Trust) -> Result<(), Errno> {
    match try_mount_at(tree, path, trust) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    match place {
        Place::Directory => make_directory(path, 0o755)?,
        Place::File => {
            if let Some((parent, _)) = path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
                make_directory(parent, 0o755)?;
            }
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            drop(rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))?);
        }
    }
    try_mount_at(tree, path, trust)
}

fn try_mount_at(tree: BorrowedFd<'_>, path: &str, trust: Trust) -> Result<(), Errno> {
    match trust {
        Trust::Fresh => {
            rustix::mount::move_mount(tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        }
        Trust::Written => attach(tree, open_target(path)?.as_fd()),
    }
}
