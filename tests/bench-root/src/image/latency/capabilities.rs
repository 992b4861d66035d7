//! Capabilities: full CNodes, long ways to a slot, address spaces with everything in them, ports.

use super::{Stage, watch};
use crate::image::kit::{Kit, at, path};
use sel4::{
    AbsoluteCPtr, CapRights, CapTypeForObjectOfFixedSize, CapTypeForObjectOfVariableSize, Result,
    VmAttributes, cap, cap_type, init_thread::slot,
};

/// Radix of the CNode that is filled, and of each that is filled with it.
const FULL_RADIX: usize = 16;
const INNER_RADIX: usize = 12;
/// CNodes of one bit in a row: as many as an address has bits.
const DEPTH: usize = 64;
/// Where address spaces have their page table.
const ADDRESS: usize = 0x40_0000;
const ENTRIES: usize = 512;
/// Spaces of the ASID pool that is deleted; one number is never given.
const SPACES: usize = 511;

pub(super) fn measure(kit: &mut Kit, stage: &Stage) -> Result<()> {
    full_cnode(stage)?;
    nested_cnodes(stage)?;
    deep(stage)?;
    rotate(stage)?;
    tables(stage)?;
    asid_pool(stage)?;
    ports(kit)
}

/// Slot `index` of a CNode.
fn inside(cnode: cap::CNode, index: usize, bits: usize) -> AbsoluteCPtr {
    cnode.absolute_cptr_from_bits_with_depth(index as u64, bits)
}

fn full_cnode(stage: &Stage) -> Result<()> {
    let all = CapRights::all();
    stage.make(cap_type::CNode::object_blueprint(FULL_RADIX), 0, 1)?;
    stage.make(cap_type::Endpoint::object_blueprint(), 1, 1)?;
    let (cnode, endpoint) = (
        at::<cap_type::CNode>(stage.slot(0)),
        path(at::<cap_type::Endpoint>(stage.slot(1))),
    );
    for n in 0..1 << FULL_RADIX {
        inside(cnode, n, FULL_RADIX).copy(&endpoint, all)?;
    }
    watch("revoke-65536-copies", || {
        path(at::<cap_type::Endpoint>(stage.slot(1))).revoke()
    })?;
    for n in 0..1 << FULL_RADIX {
        inside(cnode, n, FULL_RADIX).copy(&endpoint, all)?;
    }
    watch("delete-cnode-2-16-full", || path(cnode).delete())?;
    stage.clear()
}

/// A CNode full of CNodes that are each in itself, and of threads.
fn nested_cnodes(stage: &Stage) -> Result<()> {
    const NODES: usize = 1 << (INNER_RADIX - 2);
    stage.make(cap_type::CNode::object_blueprint(INNER_RADIX), 0, 1)?;
    stage.make(cap_type::CNode::object_blueprint(3), 1, NODES)?;
    stage.make(cap_type::Tcb::object_blueprint(), 1 + NODES, NODES)?;
    let outer = at::<cap_type::CNode>(stage.slot(0));
    for n in 0..NODES {
        let inner = at::<cap_type::CNode>(stage.slot(1 + n));
        let thread = path(at::<cap_type::Tcb>(stage.slot(1 + NODES + n)));
        inside(inner, 1, 3).move_(&thread)?;
        // What was the only way to it now lies in it.
        inside(outer, n, INNER_RADIX).copy(&path(inner), CapRights::all())?;
        inside(inner, 0, 3).move_(&path(inner))?;
    }
    watch("delete-cnode-of-1024-cnodes", || path(outer).delete())?;
    watch("revoke-1024-cnodes-and-tcbs", || stage.clear())
}

/// Both slots of a copy at the end of 63 CNodes.
fn deep(stage: &Stage) -> Result<()> {
    stage.make(cap_type::CNode::object_blueprint(1), 0, DEPTH)?;
    stage.make(cap_type::Endpoint::object_blueprint(), DEPTH, 1)?;
    let node = |n| at::<cap_type::CNode>(stage.slot(n));
    for n in 0..DEPTH - 1 {
        inside(node(n), 0, 1).copy(&path(node(n + 1)), CapRights::all())?;
    }
    inside(node(DEPTH - 1), 0, 1).copy(
        &path(at::<cap_type::Endpoint>(stage.slot(DEPTH))),
        CapRights::all(),
    )?;
    let (from, to) = (inside(node(0), 0, DEPTH), inside(node(0), 1, DEPTH));
    watch("copy-at-depth-64", || to.copy(&from, CapRights::all()))?;
    stage.clear()
}

