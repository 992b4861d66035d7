//! The pair of 8259A interrupt controllers of a PC, with the edge/level registers of PCI chipsets.
//!
//! Always: inputs are levels; the slave's output is the master's input 2; a request that vanished before its
//! acknowledge cycle yields the spurious vector 7 of the chip that was asked, without an in-service bit.
//! As on PCI chipsets the edge/level registers decide how an input triggers, not ICW1's LTIM bit, and the wiring named by
//! ICW3 is fixed, so that its value is taken and not used.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | odd order of initialisation words | the sequence is a small state machine; ICW1 restarts it at any time |
//! | guest | vectors below 32 | the base is the guest's own choice; who injects decides what it may do there |
//! | guest | endless interrupts by a level line | each needs an acknowledge; a call here does one thing, bounded |
//! | device model | a line number out of range | ignored, as is the cascade input |
//! | device model | a line that flickers | edges are latched while high, dropped when low, as the 8259A does |

/// A register of the pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Register {
    /// Master, A0 = 0 (PC port 0x20).
    MasterCommand,
    /// Master, A0 = 1 (PC port 0x21).
    MasterData,
    /// Slave, A0 = 0 (PC port 0xa0).
    SlaveCommand,
    /// Slave, A0 = 1 (PC port 0xa1).
    SlaveData,
    /// Master's edge/level control (PC port 0x4d0).
    MasterElcr,
    /// Slave's edge/level control (PC port 0x4d1).
    SlaveElcr,
}

/// The master's input the slave's output is wired to.
const CASCADE: u8 = 2;
/// The input whose vector a spurious acknowledge yields.
const SPURIOUS: u8 = 7;
/// Inputs 0, 1 and 2 (timer, keyboard, cascade) of the master are always edge-triggered.
const MASTER_LEVEL_ALLOWED: u8 = 0xf8;
/// Inputs 8 and 13 (clock, FPU error) are always edge-triggered.
const SLAVE_LEVEL_ALLOWED: u8 = 0xde;

/// Both controllers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PicPair {
    master: Chip,
    slave: Chip,
}

impl Default for PicPair {
    fn default() -> Self {
        Self::new()
    }
}

impl PicPair {
    /// The pair after power-on: nothing initialised, everything unmasked, no line high.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            // The master's cascade input follows the slave's output for as long as it is high, so that no edge can be
            // missed between two requests of the slave.
            master: Chip::new(MASTER_LEVEL_ALLOWED, 1 << CASCADE),
            slave: Chip::new(SLAVE_LEVEL_ALLOWED, 0),
        }
    }

    /// Reads a register. A read after the poll command acknowledges.
    pub fn read(&mut self, register: Register) -> u8 {
        let value = match register {
            Register::MasterCommand => self.master.read_command(),
            Register::MasterData => self.master.read_data(),
            Register::SlaveCommand => self.slave.read_command(),
            Register::SlaveData => self.slave.read_data(),
            Register::MasterElcr => self.master.level,
            Register::SlaveElcr => self.slave.level,
        };
        self.cascade();
        value
    }

    /// Writes a register.
    pub fn write(&mut self, register: Register, value: u8) {
        match register {
            Register::MasterCommand => self.master.write_command(value),
            Register::MasterData => self.master.write_data(value),
            Register::SlaveCommand => self.slave.write_command(value),
            Register::SlaveData => self.slave.write_data(value),
            Register::MasterElcr => self.master.set_level(value),
            Register::SlaveElcr => self.slave.set_level(value),
        }
        self.cascade();
    }

    /// Drives input `irq` (0 to 15) high or low. The cascade input 2 and numbers above 15 have no wire.
    pub fn set_line(&mut self, irq: u8, high: bool) {
        match irq {
            CASCADE => {}
            0..=7 => self.master.set_input(irq, high),
            8..=15 => self.slave.set_input(irq - 8, high),
            _ => {}
        }
        self.cascade();
    }

    /// Whether the pair asks the processor for an interrupt.
    #[must_use]
    pub fn pending(&self) -> bool {
        self.master.request().is_some()
    }

    /// The processor's acknowledge cycle: the vector of the most urgent request, or a spurious one if there is none.
    pub fn acknowledge(&mut self) -> u8 {
        let vector = match self.master.acknowledge() {
            Some(CASCADE) => {
                let input = self.slave.acknowledge().unwrap_or(SPURIOUS);
                self.slave.vector(input)
            }
            Some(input) => self.master.vector(input),
            None => self.master.vector(SPURIOUS),
        };
        self.cascade();
        vector
    }

    fn cascade(&mut self) {
        let high = self.slave.request().is_some();
        self.master.set_input(CASCADE, high);
    }
}

