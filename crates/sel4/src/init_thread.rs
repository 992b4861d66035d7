//! The initial thread's capabilities.

use crate::{CPtr, CPtrBits, Cap, CapType, Word, cap_type, sys::boot_info};
use core::{marker::PhantomData, ops::Range};

/// A slot of the initial thread's CNode, and the kind of capability in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Slot<T: CapType = cap_type::Unspecified> {
    index: usize,
    phantom: PhantomData<T>,
}

impl<T: CapType> Slot<T> {
    /// The slot with this number.
    #[must_use]
    pub const fn from_index(index: usize) -> Self {
        Self {
            index,
            phantom: PhantomData,
        }
    }
    /// Its number.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }
    /// Its address.
    #[must_use]
    pub const fn cptr(&self) -> CPtr {
        CPtr::from_bits(self.cptr_bits())
    }
    /// Its address as a word.
    #[must_use]
    pub const fn cptr_bits(&self) -> CPtrBits {
        self.index as CPtrBits
    }
    /// The capability in it.
    #[must_use]
    pub const fn cap(&self) -> Cap<T> {
        Cap::from_cptr(self.cptr())
    }
    /// The slot taken for one of another kind.
    #[must_use]
    pub const fn cast<T1: CapType>(&self) -> Slot<T1> {
        Slot::from_index(self.index)
    }
    /// The slot, its kind forgotten.
    #[must_use]
    pub const fn upcast(&self) -> Slot {
        self.cast()
    }
}

impl Slot {
    /// The slot taken for one of kind `T`.
    #[must_use]
    pub const fn downcast<T: CapType>(&self) -> Slot<T> {
        self.cast()
    }
}

/// Slots in a row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SlotRegion<T: CapType = cap_type::Unspecified> {
    start: usize,
    end: usize,
    phantom: PhantomData<T>,
}

impl<T: CapType> SlotRegion<T> {
    pub(crate) const fn from_sys(region: boot_info::SlotRegion) -> Self {
        Self {
            start: region.start as usize,
            end: region.end as usize,
            phantom: PhantomData,
        }
    }
    /// First slot's number.
    #[must_use]
    pub const fn start(&self) -> usize {
        self.start
    }
    /// One past the last slot's number.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.end
    }
    /// The numbers.
    #[must_use]
    pub const fn range(&self) -> Range<usize> {
        self.start..self.end
    }
    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end - self.start
    }
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }
    /// The `i`-th slot.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    #[must_use]
    pub fn index(&self, i: usize) -> Slot<T> {
        assert!(i < self.len(), "the region has no slot {i}");
        Slot::from_index(self.start + i)
    }
}

/// Slots that have a meaning on every boot.
pub mod slot {
    use super::Slot;
    use crate::{cap_type, sys::boot_info::slot as number};

    macro_rules! slots {
        ($($(#[$doc:meta])* $name:ident: $ty:ident;)*) => {
            $($(#[$doc])* pub const $name: Slot<cap_type::$ty> = Slot::from_index(number::$name as usize);)*
        };
    }

    slots! {
        /// Empty.
        NULL: Null;
        /// The initial thread.
        TCB: Tcb;
        /// Its CNode.
        CNODE: CNode;
        /// Its address space.
        VSPACE: VSpace;
        /// Authority over interrupt lines.
        IRQ_CONTROL: IrqControl;
        /// Authority over ASID pools.
        ASID_CONTROL: AsidControl;
        /// The first ASID pool.
        ASID_POOL: AsidPool;
        /// Authority over I/O ports.
        IO_PORT_CONTROL: IOPortControl;
        /// The boot-information frame.
        BOOT_INFO_FRAME: Granule;
        /// The IPC buffer's frame.
        IPC_BUFFER: Granule;
        /// Authority over scheduling domains.
        DOMAIN_SET: DomainSet;
        /// The initial thread's scheduling context.
        SC: SchedContext;
    }
}

/// Stops the initial thread for ever.
pub fn suspend_self<T>() -> T {
    loop {
        // Suspending a thread that runs does not fail; should it, the thread stays here.
        let _ = slot::TCB.cap().tcb_suspend();
    }
}

/// Radix of the initial thread's CNode.
pub const CNODE_SIZE_BITS: Word = boot_info::ROOT_CNODE_BITS;
