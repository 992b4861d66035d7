//! Threads, their time and address spaces for the measurements; memory, slots and objects are `root-kit`'s.

#![allow(unsafe_code)] // the image's first address

use super::priority;
use core::ops::{Deref, DerefMut};
pub(crate) use root_kit::{WINDOW, at, none, path, retype};
use sel4::{
    BootInfoPtr, CNodeCapData, CapRights, Result, UserContext, VmAttributes, cap, cap_type,
    init_thread::slot,
};
use sel4_root_task::Stack;

/// Longer than the whole run: no budget ends in a measurement.
const LONG: u64 = 60_000_000;
const STACK_BYTES: usize = 4096;
const STACKS: usize = 40;
static STACK: Stack<{ STACK_BYTES * STACKS }> = Stack::new();

unsafe extern "C" {
    /// First byte of the image, by the linker.
    static __executable_start: u8;
}

/// The tests' kit, and what threads are made of.
pub(crate) struct Kit {
    objects: root_kit::Kit,
    stacks: usize,
    image: (usize, usize),
}

impl Deref for Kit {
    type Target = root_kit::Kit;

    fn deref(&self) -> &Self::Target {
        &self.objects
    }
}

impl DerefMut for Kit {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.objects
    }
}

impl Kit {
    pub(crate) fn new(boot_info: &BootInfoPtr) -> Result<Self> {
        let frames = boot_info.user_image_frames();
        let kit = Self {
            objects: root_kit::Kit::new(boot_info)?,
            stacks: 0,
            image: (frames.start(), frames.end()),
        };
        kit.lengthen(slot::SC.cap())?;
        Ok(kit)
    }

    /// Gives a scheduling context time without end.
    pub(crate) fn lengthen(&self, context: cap::SchedContext) -> Result<()> {
        self.configure(context, LONG, LONG)
    }

    /// Time without end.
    pub(crate) fn time(&mut self) -> Result<cap::SchedContext> {
        self.objects.time(LONG, LONG)
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
