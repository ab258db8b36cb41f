//! Volumes of sandboxes that their containers left behind. An engine removes a container's volumes with it; one that was
//! killed in between does not come back to them.

use crate::{
    engine::Engine,
    fault::{failed, is_missing, status},
    places::Place,
    plan,
};
use agentkernel_backend::Host;
use agentkernel_model::{Result, id::SandboxId};
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptions};
use std::collections::HashMap;

/// Removes the volumes of this data directory that no container has and no sandbox knows.
///
/// # Errors
/// When the engine refuses.
pub(crate) async fn sweep(engine: &Engine, host: &Host) -> Result<()> {
    let owner = &engine.owner;
    let mine = format!("{}={owner}", plan::OWNER_LABEL);
    let filters = HashMap::from([("label", vec![mine.as_str()])]);
    let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
    let found = engine.docker.list_volumes(Some(options)).await;
    let found = found.map_err(|e| failed("list the volumes", e))?;
    for volume in found.volumes.unwrap_or_default() {
        // What a filter means is the engine's: Podman has shown volumes of others for two of them.
        if volume.labels.get(plan::OWNER_LABEL) != Some(owner) {
            continue;
        }
        let Some(Ok(id)) = volume.labels.get(plan::LABEL).map(|text| SandboxId::parse(text)) else {
            continue;
        };
        // Its container is being made, or removed.
        if [Place::named(host, id), Place::ephemeral(host, id)].iter().any(|place| place.path().exists()) {
            continue;
        }
        match engine.docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await {
            // 409: a container has it.
            Err(e) if !is_missing(&e) && status(&e) != Some(409) => {
                return Err(failed("remove a volume that was left", e));
            }
            _ => {}
        }
    }
    Ok(())
}
