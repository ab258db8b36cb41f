//! Images made by hand: layers as a registry would send them, unpacked as the store does.

use super::case::Failure;
use agentkernel_archive::{Bounds, Existing, Ownership, UnpackOptions, Whiteouts, unpack};
use agentkernel_backend::{ImageDefaults, Lease, Owners, Rootfs};
use std::{
    fs::{self, DirBuilder, File},
    os::{fd::AsFd as _, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};
use tar::{EntryType, Header};

/// The programs of the base layer, all of them busybox.
const PROGRAMS: [&str; 24] = [
    "sh", "cat", "chmod", "cp", "echo", "env", "find", "grep", "head", "id", "ln", "ls", "mkdir", "mv",
    "pwd", "readlink", "rm", "sleep", "stat", "test", "touch", "true", "wc", "printf",
];

/// One layer on its way: a tar archive, entry by entry.
#[derive(Debug, Default)]
pub struct Layer(Vec<u8>);

impl Layer {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn entry(
        mut self,
        kind: EntryType,
        name: &str,
        link: &str,
        content: &[u8],
        mode: u32,
        owner: u32,
    ) -> Self {
        // Where temporary directories have long names, so have the links to them.
        let link = if link.len() > 100 {
            let text = format!("{link}\0");
            self = self.entry(EntryType::GNULongLink, "././@LongLink", "", text.as_bytes(), 0o644, 0);
            ""
        } else {
            link
        };
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner.into());
        header.set_gid(owner.into());
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    #[must_use]
    pub fn file(self, name: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, name, "", content.as_bytes(), 0o644, 0)
    }

    /// A program, or whatever needs its own mode and owner.
    #[must_use]
    pub fn owned(self, name: &str, content: &[u8], mode: u32, owner: u32) -> Self {
        self.entry(EntryType::Regular, name, "", content, mode, owner)
    }

    #[must_use]
    pub fn directory(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name, "", b"", 0o755, 0)
    }

    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, b"", 0o777, 0)
    }

    /// `name` of the layers below is not to be seen.
    #[must_use]
    pub fn whiteout(self, name: &str) -> Self {
        let (parent, last) =
            name.rsplit_once('/').map_or((String::new(), name), |(p, l)| (format!("{p}/"), l));
        self.file(&format!("{parent}.wh.{last}"), "")
    }

    /// Nothing that layers below have in `name` is to be seen.
    #[must_use]
    pub fn opaque(self, name: &str) -> Self {
        self.directory(name).file(&format!("{name}/.wh..wh..opq"), "")
    }
}

/// A layer with a shell, its programs and the usual directories.
///
/// # Errors
/// When this machine has no busybox.
pub fn base() -> Result<Layer, Failure> {
    let mut layer = Layer::new().directory("bin").owned("bin/busybox", &busybox()?, 0o755, 0);
    for program in PROGRAMS {
        layer = layer.symlink(&format!("bin/{program}"), "busybox");
    }
    for directory in ["dev", "etc", "proc", "root", "tmp"] {
        layer = layer.directory(directory);
    }
    Ok(layer.file("etc/passwd", "root:x:0:0::/root:/bin/sh\n"))
}

/// # Errors
/// When this machine has no busybox.
pub fn busybox() -> Result<Vec<u8>, Failure> {
    let found = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find_map(|path| fs::read(path).ok());
    found.ok_or_else(|| Failure("there is no busybox: install the package busybox-static".to_owned()))
}

/// The image of `layers`, lowest first, unpacked below `place`.
///
/// # Errors
/// When a layer cannot be unpacked.
pub fn image(place: &Path, layers: Vec<Layer>) -> Result<Rootfs, Failure> {
    let mut unpacked = Vec::new();
    for (index, layer) in layers.into_iter().enumerate() {
        unpacked.push(store(&place.join(format!("layer{index}")), layer)?);
    }
    unpacked.reverse();
    Ok(Rootfs {
        identity: "handmade".to_owned(),
        layers: unpacked,
        grafts: Vec::new(),
        links: Vec::new(),
        directories: Vec::new(),
        files: Vec::new(),
        env: vec![("PATH".to_owned(), "/bin".to_owned()), ("HOME".to_owned(), "/root".to_owned())],
        defaults: ImageDefaults::default(),
        owners: Owners::Many,
    })
}

/// `rootfs` as a driver gets it.
#[must_use]
pub fn lease(rootfs: Rootfs) -> Lease {
    Lease::unguarded(rootfs)
}

fn store(path: &Path, layer: Layer) -> Result<PathBuf, Failure> {
    DirBuilder::new().mode(0o755).create(path)?;
    let root = rustix::process::geteuid().is_root();
    let options = UnpackOptions {
        bounds: Bounds { bytes: 1 << 30, entries: 100_000 },
        ownership: if root { Ownership::Archive } else { Ownership::Caller },
        whiteouts: Whiteouts::Overlay,
        existing: Existing::Replace,
    };
    let archive = [layer.0, vec![0; 1024]].concat();
    unpack(archive.as_slice(), File::open(path)?.as_fd(), &options)?;
    Ok(path.to_owned())
}
