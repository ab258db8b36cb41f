//! Commands in sandboxes of their own, from what a caller wants to a process that runs.

use crate::{App, wish::Wish};
use agentkernel_engine::{
    images::Progress,
    request::{Pool, RunRequest, Running},
    values::Source,
};
use agentkernel_model::{Error, Result, command::ExecSpec, spec::Lifetime};
use std::{sync::Arc, time::Duration};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument as _;

/// A command that is to run, and in what.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) wish: Wish,
    pub(crate) command: ExecSpec,
    pub(crate) backend: Option<String>,
    pub(crate) stdin: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) pool: Pool,
}

/// A command of a caller that runs.
pub(crate) struct Begun {
    pub(crate) running: Running,
    pub(crate) image: String,
    pub(crate) notes: Vec<String>,
    pub(crate) stdin: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
    /// Its place among the commands that run.
    pub(crate) seat: OwnedSemaphorePermit,
}

impl App {
    /// Starts the command; `progress` hears of an image that has to be pulled first.
    ///
    /// # Errors
    /// As [`App::grant`] and [`agentkernel_engine::Engine::run`].
    pub(crate) async fn begin(
        self: &Arc<Self>,
        prepared: Prepared,
        seat: OwnedSemaphorePermit,
        progress: impl Progress + Send + 'static,
    ) -> Result<Begun> {
        let (app, wish) = (Arc::clone(self), prepared.wish);
        // A pull goes on when its caller leaves, and keeps its place until then.
        let granting =
            async move { app.grant(wish, Lifetime::Ephemeral, progress).await.map(|it| (it, seat)) };
        let (granted, seat) = tokio::spawn(granting.instrument(tracing::info_span!("prepare")))
            .await
            .map_err(|e| Error::internal("the preparation of a sandbox was cut off").with_source(e))??;
        let (secrets, wanted) = (Arc::clone(&self.secrets), granted.secrets);
        let values = match wanted.is_empty() {
            true => Source::default(),
            false => Source::new(move || secrets.values(&wanted)),
        };
        let image = granted.spec.image.to_string();
        let request = RunRequest {
            spec: granted.spec,
            command: prepared.command,
            backend: prepared.backend,
            values,
            pool: prepared.pool,
        };
        let running = self.engine.run(request).await?;
        let mut notes = granted.notes;
        notes.extend(running.choice.notes.iter().cloned());
        let (stdin, timeout) = (prepared.stdin, prepared.timeout);
        Ok(Begun { running, image, notes, stdin, timeout, seat })
    }
}
