//! The archive that a sandbox's own `tar` writes, with other names: those that the caller wants.
//!
//! It is hostile. What comes out has no absolute name and no `..`; everything else is for its reader to judge.

use agentkernel_model::{Error, Kind, Result, text::printable};
use std::{
    ffi::OsStr,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};
use tar::{Archive, Builder, EntryType, Header};

/// The longest record of a `tar` that anybody asks for (`-b 2048`), in bytes.
const MAX_PADDING: u64 = 1 << 20;

/// Copies the archive `from` to `to`: what is called `base` or lies below it is called `name` there. A base of `.` is the
/// directory that was packed.
///
/// # Errors
/// [`Kind::Invalid`] for an archive with other names in it, or one that is broken; when `to` cannot be written.
pub(crate) fn copy(mut from: impl Read, to: impl Write, base: &str, name: &str) -> Result<()> {
    let mut archive = Archive::new(&mut from);
    let mut out = Builder::new(to);
    let entries = archive.entries().map_err(broken)?;
    for entry in entries {
        let mut entry = entry.map_err(broken)?;
        let mut header = entry.header().clone();
        let path = renamed(&entry.path_bytes(), base, name)?;
        match header.entry_type() {
            EntryType::Link | EntryType::Symlink => {
                let target =
                    entry.link_name_bytes().ok_or_else(|| invalid("a link to nothing"))?.into_owned();
                header.set_size(0);
                if header.entry_type() == EntryType::Link {
                    link(&mut out, &mut header, &path, &renamed(&target, base, name)?)?;
                } else {
                    link(&mut out, &mut header, &path, Path::new(OsStr::from_bytes(&target)))?;
                }
            }
            // Its holes were filled in when it was read.
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let size = entry.size();
                let mut plain = regular(&header, size)?;
                out.append_data(&mut plain, &path, &mut entry).map_err(unwritten)?;
            }
            EntryType::Directory => {
                header.set_size(0);
                let mut path = path.into_os_string();
                path.push("/");
                out.append_data(&mut header, path, io::empty()).map_err(unwritten)?;
            }
            EntryType::Fifo | EntryType::Char | EntryType::Block => {
                header.set_size(0);
                out.append_data(&mut header, &path, io::empty()).map_err(unwritten)?;
            }
            _ => return Err(invalid("an entry of an unknown kind")),
        }
    }
    out.into_inner().and_then(|mut to| to.flush()).map_err(unwritten)?;
    drain(from)
}

/// Reads what pads the archive's last record: whoever writes it would else meet a closed pipe.
fn drain(from: impl Read) -> Result<()> {
    let padding = io::copy(&mut from.take(MAX_PADDING), &mut io::sink()).map_err(broken)?;
    if padding < MAX_PADDING { Ok(()) } else { Err(invalid("no end")) }
}

fn link(out: &mut Builder<impl Write>, header: &mut Header, path: &Path, target: &Path) -> Result<()> {
    out.append_link(header, path, target).map_err(unwritten)
}

fn regular(header: &Header, size: u64) -> Result<Header> {
    let mut plain = Header::new_gnu();
    plain.set_entry_type(EntryType::Regular);
    plain.set_size(size);
    plain.set_mode(header.mode().map_err(broken)?);
    plain.set_uid(header.uid().map_err(broken)?);
    plain.set_gid(header.gid().map_err(broken)?);
    plain.set_mtime(header.mtime().map_err(broken)?);
    Ok(plain)
}

fn renamed(path: &[u8], base: &str, name: &str) -> Result<PathBuf> {
    let mut parts = Vec::new();
    for part in Path::new(OsStr::from_bytes(path)).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part),
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => {
                return Err(invalid("a name that leads out of it"));
            }
        }
    }
    let mut parts = parts.into_iter();
    if base != "." && parts.next() != Some(OsStr::new(base)) {
        return Err(invalid("a name that was not asked for"));
    }
    Ok([OsStr::new(name)].into_iter().chain(parts).collect())
}

fn invalid(what: &str) -> Error {
    Error::new(Kind::Invalid, format!("the archive from the sandbox holds {}", printable(what)))
}

fn broken(error: io::Error) -> Error {
    Error::new(Kind::Invalid, "the archive from the sandbox is broken").with_source(error)
}

fn unwritten(error: io::Error) -> Error {
    Error::io("cannot pass on the archive from the sandbox", error)
}

#[cfg(test)]
#[path = "renamed_tests.rs"]
mod tests;
