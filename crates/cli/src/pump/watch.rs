//! A descriptor under the event loop's watch, without changing its flags.

use std::os::fd::OwnedFd;
use tokio::io::{Interest, unix::AsyncFd};

/// Watches `fd` for something to read. `Err` gives it back where that is impossible: epoll(7) takes no regular files,
/// which are always ready.
pub(super) fn readable(fd: OwnedFd) -> Result<AsyncFd<OwnedFd>, OwnedFd> {
    #[expect(
        deprecated,
        reason = "the newer constructor is unsafe because a type may lie about its descriptor; an OwnedFd does not, \
                  and this crate forbids unsafe code"
    )]
    let watched = AsyncFd::try_with_interest(fd, Interest::READABLE);
    watched.map_err(|refused| refused.into_parts().0)
}
