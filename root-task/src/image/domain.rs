//! A domain: address space, CSpace, threads.

use super::{
    archive::Image,
    error::{Error, Result},
    objects::{Objects, none, path},
    space::Space,
    window::{SIZE, Window},
};
use heapless::Vec;
use protocol::{
    layout::{INFO, IPC_BUFFER, STACK_SIZE, STACK_STRIDE, STACK_TOP},
    slots::CNODE_BITS,
    system::{DomainInfoRef, Program, Segment},
};
use root_task::{inform, memory::Place, pages};
use sel4::{
    AbsoluteCPtr, BootInfoPtr, CNodeCapData, Cap, CapRights, CapType, UserContext, VmAttributes,
    cap, cap_type, init_thread,
};
use words::addr::PAGE_SIZE;

/// Most threads.
pub(crate) const MAX_THREADS: usize = 1 + protocol::system::MAX_VMS;

/// What a domain is built with.
pub(crate) struct Workshop<'a> {
    /// Memory and slots.
    pub(crate) objects: &'a mut Objects,
    /// Where frames are filled.
    pub(crate) window: &'a Window,
    /// Where programs come from.
    pub(crate) image: &'a Image,
    /// What the kernel said at boot.
    pub(crate) boot_info: &'a BootInfoPtr,
}

/// A domain.
pub(crate) struct Domain {
    cnode: cap::CNode,
    space: Space,
    entry: u64,
    threads: Vec<cap::Tcb, MAX_THREADS>,
    pages: usize,
}

impl Domain {
    /// The domain of a program, without threads and without capabilities.
    pub(crate) fn new(
        workshop: &mut Workshop<'_>,
        program: &Program,
        info: &DomainInfoRef<'_>,
    ) -> Result<Self> {
        let cnode = workshop
            .objects
            .make_sized::<cap_type::CNode>(CNODE_BITS as usize, Place::Any)?;
        let space = Space::new(workshop.objects)?;
        let mut domain = Self {
            cnode,
            space,
            entry: program.entry,
            threads: Vec::new(),
            pages: 0,
        };
        for segment in &program.segments {
            domain.load(workshop, segment)?;
        }
        domain.inform(workshop, info)?;
        Ok(domain)
    }

    /// Pages of program, stacks, buffers and information.
    pub(crate) const fn pages(&self) -> usize {
        self.pages
    }

    /// Its threads.
    pub(crate) fn threads(&self) -> &[cap::Tcb] {
        &self.threads
    }

    /// First instruction.
    pub(crate) const fn entry(&self) -> u64 {
        self.entry
    }

    /// Its address space, to map more into.
    pub(crate) const fn space(&mut self) -> &mut Space {
        &mut self.space
    }

    fn load(&mut self, workshop: &mut Workshop<'_>, segment: &Segment) -> Result<()> {
        let rights = if segment.write {
            CapRights::read_write()
        } else {
            CapRights::read_only()
        };
        for page in pages::of(segment) {
            let data = workshop.image.data(page.data)?;
            self.page(workshop, page.vaddr, rights, page.at, data)?;
        }
        Ok(())
    }

    fn inform(&mut self, workshop: &mut Workshop<'_>, info: &DomainInfoRef<'_>) -> Result<()> {
        let mut failed = Error::Full("bytes of a domain's information");
        let written = inform::pages(info, |at, bytes| {
            let page = self.page(workshop, INFO + at, CapRights::read_only(), 0, bytes);
            page.map(drop).map_err(|error| failed = error).ok()
        });
        written.map_err(|_| failed)
    }

    /// A fresh page with `data` in it from byte `at` on.
    fn page(
        &mut self,
        workshop: &mut Workshop<'_>,
        vaddr: u64,
        rights: CapRights,
        at: usize,
        data: &[u8],
    ) -> Result<cap::Granule> {
        let frame = workshop.objects.make::<cap_type::Granule>()?;
        if !data.is_empty() {
            workshop.window.fill(frame, |bytes| {
                bytes[at..at + data.len()].copy_from_slice(data)
            })?;
        }
        self.space.map(
            workshop.objects,
            frame,
            vaddr,
            rights,
            VmAttributes::DEFAULT,
        )?;
        self.pages += 1;
        Ok(frame)
    }

    /// Adds a thread: stack, IPC buffer, registers for the first instruction. It does not run yet and has no time.
    pub(crate) fn thread(
        &mut self,
        workshop: &mut Workshop<'_>,
        name: &str,
        priority: u64,
        faults: cap::Endpoint,
    ) -> Result<cap::Tcb> {
        let number = self.threads.len() as u64;
        let top = STACK_TOP + number * STACK_STRIDE;
        for vaddr in (top - STACK_SIZE..top).step_by(SIZE) {
            self.page(workshop, vaddr, CapRights::read_write(), 0, &[])?;
        }
        let buffer = IPC_BUFFER + number * PAGE_SIZE;
        let frame = self.page(workshop, buffer, CapRights::read_write(), 0, &[])?;

        let tcb = workshop.objects.make::<cap_type::Tcb>()?;
        let guard = CNodeCapData::skip_high_bits(CNODE_BITS as usize);
        tcb.tcb_configure(self.cnode, guard, self.space.root(), buffer, frame)?;
        tcb.tcb_set_sched_params(init_thread::slot::TCB.cap(), 0, priority, none(), faults)?;
        let mut registers = UserContext::default();
        *registers.pc_mut() = self.entry;
        *registers.sp_mut() = top;
        *registers.c_param_mut(0) = number;
        tcb.tcb_write_all_registers(false, &mut registers)?;
        tcb.debug_name(name.as_bytes());
        self.threads
            .push(tcb)
            .map_err(|_| Error::Full("threads of a domain"))?;
        Ok(tcb)
    }

    fn slot(&self, slot: u64) -> AbsoluteCPtr {
        self.cnode
            .absolute_cptr_from_bits_with_depth(slot, CNODE_BITS as usize)
    }

    /// Puts a copy of a capability into the domain's CSpace.
    pub(crate) fn give<T: CapType>(&self, slot: u64, cap: Cap<T>, rights: CapRights) -> Result<()> {
        Ok(self.slot(slot).copy(&path(cap), rights)?)
    }

    /// Puts a badged copy of an endpoint or notification into the domain's CSpace.
    pub(crate) fn give_badged<T: CapType>(
        &self,
        slot: u64,
        cap: Cap<T>,
        rights: CapRights,
        badge: u64,
    ) -> Result<()> {
        Ok(self.slot(slot).mint(&path(cap), rights, badge)?)
    }

    /// Moves a capability into the domain's CSpace: root-task has it no longer.
    pub(crate) fn hand_over<T: CapType>(&self, slot: u64, cap: Cap<T>) -> Result<()> {
        Ok(self.slot(slot).move_(&path(cap))?)
    }

    /// Lets go of CSpace and address space: from here on only the domain's threads hold them.
    pub(crate) fn seal(&self) -> Result<()> {
        path(self.cnode).delete()?;
        Ok(path(self.space.root()).delete()?)
    }
}
