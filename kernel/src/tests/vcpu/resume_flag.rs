//! The resume flag: a fault that waits adds it to the guest's RFLAGS, and takes it back with itself.

use super::{Machine, real_mode};
use exit_abi::{Exit, ExitClass, Register};
use words::svm::{event, exit, vmcb};
use words::x86::{rflags, vector};

/// Whether the guest goes on with RFLAGS.RF set.
fn resumes(machine: &Machine) -> bool {
    machine.read(vmcb::RFLAGS) & rflags::RF != 0
}

#[test]
fn a_fault_goes_into_the_guest_with_the_resume_flag_and_nothing_else_does() {
    let (flags, event) = (Register::Rflags.bit(), Register::Event.bit());
    let mut machine = real_mode();
    machine.start();
    for (word, fault) in [
        (event::exception(6), true),
        (event::exception_with_code(13, 4), true),
        (event::exception_with_code(14, 2), true),
        (event::exception(1), false),
        (event::exception(3), false),
        (event::exception_with_code(8, 0), false),
        (event::interrupt(14), false),
        (event::VALID | event::TYPE_NMI | 2, false),
        (0, false),
    ] {
        machine.exit(exit::CPUID);
        // RFLAGS of the same reply stand below what the fault adds.
        machine.answer(&[flags | event, 0x202, word]);
        assert_eq!(resumes(&machine), fault, "{word:#x}");
        assert_eq!(machine.read(vmcb::EVENTINJ), word);
    }
}

#[test]
fn a_fault_whose_delivery_was_broken_off_still_has_the_resume_flag() {
    let mut machine = real_mode();
    machine.start();
    for (word, fault) in [
        (event::exception_with_code(13, 4), true),
        (event::interrupt(0x21), false),
    ] {
        machine.write(vmcb::RFLAGS, 0x202);
        machine.write(vmcb::EXITINTINFO, word);
        machine.exit(exit::INTR);
        assert_eq!(machine.read(vmcb::EVENTINJ), word);
        assert_eq!(resumes(&machine), fault, "{word:#x}");
    }
}

/// A fault, and RFLAGS without and with the guest's own RF.
const FAULT: u64 = event::exception_with_code(13, 4);

const FLAGS: [(u64, bool); 2] = [(0x202, false), (0x1_0202, true)];

#[test]
fn a_fault_that_is_taken_back_leaves_the_resume_flag_as_the_guest_has_it() {
    for (flags, own) in FLAGS {
        for instead in [0, event::interrupt(0x21)] {
            let mut machine = real_mode();
            machine
                .set(&[(Register::Rflags, flags), (Register::Event, FAULT)])
                .ok();
            assert!(resumes(&machine));
            machine.set(&[(Register::Event, instead)]).ok();
            assert_eq!(resumes(&machine), own, "{flags:#x} {instead:#x}");
            // Once it is back to the guest's own, nothing more is taken.
            machine.set(&[(Register::Rflags, 0x1_0202)]).ok();
            machine.set(&[(Register::Event, 0)]).ok();
            assert!(resumes(&machine));
        }
    }
}

#[test]
fn flags_written_while_a_fault_waits_are_below_what_it_adds() {
    for (flags, own) in FLAGS {
        let mut machine = real_mode();
        machine.set(&[(Register::Event, FAULT)]).ok();
        machine.set(&[(Register::Rflags, flags)]).ok();
        assert!(resumes(&machine));
        machine.set(&[(Register::Event, 0)]).ok();
        assert_eq!(resumes(&machine), own, "{flags:#x}");
    }
}

#[test]
fn another_fault_in_place_of_one_that_waits_is_taken_back_as_well() {
    let mut machine = real_mode();
    machine.set(&[(Register::Event, FAULT)]).ok();
    machine.set(&[(Register::Event, event::exception(6))]).ok();
    assert!(resumes(&machine));
    machine.set(&[(Register::Event, 0)]).ok();
    assert!(!resumes(&machine));
}

#[test]
fn a_fault_whose_delivery_was_broken_off_is_told_with_the_guests_own_resume_flag() {
    for (flags, own) in FLAGS {
        let mut machine = real_mode();
        machine
            .set(&[(Register::Rflags, flags), (Register::Event, FAULT)])
            .ok();
        machine.start();
        machine.write(vmcb::EXITINTINFO, FAULT);
        machine.exit(exit::EXCEPTION + u64::from(vector::PF));
        machine.expect_exit(ExitClass::Paging);
        assert_eq!(resumes(&machine), own, "{flags:#x}");
        machine.answer(&[Register::Event.bit(), event::exception_with_code(8, 0)]);
        assert_eq!(resumes(&machine), own, "{flags:#x}");
    }
}

#[test]
fn a_fault_that_was_delivered_takes_nothing_of_the_guests_resume_flag_with_it() {
    let mut machine = real_mode();
    machine.set(&[(Register::Event, FAULT)]).ok();
    machine.start();
    // Delivered; its handler returned to an instruction with RF, which exits.
    machine.write(vmcb::RFLAGS, 0x1_0202);
    machine.exit(exit::CPUID);
    machine.answer(&[Register::Event.bit(), 0]);
    assert!(resumes(&machine));
}

#[test]
fn an_exit_tells_of_the_resume_flag() {
    let mut machine = real_mode();
    machine.start();
    for (flags, told) in [(0x1_0002, true), (2, false)] {
        machine.write(vmcb::RFLAGS, flags);
        machine.exit(exit::CPUID);
        let words = machine.expect_exit(ExitClass::Cpuid);
        let words = [words[0], words[1], words[2], 0];
        let (_, status) = Exit::decode(ExitClass::Cpuid as u64, words).expect("an exit");
        assert_eq!(status.resume_flag, told);
        machine.answer(&[]);
    }
}
