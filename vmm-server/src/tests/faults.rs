//! Page faults, and what mmu-server answers to them.

use super::*;

#[test]
fn a_filled_fault_costs_one_call_and_an_empty_reply() {
    let (mut fake, mut vcpu) = linux();
    let exit = page_fault(0);
    let [w0, w1, w2, _] = exit.encode(READY);
    let resume = resume(vcpu.answer(&mut fake, &exit, READY));
    assert!(resume.registers().mask().is_empty());
    assert_eq!(fake.asked, [Asked::Fault([w0, w1, w2])]);
}

#[test]
fn what_was_being_delivered_starts_over_after_a_fill() {
    let (mut fake, mut vcpu) = linux();
    let exit = page_fault(0x8000_0030);
    let resume = resume(vcpu.answer(&mut fake, &exit, DELIVERING));
    assert_eq!(get(&resume, Register::Event), Some(0x8000_0030));
}

#[test]
fn the_guests_own_fault_comes_with_cr2() {
    let mut fake = Fake::new();
    fake.faults.push_back(Outcome::Inject {
        code: 7,
        address: 0x5008,
    });
    let mut vcpu = start(&LINUX, &fake);
    let resume = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
    assert_eq!(get(&resume, Register::Event), Some(7 << 32 | 0x8000_0b0e));
    assert_eq!(get(&resume, Register::Cr2), Some(0x5008));
    assert_eq!(get(&resume, Register::Rip), None);
}

#[test]
fn two_faults_are_a_double_fault_and_three_the_end() {
    let mut fake = Fake::new();
    let inject = Outcome::Inject {
        code: 0,
        address: 0x5008,
    };
    fake.faults.extend([inject, inject]);
    let mut vcpu = start(&LINUX, &fake);
    let second = resume(vcpu.answer(&mut fake, &page_fault(0x8000_0b0e), READY));
    assert_eq!(get(&second, Register::Event), Some(0x8000_0b08));
    assert_eq!(get(&second, Register::Cr2), None);
    let third = vcpu.answer(&mut fake, &page_fault(0x8000_0b08), READY);
    assert_eq!(stopped(third).0, Stop::TripleFault);
}

#[test]
fn a_jump_to_no_memory_is_an_undefined_instruction() {
    let mut fake = Fake::new();
    fake.faults.push_back(Outcome::Device {
        gpa: Gpa::new(1 << 36),
        access: 0x10,
    });
    let mut vcpu = start(&LINUX, &fake);
    let resume = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
    assert_eq!(get(&resume, Register::Event), Some(UD));
}

fn no_root() -> Exit {
    Exit::NoRoot {
        mode: Mode::from_bits(0),
        rip: 0,
        cr3: 0,
    }
}

#[test]
fn no_root_is_answered_by_mmu_server_and_keeps_the_event_on_its_way() {
    let (mut fake, mut vcpu) = linux();
    open_interrupts(&mut vcpu, &mut fake);
    raise_line(&mut vcpu, &mut fake);
    fake.asked.clear();
    let resume = resume(vcpu.answer(&mut fake, &no_root(), DELIVERING));
    assert_eq!(fake.asked, [Asked::EnsureRoot]);
    assert_eq!(get(&resume, Register::Event), None);
    assert_eq!(get(&resume, Register::Window), Some(1));
}

#[test]
fn a_root_that_never_comes_stops_the_vm() {
    let (mut fake, mut vcpu) = linux();
    let last = (0..40)
        .map(|_| vcpu.answer(&mut fake, &no_root(), READY))
        .last();
    assert_eq!(stopped(last.unwrap()).0, Stop::DomainFailed);
    fake.refuse_requests = true;
    let verdict = start(&LINUX, &fake).answer(&mut fake, &no_root(), READY);
    assert_eq!(stopped(verdict).0, Stop::DomainFailed);
}

#[test]
fn a_load_mmu_server_does_not_understand_stops_the_vm() {
    let mut fake = Fake::new();
    fake.load = Loaded::Refused;
    let mut vcpu = start(&LINUX, &fake);
    let verdict = vcpu.answer(&mut fake, &cr(3, 0xa000), READY);
    assert_eq!(stopped(verdict).0, Stop::DomainFailed);
}
