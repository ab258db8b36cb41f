//! Images on this machine.

use crate::fields::parsed;
use crate::{
    App,
    http::{
        body::Body,
        envelope::{Reply, ok},
    },
};
use agentkernel_engine::{
    images::{Freed, ImageRow, Prune, Silent},
    request::Effect,
};
use agentkernel_model::image::Reference;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

pub(super) async fn list(State(app): State<Arc<App>>) -> Reply<Vec<ImageRow>> {
    ok(app.blocking(|engine| engine.list_images()).await?)
}

/// What the images take, and what of it could be had back.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsageData {
    images: usize,
    /// Those that a sandbox is made from.
    in_use: usize,
    /// Bytes of all of their files; layers that they share count for each.
    size_bytes: u64,
    /// Bytes that a prune would free now.
    reclaimable_bytes: u64,
}

pub(super) async fn usage(State(app): State<Arc<App>>) -> Reply<UsageData> {
    let (rows, freed) = app
        .blocking(|engine| Ok((engine.list_images()?, engine.prune_images(Prune::Unused, Effect::DryRun)?)))
        .await?;
    ok(UsageData {
        images: rows.len(),
        in_use: rows.iter().filter(|row| !row.used_by.is_empty()).count(),
        size_bytes: rows.iter().map(|row| row.size_bytes).sum(),
        reclaimable_bytes: freed.bytes,
    })
}

/// An image of a registry.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PullBody {
    image: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PullData {
    image: String,
}

pub(super) async fn pull(State(app): State<Arc<App>>, Body(body): Body<PullBody>) -> Reply<PullData> {
    let reference: Reference = parsed("image", &body.image)?;
    let image = reference.to_string();
    let seat = app.preparations.take()?;
    app.blocking(move |engine| {
        // Until the registry has answered, whether or not the caller stays.
        let _seat = seat;
        engine.pull_image(&reference, &Silent)
    })
    .await?;
    ok(PullData { image })
}

/// What may go; everything that nothing uses, without a body's word.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PruneBody {
    /// Only images that agentkernel built.
    #[serde(default)]
    agentkernel_only: Option<bool>,
    #[serde(default)]
    dry_run: Option<bool>,
}

pub(super) async fn prune(State(app): State<Arc<App>>, Body(body): Body<PruneBody>) -> Reply<Freed> {
    let which = if body.agentkernel_only.unwrap_or_default() { Prune::Built } else { Prune::Unused };
    let effect = if body.dry_run.unwrap_or_default() { Effect::DryRun } else { Effect::Apply };
    ok(app.blocking(move |engine| engine.prune_images(which, effect)).await?)
}