fn rotate(stage: &Stage) -> Result<()> {
    stage.make(cap_type::Reply::object_blueprint(), 0, 2)?;
    let slot = |n| path(at::<cap_type::Reply>(stage.slot(n)));
    watch("rotate", || slot(2).rotate(&slot(0), 0, &slot(1), 0))?;
    stage.clear()
}

/// An address space with a page table full of frames, taken away from the leaves up, and from the root down.
fn tables(stage: &Stage) -> Result<()> {
    let rows = [
        [
            "delete-page-table-of-512",
            "delete-directory",
            "delete-pdpt",
            "delete-pml4",
        ],
        [
            "delete-pml4-first",
            "delete-pdpt-second",
            "delete-directory-third",
            "delete-page-table-last",
        ],
    ];
    for (names, order) in rows.into_iter().zip([[3, 2, 1, 0], [0, 1, 2, 3]]) {
        build_space(stage)?;
        for (name, n) in names.into_iter().zip(order) {
            watch(name, || {
                path(at::<cap_type::Unspecified>(stage.slot(n))).delete()
            })?;
        }
        stage.clear()?;
    }
    build_space(stage)?;
    watch("unmap-page-table-of-512", || {
        at::<cap_type::PageTable>(stage.slot(3)).page_table_unmap()
    })?;
    stage.clear()?;
    build_space(stage)?;
    watch("revoke-address-space", || stage.clear())
}

fn build_space(stage: &Stage) -> Result<()> {
    let attributes = VmAttributes::DEFAULT;
    stage.make(cap_type::PML4::object_blueprint(), 0, 1)?;
    stage.make(cap_type::PDPT::object_blueprint(), 1, 1)?;
    stage.make(cap_type::PageDirectory::object_blueprint(), 2, 1)?;
    stage.make(cap_type::PageTable::object_blueprint(), 3, 1)?;
    stage.make(cap_type::_4k::object_blueprint(), 4, ENTRIES)?;
    let space = at::<cap_type::PML4>(stage.slot(0));
    slot::ASID_POOL.cap().asid_pool_assign(space)?;
    at::<cap_type::PDPT>(stage.slot(1)).pdpt_map(space, ADDRESS, attributes)?;
    at::<cap_type::PageDirectory>(stage.slot(2)).page_directory_map(space, ADDRESS, attributes)?;
    at::<cap_type::PageTable>(stage.slot(3)).page_table_map(space, ADDRESS, attributes)?;
    for n in 0..ENTRIES {
        let frame = at::<cap_type::_4k>(stage.slot(4 + n));
        frame.frame_map(
            space,
            ADDRESS + 4096 * n,
            CapRights::read_write(),
            attributes,
        )?;
    }
    Ok(())
}

/// A pool whose every space is a guest's, each with a shadow pool bound to it.
fn asid_pool(stage: &Stage) -> Result<()> {
    stage.make(cap_type::Untyped::object_blueprint(12), 0, 1)?;
    stage.make(cap_type::GuestPml4::object_blueprint(), 2, SPACES)?;
    stage.make(
        cap_type::ShadowPool::object_blueprint(5),
        2 + SPACES,
        SPACES,
    )?;
    let pool = at::<cap_type::AsidPool>(stage.slot(1));
    slot::ASID_CONTROL
        .cap()
        .asid_control_make_pool(at(stage.slot(0)), &path(pool))?;
    for n in 0..SPACES {
        let space = at::<cap_type::GuestPml4>(stage.slot(2 + n));
        pool.asid_pool_assign_guest(space)?;
        at::<cap_type::ShadowPool>(stage.slot(2 + SPACES + n)).bind_space(space)?;
    }
    watch("delete-asid-pool", || path(pool).delete())?;
    stage.clear()
}

/// Nearly all ports there are.
fn ports(kit: &mut Kit) -> Result<()> {
    let port = at::<cap_type::IOPort>(kit.slots(1));
    let control = slot::IO_PORT_CONTROL.cap();
    watch("issue-61440-ports", || {
        control.ioport_control_issue(0x1000, 0xffff, &path(port))
    })?;
    watch("delete-61440-ports", || path(port).delete())
}
