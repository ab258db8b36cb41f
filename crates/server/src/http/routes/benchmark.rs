//! Backends, measured.

use crate::{
    App,
    fields::parsed,
    http::{
        body::Body,
        envelope::{Failure, Reply, ok},
    },
    wish::Wish,
};
use agentkernel_config::Ingredients;
use agentkernel_engine::{
    benchmark::{BenchmarkReport, BenchmarkRequest, WholeRun},
    images::Silent,
};
use agentkernel_model::{
    Error, Result,
    image::ImageRef,
    mount::Workspace,
    spec::{Lifetime, SandboxSpec},
};
use axum::extract::State;
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::watch;
use utoipa::ToSchema;

/// The most iterations, and the most before those that count. Whoever wants more has the command line.
const MAX_ITERATIONS: u32 = 20;
/// The most names of backends.
const MAX_BACKENDS: usize = 32;

/// What to measure, and how often.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BenchmarkBody {
    /// All of this build without it.
    #[serde(default)]
    backends: Option<Vec<String>>,
    /// From 1 to 20; 1 without it.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 20)]
    iterations: Option<u32>,
    /// Iterations before those that count, 20 at most; 1 without it.
    #[serde(default)]
    #[schema(maximum = 20)]
    warmup: Option<u32>,
    /// `host` without it.
    #[serde(default)]
    image: Option<String>,
}

/// What is measured, as the engine wants it.
struct Plan {
    backends: Vec<String>,
    iterations: u32,
    warmup: u32,
    image: ImageRef,
}

impl Plan {
    fn request(self, spec: SandboxSpec, stop: watch::Receiver<()>) -> BenchmarkRequest<'static> {
        let Self { backends, iterations, warmup, image: _ } = self;
        BenchmarkRequest { backends, iterations, warmup, spec, whole_run: WholeRun::Engine, stop }
    }
}

impl BenchmarkBody {
    fn plan(self) -> Result<Plan> {
        let backends = self.backends.unwrap_or_default();
        let (iterations, warmup) = (self.iterations.unwrap_or(1), self.warmup.unwrap_or(1));
        if !(1..=MAX_ITERATIONS).contains(&iterations) {
            return Err(Error::invalid(format!("iterations is a number from 1 to {MAX_ITERATIONS}")));
        }
        if warmup > MAX_ITERATIONS {
            return Err(Error::invalid(format!("warmup is a number from 0 to {MAX_ITERATIONS}")));
        }
        if backends.len() > MAX_BACKENDS {
            return Err(Error::invalid(format!("backends has at most {MAX_BACKENDS} names")));
        }
        let image = self.image.map_or(Ok(ImageRef::Host), |text| parsed("image", &text))?;
        Ok(Plan { backends, iterations, warmup, image })
    }
}

/// Counts as one command: its sandboxes come one after the other.
pub(super) async fn benchmark(
    State(app): State<Arc<App>>,
    Body(body): Body<BenchmarkBody>,
) -> Reply<BenchmarkReport> {
    let plan = body.plan()?;
    let ingredients = Ingredients { image: Some(plan.image.clone()), ..Ingredients::default() };
    let wish =
        Wish { program: None, host_fallback: false, agent: None, ingredients, workspace: Workspace::None };
    // Before there is a place for it: a registry may take its time, and nobody else waits for that.
    let granting = app.prepare(move |app| async move { app.grant(wish, Lifetime::Named, Silent).await });
    let spec = granting.await??.spec;
    let (place, seat) = (app.benchmarks.take()?, app.commands.take()?);
    // Where the caller leaves, it ends with the sandbox that it is at, and the command in there at once.
    let (caller, stop) = watch::channel(());
    let measured = app.finish(move |app| async move {
        let measured = app.engine.benchmark(&plan.request(spec, stop)).await;
        drop((place, seat));
        measured
    });
    let report = measured.await.map_err(Failure::from)?;
    drop(caller);
    ok(report)
}
