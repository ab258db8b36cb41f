//! Images of ours that an engine has, for those who clean up.

use super::{LABEL, OWNER_LABEL, bare};
use crate::fault::{failed, status};
use agentkernel_model::Result;
use bollard::{
    Docker,
    query_parameters::{ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder},
};
use std::collections::{HashMap, HashSet};

/// How the names begin that we give.
const NAMES: &str = "agentkernel.local/rootfs:";

/// An image of ours that no container is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnedImage {
    id: String,
    bytes: u64,
}

impl OwnedImage {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What it takes of the engine's disk, without what it shares with others being taken off.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What became of an image that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// By us or by somebody else.
    Gone,
    /// A container is made from it, or somebody gave it a name too: it stays.
    InUse,
}

/// Images with our label that no container, running or not, is made from: in an engine that other machines use as well,
/// those of `owner`; in this machine's own, where any of its users can make them anew, those without one.
///
/// # Errors
/// Those of an engine that cannot be reached, does not answer or refuses.
pub(crate) async fn owned(engine: &Docker, owner: Option<&str>) -> Result<Vec<OwnedImage>> {
    let ours = HashMap::from([("label", vec![LABEL])]);
    let images = ListImagesOptionsBuilder::default().filters(&ours).build();
    let containers = ListContainersOptionsBuilder::default().all(true).build();
    let (images, containers) =
        tokio::join!(engine.list_images(Some(images)), engine.list_containers(Some(containers)));
    let images = images.map_err(|e| failed("list the engine's images", e))?;
    let containers = containers.map_err(|e| failed("list the engine's containers", e))?;
    let used: HashSet<String> = containers
        .into_iter()
        .filter_map(|container| container.image_id)
        .map(|id| bare(&id).to_owned())
        .collect();
    // An engine that ignores filters must not have others' images removed.
    let ours =
        images.into_iter().filter(|image| is_of(&image.labels, owner) && is_only_ours(&image.repo_tags));
    let unused = ours.filter(|image| !used.contains(bare(&image.id)));
    Ok(unused.map(|image| OwnedImage { bytes: image.size.try_into().unwrap_or(0), id: image.id }).collect())
}

fn is_of(labels: &HashMap<String, String>, owner: Option<&str>) -> bool {
    labels.contains_key(LABEL) && labels.get(OWNER_LABEL).map(String::as_str) == owner
}

/// Whether an image has the name that we give and no other: what somebody made from one of ours has its label as well.
fn is_only_ours(names: &[String]) -> bool {
    !names.is_empty() && names.iter().all(|name| name.starts_with(NAMES))
}

/// Removes an image, unless something uses it by now.
///
/// # Errors
/// As [`owned`].
pub(crate) async fn remove(engine: &Docker, image: &OwnedImage) -> Result<Removal> {
    let options = RemoveImageOptionsBuilder::default().force(false).build();
    match engine.remove_image(image.id(), Some(options), None).await {
        Ok(_) => Ok(Removal::Gone),
        Err(error) => match status(&error) {
            Some(404) => Ok(Removal::Gone),
            Some(409) => Ok(Removal::InUse),
            _ => Err(failed("remove a root file system from the engine", error)),
        },
    }
}
