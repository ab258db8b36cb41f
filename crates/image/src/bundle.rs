//! Images in files: what `docker save` writes (docker-archive), and OCI layouts, as directories or tar archives, the
//! latter compressed or not. All of it is somebody else's.

use crate::{
    decode::{Content, LIMITS},
    disk::{self, failed},
    halt::Halt,
    layout::{IMPORT, Layout},
    lock::Lock,
    merged, tree,
};
use agentkernel_archive::{Bounds, Existing, Ownership, UnpackOptions, Whiteouts, unpack};
use agentkernel_model::{Error, Kind, Result, text::printable};
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Files of an archive: three or four for each layer.
const MAX_ENTRIES: u64 = 50_000;

/// A directory with images in one of the two formats.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// As the caller named it.
    name: String,
    root: PathBuf,
    /// Of an archive that was unpacked for this.
    _staging: Option<Staging>,
}

impl Bundle {
    /// Opens `source`, and unpacks it where it is an archive.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when it is not there, [`Kind::Invalid`] when it is neither an archive nor a directory.
    pub(crate) fn open(layout: &Layout, source: &Path) -> Result<Self> {
        let name = printable(&source.display().to_string());
        let meta = source.metadata().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::new(Kind::NotFound, format!("'{name}' does not exist")),
            _ => failed("open", source, e),
        })?;
        if meta.is_dir() {
            return Ok(Self { name, root: source.to_owned(), _staging: None });
        }
        if !meta.is_file() {
            return Err(Error::invalid(format!("'{name}' is neither a file nor a directory"))
                .with_hint("write it to a file first: docker save -o image.tar NAME"));
        }
        let staging = Staging::new(layout)?;
        staging.fill(source, &name)?;
        Ok(Self { name, root: staging.path.clone(), _staging: Some(staging) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The file `path`, links followed as far as they lead inside: archives link layers that are the same.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn find(&self, path: &str) -> Result<Option<File>> {
        merged::open_within(&self.root, path)
            .map_err(|e| Error::io(format!("cannot open '{}' in '{}'", printable(path), self.name), e))
    }

    /// As [`Bundle::find`], for what has to be there.
    ///
    /// # Errors
    /// Also [`Kind::Invalid`] when it is not.
    pub(crate) fn open_part(&self, path: &str) -> Result<File> {
        self.find(path)?.ok_or_else(|| {
            Error::invalid(format!("'{}' lacks '{}'", self.name, printable(path)))
                .with_hint("it may be cut off, or hold images of other platforms only by name")
        })
    }

    /// What a small part holds.
    ///
    /// # Errors
    /// Also when it is longer than `limit`.
    pub(crate) fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let file = self.open_part(path)?;
        file.take(limit + 1)
            .read_to_end(&mut content)
            .map_err(|e| Error::io(format!("cannot read '{}' in '{}'", printable(path), self.name), e))?;
        if content.len() as u64 > limit {
            let message = format!("'{}' in '{}' is longer than {limit} bytes", printable(path), self.name);
            return Err(Error::invalid(message));
        }
        Ok(content)
    }
}

/// A directory of the store for one import, gone with the value.
#[derive(Debug)]
struct Staging {
    path: PathBuf,
    root: Lock,
}

impl Staging {
    fn new(layout: &Layout) -> Result<Self> {
        let mut number = 0_u32;
        loop {
            let path = layout.partials().join(format!("{IMPORT}{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                // Of an earlier process of this number, or another thread's.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && number < 1000 => {
                    number += 1;
                    continue;
                }
                Err(e) => return Err(failed("make", &path, e)),
            }
            // Whoever sweeps may have been faster than we.
            if let Some(root) = Lock::directory(&path)? {
                return Ok(Self { path, root });
            }
            number += 1;
        }
    }

    fn fill(&self, source: &Path, name: &str) -> Result<()> {
        let open = || {
            let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
            OpenOptions::new().read(true).custom_flags(flags).open(source)
        };
        let file = open().map_err(|e| failed("open", source, e))?;
        let size = file.metadata().map_err(|e| failed("open", source, e))?.len();
        let halt = Halt::new();
        let what = format!("'{name}'");
        let limit = LIMITS.of(size);
        let mut content = Content::new(&file, &what, size, LIMITS, &halt)?;
        let options = UnpackOptions {
            bounds: Bounds { bytes: limit, entries: MAX_ENTRIES },
            ownership: Ownership::Caller,
            whiteouts: Whiteouts::Plain,
            existing: Existing::Replace,
        };
        unpack(&mut content, self.root.as_fd(), &options).map(drop).map_err(|e| {
            let told = disk::full(e);
            match told.kind() {
                Kind::Invalid => Error::invalid(format!("'{name}' is no image: {}", told.message()))
                    .with_hint("it must be what 'docker save' writes, or an OCI layout, as a directory or a tar archive"),
                _ => told,
            }
        })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What stays, the next prune takes.
        drop(tree::remove(&self.path));
    }
}
