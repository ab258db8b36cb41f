//! Starting runners, and keeping some that wait for a run: then the start of a process is not on the way of a request.

use super::{
    VERB,
    line::{self, Line},
    protocol::Setup,
};
use crate::engine::Engine;
use agentkernel_backend::Host;
use agentkernel_model::{Error, Result};
use std::{
    env,
    ffi::OsString,
    io::Write as _,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use tokio::{
    process::{Child, Command},
    task::{JoinSet, spawn_blocking},
};

/// A runner that has nothing to do yet.
#[derive(Debug)]
pub(super) struct Runner {
    pub(super) line: Line,
    pub(super) child: Child,
}

/// Starts runners for one engine, and has at most so many spare ones. Those end when this is dropped.
#[derive(Debug)]
pub(crate) struct Runners {
    most: usize,
    /// Those that are spare, and those that are about to be.
    spare: Mutex<JoinSet<Result<Runner>>>,
    way: OnceLock<Arc<Way>>,
}

/// How a runner is started.
#[derive(Debug)]
struct Way {
    exe: PathBuf,
    /// All of its environment: where things are, and nothing that this process has besides.
    environment: Vec<(OsString, OsString)>,
    /// The frame that is said to it first.
    setup: Vec<u8>,
}

impl Runners {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, spare: Mutex::default(), way: OnceLock::new() }
    }

    /// A runner; a spare one, where there is one.
    ///
    /// # Errors
    /// When none can be started.
    pub(super) async fn take(&self, engine: &Engine) -> Result<Runner> {
        if let Some(runner) = self.spare() {
            return Ok(runner);
        }
        let way = self.way(engine)?;
        let starting = spawn_blocking(move || way.start());
        starting.await.map_err(|e| Error::internal("the start of a runner was cut off").with_source(e))?
    }

    /// One that waits, and that nothing has happened to since.
    fn spare(&self) -> Option<Runner> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(started) = spare.try_join_next() {
            // One that could not be started is no news: the one that is started in its place says why.
            if let Ok(Ok(runner)) = started
                && runner.line.is_quiet()
            {
                return Some(runner);
            }
        }
        None
    }

    /// Has as many spare ones as there may be, soon. Must be called within the runtime.
    ///
    /// # Errors
    /// When nothing can be said to a runner of `engine`.
    pub(crate) fn fill(&self, engine: &Engine) -> Result<()> {
        let way = self.way(engine)?;
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        while spare.len() < self.most {
            let way = Arc::clone(&way);
            spare.spawn_blocking(move || way.start());
        }
        Ok(())
    }

    fn way(&self, engine: &Engine) -> Result<Arc<Way>> {
        if let Some(way) = self.way.get() {
            return Ok(Arc::clone(way));
        }
        let way = Arc::new(Way {
            exe: engine.host.exe.clone(),
            environment: environment(&engine.host),
            setup: line::frame(&Setup::of(engine))?,
        });
        Ok(Arc::clone(self.way.get_or_init(|| way)))
    }
}

/// What programs that a driver starts look for.
fn environment(host: &Host) -> Vec<(OsString, OsString)> {
    let places = &host.surroundings;
    let directory = |name: &str, path: &Option<PathBuf>| Some((name.into(), path.as_ref()?.into()));
    let path = env::join_paths(&places.path).ok().filter(|path| !path.is_empty());
    [
        directory("HOME", &places.home),
        directory("XDG_RUNTIME_DIR", &places.runtime_dir),
        path.map(|path| ("PATH".into(), path)),
    ]
    .into_iter()
    .flatten()
    .chain(places.variables.iter().map(|(name, value)| (name.into(), value.into())))
    .collect()
}

impl Way {
    /// Blocks for as long as the system needs to start a process.
    fn start(&self) -> Result<Runner> {
        let no_line = |e| Error::io("cannot make the line of a runner", e);
        let (mut ours, theirs) = UnixStream::pair().map_err(no_line)?;
        let child = Command::new(&self.exe)
            .arg(VERB)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| Error::io(format!("cannot start '{} {VERB}'", self.exe.display()), e))?;
        // One that has ended already is found out when it is asked for something.
        let _heard = ours.write_all(&self.setup);
        Ok(Runner { line: Line::new(ours)?, child })
    }
}
