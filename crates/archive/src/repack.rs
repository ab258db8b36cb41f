//! Packing an unpacked image layer: what [`unpack`](crate::unpack()) did with
//! [`Whiteouts::Overlay`](crate::Whiteouts::Overlay), done backwards.

use crate::{
    attributes::Travelling,
    fault::fault,
    kernel::{self, Facts},
    pack::{Crossing, Packed, Packing},
};
use agentkernel_model::Result;
use rustix::{
    fd::{AsFd as _, BorrowedFd},
    fs::FlockOperation,
    io::Errno,
};
use std::io::Write;

/// Whom the files of a layer belong to in its archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerOwners {
    /// Whom they belong to on disk. File capabilities travel too.
    Kept,
    /// User and group 0, for layers that an ordinary user unpacked. Files whose mode keeps their owner out are made
    /// readable while they are read, and have their own mode in the archive.
    Root,
}

/// What an archive is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Files,
    Layer(LayerOwners),
}

impl Form {
    pub(crate) fn is_layer(self) -> bool {
        matches!(self, Self::Layer(_))
    }

    pub(crate) fn travelling(self) -> Travelling {
        match self {
            Self::Layer(LayerOwners::Kept) => Travelling::UsersAndCapabilities,
            Self::Files | Self::Layer(LayerOwners::Root) => Travelling::Users,
        }
    }

    /// What the archive says of a file.
    pub(crate) fn told(self, facts: &Facts) -> Facts {
        match self {
            Self::Files | Self::Layer(LayerOwners::Kept) => *facts,
            Self::Layer(LayerOwners::Root) => Facts { uid: 0, gid: 0, ..*facts },
        }
    }

    /// Whether files that their owner may not read are made readable.
    pub(crate) fn unlocks(self) -> bool {
        self == Self::Layer(LayerOwners::Root)
    }
}

/// Writes the image layer in the directory `layer` to `to`, as an archive of the layer's root. Character devices 0:0 and
/// `user.overlay.opaque` become the names that begin with `.wh.` (OCI image-spec, layer.md). Names come in order, so the
/// same layer makes the same archive. Waits for others who pack the same layer for [`LayerOwners::Root`].
///
/// # Errors
/// As [`pack`](crate::pack()); [`Invalid`](agentkernel_model::Kind::Invalid) for a file whose name would remove another.
pub fn pack_layer(layer: BorrowedFd<'_>, to: impl Write, owners: LayerOwners) -> Result<Packed> {
    let failed = |errno| fault("cannot open the layer", errno);
    let root = kernel::open_directory(layer, b".").map_err(failed)?;
    if owners == LayerOwners::Root {
        lock(root.as_fd()).map_err(|errno| fault("cannot lock the layer", errno))?;
    }
    let mount = kernel::look(&root).map_err(failed)?.mount;
    let mut packing = Packing::new(Crossing::Stay, Form::Layer(owners), mount, to);
    packing.tree(root, &mut Vec::new())?;
    packing.end()
}

/// Of two who make the same file readable, one would see the mode that the other gave it.
fn lock(root: BorrowedFd<'_>) -> Result<(), Errno> {
    loop {
        match rustix::fs::flock(root, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
#[path = "repack_tests.rs"]
mod tests;
