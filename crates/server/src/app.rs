//! What every request works with.

use crate::{
    events::Events,
    execution::{Busy, Slots},
    keys::ApiKeys,
    machine::Machine,
    mcp::Calls,
    metrics::Metrics,
    options::Options,
    secrets::SecretBroker,
};
use agentkernel_engine::Engine;
use agentkernel_model::Result;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How many images are pulled, and sandboxes made or started, at once. Each may hold a blocking thread for as long as a
/// registry takes, and of those there are 512 for everything.
const PREPARATIONS: usize = 16;
/// How many logs of connections are followed at once; each has the kernel watch a directory, and of such watches a user has
/// few.
const FOLLOWERS: usize = 32;

/// One server: the engine, who may call it, and how much at once. Shared by the HTTP API and MCP.
#[derive(Debug)]
pub struct App {
    pub(crate) engine: Arc<Engine>,
    pub(crate) secrets: Arc<dyn SecretBroker>,
    pub(crate) keys: ApiKeys,
    pub(crate) options: Options,
    pub(crate) commands: Slots,
    pub(crate) preparations: Slots,
    pub(crate) followers: Slots,
    pub(crate) benchmarks: Slots,
    pub(crate) events: Arc<Events>,
    pub(crate) machine: Machine,
    pub(crate) metrics: Metrics,
    pub(crate) calls: Calls,
    started: Instant,
}

impl App {
    /// `engine` runs commands apart from this process, which holds what no sandbox may see.
    ///
    /// # Errors
    /// As [`ApiKeys::load`].
    pub fn new(engine: Engine, secrets: Arc<dyn SecretBroker>, options: Options) -> Result<Arc<Self>> {
        let metrics = Metrics::new();
        Ok(Arc::new(Self {
            engine: Arc::new(engine),
            secrets,
            keys: ApiKeys::load(options.keys.clone())?,
            commands: Slots::of_commands(options.limits.commands, metrics.commands()),
            preparations: Slots::new(PREPARATIONS, Busy::Preparations),
            followers: Slots::new(FOLLOWERS, Busy::Followers),
            benchmarks: Slots::new(1, Busy::Benchmark),
            calls: Calls::default(),
            options,
            events: Arc::default(),
            machine: Machine::new(),
            metrics,
            started: Instant::now(),
        }))
    }

    /// Reads the file of keys again; requests from then on need one of it.
    ///
    /// # Errors
    /// As [`ApiKeys::reload`]; then nothing changed.
    pub fn reload_keys(&self) -> Result<()> {
        self.keys.reload()
    }

    /// Does `work` to its end, whether or not its caller stays: a sandbox is not to be left half made.
    ///
    /// # Errors
    /// As `work`.
    pub(crate) async fn finish<T: Send + 'static, Work>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Self>) -> Work,
    ) -> Result<T>
    where
        Work: Future<Output = Result<T>> + Send + 'static,
    {
        self.calls.finish(work(Arc::clone(self))).await
    }

    /// As [`App::finish`], for work that may wait long for others: so many at once.
    ///
    /// # Errors
    /// [`Busy::Preparations`] outside, those of `work` inside.
    pub(crate) async fn prepare<T: Send + 'static, Work>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Self>) -> Work,
    ) -> Result<Result<T>, Busy>
    where
        Work: Future<Output = Result<T>> + Send + 'static,
    {
        let seat = self.preparations.take()?;
        let work = work(Arc::clone(self));
        let seated = async move {
            let done = work.await;
            drop(seat);
            done
        };
        Ok(self.calls.finish(seated).await)
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Runs `work`, which blocks, beside the event loop.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let engine = Arc::clone(&self.engine);
        tokio::task::spawn_blocking(move || work(&engine)).await.map_err(|e| {
            agentkernel_model::Error::internal("a look at the records was cut off").with_source(e)
        })?
    }
}