/// Which initialisation word the data register takes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expect {
    /// None: the data register is the mask.
    Mask,
    Icw2,
    Icw3,
    Icw4,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Chip {
    /// Levels of the inputs.
    inputs: u8,
    /// Rising edges not yet acknowledged, of inputs still high.
    edges: u8,
    /// Level-triggered inputs, as the register shows them.
    level: u8,
    level_allowed: u8,
    /// The input another chip's output is wired to, as a bit.
    cascade: u8,
    mask: u8,
    in_service: u8,
    /// Input of lowest priority.
    lowest: u8,
    base: u8,
    expect: Expect,
    single: bool,
    wants_icw4: bool,
    auto_end: bool,
    rotate_on_auto_end: bool,
    fully_nested_special: bool,
    special_mask: bool,
    poll: bool,
    read_in_service: bool,
}

/// ICW1: this is ICW1; no ICW3; ICW4 follows.
const ICW1: u8 = 0x10;
const ICW1_SINGLE: u8 = 0x02;
const ICW1_ICW4: u8 = 0x01;
/// ICW4: special fully nested mode; automatic end of interrupt.
const ICW4_NESTED: u8 = 0x10;
const ICW4_AUTO_END: u8 = 0x02;
/// A command word with this bit and without ICW1 is OCW3, else OCW2.
const OCW3: u8 = 0x08;

impl Chip {
    const fn new(level_allowed: u8, cascade: u8) -> Self {
        Self {
            inputs: 0,
            edges: 0,
            level: 0,
            level_allowed,
            cascade,
            mask: 0,
            in_service: 0,
            lowest: 7,
            base: 0,
            expect: Expect::Mask,
            single: false,
            wants_icw4: false,
            auto_end: false,
            rotate_on_auto_end: false,
            fully_nested_special: false,
            special_mask: false,
            poll: false,
            read_in_service: false,
        }
    }

    fn set_level(&mut self, value: u8) {
        self.level = value & self.level_allowed;
    }

    fn set_input(&mut self, input: u8, high: bool) {
        let bit = 1 << (input & 7);
        if !high {
            self.inputs &= !bit;
            self.edges &= !bit;
        } else if self.inputs & bit == 0 {
            self.inputs |= bit;
            self.edges |= bit;
        }
    }

    /// The interrupt request register.
    fn requests(&self) -> u8 {
        let level = self.level | self.cascade;
        (self.inputs & level) | (self.edges & !level)
    }

    /// The input of highest priority among `bits`, with its distance from the top.
    fn first(&self, bits: u8) -> Option<(u8, u8)> {
        (0..8)
            .map(|rank| ((self.lowest + 1 + rank) & 7, rank))
            .find(|(input, _)| bits & (1 << input) != 0)
    }

    /// In-service bits that hold back requests of their own or lower priority.
    fn blocking(&self) -> u8 {
        let mut bits = self.in_service;
        if self.special_mask {
            bits &= !self.mask;
        }
        bits
    }

    /// The input the chip asks an interrupt for.
    fn request(&self) -> Option<u8> {
        if self.expect != Expect::Mask {
            return None;
        }
        let (input, rank) = self.first(self.requests() & !self.mask)?;
        match self.first(self.blocking()) {
            Some((_, busy)) if busy < rank => None,
            Some((_, busy)) if busy == rank && !self.nests(input) => None,
            _ => Some(input),
        }
    }

    /// In special fully nested mode the slave may ask again while one of its requests is in service.
    fn nests(&self, input: u8) -> bool {
        self.fully_nested_special && self.cascade & (1 << input) != 0
    }

