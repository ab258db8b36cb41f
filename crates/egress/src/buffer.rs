//! What a copied connection reads into: little while it is quiet, much while it is busy.

use tokio::sync::{Semaphore, SemaphorePermit};

/// For a connection that says little; thousands of those are open at once.
const NARROW: usize = 2 * 1024;
/// For one that says more.
const MIDDLE: usize = 16 * 1024;
/// For one that is read slower than it is written: a fourth of the calls, and less than a processor's cache.
const WIDE: usize = 256 * 1024;
/// Wide ones of one gateway: 16 MiB. Whoever comes later has a middle one.
pub(crate) const MOST_WIDE: usize = 64;

/// Of one direction.
pub(crate) struct Buffer<'a> {
    pub(crate) bytes: Vec<u8>,
    budget: &'a Semaphore,
    wide: Option<SemaphorePermit<'a>>,
}

impl<'a> Buffer<'a> {
    /// `budget` has [`MOST_WIDE`] permits.
    pub(crate) fn new(budget: &'a Semaphore) -> Self {
        Self { bytes: vec![0; NARROW], budget, wide: None }
    }

    pub(crate) const fn is_wide(&self) -> bool {
        self.wide.is_some()
    }

    /// `count` bytes were read into it and are passed on: a full one grows, one that is nearly empty shrinks.
    pub(crate) fn adapt(&mut self, count: usize) {
        let length = match self.bytes.len() {
            NARROW if count == NARROW => MIDDLE,
            MIDDLE if count == MIDDLE => {
                self.wide = self.budget.try_acquire().ok();
                if self.wide.is_some() { WIDE } else { MIDDLE }
            }
            WIDE if count <= NARROW => MIDDLE,
            MIDDLE if count <= NARROW / 2 => NARROW,
            same => same,
        };
        if length != self.bytes.len() {
            self.bytes = vec![0; length];
        }
        if length != WIDE {
            self.wide = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it is after reads of `counts`.
    fn after(budget: &Semaphore, counts: &[usize]) -> usize {
        let mut buffer = Buffer::new(budget);
        counts.iter().for_each(|count| buffer.adapt(*count));
        buffer.bytes.len()
    }

    #[test]
    fn full_ones_grow_and_quiet_ones_shrink() {
        let budget = Semaphore::new(1);
        assert_eq!(after(&budget, &[]), NARROW);
        assert_eq!(after(&budget, &[NARROW - 1; 9]), NARROW);
        assert_eq!(after(&budget, &[NARROW, MIDDLE - 1]), MIDDLE);
        assert_eq!(after(&budget, &[NARROW, MIDDLE, NARROW + 1]), WIDE);
        assert_eq!(after(&budget, &[NARROW, MIDDLE, WIDE, 1]), MIDDLE);
        assert_eq!(after(&budget, &[NARROW, MIDDLE, WIDE, 1, 1]), NARROW);
    }

    #[test]
    fn wide_ones_are_few_and_given_back() {
        let budget = Semaphore::new(1);
        let mut first = Buffer::new(&budget);
        [NARROW, MIDDLE].into_iter().for_each(|count| first.adapt(count));
        assert_eq!(first.bytes.len(), WIDE);
        assert_eq!(after(&budget, &[NARROW, MIDDLE, MIDDLE]), MIDDLE);
        first.adapt(1);
        assert_eq!(after(&budget, &[NARROW, MIDDLE]), WIDE);
        assert_eq!(budget.available_permits(), 1);
    }
}
