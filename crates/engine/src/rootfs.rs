//! From an image reference to a root file system.

use agentkernel_backend::Lease;
use agentkernel_image::{HostFacts, host_rootfs};
use agentkernel_model::{Error, Kind, Result, image::ImageRef};

/// The root file system of `image`.
///
/// # Errors
/// [`Kind::NotFound`] when the image is not on this machine.
pub(crate) fn resolve(image: &ImageRef, facts: &HostFacts) -> Result<Lease> {
    match image {
        ImageRef::Host => host_rootfs(facts),
        ImageRef::Oci(reference) => {
            Err(Error::new(Kind::NotFound, format!("image '{reference}' is not on this machine"))
                .with_hint("use this machine's own files with --image host"))
        }
    }
}