    fn acknowledge(&mut self) -> Option<u8> {
        let input = self.request()?;
        let bit = 1 << input;
        self.edges &= !bit;
        if !self.auto_end {
            self.in_service |= bit;
        } else if self.rotate_on_auto_end {
            self.lowest = input;
        }
        Some(input)
    }

    fn vector(&self, input: u8) -> u8 {
        self.base | input
    }

    fn read_command(&mut self) -> u8 {
        if self.poll {
            self.answer_poll()
        } else if self.read_in_service {
            self.in_service
        } else {
            self.requests()
        }
    }

    fn read_data(&mut self) -> u8 {
        if self.poll {
            self.answer_poll()
        } else {
            self.mask
        }
    }

    fn answer_poll(&mut self) -> u8 {
        self.poll = false;
        self.acknowledge().map_or(0, |input| 0x80 | input)
    }

    fn write_command(&mut self, value: u8) {
        if value & ICW1 != 0 {
            self.initialise(value);
        } else if value & OCW3 != 0 {
            self.operate(value);
        } else {
            self.end(value >> 5, value & 7);
        }
    }

    fn write_data(&mut self, value: u8) {
        self.expect = match self.expect {
            Expect::Mask => {
                self.mask = value;
                Expect::Mask
            }
            Expect::Icw2 => {
                self.base = value & 0xf8;
                if self.single {
                    self.after_icw3()
                } else {
                    Expect::Icw3
                }
            }
            Expect::Icw3 => self.after_icw3(),
            Expect::Icw4 => {
                self.fully_nested_special = value & ICW4_NESTED != 0;
                self.auto_end = value & ICW4_AUTO_END != 0;
                Expect::Mask
            }
        };
    }

    fn after_icw3(&self) -> Expect {
        if self.wants_icw4 {
            Expect::Icw4
        } else {
            Expect::Mask
        }
    }

    /// ICW1: what the datasheet lists as reset by it, and the sequence starts.
    fn initialise(&mut self, value: u8) {
        *self = Self {
            inputs: self.inputs,
            level: self.level,
            base: self.base,
            expect: Expect::Icw2,
            single: value & ICW1_SINGLE != 0,
            wants_icw4: value & ICW1_ICW4 != 0,
            ..Self::new(self.level_allowed, self.cascade)
        };
    }

    /// OCW3: special mask mode, poll, which register to read.
    fn operate(&mut self, value: u8) {
        if value & 0x40 != 0 {
            self.special_mask = value & 0x20 != 0;
        }
        if value & 0x04 != 0 {
            self.poll = true;
        } else if value & 0x02 != 0 {
            self.read_in_service = value & 0x01 != 0;
        }
    }

    /// OCW2: `command` is R, SL, EOI.
    fn end(&mut self, command: u8, input: u8) {
        match command {
            0b000 => self.rotate_on_auto_end = false,
            0b100 => self.rotate_on_auto_end = true,
            0b001 => {
                self.end_highest();
            }
            0b101 => {
                if let Some(ended) = self.end_highest() {
                    self.lowest = ended;
                }
            }
            0b011 => self.in_service &= !(1 << input),
            0b111 => {
                self.in_service &= !(1 << input);
                self.lowest = input;
            }
            0b110 => self.lowest = input,
            _ => {}
        }
    }

    /// Non-specific end; in special mask mode it passes over masked inputs.
    fn end_highest(&mut self) -> Option<u8> {
        let bits = if self.special_mask {
            self.in_service & !self.mask
        } else {
            self.in_service
        };
        let (input, _) = self.first(bits)?;
        self.in_service &= !(1 << input);
        Some(input)
    }
}

#[cfg(test)]
mod tests {
    use super::{Register::*, *};
    use proptest::prelude::*;

    const END: u8 = 0x20;

    /// As a PC's firmware or kernel sets the pair up.
    fn pair(icw4: u8) -> PicPair {
        let mut pair = PicPair::new();
        for (command, data, base, wiring) in [
            (MasterCommand, MasterData, 0x30, 4),
            (SlaveCommand, SlaveData, 0x38, 2),
        ] {
            pair.write(command, 0x11);
            pair.write(data, base);
            pair.write(data, wiring);
            pair.write(data, icw4);
        }
        pair
    }

