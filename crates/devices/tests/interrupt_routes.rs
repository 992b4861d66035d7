//! Lines, IOAPIC and local APIC together, wired as on a PC, with a processor that takes what is pending and runs
//! handlers: what a kernel may count on from a line to its handler's end.

use devices::ioapic::IoApic;
use devices::lapic::{Effect, LocalApic};
use proptest::prelude::*;
use std::collections::BTreeMap;

const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;
const REMOTE_IRR: u32 = 1 << 14;
const EOI: u16 = 0xb0;
const TMR: u16 = 0x180;
const PIN: u8 = 14;

struct Machine {
    lapic: LocalApic,
    ioapic: IoApic,
    interrupts_on: bool,
    /// Vectors in the order their handlers began.
    taken: Vec<u8>,
    handlers: BTreeMap<u8, fn(&mut Machine)>,
}

impl Machine {
    fn new() -> Self {
        Self {
            lapic: LocalApic::after_firmware(0),
            ioapic: IoApic::new(1),
            interrupts_on: true,
            taken: Vec::new(),
            handlers: BTreeMap::new(),
        }
    }

    fn line(&mut self, pin: u8, asserted: bool) {
        if let Some(message) = self.ioapic.set_line(pin, asserted) {
            assert!(self.lapic.receive(message));
        }
        self.run();
    }

    fn pulse(&mut self, pin: u8) {
        self.line(pin, true);
        self.line(pin, false);
    }

    fn entry(&mut self, pin: u8) -> u32 {
        assert_eq!(self.ioapic.write(0, 4, 0x10 + 2 * u32::from(pin)), None);
        self.ioapic.read(0x10, 4)
    }

    fn set_entry(&mut self, pin: u8, value: u32) {
        self.entry(pin);
        if let Some(message) = self.ioapic.write(0x10, 4, value) {
            assert!(self.lapic.receive(message));
        }
        self.run();
    }

    fn set_mask(&mut self, pin: u8, masked: bool) {
        let value = self.entry(pin) & !MASKED;
        self.set_entry(pin, value | if masked { MASKED } else { 0 });
    }

    fn handle(&mut self, vector: u8, handler: fn(&mut Machine)) {
        self.handlers.insert(vector, handler);
    }

    fn end(&mut self) {
        match self.lapic.write(EOI, 4, 0, 0) {
            Effect::Ended(Some(vector)) => {
                let lapic = &mut self.lapic;
                self.ioapic
                    .end(vector, |message| assert!(lapic.receive(message)));
            }
            Effect::Ended(None) => {}
            other => panic!("{other:?}"),
        }
    }

    fn level_triggered(&mut self, vector: u8) -> bool {
        let register = TMR + u16::from(vector >> 5) * 16;
        self.lapic.read(register, 4, 0) >> (vector & 31) & 1 != 0
    }

    /// Takes interrupts while there are any; handlers run with interrupts off, as behind an interrupt gate.
    fn run(&mut self) {
        while self.interrupts_on && self.lapic.pending().is_some() {
            assert!(self.taken.len() < 100, "a storm: {:?}", self.taken);
            let vector = self.lapic.acknowledge();
            self.taken.push(vector);
            self.interrupts_on = false;
            let handler = self.handlers[&vector];
            handler(self);
            self.interrupts_on = true;
        }
    }
}

#[test]
fn an_edge_is_one_interrupt() {
    let mut machine = Machine::new();
    machine.handle(0x76, Machine::end);
    machine.set_entry(PIN, 0x76);
    machine.pulse(PIN);
    assert_eq!(machine.taken, [0x76]);
}

#[test]
fn a_level_whose_handler_releases_it_is_one_interrupt() {
    let mut machine = Machine::new();
    machine.handle(0x77, |machine| {
        machine.line(PIN, false);
        machine.end();
    });
    machine.set_entry(PIN, LEVEL | 0x77);
    machine.line(PIN, true);
    assert_eq!(machine.taken, [0x77]);
    machine.line(PIN, true);
    assert_eq!(machine.taken, [0x77, 0x77]);
}

#[test]
fn of_two_that_wait_the_higher_vector_comes_first() {
    let mut machine = Machine::new();
    machine.handle(0x66, Machine::end);
    machine.handle(0x78, Machine::end);
    machine.set_entry(15, 0x66);
    machine.set_entry(PIN, 0x78);
    machine.interrupts_on = false;
    machine.pulse(15);
    machine.pulse(PIN);
    machine.interrupts_on = true;
    machine.run();
    assert_eq!(machine.taken, [0x78, 0x66]);
}

#[test]
fn a_level_that_flickers_while_its_handler_runs_is_one_interrupt() {
    let mut machine = Machine::new();
    machine.handle(0x98, |machine| {
        machine.line(PIN, false);
        machine.line(PIN, true);
        machine.line(PIN, false);
        machine.end();
    });
    machine.set_entry(PIN, LEVEL | 0x98);
    machine.line(PIN, true);
    assert_eq!(machine.taken, [0x98]);
}

