//! An 82093AA IOAPIC: 24 input pins, each with an entry that says which message its interrupt is.
//!
//! Always: a pin is driven by whether its line is asserted, so an entry's polarity bit is kept and has no effect, as a
//! line's polarity is the wiring's own. An edge on a masked pin is lost; a level is sent when it is unmasked, and again
//! after its end of interrupt while it stays (82093AA data sheet, 3.2.4). What an access or a pin makes due is returned
//! and forgotten; delivery takes no time, so the delivery status is always idle.
//! Left to others: carrying messages to local APICs, and the ends of interrupt back.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | an end of interrupt with its line still asserted: a storm | one message an end, and each end is the guest's own exit |
//! | guest | entries for processors that are not there | the message finds no receiver; nothing waits for it here |
//! | guest | registers that do not exist, narrow accesses | read as zero, writes vanish |
//! | device model | a pin out of range | ignored |

use crate::message::{Delivery, Destination, Message, Trigger};

/// Number of input pins.
pub const PINS: u8 = 24;
/// What the version register shows: the 82093AA, which has no end-of-interrupt register, and its highest pin.
pub const VERSION: u32 = 0x11 | (PINS as u32 - 1) << 16;

/// Offset of the register that selects.
const SELECT: u16 = 0x00;
/// Offset of the window on what is selected.
const WINDOW: u16 = 0x10;

/// Indirect registers (82093AA data sheet, 3.2).
mod register {
    pub const ID: u8 = 0;
    pub const VERSION: u8 = 1;
    pub const ARBITRATION: u8 = 2;
    pub const TABLE: u8 = 0x10;
}

/// Bits of an entry (82093AA data sheet, 3.2.4).
mod entry {
    pub const DELIVERY_SHIFT: u64 = 8;
    pub const LOGICAL: u64 = 1 << 11;
    pub const REMOTE_IRR: u64 = 1 << 14;
    pub const LEVEL: u64 = 1 << 15;
    pub const MASKED: u64 = 1 << 16;
    pub const DESTINATION_SHIFT: u64 = 56;
    /// Bits that software sets.
    pub const WRITABLE: u64 = 0xff00_0000_0001_afff;
}

/// The IOAPIC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IoApic {
    id: u8,
    select: u8,
    entries: [u64; PINS as usize],
    /// Asserted lines.
    lines: u32,
}

impl IoApic {
    /// The IOAPIC after reset, every pin masked, with identifier `id` (four bits).
    #[must_use]
    pub const fn new(id: u8) -> Self {
        Self {
            id: id & 0xf,
            select: 0,
            entries: [entry::MASKED; PINS as usize],
            lines: 0,
        }
    }

    /// Reads `size` bytes at `offset` in the page; the window only four bytes wide.
    #[must_use]
    pub fn read(&self, offset: u16, size: u8) -> u32 {
        match (offset, size) {
            (SELECT, _) => u32::from(self.select),
            (WINDOW, 4) => self.read_selected(),
            _ => 0,
        }
    }

    /// Writes `size` bytes at `offset` in the page, the window only four bytes wide. Unmasking a pin whose level waits
    /// makes its message due.
    #[must_use]
    pub fn write(&mut self, offset: u16, size: u8, value: u32) -> Option<Message> {
        match (offset, size) {
            (SELECT, _) => self.select = value as u8,
            (WINDOW, 4) => return self.write_selected(value),
            _ => {}
        }
        None
    }

    /// Asserts or releases the line of `pin`.
    #[must_use]
    pub fn set_line(&mut self, pin: u8, asserted: bool) -> Option<Message> {
        if pin >= PINS {
            return None;
        }
        let bit = 1 << pin;
        let rises = asserted && self.lines & bit == 0;
        self.lines = if asserted {
            self.lines | bit
        } else {
            self.lines & !bit
        };
        let value = self.entries[usize::from(pin)];
        if value & entry::LEVEL != 0 {
            self.level(pin)
        } else {
            (rises && value & entry::MASKED == 0).then(|| message(value))
        }
    }

