//! From an image of the store to what a driver mounts.

use crate::{host, layout::Layout, store::Image};
use agentkernel_backend::{ImageDefaults, Owners, Rootfs};
use agentkernel_model::{Result, image::Digest};

/// PATH of images that set none, as Docker has it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The root of `image`, for a process of `uid`.
pub(crate) fn of_image(layout: &Layout, uid: u32, image: &Image) -> Result<Rootfs> {
    let record = image.record();
    let mut env: Vec<(String, String)> =
        record.env.iter().map(|var| (var.key().to_owned(), var.value().to_owned())).collect();
    for (key, value) in [("PATH", PATH), ("HOME", record.home.as_str())] {
        if !env.iter().any(|(known, _)| known == key) {
            env.push((key.to_owned(), value.to_owned()));
        }
    }
    // As root, files have the owners that they have inside. As a user all are the user's, and only an image that runs
    // as somebody else needs a second id.
    let is_root = record.user.is_none_or(|user| user.is_root());
    let owners = if uid == 0 || !is_root { Owners::Many } else { Owners::Single };
    Ok(Rootfs {
        identity: image.id().to_string(),
        layers: stack(&record.layers).map(|layer| layout.layer_tree(layer)).collect(),
        grafts: Vec::new(),
        links: Vec::new(),
        // What drivers mount, they make; an image need not have anything else.
        directories: Vec::new(),
        files: host::network_files()?,
        env,
        defaults: ImageDefaults {
            workdir: record.workdir.clone(),
            user: record.user,
            entrypoint: record.entrypoint.clone(),
        },
        owners,
    })
}

/// Diff ids, lowest first, as they are stacked: topmost first, and each once. A layer that comes twice is whole where it
/// is uppermost: below, it changes nothing, and overlayfs refuses it.
pub(crate) fn stack(layers: &[Digest]) -> impl Iterator<Item = &Digest> {
    let mut stacked: Vec<&Digest> = Vec::with_capacity(layers.len());
    for layer in layers.iter().rev() {
        if !stacked.contains(&layer) {
            stacked.push(layer);
        }
    }
    stacked.into_iter()
}
