//! Guest tables of one entry each, and nothing else in memory.
//!
//! The table of a level is told from address bits 31..30 alone, so that every other bit of an entry's address field may be
//! tried and still lead to it; with bit 29 it leads out of memory.

use shadow::GuestMemory;
use std::cell::Cell;
use words::Gpa;

/// The address whose walk meets the entries, in long mode: in the upper half.
pub const GVA_LONG: u64 = 0xffff_d2b0_e5af_1abc;
/// In PAE paging: by the third directory pointer.
pub const GVA_PAE: u64 = 0xa5af_1abc;
/// In 2-level paging.
pub const GVA_NARROW: u64 = 0xa5af_1abc;

/// Where the table of `level` is.
pub const fn table(level: u32) -> u64 {
    ((level & 3) as u64) << 30
}

/// The entries by level; number 0 is none.
#[derive(Debug)]
pub struct Tables {
    pub entries: [Cell<u64>; 5],
    /// What another processor does once, just before the walk exchanges the entry of this level: the bits it flips.
    pub race: Cell<Option<(u32, u64)>>,
    /// The address being walked, which gives each entry its index.
    pub gva: Cell<u64>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            entries: Default::default(),
            race: Cell::new(None),
            gva: Cell::new(0),
        }
    }
}

impl Tables {
    /// The level of the entry at `at`, if there is memory.
    fn level(&self, at: u64, bytes: u64) -> Option<usize> {
        let gva = self.gva.get();
        let level = match at >> 30 & 3 {
            0 => 4,
            level => level,
        };
        let index = if bytes == 8 {
            gva >> (3 + 9 * level) & 511
        } else {
            gva >> (2 + 10 * level) & 1023
        };
        (at >> 29 & 1 == 0 && at & 0xfff == index * bytes).then_some(level as usize)
    }

    pub fn read(&self, at: Gpa, bytes: u32) -> Option<u64> {
        let level = self.level(at.bits(), u64::from(bytes))?;
        Some(self.entries[level].get())
    }

    /// Sets `bits` in the entry at `at`.
    pub fn add(&self, at: Gpa, bytes: u32, bits: u64) {
        if let Some(level) = self.level(at.bits(), u64::from(bytes)) {
            let entry = &self.entries[level];
            entry.set(entry.get() | bits);
        }
    }

    pub fn image(&self) -> [u64; 5] {
        [0, 1, 2, 3, 4].map(|level| self.entries[level].get())
    }

    pub fn load(&self, entries: [u64; 5]) {
        for (entry, value) in self.entries.iter().zip(entries) {
            entry.set(value);
        }
    }

    fn exchange(&self, at: Gpa, bytes: u64, current: u64, new: u64) -> bool {
        let Some(level) = self.level(at.bits(), bytes) else {
            return false;
        };
        let entry = &self.entries[level];
        if let Some((victim, bits)) = self.race.get()
            && victim as usize == level
        {
            self.race.set(None);
            entry.set(entry.get() ^ bits);
        }
        if entry.get() != current {
            return false;
        }
        entry.set(new);
        true
    }
}

impl GuestMemory for &Tables {
    fn read32(&self, at: Gpa) -> Option<u32> {
        self.read(at, 4).map(|value| value as u32)
    }
    fn read64(&self, at: Gpa) -> Option<u64> {
        self.read(at, 8)
    }
    fn exchange32(&self, at: Gpa, current: u32, new: u32) -> bool {
        self.exchange(at, 4, u64::from(current), u64::from(new))
    }
    fn exchange64(&self, at: Gpa, current: u64, new: u64) -> bool {
        self.exchange(at, 8, current, new)
    }
    fn is_memory(&self, _: Gpa, _: u64) -> bool {
        true
    }
}
