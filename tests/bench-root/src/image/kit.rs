//! Memory, slots, threads and address spaces for the measurements.

#![allow(unsafe_code)] // the image's first address, and a frame shown at a fixed address

use super::priority;
use root_task::memory::{Memory, Place};
use sel4::{
    AbsoluteCPtr, BootInfoPtr, CNodeCapData, CPtr, Cap, CapRights, CapType,
    CapTypeForObjectOfFixedSize, CapTypeForObjectOfVariableSize, Error, ObjectBlueprint, Result,
    UserContext, VmAttributes, cap, cap_type, init_thread::slot,
};
use sel4_root_task::Stack;

/// Where frames are mapped to be measured or shown: far from the image, with tables of their own.
pub(crate) const WINDOW: usize = 0x10_0000_0000;
/// Longer than the whole run: no budget ends in a measurement.
const LONG: u64 = 60_000_000;
const STACK_BYTES: usize = 4096;
const STACKS: usize = 40;
static STACK: Stack<{ STACK_BYTES * STACKS }> = Stack::new();

unsafe extern "C" {
    /// First byte of the image, by the linker.
    static __executable_start: u8;
}

/// Free memory and slots.
pub(crate) struct Kit {
    memory: Memory,
    next_slot: usize,
    stacks: usize,
    shown: usize,
    sched_control: cap::SchedControl,
    image: (usize, usize),
}

/// The null capability.
pub(crate) fn none<T: CapType>() -> Cap<T> {
    slot::NULL.cptr().cast()
}

/// The capability in a slot of this program's CNode.
pub(crate) fn at<T: CapType>(slot: usize) -> Cap<T> {
    CPtr::from_bits(slot as u64).cast()
}

/// The slot of this program's CNode that a capability is in.
pub(crate) fn path<T: CapType>(cap: Cap<T>) -> AbsoluteCPtr {
    slot::CNODE.cap().absolute_cptr(cap)
}

/// One object into a slot of this program's CNode.
pub(crate) fn retype(
    untyped: cap::Untyped,
    blueprint: &ObjectBlueprint,
    slot: usize,
    count: usize,
) -> Result<()> {
    let into = slot::CNODE.cap().absolute_cptr_for_self();
    untyped.untyped_retype(blueprint, &into, slot, count)
}

impl Kit {
    pub(crate) fn new(boot_info: &BootInfoPtr) -> Result<Self> {
        let mut memory = Memory::default();
        for (n, untyped) in boot_info.untyped_list().iter().enumerate() {
            if !untyped.is_device() {
                let slot = boot_info.untyped().start() + n;
                memory.add(slot, untyped.paddr() as u64, untyped.size_bits() as u32);
            }
        }
        let frames = boot_info.user_image_frames();
        let mut kit = Self {
            memory,
            next_slot: boot_info.empty().start(),
            stacks: 0,
            shown: 0,
            sched_control: boot_info.sched_control().index(0).cap(),
            image: (frames.start(), frames.end()),
        };
        kit.lengthen(slot::SC.cap())?;
        let directory = kit.make::<cap_type::PageDirectory>()?;
        directory.page_directory_map(slot::VSPACE.cap(), WINDOW, VmAttributes::DEFAULT)?;
        let table = kit.make::<cap_type::PageTable>()?;
        table.page_table_map(slot::VSPACE.cap(), WINDOW, VmAttributes::DEFAULT)?;
        Ok(kit)
    }

    /// Gives a scheduling context time without end.
    pub(crate) fn lengthen(&self, context: cap::SchedContext) -> Result<()> {
        self.sched_control
            .sched_control_configure_flags(context, LONG, LONG, 0, 0, 0)
    }

    /// Empty slots in a row; the first.
    pub(crate) const fn slots(&mut self, count: usize) -> usize {
        self.next_slot += count;
        self.next_slot - count
    }

    /// An object.
    pub(crate) fn make<T: CapTypeForObjectOfFixedSize>(&mut self) -> Result<Cap<T>> {
        self.make_blueprint(T::object_blueprint())
    }

