//! One entry of an archive: what its header and the extended headers before it say, taken together.

use crate::{
    fault::truncated,
    input::BLOCK,
    name::{Name, shown},
    pax,
};
use agentkernel_model::{Error, Result};
use tar::Header;

/// The longest target of a symbolic link (`PATH_MAX`, without its NUL).
const MAX_TARGET: usize = 4095;

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: Name,
    pub(crate) what: What,
    /// Bytes of content that follow.
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) modified: Time,
    pub(crate) attributes: Vec<Attribute>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    File,
    Directory,
    /// What the link says, as it is.
    Symlink(Vec<u8>),
    HardLink(Name),
    Fifo,
    Device,
}

/// Seconds, and nanoseconds after them.
pub(crate) type Time = (i64, u32);

/// An extended attribute: its name and its value.
pub(crate) type Attribute = (Vec<u8>, Vec<u8>);

/// What extended headers say in place of a header. Later records replace earlier ones; an empty value takes one away.
#[derive(Debug, Default, Clone)]
pub(crate) struct Overrides {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<Time>,
    attributes: Vec<Attribute>,
}

impl Overrides {
    /// The name or link target of a GNU long-name entry.
    pub(crate) fn gnu(&mut self, kind: u8, data: &[u8]) {
        let text = data.split(|b| *b == 0).next().unwrap_or_default().to_vec();
        if kind == b'L' {
            self.path = Some(text);
        } else {
            self.link = Some(text);
        }
    }

    /// The records of a PAX header.
    pub(crate) fn pax(&mut self, data: &[u8]) -> Result<()> {
        pax::records(data, |key, value| self.record(key, value))
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let text = (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = text,
            b"linkpath" => self.link = text,
            b"size" => self.size = parsed(key, value, pax::number)?,
            b"uid" => self.uid = parsed(key, value, pax::number)?,
            b"gid" => self.gid = parsed(key, value, pax::number)?,
            b"mtime" => self.modified = parsed(key, value, pax::time)?,
            _ if key.starts_with(b"GNU.sparse.") => return Err(sparse()),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.".as_slice()) {
                    // Each is looked for among the others.
                    if self.attributes.len() >= MAX_ATTRIBUTES {
                        return Err(Error::invalid(format!(
                            "the archive has a file with more than {MAX_ATTRIBUTES} attributes"
                        )));
                    }
                    self.attributes.retain(|(known, _)| known != name);
                    self.attributes.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }

    /// How many bytes are kept.
    pub(crate) fn length(&self) -> usize {
        let texts = [&self.path, &self.link].into_iter().flatten().map(Vec::len);
        let attributes = self.attributes.iter().map(|(name, value)| name.len() + value.len());
        texts.chain(attributes).sum()
    }
}

fn parsed<T>(key: &[u8], value: &[u8], parse: fn(&[u8]) -> Option<T>) -> Result<Option<T>> {
    if value.is_empty() {
        return Ok(None);
    }
    let broken = || Error::invalid(format!("the archive has {} of no number", shown(key)));
    parse(value).map(Some).ok_or_else(broken)
}

/// Of one file. The kernel keeps 64 KiB of their names.
const MAX_ATTRIBUTES: usize = 1000;

pub(crate) fn sparse() -> Error {
    Error::invalid("the archive has sparse files, which are not supported")
        .with_hint("make the archive without --sparse")
}

/// A header whose checksum is right.
pub(crate) struct Checked<'a>(&'a Header);

impl<'a> Checked<'a> {
    pub(crate) fn new(block: &'a [u8; BLOCK]) -> Result<Self> {
        let header = Header::from_byte_slice(block);
        let spaces = u32::from(b' ') * 8;
        let sum: u32 = spaces + block[..148].iter().chain(&block[156..]).map(|b| u32::from(*b)).sum::<u32>();
        if header.cksum().ok() != Some(sum) {
            return Err(Error::invalid("this is no tar archive, or a damaged one"));
        }
        Ok(Self(header))
    }

    pub(crate) fn kind(&self) -> u8 {
        self.0.as_old().linkflag[0]
    }

    pub(crate) fn size(&self) -> Result<u64> {
        number(&self.0.as_old().size, || self.0.entry_size())
    }

    /// The entry that this header begins.
    pub(crate) fn member(&self, overrides: Overrides) -> Result<Member> {
        let raw = overrides.path.unwrap_or_else(|| self.0.path_bytes().into_owned());
        let name = Name::parse(&raw)?;
        let what = self.what(&raw, &name, overrides.link)?;
        let size = match (&what, overrides.size) {
            // Nothing follows these, whatever they say.
            (What::Directory | What::Symlink(_) | What::HardLink(_) | What::Fifo | What::Device, _) => 0,
            (What::File, Some(size)) => size,
            (What::File, None) => self.size()?,
        };
        let old = self.0.as_old();
        let seconds = number(&old.mtime, || self.0.mtime())?;
        Ok(Member {
            name,
            what,
            size,
            mode: number(&old.mode, || self.0.mode().map(u64::from))?.try_into().unwrap_or(0),
            uid: overrides.uid.map_or_else(|| number(&old.uid, || self.0.uid()), Ok)?,
            gid: overrides.gid.map_or_else(|| number(&old.gid, || self.0.gid()), Ok)?,
            modified: overrides.modified.unwrap_or((i64::try_from(seconds).unwrap_or(0), 0)),
            attributes: overrides.attributes,
        })
    }

    fn what(&self, raw: &[u8], name: &Name, link: Option<Vec<u8>>) -> Result<What> {
        let link = link.or_else(|| self.0.link_name_bytes().map(std::borrow::Cow::into_owned));
        let target =
            || link.ok_or_else(|| Error::invalid(format!("the link {name} of the archive leads nowhere")));
        Ok(match self.kind() {
            // Before there was a type for them, directories were told by a slash.
            0 if raw.ends_with(b"/") => What::Directory,
            0 | b'0' | b'7' => What::File,
            b'1' => What::HardLink(Name::parse(&target()?)?),
            b'2' => What::Symlink(symlink(name, target()?)?),
            b'3' | b'4' => What::Device,
            b'5' => What::Directory,
            b'6' => What::Fifo,
            b'S' => return Err(sparse()),
            kind => {
                let kind = shown(&[kind]);
                return Err(Error::invalid(format!(
                    "the archive has an entry {name} of an unknown type {kind}"
                )));
            }
        })
    }
}

fn symlink(name: &Name, target: Vec<u8>) -> Result<Vec<u8>> {
    if target.is_empty() || target.len() > MAX_TARGET || target.contains(&0) {
        return Err(Error::invalid(format!("the link {name} of the archive has a target that cannot be")));
    }
    Ok(target)
}

/// A numeric field; empty ones, which old programs write, are 0.
fn number(field: &[u8], parse: impl FnOnce() -> std::io::Result<u64>) -> Result<u64> {
    if field.iter().all(|b| matches!(b, 0 | b' ')) {
        return Ok(0);
    }
    // What the library says of it quotes the archive.
    parse().map_err(|_| Error::invalid("the archive has a number that is none"))
}

/// The bytes after `size` bytes of content up to the next block.
pub(crate) fn padding(size: u64) -> Result<u64> {
    let block = BLOCK as u64;
    size.checked_next_multiple_of(block).map(|end| end - size).ok_or_else(truncated)
}
