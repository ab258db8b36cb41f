//! What there is, and which handler answers it.

mod activity;
mod benchmark;
mod config;
mod described;
mod detached;
mod events;
mod exec;
mod files;
mod images;
mod meta;
mod records;
mod run;
mod sandboxes;
mod secrets;
mod socket;

use super::{envelope, guard, openapi, watch};
use crate::{App, mcp, page};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::header::CONTENT_TYPE,
    middleware,
    routing::{delete, get, post},
};
use bytes::Bytes;
use std::sync::Arc;

/// Whether `path` is of the page, which holds nothing of anybody's.
pub(super) fn is_page(path: &str) -> bool {
    path == "/" || path.starts_with("/page/")
}

/// Every route, behind the guard.
pub(super) fn router(app: &Arc<App>) -> Router {
    let document = Bytes::from(openapi::document(described::operations()).to_string());
    Router::new()
        .route("/health", get(meta::health))
        .route("/openapi.json", get(async move || ([(CONTENT_TYPE, "application/json")], document)))
        .route("/status", get(meta::status))
        .route("/stats", get(meta::stats))
        .route("/metrics", get(meta::metrics))
        .route("/gc", post(meta::gc))
        .route("/backends", get(records::backends))
        .route("/doctor", get(records::doctor))
        .route("/audit", get(records::audit))
        .route("/images", get(images::list))
        .route("/images/usage", get(images::usage))
        .route("/images/pull", post(images::pull))
        .route("/images/prune", post(images::prune))
        .route("/secrets", get(secrets::list).post(secrets::set))
        .route("/secrets/{name}", delete(secrets::delete))
        .route("/run", post(run::run))
        .route("/run/stream", post(run::stream))
        .route("/batch/run", post(run::batch))
        .route("/benchmark", post(benchmark::benchmark))
        .route("/sandboxes", get(sandboxes::list).post(sandboxes::create))
        .route("/sandboxes/import-config", post(config::import))
        .route("/sandboxes/{name}/config", get(config::export).post(config::import_as))
        .route("/sandboxes/{name}/logs", get(records::logs))
        .route("/sandboxes/by-uuid/{uuid}", get(sandboxes::by_uuid))
        .route("/sandboxes/{name}", get(sandboxes::get).patch(sandboxes::update).delete(sandboxes::remove))
        .route("/sandboxes/{name}/extend", post(sandboxes::extend))
        .route("/sandboxes/{name}/resize", post(sandboxes::resize))
        .route("/sandboxes/{name}/recover", post(sandboxes::recover))
        .route("/sandboxes/{name}/exec/detach", post(detached::start))
        .route("/sandboxes/{name}/exec/detached", get(detached::list))
        .route("/sandboxes/{name}/exec/detached/{id}", get(detached::get).delete(detached::kill))
        .route("/sandboxes/{name}/exec/detached/{id}/logs", get(detached::logs))
        .route("/sandboxes/{name}/files", get(files::list).post(files::write_all))
        .route("/sandboxes/{name}/files/{*path}", get(files::read).put(files::write).delete(files::remove))
        .route(
            "/sandboxes/{name}/raw/{*path}",
            get(files::download).put(files::upload).layer(DefaultBodyLimit::disable()),
        )
        .route("/sandboxes/{name}/stats", get(activity::usage))
        .route("/sandboxes/{name}/connections", get(activity::connections))
        .route("/sandboxes/{name}/connections/stream", get(activity::stream))
        .route("/sandboxes/{name}/exec/ws", get(socket::open))
        .route("/events", get(events::events))
        .route("/agents", get(records::agents))
        .route("/sandboxes/{name}/start", post(sandboxes::start))
        .route("/sandboxes/{name}/stop", post(sandboxes::stop))
        .route("/sandboxes/{name}/exec", post(exec::exec))
        .route("/mcp", mcp::route(app))
        .merge(page::routes())
        .fallback(async || envelope::not_found())
        .method_not_allowed_fallback(async || envelope::wrong_method())
        .layer(DefaultBodyLimit::max(app.options.limits.body))
        .layer(middleware::from_fn(watch::trace))
        .layer(middleware::from_fn_with_state(Arc::clone(app), guard::check))
        .layer(middleware::from_fn_with_state(Arc::clone(app), watch::watch))
        .with_state(Arc::clone(app))
}
