//! Services of this machine's loopback for tests of who may be talked to.

use std::{
    io::{ErrorKind, Read as _, Result, Write as _},
    net::{SocketAddr, TcpListener},
    thread,
};

/// One that nobody is to talk to.
#[derive(Debug)]
pub struct Untouched(TcpListener);

impl Untouched {
    /// # Errors
    /// When no port can be had.
    pub fn listen() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// # Errors
    /// Of the socket.
    pub fn address(&self) -> Result<SocketAddr> {
        self.0.local_addr()
    }

    /// # Panics
    /// When somebody has connected, since it listens or since this was asked last.
    #[track_caller]
    pub fn is_untouched(&self) {
        match self.0.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            came => panic!("somebody came: {came:?}"),
        }
    }
}

/// One that answers every request with `answer`, until the process ends.
///
/// # Errors
/// When no port can be had.
pub fn answering(answer: String) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for wire in listener.incoming() {
            let Ok(mut wire) = wire else { continue };
            let mut head = [0; 4096];
            let _ = wire.read(&mut head);
            let _ = wire.write_all(answer.as_bytes());
        }
    });
    Ok(address)
}
