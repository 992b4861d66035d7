//! The checks of the invariants are checked: a sound system is damaged in one place, and the damage is told.

mod contexts;
mod derivation;
mod memory;
mod pages;
mod pools;
mod replies;
mod scheduler;
mod spaces;
mod system;
mod threads;
mod vcpus;
mod waiters;

use super::invariants::{Checker, Complaint};
use system::System;

/// What must be said, and the damage.
type Damage = (Complaint, fn(&mut System));

/// The damages to what the checker's file of the same name looks at.
const ALL: [&[Damage]; 11] = [
    derivation::DAMAGES,
    memory::DAMAGES,
    scheduler::DAMAGES,
    threads::DAMAGES,
    waiters::DAMAGES,
    contexts::DAMAGES,
    replies::DAMAGES,
    spaces::DAMAGES,
    vcpus::DAMAGES,
    pools::DAMAGES,
    pages::DAMAGES,
];

#[test]
fn every_damage_is_told() {
    for (complaint, damage) in ALL.into_iter().flatten() {
        let mut system = System::new();
        system.world().check();
        damage(&mut system);
        let w = system.world();
        match Checker::new(w.slot(0), 1024).check(&w.kernel) {
            Err(broken) if broken.complaint == *complaint => {}
            other => panic!("{other:?} instead of {complaint:?}"),
        }
    }
}

#[test]
fn every_complaint_has_a_damage() {
    let damaged = |complaint| ALL.into_iter().flatten().any(|(made, _)| made == complaint);
    let never: Vec<_> = Complaint::ALL
        .iter()
        .filter(|&made| !damaged(made))
        .collect();
    assert!(never.is_empty(), "no damage makes {never:?}");
}