    /// A local APIC ended the level-triggered interrupt `vector`: sends again for each pin with it whose line is still
    /// asserted.
    pub fn end(&mut self, vector: u8, mut send: impl FnMut(Message)) {
        for pin in 0..PINS {
            let value = &mut self.entries[usize::from(pin)];
            if *value as u8 != vector || *value & entry::REMOTE_IRR == 0 {
                continue;
            }
            *value &= !entry::REMOTE_IRR;
            if let Some(message) = self.level(pin) {
                send(message);
            }
        }
    }

    /// The message of a level-triggered pin, if it is due.
    fn level(&mut self, pin: u8) -> Option<Message> {
        let value = &mut self.entries[usize::from(pin)];
        let held = entry::MASKED | entry::REMOTE_IRR;
        if *value & entry::LEVEL == 0 || *value & held != 0 || self.lines & 1 << pin == 0 {
            return None;
        }
        *value |= entry::REMOTE_IRR;
        Some(message(*value))
    }

    /// The pin whose entry is selected, and whether its high half is.
    fn selected_entry(&self) -> Option<(u8, bool)> {
        let pin = self.select.checked_sub(register::TABLE)? / 2;
        (pin < PINS).then_some((pin, self.select & 1 != 0))
    }

    fn read_selected(&self) -> u32 {
        match (self.select, self.selected_entry()) {
            (register::ID | register::ARBITRATION, _) => u32::from(self.id) << 24,
            (register::VERSION, _) => VERSION,
            (_, Some((pin, high))) => {
                let value = self.entries[usize::from(pin)];
                (if high { value >> 32 } else { value }) as u32
            }
            _ => 0,
        }
    }

    fn write_selected(&mut self, value: u32) -> Option<Message> {
        if self.select == register::ID {
            self.id = (value >> 24) as u8 & 0xf;
        }
        let (pin, high) = self.selected_entry()?;
        let old = self.entries[usize::from(pin)];
        let whole = if high {
            old & 0xffff_ffff | u64::from(value) << 32
        } else {
            old & !0xffff_ffff | u64::from(value)
        };
        let mut new = whole & entry::WRITABLE;
        // The bit means nothing for edges and is gone when a pin becomes level-triggered again.
        if new & entry::LEVEL != 0 {
            new |= old & entry::REMOTE_IRR;
        }
        self.entries[usize::from(pin)] = new;
        self.level(pin)
    }
}

