//! REP INS and REP OUTS, element by element.

use super::*;

const DATA: u64 = 0xffff_ffff_0c93_0018;

fn guest(rcx: u64) -> Fake {
    Fake::new()
        .with(Register::Rcx, rcx)
        .with(Register::Rsi, 0x2ffe)
        .with(Register::Rdi, 0x2ffe)
        .with(Register::Rflags, rflags::ONE)
        .with(Register::Es, DATA)
        .with(Register::Ds, DATA)
        .with(Register::Cs, 0xffff_ffff_0c9b_0008)
}

/// REP INSW or REP OUTSW at port 0x1f0 with 32-bit addresses in DS or ES.
fn string(input: bool) -> Exit {
    let segment = if input { 0 } else { 3 };
    let info = 0x1f0 << 16 | segment << 10 | 1 << 8 | 0x2c | u32::from(input);
    Exit::Io {
        len: 2,
        info,
        rip: 0x100,
        rax: 0,
    }
}

#[test]
fn input_is_stored_element_by_element_across_a_page() {
    let mut fake = guest(2);
    fake.port_values.extend([0x1122, 0x3344]);
    let mut vcpu = start(&MULTIBOOT, &fake);
    let resume = resume(vcpu.answer(&mut fake, &string(true), MASKED));
    let stored: Vec<u8> = fake.memory.values().copied().collect();
    assert_eq!(stored, [0x22, 0x11, 0x44, 0x33]);
    assert_eq!(get(&resume, Register::Rdi), Some(0x3002));
    assert_eq!(get(&resume, Register::Rcx), Some(0));
    assert_eq!(get(&resume, Register::Rip), Some(0x102));
}

#[test]
fn output_reads_memory_and_goes_down_with_df() {
    let mut fake = guest(2).with(Register::Rflags, rflags::DF);
    fake.memory
        .extend([(0x2ffe, 1), (0x2fff, 2), (0x2ffc, 3), (0x2ffd, 4)]);
    let mut vcpu = start(&MULTIBOOT, &fake);
    let resume = resume(vcpu.answer(&mut fake, &string(false), MASKED));
    assert!(fake.asked.contains(&Asked::Out(0x1f0, 2, 0x201)));
    assert!(fake.asked.contains(&Asked::Out(0x1f0, 2, 0x403)));
    assert_eq!(get(&resume, Register::Rsi), Some(0x2ffa));
}

#[test]
fn a_long_transfer_goes_on_at_the_next_exit() {
    let mut fake = guest(1000);
    let mut vcpu = start(&MULTIBOOT, &fake);
    let resume = resume(vcpu.answer(&mut fake, &string(false), MASKED));
    assert_eq!(get(&resume, Register::Rcx), Some(1000 - 32));
    assert_eq!(get(&resume, Register::Rip), None);
}

#[test]
fn operands_the_kernel_could_not_read_are_filled_in_first() {
    let mut fake = guest(2);
    let mut vcpu = start(&MULTIBOOT, &fake);
    let exit = Exit::Io {
        len: 2,
        info: 0x1f0 << 16 | 0x2c,
        rip: 0x100,
        rax: 0,
    };
    let resume = resume(vcpu.answer(&mut fake, &exit, MASKED));
    assert!(resume.registers().mask().is_empty());
    assert!(matches!(fake.asked[..], [Asked::Fault([_, 0x100, _])]));
}

#[test]
fn nothing_to_transfer_touches_nothing() {
    let mut fake = guest(0);
    let mut vcpu = start(&MULTIBOOT, &fake);
    let resume = resume(vcpu.answer(&mut fake, &string(true), MASKED));
    assert!(fake.asked.is_empty());
    assert_eq!(get(&resume, Register::Rip), Some(0x102));
}

#[test]
fn a_fault_keeps_what_was_done_and_does_not_touch_the_port() {
    let mut fake = guest(2);
    let fault = Outcome::Inject {
        code: 3,
        address: 0x3000,
    };
    fake.odd_pages.insert(0x3000, fault);
    let mut vcpu = start(&MULTIBOOT, &fake);
    let resume = resume(vcpu.answer(&mut fake, &string(true), MASKED));
    assert_eq!(get(&resume, Register::Rcx), Some(1));
    assert_eq!(get(&resume, Register::Rdi), Some(0x3000));
    assert_eq!(get(&resume, Register::Cr2), Some(0x3000));
    assert_eq!(get(&resume, Register::Rip), None);
    let ins = fake
        .asked
        .iter()
        .filter(|asked| matches!(asked, Asked::In(..)));
    assert_eq!(ins.count(), 1);
}

#[test]
fn a_segment_limit_raises() {
    let mut fake = guest(1).with(Register::Es, 0x0000_0fff_0493_0018);
    let mut vcpu = start(&MULTIBOOT, &fake);
    let resume = resume(vcpu.answer(&mut fake, &string(true), MASKED));
    assert_eq!(get(&resume, Register::Event), Some(GP));
    assert!(fake.asked.is_empty());
}
