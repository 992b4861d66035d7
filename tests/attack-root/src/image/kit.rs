//! Memory, slots and threads for the attacks.

#![allow(unsafe_code)] // frames are shown at a fixed address

use root_task::memory::{Memory, Place};
use sel4::{
    AbsoluteCPtr, BootInfoPtr, CNodeCapData, CPtr, Cap, CapRights, CapType,
    CapTypeForObjectOfFixedSize, CapTypeForObjectOfVariableSize, Error, ObjectBlueprint, Result,
    UserContext, VmAttributes, cap, cap_type,
    init_thread::{self, slot},
};

/// Where frames are shown to this program: far from its image.
const WINDOW: usize = 0x10_0000_0000;
/// Words of a page.
pub(crate) const PAGE_WORDS: usize = 512;

/// Free memory and slots.
pub(crate) struct Kit {
    device: usize,
    memory: Memory,
    next_slot: usize,
    shown: usize,
    sched_control: cap::SchedControl,
}

/// A frame this program sees, too.
#[derive(Clone, Copy)]
pub(crate) struct Shown {
    /// Its capability, mapped here.
    pub(crate) frame: cap::Granule,
    words: *mut u64,
}

impl Shown {
    /// Reads a word.
    pub(crate) fn read(&self, word: usize) -> u64 {
        assert!(word < PAGE_WORDS);
        // SAFETY: the frame is mapped there for good, the word lies inside it, and others may change it at any time.
        unsafe { self.words.add(word).read_volatile() }
    }

    /// Writes a word.
    pub(crate) fn write(&self, word: usize, value: u64) {
        assert!(word < PAGE_WORDS);
        // SAFETY: as above.
        unsafe { self.words.add(word).write_volatile(value) }
    }

    /// Writes bytes from the page's beginning on.
    pub(crate) fn code(&self, bytes: &[u8]) {
        for (n, piece) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.write(n, u64::from_le_bytes(word));
        }
    }
}

/// The slot of this program's CNode that a capability is in.
pub(crate) fn path<T: CapType>(cap: Cap<T>) -> AbsoluteCPtr {
    slot::CNODE.cap().absolute_cptr(cap)
}

/// The null capability.
pub(crate) fn none<T: CapType>() -> Cap<T> {
    slot::NULL.cptr().cast()
}

/// The capability in a slot of this program's CNode.
pub(crate) fn at<T: CapType>(slot: usize) -> Cap<T> {
    CPtr::from_bits(slot as u64).cast()
}

impl Kit {
    pub(crate) fn new(boot_info: &BootInfoPtr) -> Self {
        let mut memory = Memory::default();
        let mut device = (0, 0);
        for (n, untyped) in boot_info.untyped_list().iter().enumerate() {
            if !untyped.is_device() {
                let slot = boot_info.untyped().start() + n;
                memory.add(slot, untyped.paddr() as u64, untyped.size_bits() as u32);
            } else {
                device = device.max((untyped.size_bits(), boot_info.untyped().start() + n));
            }
        }
        Self {
            device: device.1,
            memory,
            next_slot: boot_info.empty().start(),
            shown: 0,
            sched_control: boot_info.sched_control().index(0).cap(),
        }
    }

    /// The largest untyped memory of devices: no machine has any there.
    pub(crate) fn device(&self) -> cap::Untyped {
        at(self.device)
    }

    /// Authority to give time.
    pub(crate) const fn sched_control(&self) -> cap::SchedControl {
        self.sched_control
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
        retype(at(grant.untyped), &blueprint, slot)?;
        Ok(at(slot))
    }

    /// A second capability with a badge or fewer rights.
    pub(crate) fn mint<T: CapType>(
        &mut self,
        of: Cap<T>,
        rights: CapRights,
        badge: u64,
    ) -> Result<Cap<T>> {
        let slot = at::<T>(self.slots(1));
        path(slot).mint(&path(of), rights, badge)?;
        Ok(slot)
    }

    /// A second capability.
    pub(crate) fn copy<T: CapType>(&mut self, of: Cap<T>, rights: CapRights) -> Result<Cap<T>> {
        let slot = at::<T>(self.slots(1));
        path(slot).copy(&path(of), rights)?;
        Ok(slot)
    }

    /// A fresh frame this program sees.
    pub(crate) fn show(&mut self) -> Result<Shown> {
        if self.shown == 0 {
            // The kernel made the first two levels when it mapped the program.
            let directory = self.make::<cap_type::PageDirectory>()?;
            directory.page_directory_map(slot::VSPACE.cap(), WINDOW, VmAttributes::DEFAULT)?;
            let table = self.make::<cap_type::PageTable>()?;
            table.page_table_map(slot::VSPACE.cap(), WINDOW, VmAttributes::DEFAULT)?;
        }
        let frame = self.make::<cap_type::Granule>()?;
        let address = WINDOW + 4096 * self.shown;
        let (rights, attributes) = (CapRights::read_write(), VmAttributes::DEFAULT);
        frame.frame_map(slot::VSPACE.cap(), address, rights, attributes)?;
        self.shown += 1;
        Ok(Shown {
            frame,
            words: address as *mut u64,
        })
    }

    /// A scheduling context: so many microseconds of every period.
    pub(crate) fn time(&mut self, budget: u64, period: u64) -> Result<cap::SchedContext> {
        let bits = sel4::sys::object::MIN_SCHED_CONTEXT_BITS as usize;
        let context = self.make_sized::<cap_type::SchedContext>(bits)?;
        self.sched_control
            .sched_control_configure_flags(context, budget, period, 0, 0, 0)?;
        Ok(context)
    }

    /// Sets how long [`pause`] takes at most, in microseconds.
    pub(crate) fn pause_of(&self, period: u64) -> Result<()> {
        let context = init_thread::slot::SC.cap();
        let budget = period - period / 5;
        self.sched_control
            .sched_control_configure_flags(context, budget, period, 0, 0, 0)
    }

    /// A thread that does not run yet.
    pub(crate) fn thread(
        &mut self,
        priority: u64,
        time: cap::SchedContext,
        faults: cap::Endpoint,
    ) -> Result<cap::Tcb> {
        let tcb = self.make::<cap_type::Tcb>()?;
        tcb.tcb_set_sched_params(slot::TCB.cap(), 0, priority, time, faults)?;
        Ok(tcb)
    }
}

/// Lets threads of lower priority run until the next period begins.
pub(crate) fn pause() {
    sel4::r#yield();
}

/// One object into a slot of this program's CNode.
pub(crate) fn retype(
    untyped: cap::Untyped,
    blueprint: &ObjectBlueprint,
    slot: usize,
) -> Result<()> {
    let into = slot::CNODE.cap().absolute_cptr_for_self();
    untyped.untyped_retype(blueprint, &into, slot, 1)
}

/// Starts a thread at an instruction, with a stack.
pub(crate) fn start(tcb: cap::Tcb, entry: u64, stack: u64) -> Result<()> {
    let mut registers = UserContext::default();
    *registers.pc_mut() = entry;
    *registers.sp_mut() = stack;
    tcb.tcb_write_all_registers(true, &mut registers)
}

/// The guard that lets a CNode of so many bits resolve whole words.
pub(crate) const fn guard(bits: usize) -> CNodeCapData {
    CNodeCapData::skip_high_bits(bits)
}