    fn pulse(pair: &mut PicPair, irq: u8) {
        pair.set_line(irq, true);
        pair.set_line(irq, false);
        pair.set_line(irq, true);
    }

    #[test]
    fn each_input_has_its_vector() {
        for irq in (0..16).filter(|irq| *irq != CASCADE) {
            let mut pair = pair(1);
            pair.set_line(irq, true);
            assert!(pair.pending());
            assert_eq!(pair.acknowledge(), 0x30 + irq);
            assert!(!pair.pending());
        }
    }

    #[test]
    fn an_edge_asks_once_and_a_level_asks_until_it_falls() {
        let mut pair = pair(1);
        pair.write(MasterElcr, 0xff);
        assert_eq!(pair.read(MasterElcr), 0xf8);
        for (irq, again) in [(1, false), (5, true)] {
            pair.set_line(irq, true);
            assert_eq!(pair.acknowledge(), 0x30 + irq);
            pair.write(MasterCommand, END);
            assert_eq!(pair.pending(), again);
            pair.set_line(irq, false);
            assert!(!pair.pending());
        }
    }

    #[test]
    fn a_request_that_vanishes_is_spurious_and_not_in_service() {
        let mut pair = pair(1);
        pair.set_line(3, true);
        pair.set_line(3, false);
        assert_eq!(pair.acknowledge(), 0x37);
        pair.write(MasterCommand, 0x0b);
        assert_eq!(pair.read(MasterCommand), 0);
    }

    #[test]
    fn a_spurious_request_of_the_slave_is_in_service_at_the_master_alone() {
        let mut pair = pair(1);
        pair.slave.set_input(1, true);
        pair.cascade();
        // The slave's request vanishes between the two acknowledge pulses.
        pair.slave.set_input(1, false);
        assert_eq!(pair.acknowledge(), 0x3f);
        pair.write(MasterCommand, 0x0b);
        pair.write(SlaveCommand, 0x0b);
        assert_eq!([pair.read(MasterCommand), pair.read(SlaveCommand)], [4, 0]);
    }

    #[test]
    fn lower_requests_wait_for_the_end_of_higher_ones() {
        let mut pair = pair(1);
        pair.set_line(4, true);
        pair.set_line(6, true);
        assert_eq!(pair.acknowledge(), 0x34);
        assert!(!pair.pending());
        pair.set_line(0, true);
        assert_eq!(pair.acknowledge(), 0x30);
        pair.write(MasterCommand, END);
        assert!(!pair.pending());
        pair.write(MasterCommand, 0x64);
        assert_eq!(pair.acknowledge(), 0x36);
    }

    #[test]
    fn two_requests_of_the_slave_come_one_after_the_other() {
        let mut pair = pair(1);
        pair.set_line(8, true);
        pair.set_line(12, true);
        assert_eq!(pair.acknowledge(), 0x38);
        pair.write(SlaveCommand, END);
        pair.write(MasterCommand, END);
        assert_eq!(pair.acknowledge(), 0x3c);
    }

    #[test]
    fn the_master_lets_a_higher_request_of_the_slave_pass_in_special_fully_nested_mode() {
        for (icw4, passes) in [(0x01, false), (0x11, true)] {
            let mut pair = pair(icw4);
            pair.set_line(12, true);
            assert_eq!(pair.acknowledge(), 0x3c);
            pair.set_line(8, true);
            assert_eq!(pair.pending(), passes);
            pair.set_line(3, true);
            assert_eq!(pair.pending(), passes);
        }
    }

    #[test]
    fn automatic_end_leaves_nothing_in_service_and_can_rotate() {
        let mut pair = pair(3);
        pair.write(MasterCommand, 0x80);
        for irq in [0, 1] {
            pair.set_line(irq, true);
        }
        assert_eq!(pair.acknowledge(), 0x30);
        pulse(&mut pair, 0);
        assert_eq!(pair.acknowledge(), 0x31);
        assert_eq!(pair.acknowledge(), 0x30);
        pair.write(MasterCommand, 0x0b);
        assert_eq!(pair.read(MasterCommand), 0);
    }

