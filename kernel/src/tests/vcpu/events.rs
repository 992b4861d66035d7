//! Events given to a guest and taken from it, and exits that say the processor refused or began something.

use super::{Machine, long_mode, real_mode};
use crate::machine::Next;
use crate::tests::world::Answer;
use exit_abi::{Exit, ExitClass, Register};
use sel4_abi::Error;
use words::svm::{event, exit, vmcb};

#[test]
fn an_event_no_processor_takes_makes_the_vcpu_exit_as_invalid() {
    let software = event::VALID | event::TYPE_SOFT | 0x80;
    let mut machine = real_mode();
    let bit = u64::from(Register::Event as u8);
    for word in [
        software,
        event::exception(2),
        event::exception(31),
        event::VALID | 7 << 8,
    ] {
        assert_eq!(
            machine.set(&[(Register::Event, word)]),
            Answer::error(Error::RangeError, &[bit, bit])
        );
    }
    machine.start();
    for word in [software, event::exception(31)] {
        machine.exit(exit::CPUID);
        machine.expect_exit(ExitClass::Cpuid);
        machine.answer(&[Register::Event.bit(), word]);
        machine.expect_exit(ExitClass::Invalid);
        assert!(matches!(machine.answer(&[]), Next::Guest { .. }));
    }
    // So does a mask that promises more values than there are.
    for words in [
        &[Register::IretIntercept.bit()][..],
        &[Register::Rip.bit() | Register::Rax.bit(), 1][..],
    ] {
        machine.exit(exit::CPUID);
        machine.expect_exit(ExitClass::Cpuid);
        machine.answer(words);
        machine.expect_exit(ExitClass::Invalid);
        machine.answer(&[]);
    }
    machine.exit(exit::CPUID);
    let next = machine.answer(&[Register::Event.bit(), event::exception_with_code(13, 4)]);
    assert!(matches!(next, Next::Guest { .. }));
    assert_eq!(
        machine.read(vmcb::EVENTINJ),
        event::exception_with_code(13, 4)
    );
    machine.guest.world.check();
}

#[test]
fn a_state_the_processor_refuses_is_an_invalid_exit() {
    let mut machine = real_mode();
    machine.start();
    machine.exit(u64::MAX);
    let words = machine.expect_exit(ExitClass::Invalid);
    assert_eq!(words[0] & 0xffff_ffff, 0xffff_ffff);
}

#[test]
fn an_interrupted_event_is_injected_again_by_the_kernel() {
    let mut machine = real_mode();
    machine.start();
    machine.write(vmcb::EXITINTINFO, event::interrupt(0x21));
    let next = machine.exit(exit::INTR);
    assert!(matches!(next, Next::Guest { .. }));
    assert_eq!(machine.read(vmcb::EVENTINJ), event::interrupt(0x21));
    // With an exit for the server the word goes there instead.
    machine.exit(exit::EXCEPTION + 14);
    let words = machine.expect_exit(ExitClass::Paging);
    assert_eq!(words[3], event::interrupt(0x21));
    assert_eq!(machine.read(vmcb::EVENTINJ), 0);
}

#[test]
fn a_task_switch_by_hardware_is_told_to_the_server_by_its_code_and_nothing_of_it_happens() {
    for make in [real_mode, long_mode] {
        let mut machine = make();
        machine.start();
        let unchanged = |machine: &Machine| {
            [vmcb::RIP, vmcb::CR3, vmcb::TR, vmcb::EVENTINJ].map(|field| machine.read(field))
        };
        let before = unchanged(&machine);
        // The selector of the new TSS; a JMP, and an error code to push (APM vol. 2, 15.14.1).
        machine.write(vmcb::EXITINFO1, 0x28);
        machine.write(vmcb::EXITINFO2, 1 << 36 | 1 << 44 | 7);
        machine.exit(exit::TASK_SWITCH);
        let words = machine.expect_exit(ExitClass::Instruction);
        let words = words.try_into().expect("four words");
        let (told, _) = Exit::decode(ExitClass::Instruction as u64, words).expect("an exit");
        let Exit::Instruction { code, rip, .. } = told else {
            panic!("{told:?}")
        };
        assert_eq!((u64::from(code), rip), (exit::TASK_SWITCH, before[0]));
        assert_eq!(unchanged(&machine), before);
        // The server that stops the VM does not answer: the guest does not run on.
        machine.guest.world.check();
    }
}
