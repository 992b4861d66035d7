//! Debug exceptions around instructions that are carried out here.

use super::*;

fn guest() -> Fake {
    Fake::new()
        .with(Register::Dr6, 0xffff_0ff0)
        .with(Register::Dr7, 0x400)
        .with(Register::Rflags, 0x302)
}

fn write_debug_register(vcpu: &mut Vcpu, fake: &mut Fake, number: u8, value: u64) -> Resume {
    let exit = Exit::Dr {
        len: 3,
        number,
        gpr: 0,
        write: true,
        rip: 0x10,
        value,
    };
    resume(vcpu.answer(fake, &exit, READY))
}

#[test]
fn a_step_over_hlt_ends_it_at_once() {
    let mut fake = guest();
    let mut vcpu = start(&LINUX, &fake);
    for status in [
        STEPPING,
        Status {
            interrupts_enabled: false,
            ..STEPPING
        },
    ] {
        let resume = resume(vcpu.answer(&mut fake, &hlt(), status));
        assert_eq!(get(&resume, Register::Event), Some(DB));
        assert_eq!(get(&resume, Register::Rip), Some(0x101));
        assert_eq!(get(&resume, Register::Dr6), Some(0xffff_4ff0));
    }
}

#[test]
fn a_step_is_one_element_of_a_repeated_instruction() {
    // rep insw
    let mut fake = guest()
        .with(Register::Rcx, 2)
        .with(Register::Rdi, 0x2000)
        .with(Register::EsBase, 0)
        .with(Register::Es, 0xffff_ffff_0c93_0018)
        .with(Register::Cs, 0xffff_ffff_0c9b_0010);
    let mut vcpu = start(&MULTIBOOT, &fake);
    let exit = Exit::Io {
        len: 2,
        info: 0x1f0 << 16 | 1 << 8 | 0x2d,
        rip: 0x100,
        rax: 0,
    };
    let first = resume(vcpu.answer(&mut fake, &exit, STEPPING));
    assert_eq!(get(&first, Register::Rcx), Some(1));
    assert_eq!(get(&first, Register::Rip), None);
    assert_eq!(get(&first, Register::Event), Some(DB));
    fake.registers.set(Register::Rcx, 1);
    let last = resume(vcpu.answer(&mut fake, &exit, STEPPING));
    assert_eq!(get(&last, Register::Rip), Some(0x102));
    assert_eq!(get(&last, Register::Event), Some(DB));
    fake.registers.set(Register::Rcx, 0);
    let none = resume(vcpu.answer(&mut fake, &exit, STEPPING));
    assert_eq!(get(&none, Register::Event), Some(DB));
}

#[test]
fn a_breakpoint_on_memory_traps_behind_the_access() {
    // mov [rbx], eax where no memory is
    let mut fake = guest()
        .with(Register::Rip, 0x100)
        .with(Register::Rbx, 0xfd00_0000)
        .with(Register::Cs, 0x0a9b_0010);
    fake.registers.set(Register::Rflags, 0x202);
    fake.code = vec![0x89, 0x03];
    let hole = Outcome::Device {
        gpa: Gpa::new(0xfd00_0000),
        access: 2,
    };
    fake.odd_pages.insert(0xfd00_0000, hole);
    let mut vcpu = start(&LINUX, &fake);
    write_debug_register(&mut vcpu, &mut fake, 1, 0xfd00_0002);
    // Breakpoint 1: writes of one byte.
    write_debug_register(&mut vcpu, &mut fake, 7, 1 << 2 | 1 << 20);
    fake.faults.push_back(hole);
    let met = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
    assert_eq!(get(&met, Register::Rip), Some(0x102));
    assert_eq!(get(&met, Register::Event), Some(DB));
    assert_eq!(get(&met, Register::Dr6), Some(0xffff_0ff2));
    fake.code = vec![0x8b, 0x03];
    fake.faults.push_back(hole);
    let read = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
    assert_eq!(get(&read, Register::Event), None);
}

#[test]
fn a_breakpoint_on_a_port_needs_the_extensions() {
    let mut fake = guest();
    fake.registers.set(Register::Rflags, 2);
    let mut vcpu = start(&LINUX, &fake);
    write_debug_register(&mut vcpu, &mut fake, 0, 0x3fd);
    write_debug_register(&mut vcpu, &mut fake, 7, 1 | 2 << 16);
    let plain = resume(vcpu.answer(&mut fake, &input(0x3fd), READY));
    assert_eq!(get(&plain, Register::Event), None);
    vcpu.answer(&mut fake, &cr(4, cr4::PAE | cr4::DE), READY);
    let met = resume(vcpu.answer(&mut fake, &input(0x3fd), READY));
    assert_eq!(get(&met, Register::Event), Some(DB));
    assert_eq!(get(&met, Register::Dr6), Some(0xffff_0ff1));
    let other = resume(vcpu.answer(&mut fake, &out(0x3fc, 0), READY));
    assert_eq!(get(&other, Register::Event), None);
}

#[test]
fn general_detection_comes_before_the_access_and_is_off_for_the_handler() {
    let mut fake = guest();
    let mut vcpu = start(&LINUX, &fake);
    write_debug_register(&mut vcpu, &mut fake, 7, 0x2000);
    fake.registers.set(Register::Dr7, 0x2400);
    let guarded = write_debug_register(&mut vcpu, &mut fake, 0, 0x1234);
    assert_eq!(get(&guarded, Register::Event), Some(DB));
    assert_eq!(get(&guarded, Register::Dr6), Some(0xffff_2ff0));
    assert_eq!(get(&guarded, Register::Dr7), Some(0x400));
    assert_eq!(get(&guarded, Register::Dr0), None);
    assert_eq!(get(&guarded, Register::Rip), None);
    fake.registers.set(Register::Dr7, 0x400);
    let open = write_debug_register(&mut vcpu, &mut fake, 0, 0x1234);
    assert_eq!(get(&open, Register::Dr0), Some(0x1234));
}

#[test]
fn the_resume_flag_lasts_one_instruction() {
    let mut fake = guest();
    fake.registers.set(Register::Rflags, 0x1_0002);
    let mut vcpu = start(&LINUX, &fake);
    let resumed = Status {
        resume_flag: true,
        ..READY
    };
    let done = resume(vcpu.answer(&mut fake, &input(0x3fd), resumed));
    assert_eq!(get(&done, Register::Rflags), Some(2));
    let without = resume(vcpu.answer(&mut fake, &input(0x3fd), READY));
    assert_eq!(get(&without, Register::Rflags), None);
}

#[test]
fn icebp_traps_without_a_condition() {
    let mut fake = guest();
    let mut vcpu = start(&LINUX, &fake);
    let trap = resume(vcpu.answer(&mut fake, &instruction(0x88, 1, 0x100), READY));
    assert_eq!(get(&trap, Register::Event), Some(DB));
    assert_eq!(get(&trap, Register::Rip), Some(0x101));
    assert_eq!(get(&trap, Register::Dr6), Some(0xffff_0ff0));
}
