//! Non-maskable interrupts, which this guest sends itself.

use super::*;

const NMI: u64 = 0x8000_0202;
const IRET: u64 = 0x4000;
const DEBUG: u8 = 1;

/// mov [rbx], eax at 0x100: an NMI by the local APIC's command register.
fn send_nmi(vcpu: &mut Vcpu, status: Status) -> Resume {
    let mut fake = Fake::new()
        .with(Register::Rip, 0x100)
        .with(Register::Rax, 0x4400)
        .with(Register::Rbx, 0xfee0_0300)
        .with(Register::Cs, 0x0a9b_0010);
    fake.code = vec![0x89, 0x03];
    fake.faults.push_back(Outcome::Device {
        gpa: Gpa::new(0xfee0_0300),
        access: 2,
    });
    resume(vcpu.answer(&mut fake, &fault_at(0xfee0_0300, 2, 0), status))
}

fn iret(vcpu: &mut Vcpu, fake: &mut Fake, status: Status) -> Resume {
    resume(vcpu.answer(fake, &instruction(0x74, 0, IRET), status))
}

fn debug_exit(dr6: u64) -> Exit {
    Exit::Exception {
        vector: DEBUG,
        code: 0,
        rip: 0,
        dr6,
        event: 0,
    }
}

/// A guest that stands at `rip` with these flags.
fn guest(rip: u64, flags: u64) -> Fake {
    Fake::new()
        .with(Register::Rip, rip)
        .with(Register::Rflags, flags)
        .with(Register::Dr6, 0xffff_0ff0)
}

#[test]
fn an_nmi_is_taken_with_interrupts_off_and_its_iret_is_watched() {
    let mut vcpu = start(&LINUX, &Fake::new());
    let resume = send_nmi(&mut vcpu, MASKED);
    assert_eq!(get(&resume, Register::Event), Some(NMI));
    assert_eq!(get(&resume, Register::IretIntercept), Some(1));
    assert_eq!(get(&resume, Register::Rip), Some(0x102));
}

#[test]
fn the_next_one_waits_until_iret_is_done_and_comes_before_the_next_instruction() {
    let mut vcpu = start(&LINUX, &Fake::new());
    send_nmi(&mut vcpu, MASKED);
    for _ in 0..10 {
        let nested = send_nmi(&mut vcpu, MASKED);
        assert_eq!(get(&nested, Register::Event), None);
        assert_eq!(get(&nested, Register::Window), None);
    }
    let at_iret = iret(&mut vcpu, &mut guest(IRET, 0x2), MASKED);
    assert_eq!(get(&at_iret, Register::IretIntercept), Some(0));
    assert_eq!(get(&at_iret, Register::Rflags), Some(0x102));
    assert_eq!(get(&at_iret, Register::Rip), None);
    assert_eq!(get(&at_iret, Register::Event), None);
    // The step is nobody's: neither DR6 nor TF shows it.
    let mut fake = guest(0x5000, 0x202);
    let behind = resume(vcpu.answer(&mut fake, &debug_exit(0xffff_4ff0), READY));
    assert_eq!(get(&behind, Register::Event), Some(NMI));
    assert_eq!(get(&behind, Register::Dr6), Some(0xffff_0ff0));
    assert_eq!(get(&behind, Register::Rflags), None);
    assert_eq!(get(&behind, Register::IretIntercept), Some(1));
    // Ten of them were one.
    let last = iret(&mut vcpu, &mut guest(IRET, 0x2), MASKED);
    assert_eq!(get(&last, Register::Rflags), None);
    let after = resume(vcpu.answer(&mut guest(0x5000, 2), &page_fault(0), READY));
    assert_eq!(get(&after, Register::Event), None);
}

#[test]
fn without_another_one_iret_opens_the_way_without_a_step() {
    let mut vcpu = start(&LINUX, &Fake::new());
    send_nmi(&mut vcpu, MASKED);
    let at_iret = iret(&mut vcpu, &mut guest(IRET, 0x2), MASKED);
    assert_eq!(get(&at_iret, Register::Rflags), None);
    // The IRET's own stack has to be filled in: it is not behind it yet.
    let mut fake = guest(IRET, 2);
    let filled = resume(vcpu.answer(&mut fake, &page_fault(0), MASKED));
    assert!(filled.registers().mask().is_empty());
    let again = send_nmi(&mut vcpu, MASKED);
    assert_eq!(get(&again, Register::Event), Some(NMI));
}

