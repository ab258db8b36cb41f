//! A socket in front of an engine's that can lose an answer.

use std::{
    io::{self, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Passes everything on, until a request has `marked` in it: that one reaches the engine, and its answer nobody.
#[derive(Debug)]
pub(crate) struct Proxy {
    path: PathBuf,
    struck: Arc<AtomicBool>,
}

impl Proxy {
    /// Listens in `directory`. Its threads end with the test's process.
    pub(crate) fn start(directory: &Path, engine: PathBuf, marked: &'static str) -> Self {
        let path = directory.join("p.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let struck = Arc::new(AtomicBool::new(false));
        let strikes = Arc::clone(&struck);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (engine, strikes) = (engine.clone(), Arc::clone(&strikes));
                // A connection that breaks is what this is for.
                thread::spawn(move || drop(pass(&client, &engine, marked, &strikes)));
            }
        });
        Self { path, struck }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn has_struck(&self) -> bool {
        self.struck.load(Ordering::SeqCst)
    }

    /// The next marked request is the first again.
    pub(crate) fn rearm(&self) {
        self.struck.store(false, Ordering::SeqCst);
    }
}

fn pass(client: &UnixStream, engine: &Path, marked: &str, struck: &AtomicBool) -> io::Result<()> {
    let server = UnixStream::connect(engine)?;
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
        let is_marked = String::from_utf8_lossy(&bytes[..count]).contains(marked);
        if is_marked && !struck.swap(true, Ordering::SeqCst) {
            lost.store(true, Ordering::SeqCst);
        }
        to.write_all(&bytes[..count])?;
    }
    server.shutdown(std::net::Shutdown::Write)?;
    drop(back.join());
    Ok(())
}
