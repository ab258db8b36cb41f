//! Between a registry and who asks it: so many bytes of its answers pass, and the rest is held back.

use agentkernel_model::{Error, Result};
use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

const CHUNK: usize = 16 << 10;

#[derive(Debug)]
struct State {
    left: u64,
    passed: u64,
    /// Somebody has bytes that may not pass.
    is_dry: bool,
    is_gone: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A running relay. Dropping it ends it and every connection that it holds back.
#[derive(Debug)]
pub struct Valve {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Valve {
    /// Before the server at `behind`, open for `bytes` of its answers.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn before(behind: SocketAddr, bytes: u64) -> Result<Self> {
        let fail = |e| Error::io("cannot listen on a port of loopback", e);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let state = State { left: bytes, passed: 0, is_dry: false, is_gone: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let taking = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(io::Result::ok) {
                if taking.change(|state| state.is_gone) {
                    return;
                }
                let shared = Arc::clone(&taking);
                // A connection that breaks is its ends' affair.
                thread::spawn(move || drop(relay(&client, behind, &shared)));
            }
        });
        Ok(Self { address, shared })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets `more` bytes pass, or what is left of all there is.
    pub fn open(&self, more: u64) {
        self.shared.change(|state| {
            state.left = state.left.saturating_add(more);
            state.is_dry = false;
        });
    }

    /// Bytes of answers that have passed.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.shared.change(|state| state.passed)
    }

    /// Waits until something is held back, at most for `time`; whether it is.
    #[must_use]
    pub fn runs_dry(&self, time: Duration) -> bool {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.changed.wait_timeout_while(state, time, |state| !state.is_dry);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for Valve {
    fn drop(&mut self) {
        self.shared.change(|state| state.is_gone = true);
        // The listener looks up.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
        value
    }

    /// How many of `wanted` bytes may pass, once some may; `None` when none will.
    fn take(&self, wanted: usize) -> Option<usize> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.left == 0 && !state.is_gone {
            state.is_dry = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let taken = u64::try_from(wanted).unwrap_or(u64::MAX).min(state.left);
        if state.left != u64::MAX {
            state.left -= taken;
        }
        state.passed += taken;
        (!state.is_gone).then(|| usize::try_from(taken).unwrap_or(wanted))
    }
}

fn relay(client: &TcpStream, behind: SocketAddr, shared: &Shared) -> io::Result<()> {
    let server = TcpStream::connect(behind)?;
    let (mut asking, mut asked) = (client.try_clone()?, server.try_clone()?);
    let questions = thread::spawn(move || {
        let _end = io::copy(&mut asking, &mut asked);
        let _gone = asked.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (&server, client);
    let mut bytes = [0; CHUNK];
    let mut pass = || -> io::Result<()> {
        while let count @ 1.. = from.read(&mut bytes)? {
            let mut rest = &bytes[..count];
            while !rest.is_empty() {
                let Some(now) = shared.take(rest.len()) else { return Ok(()) };
                to.write_all(&rest[..now])?;
                rest = &rest[now..];
            }
        }
        Ok(())
    };
    let passed = pass();
    // Both ways: nobody waits for more.
    let _gone = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    let _ended = questions.join();
    passed
}
