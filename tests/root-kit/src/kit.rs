//! Memory and slots, and what is made of them.

use crate::shown::{Shown, WINDOW};
use root_task::memory::{Memory, Place};
use sel4::{
    AbsoluteCPtr, BootInfoPtr, CPtr, Cap, CapRights, CapType, CapTypeForObjectOfFixedSize,
    CapTypeForObjectOfVariableSize, Error, ObjectBlueprint, Result, VmAttributes, cap, cap_type,
    init_thread::slot,
};
use words::Gpa;

/// The null capability.
#[must_use]
pub fn none<T: CapType>() -> Cap<T> {
    slot::NULL.cptr().cast()
}

/// The capability in a slot of this program's CNode.
#[must_use]
pub fn at<T: CapType>(slot: usize) -> Cap<T> {
    CPtr::from_bits(slot as u64).cast()
}

/// The slot of this program's CNode that a capability is in.
#[must_use]
pub fn path<T: CapType>(cap: Cap<T>) -> AbsoluteCPtr {
    slot::CNODE.cap().absolute_cptr(cap)
}

/// Objects into a row of slots of this program's CNode.
#[inline]
pub fn retype(
    untyped: cap::Untyped,
    blueprint: &ObjectBlueprint,
    slot: usize,
    count: usize,
) -> Result<()> {
    let into = slot::CNODE.cap().absolute_cptr_for_self();
    untyped.untyped_retype(blueprint, &into, slot, count)
}

/// Free memory and slots.
pub struct Kit {
    memory: Memory,
    device: usize,
    next_slot: usize,
    shown: usize,
    sched_control: cap::SchedControl,
}

/// A guest whose first 2 MiB have tables and no frames, and whose thread is not made yet.
pub struct Guest {
    /// Its shadow pool, bound to the two others.
    pub pool: cap::ShadowPool,
    /// Its virtual processor.
    pub vcpu: cap::VCpu,
    /// Its guest-physical space.
    pub space: cap::GuestPml4,
}

/// What fails here does so with the kernel's error, or for want of memory.
impl Kit {
    /// All that the program was given.
    #[inline]
    pub fn new(boot_info: &BootInfoPtr) -> Result<Self> {
        let mut memory = Memory::default();
        let mut device = (0, 0);
        for (n, untyped) in boot_info.untyped_list().iter().enumerate() {
            let slot = boot_info.untyped().start() + n;
            if untyped.is_device() {
                device = device.max((untyped.size_bits(), slot));
            } else {
                memory.add(slot, untyped.paddr() as u64, untyped.size_bits() as u32);
            }
        }
        let mut kit = Self {
            memory,
            device: device.1,
            next_slot: boot_info.empty().start(),
            shown: 0,
            sched_control: boot_info.sched_control().index(0).cap(),
        };
        kit.open_window()?;
        Ok(kit)
    }

    /// The kernel made the first two levels when it mapped the program.
    #[inline]
    fn open_window(&mut self) -> Result<()> {
        let (space, attributes) = (slot::VSPACE.cap(), VmAttributes::DEFAULT);
        let directory = self.make::<cap_type::PageDirectory>()?;
        directory.page_directory_map(space, WINDOW, attributes)?;
        let table = self.make::<cap_type::PageTable>()?;
        table.page_table_map(space, WINDOW, attributes)
    }

    /// The largest untyped memory of devices: no machine has any there.
    #[must_use]
    #[inline]
    pub fn device(&self) -> cap::Untyped {
        at(self.device)
    }

    /// Authority to give time.
    #[must_use]
    #[inline]
    pub const fn sched_control(&self) -> cap::SchedControl {
        self.sched_control
    }

    /// Empty slots in a row; the first.
    #[inline]
    pub const fn slots(&mut self, count: usize) -> usize {
        self.next_slot += count;
        self.next_slot - count
    }

    /// An object.
    pub fn make<T: CapTypeForObjectOfFixedSize>(&mut self) -> Result<Cap<T>> {
        self.make_blueprint(T::object_blueprint())
    }

