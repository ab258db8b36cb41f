//! What an image has besides its trees: directories, links and generated files.

use crate::{
    mounts::{Step, make_directory},
    wire::Fault,
};
use agentkernel_backend::{GeneratedFile, Rootfs};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags},
    io::Errno,
};

/// What the root holds already. Whatever a layer has, links lead to the layers' own files: nothing else is mounted yet,
/// and the host's root is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    Empty,
    /// Files of layers, among them links and whatever else at any place.
    Layers,
}

/// Makes all of it. Directories and links stay where a layer has something; generated files replace it.
pub(crate) fn lay(image: &Rootfs, ground: Ground) -> Result<(), Fault> {
    for (path, mode) in &image.directories {
        make_directory(path.as_str(), *mode).step(|| format!("make {path}"))?;
    }
    for (path, says) in &image.links {
        make_parent(path.as_str())?;
        match rustix::fs::symlink(says.as_str(), path.as_str()) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Fault::new(format!("link {path}"), errno)),
        }
    }
    for file in &image.files {
        if ground == Ground::Layers {
            make_parent(file.target.as_str())?;
            remove(file.target.as_str()).step(|| format!("replace {}", file.target))?;
        }
        match write(file) {
            // Tried first: the files that every root has lie in directories that it has.
            Err(fault) if fault.errno == libc::ENOENT => {
                make_parent(file.target.as_str())?;
                write(file)?;
            }
            other => other?,
        }
    }
    Ok(())
}

/// A working directory that a layer lacks, as Docker makes it. One that cannot be made is told by the command that wants
/// to be there.
pub(crate) fn make_workdir(path: &str) {
    let _told_later = make_directory(path, 0o755);
}

fn make_parent(path: &str) -> Result<(), Fault> {
    match path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
        Some((parent, _)) => make_directory(parent, 0o755).step(|| format!("make {parent}")),
        None => Ok(()),
    }
}

/// A link is removed, not what it leads to. A directory with something in it is no place for a file, and no image has one
/// there.
fn remove(path: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(CWD, path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR),
        Err(errno) => Err(errno),
    }
}

fn write(file: &GeneratedFile) -> Result<(), Fault> {
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(file.target.as_str(), flags, Mode::from_raw_mode(file.mode));
    let opened = opened.step(|| format!("make {}", file.target))?;
    let mut rest = file.content.as_slice();
    while !rest.is_empty() {
        let written = rustix::io::write(&opened, rest).step(|| format!("write {}", file.target))?;
        rest = &rest[written..];
    }
    Ok(())
}
