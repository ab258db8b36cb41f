//! Signals to this process, as events.

use agentkernel_model::{Error, Result, command::Signal};
use std::{fs, future::poll_fn, task::Poll};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// To be passed on to the command.
    Forward(Signal),
    /// The caller's terminal has another size.
    Resize,
    /// This process was stopped and goes on.
    Resumed,
}

/// Whether this process has lent its terminal to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    Signals,
    SignalsAndTerminal,
}

const FORWARDED: [Signal; 6] =
    [Signal::Interrupt, Signal::Terminate, Signal::Hangup, Signal::Quit, Signal::User1, Signal::User2];

/// SIGCONT on Linux.
const CONTINUED: i32 = Signal::Continue.number();

#[derive(Debug)]
pub(crate) struct Signals(Vec<(Event, tokio::signal::unix::Signal)>);

impl Signals {
    /// From here on these signals no longer end this process. What the caller ignores (as `nohup` does with SIGHUP)
    /// stays ignored.
    ///
    /// # Errors
    /// When the kernel refuses a handler.
    pub(crate) fn install(watch: Watch) -> Result<Self> {
        let ignored = fs::read_to_string("/proc/self/status").map_or(0, |text| ignored_mask(&text));
        let mut wanted: Vec<(Event, SignalKind)> = FORWARDED
            .iter()
            .filter(|s| ignored & (1 << (s.number() - 1)) == 0)
            .map(|s| (Event::Forward(*s), SignalKind::from_raw(s.number())))
            .collect();
        if watch == Watch::SignalsAndTerminal {
            wanted.push((Event::Resize, SignalKind::window_change()));
            wanted.push((Event::Resumed, SignalKind::from_raw(CONTINUED)));
        }
        let install = |(event, kind)| signal(kind).map(|stream| (event, stream));
        let streams: std::io::Result<Vec<_>> = wanted.into_iter().map(install).collect();
        streams.map(Self).map_err(|e| Error::io("cannot watch for signals", e))
    }

    /// The next signal. Cancel safe.
    pub(crate) async fn next(&mut self) -> Event {
        poll_fn(|cx| {
            for (event, stream) in &mut self.0 {
                if stream.poll_recv(cx).is_ready() {
                    return Poll::Ready(*event);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The `SigIgn` line of proc_pid_status(5): bit n-1 stands for signal n.
fn ignored_mask(status: &str) -> u64 {
    let line = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        assert_eq!(ignored_mask("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t01\n"), 0x1001);
        assert_eq!(ignored_mask("nothing"), 0);
    }
}
