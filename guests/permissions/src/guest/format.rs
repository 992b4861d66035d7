//! The formats: where a translation's entries stand, and how rights are written into them.
//!
//! Always: a format's path leads from the root to one page, whose frame holds the user code; entries that a case does not
//! change allow all.

use guest_rt::cpu::{cpuid, physical_bits};
use guest_rt::dice::Dice;
use guest_rt::tables::{A, D, NX, P, PS, U, W, frame, load, slot, store};
use guest_rt::user::{BACK, RET};
use guest_script::script::{Expect, Op, Script};
use guest_script::space::{ALL, Mode, Space, WINDOW_32, put_code};

use super::rules::{Access, Controls, Entry};

/// A physical 4 MiB that nothing else uses.
const LARGE_FRAME: u64 = 40 << 20;
/// Where in the page data is read and written.
const SPOT: u64 = 0x900;
/// A bit above every physical width but the widest.
const HIGH: u64 = 1 << 51;

/// One format with one page size.
pub struct Format {
    /// What messages call it.
    pub name: &'static str,
    /// The address space.
    pub space: Space,
    /// The page's first address.
    pub base: u64,
    /// Where in the page the code is.
    offset: u64,
    /// Addresses of the entries, from the root's down to the leaf; what they point at.
    entries: [(u64, u64); 4],
    levels: u64,
    /// Four-byte entries.
    narrow: bool,
    /// The leaf is a large page's.
    large: bool,
    /// Reserved bits of the leaf, one of which a malformed one has.
    reserved: u64,
}

/// Every format that this CPU has.
pub fn all() -> impl Iterator<Item = Format> {
    let builders: [fn() -> Option<Format>; 7] = [
        || Some(long("4-level, 4 KiB", 4)),
        || Some(long("4-level, 2 MiB", 3)),
        || has_gib_pages().then(|| long("4-level, 1 GiB", 2)),
        || Some(pae("PAE, 4 KiB", 2)),
        || Some(pae("PAE, 2 MiB", 1)),
        || Some(two_level("2-level, 4 KiB", 2)),
        || Some(two_level("2-level, 4 MiB", 1)),
    ];
    builders.into_iter().filter_map(|build| build())
}

fn has_gib_pages() -> bool {
    cpuid(0x8000_0001, 0).edx & 1 << 26 != 0
}

/// What a leaf of each size points at: frame, offset of the code in the page, reserved bits.
fn target(bits: u32) -> (u64, u64, u64) {
    let high = if physical_bits() < 52 { HIGH } else { 0 };
    let code = frame();
    put_code(code);
    put_code(LARGE_FRAME);
    match bits {
        12 => (code, 0, high),
        // Between the PAT bit and the address: bits 20..13 (APM vol. 2, 5.3.4).
        21 => (LARGE_FRAME, 0, high | 0xff << 13),
        // The only GiB that is memory is the first; the code is somewhere in it.
        _ => (0, code, high | 0x1_ffff << 13),
    }
}

/// Four levels, of which the path takes `levels`, through the root's fourth entry.
fn long(name: &'static str, levels: u64) -> Format {
    const INDEX: u64 = 5;
    let space = Space::new(Mode::Long);
    let (leaf, offset, reserved) = target(12 + 9 * (4 - levels as u32));
    let mut entries = [(0, 0); 4];
    let mut table = space.cr3;
    let mut base = 0;
    for level in 0..levels {
        let entry = slot(table, INDEX);
        let last = level == levels - 1;
        table = if last { leaf } else { frame() };
        entries[level as usize] = (entry, table);
        base |= INDEX << (39 - 9 * level);
        let kind = if last && levels < 4 { PS } else { 0 };
        store(entry, table | ALL | kind);
    }
    Format {
        name,
        space,
        base,
        offset,
        entries,
        levels,
        narrow: false,
        large: levels < 4,
        reserved,
    }
}

/// PAE paging below the directory pointers, which have no rights.
fn pae(name: &'static str, levels: u64) -> Format {
    let mut space = Space::new(Mode::Pae);
    let (leaf, offset, reserved) = target(12 + 9 * (2 - levels as u32));
    let mut entries = [(0, 0); 4];
    let base;
    if levels == 2 {
        let region = space.region();
        entries[0] = (region.pde, region.table);
        entries[1] = (region.pte(7), leaf);
        base = region.page(7);
        store(region.pte(7), leaf | ALL);
    } else {
        let (first, pde) = space.hole();
        entries[0] = (pde, leaf);
        base = first;
        store(pde, leaf | ALL | PS);
    }
    Format {
        name,
        space,
        base,
        offset,
        entries,
        levels,
        narrow: false,
        large: levels == 1,
        reserved,
    }
}