    /// An object of a size.
    pub fn make_sized<T: CapTypeForObjectOfVariableSize>(&mut self, bits: usize) -> Result<Cap<T>> {
        self.make_blueprint(T::object_blueprint(bits))
    }

    fn make_blueprint<T: CapType>(&mut self, blueprint: ObjectBlueprint) -> Result<Cap<T>> {
        let bits = blueprint.physical_size_bits() as u32;
        let grant = self
            .memory
            .take(bits, 1, Place::Below4G)
            .ok_or(Error::NotEnoughMemory)?;
        let slot = self.slots(1);
        retype(at(grant.untyped), &blueprint, slot, 1)?;
        Ok(at(slot))
    }

    /// A second capability.
    pub fn copy<T: CapType>(&mut self, of: Cap<T>) -> Result<Cap<T>> {
        let slot = at::<T>(self.slots(1));
        path(slot).copy(&path(of), CapRights::all())?;
        Ok(slot)
    }

    /// A second capability with a badge or fewer rights.
    pub fn mint<T: CapType>(
        &mut self,
        of: Cap<T>,
        rights: CapRights,
        badge: u64,
    ) -> Result<Cap<T>> {
        let slot = at::<T>(self.slots(1));
        path(slot).mint(&path(of), rights, badge)?;
        Ok(slot)
    }

    /// A fresh frame this program sees.
    #[inline]
    pub fn show(&mut self) -> Result<Shown> {
        let frame = self.make::<cap_type::Granule>()?;
        let shown = Shown::new(frame, self.shown);
        let (rights, attributes) = (CapRights::read_write(), VmAttributes::DEFAULT);
        frame.frame_map(slot::VSPACE.cap(), shown.address(), rights, attributes)?;
        self.shown += 1;
        Ok(shown)
    }

    /// A scheduling context: so many microseconds of every period.
    #[inline]
    pub fn time(&mut self, budget: u64, period: u64) -> Result<cap::SchedContext> {
        let bits = sel4::sys::object::MIN_SCHED_CONTEXT_BITS as usize;
        let context = self.make_sized::<cap_type::SchedContext>(bits)?;
        self.configure(context, budget, period)?;
        Ok(context)
    }

    /// Gives a scheduling context other times.
    #[inline]
    pub fn configure(&self, context: cap::SchedContext, budget: u64, period: u64) -> Result<()> {
        self.sched_control
            .sched_control_configure_flags(context, budget, period, 0, 0, 0)
    }

    /// A thread without spaces and registers: a vCPU's, or one that gets them later.
    #[inline]
    pub fn tcb(
        &mut self,
        priority: u64,
        time: cap::SchedContext,
        faults: cap::Endpoint,
    ) -> Result<cap::Tcb> {
        let tcb = self.make::<cap_type::Tcb>()?;
        tcb.tcb_set_sched_params(slot::TCB.cap(), 0, priority, time, faults)?;
        Ok(tcb)
    }

    /// A guest, with 2 to the power of `pool_bits` pages for its shadow.
    #[inline]
    pub fn guest(&mut self, pool_bits: usize) -> Result<Guest> {
        let pool = self.make_sized::<cap_type::ShadowPool>(pool_bits)?;
        let vcpu = self.make::<cap_type::VCpu>()?;
        let space = self.make::<cap_type::GuestPml4>()?;
        slot::ASID_POOL.cap().asid_pool_assign_guest(space)?;
        pool.bind_space(space)?;
        pool.bind_vcpu(vcpu)?;
        let (origin, attributes) = (Gpa::new(0), VmAttributes::DEFAULT);
        let pdpt = self.make::<cap_type::GuestPdpt>()?;
        pdpt.guest_pdpt_map(space, origin, attributes)?;
        let directory = self.make::<cap_type::GuestPageDirectory>()?;
        directory.guest_page_directory_map(space, origin, attributes)?;
        let table = self.make::<cap_type::GuestPageTable>()?;
        table.guest_page_table_map(space, origin, attributes)?;
        Ok(Guest { pool, vcpu, space })
    }
}
