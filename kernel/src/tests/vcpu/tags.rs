//! TLB tags: when a vCPU gets a fresh one, when everything is flushed, and what one address costs.

use super::{Machine, real_mode};
use crate::tests::world::Answer;
use exit_abi::ExitClass;
use sel4_abi::{Error, label};
use words::svm::{exit, vmcb};

#[test]
fn a_flush_gives_a_fresh_tag_and_running_out_of_tags_flushes_everything() {
    let mut machine = real_mode();
    machine.guest.world.kernel.machine.svm.asids = 4;
    machine.start();
    let tag = |machine: &Machine| machine.read(vmcb::ASID) as u32;
    let control = |machine: &Machine| machine.read(vmcb::ASID) >> 32 & 0xff;
    assert_eq!((tag(&machine), control(&machine)), (1, 0));
    let mut seen = Vec::new();
    for _ in 0..7 {
        let vcpu = machine.guest.world.vcpu(machine.guest.vcpu);
        vcpu.flush.set(true);
        machine.exit(exit::INTR);
        seen.push((tag(&machine), control(&machine)));
        // Without a reason the tag stays, and nothing is flushed.
        machine.exit(exit::INTR);
        assert_eq!(
            (tag(&machine), control(&machine)),
            (seen.last().expect("just pushed").0, 0)
        );
    }
    assert_eq!(
        seen,
        [(2, 0), (3, 0), (1, 1), (2, 0), (3, 0), (1, 1), (2, 0)]
    );
}

#[test]
fn a_whole_flush_that_vmrun_did_not_get_to_is_done_by_the_next_one() {
    let mut machine = real_mode();
    machine.guest.world.kernel.machine.svm.asids = 2;
    machine.start();
    machine.guest.world.vcpu(machine.guest.vcpu).flush.set(true);
    machine.exit(exit::INTR);
    assert_eq!(machine.read(vmcb::ASID) >> 32 & 0xff, 1);
    machine.exit(u64::MAX);
    machine.expect_exit(ExitClass::Invalid);
    machine.answer(&[]);
    assert_eq!(machine.read(vmcb::ASID) >> 32 & 0xff, 1, "still due");
    machine.exit(exit::INTR);
    assert_eq!(machine.read(vmcb::ASID) >> 32 & 0xff, 0);
}

#[test]
fn one_address_is_invalidated_under_the_present_tag_unless_a_fresh_one_is_due() {
    let mut machine = real_mode();
    let invalidate =
        |machine: &mut Machine| machine.guest.ask(label::POOL_INVALIDATE, &[1, 0x7000]).ok();
    invalidate(&mut machine);
    assert!(
        machine.guest.world.kernel.machine.invlpga.is_empty(),
        "never ran: nothing to invalidate"
    );
    let vcpu = machine.guest.world.vcpu(machine.guest.vcpu);
    assert!(machine.guest.world.kernel.vcpu_prepare(vcpu).is_some());
    invalidate(&mut machine);
    assert_eq!(machine.guest.world.kernel.machine.invlpga, [(0x7000, 1)]);
    machine.guest.ask(label::POOL_INVALIDATE, &[0]).ok();
    invalidate(&mut machine);
    assert_eq!(machine.guest.world.kernel.machine.invlpga.len(), 1);
    assert_eq!(
        machine.guest.ask(label::POOL_INVALIDATE, &[2]),
        Answer::error(Error::InvalidArgument, &[0])
    );
    assert_eq!(
        machine.guest.ask(label::POOL_INVALIDATE, &[1]),
        Answer::error(Error::TruncatedMessage, &[])
    );
}
