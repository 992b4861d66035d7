//! What many measurements of one operation come to.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

use core::fmt;

/// Measurements of one operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// How many.
    pub count: u64,
    sum: u64,
    /// The smallest.
    pub min: u64,
    /// The largest.
    pub max: u64,
}

impl Summary {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            count: 0,
            sum: 0,
            min: u64::MAX,
            max: 0,
        }
    }

    /// A single one.
    #[must_use]
    pub fn of(cost: u64) -> Self {
        let mut one = Self::new();
        one.add(0, cost, 0);
        one
    }

    /// One more: the difference of two readings, less what a pair of readings costs by itself.
    pub fn add(&mut self, first: u64, last: u64, overhead: u64) {
        let cost = last.wrapping_sub(first).saturating_sub(overhead);
        self.count += 1;
        self.sum += cost;
        self.min = self.min.min(cost);
        self.max = self.max.max(cost);
    }

    /// The mean in tenths, rounded.
    #[must_use]
    pub const fn mean_tenths(&self) -> u64 {
        if self.count == 0 {
            return 0;
        }
        (self.sum * 10 + self.count / 2) / self.count
    }
}

impl Default for Summary {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            count, min, max, ..
        } = self;
        let tenths = self.mean_tenths();
        let (whole, tenth) = (tenths / 10, tenths % 10);
        write!(f, "n={count} mean={whole}.{tenth} min={min} max={max}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_mean_smallest_and_largest_without_the_cost_of_measuring() {
        let mut summary = Summary::new();
        for cost in [100, 101, 101] {
            summary.add(1000, 1003 + cost, 3);
        }
        assert_eq!(summary.to_string(), "n=3 mean=100.7 min=100 max=101");
    }

    #[test]
    fn a_difference_below_the_overhead_counts_as_nothing() {
        let mut summary = Summary::new();
        summary.add(10, 12, 3);
        assert_eq!((summary.min, summary.max), (0, 0));
    }
}
