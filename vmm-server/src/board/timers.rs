//! The timers: interval timer, HPET and PM timer as functions of the TSC, and the TSC as the local APIC's timer counts it.

use super::interrupts::{Driver, Interrupts};
use devices::clock::Clock;
use devices::hpet::{self, Hpet};
use devices::lapic;
use devices::pit::{self, Pit};
use devices::pm::{self, Effect, PowerManagement};
use protocol::platform::{SCI, SLEEP_TYPE_S5, TIMER_PIN};

/// The interval timer's line.
const PIT_IRQ: u8 = 0;

/// The timers with their clocks.
#[derive(Clone, Debug)]
pub(super) struct Timers {
    pit: Pit,
    hpet: Hpet,
    /// Lines that an edge of the HPET left high, until it is written.
    hpet_edges: u32,
    power: PowerManagement,
    pit_clock: Clock,
    hpet_clock: Clock,
    power_clock: Clock,
    lapic_clock: Clock,
}

impl Timers {
    pub(super) fn new(tsc_mhz: u32, now: u64) -> Self {
        let clock = |frequency| Clock::new(tsc_mhz, frequency);
        let (pit_clock, power_clock) = (clock(pit::FREQUENCY), clock(pm::FREQUENCY));
        Self {
            pit: Pit::after_firmware(pit_clock.ticks(now)),
            hpet: Hpet::new(),
            hpet_edges: 0,
            power: PowerManagement::new(power_clock.ticks(now)),
            pit_clock,
            hpet_clock: clock(hpet::FREQUENCY),
            power_clock,
            lapic_clock: clock(lapic::FREQUENCY),
        }
    }

    /// Whether the HPET has the lines of the interval timer and the clock.
    pub(super) const fn replace_legacy(&self) -> bool {
        self.hpet.replaces_legacy()
    }

    /// The TSC in ticks of the local APIC's timer.
    pub(super) const fn lapic_ticks(&self, now: u64) -> u64 {
        self.lapic_clock.ticks(now)
    }

    pub(super) fn advance(&mut self, now: u64, interrupts: &mut Interrupts) {
        self.advance_pit(now, interrupts);
        self.advance_hpet(now, interrupts);
        let asks = self.power.interrupt(self.power_clock.ticks(now));
        interrupts.drive(Driver::Power, SCI, asks);
        interrupts.advance(self.lapic_ticks(now));
    }

    fn advance_pit(&mut self, now: u64, interrupts: &mut Interrupts) {
        let ticks = self.pit_clock.ticks(now);
        let rose = self.pit.take_rises(ticks) != 0;
        if self.hpet.replaces_legacy() {
            interrupts.drive(Driver::Pit, PIT_IRQ, false);
            return;
        }
        if rose {
            interrupts.edge(Driver::Pit, PIT_IRQ);
        }
        interrupts.drive(Driver::Pit, PIT_IRQ, self.pit.irq0_level(ticks));
    }

    fn advance_hpet(&mut self, now: u64, interrupts: &mut Interrupts) {
        let mut outputs = self.hpet.outputs(self.hpet_clock.ticks(now));
        if self.hpet.replaces_legacy() {
            // The pin is the interval timer's, and so is the line of the PIC pair.
            outputs.pulses = timer_pin_to_irq(outputs.pulses);
            outputs.levels = timer_pin_to_irq(outputs.levels);
        }
        self.hpet_edges |= outputs.pulses;
        while outputs.pulses != 0 {
            interrupts.edge(Driver::Hpet, outputs.pulses.trailing_zeros() as u8);
            outputs.pulses &= outputs.pulses - 1;
        }
        interrupts.drive_all(Driver::Hpet, outputs.levels | self.hpet_edges);
    }

    /// The host TSC of the next event, `lapic` being the local APIC timer's in its own ticks.
    pub(super) fn next_event(&mut self, now: u64, lapic: Option<u64>) -> Option<u64> {
        let at = |clock: Clock, tick: Option<u64>| tick.map(|tick| clock.tsc_at(tick));
        let pit = if self.hpet.replaces_legacy() {
            None
        } else {
            self.pit.next_edge(self.pit_clock.ticks(now))
        };
        let hpet = self.hpet.next_event(self.hpet_clock.ticks(now));
        let power = self.power.next_event(self.power_clock.ticks(now));
        [
            at(self.pit_clock, pit),
            at(self.hpet_clock, hpet),
            at(self.power_clock, power),
            at(self.lapic_clock, lapic),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn read_pit(&mut self, register: u8, now: u64) -> u8 {
        self.pit.read(register, self.pit_clock.ticks(now))
    }

    pub(super) fn write_pit(&mut self, register: u8, value: u8, now: u64) {
        self.pit.write(register, value, self.pit_clock.ticks(now));
    }

    pub(super) fn read_port61(&self, now: u64) -> u8 {
        self.pit.port61_read(self.pit_clock.ticks(now))
    }

    pub(super) fn write_port61(&mut self, value: u8, now: u64) {
        self.pit.port61_write(value, self.pit_clock.ticks(now));
    }

    pub(super) fn read_hpet(&mut self, offset: u16, size: u8, now: u64) -> u64 {
        self.hpet.read(offset, size, self.hpet_clock.ticks(now))
    }

    pub(super) fn write_hpet(&mut self, offset: u16, size: u8, value: u64, now: u64) {
        let ticks = self.hpet_clock.ticks(now);
        self.hpet.write(offset, size, value, ticks);
        self.hpet_edges = 0;
    }

    pub(super) fn read_power(&mut self, offset: u16, size: u8, now: u64) -> u32 {
        self.power.read(offset, size, self.power_clock.ticks(now))
    }

    /// The result says whether the guest switched its machine off.
    pub(super) fn write_power(&mut self, offset: u16, size: u8, value: u32, now: u64) -> bool {
        let ticks = self.power_clock.ticks(now);
        let effect = self.power.write(offset, size, value, ticks);
        effect == Effect::Sleep(SLEEP_TYPE_S5)
    }
}

const fn timer_pin_to_irq(pins: u32) -> u32 {
    let pin = 1 << TIMER_PIN;
    if pins & pin == 0 {
        pins
    } else {
        pins & !pin | 1 << PIT_IRQ
    }
}
