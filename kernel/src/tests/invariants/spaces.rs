//! The live address spaces: each entry is a table or a frame that a capability says is mapped just there, and what a
//! guest-physical space lists is bound to it.

use super::addresses::Addresses;
use super::complaint::{Check, ensure};
use super::found::{Found, is_among};
use super::tables::{each_entry, present};
use crate::cap::frame_bits;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::mem::{Page, Ref};
use crate::object::guest_space;
use words::x86::pte;

/// What the live guest-physical spaces list.
#[derive(Default)]
pub struct Lists {
    /// vCPUs under nested paging.
    pub vcpus: Addresses,
    /// Shadow pools.
    pub pools: Addresses,
}

/// Answers what the spaces list: each vCPU and pool in it is in the list of the space it is bound to, once.
pub fn check<M: Machine>(kernel: &Kernel<M>, found: &Found) -> Check<Lists> {
    let mut lists = Lists::default();
    for (number, pool) in kernel.asid_pools.iter().enumerate() {
        let Some(pool) = pool.get() else { continue };
        let lives = is_among(&found.asid_pools, pool);
        ensure!(lives, AsidPoolDeleted, "{number}: {pool:?}");
        for (index, entry) in present(&pool.0, u64::MAX) {
            let (root, guest) = (Ref::<Page>::at(entry & !1), entry & 1 != 0);
            let asid = (number * 512 + index) as u16;
            let lives = found.tables.contains(&(root.bits(), 4));
            ensure!(lives, RootTableDeleted, "{asid}: {root:?}");
            entries(found, root, asid, guest)?;
            if guest {
                listed_vcpus(found, root, &mut lists.vcpus)?;
                listed_pools(found, root, &mut lists.pools)?;
            }
        }
    }
    Ok(lists)
}

fn entries(found: &Found, root: Ref<Page>, asid: u16, guest: bool) -> Check {
    each_entry(root, 4, 0, &mut |value, level, address| {
        if level > 1 && value & pte::PS == 0 {
            let table = (value & pte::ADDRESS, level - 1);
            let named = found.tables.contains(&table);
            ensure!(named, TableDeleted, "ASID {asid} at {address:#x}");
            return Ok(());
        }
        let size = level - 1;
        let base = value & pte::ADDRESS & !((1 << frame_bits(size)) - 1);
        let named = found.frames.contains(&(base, size, asid, address, guest));
        ensure!(
            named,
            FrameUnmapped,
            "ASID {asid} at {address:#x}: {base:#x}"
        );
        Ok(())
    })
}

fn listed_vcpus(found: &Found, root: Ref<Page>, listed: &mut Addresses) -> Check {
    let mut at = guest_space::first_vcpu(root);
    while let Some(vcpu) = at {
        let lives = is_among(&found.vcpus, vcpu);
        ensure!(lives, SpaceVcpuDeleted, "{root:?}: {vcpu:?}");
        ensure!(vcpu.space.is(root), SpaceVcpu, "{root:?}: {vcpu:?}");
        let once = listed.insert(vcpu.bits());
        ensure!(once, SpaceVcpuTwice, "{root:?}: {vcpu:?}");
        at = vcpu.space_next.get();
    }
    Ok(())
}

fn listed_pools(found: &Found, root: Ref<Page>, listed: &mut Addresses) -> Check {
    let mut at = guest_space::first_pool(root);
    while let Some(pool) = at {
        let lives = is_among(&found.pools, pool);
        ensure!(lives, SpacePoolDeleted, "{root:?}: {pool:?}");
        ensure!(pool.space.is(root), SpacePool, "{root:?}: {pool:?}");
        let once = listed.insert(pool.bits());
        ensure!(once, SpacePoolTwice, "{root:?}: {pool:?}");
        at = pool.next.get();
    }
    Ok(())
}
