//! The one deadline the device server keeps for this VM: when it is worth telling a new one.
//!
//! Always: a deadline is told once, and two of them lie at least the spacing apart, whatever reload value a guest gives
//! its timer.

/// Shortest time between two deadlines, in microseconds: a tiny reload value costs the guest, not the host.
const SPACING: u64 = 20;

/// The deadline the device server knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Deadline {
    armed: Option<u64>,
    earliest: u64,
    spacing: u64,
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
        }
    }

    /// No deadline before `until`: the guest gets as long for itself as its last tick took, or a slow host would have it
    /// serve ticks and nothing else.
    pub(crate) fn hold(&mut self, until: u64) {
        self.earliest = self.earliest.max(until);
    }

    /// The next event is at `event`. The result says whether the device server has to hear of it.
    pub(crate) fn update(&mut self, now: u64, event: Option<u64>) -> Option<Tell> {
        if self.armed.is_some_and(|tsc| tsc <= now) {
            // It was signalled or is about to be.
            self.armed = None;
            self.earliest = now.saturating_add(self.spacing);
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
        deadline.hold(90);
        assert_eq!(deadline.update(50, Some(100)), None);
        deadline.hold(130);
        assert_eq!(deadline.update(60, Some(100)), Some(Tell(Some(130))));
        assert_eq!(deadline.update(61, Some(200)), Some(Tell(Some(200))));
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
