//! Which errors of an uplink pass by themselves, and how long to wait for that.

use std::{io, time::Duration};

const FIRST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(1);

/// The waits between attempts; they double until something succeeds.
#[derive(Debug)]
pub(crate) struct Patience(Duration);

impl Patience {
    pub(crate) const fn new() -> Self {
        Self(FIRST)
    }

    /// Something succeeded.
    pub(crate) const fn renew(&mut self) {
        self.0 = FIRST;
    }

    /// Waits before another attempt; `false` when `error` is the end of the uplink.
    ///
    /// Time is all there is to wait for: the kernel does not tell when descriptors or memory become free.
    pub(crate) async fn endure(&mut self, error: &io::Error) -> bool {
        if !is_passing(error) {
            return false;
        }
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST);
        true
    }
}

/// Errors of one connection that accept(2) reports before it is there, and shortages in this process or this machine.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTO};
    let of_one_connection = matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::Interrupted
    );
    let codes = [EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTO];
    of_one_connection || error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
