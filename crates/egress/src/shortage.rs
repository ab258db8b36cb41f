//! What a gateway can run out of. Nobody inside can tell that from a slow server, so it is told.

use std::{
    fmt, io,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So long each is told once only; twice as long each time, where it goes on: a sandbox that wants them could fill the log
/// with them.
const QUIET: Duration = Duration::from_secs(60);
const LONGEST_QUIET: Duration = Duration::from_secs(60 * 60);

/// What there is no more of at the moment. As text it is a sentence that says what becomes of those who need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// This sandbox has as many connections as it may.
    Connections(usize),
    /// It has asked as many questions of DNS as it may at once.
    Questions(usize),
    /// This process has as many descriptors as it may (EMFILE).
    Descriptors,
    /// So has this machine (ENFILE).
    Files,
    /// The kernel has no memory for sockets (ENOBUFS, ENOMEM).
    Memory,
}

impl Shortage {
    /// The one that `error` is about; most are about none.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
        match error.raw_os_error()? {
            EMFILE => Some(Self::Descriptors),
            ENFILE => Some(Self::Files),
            ENOBUFS | ENOMEM => Some(Self::Memory),
            _ => None,
        }
    }

    const fn number(self) -> usize {
        match self {
            Self::Connections(_) => 0,
            Self::Questions(_) => 1,
            Self::Descriptors => 2,
            Self::Files => 3,
            Self::Memory => 4,
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connections(most) => {
                write!(f, "all {most} connections that this sandbox may have are open: the next waits for one to end")
            }
            Self::Questions(most) => {
                write!(f, "all {most} questions that it may ask at once wait for answers: the next waits for one")
            }
            Self::Descriptors => f.write_str(
                "the gateway has no descriptor left ('ulimit -H -n' where the sandbox was started): connections wait or are \
                 refused until one is free",
            ),
            Self::Files => f.write_str(
                "this machine has no file left to open (fs.file-max): connections wait or are refused until one is free",
            ),
            Self::Memory => f.write_str(
                "this machine has no memory left for sockets: connections wait or are refused until some is free",
            ),
        }
    }
}

/// When each was told.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<[Option<Last>; 5]>);

#[derive(Debug, Clone, Copy)]
struct Last {
    at: Instant,
    /// Until the next.
    quiet: Duration,
}

impl Told {
    /// Whether `shortage` is news at `now`; then it is told from here on.
    pub(crate) fn is_news(&self, shortage: Shortage, now: Instant) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(told) = all.get_mut(shortage.number()) else { return false };
        let quiet = match *told {
            Some(last) if now.duration_since(last.at) < last.quiet => return false,
            Some(last) if now.duration_since(last.at) < 2 * last.quiet => (2 * last.quiet).min(LONGEST_QUIET),
            _ => QUIET,
        };
        *told = Some(Last { at: now, quiet });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_a_minute_and_less_often_while_it_goes_on() {
        let (told, now) = (Told::default(), Instant::now());
        for shortage in [
            Shortage::Connections(1),
            Shortage::Questions(1),
            Shortage::Descriptors,
            Shortage::Files,
            Shortage::Memory,
        ] {
            assert!(told.is_news(shortage, now), "{shortage:?}");
            assert!(!told.is_news(shortage, now + QUIET - Duration::from_millis(1)), "{shortage:?}");
            assert!(told.is_news(shortage, now + QUIET), "{shortage:?}");
            assert!(!told.is_news(shortage, now + 3 * QUIET - Duration::from_millis(1)), "{shortage:?}");
            assert!(told.is_news(shortage, now + 3 * QUIET), "{shortage:?}");
        }
        let seconds = (0..24 * 60 * 60).map(Duration::from_secs);
        let day = now + Duration::from_secs(24 * 60 * 60);
        let told_in_a_day = seconds.filter(|s| told.is_news(Shortage::Memory, day + *s)).count();
        assert!((24..32).contains(&told_in_a_day), "{told_in_a_day}");
        let later = day + Duration::from_secs(10 * 24 * 60 * 60);
        assert!(told.is_news(Shortage::Memory, later) && told.is_news(Shortage::Memory, later + QUIET));
    }
}
