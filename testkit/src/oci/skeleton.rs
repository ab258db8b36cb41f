//! The lowest layer of every image: the directories of a Unix system, its accounts, and a shell where one is wanted.

use super::{layer::LayerWriter, packages::MERGED};
use agentkernel_model::{Error, Result, text::printable};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::{Command, Stdio},
};
use tar::Archive;

const DIRECTORIES: [(&str, u32); 26] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("usr/lib", 0o755),
    ("usr/lib32", 0o755),
    ("usr/lib64", 0o755),
    ("usr/libx32", 0o755),
    ("usr/local/bin", 0o755),
    ("usr/local/lib", 0o755),
    ("usr/local/sbin", 0o755),
    ("usr/sbin", 0o755),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/tmp", 0o1777),
];

/// The accounts that every image has.
pub(super) const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbin:x:1:1:bin:/bin:/sbin/nologin\n\
                                 daemon:x:2:2:daemon:/sbin:/sbin/nologin\n\
                                 nobody:x:65534:65534:nobody:/:/sbin/nologin\n";
pub(super) const GROUP: &str = "root:x:0:root\nbin:x:1:root,bin,daemon\ndaemon:x:2:root,bin,daemon\ntty:x:5:\n\
                                nogroup:x:65534:\n";

const FILES: [(&str, &str); 6] = [
    ("etc/passwd", PASSWD),
    ("etc/group", GROUP),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"),
    ("etc/profile", "umask 022\n"),
    ("etc/shells", "/bin/sh\n"),
];

pub(super) fn add(layer: &mut LayerWriter) -> Result<()> {
    for (path, mode) in DIRECTORIES {
        layer.directory(path, mode)?;
    }
    for name in MERGED {
        layer.symlink(name, &format!("usr/{name}"))?;
    }
    layer.symlink("var/run", "/run")?;
    layer.symlink("etc/mtab", "/proc/mounts")?;
    FILES.into_iter().try_for_each(|(path, text)| layer.file(path, 0o644, text.as_bytes()))
}

/// Links for every applet of the busybox in `package`, which is asked for their names. `scratch` is a directory.
pub(super) fn add_applets(layer: &mut LayerWriter, package: &Path, scratch: &Path) -> Result<()> {
    let program = scratch.join(format!("busybox-{}", std::process::id()));
    let listed = extract(package, &program).and_then(|()| list(&program));
    // The program was made for one question.
    let removed = fs::remove_file(&program);
    let listed =
        listed.map_err(|e| Error::io(format!("cannot list the applets of '{}'", package.display()), e))?;
    removed.map_err(|e| Error::io(format!("cannot remove '{}'", program.display()), e))?;
    for path in listed.lines() {
        let plain = path.bytes().all(|b| b.is_ascii_graphic()) && !path.contains("..");
        if !plain {
            return Err(Error::invalid(format!("busybox names the applet '{}'", printable(path))));
        }
        let place = if path.starts_with("usr/") { path.to_owned() } else { format!("usr/{path}") };
        // The table of applets holds busybox's own names and a few that stand in two directories.
        if !layer.has(&place) && place.split('/').count() == 3 {
            layer.symlink(&place, "/bin/busybox")?;
        }
    }
    Ok(())
}

fn extract(package: &Path, program: &Path) -> io::Result<()> {
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let out = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let found = copy_busybox(out, program);
    // It may be writing still: what is wanted comes first.
    child.kill()?;
    child.wait()?;
    found
}

fn copy_busybox(archive: impl io::Read, program: &Path) -> io::Result<()> {
    for entry in Archive::new(archive).entries()? {
        let mut entry = entry?;
        let name = entry.path_bytes();
        if matches!(name.as_ref(), b"./bin/busybox" | b"./usr/bin/busybox") {
            let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o755).open(program)?;
            return io::copy(&mut entry, &mut file).map(|_| ());
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "there is no bin/busybox in the package"))
}

fn list(program: &Path) -> io::Result<String> {
    let output = Command::new(program).arg("--list-full").stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("busybox --list-full: {}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}
