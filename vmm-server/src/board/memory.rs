//! Guest-physical addresses of the board.

use super::{Board, Ending};
use protocol::platform::{HPET, IOAPIC};
use words::addr::PAGE_SIZE;

/// The model at an address, and the offset in its page.
#[derive(Clone, Copy)]
enum Place {
    LocalApic(u16),
    IoApic(u16),
    Hpet(u16),
}

/// The local APIC's register that starts its timer.
const INITIAL_COUNT: u16 = 0x380;

/// Registers of the local APIC that decide when its timer interrupts: the switch, the timer's entry, count and divider.
const fn is_timer(offset: u16) -> bool {
    matches!(offset & 0xff0, 0xf0 | 0x320 | INITIAL_COUNT | 0x3e0)
}

impl Board {
    /// Whether `gpa` lies in the local APIC's page.
    #[must_use]
    pub fn is_local_apic(&self, gpa: u64) -> bool {
        self.interrupts.lapic().address() == Some(gpa & !(PAGE_SIZE - 1))
    }

    fn place(&self, gpa: u64) -> Option<Place> {
        let offset = (gpa % PAGE_SIZE) as u16;
        // The local APIC is the processor's own and hides what else may be there.
        if self.is_local_apic(gpa) {
            return Some(Place::LocalApic(offset));
        }
        match gpa - u64::from(offset) {
            IOAPIC => Some(Place::IoApic(offset)),
            HPET => Some(Place::Hpet(offset)),
            _ => None,
        }
    }

    /// Reads `size` (1, 2, 4, 8) bytes that do not cross a page; `None` if nothing is there.
    pub fn read_memory(&mut self, gpa: u64, size: u8, now: u64) -> Option<u64> {
        let place = self.place(gpa)?;
        Some(match place {
            Place::LocalApic(offset) => {
                let ticks = self.timers.lapic_ticks(now);
                self.interrupts.read_lapic(offset, size, ticks)
            }
            Place::IoApic(offset) => u64::from(self.interrupts.read_ioapic(offset, size)),
            Place::Hpet(offset) => self.timers.read_hpet(offset, size, now),
        })
    }

    /// Writes the low `size` (1, 2, 4, 8) bytes of `value`, which do not cross a page. `false`: nothing is there.
    pub fn write_memory(&mut self, gpa: u64, size: u8, value: u64, now: u64) -> bool {
        let Some(place) = self.place(gpa) else {
            return false;
        };
        match place {
            // It looks at its own timer by itself, and its registers depend on no other's.
            Place::LocalApic(offset) => {
                self.timer_written |= is_timer(offset);
                self.count_written |= offset & 0xff0 == INITIAL_COUNT;
                let ticks = self.timers.lapic_ticks(now);
                if self.interrupts.write_lapic(offset, size, value, ticks) {
                    self.ending = Some(Ending::Reset);
                }
            }
            Place::IoApic(offset) => {
                self.advance(now);
                self.interrupts.write_ioapic(offset, size, value as u32);
            }
            Place::Hpet(offset) => {
                self.timers.write_hpet(offset, size, value, now);
                self.timer_written = true;
                self.advance(now);
            }
        }
        true
    }
}
