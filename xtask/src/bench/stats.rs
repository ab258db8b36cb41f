//! Order statistics of a row's samples.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stats {
    pub(super) count: usize,
    /// Milliseconds, like all below.
    pub(super) median: f64,
    pub(super) p99: f64,
    pub(super) min: f64,
}

impl Stats {
    /// `None` without samples.
    pub(super) fn of(samples: &[Duration]) -> Option<Self> {
        let mut ms: Vec<f64> = samples.iter().map(|d| d.as_secs_f64() * 1e3).collect();
        ms.sort_by(f64::total_cmp);
        let count = ms.len();
        let min = *ms.first()?;
        let median = (ms[(count - 1) / 2] + ms[count / 2]) / 2.0;
        // Nearest rank: the smallest sample that at least 99 % do not exceed.
        let p99 = ms[(count * 99).div_ceil(100) - 1];
        Some(Self { count, median, p99, min })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter() {
        let ms = |list: &[u64]| list.iter().map(|n| Duration::from_millis(*n)).collect::<Vec<_>>();
        assert_eq!(Stats::of(&[]), None);
        let four = Stats::of(&ms(&[4, 1, 3, 2])).unwrap();
        assert_eq!((four.median, four.min, four.p99), (2.5, 1.0, 4.0));
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(Stats::of(&ms(&hundred)).unwrap().p99, 99.0);
    }
}
