//! Files, mounts, descriptors and limits as a process inside sees them.

use super::{Seen, outcome, outcome_of_io};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{fs::FileTypeExt as _, process::CommandExt as _},
    },
    path::Path,
};

/// One line of /proc/self/status.
pub(super) fn status(key: &str) -> Seen {
    let text = fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
    let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
    line.map(|value| value.trim().to_owned()).ok_or_else(|| format!("there is no {key}"))
}

pub(super) fn exists(path: &str) -> Seen {
    Ok(outcome_of_io(fs::symlink_metadata(path)))
}

/// `none` or `some`.
pub(super) fn exists_any(paths: &[&str]) -> Seen {
    let found = paths.iter().any(|path| fs::symlink_metadata(path).is_ok());
    Ok(if found { "some" } else { "none" }.to_owned())
}

pub(super) fn kind(path: &str) -> Seen {
    let kind = fs::metadata(path).map_err(|e| format!("{path}: {e}"))?.file_type();
    Ok(if kind.is_char_device() { "device" } else { "file" }.to_owned())
}

pub(super) fn read(path: &str) -> Seen {
    let mut byte = [0];
    Ok(outcome_of_io(File::open(path).and_then(|mut file| file.read(&mut byte))))
}

/// Whether `path` can be opened for writing; nothing is written.
pub(super) fn may_write(path: &str) -> Seen {
    Ok(outcome(rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())))
}

pub(super) fn make_directory(path: &str) -> Seen {
    Ok(outcome_of_io(fs::create_dir(path)))
}

pub(super) fn make_file(path: &str) -> Seen {
    Ok(outcome_of_io(OpenOptions::new().write(true).create_new(true).open(path)))
}

pub(super) fn append(path: &str) -> Seen {
    Ok(outcome_of_io(OpenOptions::new().append(true).open(path).and_then(|mut f| f.write_all(b"taken\n"))))
}

/// A file that was opened for reading, opened again for writing through its descriptor.
pub(super) fn reopen(path: &str) -> Seen {
    let file = File::open(path).map_err(|e| format!("{path}: {e}"))?;
    append(&format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// CVE-2019-5736: keeps a handle on the program that runs, executes another one, which writes to the first.
pub(super) fn overwrite_self() -> Seen {
    let exe = rustix::fs::open("/proc/self/exe", OFlags::PATH, Mode::empty()).map_err(|e| e.to_string())?;
    let script = format!(
        "(printf taken >>/proc/self/fd/{0}) 2>/dev/null && echo written || echo refused",
        exe.as_raw_fd()
    );
    let failed = std::process::Command::new("/bin/sh").args(["-c", &script]).exec();
    Err(format!("cannot execute /bin/sh: {failed}"))
}

/// Raw packets for whoever executes the file (`struct vfs_cap_data`, revision 2).
pub(super) fn file_capability(path: &str) -> Seen {
    const REVISION_2_EFFECTIVE: u32 = 0x0200_0001;
    const NET_RAW: u32 = 1 << 13;
    let words = [REVISION_2_EFFECTIVE, NET_RAW, 0, 0, 0];
    let value: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    let flags = rustix::fs::XattrFlags::empty();
    Ok(outcome(rustix::fs::setxattr(path, "security.capability", &value, flags)))
}

pub(super) fn mount_flag(path: &str, flag: &str) -> Seen {
    let flags = rustix::fs::statvfs(path).map_err(|e| format!("{path}: {e}"))?.f_flag;
    let wanted = match flag {
        "nosuid" => StatVfsMountFlags::NOSUID,
        "nodev" => StatVfsMountFlags::NODEV,
        "ro" => StatVfsMountFlags::RDONLY,
        _ => return Err(format!("there is no flag '{flag}'")),
    };
    Ok(if flags.contains(wanted) { "set" } else { "missing" }.to_owned())
}

/// What a command holds beside its three streams and the directory that is being listed.
pub(super) fn descriptors() -> Seen {
    let entries = fs::read_dir("/proc/self/fd").map_err(|e| e.to_string())?;
    let numbers = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let held = numbers.filter(|n| *n > 2);
    let links: Vec<_> = held.filter_map(|n| fs::read_link(format!("/proc/self/fd/{n}")).ok()).collect();
    let leaked = links.iter().any(|to| !to.to_string_lossy().starts_with("/proc/"));
    Ok(if leaked { "leaked" } else { "none" }.to_owned())
}

/// `held` when the hard limit `name` of /proc/self/limits is `wanted`, else `other`.
pub(super) fn limit(name: &str, wanted: &str) -> Seen {
    let wanted: u64 = super::number(wanted)?;
    let text = fs::read_to_string("/proc/self/limits").map_err(|e| e.to_string())?;
    let line = text.lines().find_map(|l| l.strip_prefix(name)).ok_or_else(|| format!("no limit '{name}'"))?;
    let hard = line.split_whitespace().nth(1).ok_or("a line without a hard limit")?;
    let held = hard.parse::<u64>().is_ok_and(|hard| hard == wanted);
    Ok(if held { "held" } else { "other" }.to_owned())
}

pub(super) fn variable(name: &str) -> Seen {
    Ok(if std::env::var_os(name).is_some() { "present" } else { "absent" }.to_owned())
}

/// Terminals that are there although nobody inside made one.
pub(super) fn terminals() -> Seen {
    let entries = fs::read_dir("/dev/pts").map_err(|e| e.to_string())?;
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let some = names.into_iter().any(|name| name != "ptmx");
    Ok(if some { "some" } else { "none" }.to_owned())
}

/// The classic way out of a changed root: change it again, further down, and walk up past it.
pub(super) fn breakout(path: &str) -> Seen {
    let down = "/tmp/down";
    fs::create_dir(down).map_err(|e| format!("{down}: {e}"))?;
    rustix::process::chroot(down).map_err(|e| format!("chroot: {e}"))?;
    for _ in 0..64 {
        rustix::process::chdir("..").map_err(|e| format!("chdir: {e}"))?;
    }
    Ok(outcome_of_io(fs::symlink_metadata(Path::new(path.trim_start_matches('/')))))
}
