//! The local APIC in the guest's memory, and the task priority in CR8.

use super::*;

const APIC: u64 = 0xfee0_0000;
/// mov [rbx], eax and mov eax, [rbx].
const STORE: [u8; 2] = [0x89, 0x03];
const LOAD: [u8; 2] = [0x8b, 0x03];

/// A 64-bit guest that touches the local APIC at `offset` by `code`, with EAX = `value`.
fn touching(offset: u64, code: &[u8], value: u64) -> (Fake, Exit) {
    let address = 0x7000_0000 + offset;
    let mut fake = Fake::new()
        .with(Register::Rip, 0x100)
        .with(Register::Rax, value)
        .with(Register::Rbx, address)
        .with(Register::Cs, 0x0a9b_0010);
    fake.code = code.to_vec();
    let exit = fault_at(address, 2, 0);
    (fake, exit)
}

fn access(vcpu: &mut Vcpu, fake: &mut Fake, exit: &Exit, status: Status) -> Resume {
    let Exit::Paging { gva, .. } = *exit else {
        panic!("{exit:?}");
    };
    fake.faults.push_back(Outcome::Device {
        gpa: Gpa::new(APIC + gva.page_offset()),
        access: 2,
    });
    resume(vcpu.answer(fake, exit, status))
}

fn store(vcpu: &mut Vcpu, offset: u64, value: u64, cr8: u64, status: Status) -> (Resume, Fake) {
    let (fake, exit) = touching(offset, &STORE, value);
    let mut fake = fake.with(Register::Cr8, cr8);
    let resume = access(vcpu, &mut fake, &exit, status);
    assert_eq!(get(&resume, Register::Rip), Some(0x102));
    (resume, fake)
}

#[test]
fn an_access_costs_the_fault_and_no_other_call() {
    let (mut fake, exit) = touching(0x30, &LOAD, 0);
    let mut vcpu = start(&LINUX, &fake);
    let resume = access(&mut vcpu, &mut fake, &exit, MASKED);
    assert!(
        matches!(fake.asked[..], [Asked::Fault(_)]),
        "{:?}",
        fake.asked
    );
    let version = get(&resume, Register::Rax).unwrap();
    assert_eq!(version & 0xff, 0x14);
}

#[test]
fn the_next_access_costs_no_call_until_the_guest_flushes() {
    let (mut fake, exit) = touching(0x30, &LOAD, 0);
    let mut vcpu = start(&LINUX, &fake);
    access(&mut vcpu, &mut fake, &exit, MASKED);
    fake.asked.clear();
    let again = resume(vcpu.answer(&mut fake, &exit, MASKED));
    assert_eq!(get(&again, Register::Rax).unwrap() & 0xff, 0x14);
    assert!(fake.asked.is_empty(), "{:?}", fake.asked);
    let invlpg = Exit::Invlpg {
        len: 3,
        rip: 0,
        gva: Gva::new(0x1000),
        mode: Mode::from_bits(0),
    };
    for flush in [invlpg, cr(3, 0xa000)] {
        vcpu.answer(&mut fake, &flush, MASKED);
        fake.asked.clear();
        access(&mut vcpu, &mut fake, &exit, MASKED);
        assert!(matches!(fake.asked[..], [Asked::Fault(_)]));
    }
}

#[test]
fn an_interrupt_to_oneself_comes_with_the_reply() {
    let mut vcpu = start(&LINUX, &Fake::new());
    let (resume, _) = store(&mut vcpu, 0x300, 0x4_0061, 0, READY);
    assert_eq!(get(&resume, Register::Event), Some(0x8000_0061));
}

#[test]
fn a_task_priority_written_in_memory_is_cr8() {
    let mut vcpu = start(&LINUX, &Fake::new());
    let (resume, _) = store(&mut vcpu, 0x80, 0x75, 0, READY);
    assert_eq!(get(&resume, Register::Cr8), Some(7));
    let (mut fake, exit) = touching(0x80, &LOAD, 0);
    fake = fake.with(Register::Cr8, 9);
    let resume = access(&mut vcpu, &mut fake, &exit, READY);
    assert_eq!(get(&resume, Register::Rax), Some(0x90));
    assert_eq!(get(&resume, Register::Cr8), None);
}

#[test]
fn an_interrupt_below_the_task_priority_waits_for_cr8_and_asks_for_nothing_twice() {
    let mut vcpu = start(&LINUX, &Fake::new());
    let (held, _) = store(&mut vcpu, 0x300, 0x4_0061, 6, READY);
    assert_eq!(get(&held, Register::Event), None);
    assert_eq!(get(&held, Register::Window), Some(0x61));
    let mut fake = Fake::new().with(Register::Cr8, 6);
    let second = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
    assert!(second.registers().mask().is_empty());
    fake.asked.clear();
    vcpu.interrupt_running(&mut fake);
    assert!(fake.asked.is_empty());
    // A higher class opens a wider window, and goes first.
    let (wider, _) = store(&mut vcpu, 0x300, 0x4_0081, 8, READY);
    assert_eq!(get(&wider, Register::Window), Some(0x81));
    let mut fake = Fake::new().with(Register::Cr8, 5);
    let taken = resume(vcpu.answer(&mut fake, &Exit::Window { rip: 0 }, READY));
    assert_eq!(get(&taken, Register::Event), Some(0x8000_0081));
    // The other is held back by the one in service.
    assert_eq!(get(&taken, Register::Window), None);
    let (ended, _) = store(&mut vcpu, 0xb0, 0, 5, READY);
    assert_eq!(get(&ended, Register::Event), Some(0x8000_0061));
}

