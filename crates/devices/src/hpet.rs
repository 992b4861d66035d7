//! A high-precision event timer (IA-PC HPET specification 1.0a): a 64-bit counter of 10 ns and three comparators, all
//! able to repeat and to be 32 bits wide, with legacy replacement routing and without message interrupts.
//!
//! `now` is a count of [`FREQUENCY`] ticks since any fixed moment (see [`Clock`](crate::clock::Clock)) and should not run
//! backwards. Always: counter, status and matches are functions of what was written and of `now`; matches that nobody
//! watched are one pulse. A 32-bit comparator that does not repeat matches each time the counter's low half comes by.
//!
//! Who wires it asks [`Hpet::outputs`], gives each pulsed interrupt a low-high-low and drives the others by their level.
//! While [`Hpet::replaces_legacy`], the interval timer and the clock have no interrupt line of their own.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | a period of one tick, or none | whole periods are counted by division; the caller may space deadlines |
//! | guest | routes to interrupts that are not offered | the route keeps its old value, as the specification lets it |
//! | guest | moves the counter under running timers | it only counts from what was written; comparators stay |
//! | guest | narrow or misplaced accesses | reads show bytes of the register, writes vanish |

mod comparator;
#[cfg(test)]
mod tests;

use comparator::Comparator;

/// Ticks a second of the main counter.
pub const FREQUENCY: u64 = 100_000_000;
/// Number of comparators.
const TIMERS: usize = 3;
/// Interrupts of the first two timers in legacy replacement mode, as numbers of IOAPIC pins; their ISA lines are IRQ 0
/// and IRQ 8 (HPET specification, 2.3.5).
pub const LEGACY_PINS: [u8; 2] = [2, 8];

/// Capabilities: period in femtoseconds, vendor, legacy replacement, 64 bits, three timers, revision 1 (2.3.4).
pub const CAPABILITIES: u64 =
    (1_000_000_000_000_000 / FREQUENCY) << 32 | 0x8086 << 16 | 1 << 15 | 1 << 13 | 2 << 8 | 1;

/// Offsets of the registers, eight bytes each (2.3.3).
mod register {
    pub const CAPABILITIES: u16 = 0x000;
    pub const CONFIGURATION: u16 = 0x010;
    pub const STATUS: u16 = 0x020;
    pub const COUNTER: u16 = 0x0f0;
    pub const TIMERS: u16 = 0x100;
    pub const TIMER_BYTES: u16 = 0x20;
    /// Of a timer.
    pub const TIMER_CONFIGURATION: u16 = 0x00;
    pub const COMPARATOR: u16 = 0x08;
}

/// Bits of the general configuration (2.3.5).
const ENABLE: u64 = 1 << 0;
const LEGACY: u64 = 1 << 1;

/// What the comparators ask for. Bit n is interrupt n of the IOAPIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outputs {
    /// Edges since the last question.
    pub pulses: u32,
    /// Lines that are high.
    pub levels: u32,
}

/// The timer block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hpet {
    configuration: u64,
    /// The counter at tick `since`; while disabled, what it shows.
    counter: u64,
    since: u64,
    timers: [Comparator; TIMERS],
}

