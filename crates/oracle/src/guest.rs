//! The guest's linear address space as the oracle follows it, and its translations by the naive walker.

use exit_abi::Mode;
use naive_walk::{Grant, Refusal, figure};
use shadow::{Fault, GuestMemory, Limits, LoadReason};
use words::{Gpa, Gva};

/// Paging mode, CR3 and the PDPTEs the processor holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guest {
    pub mode: Mode,
    pub cr3: u64,
    pub pdptes: [u64; 4],
}

/// An entry of the guest's tables, for the naive walker.
fn read<M: GuestMemory>(memory: &M, at: Gpa, bytes: u32) -> Option<u64> {
    if bytes == 4 {
        memory.read32(at).map(u64::from)
    } else {
        memory.read64(at)
    }
}

const fn is_pae(mode: Mode) -> bool {
    mode.has(Mode::PG | Mode::PAE) && !mode.has(Mode::LMA)
}

impl Guest {
    /// The space that (`mode`, `cr3`) opens, with PDPTEs read now.
    pub fn open<M: GuestMemory>(memory: &M, mode: Mode, cr3: u64) -> Self {
        let pdptes = if is_pae(mode) {
            naive_walk::latch(|at, bytes| read(memory, at, bytes), cr3)
        } else {
            [0; 4]
        };
        Self { mode, cr3, pdptes }
    }

    /// The space after a load. The processor reads PDPTEs when CR3 is written and when PAE paging begins; and, as
    /// processors do, when CR4.PSE, PGE or SMEP changes (APM vol. 2, 5.2.3).
    pub fn loaded<M: GuestMemory>(
        old: Option<Self>,
        memory: &M,
        mode: Mode,
        cr3: u64,
        reason: LoadReason,
    ) -> Self {
        let fresh = Self::open(memory, mode, cr3);
        let Some(old) = old.filter(|old| is_pae(old.mode) && is_pae(mode) && old.cr3 == cr3) else {
            return fresh;
        };
        let changed = old.mode.bits() ^ mode.bits();
        let reads = match reason {
            LoadReason::Cr3 | LoadReason::Reset => true,
            LoadReason::Cr0 | LoadReason::Efer => false,
            LoadReason::Cr4 => changed & (Mode::PSE | Mode::PGE | Mode::SMEP) != 0,
        };
        Self {
            pdptes: if reads { fresh.pdptes } else { old.pdptes },
            ..fresh
        }
    }

    /// Whether a request from (`mode`, `cr3`) comes from this space.
    pub const fn is_same(&self, mode: Mode, cr3: u64) -> bool {
        self.mode.role() == mode.role() && self.cr3 == cr3
    }

    /// Whether the processor accepts the load that leads here: no reserved bit in a present PDPTE (APM vol. 2, 5.2.3), none
    /// in CR3 (3.1.2).
    pub fn is_loadable(&self, limits: Limits) -> bool {
        if self.mode.has(Mode::PG | Mode::LMA) {
            return self.cr3 >> limits.width == 0;
        }
        !is_pae(self.mode)
            || self.pdptes.into_iter().all(|pdpte| {
                pdpte & 1 == 0 || !figure::PAE_PDPE.is_violated(pdpte, limits.width, true)
            })
    }

    /// The address as the processor uses it: outside long mode it has 32 bits.
    pub const fn address(&self, gva: Gva) -> Gva {
        if self.mode.has(Mode::PG | Mode::LMA) {
            gva
        } else {
            Gva::new(gva.bits() & 0xffff_ffff)
        }
    }

    /// Where an address leads.
    pub fn translate<M: GuestMemory>(
        &self,
        memory: &M,
        limits: Limits,
        gva: Gva,
    ) -> Result<Grant, Refusal> {
        let entry = |at, bytes| read(memory, at, bytes);
        let pdptes = Some(self.pdptes);
        naive_walk::translate(entry, self.mode, self.cr3, pdptes, naive(limits), gva)
    }

    /// Whether the access of `fault` may go on, and where.
    pub fn walk<M: GuestMemory>(
        &self,
        memory: &M,
        limits: Limits,
        fault: &Fault,
    ) -> Result<Grant, Refusal> {
        let entry = |at, bytes| read(memory, at, bytes);
        let pdptes = Some(self.pdptes);
        let access = naive_walk::Access::of(fault.mode, fault.access.code());
        let (cr3, gva) = (self.cr3, fault.gva);
        naive_walk::walk(entry, self.mode, cr3, pdptes, naive(limits), gva, access)
    }
}

const fn naive(limits: Limits) -> naive_walk::Limits {
    naive_walk::Limits {
        width: limits.width,
        gigabyte_pages: limits.gigabyte_pages,
    }
}
