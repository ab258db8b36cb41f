//! What failed system calls and readers mean to whoever asked for an archive.

use agentkernel_model::{Error, Kind};
use rustix::io::Errno;
use std::io;

/// A failed system call on a file of the tree.
pub(crate) fn fault(what: impl Into<String>, errno: Errno) -> Error {
    let kind = match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Kind::Denied,
        Errno::NOTEMPTY => Kind::AlreadyExists,
        // RANGE, TOOBIG: the name and the value of an attribute (setxattr(2)).
        Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::XDEV | Errno::RANGE | Errno::TOOBIG => {
            Kind::Invalid
        }
        _ => return Error::io(what, errno.into()),
    };
    Error::new(kind, what).with_source(io::Error::from(errno))
}

/// A reader that failed. What it says in our own words, such as a digest that does not match, is passed on.
pub(crate) fn reader_fault(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => truncated(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            own(error, |e| Error::invalid("cannot read the archive").with_source(e))
        }
        _ => own(error, |e| Error::io("cannot read the archive", e)),
    }
}

/// A writer that failed.
pub(crate) fn writer_fault(error: io::Error) -> Error {
    own(error, |e| Error::io("cannot write the archive", e))
}

fn own(error: io::Error, otherwise: impl FnOnce(io::Error) -> Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(otherwise)
}

pub(crate) fn truncated() -> Error {
    Error::invalid("the archive ends too early")
}
