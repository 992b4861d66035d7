//! Comparator 0 of the machine's HPET as a one-shot timer (IA-PC HPET specification 1.0a).
//!
//! Registers are accessed as 32-bit halves, which every HPET allows, and the comparator is used with 32 bits. Always: a
//! timer is set for no more than half the counter's range, so that "passed already" can be told; what is farther off
//! fires early, and whoever asked asks again.

/// The register page.
pub trait Registers {
    /// Reads 32 bits at a byte offset.
    fn read(&mut self, offset: usize) -> u32;
    /// Writes 32 bits at a byte offset.
    fn write(&mut self, offset: usize, value: u32);
}

/// Upper half of the capabilities: the counter's period in femtoseconds.
const PERIOD: usize = 0x004;
const CONFIGURATION: usize = 0x010;
const COUNTER: usize = 0x0f0;
const TIMER_CONFIGURATION: usize = 0x100;
const COMPARATOR: usize = 0x108;

/// General configuration: the counter runs; interrupts take the places of PIT and clock.
const RUN: u32 = 1 << 0;
const LEGACY_ROUTES: u32 = 1 << 1;

/// Timer configuration.
const LEVEL: u32 = 1 << 1;
const INTERRUPT: u32 = 1 << 2;
const PERIODIC: u32 = 1 << 3;
const BITS_32: u32 = 1 << 8;
const ROUTE_SHIFT: u32 = 9;
const ROUTE: u32 = 0x1f << ROUTE_SHIFT;
const MESSAGE: u32 = 1 << 14;

/// Longest period the specification allows, in femtoseconds.
const MAX_PERIOD: u32 = 0x05f5_e100;
const FEMTOSECONDS_A_MICROSECOND: u128 = 1_000_000_000;
/// Farthest the comparator is set ahead.
const MAX_TICKS: u32 = 1 << 30;

/// Why the timer cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unusable {
    /// The period register holds this, which no HPET has.
    Period(u32),
    /// The timer did not take the route; its configuration reads this.
    Route(u32),
}

/// The timer.
#[derive(Debug)]
pub struct Hpet<R> {
    registers: R,
    period: u32,
    tsc_mhz: u32,
}

impl<R: Registers> Hpet<R> {
    /// Starts the counter and routes comparator 0, edge-triggered, to I/O-APIC pin `pin`.
    pub fn new(mut registers: R, pin: u32, tsc_mhz: u32) -> Result<Self, Unusable> {
        let period = registers.read(PERIOD);
        if period == 0 || period > MAX_PERIOD {
            return Err(Unusable::Period(period));
        }
        let kept = registers.read(TIMER_CONFIGURATION)
            & !(LEVEL | INTERRUPT | PERIODIC | BITS_32 | ROUTE | MESSAGE);
        let route = (pin << ROUTE_SHIFT) & ROUTE;
        registers.write(TIMER_CONFIGURATION, kept | BITS_32 | route);
        let taken = registers.read(TIMER_CONFIGURATION);
        if taken & ROUTE != route {
            return Err(Unusable::Route(taken));
        }
        let general = registers.read(CONFIGURATION);
        registers.write(CONFIGURATION, (general & !LEGACY_ROUTES) | RUN);
        let now = registers.read(COUNTER);
        registers.write(COMPARATOR, now.wrapping_add(MAX_TICKS));
        registers.write(TIMER_CONFIGURATION, kept | BITS_32 | route | INTERRUPT);
        Ok(Self {
            registers,
            period,
            tsc_mhz: tsc_mhz.max(1),
        })
    }

    /// Sets the interrupt `tsc_ahead` time-stamp counts from now, or earlier if that is too far. `false`: that moment
    /// passed while the comparator was being written, and the interrupt may not come.
    #[must_use]
    pub fn arm(&mut self, tsc_ahead: u64) -> bool {
        let ticks = self.ticks(tsc_ahead);
        let start = self.registers.read(COUNTER);
        self.registers.write(COMPARATOR, start.wrapping_add(ticks));
        self.registers.read(COUNTER).wrapping_sub(start) < ticks
    }

    /// Counter ticks in as many time-stamp counts, rounded up.
    fn ticks(&self, tsc: u64) -> u32 {
        let femtoseconds = u128::from(tsc) * FEMTOSECONDS_A_MICROSECOND / u128::from(self.tsc_mhz);
        let ticks = femtoseconds.div_ceil(u128::from(self.period));
        u32::try_from(ticks)
            .unwrap_or(MAX_TICKS)
            .clamp(1, MAX_TICKS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register page whose counter goes on by `step` at each read.
    struct Fake {
        words: [u32; 0x110 / 4],
        step: u32,
    }

    impl Registers for Fake {
        fn read(&mut self, offset: usize) -> u32 {
            let value = self.words[offset / 4];
            if offset == COUNTER {
                self.words[offset / 4] = value.wrapping_add(self.step);
            }
            value
        }
        fn write(&mut self, offset: usize, value: u32) {
            self.words[offset / 4] = value;
        }
    }

    fn fake(period: u32) -> Fake {
        let mut words = [0; 0x110 / 4];
        words[PERIOD / 4] = period;
        words[COUNTER / 4] = u32::MAX - 5;
        words[CONFIGURATION / 4] = LEGACY_ROUTES;
        Fake { words, step: 0 }
    }

    #[test]
    fn the_comparator_is_set_in_the_counters_ticks() {
        // 100 MHz counter, 2000 MHz time stamps: 20 counts a tick; across the counter's wrap.
        let mut hpet = Hpet::new(fake(10_000_000), 2, 2000).unwrap();
        assert!(hpet.arm(20 * 1000 + 1));
        assert_eq!(hpet.registers.words[COMPARATOR / 4], 1001 - 6);
        assert_eq!(hpet.registers.words[CONFIGURATION / 4], RUN);
        assert_eq!(
            hpet.registers.words[TIMER_CONFIGURATION / 4],
            BITS_32 | INTERRUPT | 2 << 9
        );
    }

    #[test]
    fn what_is_too_far_off_fires_early() {
        let mut hpet = Hpet::new(fake(10_000_000), 2, 2000).unwrap();
        assert!(hpet.arm(u64::MAX));
        assert_eq!(hpet.registers.words[COMPARATOR / 4], MAX_TICKS - 6);
    }

    #[test]
    fn a_moment_passed_while_it_was_set_is_reported() {
        let mut hpet = Hpet::new(fake(10_000_000), 2, 2000).unwrap();
        hpet.registers.step = 50;
        assert!(!hpet.arm(20 * 50));
        assert!(hpet.arm(20 * 51));
        assert!(!hpet.arm(0));
    }

    #[test]
    fn what_is_no_hpet_is_refused() {
        assert_eq!(
            Hpet::new(fake(u32::MAX), 2, 1).map(drop),
            Err(Unusable::Period(u32::MAX))
        );
        assert_eq!(Hpet::new(fake(0), 2, 1).map(drop), Err(Unusable::Period(0)));
    }
}
