//! A shadow pool's pages of the current epoch (I1, I2): links are counted and lead one level down inside the pool, leaves
//! are what the space grants, roots live.

use super::addresses::Spread;
use super::complaint::{Check, complain, ensure};
use super::tables::{Granted, present};
use crate::cap::frame_bits;
use crate::mem::Ref;
use crate::object::{ShadowPool, Vcpu};
use sel4_abi::label::LEVEL_PAE_ROOT;
use std::collections::HashMap;
use words::x86::pte;

/// Bits that a PDPTE has not: R/W, U/S, 5 to 8 (APM vol. 2, 5.2.3).
const NOT_IN_PDPTE: u64 = 0x1e6;

pub fn check(pool: Ref<ShadowPool>, members: &[Ref<Vcpu>], granted: &[Granted]) -> Check {
    let mut links: HashMap<u64, u32, Spread> = HashMap::default();
    let live = || (0..pool.usable()).filter(|&index| is_live(pool, index));
    for index in live() {
        for (slot, value) in present(&pool.page(index).0, u64::MAX) {
            if let Some(child) = entry(pool, index, slot, value, granted)? {
                *links.entry(child).or_default() += 1;
            }
        }
    }
    for index in live() {
        let links = links.get(&index).copied().unwrap_or(0);
        counts(pool, index, members, links)?;
    }
    for &vcpu in members {
        if let Some(root) = vcpu.root.get() {
            ensure!(is_live(pool, root), RootStale, "{vcpu:?}: {root}");
        }
    }
    Ok(())
}

fn is_live(pool: Ref<ShadowPool>, index: u64) -> bool {
    index < pool.usable() && pool.state(index).epoch.get() == pool.epoch.get()
}

/// Answers the page that the entry links, if it is no leaf.
fn entry(
    pool: Ref<ShadowPool>,
    index: u64,
    slot: usize,
    value: u64,
    granted: &[Granted],
) -> Check<Option<u64>> {
    let level = pool.state(index).level.get();
    let place = format_args!("page {index} slot {slot}: {value:#x}");
    ensure!(value & pte::P != 0, EntryNotPresent, "{place}");
    let is_root = u64::from(level) == LEVEL_PAE_ROOT;
    ensure!(!is_root || slot < 4, PaeEntries, "{place}");
    ensure!(!is_root || value & NOT_IN_PDPTE == 0, PaeRights, "{place}");
    let is_link = is_root || (level > 1 && value & pte::PS == 0);
    if !is_link {
        ensure!((1..=3).contains(&level), LeafLevel, "{place}");
        let bytes = 1 << frame_bits(level - 1);
        let base = value & pte::ADDRESS & !(bytes - 1);
        let may = |frame: &Granted| frame.grants(base, bytes, value & pte::RW != 0);
        ensure!(granted.iter().any(may), LeafNotGranted, "{place}");
        let odd = value & (pte::PWT | pte::PCD | pte::G);
        ensure!(odd == 0, LeafBits, "{place}");
        return Ok(None);
    }
    let Some(child) = page_at(pool, value & pte::ADDRESS) else {
        complain!(LinkOutside, "{place}");
    };
    ensure!(is_live(pool, child), LinkStale, "{place}");
    let below = if is_root { 2 } else { level - 1 };
    let down = pool.state(child).level.get() == below;
    ensure!(down, LinkLevel, "{place}");
    Ok(Some(child))
}

/// The index of the page at this address, if the pool has it.
fn page_at(pool: Ref<ShadowPool>, hpa: u64) -> Option<u64> {
    let index = hpa.checked_sub(pool.page(0).bits())? / 4096;
    (index < pool.usable()).then_some(index)
}

/// The page's counts, against the links to it and the vCPUs that have it as root.
fn counts(pool: Ref<ShadowPool>, index: u64, members: &[Ref<Vcpu>], links: u32) -> Check {
    let state = pool.state(index);
    let counted = state.links.get();
    ensure!(
        counted == links,
        LinkCount,
        "page {index}: {counted}, not {links}"
    );
    let is_root = |vcpu: &&Ref<Vcpu>| vcpu.root.get() == Some(index);
    let roots = members.iter().filter(is_root).count();
    let counted = usize::from(state.roots.get());
    ensure!(
        counted == roots,
        RootCount,
        "page {index}: {counted}, not {roots}"
    );
    Ok(())
}
