//! About the server itself.

use crate::{
    App,
    http::envelope::{Reply, ok},
};
use agentkernel_engine::request::{Effect, Filter, GcReport, Stopped};
use axum::extract::State;
use serde::Serialize;
use std::{fs, sync::Arc};
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
    let backends = app.engine.backends().await?;
    let selected = backends.into_iter().find(|report| report.selected);
    Ok(selected.map_or_else(|| "unavailable".to_owned(), |report| report.id))
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

/// Of the whole machine, as the kernel counts it.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct ResourceUsage {
    /// The load of the last minute over the number of processors, in percent.
    cpu_percent: f64,
    memory_used_mb: u64,
    memory_total_mb: u64,
    /// Of the file system that sandboxes are kept on.
    disk_used_mb: u64,
}

pub(super) async fn stats(State(app): State<Arc<App>>) -> Reply<StatsData> {
    let sandbox_count = app.blocking(|engine| Ok(engine.names()?.len())).await?;
    let directory = app.engine.events_path();
    let usage = app.blocking(move |_| Ok(usage(directory.parent()))).await?;
    ok(StatsData {
        sandbox_count,
        sandbox_limit: 0,
        backend: backend(&app).await?,
        uptime_seconds: app.uptime().as_secs(),
        version: env!("CARGO_PKG_VERSION"),
        resource_usage: usage,
    })
}

/// What proc(5) and statvfs(3) say; nothing where there is none.
fn usage(directory: Option<&std::path::Path>) -> ResourceUsage {
    const MIB: u64 = 1024 * 1024;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |key: &str| -> u64 {
        let line = memory.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
    };
    let (total, available) = (kib("MemTotal:"), kib("MemAvailable:"));
    let disk = directory.and_then(|path| rustix::fs::statvfs(path).ok());
    let disk_used = disk.map_or(0, |disk| disk.f_blocks.saturating_sub(disk.f_bfree) * disk.f_frsize);
    #[expect(clippy::cast_precision_loss, reason = "a count of processors is small")]
    let cpu_percent = (load / processors as f64 * 1000.0).round() / 10.0;
    ResourceUsage {
        cpu_percent,
        memory_used_mb: total.saturating_sub(available) / 1024,
        memory_total_mb: total / 1024,
        disk_used_mb: disk_used / MIB,
    }
}

pub(super) async fn gc(State(app): State<Arc<App>>) -> Reply<GcReport> {
    ok(app.engine.gc(&Filter::default(), Stopped::Keep, Effect::Apply).await?)
}
