//! An address space under test: the first GiB mapped to itself, and a window of one page directory to play with.
//!
//! The window's directory and tables look the same in long mode and PAE paging (APM vol. 2, 5.2.3 and 5.3.3), so one
//! script serves both.

use core::fmt;

use guest_rt::tables::{
    LARGE, P, PAGE, PS, U, W, boot_directory, boot_root, frame, load, slot, store,
};
use guest_rt::user;

/// How addresses are translated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// 4-level paging.
    Long,
    /// 32-bit protected mode, PAE paging.
    Pae,
    /// 32-bit protected mode, paging in two levels.
    TwoLevel,
    /// 32-bit protected mode, paging off.
    Flat,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Long => "long",
            Mode::Pae => "pae",
            Mode::TwoLevel => "two-level",
            Mode::Flat => "flat",
        })
    }
}

/// What an entry of an upper level grants: all.
pub const ALL: u64 = P | W | U;

/// Where the window begins in 32-bit modes.
pub const WINDOW_32: u64 = 0x8000_0000;

/// The space.
pub struct Space {
    /// How addresses are translated.
    pub mode: Mode,
    /// The window's first address.
    pub window: u64,
    /// The window's page directory.
    pub directory: u64,
    /// The root: PML4, or the four directory pointers.
    pub cr3: u64,
    /// The directory pointer that leads to the window.
    pub pointer: u64,
    /// Where the user code page is mapped.
    pub user_code: u64,
    used: u64,
}

/// Two MiB of the window, with a table.
pub struct Region {
    /// The first address.
    pub base: u64,
    /// The address of the directory entry.
    pub pde: u64,
    /// The table.
    pub table: u64,
}

impl Region {
    /// The address of page `index`.
    pub const fn page(&self, index: u64) -> u64 {
        self.base + PAGE * index
    }

    /// The address of its table entry.
    pub const fn pte(&self, index: u64) -> u64 {
        slot(self.table, index)
    }
}

impl Space {
    /// A space with an empty window but for the user code.
    pub fn new(mode: Mode) -> Self {
        if mode == Mode::TwoLevel {
            return Self::two_level();
        }
        let (directory, pointers, code) = (frame(), frame(), frame());
        let (cr3, pointer) = match mode {
            Mode::Long => {
                let root = frame();
                store(slot(root, 0), load(slot(boot_root(), 0)));
                store(slot(root, 1), pointers | ALL);
                store(slot(pointers, 0), directory | ALL);
                (root, slot(pointers, 0))
            }
            // Directory pointers have no rights: W and U are reserved there.
            Mode::Pae | Mode::TwoLevel | Mode::Flat => {
                store(slot(pointers, 0), boot_directory() | P);
                store(slot(pointers, 2), directory | P);
                (pointers, slot(pointers, 2))
            }
        };
        let window = if mode == Mode::Long {
            0x80_0000_0000
        } else {
            0x8000_0000
        };
        let mut space = Self {
            mode,
            window,
            directory,
            cr3,
            pointer,
            user_code: 0,
            used: 0,
        };
        put_code(code);
        let region = space.region();
        store(region.pte(0), code | P | U);
        space.user_code = region.page(0);
        space
    }

    /// Two levels: the root is the directory, and its entries have four bytes.
    fn two_level() -> Self {
        let (root, table, code) = (frame(), frame(), frame());
        // Two entries in each eight bytes; the first GiB in pages of 4 MiB.
        for pair in 0..128 {
            let first = (pair << 23) | P | W | PS;
            store(slot(root, pair), first | (first + (4 << 20)) << 32);
        }
        let window = WINDOW_32 >> 22;
        store(slot(root, window / 2), table | ALL);
        store(slot(table, 0), code | P | U);
        put_code(code);
        Self {
            mode: Mode::TwoLevel,
            window: WINDOW_32,
            directory: root,
            cr3: root,
            pointer: root,
            user_code: WINDOW_32,
            used: 1,
        }
    }

    /// Takes the next two MiB without a table: first address and directory entry.
    pub fn hole(&mut self) -> (u64, u64) {
        let index = self.used;
        self.used += 1;
        (self.window + LARGE * index, slot(self.directory, index))
    }

    /// Takes the next two MiB and gives it an empty table, linked with all rights.
    pub fn region(&mut self) -> Region {
        let (base, pde) = self.hole();
        let table = frame();
        store(pde, table | ALL);
        Region { base, pde, table }
    }
}

/// Puts the user code at the beginning of a frame, which also serves `Execute` and `UserExecute`.
pub fn put_code(frame: u64) {
    for (i, bytes) in user::CODE.as_chunks::<8>().0.iter().enumerate() {
        store(slot(frame, i as u64), u64::from_le_bytes(*bytes));
    }
}

/// A new frame full of `byte`.
pub fn filled(byte: u8) -> u64 {
    let frame = frame();
    fill(frame, PAGE, byte);
    frame
}

/// Fills memory with `byte`.
pub fn fill(address: u64, length: u64, byte: u8) {
    (0..length / 8).for_each(|i| store(slot(address, i), u64::from_ne_bytes([byte; 8])));
}
