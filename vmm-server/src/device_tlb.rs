//! Translations of addresses without memory, kept as a processor keeps translations in its TLB: an access to a device then
//! costs no question to mmu-server.
//!
//! Always: an entry was granted by the guest's tables when it was made, for accesses of this mode and kind, and is gone
//! after whatever makes a processor forget it: any INVLPG, a write of CR3, a change of a paging bit (APM vol. 2, 5.5.2). A guest that changes an entry without that may find the old translation, as on a processor.

use crate::bus::Hole;
use exit_abi::Mode;
use words::Gva;

/// Device pages that a guest uses in turn: its local APIC, IOAPIC and HPET.
const ENTRIES: usize = 4;

/// What an entry was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    /// All that decides who may access what, CPL and AC included.
    mode: u32,
    cr3: u64,
    hole: Hole,
}

/// The translations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct DeviceTlb {
    entries: [Option<Entry>; ENTRIES],
    next: usize,
}

impl DeviceTlb {
    /// The entry for an access to `gva`, if there is one.
    pub(crate) fn find(&self, mode: Mode, cr3: u64, gva: Gva, write: bool) -> Option<Hole> {
        self.entries
            .iter()
            .flatten()
            .find(|entry| {
                let same = entry.mode == mode.bits() && entry.cr3 == cr3;
                same && entry.hole.leads(gva, write).is_some()
            })
            .map(|entry| entry.hole)
    }

    /// Keeps what mmu-server said.
    pub(crate) fn keep(&mut self, mode: Mode, cr3: u64, hole: Hole) {
        let entry = Entry {
            mode: mode.bits(),
            cr3,
            hole,
        };
        let same = |old: &Option<Entry>| old.is_some_and(|old| old.hole.is_at(&hole));
        let place = self.entries.iter().position(same).unwrap_or(self.next);
        if let Some(slot) = self.entries.get_mut(place) {
            *slot = Some(entry);
        }
        if place == self.next {
            self.next = (self.next + 1) % ENTRIES;
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use words::Gpa;

    const APIC: Gva = Gva::new(0xffff_8000_0000_1030);
    const WRITE: u32 = 2;

    fn hole(gva: Gva, access: u32) -> Hole {
        Hole::new(gva, Gpa::new(0xfee0_0030), access)
    }

    fn mode(bits: u32) -> Mode {
        Mode::from_bits(bits)
    }

    #[test]
    fn an_entry_answers_for_its_page_mode_and_kind_of_access() {
        let mut tlb = DeviceTlb::default();
        tlb.keep(mode(1), 0x1000, hole(APIC, 0));
        assert!(tlb.find(mode(1), 0x1000, APIC, false).is_some());
        assert_eq!(tlb.find(mode(1), 0x1000, APIC, true), None);
        assert_eq!(tlb.find(mode(0x3001), 0x1000, APIC, false), None);
        assert_eq!(tlb.find(mode(1), 0x2000, APIC, false), None);
        let beyond = APIC.wrapping_add(0x1000);
        assert_eq!(tlb.find(mode(1), 0x1000, beyond, false), None);
        tlb.keep(mode(1), 0x1000, hole(APIC, WRITE));
        assert!(tlb.find(mode(1), 0x1000, APIC, true).is_some());
        assert!(tlb.find(mode(1), 0x1000, APIC, false).is_some());
    }

    #[test]
    fn everything_can_be_forgotten() {
        let mut tlb = DeviceTlb::default();
        tlb.keep(mode(1), 0x1000, hole(APIC, WRITE));
        tlb.clear();
        assert_eq!(tlb.find(mode(1), 0x1000, APIC, false), None);
    }

    #[test]
    fn more_pages_than_there_is_room_for_push_the_oldest_out() {
        let mut tlb = DeviceTlb::default();
        let page = |n: u64| APIC.wrapping_add(n << 12);
        for n in 0..5 {
            tlb.keep(mode(1), 0x1000, hole(page(n), 0));
        }
        assert_eq!(tlb.find(mode(1), 0x1000, page(0), false), None);
        for n in 1..5 {
            assert!(tlb.find(mode(1), 0x1000, page(n), false).is_some());
        }
    }
}
