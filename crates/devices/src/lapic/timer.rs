//! The local APIC's timer (APM vol. 2, 16.4.1): a counter that runs down from what was written, once or again and again.
//!
//! Always: what it shows is a function of what was written and of `now`, in undivided ticks. Periods that nobody watched
//! are one expiry.

/// The timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timer {
    initial: u32,
    divide: u32,
    periodic: bool,
    run: Option<Run>,
}

/// A counter that runs: it showed `count` (not 0) at tick `since`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    count: u32,
    since: u64,
}

/// The divide configuration's bits 0, 1 and 3.
const DIVIDE_BITS: u32 = 0b1011;

impl Timer {
    pub(super) const fn new() -> Self {
        Self {
            initial: 0,
            divide: 0,
            periodic: false,
            run: None,
        }
    }

    pub(super) const fn initial(&self) -> u32 {
        self.initial
    }

    /// The divide configuration.
    pub(super) const fn divide(&self) -> u32 {
        self.divide
    }

    /// The current count.
    pub(super) fn count(&self, now: u64) -> u32 {
        let Some(run) = self.run else { return 0 };
        let passed = self.passed(run, now);
        match u32::try_from(passed) {
            Ok(passed) if passed < run.count => run.count - passed,
            _ if !self.periodic => 0,
            _ => {
                let into = (passed - u64::from(run.count)) % u64::from(self.initial.max(1));
                self.initial - into as u32
            }
        }
    }

    /// Starts a count; 0 stops the timer.
    pub(super) fn start(&mut self, initial: u32, now: u64) {
        self.initial = initial;
        self.run = Self::running(initial, now);
    }

    /// Sets the divide configuration; the count goes on from where it is.
    pub(super) fn set_divide(&mut self, value: u32, now: u64) {
        let count = self.count(now);
        self.divide = value & DIVIDE_BITS;
        self.run = Self::running(count, now);
    }

    /// Sets the mode; the count goes on from where it is. [`Timer::expire`] comes first.
    pub(super) const fn set_periodic(&mut self, periodic: bool) {
        self.periodic = periodic;
    }

    /// Whether the count reached zero since the last call.
    pub(super) fn expire(&mut self, now: u64) -> bool {
        let Some(run) = self.run else { return false };
        if now < self.end(run) {
            return false;
        }
        let count = self.count(now);
        // The part of a count already over stays over.
        let phase = (now - run.since) & ((1 << self.shift()) - 1);
        self.run = Self::running(count, now - phase);
        true
    }

    /// The tick at which the count reaches zero.
    pub(super) fn next(&self) -> Option<u64> {
        self.run.map(|run| self.end(run))
    }

    fn running(count: u32, since: u64) -> Option<Run> {
        (count != 0).then_some(Run { count, since })
    }

    fn passed(&self, run: Run, now: u64) -> u64 {
        now.saturating_sub(run.since) >> self.shift()
    }

    fn end(&self, run: Run) -> u64 {
        run.since
            .saturating_add(u64::from(run.count) << self.shift())
    }

    /// The divisor's logarithm: 2, 4, … 128, 1.
    const fn shift(&self) -> u32 {
        let index = self.divide & 3 | (self.divide & 8) >> 1;
        (index + 1) & 7
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_divisors_are_those_of_16_4_1() {
        let mut timer = Timer::new();
        for (value, divisor) in [
            (0b0000, 2),
            (0b0001, 4),
            (0b0010, 8),
            (0b0011, 16),
            (0b1000, 32),
            (0b1001, 64),
            (0b1010, 128),
            (0b1011, 1),
        ] {
            timer.set_divide(value, 0);
            timer.start(10, 1000);
            assert_eq!(timer.next(), Some(1000 + 10 * divisor), "{value:#b}");
            assert_eq!(timer.count(1000 + divisor), 9);
        }
    }

    #[test]
    fn a_changed_divisor_keeps_the_count() {
        let mut timer = Timer::new();
        timer.start(100, 0);
        timer.set_divide(0b0011, 100);
        assert_eq!(timer.count(100), 50);
        assert_eq!(timer.next(), Some(100 + 50 * 16));
    }

    proptest! {
        #[test]
        fn a_periodic_count_watched_late_is_where_one_watched_always_would_be(
            initial in 1u32..40, divide in 0u32..16, watched in proptest::collection::btree_set(0u64..4000, 0..20),
        ) {
            let mut seldom = Timer::new();
            seldom.set_divide(divide, 0);
            seldom.set_periodic(true);
            seldom.start(initial, 0);
            let mut always = seldom;
            for now in 0..4000 {
                let fires = always.next() == Some(now);
                prop_assert_eq!(always.expire(now), fires);
                prop_assert_eq!(seldom.count(now), always.count(now));
                prop_assert!(always.count(now) != 0);
                if watched.contains(&now) {
                    seldom.expire(now);
                    prop_assert_eq!(seldom.next(), always.next());
                }
            }
        }
    }
}