#[test]
fn an_iret_that_faults_shows_the_guest_its_own_flags() {
    let mut vcpu = start(&LINUX, &Fake::new());
    send_nmi(&mut vcpu, MASKED);
    send_nmi(&mut vcpu, MASKED);
    iret(&mut vcpu, &mut guest(IRET, 0x2), MASKED);
    let mut fake = guest(IRET, 0x102);
    fake.faults.push_back(Outcome::Inject {
        code: 0,
        address: 0x5008,
    });
    let stepping = Status {
        single_step: true,
        ..MASKED
    };
    let faulted = resume(vcpu.answer(&mut fake, &page_fault(0), stepping));
    let flags = Register::Rflags.bit();
    assert!(fake.asked.contains(&Asked::WroteRegisters(flags)));
    assert_eq!(get(&faulted, Register::Event), Some(0x8000_0b0e));
    assert_eq!(get(&faulted, Register::IretIntercept), Some(1));
    // The page fault's handler returns, the IRET comes again, and then the NMI.
    let at_iret = iret(&mut vcpu, &mut guest(IRET, 0x2), MASKED);
    assert_eq!(get(&at_iret, Register::Rflags), Some(0x102));
    let mut fake = guest(0x5000, 2);
    let behind = resume(vcpu.answer(&mut fake, &debug_exit(0xffff_4ff0), MASKED));
    assert_eq!(get(&behind, Register::Event), Some(NMI));
}

#[test]
fn no_interrupt_comes_between_a_step_and_its_iret() {
    let mut vcpu = start(&LINUX, &Fake::new());
    open_interrupts(&mut vcpu, &mut Fake::new());
    send_nmi(&mut vcpu, MASKED);
    send_nmi(&mut vcpu, MASKED);
    let mut fake = guest(IRET, 0x202);
    raise_line(&mut vcpu, &mut fake);
    let at_iret = iret(&mut vcpu, &mut fake, READY);
    assert_eq!(get(&at_iret, Register::Event), None);
    assert_eq!(get(&at_iret, Register::Window), Some(1));
}

#[test]
fn a_guest_that_steps_itself_keeps_its_trap_behind_iret() {
    let mut vcpu = start(&LINUX, &Fake::new());
    send_nmi(&mut vcpu, MASKED);
    send_nmi(&mut vcpu, MASKED);
    let stepping = Status {
        single_step: true,
        ..MASKED
    };
    let at_iret = iret(&mut vcpu, &mut guest(IRET, 0x102), stepping);
    assert_eq!(get(&at_iret, Register::Rflags), None);
    let mut fake = guest(0x5000, 2);
    let trap = resume(vcpu.answer(&mut fake, &debug_exit(0xffff_4ff0), MASKED));
    assert_eq!(get(&trap, Register::Event), Some(DB));
    let next = resume(vcpu.answer(&mut fake, &page_fault(0), MASKED));
    assert_eq!(get(&next, Register::Event), Some(NMI));
}

#[test]
fn an_nmi_ends_a_halt_whatever_the_interrupt_flag() {
    let mut vcpu = start(&LINUX, &Fake::new());
    send_nmi(&mut vcpu, MASKED);
    send_nmi(&mut vcpu, MASKED);
    // Blocked: nothing wakes this guest.
    let exit = Exit::Hlt { len: 1, rip: 0x200 };
    let verdict = vcpu.clone().answer(&mut Fake::new(), &exit, MASKED);
    assert_eq!(stopped(verdict), (Stop::Halted, 0));
    iret(
        &mut vcpu,
        &mut guest(IRET, 0x102),
        Status {
            single_step: true,
            ..MASKED
        },
    );
    let mut fake = guest(0x5000, 2);
    let awake = resume(vcpu.answer(&mut fake, &exit, MASKED));
    assert_eq!(get(&awake, Register::Event), Some(NMI));
    assert_eq!(get(&awake, Register::Rip), Some(0x201));
}