    /// An object of a size.
    pub(crate) fn make_sized<T: CapTypeForObjectOfVariableSize>(
        &mut self,
        bits: usize,
    ) -> Result<Cap<T>> {
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
    pub(crate) fn copy<T: CapType>(&mut self, of: Cap<T>) -> Result<Cap<T>> {
        let slot = at::<T>(self.slots(1));
        path(slot).copy(&path(of), CapRights::all())?;
        Ok(slot)
    }

    /// Time without end.
    pub(crate) fn time(&mut self) -> Result<cap::SchedContext> {
        let bits = sel4::sys::object::MIN_SCHED_CONTEXT_BITS as usize;
        let context = self.make_sized::<cap_type::SchedContext>(bits)?;
        self.lengthen(context)?;
        Ok(context)
    }

    /// A fresh frame, mapped, and its address.
    pub(crate) fn show(&mut self) -> Result<(cap::Granule, usize)> {
        let frame = self.make::<cap_type::Granule>()?;
        self.shown += 1;
        let address = WINDOW + (512 - self.shown) * 4096;
        let (rights, attributes) = (CapRights::read_write(), VmAttributes::DEFAULT);
        frame.frame_map(slot::VSPACE.cap(), address, rights, attributes)?;
        Ok((frame, address))
    }

    /// Another address space with the same image: the same frames at the same addresses.
    pub(crate) fn space(&mut self) -> Result<cap::VSpace> {
        let space = self.make::<cap_type::PML4>()?;
        slot::ASID_POOL.cap().asid_pool_assign(space)?;
        let attributes = VmAttributes::DEFAULT;
        let base = (&raw const __executable_start).addr() & !0xfff;
        let pdpt = self.make::<cap_type::PDPT>()?;
        pdpt.pdpt_map(space, base, attributes)?;
        let directory = self.make::<cap_type::PageDirectory>()?;
        directory.page_directory_map(space, base, attributes)?;
        let mut tables = 0;
        for (n, slot) in (self.image.0..self.image.1).enumerate() {
            let address = base + 4096 * n;
            if n == 0 || address >> 21 != tables {
                tables = address >> 21;
                let table = self.make::<cap_type::PageTable>()?;
                table.page_table_map(space, address, attributes)?;
            }
            let frame = self.copy(at::<cap_type::_4k>(slot))?;
            frame.frame_map(space, address, CapRights::read_write(), attributes)?;
        }
        Ok(space)
    }

    /// A thread of this program's CSpace that runs `entry` in `space` once it is resumed.
    pub(crate) fn thread(
        &mut self,
        space: cap::VSpace,
        priority: u64,
        time: cap::SchedContext,
        faults: cap::Endpoint,
        entry: extern "C" fn() -> !,
    ) -> Result<cap::Tcb> {
        let tcb = self.make::<cap_type::Tcb>()?;
        tcb.tcb_set_space(
            sel4::CPtr::from_bits(0),
            slot::CNODE.cap(),
            CNodeCapData::skip(0),
            space,
        )?;
        tcb.tcb_set_sched_params(slot::TCB.cap(), 0, priority, time, faults)?;
        self.stacks += 1;
        assert!(self.stacks <= STACKS, "no stack is left");
        let top = (&raw const STACK).addr() + self.stacks * STACK_BYTES - 8;
        let mut registers = UserContext::default();
        *registers.pc_mut() = entry as *const () as u64;
        *registers.sp_mut() = top as u64;
        tcb.tcb_write_all_registers(false, &mut registers)?;
        Ok(tcb)
    }

    /// A server that waits in its endpoint without time of its own: its callers' is what it runs on.
    pub(crate) fn passive(
        &mut self,
        space: cap::VSpace,
        entry: extern "C" fn() -> !,
    ) -> Result<cap::Tcb> {
        let time = self.time()?;
        let tcb = self.thread(space, priority::SERVER, time, none(), entry)?;
        tcb.tcb_resume()?;
        time.unbind()?;
        Ok(tcb)
    }
}
