//! The root of an image: its layers, and above them one of the sandbox's own that takes what is written.
//!
//! Layers are shared by all sandboxes of an image. Nothing reaches them: they are mounted read-only, and overlayfs never
//! writes to what is below its upper directory.

use crate::{
    mounts::{Place, Step, Trust, clone_mount, make_directory, mount_at, new_filesystem},
    plan::LayerStore,
    sources::Sources,
    wire::Fault,
};
use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::Mode,
    io::Errno,
    mount::{MountAttrFlags, MountFlags},
};
use std::{ffi::CString, path::PathBuf};

/// Longer values of options are not taken by fsconfig(2), its NUL included.
const LONGEST_OPTION: usize = 256;

/// A mount of `below`, topmost first, under `upper`; it is mounted nowhere yet. `scratch` is an empty file system in
/// memory, whose pages the sandbox's bound counts, and which nobody sees later.
pub(crate) fn stack(
    below: &[PathBuf],
    upper: &LayerStore,
    sources: &mut Sources,
    scratch: &str,
) -> Result<OwnedFd, Fault> {
    let mut lower: Vec<String> = Vec::with_capacity(below.len());
    for (index, layer) in below.iter().enumerate() {
        let place = format!("{scratch}/{index}");
        let mounted = mount_at(sources.take()?.as_fd(), &place, Place::Directory, Trust::Fresh);
        mounted.step(|| format!("mount the layer {}", layer.display()))?;
        lower.push(place);
    }
    let own = format!("{scratch}/own");
    match upper {
        LayerStore::Memory => {
            for half in ["upper", "work"] {
                // A root that everybody may enter, whatever the layers below say.
                let made = make_directory(&format!("{own}/{half}"), 0o755);
                made.step(|| "make the sandbox's own layer".to_owned())?;
            }
        }
        LayerStore::Disk(layer) => {
            let mounted = mount_at(sources.take()?.as_fd(), &own, Place::Directory, Trust::Fresh);
            mounted.step(|| format!("mount the layer {}", layer.display()))?;
        }
    }
    let overlay = Overlay { lower: lower.join(":"), own, upper };
    overlay.mount(scratch).step(|| format!("put {} layers together", below.len()))
}

struct Overlay<'a> {
    lower: String,
    own: String,
    upper: &'a LayerStore,
}

impl Overlay<'_> {
    fn mount(&self, scratch: &str) -> Result<OwnedFd, Errno> {
        if self.lower.len() < LONGEST_OPTION {
            let (upper, work) = self.halves();
            let options = [
                ("source", "agentkernel"),
                ("lowerdir", &self.lower),
                ("upperdir", &upper),
                ("workdir", &work),
            ];
            let plain = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
            return new_filesystem("overlay", &options, self.flags(), plain);
        }
        self.mount_by_page(scratch)
    }

    /// mount(2), whose options may fill a page: enough for every image, and in every kernel. Options of one layer each
    /// are newer than many kernels.
    fn mount_by_page(&self, scratch: &str) -> Result<OwnedFd, Errno> {
        let (upper, work) = self.halves();
        let mut options = format!("lowerdir={},upperdir={upper},workdir={work}", self.lower);
        for flag in self.flags() {
            options.push(',');
            options.push_str(flag);
        }
        let options = CString::new(options).map_err(|_| Errno::INVAL)?;
        let place = format!("{scratch}/all");
        rustix::fs::mkdir(place.as_str(), Mode::from_raw_mode(0o755))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount("agentkernel", place.as_str(), "overlay", flags, options.as_c_str())?;
        clone_mount(&place)
    }

    fn halves(&self) -> (String, String) {
        (format!("{}/upper", self.own), format!("{}/work", self.own))
    }

    /// Extended attributes of the overlay are `user.overlay.*`, which need no privilege: one format on disk for root and
    /// for users, and nothing that a layer says in them leads anywhere else.
    fn flags(&self) -> &'static [&'static str] {
        match self.upper {
            // What is thrown away need not reach the disk when it is unmounted.
            LayerStore::Memory => &["userxattr", "volatile"],
            LayerStore::Disk(_) => &["userxattr"],
        }
    }
}
