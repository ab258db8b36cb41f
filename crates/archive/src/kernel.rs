//! What Linux does in its own way, and what other systems do in its place. Elsewhere this crate is for archives of files
//! and links: what only Linux has is refused there.

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{FileType, Mode, OFlags, RawMode},
    io::Errno,
};

/// What is known about a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) kind: FileType,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) modified: i64,
    pub(crate) links: u64,
    /// Tells it from every other file while it exists.
    pub(crate) id: Id,
    /// The device that it is.
    pub(crate) device: (u32, u32),
    /// Tells the mount that it is on from others.
    pub(crate) mount: u64,
}

pub(crate) type Id = (u64, u64);

impl Facts {
    /// What overlayfs takes for "there is nothing here".
    pub(crate) fn is_whiteout(&self) -> bool {
        self.kind == FileType::CharacterDevice && self.device == (0, 0)
    }
}

pub(crate) fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode((bits & 0o7777) as RawMode)
}

/// A directory for reading, no link and nothing else.
pub(crate) fn open_directory(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// The directory at `path` below `root`, step by step, and through no link.
fn step_within(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut at = open_directory(root, b".")?;
    for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        let named = look_at(&at, part)?;
        at = open_directory(&at, part)?;
        // gVisor (20221219) follows a link that is opened as a directory, whatever it is told.
        if named.kind != FileType::Directory || look(&at)?.id != named.id {
            return Err(Errno::NOTDIR);
        }
    }
    Ok(at)
}

pub(crate) use system::{fifo, look, look_at, open_within, whiteout};

#[cfg(target_os = "linux")]
mod system {
    use super::{AsFd, BorrowedFd, Errno, Facts, FileType, Mode, OFlags, OwnedFd};
    use rustix::fs::{AtFlags, ResolveFlags, StatxFlags};

    /// The directory at `path` below `root`. Links on the way are followed as if `root` were the root of everything:
    /// the kernel sees to it, whoever renames what meanwhile.
    pub(crate) fn open_within(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
        // A rename anywhere makes the kernel unsure and say so: again, but not for whoever renames all the time.
        const ATTEMPTS: usize = 64;
        let path = if path.is_empty() { b".".as_slice() } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut last = Errno::AGAIN;
        for _ in 0..ATTEMPTS {
            match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
                Err(errno @ (Errno::AGAIN | Errno::INTR)) => last = errno,
                // gVisor has no such call.
                Err(Errno::NOSYS) => return super::step_within(root, path),
                other => return other,
            }
        }
        Err(last)
    }

    pub(crate) fn fifo(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
        rustix::fs::mknodat(parent, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
    }

    /// A character device 0:0, which anybody may make.
    pub(crate) fn whiteout(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
        rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0)
    }

    pub(crate) fn look(file: impl AsFd) -> Result<Facts, Errno> {
        statx(file, b"", AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)
    }

    pub(crate) fn look_at(parent: impl AsFd, name: &[u8]) -> Result<Facts, Errno> {
        match statx(parent.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
            // gVisor knows the call without this flag, and mounts nothing by itself.
            Err(Errno::INVAL) => statx(parent, name, AtFlags::SYMLINK_NOFOLLOW),
            other => other,
        }
    }

    fn statx(at: impl AsFd, name: &[u8], flags: AtFlags) -> Result<Facts, Errno> {
        let known = rustix::fs::statx(at, name, flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?;
        let device = |major: u32, minor: u32| u64::from(major) << 32 | u64::from(minor);
        let dev = device(known.stx_dev_major, known.stx_dev_minor);
        let has_mount = StatxFlags::from_bits_retain(known.stx_mask).contains(StatxFlags::MNT_ID);
        Ok(Facts {
            kind: FileType::from_raw_mode(known.stx_mode.into()),
            mode: u32::from(known.stx_mode) & 0o7777,
            uid: known.stx_uid,
            gid: known.stx_gid,
            size: known.stx_size,
            modified: known.stx_mtime.tv_sec,
            links: known.stx_nlink.into(),
            id: (dev, known.stx_ino),
            device: (known.stx_rdev_major, known.stx_rdev_minor),
            mount: if has_mount { known.stx_mnt_id } else { dev },
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{AsFd, BorrowedFd, Errno, Facts, FileType, OwnedFd};
    use rustix::fs::{AtFlags, Stat};

    pub(crate) fn open_within(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
        super::step_within(root, path)
    }

    pub(crate) fn fifo(_parent: BorrowedFd<'_>, _name: &[u8]) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    pub(crate) fn whiteout(_parent: BorrowedFd<'_>, _name: &[u8]) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    pub(crate) fn look(file: impl AsFd) -> Result<Facts, Errno> {
        rustix::fs::fstat(file).map(|stat| facts(&stat))
    }

    pub(crate) fn look_at(parent: impl AsFd, name: &[u8]) -> Result<Facts, Errno> {
        rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| facts(&stat))
    }

    fn facts(stat: &Stat) -> Facts {
        let dev = u64::from(stat.st_dev.cast_unsigned());
        let device = stat.st_rdev.cast_unsigned();
        Facts {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: u32::from(stat.st_mode) & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: stat.st_mtime,
            links: stat.st_nlink.into(),
            id: (dev, stat.st_ino),
            device: (device >> 24, device & 0xff_ffff),
            mount: dev,
        }
    }
}
