//! What one sandbox may use at once, and how long it waits.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;

/// The bounds of each sandbox that a gateway serves. Beyond a count, that sandbox waits, but for datagrams; nothing is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections at once, each of two descriptors and two buffers of 2 to 16 KiB; few have larger ones. At least 1.
    pub flows: usize,
    /// DNS questions over UDP at once, each of one descriptor. At least 1.
    pub queries: usize,
    /// Pairs of ends that UDP goes between, each of one descriptor. At least 1; the one that was silent for the longest ends
    /// when another begins.
    pub pairs: usize,
    /// How long one of them may be silent (RFC 4787, REQ-5).
    pub pair_idle: Duration,
    /// How long a connection to the outside may take to be made.
    pub connect: Duration,
    /// How long a connection whose name decides may take to say it.
    pub greeting: Duration,
    /// How long one that is refused is listened to, so that it can be told why in its own words.
    pub last_words: Duration,
    /// How long a DNS connection may be silent.
    pub dns_idle: Duration,
    /// How long connections may go on delivering what they hold after their sandbox has ended.
    pub drain: Duration,
}

const MAX_FLOWS: u64 = 4096;
const MAX_QUERIES: u64 = 128;
const MAX_PAIRS: u64 = 512;
/// Descriptors left for the rest of the process.
const SPARE_DESCRIPTORS: u64 = 64;
const OPEN_MAX: u64 = 10_240;

impl Limits {
    /// The usual bounds, lowered to what the descriptors of this process allow, so that a sandbox with many
    /// connections waits instead of exhausting its keeper. A process that serves several sandboxes can still run out:
    /// they then wait for each other.
    ///
    /// From now on this process may have as many descriptors as it can: the usual 1,024 are for programs that use select(2).
    #[must_use]
    pub fn of_process() -> Self {
        Self::of_descriptors(raised())
    }

    /// `None` is no limit.
    fn of_descriptors(descriptors: Option<u64>) -> Self {
        let free = descriptors.unwrap_or(u64::MAX).saturating_sub(SPARE_DESCRIPTORS);
        let queries = (free / 4).clamp(1, MAX_QUERIES);
        let pairs = (free / 8).clamp(1, MAX_PAIRS);
        let flows = (free.saturating_sub(queries + pairs) / 2).clamp(1, MAX_FLOWS);
        Self {
            flows: usize::try_from(flows).unwrap_or(1),
            queries: usize::try_from(queries).unwrap_or(1),
            pairs: usize::try_from(pairs).unwrap_or(1),
            pair_idle: Duration::from_secs(120),
            connect: Duration::from_secs(20),
            greeting: Duration::from_secs(30),
            last_words: Duration::from_secs(2),
            dns_idle: Duration::from_secs(30),
            drain: Duration::from_secs(2),
        }
    }
}

/// The limit of this process, as high as the system lets it be.
fn raised() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // macOS has a limit beside the one that it says, and it is no lower than this (OPEN_MAX in setrlimit(2)).
    for wanted in [maximum, maximum.map_or(Some(OPEN_MAX), |most| Some(most.min(OPEN_MAX)))] {
        let is_more = current.is_some_and(|now| wanted.is_none_or(|wanted| wanted > now));
        if is_more && setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum }).is_ok() {
            return wanted;
        }
    }
    current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_descriptors_allow_and_never_none() {
        for descriptors in [0, 1, 64, 65, 100, 256, 1024, 4096, 1 << 20] {
            let limits = Limits::of_descriptors(Some(descriptors));
            let used = limits.flows as u64 * 2 + limits.queries as u64 + limits.pairs as u64;
            assert!(limits.flows >= 1 && limits.queries >= 1 && limits.pairs >= 1);
            assert!(
                used <= descriptors.saturating_sub(SPARE_DESCRIPTORS).max(4),
                "{descriptors}: {limits:?}"
            );
        }
        assert_eq!(Limits::of_descriptors(None).flows, 4096);
        assert_eq!(Limits::of_descriptors(Some(1 << 20)).flows, 4096);
    }
}
