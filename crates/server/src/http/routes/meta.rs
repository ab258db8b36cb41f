//! About the server itself.

use crate::{
    App,
    http::envelope::{Failure, Reply, ok},
    machine::ResourceUsage,
    wish::Wish,
};
use agentkernel_config::Ingredients;
use agentkernel_engine::{
    images::Silent,
    request::{Effect, Filter, GcReport, Stopped},
};
use agentkernel_model::{image::ImageRef, mount::Workspace, spec::Lifetime};
use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

pub(super) async fn health() -> Reply<&'static str> {
    ok("ok")
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatusData {
    version: &'static str,
    /// That of a sandbox for which none is named; `unavailable` without one.
    backend: String,
    api_key_configured: bool,
}

pub(super) async fn status(State(app): State<Arc<App>>) -> Reply<StatusData> {
    ok(StatusData {
        version: env!("CARGO_PKG_VERSION"),
        backend: backend(&app).await?,
        api_key_configured: app.keys.are_required(),
    })
}

async fn backend(app: &App) -> agentkernel_model::Result<String> {
    let ingredients = Ingredients { image: Some(ImageRef::Host), ..Ingredients::default() };
    let wish =
        Wish { program: None, host_fallback: false, agent: None, ingredients, workspace: Workspace::None };
    let spec = app.grant(wish, Lifetime::Ephemeral, Silent).await?.spec;
    // What is known of backends is asked, and none is tried out for a look.
    Ok(app
        .engine
        .choose(&spec, None)
        .await
        .map_or_else(|_| "unavailable".to_owned(), |choice| choice.backend.to_string()))
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatsData {
    sandbox_count: usize,
    /// No limit is 0.
    sandbox_limit: usize,
    backend: String,
    uptime_seconds: u64,
    version: &'static str,
    resource_usage: ResourceUsage,
}

pub(super) async fn stats(State(app): State<Arc<App>>) -> Reply<StatsData> {
    let sandbox_count = app.blocking(|engine| Ok(engine.names()?.len())).await?;
    let directory = app.engine.events_path();
    ok(StatsData {
        sandbox_count,
        sandbox_limit: 0,
        backend: backend(&app).await?,
        uptime_seconds: app.uptime().as_secs(),
        version: env!("CARGO_PKG_VERSION"),
        resource_usage: app.machine.usage(directory.parent()),
    })
}

/// In the text form of Prometheus, not in the envelope.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let sandboxes = app.blocking(|engine| Ok(engine.names()?.len())).await?;
    let text = app.metrics.text(sandboxes, app.commands.taken())?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

pub(super) async fn gc(State(app): State<Arc<App>>) -> Reply<GcReport> {
    let collect =
        |app: Arc<App>| async move { app.engine.gc(&Filter::default(), Stopped::Keep, Effect::Apply).await };
    ok(app.finish(collect).await?)
}
