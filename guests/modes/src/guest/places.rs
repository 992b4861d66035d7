//! The modes, with tables for each that map the first 8 MiB to themselves, and a window of two pages and a gap.

use guest_rt::cpu::{cr, msr};
use guest_rt::tables::{P, PAGE, PS, U, W, boot_directory, boot_root, frame, load, slot, store};

use super::choice;
use super::switch::{Kind, Mode, Tables};

/// What the window shows, one or the other: memory that nothing else uses, good for pages of every size.
pub const FRAMES: [u64; 2] = [40 << 20, 44 << 20];
/// Where the window is for 32-bit code.
const WINDOW: u64 = 0x8000_0000;
/// Where it is for 64-bit code.
const WINDOW_64: u64 = 3 << 39 | 5 << 30;

/// A mode with its name and with the entry that leads to the window's first page.
pub struct Place {
    /// What messages call it.
    pub name: &'static str,
    /// The words that choose it.
    pub words: &'static [&'static str],
    /// The mode.
    pub mode: Mode,
    /// The entry's address, 0 without paging.
    pub leaf: u64,
    /// The entry's bits, beside the address.
    pub bits: u64,
}

/// Registers beside the tables.
struct Registers {
    kind: Kind,
    cr0: u64,
    cr4: u64,
    efer: u64,
}

const fn paged(kind: Kind, cr4: u64, efer: u64) -> Registers {
    Registers {
        kind,
        cr0: BASE | cr::PG | cr::WP,
        cr4,
        efer,
    }
}

/// Protection on, and the bits that every loader leaves.
const BASE: u64 = cr::PE | 1 << 4 | cr::NE;

/// All modes.
pub fn all(tables: &Tables) -> [Place; 10] {
    let page = |registers: &Registers, cr3: u64, window: u64, unit: u64| Mode {
        kind: registers.kind,
        cr0: registers.cr0 as u32,
        cr3: cr3 as u32,
        cr4: registers.cr4 as u32,
        efer: registers.efer as u32,
        idt: tables.pointer(registers.kind),
        window,
        absent: window + unit + 0x10,
        read_only: window + 2 * unit + 0x20,
    };
    let off = |kind: Kind, cr0: u64| Registers {
        kind,
        cr0,
        cr4: 0,
        efer: 0,
    };
    let flat = |name, words, registers: Registers| Place {
        name,
        words,
        mode: page(&registers, 0, FRAMES[0], 0),
        leaf: 0,
        bits: 0,
    };
    let wide = |name, words, registers: Registers, window: u64, large: bool| {
        let (cr3, leaf) = if registers.cr4 & cr::PAE == 0 {
            two_level(large, registers.cr4 & cr::PSE != 0)
        } else if registers.efer & msr::LME == 0 {
            pae(large)
        } else {
            long(window, large)
        };
        let unit = match (large, registers.cr4 & cr::PAE == 0) {
            (false, _) => PAGE,
            (true, true) => 4 << 20,
            (true, false) => 2 << 20,
        };
        Place {
            name,
            words,
            mode: page(&registers, cr3, window, unit),
            leaf,
            bits: P | W | if large { PS } else { 0 },
        }
    };
    let unprotected = Registers {
        cr0: BASE | cr::PG,
        ..paged(Kind::Paged, cr::PAE, msr::NXE)
    };
    [
        flat("real", &[choice::REAL], off(Kind::Real, BASE)),
        flat("flat", &[choice::PROTECTED], off(Kind::Flat, BASE)),
        wide(
            "2-level",
            &[choice::TWO_LEVEL],
            paged(Kind::Paged, 0, msr::NXE),
            WINDOW,
            false,
        ),
        wide(
            "2-level, 4 MiB",
            &[choice::TWO_LEVEL_PSE, choice::PSE36],
            paged(Kind::Paged, cr::PSE, msr::NXE),
            WINDOW,
            true,
        ),
        wide(
            "2-level, no NXE",
            &[choice::TWO_LEVEL_PSE],
            paged(Kind::Paged, cr::PSE, 0),
            WINDOW,
            false,
        ),
        wide(
            "PAE",
            &[choice::PAE],
            paged(Kind::Paged, cr::PAE, msr::NXE),
            WINDOW,
            false,
        ),
        wide(
            "PAE, 2 MiB, WP=0",
            &[choice::PAE],
            unprotected,
            WINDOW,
            true,
        ),
        wide(
            "compatibility",
            &[choice::COMPATIBILITY],
            paged(Kind::Compatibility, cr::PAE, msr::NXE | msr::LME),
            WINDOW,
            false,
        ),
        wide(
            "long",
            &[choice::FOUR_LEVEL],
            paged(Kind::Long, cr::PAE, msr::NXE | msr::LME),
            WINDOW_64,
            false,
        ),
        wide(
            "long, 2 MiB",
            &[choice::FOUR_LEVEL],
            paged(Kind::Long, cr::PAE | cr::PGE, msr::LME),
            WINDOW_64,
            true,
        ),
    ]
}

/// Fills the three pages of a window in a table of eight-byte entries; the first one's address.
fn window(table: u64, kind: u64) -> u64 {
    store(slot(table, 0), FRAMES[0] | P | W | kind);
    store(slot(table, 2), FRAMES[0] | P | kind);
    slot(table, 0)
}

fn long(at: u64, large: bool) -> (u64, u64) {
    let [root, pointers, directory] = [frame(), frame(), frame()];
    store(slot(root, 0), load(slot(boot_root(), 0)));
    if at >> 39 == 0 {
        // The window lies under the entry that maps the first GiB.
        let shared = frame();
        store(
            slot(shared, 0),
            load(slot(load(slot(boot_root(), 0)) & !0xfff, 0)),
        );
        store(slot(root, 0), shared | P | W | U);
        store(slot(shared, at >> 30), directory | P | W | U);
    } else {
        store(slot(root, at >> 39), pointers | P | W | U);
        store(slot(pointers, at >> 30 & 511), directory | P | W | U);
    }
    (root, below(directory, large))
}

fn pae(large: bool) -> (u64, u64) {
    let [root, directory] = [frame(), frame()];
    store(slot(root, 0), boot_directory() | P);
    store(slot(root, WINDOW >> 30), directory | P);
    (root, below(directory, large))
}

fn below(directory: u64, large: bool) -> u64 {
    if large {
        return window(directory, PS);
    }
    let table = frame();
    store(slot(directory, 0), table | P | W | U);
    window(table, 0)
}

/// Four-byte entries; without large pages the first 8 MiB go through tables.
fn two_level(large: bool, pse: bool) -> (u64, u64) {
    let root = frame();
    let put = |at: u64, value: u64| {
        let (word, shift) = (at & !7, 8 * (at & 4));
        store(word, load(word) & !(0xffff_ffff << shift) | value << shift);
    };
    for i in 0..2 {
        let identity = if large {
            i << 22 | P | W | PS
        } else {
            let table = frame();
            (0..1024).for_each(|j| put(table + 4 * j, i << 22 | j << 12 | P | W));
            table | P | W
        };
        put(root + 4 * i, identity);
    }
    let first = root + 4 * (WINDOW >> 22);
    if large {
        put(first, FRAMES[0] | P | W | PS);
        put(first + 8, FRAMES[0] | P | PS);
        return (root, first);
    }
    // PS means nothing there while CR4.PSE is clear.
    let ignored = if pse { 0 } else { PS };
    let table = frame();
    put(first, table | P | W | U | ignored);
    put(table, FRAMES[0] | P | W);
    put(table + 8, FRAMES[0] | P);
    (root, table)
}
