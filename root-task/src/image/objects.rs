//! Objects: made of untyped memory, their capabilities in this program's own CNode.
//!
//! Slots are given out in rising order and taken back only by [`Objects::scratch`]: root-task builds once.

use super::error::{Error, Result};
use root_task::memory::{Memory, Place};
use sel4::{
    AbsoluteCPtr, BootInfoPtr, CPtr, Cap, CapRights, CapType, CapTypeForObjectOfFixedSize,
    CapTypeForObjectOfVariableSize, ObjectBlueprint, cap, cap_type, init_thread,
    sys::RETYPE_FAN_OUT_LIMIT,
};

/// Free slots and free memory.
pub(crate) struct Objects {
    memory: Memory,
    next_slot: usize,
    end_slot: usize,
    scratch: usize,
}

/// The slot of this program's own CNode that holds a capability.
pub(crate) fn path<T: CapType>(cap: Cap<T>) -> AbsoluteCPtr {
    init_thread::slot::CNODE.cap().absolute_cptr(cap)
}

/// The null capability, where a kind of capability is optional.
pub(crate) fn none<T: CapType>() -> Cap<T> {
    init_thread::slot::NULL.cptr().cast()
}

impl Objects {
    /// Everything the kernel left to the initial thread.
    pub(crate) fn new(boot_info: &BootInfoPtr) -> Self {
        let mut memory = Memory::default();
        for (i, untyped) in boot_info.untyped_list().iter().enumerate() {
            if !untyped.is_device() {
                let slot = boot_info.untyped().start() + i;
                memory.add(slot, untyped.paddr() as u64, untyped.size_bits() as u32);
            }
        }
        let empty = boot_info.empty();
        Self {
            memory,
            next_slot: empty.start() + 1,
            end_slot: empty.end(),
            scratch: empty.start(),
        }
    }

    /// Bytes not used.
    pub(crate) fn memory_left(&self) -> u64 {
        self.memory.left()
    }

    /// `count` empty slots in a row; the first.
    pub(crate) fn slots(&mut self, count: usize) -> Result<usize> {
        let first = self.next_slot;
        if self.end_slot.saturating_sub(first) < count {
            return Err(Error::Full("capabilities"));
        }
        self.next_slot += count;
        Ok(first)
    }

    /// An empty slot, as the address of the capability that will be there.
    pub(crate) fn slot<T: CapType>(&mut self) -> Result<Cap<T>> {
        self.slots(1).map(at)
    }

    /// An object.
    pub(crate) fn make<T: CapTypeForObjectOfFixedSize>(&mut self) -> Result<Cap<T>> {
        self.make_blueprint(T::object_blueprint(), 1, Place::Any)
            .map(at)
    }

    /// An object of a size.
    pub(crate) fn make_sized<T: CapTypeForObjectOfVariableSize>(
        &mut self,
        bits: usize,
        place: Place,
    ) -> Result<Cap<T>> {
        self.make_blueprint(T::object_blueprint(bits), 1, place)
            .map(at)
    }

    /// `count` objects, in slots in a row; the first.
    pub(crate) fn make_many<T: CapTypeForObjectOfFixedSize>(
        &mut self,
        count: usize,
    ) -> Result<usize> {
        self.make_blueprint(T::object_blueprint(), count, Place::Any)
    }

    fn make_blueprint(
        &mut self,
        blueprint: ObjectBlueprint,
        count: usize,
        place: Place,
    ) -> Result<usize> {
        let first = self.slots(count)?;
        let bits = blueprint.physical_size_bits() as u32;
        let mut made = 0;
        while made < count {
            let wanted = (count - made).min(RETYPE_FAN_OUT_LIMIT as usize);
            let grant = self
                .memory
                .take(bits, wanted, place)
                .ok_or(Error::Memory(bits))?;
            let untyped = at::<cap_type::Untyped>(grant.untyped);
            let into = init_thread::slot::CNODE.cap().absolute_cptr_for_self();
            untyped.untyped_retype(&blueprint, &into, first + made, grant.count)?;
            made += grant.count;
        }
        Ok(first)
    }

    /// A second capability to the same object.
    pub(crate) fn copy<T: CapType>(&mut self, of: Cap<T>, rights: CapRights) -> Result<Cap<T>> {
        let copy = self.slot::<T>()?;
        path(copy).copy(&path(of), rights)?;
        Ok(copy)
    }

    /// A badged endpoint or notification.
    pub(crate) fn badge<T: CapType>(
        &mut self,
        of: Cap<T>,
        rights: CapRights,
        badge: u64,
    ) -> Result<Cap<T>> {
        let badged = self.slot::<T>()?;
        path(badged).mint(&path(of), rights, badge)?;
        Ok(badged)
    }

    /// Lends a badged capability to `body` and deletes it afterwards.
    pub(crate) fn scratch<T: CapType, R>(
        &self,
        of: Cap<T>,
        rights: CapRights,
        badge: u64,
        body: impl FnOnce(Cap<T>) -> sel4::Result<R>,
    ) -> Result<R> {
        let badged = at::<T>(self.scratch);
        path(badged).mint(&path(of), rights, badge)?;
        let result = body(badged);
        path(badged).delete()?;
        Ok(result?)
    }
}

/// The capability in a slot of this program's own CNode.
pub(crate) fn at<T: CapType>(slot: usize) -> Cap<T> {
    CPtr::from_bits(slot as u64).cast()
}

/// Deletes this program's capability.
pub(crate) fn drop_cap<T: CapType>(cap: Cap<T>) -> Result<()> {
    Ok(path(cap).delete()?)
}

/// A right to send and to be answered.
pub(crate) const CALL: CapRights = sel4::CapRightsBuilder::none()
    .write(true)
    .grant_reply(true)
    .build();

/// A scheduling context that is round robin among its priority's.
pub(crate) fn time_slice(
    objects: &mut Objects,
    boot_info: &BootInfoPtr,
) -> Result<cap::SchedContext> {
    let bits = sel4::sys::object::MIN_SCHED_CONTEXT_BITS as usize;
    let context = objects.make_sized::<cap_type::SchedContext>(bits, Place::Any)?;
    let control = boot_info.sched_control().index(0).cap();
    control.sched_control_configure_flags(context, TIME_SLICE, TIME_SLICE, 0, 0, 0)?;
    Ok(context)
}

/// Microseconds a thread runs before others of its priority do.
const TIME_SLICE: sel4::Time = 5000;
