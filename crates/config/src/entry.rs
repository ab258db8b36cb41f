//! `[[files]]`: small files that are there before the first command.

use crate::{section::Section, workspace::host_path};
use agentkernel_model::{
    Error, Kind, Result, mount::Mount, path::GuestPath, spec::SpecFile, text::printable,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    dest: GuestPath,
    mode: u32,
    body: FileBody,
}

/// What is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileBody {
    /// A file of this machine, absolute or relative to the configuration's directory. For a configuration that was only
    /// found the path has no `..` and is not absolute; whoever opens it must also not follow links out of the project.
    Source(String),
    Content(Vec<u8>),
}

impl FileEntry {
    pub(crate) const DEFAULT_MODE: u32 = 0o644;

    /// # Errors
    /// [`Kind::Invalid`] for a destination where nothing can be put, permissions beyond 0777, a source that is no path,
    /// and a content longer than all files of a sandbox may be.
    pub fn new(dest: GuestPath, mode: u32, body: FileBody) -> Result<Self> {
        Mount::check_target(&dest).map_err(|_| {
            Error::invalid(format!("no file can be put at '{dest}'"))
                .with_hint("choose another place inside, such as /etc/motd")
        })?;
        if mode > 0o777 {
            return Err(Error::invalid(format!("permissions {mode:o} are beyond 0777"))
                .with_hint("write three octal digits, such as 0644"));
        }
        match &body {
            FileBody::Source(path) => {
                host_path(path)?;
            }
            FileBody::Content(bytes) if bytes.len() > SpecFile::MAX_TOTAL => return Err(too_much()),
            FileBody::Content(_) => {}
        }
        Ok(Self { dest, mode, body })
    }

    pub(crate) fn read(section: &Section<'_>) -> Result<Self> {
        let mode = section.text("mode", parse_mode)?.unwrap_or(Self::DEFAULT_MODE);
        let bodies = [
            section.text("source", |path| Ok(FileBody::Source(host_path(path)?.to_owned())))?,
            section.long_text("content", |text| Ok(FileBody::Content(text.as_bytes().to_vec())))?,
            section.long_text("content_base64", |text| {
                let bytes = STANDARD.decode(text).map_err(|e| {
                    Error::invalid(format!("it is not base64: {e}"))
                        .with_hint("write the output of base64(1), on one line")
                })?;
                Ok(FileBody::Content(bytes))
            })?,
        ];
        let mut bodies = bodies.into_iter().flatten();
        let (Some(body), None) = (bodies.next(), bodies.next()) else {
            return Err(section
                .error("this [[files]] must have one of 'source', 'content' and 'content_base64'")
                .with_hint("such as source = \"./motd\""));
        };
        let dest = section.text("dest", |text| Self::new(text.parse()?, mode, body.clone()))?;
        dest.ok_or_else(|| {
            section
                .error("this [[files]] has no 'dest'")
                .with_hint("write where it goes, such as dest = \"/etc/motd\"")
        })
    }

    #[must_use]
    pub const fn dest(&self) -> &GuestPath {
        &self.dest
    }

    /// Permission bits, at most 0o777.
    #[must_use]
    pub const fn mode(&self) -> u32 {
        self.mode
    }

    #[must_use]
    pub const fn body(&self) -> &FileBody {
        &self.body
    }
}

/// Sees that the contents of `files` together are no more than a sandbox may have.
///
/// # Errors
/// [`Kind::Invalid`] when they are more than [`SpecFile::MAX_TOTAL`].
pub(crate) fn check_total<'a>(lengths: impl Iterator<Item = &'a [u8]>) -> Result<()> {
    let total = lengths.fold(0_usize, |total, bytes| total.saturating_add(bytes.len()));
    if total > SpecFile::MAX_TOTAL { Err(too_much()) } else { Ok(()) }
}

fn too_much() -> Error {
    Error::new(Kind::Invalid, "the files of a sandbox are more than 1 MiB together")
        .with_hint("mount a directory instead: [[mounts]]")
}

fn parse_mode(text: &str) -> Result<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = (3..=4).contains(&digits.len()) && digits.bytes().all(|b| matches!(b, b'0'..=b'7'));
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if octal && mode <= 0o777 => Ok(mode),
        _ => Err(Error::invalid(format!("'{}' are no permissions", printable(text)))
            .with_hint("write them in octal, from 0000 to 0777, such as \"0644\"")),
    }
}
