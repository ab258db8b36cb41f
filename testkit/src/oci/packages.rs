//! Packages into a layer: their files as they are, on a file system whose `/bin`, `/lib` and `/sbin` are links into `/usr`.
//!
//! No script of a package runs. What scripts would have made and an image needs is written in its recipe.

use super::layer::{Attributes, LayerWriter};
use agentkernel_model::{Error, Kind, Result, image::Digest, text::printable};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    process::{Child, Command, Stdio},
};
use tar::{Archive, EntryType};

/// Top directories that are links into /usr.
pub(super) const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// What no program needs; images for containers leave it out too.
const LEFT_OUT: [&str; 6] = [
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
    "usr/share/doc-base/",
    "usr/share/bug/",
];

/// Adds the files of the package in `path`, whose bytes must have `digest`.
///
/// # Errors
/// [`Kind::Invalid`] when they have not, and for what is no package.
pub(super) fn add(layer: &mut LayerWriter, path: &Path, digest: &Digest) -> Result<()> {
    verify(path, digest)?;
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| {
            Error::new(Kind::Unavailable, "cannot start dpkg-deb")
                .with_source(e)
                .with_hint("fixtures need Debian's dpkg")
        })?;
    let added = match child.stdout.take() {
        Some(out) => add_archive(layer, out, path),
        None => Err(Error::internal("dpkg-deb has no output")),
    };
    ended(child, path).and(added)
}

fn ended(mut child: Child, path: &Path) -> Result<()> {
    let mut said = String::new();
    let read = child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
    let status = child.wait().map_err(|e| failed(path, e))?;
    if status.success() && read.is_none_or(|r| r.is_ok()) {
        return Ok(());
    }
    Err(Error::invalid(format!("'{}' is no package: {}", path.display(), printable(said.trim()))))
}

/// apt has verified the file when it came; this is for what happened to the cache since.
fn verify(path: &Path, digest: &Digest) -> Result<()> {
    let mut file = File::open(path).map_err(|e| failed(path, e))?;
    let mut hash = Sha256::new();
    let mut bytes = vec![0; 1 << 18];
    loop {
        match file.read(&mut bytes).map_err(|e| failed(path, e))? {
            0 => break,
            n => hash.update(&bytes[..n]),
        }
    }
    if Digest::of_sha256(&hash.finalize().into()) == *digest {
        return Ok(());
    }
    Err(Error::invalid(format!("'{}' is not what Debian's index says", path.display()))
        .with_hint(format!("remove it and try again: rm '{}'", path.display())))
}

fn add_archive(layer: &mut LayerWriter, archive: impl Read, path: &Path) -> Result<()> {
    let mut archive = Archive::new(archive);
    for entry in archive.entries().map_err(|e| failed(path, e))? {
        let mut entry = entry.map_err(|e| failed(path, e))?;
        let name = utf8(&entry.path_bytes(), path)?;
        let Some(place) = place(&name) else { continue };
        let header = entry.header();
        let mode = header.mode().map_err(|e| failed(path, e))?;
        let (uid, gid) =
            (header.uid().map_err(|e| failed(path, e))?, header.gid().map_err(|e| failed(path, e))?);
        let attributes = Attributes { mode, uid, gid };
        match header.entry_type() {
            EntryType::Directory => layer.directory_as(&place, attributes)?,
            EntryType::Regular => {
                let size = entry.size();
                layer.file_as(&place, attributes, size, &mut entry)?;
            }
            kind @ (EntryType::Symlink | EntryType::Link) => {
                let target = entry.link_name_bytes();
                let target = utf8(&target.unwrap_or_default(), path)?;
                if kind == EntryType::Symlink {
                    layer.symlink(&place, &target)?;
                } else {
                    // The other name may be one that is left out; then so is this one's content, which no package does.
                    let other = self::place(&target).unwrap_or_default();
                    layer.hard_link(&place, &other)?;
                }
            }
            kind => {
                return Err(Error::invalid(format!("'{}' holds an entry of kind {kind:?}", path.display())));
            }
        }
    }
    Ok(())
}

/// Where a name of a package's archive goes in the image; `None` for what is left out.
fn place(name: &str) -> Option<String> {
    let name = name.trim_start_matches("./").trim_end_matches('/');
    let (first, rest) = name.split_once('/').unwrap_or((name, ""));
    let place = if MERGED.contains(&first) { format!("usr/{name}") } else { name.to_owned() };
    // What stands at the top is the skeleton's.
    let top = rest.is_empty();
    let documentation =
        place.strip_prefix("usr/share/doc/").is_some_and(|rest| !rest.ends_with("/copyright"));
    let left_out =
        LEFT_OUT.iter().any(|prefix| place.starts_with(prefix) || place == prefix.trim_end_matches('/'));
    (!top && !documentation && !left_out).then_some(place)
}

fn utf8(bytes: &[u8], path: &Path) -> Result<String> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Error::invalid(format!("'{}' holds a name that is not UTF-8", path.display())))
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot read the package '{}'", path.display()), error)
}

#[cfg(test)]
#[path = "packages_tests.rs"]
mod tests;
