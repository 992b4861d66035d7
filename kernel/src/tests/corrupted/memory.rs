//! Damages to what lies where.

use super::Damage;
use super::system::{SPARE, System};
use crate::cap::Cap;
use crate::mem::Ref;
use crate::slot;
use crate::tests::invariants::Complaint;

pub const DAMAGES: &[Damage] = &[
    (Complaint::ReachesOver, |s| {
        let mut cap = s.cap(s.untyped);
        if let Cap::Untyped { base, .. } = &mut cap {
            *base += 64;
        }
        add(s, cap);
    }),
    (Complaint::InsideObject, |s| {
        let object = Ref::at(s.ready.tcb.bits() + 64);
        let grant = true;
        add(s, Cap::Reply { object, grant });
    }),
    (Complaint::SeveralObjects, |s| {
        let frame = Cap::Frame {
            base: s.space().bits(),
            size: 0,
            device: false,
            rights: 3,
            mapping: None,
        };
        add(s, frame);
    }),
];

/// Another capability, derived from nothing.
fn add(s: &System, cap: Cap) {
    slot::insert_root(cap, s.slot(SPARE));
}
