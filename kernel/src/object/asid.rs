//! ASIDs: names of address spaces that capabilities can carry. A pool has 512; number 0 is never used.
//!
//! User address spaces and guest-physical spaces share the numbers.

use crate::cap::{Cap, SpaceKind};
use crate::kernel::{Done, Fail, Kernel, Message, Outcome};
use crate::machine::Machine;
use crate::mem::{Page, Ref};
use crate::slot;
use core::cell::Cell;
use sel4_abi::{Error, LookupFailure, label};

/// A pool: the root table of each space, by the number's low nine bits; bit 0 marks a guest-physical space.
#[repr(C)]
pub struct AsidPool(pub(crate) [Cell<u64>; 512]);

impl<M: Machine> Kernel<M> {
    /// The root of the space with this number, if it lives and is of this kind: a number is used again after its space
    /// is gone, and capabilities of old mappings still carry it.
    pub(crate) fn space_root(&self, asid: u16, kind: SpaceKind) -> Option<Ref<Page>> {
        let pool = self.asid_pools.get(usize::from(asid >> 9))?.get()?;
        let entry = pool.0[usize::from(asid & 511)].get();
        let same_kind = (entry & 1 != 0) == (kind == SpaceKind::Guest);
        match entry & !1 {
            0 => None,
            root => same_kind.then(|| Ref::at(root)),
        }
    }

    pub(crate) fn invoke_asid_control(&mut self, msg: &Message) -> Outcome {
        if msg.label != label::X86_ASID_CONTROL_MAKE_POOL {
            return Err(Fail::error(Error::IllegalOperation));
        }
        msg.need(2, 2)?;
        let free = self.asid_pools.iter().position(|pool| pool.get().is_none());
        let Some(number) = free else {
            return Err(Fail::error(Error::DeleteFirst));
        };
        let source = msg.extra(0);
        let Cap::Untyped {
            base,
            bits: 12,
            device: false,
            ..
        } = source.cap()
        else {
            return Err(Fail::capability(1));
        };
        if slot::has_children(source) {
            return Err(Fail::error(Error::RevokeFirst));
        }
        let dest = self.lookup_empty(msg.extra(1).words(), msg.word(0), msg.word(1))?;
        crate::mem::zero(base, 4096);
        let pool: Ref<AsidPool> = Ref::at(base);
        source.set_cap(Cap::Untyped {
            base,
            bits: 12,
            device: false,
            dirty: true,
            free: 4096 >> 4,
        });
        self.asid_pools[number].set(Some(pool));
        slot::insert_new(
            Cap::AsidPool {
                object: pool,
                base: (number as u16) << 9,
            }
            .words(),
            source,
            dest,
        );
        Ok(Done::Empty)
    }

    pub(crate) fn invoke_asid_pool(
        &mut self,
        pool: Ref<AsidPool>,
        base: u16,
        msg: &Message,
    ) -> Outcome {
        if msg.label != label::X86_ASID_POOL_ASSIGN {
            return Err(Fail::error(Error::IllegalOperation));
        }
        msg.need(0, 1)?;
        let slot = msg.extra(0);
        let Cap::Table {
            object,
            level: 4,
            kind,
            mapping: None,
        } = slot.cap()
        else {
            return Err(Fail::capability(1));
        };
        match self.asid_pools[usize::from(base >> 9)].get() {
            None => return Err(Fail::lookup(false, LookupFailure::InvalidRoot)),
            Some(other) if other != pool => return Err(Fail::capability(0)),
            Some(_) => {}
        }
        let start = usize::from(base == 0);
        let Some(index) = (start..512).find(|&n| pool.0[n].get() == 0) else {
            return Err(Fail::error(Error::DeleteFirst));
        };
        pool.0[index].set(object.bits() | u64::from(kind == SpaceKind::Guest));
        let mapping = Some(crate::cap::Mapping {
            asid: base | index as u16,
            address: 0,
            kind,
        });
        slot.set_cap(Cap::Table {
            object,
            level: 4,
            kind,
            mapping,
        });
        Ok(Done::Empty)
    }

    /// The pool goes away, and with it the names of its spaces, one by one: here that of space `n`, with 0 the pool itself.
    pub(crate) fn asid_release_entry(&mut self, number: u8, pool: Ref<AsidPool>, n: u64) {
        let entry = pool.0[n as usize].replace(0);
        if entry & 1 != 0 {
            // Without a number nothing can be unmapped from the space any more: no pool may fill from it.
            self.guest_space_finalise(Ref::at(entry & !1));
        }
        if n == 0 {
            let pools = &self.asid_pools[usize::from(number)];
            if pools.is(pool) {
                pools.set(None);
            }
        }
        if n == 0 || entry == self.loaded_space {
            self.reload_space();
        }
    }

    /// The space's own table goes away.
    pub(crate) fn asid_release(&mut self, asid: u16, root: Ref<Page>) {
        if let Some(pool) = self.asid_pools[usize::from(asid >> 9)].get()
            && pool.0[usize::from(asid & 511)].get() & !1 == root.bits()
        {
            pool.0[usize::from(asid & 511)].set(0);
        }
        self.reload_space();
    }

    /// The loaded address space may be gone: the kernel's own is used until a thread runs.
    pub(crate) fn reload_space(&mut self) {
        self.loaded_space = 0;
        self.machine.switch_vspace(self.kernel_pml4.hpa());
        self.machine.flush_tlb();
    }
}
