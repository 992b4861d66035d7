//! The one deadline the device server keeps for this VM: when it is worth telling a new one.
//!
//! Always: a deadline is told once, and two of them lie at least the spacing apart, whatever reload value a guest gives
//! its timer.

/// Shortest time between two deadlines, in microseconds: a tiny reload value costs the guest, not the host.
const SPACING: u64 = 20;

/// Longest time, in microseconds, that a tick's length pushes the next one away. A guest that waits for ticks to see its
/// timer work (Linux wants five within 70 ms) is to get them, also after an interrupt that it took long to end.
const LONGEST_HOLD: u64 = 4000;

/// The deadline the device server knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Deadline {
    armed: Option<u64>,
    earliest: u64,
    spacing: u64,
    longest: u64,
}

/// How long a tick takes the guest: from the deadline's signal to the end of its interrupt, and where the guest counts
/// down to the next one by itself (a one-shot timer's), to the start of that count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tick {
    start: Option<u64>,
    ended: bool,
}

impl Tick {
    /// A deadline passed, and an interrupt waits. One that has not ended yet began with its own.
    pub(crate) fn begin(&mut self, now: u64) {
        if self.ended || self.start.is_none() {
            *self = Self {
                start: Some(now),
                ended: false,
            };
        }
    }

    /// The guest ended an interrupt, or started a count (`counting`). The result is what the tick took until now.
    pub(crate) fn end(&mut self, now: u64, counting: bool) -> Option<u64> {
        if self.ended && !counting {
            // Another interrupt's end.
            return None;
        }
        let took = now.saturating_sub(self.start?);
        self.ended = true;
        if counting {
            self.start = None;
        }
        Some(took)
    }

    /// The guest has nothing to do: whatever the tick was for is done.
    pub(crate) fn idle(&mut self) {
        if self.ended {
            self.start = None;
        }
    }
}

/// The device server is to be told this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tell(pub Option<u64>);

impl Deadline {
    /// None armed; the TSC has `tsc_mhz` counts a microsecond.
    pub(crate) const fn new(tsc_mhz: u32) -> Self {
        Self {
            armed: None,
            earliest: 0,
            spacing: SPACING * tsc_mhz as u64,
            longest: LONGEST_HOLD * tsc_mhz as u64,
        }
    }

    /// The last tick `took` so long: the guest gets as long for itself before the next, up to a limit, or a slow host would
    /// have it serve ticks and nothing else.
    pub(crate) fn hold(&mut self, now: u64, took: u64) {
        self.not_before(now.saturating_add(took.min(self.longest)));
    }

    fn not_before(&mut self, until: u64) {
        self.earliest = self.earliest.max(until);
    }

    /// The next event is at `event`. The result says whether the device server has to hear of it.
    pub(crate) fn update(&mut self, now: u64, event: Option<u64>) -> Option<Tell> {
        if self.armed.is_some_and(|tsc| tsc <= now) {
            // It was signalled or is about to be.
            self.armed = None;
            self.not_before(now.saturating_add(self.spacing));
        }
        let wanted = event.map(|tsc| tsc.max(self.earliest));
        if wanted == self.armed {
            return None;
        }
        self.armed = wanted;
        Some(Tell(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_told_when_it_changes_and_only_then() {
        let mut deadline = Deadline::new(1);
        assert_eq!(deadline.update(0, None), None);
        assert_eq!(deadline.update(0, Some(100)), Some(Tell(Some(100))));
        assert_eq!(deadline.update(50, Some(100)), None);
        assert_eq!(deadline.update(60, Some(90)), Some(Tell(Some(90))));
        assert_eq!(deadline.update(70, None), Some(Tell(None)));
    }

    #[test]
    fn a_held_deadline_moves_back_and_no_further_than_held() {
        let mut deadline = Deadline::new(1);
        assert_eq!(deadline.update(0, Some(100)), Some(Tell(Some(100))));
        deadline.hold(0, 90);
        assert_eq!(deadline.update(50, Some(100)), None);
        deadline.hold(50, 80);
        assert_eq!(deadline.update(60, Some(100)), Some(Tell(Some(130))));
        assert_eq!(deadline.update(61, Some(200)), Some(Tell(Some(200))));
    }

    #[test]
    fn a_hold_outlasts_the_deadline_that_passed_meanwhile() {
        let mut deadline = Deadline::new(1);
        deadline.update(0, Some(100));
        deadline.hold(0, 500);
        assert_eq!(deadline.update(200, Some(210)), Some(Tell(Some(500))));
    }

    #[test]
    fn a_tick_that_never_seemed_to_end_holds_the_next_one_no_longer_than_the_limit() {
        let mut deadline = Deadline::new(1);
        deadline.hold(1000, 1_000_000);
        let wanted = deadline.update(1000, Some(1001));
        assert_eq!(wanted, Some(Tell(Some(1000 + LONGEST_HOLD))));
    }

    #[test]
    fn a_tick_takes_until_its_end_or_the_next_count() {
        let mut tick = Tick::default();
        assert_eq!(tick.end(5, false), None);
        tick.begin(10);
        tick.begin(20);
        assert_eq!(tick.end(30, false), Some(20));
        assert_eq!(tick.end(40, false), None);
        assert_eq!(tick.end(50, true), Some(40));
        assert_eq!(tick.end(60, true), None);
        tick.begin(70);
        assert_eq!(tick.end(80, false), Some(10));
        tick.begin(100);
        assert_eq!(tick.end(130, false), Some(30));
        tick.idle();
        assert_eq!(tick.end(5000, true), None);
    }

    #[test]
    fn dense_events_are_spaced_and_do_not_push_each_other_away() {
        let mut deadline = Deadline::new(1);
        deadline.update(0, Some(1));
        assert_eq!(deadline.update(5, Some(6)), Some(Tell(Some(25))));
        for now in 6..25 {
            assert_eq!(deadline.update(now, Some(now + 1)), None);
        }
        assert_eq!(deadline.update(25, Some(26)), Some(Tell(Some(45))));
    }
}
