//! The moment at which a sandbox expires: a time of the wall clock, so that a machine that sleeps or sets its clock
//! still ends its sandboxes when it should.

use agentkernel_model::{Error, Result};

/// Resolves when the wall clock reaches `at` (milliseconds since 1970-01-01 UTC); never without `at`.
///
/// # Errors
/// When the kernel has no timer left.
pub(crate) async fn reached(at: Option<i64>) -> Result<()> {
    match at {
        None => std::future::pending().await,
        Some(at) => wait(at).await.map_err(|e| Error::io("cannot set the timer of the sandbox's expiry", e)),
    }
}

#[cfg(target_os = "linux")]
async fn wait(at: i64) -> std::io::Result<()> {
    use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
    use tokio::io::{Interest, unix::AsyncFd};

    let timer = rustix::time::timerfd_create(
        TimerfdClockId::Realtime,
        TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
    )?;
    // Zero would switch the timer off; a moment of 1970 is in the past as well.
    let at = at.max(1);
    let moment = Timespec { tv_sec: at / 1000, tv_nsec: (at % 1000) * 1_000_000 };
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: moment };
    rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &once)?;
    #[expect(deprecated, reason = "its successor is unsafe; an OwnedFd keeps what that one asks for")]
    let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
    timer.readable().await.map(drop)
}

/// Where no timer follows the wall clock, the wall clock is looked at again at least every minute.
#[cfg(not(target_os = "linux"))]
async fn wait(at: i64) -> std::io::Result<()> {
    use std::time::Duration;
    loop {
        let left = u64::try_from(at.saturating_sub(crate::clock::now())).unwrap_or(0);
        if left == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(left).min(Duration::from_secs(60))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::reached;
    use crate::clock;

    #[test]
    fn it_comes_not_before_its_time() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            reached(Some(0)).await.unwrap();
            let at = clock::now() + 50;
            reached(Some(at)).await.unwrap();
            assert!(clock::now() >= at);
            tokio::select! {
                biased;
                _ = reached(None) => panic!("without a time it never comes"),
                () = std::future::ready(()) => {}
            }
        });
    }
}
