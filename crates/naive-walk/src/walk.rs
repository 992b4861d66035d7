//! The walk itself, one function for each paging mode.
//!
//! Memory is a function from the address and the size (4 or 8 bytes) of an entry to its value; `None` is no memory, which
//! reads as ones. Entries are looked at as they are: who wants to know what an access leaves behind adds A to each entry
//! of the [`Grant`] and, for a write, D to the last.

use crate::access::Access;
use crate::figure::{self, Figure, bit, field};
use crate::rights::{Rights, allows};
use exit_abi::Mode;
use words::{Gpa, Gva};

/// What CPUID promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Physical address bits, 32 to 52.
    pub width: u32,
    /// 1 GiB pages exist.
    pub gigabyte_pages: bool,
}

/// An entry on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    /// Where it stands.
    pub at: Gpa,
    /// What stood there.
    pub value: u64,
    /// Its size in bytes: 4 or 8; 0 where a path has no more entries.
    pub bytes: u32,
}

/// Where an address leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The guest-physical address.
    pub gpa: Gpa,
    /// log2 of the page: 12, 21, 22 or 30; with paging off 32.
    pub page: u32,
    /// What the entries say together.
    pub rights: Rights,
    /// A is set in every entry on the way.
    pub accessed: bool,
    /// D is set in the last entry.
    pub dirty: bool,
    /// G is set in the last entry. Whether it means anything is CR4.PGE's business.
    pub global: bool,
    path: [Entry; 4],
}

impl Grant {
    /// The entries from the top, the last one the page's own. No PAE PDPTE is among them: it is not read by the walk and
    /// holds neither rights nor A. Empty with paging off.
    pub fn path(&self) -> impl Iterator<Item = Entry> {
        self.path.into_iter().filter(|entry| entry.bytes != 0)
    }
}

/// Why an access is not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// A page fault with this error code.
    PageFault(u32),
    /// The address is not canonical: #GP or #SS.
    NonCanonical,
}

/// P of the error code.
const PRESENT: u32 = 1;
/// RSV of the error code.
const RESERVED: u32 = 1 << 3;
/// Why the tables lead nowhere, as P and RSV of the error code.
type Missing = u32;
/// There is an entry with P clear.
const NOT_PRESENT: Missing = 0;
/// There is a present entry with a reserved bit set. Hardware reports P with it.
const RESERVED_BIT: Missing = PRESENT | RESERVED;

/// Whether, and where, `access` may go. `pdptes` are the latched ones; without them PAE paging takes those that CR3 leads
/// to now.
///
/// # Errors
/// As [`Refusal`] says.
pub fn walk(
    read: impl Fn(Gpa, u32) -> Option<u64>,
    mode: Mode,
    cr3: u64,
    pdptes: Option<[u64; 4]>,
    limits: Limits,
    gva: Gva,
    access: Access,
) -> Result<Grant, Refusal> {
    let refuse = |why: Missing| Refusal::PageFault(error_code(mode, access, why));
    let found = translate(read, mode, cr3, pdptes, limits, gva).map_err(|why| match why {
        Refusal::PageFault(why) => refuse(why),
        Refusal::NonCanonical => why,
    })?;
    if allows(mode, found.rights, access) {
        Ok(found)
    } else {
        Err(refuse(PRESENT))
    }
}

/// Where the address leads, whoever asks.
///
/// # Errors
/// As [`Refusal`] says; the code has P and RSV only.
pub fn translate(
    read: impl Fn(Gpa, u32) -> Option<u64>,
    mode: Mode,
    cr3: u64,
    pdptes: Option<[u64; 4]>,
    limits: Limits,
    gva: Gva,
) -> Result<Grant, Refusal> {
    let guest = Guest {
        read,
        limits,
        nxe: mode.has(Mode::NXE),
    };
    let va = gva.bits();
    let found = if !mode.has(Mode::PG) {
        return Ok(identity(gva));
    } else if mode.has(Mode::LMA) {
        // 5.3.1: bits 63..47 are all equal.
        if field(va, 47, 63) != 0 && field(va, 47, 63) != field(!0, 47, 63) {
            return Err(Refusal::NonCanonical);
        }
        guest.long(cr3, va)
    } else if mode.has(Mode::PAE) {
        let pdptes = pdptes.unwrap_or_else(|| latch(&guest.read, cr3));
        guest.pae(pdptes, field(va, 0, 31))
    } else {
        guest.legacy(cr3, field(va, 0, 31), mode.has(Mode::PSE))
    };
    found.map_err(Refusal::PageFault)
}

