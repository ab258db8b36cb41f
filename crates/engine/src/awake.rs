//! A stopped sandbox that runs for as long as one piece of work needs it.

use crate::{engine::Engine, lifecycle, values::Values};
use agentkernel_model::{Error, Result, name::SandboxName};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long it may take to stop.
const GRACE: Duration = Duration::from_secs(2);

/// Stops the sandbox that it has started, also when it is dropped: start and stop go on in tasks of their own, whoever
/// does not wait for them any more.
#[derive(Debug)]
pub(crate) struct Awake(Option<Sleeper>);

/// What a task of its own needs to know.
#[derive(Debug)]
struct Sleeper {
    engine: Engine,
    name: SandboxName,
}

impl Awake {
    /// Starts the sandbox. One with secrets is refused: they are not needed for this, and nobody gave them.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub(crate) async fn wake(engine: &Engine, name: &SandboxName) -> Result<Self> {
        let sleeper = Sleeper { engine: engine.twin(), name: name.clone() };
        // When nobody waits for it any more, what it returns is dropped when it is there.
        let starting = tokio::spawn(async move {
            lifecycle::start(&sleeper.engine, &sleeper.name, &Values::default()).await?;
            Ok(Self(Some(sleeper)))
        });
        starting.await.map_err(|e| Error::internal("the start of a sandbox was cut off").with_source(e))?
    }

    /// Stops it, and waits until it has stopped.
    ///
    /// # Errors
    /// As [`Engine::stop`].
    pub(crate) async fn end(mut self) -> Result<()> {
        let Some(sleeper) = self.0.take() else { return Ok(()) };
        let stopping = tokio::spawn(async move { sleeper.stop().await });
        stopping.await.map_err(|e| Error::internal("the stop of a sandbox was cut off").with_source(e))?
    }
}

impl Sleeper {
    async fn stop(&self) -> Result<()> {
        lifecycle::stop(&self.engine, &self.name, GRACE).await.map(drop)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        let Some(sleeper) = self.0.take() else { return };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                if let Err(error) = sleeper.stop().await {
                    sleeper.engine.audit.trouble(error);
                }
            })),
            // The process ends.
            Err(error) => {
                let left = format!("the sandbox '{}' was started for a copy and runs on", sleeper.name);
                let hint = format!("agentkernel sandbox stop {}", sleeper.name);
                sleeper.engine.audit.trouble(Error::internal(left).with_source(error).with_hint(hint));
            }
        }
    }
}
