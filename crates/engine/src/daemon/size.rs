//! How many sandboxes are kept warm.

use agentkernel_model::{Error, Result};
use serde::{Deserialize, Serialize};

/// The least and the most, over everything that is kept warm together. Each one holds memory: [`PoolSize::LIMIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(usize, usize)", into = "(usize, usize)")]
pub struct PoolSize {
    min: usize,
    max: usize,
}

impl PoolSize {
    pub const DEFAULT_MIN: usize = 3;
    pub const DEFAULT_MAX: usize = 5;
    pub const LIMIT: usize = 32;

    /// What is not said follows from what is: the defaults, moved so far that they agree with it.
    ///
    /// # Errors
    /// [`agentkernel_model::Kind::Invalid`] outside of 1 to [`PoolSize::LIMIT`], and for a least above the most.
    pub fn new(min: Option<usize>, max: Option<usize>) -> Result<Self> {
        let within = |number: Option<usize>, flag: &str| match number {
            Some(number) if !(1..=Self::LIMIT).contains(&number) => {
                Err(Error::invalid(format!("{flag} {number} is no size of a pool"))
                    .with_hint(format!("write a number from 1 to {}, such as {flag} 5", Self::LIMIT)))
            }
            _ => Ok(()),
        };
        within(min, "--min")?;
        within(max, "--max")?;
        let min_or = |max: usize| min.unwrap_or(Self::DEFAULT_MIN.min(max));
        let max = max.unwrap_or_else(|| Self::DEFAULT_MAX.max(min_or(Self::LIMIT)));
        let min = min_or(max);
        if min > max {
            return Err(Error::invalid(format!("--min {min} is more than --max {max}"))
                .with_hint(format!("write --min {min} --max {min}, or a smaller --min")));
        }
        Ok(Self { min, max })
    }

    #[must_use]
    pub const fn min(self) -> usize {
        self.min
    }

    #[must_use]
    pub const fn max(self) -> usize {
        self.max
    }

    /// How many of each are kept warm when there are `kinds` of them: together never more than [`PoolSize::max`], as
    /// long as there are no more kinds than that.
    pub(super) fn share(self, kinds: usize) -> usize {
        (self.max / kinds.max(1)).clamp(1, self.min)
    }
}

impl TryFrom<(usize, usize)> for PoolSize {
    type Error = Error;

    fn try_from((min, max): (usize, usize)) -> Result<Self> {
        Self::new(Some(min), Some(max))
    }
}

impl From<PoolSize> for (usize, usize) {
    fn from(size: PoolSize) -> Self {
        (size.min, size.max)
    }
}

#[cfg(test)]
mod tests {
    use super::PoolSize;

    fn size(min: Option<usize>, max: Option<usize>) -> Option<(usize, usize)> {
        PoolSize::new(min, max).ok().map(|size| (size.min, size.max))
    }

    #[test]
    fn what_is_not_said_agrees_with_what_is() {
        for (min, max, whole) in [
            (None, None, Some((3, 5))),
            (Some(8), None, Some((8, 8))),
            (Some(1), None, Some((1, 5))),
            (None, Some(2), Some((2, 2))),
            (None, Some(32), Some((3, 32))),
            (Some(32), Some(32), Some((32, 32))),
            (Some(4), Some(3), None),
            (Some(0), None, None),
            (None, Some(33), None),
        ] {
            assert_eq!(size(min, max), whole, "{min:?} {max:?}");
        }
    }

    #[test]
    fn shares_never_add_up_to_more_than_the_most() {
        for max in 1..=PoolSize::LIMIT {
            for min in 1..=max {
                let size = PoolSize::new(Some(min), Some(max)).unwrap();
                for kinds in 1..=max {
                    let share = size.share(kinds);
                    assert!((1..=min).contains(&share) && share * kinds <= max, "{size:?} {kinds}");
                }
            }
        }
        assert_eq!(PoolSize::new(None, None).unwrap().share(2), 2);
    }
}