/// The four PDPTEs that CR3 names in PAE paging (5.2.3): 32-byte aligned, below 4 GiB.
pub fn latch(read: impl Fn(Gpa, u32) -> Option<u64>, cr3: u64) -> [u64; 4] {
    let table = field(cr3, 5, 31);
    [0, 8, 16, 24].map(|offset| read(Gpa::new(table + offset), 8).unwrap_or(!0))
}

/// Whether the processor loads this CR3, with these PDPTEs in PAE paging. If not it raises #GP(0).
#[must_use]
pub fn is_loadable(mode: Mode, cr3: u64, pdptes: [u64; 4], limits: Limits) -> bool {
    if !mode.has(Mode::PG) {
        true
    } else if mode.has(Mode::LMA) {
        // 5.3.2: address bits that are not implemented must be zero.
        field(cr3, limits.width, 63) == 0
    } else if mode.has(Mode::PAE) {
        // 5.2.3: the processor looks at the reserved bits of the present ones.
        pdptes.iter().all(|&pdpte| {
            !bit(pdpte, 0) || !figure::PAE_PDPE.is_violated(pdpte, limits.width, true)
        })
    } else {
        true
    }
}

/// Paging off: a linear address is a physical one. There are 32 bits of it, also above 1 MiB in real mode: no A20 gate.
#[must_use]
pub const fn identity(gva: Gva) -> Grant {
    Grant {
        gpa: Gpa::new(field(gva.bits(), 0, 31)),
        page: 32,
        rights: Rights {
            writable: true,
            user: true,
            executable: true,
        },
        accessed: true,
        dirty: true,
        global: false,
        path: [Entry {
            at: Gpa::new(0),
            value: 0,
            bytes: 0,
        }; 4],
    }
}

/// 8.4.2. I is defined only where no-execute is on (EFER.NXE with CR4.PAE) or SMEP is.
fn error_code(mode: Mode, access: Access, why: Missing) -> u32 {
    let no_execute = mode.has(Mode::NXE) && mode.has(Mode::PAE);
    let code = access.code() | why;
    if no_execute || mode.has(Mode::SMEP) {
        code
    } else {
        code & !(1 << 4)
    }
}

/// The figures of the last two levels.
struct Lower {
    pde_2m: Figure,
    pde: Figure,
    pte: Figure,
}

/// What a walk asks.
struct Guest<R> {
    read: R,
    limits: Limits,
    nxe: bool,
}

impl<R: Fn(Gpa, u32) -> Option<u64>> Guest<R> {
    /// The 8-byte entry `index` of the table at `table`.
    fn entry8(&self, table: u64, index: u64) -> Result<Entry, Missing> {
        let at = Gpa::new(table + 8 * index);
        let value = (self.read)(at, 8).unwrap_or(!0);
        present(Entry {
            at,
            value,
            bytes: 8,
        })
    }

    /// The 4-byte entry `index` of the table at `table`.
    fn entry4(&self, table: u64, index: u64) -> Result<Entry, Missing> {
        let at = Gpa::new(table + 4 * index);
        let value = (self.read)(at, 4).unwrap_or(!0) & 0xffff_ffff;
        present(Entry {
            at,
            value,
            bytes: 4,
        })
    }

    fn check(&self, entry: Entry, figure: &Figure) -> Result<(), Missing> {
        if figure.is_violated(entry.value, self.limits.width, self.nxe) {
            Err(RESERVED_BIT)
        } else {
            Ok(())
        }
    }

    /// 5.3: PML4, page-directory-pointer table, page directory, page table.
    fn long(&self, cr3: u64, va: u64) -> Result<Grant, Missing> {
        let none = Entry::default();
        let pml4e = self.entry8(field(cr3, 12, 51), va >> 39 & 511)?;
        self.check(pml4e, &figure::LONG_PML4E)?;

        let table = figure::LONG_PML4E.address(pml4e.value);
        let pdpe = self.entry8(table, va >> 30 & 511)?;
        if !self.limits.gigabyte_pages {
            self.check(pdpe, &figure::LONG_PDPE_WITHOUT_1G)?;
        } else if bit(pdpe.value, 7) {
            self.check(pdpe, &figure::LONG_PDPE_1G)?;
            let path = [pml4e, pdpe, none, none];
            return Ok(page(&figure::LONG_PDPE_1G, pdpe, va, path));
        }
        self.check(pdpe, &figure::LONG_PDPE)?;

        const FIGURES: Lower = Lower {
            pde_2m: figure::LONG_PDE_2M,
            pde: figure::LONG_PDE,
            pte: figure::LONG_PTE,
        };
        let table = figure::LONG_PDPE.address(pdpe.value);
        self.directory(table, va, &FIGURES, [pml4e, pdpe])
    }

