//! Instructions and exceptions that are answered here, and exits that stop the VM.

use super::*;

#[test]
fn cpuid_shows_the_policy() {
    let (mut fake, mut vcpu) = multiboot();
    let resume = resume(vcpu.answer(&mut fake, &cpuid(0x4000_0000), READY));
    assert_eq!(
        get(&resume, Register::Rbx),
        Some(u64::from(u32::from_le_bytes(*b"Umbr")))
    );
    assert_eq!(get(&resume, Register::Rip), Some(0x102));
}

#[test]
fn an_unknown_msr_raises() {
    let (mut fake, mut vcpu) = multiboot();
    let resume = resume(vcpu.answer(&mut fake, &read_msr(0x2fe), READY));
    assert_eq!(get(&resume, Register::Event), Some(GP));
}

#[test]
fn the_guests_tsc_starts_at_zero() {
    let mut fake = Fake::new();
    let (mut vcpu, registers) = Vcpu::new(&MULTIBOOT, 1000, 64 << 20, &fake);
    assert_eq!(
        registers.get(Register::TscOffset),
        1_000_000u64.wrapping_neg()
    );
    fake.tsc.set(1_000_005);
    let resume = resume(vcpu.answer(&mut fake, &read_msr(0x10), READY));
    assert_eq!(get(&resume, Register::Rax), Some(5));
    assert_eq!(get(&resume, Register::Rdx), Some(0));
}

#[test]
fn svm_instructions_are_undefined_and_cache_flushes_are_nothing() {
    let (mut fake, mut vcpu) = linux();
    let undefined = resume(vcpu.answer(&mut fake, &instruction(0x80, 3, 0x100), READY));
    assert_eq!(get(&undefined, Register::Event), Some(UD));
    let skipped = resume(vcpu.answer(&mut fake, &instruction(0x89, 3, 0x100), READY));
    assert_eq!(get(&skipped, Register::Rip), Some(0x103));
}

#[test]
fn a_task_switch_by_hardware_stops_the_vm_with_a_clear_word() {
    // As the kernel sends it, length known or not, and whatever was being delivered through a task gate.
    for (len, delivering) in [(0, false), (2, false), (0, true)] {
        let (mut fake, mut vcpu) = multiboot();
        let sent = Exit::Instruction {
            len,
            code: 0x7d,
            rip: 0x100,
            info1: 0x28,
            info2: 1 << 36,
        };
        let status = Status {
            event_in_delivery: delivering,
            ..READY
        };
        let label = ExitClass::Instruction as u64;
        let (exit, status) = Exit::decode(label, sent.encode(status)).expect("an exit");
        let Answer::Stop(stopped) = vcpu.answer(&mut fake, &exit, status) else {
            panic!("the VM went on")
        };
        assert_eq!(
            (stopped.reason, stopped.value),
            (Stop::UnknownExit, 0x7d),
            "{len}"
        );
        assert!(stopped.what.contains("task switch"), "{}", stopped.what);
        assert!(fake.asked.is_empty(), "nobody is asked for anything");
    }
}

#[test]
fn exits_without_an_answer_stop_the_vm_and_say_which() {
    let (mut fake, mut vcpu) = linux();
    let verdict = vcpu.answer(&mut fake, &instruction(0x7e, 3, 0x100), READY);
    assert_eq!(stopped(verdict), (Stop::UnknownExit, 0x7e));
    let exit = Exit::Invalid { code: !0, rip: 0 };
    let verdict = vcpu.answer(&mut fake, &exit, READY);
    assert_eq!(stopped(verdict).0, Stop::InvalidState);
    let exit = Exit::FormatBroken {
        found: 5,
        installed_page: 6,
    };
    let verdict = vcpu.answer(&mut fake, &exit, READY);
    assert_eq!(stopped(verdict), (Stop::FormatBroken, 5));
    let exit = Exit::Shutdown { rip: 9, event: 0 };
    let verdict = vcpu.answer(&mut fake, &exit, READY);
    assert_eq!(stopped(verdict).0, Stop::TripleFault);
}

#[test]
fn intercepted_exceptions_go_back_to_the_guest() {
    let (mut fake, mut vcpu) = linux();
    let alignment = Exit::Exception {
        vector: 17,
        code: 0,
        rip: 0,
        dr6: 0,
        event: 0,
    };
    let resume = resume(vcpu.answer(&mut fake, &alignment, READY));
    assert_eq!(get(&resume, Register::Event), Some(0x8000_0b11));
}

#[test]
fn an_instruction_out_of_the_shadows_sight_is_filled_in_and_run_again() {
    let mut fake = Fake::new().with(Register::CsBase, 0x10000);
    let mut vcpu = start(&MULTIBOOT, &fake);
    let exit = Exit::Cpuid {
        len: 0,
        rip: 0xff8,
        leaf: 0,
        subleaf: 0,
    };
    let verdict = vcpu.answer(&mut fake, &exit, READY);
    assert!(resume(verdict).registers().mask().is_empty());
    let addresses: Vec<u64> = fake
        .asked
        .iter()
        .map(|asked| match asked {
            Asked::Fault([_, gva, _]) => *gva,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(addresses, [0x10ff8, 0x11000]);
    let last = (0..40).map(|_| vcpu.answer(&mut fake, &exit, READY)).last();
    assert_eq!(stopped(last.unwrap()), (Stop::DomainFailed, 0));
}

#[test]
fn an_instruction_carried_out_here_is_a_step_of_a_guest_that_steps() {
    let mut fake = Fake::new().with(Register::Dr6, 0xffff_0ff1);
    let mut vcpu = start(&LINUX, &fake);
    let cpuid = cpuid(0);
    let plain = resume(vcpu.answer(&mut fake, &cpuid, READY));
    assert_eq!(get(&plain, Register::Event), None);
    let stepped = resume(vcpu.answer(&mut fake, &cpuid, STEPPING));
    assert_eq!(get(&stepped, Register::Rip), Some(0x102));
    assert_eq!(get(&stepped, Register::Event), Some(DB));
    assert_eq!(get(&stepped, Register::Dr6), Some(0xffff_4ff0));
    // A fault is no step.
    let faulted = resume(vcpu.answer(&mut fake, &read_msr(0xdead), STEPPING));
    assert_eq!(get(&faulted, Register::Event), Some(GP));
}

#[test]
fn debug_registers_go_by_their_rules() {
    let mut fake = Fake::new().with(Register::Dr7, 0x400);
    let mut vcpu = start(&LINUX, &fake);
    let dr = |write, value| Exit::Dr {
        len: 3,
        number: 7,
        gpr: 2,
        write,
        rip: 0,
        value,
    };
    let read = resume(vcpu.answer(&mut fake, &dr(false, 0), READY));
    assert_eq!(get(&read, Register::Rdx), Some(0x400));
    let written = resume(vcpu.answer(&mut fake, &dr(true, 1), READY));
    assert_eq!(get(&written, Register::Dr7), Some(0x401));
    let refused = resume(vcpu.answer(&mut fake, &dr(true, 1 << 32), READY));
    assert_eq!(get(&refused, Register::Event), Some(GP));
}