#[test]
fn a_level_that_its_handler_leaves_comes_again() {
    let mut machine = Machine::new();
    machine.handle(0x9a, |machine| {
        if machine.taken.len() == 2 {
            machine.line(PIN, false);
        }
        machine.end();
    });
    machine.set_entry(PIN, LEVEL | 0x9a);
    machine.line(PIN, true);
    assert_eq!(machine.taken, [0x9a, 0x9a]);
    assert_eq!(machine.entry(PIN) & REMOTE_IRR, 0);
}

#[test]
fn a_handler_that_masks_its_level_gets_it_again_by_unmasking() {
    let mut machine = Machine::new();
    machine.handle(0x83, |machine| {
        machine.set_mask(PIN, true);
        machine.end();
    });
    machine.set_entry(PIN, LEVEL | 0x83);
    machine.line(PIN, true);
    assert_eq!(machine.taken, [0x83]);
    machine.set_mask(PIN, false);
    assert_eq!(machine.taken, [0x83, 0x83]);
    machine.line(PIN, false);
    machine.set_mask(PIN, false);
    assert_eq!(machine.taken.len(), 2);
}

#[test]
fn masked_an_edge_is_lost_and_a_level_waits() {
    for (trigger, after) in [(0, 0), (LEVEL, 1)] {
        let mut machine = Machine::new();
        machine.handle(0x81, |machine| {
            machine.line(PIN, false);
            machine.end();
        });
        machine.set_entry(PIN, trigger | MASKED | 0x81);
        machine.line(PIN, true);
        assert_eq!(machine.taken, []);
        machine.set_mask(PIN, false);
        assert_eq!(machine.taken.len(), after);
    }
}

#[test]
fn the_trigger_mode_register_shows_the_last_trigger_of_a_vector() {
    let mut machine = Machine::new();
    machine.handle(0x79, |machine| {
        machine.line(PIN, false);
        machine.end();
    });
    for (trigger, before) in [(0, false), (LEVEL, false), (LEVEL, true), (0, true)] {
        machine.set_entry(PIN, trigger | 0x79);
        assert_eq!(machine.level_triggered(0x79), before);
        machine.line(PIN, true);
        assert_eq!(machine.level_triggered(0x79), trigger == LEVEL);
    }
    assert_eq!(machine.taken.len(), 4);
}

#[test]
fn a_level_can_be_ended_without_an_end_register_by_a_turn_through_edge() {
    let mut machine = Machine::new();
    // A handler whose end reaches the local APIC after the vector was moved: the IOAPIC does not see it.
    machine.handle(0x50, |machine| {
        machine.line(PIN, false);
        machine.set_entry(PIN, LEVEL | 0x51);
        machine.end();
    });
    machine.handle(0x51, |machine| {
        machine.line(PIN, false);
        machine.end();
    });
    machine.set_entry(PIN, LEVEL | 0x50);
    machine.line(PIN, true);
    assert_ne!(machine.entry(PIN) & REMOTE_IRR, 0);
    machine.set_entry(PIN, MASKED | 0x51);
    machine.set_entry(PIN, MASKED | LEVEL | 0x51);
    machine.set_entry(PIN, LEVEL | 0x51);
    assert_eq!(machine.entry(PIN) & REMOTE_IRR, 0);
    machine.line(PIN, true);
    assert_eq!(machine.taken, [0x50, 0x51]);
}

proptest! {
    #[test]
    fn no_asserted_level_is_forgotten(
        steps in proptest::collection::vec((0u8..4, 0u8..4, any::<bool>()), 0..100),
    ) {
        let mut machine = Machine::new();
        for pin in 0..4 {
            // The handler of each pin releases its own line.
            let vector = 0x30 + 0x11 * pin;
            machine.handle(vector, |machine| {
                let pin = (machine.taken[machine.taken.len() - 1] - 0x30) / 0x11;
                machine.line(pin, false);
                machine.end();
            });
            machine.set_entry(pin, LEVEL | u32::from(vector));
        }
        let mut asserted = [false; 4];
        for (what, pin, on) in steps {
            machine.taken.clear();
            match what {
                0 | 1 => {
                    machine.line(pin, on);
                    asserted[usize::from(pin)] = on;
                }
                2 => machine.set_mask(pin, on),
                _ => machine.interrupts_on = on,
            }
            machine.run();
            for vector in &machine.taken {
                asserted[usize::from((vector - 0x30) / 0x11)] = false;
            }
            for pin in 0..4u8 {
                let open = machine.interrupts_on && machine.entry(pin) & MASKED == 0;
                prop_assert!(!open || !asserted[usize::from(pin)], "{}", pin);
            }
        }
    }
}
