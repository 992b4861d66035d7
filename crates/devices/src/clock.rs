//! Conversion between the processor's time-stamp counter and device ticks.
//!
//! Always: `ticks` never runs backwards as the counter grows, and `tsc_at(t)` is the first counter value at which
//! `ticks` has reached `t`, so that a deadline armed there is never early.

/// Converts time-stamp counts to ticks of one frequency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    tsc_hz: u64,
    hz: u64,
}

impl Clock {
    /// A clock of `hz` ticks a second on a counter of `tsc_mhz` counts a microsecond (0 counts as 1).
    #[must_use]
    pub const fn new(tsc_mhz: u32, hz: u64) -> Self {
        let mhz = if tsc_mhz == 0 { 1 } else { tsc_mhz };
        Self {
            tsc_hz: mhz as u64 * 1_000_000,
            hz: if hz == 0 { 1 } else { hz },
        }
    }

    /// Ticks passed when the counter shows `tsc`.
    #[must_use]
    pub const fn ticks(self, tsc: u64) -> u64 {
        saturate(tsc as u128 * self.hz as u128 / self.tsc_hz as u128)
    }

    /// The first counter value at which `tick` ticks have passed; the largest value if that is out of reach.
    #[must_use]
    pub const fn tsc_at(self, tick: u64) -> u64 {
        saturate((tick as u128 * self.tsc_hz as u128).div_ceil(self.hz as u128))
    }
}

const fn saturate(value: u128) -> u64 {
    if value > u64::MAX as u128 {
        u64::MAX
    } else {
        value as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_deadline_is_the_first_count_that_shows_its_tick(mhz in 1u32..6000, tick in 1u64..1 << 40) {
            let clock = Clock::new(mhz, crate::pit::FREQUENCY);
            let tsc = clock.tsc_at(tick);
            prop_assert!(clock.ticks(tsc) >= tick);
            prop_assert!(clock.ticks(tsc - 1) < tick);
        }
    }

    #[test]
    fn extremes_saturate() {
        let clock = Clock::new(0, 0);
        assert_eq!(clock.tsc_at(u64::MAX), u64::MAX);
        assert!(clock.ticks(u64::MAX) > 0);
    }
}