fn message(value: u64) -> Message {
    Message {
        vector: value as u8,
        delivery: Delivery::from_bits((value >> entry::DELIVERY_SHIFT) as u8),
        trigger: Trigger::from_bit(value & entry::LEVEL != 0),
        destination: Destination::new(
            (value >> entry::DESTINATION_SHIFT) as u8,
            value & entry::LOGICAL != 0,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEVEL: u32 = 1 << 15;
    const MASKED: u32 = 1 << 16;
    const REMOTE_IRR: u32 = 1 << 14;

    fn get(ioapic: &mut IoApic, index: u8) -> u32 {
        assert_eq!(ioapic.write(SELECT, 4, u32::from(index)), None);
        ioapic.read(WINDOW, 4)
    }

    fn set(ioapic: &mut IoApic, index: u8, value: u32) -> Option<Message> {
        assert_eq!(ioapic.write(SELECT, 4, u32::from(index)), None);
        ioapic.write(WINDOW, 4, value)
    }

    fn entry_of(ioapic: &mut IoApic, pin: u8) -> u32 {
        get(ioapic, 0x10 + 2 * pin)
    }

    fn set_entry(ioapic: &mut IoApic, pin: u8, value: u32) -> Option<Message> {
        set(ioapic, 0x10 + 2 * pin, value)
    }

    fn ends(ioapic: &mut IoApic, vector: u8) -> Vec<Message> {
        let mut sent = Vec::new();
        ioapic.end(vector, |message| sent.push(message));
        sent
    }

    #[test]
    fn registers_are_those_of_the_data_sheet_3_2() {
        let mut ioapic = IoApic::new(1);
        assert_eq!(get(&mut ioapic, 0), 0x0100_0000);
        assert_eq!(get(&mut ioapic, 1), 0x0017_0011);
        for pin in 0..PINS {
            assert_eq!(entry_of(&mut ioapic, pin), MASKED);
            assert_eq!(get(&mut ioapic, 0x11 + 2 * pin), 0);
        }
        for absent in [3, 0x0f, 0x40, 0xff] {
            assert_eq!(set(&mut ioapic, absent, u32::MAX), None);
            assert_eq!(get(&mut ioapic, absent), 0);
        }
        assert_eq!(ioapic.read(SELECT, 4), 0xff);
    }

    #[test]
    fn the_identifier_has_four_bits_and_the_arbitration_register_follows_it() {
        let mut ioapic = IoApic::new(1);
        set(&mut ioapic, 0, u32::MAX);
        assert_eq!(get(&mut ioapic, 0), 0x0f00_0000);
        assert_eq!(get(&mut ioapic, 2), 0x0f00_0000);
        set(&mut ioapic, 2, 0);
        set(&mut ioapic, 1, 0);
        assert_eq!(get(&mut ioapic, 2), 0x0f00_0000);
        assert_eq!(get(&mut ioapic, 1), VERSION);
    }

    #[test]
    fn entries_keep_all_but_their_status_and_reserved_bits() {
        let mut ioapic = IoApic::new(1);
        assert_eq!(set_entry(&mut ioapic, 5, u32::MAX), None);
        assert_eq!(set(&mut ioapic, 0x1b, u32::MAX), None);
        assert_eq!(entry_of(&mut ioapic, 5), 0x0001_afff);
        assert_eq!(get(&mut ioapic, 0x1b), 0xff00_0000);
        assert_eq!(set(&mut ioapic, 0x1b, 0x0200_0000), None);
        assert_eq!(get(&mut ioapic, 0x1b), 0x0200_0000);
        assert_eq!(entry_of(&mut ioapic, 5), 0x0001_afff);
    }

    #[test]
    fn the_window_is_four_bytes_wide() {
        let mut ioapic = IoApic::new(1);
        assert_eq!(ioapic.write(SELECT, 1, 0x20), None);
        for size in [1, 2, 8] {
            assert_eq!(ioapic.write(WINDOW, size, 0), None);
            assert_eq!(ioapic.read(WINDOW, size), 0);
        }
        assert_eq!(ioapic.read(WINDOW, 4), MASKED);
        assert_eq!(ioapic.write(0x40, 4, 0), None);
        assert_eq!(ioapic.read(0x14, 4), 0);
    }

    #[test]
    fn an_entry_says_what_the_message_is() {
        let mut ioapic = IoApic::new(1);
        assert_eq!(set(&mut ioapic, 0x2d, 0x0300_0000), None);
        assert_eq!(set_entry(&mut ioapic, 14, 0x0976), None);
        assert_eq!(
            ioapic.set_line(14, true),
            Some(Message {
                vector: 0x76,
                delivery: Delivery::Lowest,
                trigger: Trigger::Edge,
                destination: Destination::Logical(3),
            })
        );
        assert_eq!(set_entry(&mut ioapic, 15, LEVEL | 0x0477), None);
        assert_eq!(
            ioapic.set_line(15, true),
            Some(Message {
                vector: 0x77,
                delivery: Delivery::Nmi,
                trigger: Trigger::Level,
                destination: Destination::Physical(0),
            })
        );
    }

    #[test]
    fn each_edge_is_one_message_and_an_edge_while_masked_is_lost() {
        let mut ioapic = IoApic::new(1);
        assert_eq!(ioapic.set_line(14, true), None);
        assert_eq!(set_entry(&mut ioapic, 14, 0x76), None);
        assert_eq!(ioapic.set_line(14, true), None);
        for _ in 0..3 {
            assert_eq!(ioapic.set_line(14, false), None);
            assert!(ioapic.set_line(14, true).is_some());
            assert_eq!(entry_of(&mut ioapic, 14), 0x76);
        }
        assert_eq!(ends(&mut ioapic, 0x76), []);
    }

    #[test]
    fn a_level_is_sent_once_and_again_after_each_end_while_it_stays() {
        let mut ioapic = IoApic::new(1);
        set_entry(&mut ioapic, 14, LEVEL | 0x98);
        assert!(ioapic.set_line(14, true).is_some());
        assert_eq!(entry_of(&mut ioapic, 14), LEVEL | REMOTE_IRR | 0x98);
        // It goes and comes before its end: one interrupt.
        assert_eq!(ioapic.set_line(14, false), None);
        assert_eq!(ioapic.set_line(14, true), None);
        assert_eq!(ends(&mut ioapic, 0x97), []);
        assert_eq!(ends(&mut ioapic, 0x98).len(), 1);
        assert_eq!(ioapic.set_line(14, false), None);
        assert_eq!(ends(&mut ioapic, 0x98), []);
        assert_eq!(entry_of(&mut ioapic, 14), LEVEL | 0x98);
    }

    #[test]
    fn a_level_waits_behind_its_mask() {
        let mut ioapic = IoApic::new(1);
        set_entry(&mut ioapic, 14, LEVEL | MASKED | 0x82);
        assert_eq!(ioapic.set_line(14, true), None);
        assert!(set_entry(&mut ioapic, 14, LEVEL | 0x82).is_some());
        // Masked by its handler: the end sends nothing, the unmasking does.
        assert_eq!(set_entry(&mut ioapic, 14, LEVEL | MASKED | 0x82), None);
        assert_eq!(ends(&mut ioapic, 0x82), []);
        assert!(set_entry(&mut ioapic, 14, LEVEL | 0x82).is_some());
    }

    #[test]
    fn remote_irr_outlives_a_new_destination_and_goes_with_the_level_trigger() {
        let mut ioapic = IoApic::new(1);
        set_entry(&mut ioapic, 14, LEVEL | 0x84);
        assert!(ioapic.set_line(14, true).is_some());
        assert_eq!(set(&mut ioapic, 0x2d, 1 << 24), None);
        assert_ne!(entry_of(&mut ioapic, 14) & REMOTE_IRR, 0);
        assert_eq!(set_entry(&mut ioapic, 14, MASKED | 0x84), None);
        assert_eq!(entry_of(&mut ioapic, 14), MASKED | 0x84);
        assert_eq!(set_entry(&mut ioapic, 14, LEVEL | MASKED | 0x84), None);
        assert!(set_entry(&mut ioapic, 14, LEVEL | 0x84).is_some());
    }

    #[test]
    fn pins_that_share_a_vector_share_its_end() {
        let mut ioapic = IoApic::new(1);
        for pin in [10, 11] {
            set_entry(&mut ioapic, pin, LEVEL | 0x60);
            assert!(ioapic.set_line(pin, true).is_some());
        }
        assert_eq!(ends(&mut ioapic, 0x60).len(), 2);
        assert_eq!(ioapic.set_line(10, false), None);
        assert_eq!(ends(&mut ioapic, 0x60).len(), 1);
    }

    proptest! {
        #[test]
        fn a_level_pin_never_sends_twice_without_an_end_and_never_stays_silent(
            steps in proptest::collection::vec((0u8..5, 0u8..3, any::<u32>()), 0..200),
        ) {
            let mut ioapic = IoApic::new(1);
            for (what, pin, value) in steps {
                let before: Vec<u32> = (0..3).map(|pin| entry_of(&mut ioapic, pin)).collect();
                let one = match what {
                    0 | 1 => ioapic.set_line(pin, value & 1 != 0),
                    2 => set_entry(&mut ioapic, pin, value & 0x1_8003 | 0x30),
                    3 => { ends(&mut ioapic, 0x30 | (value & 3) as u8); None }
                    _ => ioapic.set_line(value as u8, value & 0x100 != 0),
                };
                if let Some(message) = one && message.trigger == Trigger::Level {
                    prop_assert!(what != 0 || before[usize::from(pin)] & REMOTE_IRR == 0);
                }
                for pin in 0..3 {
                    let value = entry_of(&mut ioapic, pin);
                    let asserted = ioapic.lines >> pin & 1 != 0;
                    let owed = asserted && value & LEVEL != 0 && value & MASKED == 0;
                    prop_assert!(!owed || value & REMOTE_IRR != 0);
                }
            }
        }
    }
}
