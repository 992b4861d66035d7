//! Guest-physical spaces: the one truth about which frame stands at which guest-physical address, with which rights.
//!
//! The tree is in nested-table format (`table.rs`). Two slots of its root are never used for translation, because
//! guest-physical addresses end at 2^47: slot 511 names the first shadow pool bound to the space, slot 510 the first vCPU
//! that runs on it under nested paging. The present bit of both stays clear.

use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::mem::{Page, Ref};
use crate::mutant::{self, Mutant};
use crate::object::table::GUEST_TOP;
use crate::object::{ShadowPool, Vcpu};
use words::x86::pte;
use words::{Gfn, Gva, PageSize};

const POOL_SLOT: usize = 511;
const VCPU_SLOT: usize = 510;

/// A translation of the guest-physical space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Backing {
    /// Host-physical address of the guest frame asked for.
    pub hpa: u64,
    /// Size of the frame that backs it.
    pub size: PageSize,
    /// The guest may write.
    pub writable: bool,
}

/// The pools bound to a space.
pub(crate) fn first_pool(root: Ref<Page>) -> Option<Ref<ShadowPool>> {
    match root.0[POOL_SLOT].get() {
        0 => None,
        pool => Some(Ref::at(pool)),
    }
}

/// Replaces the list's head.
pub(crate) fn set_first_pool(root: Ref<Page>, pool: Option<Ref<ShadowPool>>) {
    root.0[POOL_SLOT].set(pool.map_or(0, Ref::bits));
}

/// The vCPUs under nested paging on a space.
pub(crate) fn first_vcpu(root: Ref<Page>) -> Option<Ref<Vcpu>> {
    match root.0[VCPU_SLOT].get() {
        0 => None,
        vcpu => Some(Ref::at(vcpu)),
    }
}

/// Replaces that list's head.
pub(crate) fn set_first_vcpu(root: Ref<Page>, vcpu: Option<Ref<Vcpu>>) {
    root.0[VCPU_SLOT].set(vcpu.map_or(0, Ref::bits));
}

/// What backs guest frame `gfn`, or `None` where the guest has no memory.
pub(crate) fn backing(root: Ref<Page>, gfn: Gfn) -> Option<Backing> {
    if gfn.number() >= GUEST_TOP >> 12 {
        return None;
    }
    let address = gfn.gpa().bits();
    let at = Gva::new(address);
    let mut table = root;
    for level in (1..=4).rev() {
        let entry = table.0[at.index(level)].get();
        if entry & pte::P == 0 {
            return None;
        }
        let leaf = level == 1 || (level < 4 && entry & pte::PS != 0);
        if leaf {
            let size = PageSize::from_level(level)?;
            // A frame mapped without read right is no memory to the guest.
            if entry & pte::US == 0 {
                return None;
            }
            let base = entry & pte::ADDRESS & !(size.bytes() - 1);
            let hpa = base | (address & (size.bytes() - 1));
            return Some(Backing {
                hpa,
                size,
                writable: entry & pte::RW != 0,
            });
        }
        table = Ref::at(entry & pte::ADDRESS);
    }
    None
}

impl<M: Machine> Kernel<M> {
    /// A frame or table left the space, or lost rights: every shadow made from it is void, and every vCPU that the processor
    /// walks the tree for gets a fresh TLB tag (I1, I3).
    pub(crate) fn guest_space_changed(&mut self, root: Ref<Page>) {
        // As many as may be bound to a space are visited in one unit.
        if first_pool(root).is_some() || first_vcpu(root).is_some() {
            self.note_big_unit();
        }
        let mut next = first_pool(root);
        while let Some(pool) = next {
            if !mutant::is(Mutant::UnmapKeepsShadows) {
                self.pool_retire(pool);
            }
            next = pool.next.get();
        }
        let mut next = first_vcpu(root);
        while let Some(vcpu) = next {
            if !mutant::is(Mutant::UnmapKeepsNestedTags) {
                vcpu.flush.set(true);
            }
            next = vcpu.space_next.get();
        }
    }

    /// The space goes away: its pools are bound to nothing, its vCPUs run no more.
    pub(crate) fn guest_space_finalise(&mut self, root: Ref<Page>) {
        if first_pool(root).is_some() || first_vcpu(root).is_some() {
            self.note_big_unit();
        }
        while let Some(pool) = first_pool(root) {
            self.pool_retire(pool);
            set_first_pool(root, pool.next.get());
            pool.next.set(None);
            pool.space.set(None);
        }
        while let Some(vcpu) = first_vcpu(root) {
            self.vcpu_leave_space(vcpu);
        }
    }
}