    /// 5.2.3: four PDPTEs held by the processor, page directory, page table.
    fn pae(&self, pdptes: [u64; 4], va: u64) -> Result<Grant, Missing> {
        let pdpe = present(Entry {
            at: Gpa::new(0),
            value: pdptes[(va >> 30 & 3) as usize],
            bytes: 8,
        })?;
        self.check(pdpe, &figure::PAE_PDPE)?;

        const FIGURES: Lower = Lower {
            pde_2m: figure::PAE_PDE_2M,
            pde: figure::PAE_PDE,
            pte: figure::PAE_PTE,
        };
        let table = figure::PAE_PDPE.address(pdpe.value);
        self.directory(table, va, &FIGURES, [Entry::default(); 2])
    }

    /// Page directory and page table of 8-byte entries, which two formats have with figures of their own.
    fn directory(
        &self,
        table: u64,
        va: u64,
        figures: &Lower,
        [first, second]: [Entry; 2],
    ) -> Result<Grant, Missing> {
        let pde = self.entry8(table, va >> 21 & 511)?;
        if bit(pde.value, 7) {
            self.check(pde, &figures.pde_2m)?;
            let path = [first, second, pde, Entry::default()];
            return Ok(page(&figures.pde_2m, pde, va, path));
        }
        self.check(pde, &figures.pde)?;

        let table = figures.pde.address(pde.value);
        let pte = self.entry8(table, va >> 12 & 511)?;
        self.check(pte, &figures.pte)?;
        Ok(page(&figures.pte, pte, va, [first, second, pde, pte]))
    }

    /// 5.2.1 and 5.2.2: page directory, page table, 4-byte entries.
    fn legacy(&self, cr3: u64, va: u64, pse: bool) -> Result<Grant, Missing> {
        let none = Entry::default();
        let pde = self.entry4(field(cr3, 12, 31), va >> 22)?;
        // 5.2.1: PS counts only with CR4.PSE.
        if bit(pde.value, 7) && pse {
            return self.legacy_4m(pde, va);
        }
        let table = field(pde.value, 12, 31);
        let pte = self.entry4(table, va >> 12 & 1023)?;
        Ok(page(&figure::LEGACY_PTE, pte, va, [pde, pte, none, none]))
    }

    /// 5.2.2: bits 20..13 are address bits 39..32, as many as the processor implements; the rest must be zero.
    fn legacy_4m(&self, pde: Entry, va: u64) -> Result<Grant, Missing> {
        let none = Entry::default();
        let figure = &figure::LEGACY_PDE_4M;
        let mut high = 0;
        for n in 0..8 {
            if bit(pde.value, 13 + n) {
                if 32 + n >= self.limits.width {
                    return Err(RESERVED_BIT);
                }
                high |= 1 << (32 + n);
            }
        }
        if bit(pde.value, 21) {
            return Err(RESERVED_BIT);
        }
        let mut grant = page(figure, pde, va, [pde, none, none, none]);
        grant.gpa = Gpa::new(field(pde.value, 22, 31) | high | field(va, 0, 21));
        Ok(grant)
    }
}

fn present(entry: Entry) -> Result<Entry, Missing> {
    if bit(entry.value, 0) {
        Ok(entry)
    } else {
        Err(NOT_PRESENT)
    }
}

/// The page that `last`, the last entry of `path`, maps.
fn page(figure: &Figure, last: Entry, va: u64, path: [Entry; 4]) -> Grant {
    let size = figure.page.unwrap_or(12);
    let on_path = |test: fn(u64) -> bool| {
        path.iter()
            .filter(|entry| entry.bytes != 0)
            .all(|entry| test(entry.value))
    };
    Grant {
        gpa: Gpa::new(figure.address(last.value) | field(va, 0, size - 1)),
        page: size,
        rights: Rights {
            writable: on_path(|value| bit(value, 1)),
            user: on_path(|value| bit(value, 2)),
            // Bit 63 of a 4-byte entry does not exist and is zero here.
            executable: on_path(|value| !bit(value, 63)),
        },
        accessed: on_path(|value| bit(value, 5)),
        dirty: bit(last.value, 6),
        global: bit(last.value, 8),
        path,
    }
}