fn two_level(name: &'static str, levels: u64) -> Format {
    const DIRECTORY_ENTRY: u64 = (WINDOW_32 >> 22) + 3;
    let space = Space::new(Mode::TwoLevel);
    let large = levels == 1;
    let (leaf, offset, _) = target(if large { 21 } else { 12 });
    let pde = space.cr3 + 4 * DIRECTORY_ENTRY;
    let put = |at: u64, value: u64| {
        let (word, shift) = (at & !7, 8 * (at & 4));
        store(word, load(word) & !(0xffff_ffff << shift) | value << shift);
    };
    let mut entries = [(0, 0); 4];
    let mut base = DIRECTORY_ENTRY << 22;
    if large {
        entries[0] = (pde, leaf);
        put(pde, leaf | ALL | PS);
    } else {
        let table = frame();
        entries[0] = (pde, table);
        entries[1] = (table + 4 * 9, leaf);
        base |= 9 << 12;
        put(pde, table | ALL);
        put(table + 4 * 9, leaf | ALL);
    }
    Format {
        name,
        space,
        base,
        offset,
        entries,
        levels,
        narrow: true,
        large,
        // Bit 21 of a 4 MiB page's entry; 20..13 are address bits 39..32 where the CPU has PSE-36.
        reserved: if large { 1 << 21 } else { 0 },
    }
}

impl Format {
    /// Entries from the root to the leaf.
    pub const fn levels(&self) -> u64 {
        self.levels
    }

    /// Whether it has 1 GiB pages.
    pub fn is_gib(&self) -> bool {
        self.large && self.levels == 2
    }

    /// Where `access` goes.
    pub const fn address(&self, access: Access) -> u64 {
        self.base
            + self.offset
            + match access {
                Access::Execute => RET,
                Access::UserExecute => BACK,
                _ => SPOT,
            }
    }

    /// Whether the error code tells fetches (APM vol. 2, 8.4.2).
    pub const fn has_fetch_bit(&self, controls: Controls) -> bool {
        (controls.nxe && !self.narrow) || controls.smep
    }

    /// The leaf's bits.
    pub fn leaf_bits(&self, entry: &Entry, dice: &mut Dice) -> u64 {
        let bits = self.rights(self.entries[self.levels as usize - 1].1, entry)
            | if self.large { PS } else { 0 }
            | if entry.dirty { D } else { 0 };
        if !entry.reserved || self.reserved == 0 {
            return bits;
        }
        // One of the reserved bits.
        let mut left = self.reserved;
        for _ in 0..dice.below(self.reserved.count_ones() as usize) {
            left &= left - 1;
        }
        bits | left & left.wrapping_neg()
    }

    /// The bits of an upper entry.
    pub fn upper_bits(&self, level: usize, entry: &Entry) -> u64 {
        let bits = self.rights(self.entries[level].1, entry);
        // In two levels no bit of an upper entry is reserved.
        if entry.reserved && !self.narrow && physical_bits() < 52 {
            bits | HIGH
        } else {
            bits
        }
    }

    /// The bits of an upper entry that allows all.
    pub const fn open_bits(&self, level: usize) -> u64 {
        self.entries[level].1 | ALL
    }

    fn rights(&self, target: u64, entry: &Entry) -> u64 {
        let mut bits = target;
        for (applies, bit) in [
            (entry.present, P),
            (entry.writable, W),
            (entry.user, U),
            (entry.no_execute && !self.narrow, NX),
            (entry.accessed, A),
        ] {
            if applies {
                bits |= bit;
            }
        }
        bits
    }

    /// What an entry's bits say. Upper entries have none of the leaf's reserved bits but the high one.
    pub const fn seen(&self, bits: u64) -> Entry {
        let reserved = if self.narrow && bits & PS == 0 {
            0
        } else if bits & PS != 0 {
            self.reserved
        } else {
            self.reserved & HIGH
        };
        Entry {
            present: bits & P != 0,
            writable: bits & W != 0,
            user: bits & U != 0,
            no_execute: bits & NX != 0,
            reserved: bits & reserved != 0,
            accessed: bits & A != 0,
            dirty: bits & D != 0,
        }
    }

    /// Writes an entry.
    pub fn write(&self, s: &mut Script, level: usize, bits: u64) {
        let op = if self.narrow { Op::Write32 } else { Op::Store };
        s.step(op, self.entries[level].0, bits);
    }

    /// The entry must hold `bits`, with or without those of `free`.
    pub fn expect(&self, s: &mut Script, label: &'static str, level: usize, bits: u64, free: u64) {
        let op = if self.narrow { Op::Read32 } else { Op::Load };
        let expected = Expect::Either(bits, bits | free);
        s.check(label, op, self.entries[level].0, 0, expected);
    }
}
