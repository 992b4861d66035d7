//! A vCPU runs with the root it was given and of the format its mode wants, or exits.

use super::{Machine, long_mode, real_mode};
use crate::machine::Next;
use crate::object::tcb::State;
use crate::tests::shadow::Guest;
use exit_abi::{ExitClass, Register};
use sel4_abi::label::{self, LEVEL_PAE_ROOT};
use words::svm::{exit, vmcb};
use words::x86::efer;

#[test]
fn a_vcpu_with_a_fitting_root_runs() {
    for make in [real_mode, long_mode] {
        let mut machine = make();
        let next = machine.start();
        let vcpu = machine.guest.world.vcpu(machine.guest.vcpu);
        assert!(
            matches!(next, Next::Guest { vmcb, .. } if vmcb == vcpu.hpa()),
            "{next:?}"
        );
        machine.guest.world.check();
    }
}

#[test]
fn a_vcpu_without_root_exits_with_no_root_and_runs_once_it_has_one() {
    let mut machine = Machine::new(Guest::new());
    machine.start();
    let words = machine.expect_exit(ExitClass::NoRoot);
    assert_eq!(words.len(), 4);
    assert_eq!(words[1], 0xfff0);
    let next = machine.answer(&[]);
    assert!(matches!(next, Next::User { .. }));
    machine.expect_exit(ExitClass::NoRoot);
    machine.guest.world.check();
}

#[test]
fn changing_long_mode_drops_the_root_and_a_root_of_the_other_format_is_none() {
    let mut machine = real_mode();
    machine.set(&[(Register::Efer, efer::LMA | efer::LME)]).ok();
    assert_eq!(
        machine.guest.world.vcpu(machine.guest.vcpu).root.get(),
        None
    );
    // A PAE root for a long-mode guest does not count.
    machine.guest.set_root(8).ok();
    machine.start();
    machine.expect_exit(ExitClass::NoRoot);
    let mut machine = long_mode();
    machine.set(&[(Register::Efer, efer::LME)]).ok();
    machine.guest.set_root(0).ok();
    machine.start();
    machine.expect_exit(ExitClass::NoRoot);
}

#[test]
fn bits_of_efer_that_do_not_change_the_format_keep_the_root() {
    let mut machine = long_mode();
    machine
        .set(&[(
            Register::Efer,
            efer::LMA | efer::LME | efer::SCE | efer::NXE,
        )])
        .ok();
    assert_eq!(
        machine.guest.world.vcpu(machine.guest.vcpu).root.get(),
        Some(0)
    );
}

#[test]
fn a_root_that_is_not_the_installed_one_stops_the_vm() {
    let mut machine = real_mode();
    machine.start();
    machine.write(vmcb::CR3, 0x1234_5000);
    machine.exit(exit::HLT);
    let words = machine.expect_exit(ExitClass::FormatBroken);
    assert_eq!(words[1..3], [0x1234_5000, 8]);
    // What was found is not run again when the handler goes on all the same.
    machine.answer(&[0]);
    assert_ne!(machine.read(vmcb::CR3), 0x1234_5000);
    assert_eq!(machine.read(vmcb::EVENTINJ), 0);
}

#[test]
fn deleting_a_vcpu_stops_its_thread() {
    let mut machine = real_mode();
    let w = &mut machine.guest.world;
    w.call(machine.guest.vcpu, label::VCPU_RUN, &[], &[]).ok();
    assert_eq!(w.state(machine.thread), State::Restart);
    w.delete(machine.guest.vcpu);
    assert_eq!(w.state(machine.thread), State::Inactive);
    assert_eq!(machine.guest.ask(label::POOL_INFO, &[]).ok()[2], u64::MAX);
    machine
        .guest
        .ask(label::POOL_RESET, &[8, LEVEL_PAE_ROOT, 4, 5, 6, 7])
        .ok();
    machine.guest.world.check();
}
