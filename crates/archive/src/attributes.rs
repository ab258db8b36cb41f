//! Extended attributes: which of them travel in archives, and how they are set and read.

use crate::{fault::fault, member::Attribute, unpack::Ownership};
use agentkernel_model::{Error, Kind, Result};
use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::XattrFlags,
    io::Errno,
};

/// What a directory has that hides those of the layers below it.
pub(crate) const OPAQUE: &str = "user.overlay.opaque";
const CAPABILITY: &[u8] = b"security.capability";
/// The most bytes of all attributes of one file: what [`unpack`](crate::unpack()) reads.
const MAX_ALL: usize = 512 * 1024;
/// The kernel's own bound of a list and of a value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const MAX_ONE: usize = 64 * 1024;

/// Attributes of users. What overlayfs keeps in them would let an archive redirect names to anywhere in a layer, and the kernel
/// has none whose name is nothing but the prefix.
fn is_users(name: &[u8]) -> bool {
    let own = name.strip_prefix(b"user.".as_slice()).filter(|own| !own.is_empty());
    own.is_some_and(|own| !own.starts_with(b"overlay.") && !own.contains(&0))
}

/// Sets those of `attributes` that may be set. File systems without attributes have none.
pub(crate) fn set(fd: impl AsFd, attributes: &[Attribute], ownership: Ownership) -> Result<(), Errno> {
    for (name, value) in attributes {
        let capability = name == CAPABILITY && ownership == Ownership::Archive;
        if !capability && !is_users(name) {
            continue;
        }
        match rustix::fs::fsetxattr(&fd, name.as_slice(), value, XattrFlags::empty()) {
            // PERM: a pipe, which has no attributes of users (xattr(7)), or who may not give capabilities away.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            // No capability that the kernel knows: the file goes without.
            Err(Errno::INVAL) if capability => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Which attributes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Travelling {
    Users,
    UsersAndCapabilities,
}

impl Travelling {
    fn has(self, name: &[u8]) -> bool {
        is_users(name) || self == Self::UsersAndCapabilities && name == CAPABILITY
    }
}

/// Whether a directory hides those of the layers below it.
pub(crate) fn is_opaque(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut value = [0_u8; 2];
    match rustix::fs::fgetxattr(fd, OPAQUE, value.as_mut_slice()) {
        Ok(length) => Ok(value[..length] == *b"y"),
        // RANGE: something longer, which overlayfs does not read as this either.
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Those attributes of a file that travel, sorted by name.
pub(crate) fn read(fd: BorrowedFd<'_>, name: &str, travelling: Travelling) -> Result<Vec<Attribute>> {
    let failed = |errno| fault(format!("cannot read the attributes of {name}"), errno);
    let mut buffer = vec![0; MAX_ONE];
    let length = match rustix::fs::flistxattr(fd, buffer.as_mut_slice()) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let list = buffer[..length].to_vec();
    let mut attributes = Vec::new();
    let mut all = 0;
    for key in list.split(|b| *b == 0).filter(|key| travelling.has(key)) {
        let length = match rustix::fs::fgetxattr(fd, key, buffer.as_mut_slice()) {
            // Gone since.
            Err(Errno::NODATA) => continue,
            other => other.map_err(failed)?,
        };
        all += key.len() + length;
        if all > MAX_ALL {
            return Err(Error::new(
                Kind::Exhausted,
                format!("{name} has more attributes than an archive holds"),
            ));
        }
        attributes.push((key.to_vec(), buffer[..length].to_vec()));
    }
    attributes.sort_unstable();
    Ok(attributes)
}
