//! A VM's own objects: guest-physical space, memory, shadow pool, vCPU.

use super::{
    archive::Image,
    domain::Domain,
    error::{Error, Result},
    objects::{Objects, at, path},
};
use core::ops::Range;
use protocol::{
    layout, slots,
    system::{Piece, Vm},
};
use root_task::{memory::Place, pages};
use sel4::{CapRights, FrameObjectType, VmAttributes, cap, cap_type, init_thread};
use words::{Gpa, addr::PAGE_SIZE};

/// Guest memory comes in large pages.
const FRAME: u64 = FrameObjectType::LargePage.bytes() as u64;
/// What one directory of the guest-physical space spans.
const DIRECTORY: u64 = 1 << 30;
/// Frames whose two capabilities fit into mmu-server's CNode.
const MAX_FRAMES: u64 = ((1 << slots::CNODE_BITS) - slots::mmu::FRAMES) / 2;

/// The objects mmu-server is given.
pub(crate) struct Guest {
    /// The guest-physical space.
    pub(crate) space: cap::GuestPml4,
    /// The shadow pool.
    pub(crate) pool: cap::ShadowPool,
    /// The vCPU.
    pub(crate) vcpu: cap::VCpu,
}

impl Guest {
    /// Makes the objects of a VM and binds them to one another.
    pub(crate) fn new(objects: &mut Objects, vm: &Vm) -> Result<Self> {
        let pool =
            objects.make_sized::<cap_type::ShadowPool>(vm.shadow_bits as usize, Place::Below4G)?;
        let vcpu = objects.make::<cap_type::VCpu>()?;
        let space = objects.make::<cap_type::GuestPml4>()?;
        init_thread::slot::ASID_POOL
            .cap()
            .asid_pool_assign_guest(space)?;
        pool.bind_space(space)?;
        pool.bind_vcpu(vcpu)?;
        Ok(Self { space, pool, vcpu })
    }

    /// Gives the VM its memory: each frame stands in the guest-physical space and in mmu-server's address space, and its
    /// two capabilities go to mmu-server.
    pub(crate) fn memory(&self, objects: &mut Objects, mmu: &mut Domain, vm: &Vm) -> Result<()> {
        if vm.memory == 0 || !vm.memory.is_multiple_of(FRAME) || vm.memory / FRAME > MAX_FRAMES {
            return Err(Error::Archive("a VM's memory"));
        }
        self.tables(objects, vm.memory)?;
        let count = vm.memory / FRAME;
        let first = objects.make_many::<cap_type::LargePage>(count as usize)?;
        for n in 0..count {
            let here = at::<cap_type::LargePage>(first + n as usize);
            let guest = objects.copy(here, CapRights::all())?;
            let gpa = Gpa::new(n * FRAME);
            guest.frame_map_guest(
                self.space,
                gpa,
                CapRights::read_write(),
                VmAttributes::DEFAULT,
            )?;
            let vaddr = layout::GUEST_RAM + gpa.bits();
            mmu.space().map(
                objects,
                here,
                vaddr,
                CapRights::read_write(),
                VmAttributes::DEFAULT,
            )?;
            mmu.hand_over(slots::mmu::FRAMES + 2 * n, here)?;
            mmu.hand_over(slots::mmu::FRAMES + 2 * n + 1, guest)?;
        }
        Ok(())
    }

    fn tables(&self, objects: &mut Objects, memory: u64) -> Result<()> {
        let pdpt = objects.make::<cap_type::GuestPdpt>()?;
        pdpt.guest_pdpt_map(self.space, Gpa::new(0), VmAttributes::DEFAULT)?;
        for gpa in (0..memory).step_by(DIRECTORY as usize) {
            let directory = objects.make::<cap_type::GuestPageDirectory>()?;
            directory.guest_page_directory_map(self.space, Gpa::new(gpa), VmAttributes::DEFAULT)?;
        }
        Ok(())
    }
}

/// The pages of the archive that hold a VM's files, each once, ascending within a piece. Pieces may share a page.
fn file_pages(vm: &Vm) -> impl Iterator<Item = u64> {
    let of = |piece: &Piece| pages::touched(piece.data.offset, piece.data.length);
    vm.pieces.iter().enumerate().flat_map(move |(n, piece)| {
        let earlier = &vm.pieces[..n];
        of(piece).filter(move |page| !earlier.iter().any(|piece| of(piece).contains(page)))
    })
}

/// Shows mmu-server the pages of the archive that hold its VM's files, and no others. The slots of the capabilities: when
/// they are deleted, the pages are gone from its address space.
pub(crate) fn files(
    objects: &mut Objects,
    image: &Image,
    mmu: &mut Domain,
    vm: &Vm,
) -> Result<Range<usize>> {
    let count = file_pages(vm).count();
    let first = objects.slots(count)?;
    for (slot, page) in (first..).zip(file_pages(vm)) {
        let copy = at::<cap_type::Granule>(slot);
        path(copy).copy(&path(image.frame(page)?), CapRights::read_only())?;
        let vaddr = layout::GUEST_FILES + page * PAGE_SIZE;
        mmu.space().map(
            objects,
            copy,
            vaddr,
            CapRights::read_only(),
            VmAttributes::DEFAULT,
        )?;
    }
    Ok(first..first + count)
}
