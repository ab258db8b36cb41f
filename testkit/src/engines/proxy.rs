//! A socket in front of an engine's, with which something happens in the middle of a conversation.

use agentkernel_model::{Error, Result};
use std::{
    fmt, io,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Passes everything on, until a request has the marked text in it.
#[derive(Debug)]
pub struct Proxy {
    path: PathBuf,
    strike: Arc<Strike>,
}

/// What becomes of the answer to the marked request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Passed,
    Lost,
}

struct Strike {
    engine: PathBuf,
    marked: &'static str,
    /// Before the request is passed on.
    act: Box<dyn Fn() -> Answer + Send + Sync>,
    struck: AtomicBool,
}

impl fmt::Debug for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strike")
            .field("engine", &self.engine)
            .field("marked", &self.marked)
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// Listens in `directory`; the first request with `marked` in it reaches the engine, and its answer nobody.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub fn losing(directory: &Path, engine: PathBuf, marked: &'static str) -> Result<Self> {
        Self::start(directory, engine, marked, || Answer::Lost)
    }

    /// Listens in `directory`; `act` is done before the first request with `marked` in it reaches the engine.
    ///
    /// # Errors
    /// As [`Self::losing`].
    pub fn before(
        directory: &Path,
        engine: PathBuf,
        marked: &'static str,
        act: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::start(directory, engine, marked, move || {
            act();
            Answer::Passed
        })
    }

    fn start(
        directory: &Path,
        engine: PathBuf,
        marked: &'static str,
        act: impl Fn() -> Answer + Send + Sync + 'static,
    ) -> Result<Self> {
        let path = directory.join("p.sock");
        let failed = |e| Error::io(format!("cannot listen on {}", path.display()), e);
        let listener = UnixListener::bind(&path).map_err(failed)?;
        let strike = Arc::new(Strike { engine, marked, act: Box::new(act), struck: AtomicBool::new(false) });
        let strikes = Arc::clone(&strike);
        // It ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(io::Result::ok) {
                let strike = Arc::clone(&strikes);
                // A connection that breaks is what this is for.
                thread::spawn(move || drop(pass(&client, &strike)));
            }
        });
        Ok(Self { path, strike })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn has_struck(&self) -> bool {
        self.strike.struck.load(Ordering::SeqCst)
    }

    /// The next marked request is the first again.
    pub fn rearm(&self) {
        self.strike.struck.store(false, Ordering::SeqCst);
    }
}

fn pass(client: &UnixStream, strike: &Strike) -> io::Result<()> {
    let server = UnixStream::connect(&strike.engine)?;
    let answers = (server.try_clone()?, client.try_clone()?);
    let lost = Arc::new(AtomicBool::new(false));
    let loses = Arc::clone(&lost);
    let back = thread::spawn(move || {
        let (mut from, mut to) = answers;
        let mut bytes = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if loses.load(Ordering::SeqCst) || to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        // Both ways: nobody waits for more.
        let _gone = to.shutdown(std::net::Shutdown::Both);
    });
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let is_marked = String::from_utf8_lossy(&bytes[..count]).contains(strike.marked);
        if is_marked && !strike.struck.swap(true, Ordering::SeqCst) && (strike.act)() == Answer::Lost {
            lost.store(true, Ordering::SeqCst);
        }
        to.write_all(&bytes[..count])?;
    }
    server.shutdown(std::net::Shutdown::Write)?;
    drop(back.join());
    Ok(())
}
