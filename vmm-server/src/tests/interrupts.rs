//! Interrupts: their window, halts that they end, timers.

use super::*;

#[test]
fn a_line_that_rises_while_the_guest_runs_is_injected_in_its_window() {
    let (mut fake, mut vcpu) = multiboot();
    open_interrupts(&mut vcpu, &mut fake);
    raise_line(&mut vcpu, &mut fake);
    vcpu.interrupt_running(&mut fake);
    assert_eq!(fake.asked, [Asked::Lines, Asked::Window(0)]);
    let exit = Exit::Window { rip: 0 };
    let resume = resume(vcpu.answer(&mut fake, &exit, READY));
    assert_eq!(get(&resume, Register::Event), Some(0x8000_0034));
    assert_eq!(get(&resume, Register::Window), None);
}

#[test]
fn an_interrupt_that_cannot_be_taken_asks_for_a_window() {
    let (mut fake, mut vcpu) = multiboot();
    open_interrupts(&mut vcpu, &mut fake);
    fake.lines = 1 << 4;
    let masked = resume(vcpu.answer(&mut fake, &input(0x3fd), MASKED));
    assert_eq!(get(&masked, Register::Window), Some(1));
    assert_eq!(get(&masked, Register::Event), None);
    let ready = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
    assert_eq!(get(&ready, Register::Event), Some(0x8000_0034));
    // The window asked for is taken back.
    assert_eq!(get(&ready, Register::Window), Some(0));
    let after = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
    assert!(after.registers().mask().is_empty());
}

#[test]
fn a_window_is_asked_for_once() {
    let (mut fake, mut vcpu) = multiboot();
    open_interrupts(&mut vcpu, &mut fake);
    fake.lines = 1 << 4;
    vcpu.answer(&mut fake, &input(0x3fd), MASKED);
    let second = resume(vcpu.answer(&mut fake, &page_fault(0), MASKED));
    assert!(second.registers().mask().is_empty());
    fake.asked.clear();
    vcpu.interrupt_running(&mut fake);
    assert!(fake.asked.is_empty());
}

#[test]
fn a_halted_guest_wakes_by_a_signal() {
    let (mut fake, mut vcpu) = multiboot();
    open_interrupts(&mut vcpu, &mut fake);
    // STI; HLT: the shadow is over when HLT is.
    let status = Status {
        interrupt_shadow: true,
        ..READY
    };
    let mut resume = halted(vcpu.answer(&mut fake, &hlt(), status));
    vcpu.signal(&mut fake, signal::LINE);
    assert!(!vcpu.wake(&mut fake, &mut resume));
    raise_line(&mut vcpu, &mut fake);
    assert!(vcpu.wake(&mut fake, &mut resume));
    assert_eq!(get(&resume, Register::Event), Some(0x8000_0034));
    assert_eq!(get(&resume, Register::Rip), Some(0x101));
    assert_eq!(get(&resume, Register::InterruptShadow), Some(0));
    assert!(!vcpu.wake(&mut fake, &mut resume));
}

#[test]
fn an_interrupt_that_waits_already_ends_the_halt_at_once() {
    let (mut fake, mut vcpu) = multiboot();
    open_interrupts(&mut vcpu, &mut fake);
    raise_line(&mut vcpu, &mut fake);
    let resume = resume(vcpu.answer(&mut fake, &hlt(), READY));
    assert_eq!(get(&resume, Register::Event), Some(0x8000_0034));
}

#[test]
fn the_timer_wakes_a_halted_guest() {
    let (mut fake, mut vcpu) = multiboot();
    open_interrupts(&mut vcpu, &mut fake);
    for (port, value) in [(0x43, 0x34), (0x40, 0xa9), (0x40, 0x04)] {
        vcpu.answer(&mut fake, &out(port, value), MASKED);
    }
    let [Asked::Deadline(Some(deadline))] = fake.asked[..] else {
        panic!("{:?}", fake.asked);
    };
    let mut resume = halted(vcpu.answer(&mut fake, &hlt(), READY));
    fake.tsc.set(deadline);
    fake.asked.clear();
    vcpu.signal(&mut fake, signal::DEADLINE);
    assert!(matches!(fake.asked[..], [Asked::Deadline(Some(_))]));
    assert!(vcpu.wake(&mut fake, &mut resume));
    assert_eq!(get(&resume, Register::Event), Some(0x8000_0030));
}

#[test]
fn a_guest_that_waits_for_any_interrupt_goes_on_with_firmwares_next_tick() {
    let mut fake = Fake::new();
    let mut vcpu = Vcpu::new(&MULTIBOOT, 1000, 64 << 20, &fake).0;
    let mut resume = halted(vcpu.answer(&mut fake, &hlt(), READY));
    let [.., Asked::Deadline(Some(deadline))] = fake.asked[..] else {
        panic!("{:?}", fake.asked);
    };
    fake.tsc.set(deadline);
    vcpu.signal(&mut fake, signal::DEADLINE);
    assert!(vcpu.wake(&mut fake, &mut resume));
    assert_eq!(get(&resume, Register::Event), Some(0x8000_0008));
}

#[test]
fn halting_with_interrupts_off_is_the_end() {
    let (mut fake, mut vcpu) = multiboot();
    let verdict = vcpu.answer(&mut fake, &hlt(), MASKED);
    assert_eq!(stopped(verdict), (Stop::Halted, 0));
}