impl Hpet {
    /// The block after reset: the counter stands at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            configuration: 0,
            counter: 0,
            since: 0,
            timers: [Comparator::new(0), Comparator::new(1), Comparator::new(2)],
        }
    }

    /// Reads `size` bytes at `offset` in the page.
    pub fn read(&mut self, offset: u16, size: u8, now: u64) -> u64 {
        self.advance(now);
        let value = self.read_register(offset & !7, now) >> (8 * (offset & 7));
        match size {
            1..=4 => value & (u64::MAX >> (64 - 8 * size)),
            _ => value,
        }
    }

    /// Writes `size` bytes at `offset` in the page: eight, or four at a multiple of four.
    pub fn write(&mut self, offset: u16, size: u8, value: u64, now: u64) {
        self.advance(now);
        let (value, mask) = match (size, offset & 7) {
            (8, 0) => (value, u64::MAX),
            (4, 0) => (value & 0xffff_ffff, 0xffff_ffff),
            (4, 4) => (value << 32, 0xffff_ffff << 32),
            _ => return,
        };
        self.write_register(offset & !7, value, mask, now);
    }

    /// What the timers did until `now` and where their lines stand.
    pub fn outputs(&mut self, now: u64) -> Outputs {
        self.advance(now);
        let mut outputs = Outputs::default();
        let runs = self.runs();
        for index in 0..TIMERS {
            let bit = self.route(index).map_or(0, |pin| 1 << pin);
            let timer = &mut self.timers[index];
            if timer.take_pulse() {
                outputs.pulses |= bit;
            }
            if runs && timer.interrupt() {
                outputs.levels |= bit;
            }
        }
        outputs
    }

    /// Whether the first two timers take the interrupt lines of the interval timer and the clock.
    #[must_use]
    pub const fn replaces_legacy(&self) -> bool {
        self.configuration & LEGACY != 0
    }

    /// The tick at which a timer interrupts next, if nothing is written until then: after `now`, or `now` for a match that
    /// has come and that nobody has asked for yet.
    #[must_use]
    pub fn next_event(&self, now: u64) -> Option<u64> {
        if !self.runs() {
            return None;
        }
        if self.timers.iter().any(Comparator::has_pulse) {
            return Some(now);
        }
        // From the moment up to which the timers have seen the counter: what lies between would count as a turn away.
        self.timers
            .iter()
            .filter_map(|timer| timer.ahead(self.counter))
            .min()
            .map(|ahead| self.since.saturating_add(ahead).max(now))
    }

    const fn runs(&self) -> bool {
        self.configuration & ENABLE != 0
    }

    /// What the main counter shows.
    const fn counter(&self, now: u64) -> u64 {
        if self.runs() {
            self.counter.wrapping_add(now.saturating_sub(self.since))
        } else {
            self.counter
        }
    }

    /// Lets the timers see the counter's values after `since` up to now's.
    fn advance(&mut self, now: u64) {
        let now = now.max(self.since);
        let passed = now - self.since;
        if self.runs() && passed != 0 {
            for timer in &mut self.timers {
                timer.pass(self.counter, passed);
            }
        }
        self.counter = self.counter(now);
        self.since = now;
    }

    fn route(&self, index: usize) -> Option<u8> {
        if self.replaces_legacy()
            && let Some(pin) = LEGACY_PINS.get(index)
        {
            return Some(*pin);
        }
        self.timers[index].route()
    }

    /// The timer a register at `offset` belongs to, and the register's offset in it.
    fn timer_at(offset: u16) -> Option<(usize, u16)> {
        let within = offset.checked_sub(register::TIMERS)?;
        let index = usize::from(within / register::TIMER_BYTES);
        (index < TIMERS).then_some((index, within % register::TIMER_BYTES))
    }

    fn read_register(&self, offset: u16, now: u64) -> u64 {
        match (offset, Self::timer_at(offset)) {
            (register::CAPABILITIES, _) => CAPABILITIES,
            (register::CONFIGURATION, _) => self.configuration,
            (register::STATUS, _) => (0..TIMERS).fold(0, |status, index| {
                status | u64::from(self.timers[index].status()) << index
            }),
            (register::COUNTER, _) => self.counter(now),
            (_, Some((index, register::TIMER_CONFIGURATION))) => self.timers[index].configuration(),
            (_, Some((index, register::COMPARATOR))) => self.timers[index].value(),
            _ => 0,
        }
    }

    fn write_register(&mut self, offset: u16, value: u64, mask: u64, now: u64) {
        match (offset, Self::timer_at(offset)) {
            (register::CONFIGURATION, _) => {
                self.configuration = (self.configuration & !mask | value) & (ENABLE | LEGACY);
            }
            (register::STATUS, _) => {
                for (index, timer) in self.timers.iter_mut().enumerate() {
                    if value >> index & 1 != 0 {
                        timer.clear();
                    }
                }
            }
            // To be written while the counter stands (2.3.7).
            (register::COUNTER, _) => {
                self.counter = self.counter(now) & !mask | value;
            }
            (_, Some((index, register::TIMER_CONFIGURATION))) => {
                self.timers[index].configure(value, mask);
            }
            (_, Some((index, register::COMPARATOR))) => self.timers[index].set(value, mask),
            _ => {}
        }
    }
}

impl Default for Hpet {
    fn default() -> Self {
        Self::new()
    }
}
