//! A VM's own objects: guest-physical space, memory, shadow pool, vCPU.

use super::{
    archive::Image,
    domain::Domain,
    error::{Error, Result},
    objects::{Objects, at, path},
};
use core::ops::Range;
use protocol::{
    layout, platform, slots,
    system::{Paging, Piece, Vm},
};
use root_task::{memory::Place, pages};
use sel4::{
    Cap, CapRights, CapTypeForFrameObjectOfFixedSize, Error as KernelError, FrameObjectType,
    VmAttributes, cap, cap_type, init_thread,
};
use words::{Gpa, addr::PAGE_SIZE};

/// Guest memory comes in large pages.
const FRAME: u64 = FrameObjectType::LargePage.bytes() as u64;
/// What one directory of the guest-physical space spans.
const DIRECTORY: u64 = 1 << 30;
const _: () = assert!(
    slots::mmu::TEST_MEMORY + 2 * platform::TEST_MEMORY_BYTES / PAGE_SIZE <= 1 << slots::CNODE_BITS
);

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
        match vm.paging {
            Paging::Shadow => pool.bind_vcpu(vcpu)?,
            // The vCPU and the space are fresh: nothing else can be wrong with them.
            Paging::Nested => vcpu.set_nested(space).map_err(|error| match error {
                KernelError::IllegalOperation => Error::NoNestedPaging(vm.name.clone()),
                error => Error::Kernel(error),
            })?,
        }
        Ok(Self { space, pool, vcpu })
    }

    /// Gives the VM its memory: each frame stands in the guest-physical space and in mmu-server's address space, and its
    /// two capabilities go to mmu-server.
    pub(crate) fn memory(&self, objects: &mut Objects, mmu: &mut Domain, vm: &Vm) -> Result<()> {
        if vm.memory == 0
            || !vm.memory.is_multiple_of(FRAME)
            || vm.memory / FRAME > slots::mmu::MAX_FRAMES
        {
            return Err(Error::Archive("a VM's memory"));
        }
        self.tables(objects, vm.memory)?;
        let count = vm.memory / FRAME;
        let first = objects.make_many::<cap_type::LargePage>(count as usize)?;
        for n in 0..count {
            let frame = at::<cap_type::LargePage>(first + n as usize);
            let slot = slots::mmu::FRAMES + 2 * n;
            self.give(objects, mmu, frame, n * FRAME, slot)?;
        }
        self.test_memory(objects, mmu)
    }

    /// The memory of the test device: pages like all others, so that every instruction works on them, at an address that
    /// no memory map mentions.
    fn test_memory(&self, objects: &mut Objects, mmu: &mut Domain) -> Result<()> {
        let base = Gpa::new(platform::TEST_MEMORY);
        let directory = objects.make::<cap_type::GuestPageDirectory>()?;
        directory.guest_page_directory_map(
            self.space,
            base.align_down(DIRECTORY.trailing_zeros()),
            VmAttributes::DEFAULT,
        )?;
        let table = objects.make::<cap_type::GuestPageTable>()?;
        table.guest_page_table_map(self.space, base, VmAttributes::DEFAULT)?;
        let count = platform::TEST_MEMORY_BYTES / PAGE_SIZE;
        let first = objects.make_many::<cap_type::Granule>(count as usize)?;
        for n in 0..count {
            let page = at::<cap_type::Granule>(first + n as usize);
            let slot = slots::mmu::TEST_MEMORY + 2 * n;
            self.give(objects, mmu, page, base.bits() + n * PAGE_SIZE, slot)?;
        }
        Ok(())
    }

    /// Puts a frame into the guest-physical space and into mmu-server's address space; mmu-server gets both capabilities,
    /// in `slot` and the next one.
    fn give<T: CapTypeForFrameObjectOfFixedSize>(
        &self,
        objects: &mut Objects,
        mmu: &mut Domain,
        here: Cap<T>,
        gpa: u64,
        slot: u64,
    ) -> Result<()> {
        let guest = objects.copy(here, CapRights::all())?;
        guest.frame_map_guest(
            self.space,
            Gpa::new(gpa),
            CapRights::read_write(),
            VmAttributes::DEFAULT,
        )?;
        mmu.space().map(
            objects,
            here,
            layout::GUEST_RAM + gpa,
            CapRights::read_write(),
            VmAttributes::DEFAULT,
        )?;
        mmu.hand_over(slot, here)?;
        mmu.hand_over(slot + 1, guest)
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
