//! Virtual machines: a full shadow pool, its largest calls, and its end.

use super::{Stage, watch};
use crate::image::kit::{Kit, at, path};
use sel4::{
    CapRights, CapTypeForObjectOfFixedSize, CapTypeForObjectOfVariableSize, Result, VmAttributes,
    cap_type,
    init_thread::slot,
    shadow_pool::{Entry, Fill, Flush, Link, MAX_FILLS, MAX_LINKS, MAX_SLOTS},
    sys::label::fill,
};
use words::{Gfn, Gpa};

/// log2 of the pool's pages: 8 MiB.
const POOL_BITS: usize = 11;
const ENTRIES: usize = 512;
/// vCPUs of the pool.
const VCPUS: usize = 64;

/// Slots of the scene.
mod place {
    pub(super) const SPACE: usize = 0;
    pub(super) const PDPT: usize = 1;
    pub(super) const DIRECTORY: usize = 2;
    pub(super) const TABLE: usize = 3;
    pub(super) const POOL: usize = 4;
    pub(super) const FRAMES: usize = 5;
    pub(super) const VCPUS: usize = FRAMES + super::ENTRIES;
}

pub(super) fn measure(_: &mut Kit, stage: &Stage) -> Result<()> {
    build(stage)?;
    let pool = at::<cap_type::ShadowPool>(stage.slot(place::POOL));
    // Page 0 is the root; 1, 2, 3 the levels below; 4 on are more page tables.
    for (page, level) in [(0, 4), (1, 3), (2, 2), (3, 1)] {
        pool.reset(page, level)?;
    }
    let entry = |page, slot: usize| Entry {
        page,
        slot: slot as u16,
    };
    let links: [Link; MAX_LINKS] = core::array::from_fn(|n| Link {
        parent: entry(2, n),
        child: 3,
    });
    watch("pool-link-59", || pool.link(&links))?;
    let fills: [Fill; MAX_FILLS] = core::array::from_fn(|n| Fill {
        entry: entry(3, n),
        frame: Gfn::new(n as u64),
        attributes: fill::WRITE | fill::USER | fill::EXECUTE,
    });
    watch("pool-fill-39", || pool.fill(&fills))?;
    for first in (0..ENTRIES).step_by(MAX_LINKS) {
        let links: [Link; MAX_LINKS] = core::array::from_fn(|n| Link {
            parent: entry(2, (first + n) % ENTRIES),
            child: 3,
        });
        pool.link(&links)?;
    }
    let mut bits = [0; MAX_SLOTS / 32];
    watch("pool-harvest-512", || {
        pool.harvest(entry(3, 0), MAX_SLOTS, &mut bits)
    })?;
    watch("pool-reset-of-512-links", || pool.reset(2, 2))?;
    for first in (0..ENTRIES).step_by(MAX_LINKS) {
        let links: [Link; MAX_LINKS] = core::array::from_fn(|n| Link {
            parent: entry(2, (first + n) % ENTRIES),
            child: 3,
        });
        pool.link(&links)?;
    }
    watch("pool-clear-512", || pool.clear(entry(2, 0), MAX_SLOTS))?;
    watch("pool-invalidate", || pool.invalidate(Flush::All))?;
    watch("pool-retire", || pool.retire())?;
    watch("unmap-guest-frame", || {
        at::<cap_type::_4k>(stage.slot(place::FRAMES)).frame_unmap()
    })?;
    watch("delete-guest-space", || {
        path(at::<cap_type::GuestPml4>(stage.slot(place::SPACE))).delete()
    })?;
    watch("delete-pool", || path(pool).delete())?;
    stage.clear()?;
    build(stage)?;
    watch("revoke-virtual-machine", || stage.clear())
}

fn build(stage: &Stage) -> Result<()> {
    stage.make(
        cap_type::ShadowPool::object_blueprint(POOL_BITS),
        place::POOL,
        1,
    )?;
    stage.make(cap_type::GuestPml4::object_blueprint(), place::SPACE, 1)?;
    stage.make(cap_type::GuestPdpt::object_blueprint(), place::PDPT, 1)?;
    stage.make(
        cap_type::GuestPageDirectory::object_blueprint(),
        place::DIRECTORY,
        1,
    )?;
    stage.make(
        cap_type::GuestPageTable::object_blueprint(),
        place::TABLE,
        1,
    )?;
    stage.make(cap_type::_4k::object_blueprint(), place::FRAMES, ENTRIES)?;
    stage.make(cap_type::VCpu::object_blueprint(), place::VCPUS, VCPUS)?;
    let space = at::<cap_type::GuestPml4>(stage.slot(place::SPACE));
    let pool = at::<cap_type::ShadowPool>(stage.slot(place::POOL));
    slot::ASID_POOL.cap().asid_pool_assign_guest(space)?;
    pool.bind_space(space)?;
    for n in 0..VCPUS {
        pool.bind_vcpu(at(stage.slot(place::VCPUS + n)))?;
    }
    let (origin, attributes) = (Gpa::new(0), VmAttributes::DEFAULT);
    at::<cap_type::GuestPdpt>(stage.slot(place::PDPT)).guest_pdpt_map(space, origin, attributes)?;
    at::<cap_type::GuestPageDirectory>(stage.slot(place::DIRECTORY))
        .guest_page_directory_map(space, origin, attributes)?;
    at::<cap_type::GuestPageTable>(stage.slot(place::TABLE))
        .guest_page_table_map(space, origin, attributes)?;
    for n in 0..ENTRIES {
        let frame = at::<cap_type::_4k>(stage.slot(place::FRAMES + n));
        let address = Gpa::new(4096 * n as u64);
        frame.frame_map_guest(space, address, CapRights::read_write(), attributes)?;
    }
    Ok(())
}
