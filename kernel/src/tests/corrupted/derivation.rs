//! Damages to the derivation lists.

use super::Damage;
use super::system::{SPARE, System};
use crate::cap::Cap;
use crate::mem::Ref;
use crate::tests::invariants::Complaint;
use core::cell::Cell;
use sel4_abi::Rights;

pub const DAMAGES: &[Damage] = &[
    (Complaint::EmptySlotLinked, |s| {
        s.word(SPARE, 2).set(s.slot(s.endpoint).bits());
    }),
    (Complaint::NextEmpty, |s| {
        last_next(s).set(s.slot(SPARE).bits());
    }),
    (Complaint::NextPointsElsewhere, |s| {
        last_next(s).set(s.slot(1).bits());
    }),
    (Complaint::PreviousPointsElsewhere, |s| {
        s.word(s.g.world.memory, 2).set(s.slot(s.minted).bits());
    }),
    (Complaint::InNoList, |s| {
        for (a, b) in [(SPARE, SPARE + 1), (SPARE + 1, SPARE)] {
            s.slot(a).set_cap(Cap::DomainSet);
            s.word(a, 2).set(s.slot(b).bits());
            s.word(a, 3).set(s.slot(b).bits());
        }
    }),
    (Complaint::DescendantsApart, |s| {
        let minted = s.slot(s.minted);
        let other = minted.next().expect("an older object");
        let caps = (minted.cap(), other.cap());
        minted.set_cap(caps.1);
        other.set_cap(caps.0);
    }),
    (Complaint::RightsGrew, |s| {
        let mut cap = s.cap(s.endpoint);
        if let Cap::Endpoint { rights, .. } = &mut cap {
            *rights = Rights::new(1);
        }
        s.slot(s.endpoint).set_cap(cap);
    }),
    (Complaint::KindOfMemoryChanged, |s| {
        let mut cap = s.cap(s.untyped);
        if let Cap::Untyped { device, .. } = &mut cap {
            *device = true;
        }
        s.slot(s.untyped).set_cap(cap);
    }),
    (Complaint::AboveWatermark, |s| set_watermark(s, 0)),
    (Complaint::WatermarkOutside, |s| set_watermark(s, 257)),
];

/// Moves the untyped's watermark to so many units of 16 bytes.
fn set_watermark(s: &System, units: u64) {
    let mut cap = s.cap(s.untyped);
    if let Cap::Untyped { free, .. } = &mut cap {
        *free = units;
    }
    s.slot(s.untyped).set_cap(cap);
}

/// Where the last slot of a derivation list says that there is none after it.
fn last_next(s: &System) -> Ref<Cell<u64>> {
    let mut last = s.slot(s.minted);
    while let Some(next) = last.next() {
        last = next;
    }
    Ref::at(last.bits() + 24)
}
