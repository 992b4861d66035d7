//! Damages to the pages of a shadow pool.

use super::Damage;
use super::system::{LEVEL_1, LEVEL_2, LEVEL_4, PAE_ROOT, STALE, System};
use crate::tests::invariants::Complaint;
use words::x86::pte;

pub const DAMAGES: &[Damage] = &[
    (Complaint::EntryNotPresent, |s| {
        s.entry(LEVEL_1, 9).set(pte::RW);
    }),
    (Complaint::PaeEntries, |s| {
        s.entry(PAE_ROOT, 4).set(s.entry(PAE_ROOT, 3).get());
    }),
    (Complaint::PaeRights, |s| add(s, PAE_ROOT, pte::RW)),
    (Complaint::LinkOutside, |s| {
        s.entry(LEVEL_2, 5).set(s.pool().bits() | pte::P);
    }),
    (Complaint::LinkOutside, |s| link(s, s.pool().usable())),
    (Complaint::LinkStale, |s| link(s, STALE)),
    (Complaint::LinkLevel, |s| link(s, LEVEL_4)),
    (Complaint::LeafLevel, |s| {
        s.entry(LEVEL_4, 5).set(pte::P | pte::PS);
    }),
    (Complaint::LeafLevel, |s| {
        s.pool().state(LEVEL_4).level.set(0);
    }),
    (Complaint::LeafNotGranted, |s| {
        s.entry(LEVEL_1, 5)
            .set(s.ready.tcb.bits() & pte::ADDRESS | pte::P);
    }),
    (Complaint::LeafNotGranted, |s| {
        let base = s.g.world.frame(s.g.frames[1]);
        s.entry(LEVEL_1, 5).set(base | pte::P | pte::RW);
    }),
    (Complaint::LeafBits, |s| add(s, LEVEL_1, pte::PWT)),
    (Complaint::LeafBits, |s| add(s, LEVEL_1, pte::PCD)),
    (Complaint::LeafBits, |s| add(s, LEVEL_1, pte::G)),
    (Complaint::LinkCount, |s| {
        s.pool().state(LEVEL_2).links.set(2)
    }),
    (Complaint::RootCount, |s| {
        s.pool().state(LEVEL_4).roots.set(0)
    }),
    (Complaint::RootStale, |s| root(s, STALE)),
    (Complaint::RootStale, |s| root(s, s.pool().usable())),
];

/// More bits in the page's first entry.
fn add(s: &System, page: u64, bits: u64) {
    let entry = s.entry(page, 0);
    entry.set(entry.get() | bits);
}

/// Links a page from one of level 2.
fn link(s: &System, child: u64) {
    let child = s.pool().page(child).bits();
    s.entry(LEVEL_2, 5).set(child | pte::P | pte::RW | pte::US);
}

/// The vCPU's root is another page, and no longer counted where it was.
fn root(s: &System, page: u64) {
    s.vcpu().root.set(Some(page));
    s.pool().state(LEVEL_4).roots.set(0);
}