#[test]
fn a_halted_guest_sleeps_on_while_its_task_priority_holds() {
    let mut vcpu = start(&LINUX, &Fake::new());
    store(&mut vcpu, 0x300, 0x4_0061, 6, MASKED);
    let mut fake = Fake::new().with(Register::Cr8, 6);
    let mut resume = halted(vcpu.answer(&mut fake, &hlt(), READY));
    assert!(!vcpu.wake(&mut fake, &mut resume));
}

#[test]
fn a_running_guest_is_asked_for_a_window_of_the_class_that_waits() {
    let mut vcpu = start(&LINUX, &Fake::new());
    store(&mut vcpu, 0x320, 0x51, 0, READY);
    store(&mut vcpu, 0x3e0, 0xb, 0, READY);
    let (_, mut fake) = store(&mut vcpu, 0x380, 1_000_000, 0, READY);
    let Some(&Asked::Deadline(Some(deadline))) = fake.asked.last() else {
        panic!("{:?}", fake.asked);
    };
    fake.tsc.set(deadline);
    fake.asked.clear();
    vcpu.signal(&mut fake, signal::DEADLINE);
    vcpu.interrupt_running(&mut fake);
    assert_eq!(fake.asked, [Asked::Window(5)]);
}

#[test]
fn a_slow_host_gives_a_guest_with_a_periodic_timer_time_of_its_own() {
    let mut vcpu = start(&LINUX, &Fake::new());
    store(&mut vcpu, 0x320, 0x2_0051, 0, READY);
    store(&mut vcpu, 0x3e0, 0xb, 0, READY);
    let (_, mut fake) = store(&mut vcpu, 0x380, 100_000, 0, READY);
    let start = fake.tsc.get() + 100_000;
    fake.tsc.set(start);
    vcpu.signal(&mut fake, signal::DEADLINE);
    // The handler takes ten periods until its end of interrupt.
    let (fake, exit) = touching(0xb0, &STORE, 0);
    let mut fake = fake.with(Register::Cr8, 0);
    fake.tsc.set(start);
    vcpu.answer(&mut fake, &Exit::Window { rip: 0 }, READY);
    fake.tsc.set(start + 1_000_000);
    access(&mut vcpu, &mut fake, &exit, MASKED);
    assert_eq!(
        fake.asked.last(),
        Some(&Asked::Deadline(Some(start + 2_000_000)))
    );
}

#[test]
fn apic_base_moves_it_and_its_reserved_bits_raise() {
    let (mut fake, mut vcpu) = linux();
    let read = resume(vcpu.answer(&mut fake, &read_msr(0x1b), MASKED));
    assert_eq!(get(&read, Register::Rax), Some(0xfee0_0900));
    for (base, event) in [
        (0xfee0_0d00, Some(GP)),
        (0xfee0_0901, Some(GP)),
        (0xfee0_0100, None),
    ] {
        let written = resume(vcpu.answer(&mut fake, &write_msr(0x1b, base), MASKED));
        assert_eq!(get(&written, Register::Event), event);
    }
    let off = resume(vcpu.answer(&mut fake, &cpuid(1), MASKED));
    assert_eq!(get(&off, Register::Rdx).unwrap() >> 9 & 1, 0);
    // Nothing is there now, whatever is written.
    store(&mut vcpu, 0x300, 0x4_0061, 0, READY);
    let (mut fake, exit) = touching(0x80, &LOAD, 0);
    fake = fake.with(Register::Cr8, 5);
    let read = access(&mut vcpu, &mut fake, &exit, READY);
    assert_eq!(get(&read, Register::Rax), Some(0xffff_ffff));
    assert_eq!(get(&read, Register::Cr8), None);
}

#[test]
fn an_init_to_oneself_and_other_resets_end_the_vm() {
    let mut vcpu = start(&LINUX, &Fake::new());
    let (mut fake, exit) = touching(0x300, &STORE, 0x4500);
    fake.faults.push_back(Outcome::Device {
        gpa: Gpa::new(APIC + 0x300),
        access: 2,
    });
    let verdict = vcpu.answer(&mut fake, &exit, READY);
    assert_eq!(stopped(verdict), (Stop::Reset, 0));
    let verdict = start(&LINUX, &fake).answer(&mut fake, &out(0xcf9, 6), READY);
    assert_eq!(stopped(verdict), (Stop::Reset, 0));
    let switch_off = Exit::Io {
        len: 1,
        info: 0x604 << 16 | 0x20,
        rip: 0,
        rax: 0x2000,
    };
    let verdict = start(&LINUX, &fake).answer(&mut fake, &switch_off, READY);
    assert_eq!(stopped(verdict), (Stop::Halted, 0));
}