    #[test]
    fn rotating_ends_give_everybody_a_turn() {
        let mut pair = pair(1);
        for irq in [3, 4] {
            pair.set_line(irq, true);
        }
        assert_eq!(pair.acknowledge(), 0x33);
        pulse(&mut pair, 3);
        pair.write(MasterCommand, 0xa0);
        assert_eq!(pair.acknowledge(), 0x34);
        pair.write(MasterCommand, 0xe4);
        assert_eq!(pair.acknowledge(), 0x33);
        // Lowest is 5, so 6 is highest.
        pair.write(MasterCommand, 0x63);
        pair.write(MasterCommand, 0xc5);
        pulse(&mut pair, 0);
        pulse(&mut pair, 6);
        assert_eq!(pair.acknowledge(), 0x36);
    }

    #[test]
    fn special_mask_mode_lets_lower_requests_pass_a_masked_one() {
        let mut pair = pair(1);
        pair.set_line(1, true);
        pair.set_line(5, true);
        assert_eq!(pair.acknowledge(), 0x31);
        pair.write(MasterData, 0x02);
        assert!(!pair.pending());
        pair.write(MasterCommand, 0x68);
        assert_eq!(pair.acknowledge(), 0x35);
        // The non-specific end passes over the masked one in service.
        pair.write(MasterCommand, END);
        pair.write(MasterCommand, 0x0b);
        assert_eq!(pair.read(MasterCommand), 0x02);
    }

    #[test]
    fn a_poll_acknowledges_without_a_vector() {
        let mut pair = pair(1);
        pair.set_line(4, true);
        pair.write(MasterCommand, 0x0c);
        assert_eq!(pair.read(MasterCommand), 0x84);
        pair.write(MasterCommand, 0x0c);
        assert_eq!(pair.read(MasterData), 0);
        pair.write(MasterCommand, 0x0b);
        assert_eq!(pair.read(MasterCommand), 0x10);
    }

    #[test]
    fn masks_hold_requests_back_and_read_back() {
        let mut pair = pair(1);
        pair.write(MasterData, 0xfb);
        pair.write(SlaveData, 0xff);
        pair.set_line(0, true);
        pair.set_line(9, true);
        assert!(!pair.pending());
        assert_eq!([pair.read(MasterData), pair.read(SlaveData)], [0xfb, 0xff]);
        pair.write(MasterCommand, 0x0a);
        assert_eq!(pair.read(MasterCommand), 0x01);
        pair.write(SlaveData, 0);
        assert_eq!(pair.acknowledge(), 0x39);
    }

    #[test]
    fn initialisation_forgets_edges_mask_and_service_and_takes_two_to_four_words() {
        let mut pair = pair(1);
        pair.set_line(0, true);
        pair.write(MasterData, 0xf0);
        pair.write(MasterCommand, 0x12);
        assert!(!pair.pending());
        pair.write(MasterData, 0x50);
        pair.write(MasterData, 0xfe);
        assert_eq!(pair.read(MasterData), 0xfe);
        assert!(!pair.pending());
        pulse(&mut pair, 0);
        assert_eq!(pair.acknowledge(), 0x50);
    }

    proptest! {
        #[test]
        fn any_accesses_keep_the_promises(
            steps in proptest::collection::vec((0u8..9, any::<u8>(), any::<bool>()), 0..300),
        ) {
            let registers = [MasterCommand, MasterData, SlaveCommand, SlaveData, MasterElcr, SlaveElcr];
            let mut pair = PicPair::new();
            for (what, value, flag) in steps {
                match what {
                    6 | 7 => pair.set_line(value & 0x1f, flag),
                    8 => {
                        let was = pair.pending();
                        let vector = pair.acknowledge();
                        let spurious = vector & 7 == 7;
                        prop_assert!(was || spurious);
                    }
                    register if flag => pair.write(registers[usize::from(register)], value),
                    register => { pair.read(registers[usize::from(register)]); }
                }
                for chip in [&pair.master, &pair.slave] {
                    // An edge is remembered only while its line is high.
                    prop_assert_eq!(chip.edges & !chip.inputs, 0);
                    prop_assert!(chip.request().is_none_or(|input| chip.mask & (1 << input) == 0));
                }
                let slave_asks = pair.slave.request().is_some();
                prop_assert_eq!(pair.master.inputs & 4 != 0, slave_asks);
            }
        }
    }
}
