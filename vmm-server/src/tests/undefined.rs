//! #UD, and the instructions behind it that are carried out here.

use super::*;

const LONG_CODE: u64 = 0x0a9b_0010;
const RESUMED: Status = Status {
    resume_flag: true,
    ..READY
};

fn guest(code: &[u8]) -> Fake {
    let mut fake = Fake::new()
        .with(Register::Rip, 0x1000)
        .with(Register::Rflags, 0x202)
        .with(Register::Cs, LONG_CODE)
        .with(Register::Dr6, 0xffff_0ff0)
        .with(Register::Dr7, 0x400);
    fake.code = code.to_vec();
    fake
}

fn undefined(event: u64) -> Exit {
    Exit::Exception {
        vector: 6,
        code: 0,
        rip: 0x1000,
        dr6: 0,
        event,
    }
}

fn vmmcall(len: u8) -> Exit {
    instruction(0x81, len, 0x1000)
}

#[test]
fn what_no_processor_knows_is_undefined() {
    for code in [
        &[0x0f, 0x0b][..],
        // VEX, another of the group with the same opcode, VMCALL with LOCK, ICEBP with LOCK, nothing to read.
        &[0xc5, 0xf8, 0x77],
        &[0x0f, 0x01, 0xc2],
        &[0xf0, 0x0f, 0x01, 0xc1],
        &[0xf0, 0xf1],
        &[],
    ] {
        let mut fake = guest(code);
        if code.is_empty() {
            let inject = Outcome::Inject {
                code: 0x10,
                address: 0x1000,
            };
            fake.odd_pages.insert(0x1000, inject);
        }
        let mut vcpu = start(&LINUX, &fake);
        let resume = resume(vcpu.answer(&mut fake, &undefined(0), READY));
        assert_eq!(get(&resume, Register::Event), Some(UD), "{code:x?}");
        assert_eq!(get(&resume, Register::Rip), None);
        assert_eq!(get(&resume, Register::Cr2), None);
    }
}

#[test]
fn either_makers_hypercall_is_refused_and_passed_by() {
    for (exit, code) in [
        (vmmcall(3), [0x0f, 0x01, 0xd9]),
        (undefined(0), [0x0f, 0x01, 0xc1]),
    ] {
        let mut fake = guest(&code).with(Register::Rax, 5);
        let mut vcpu = start(&LINUX, &fake);
        let kernel = resume(vcpu.answer(&mut fake, &exit, READY));
        assert_eq!(get(&kernel, Register::Rax), Some(-1000i64 as u64));
        assert_eq!(get(&kernel, Register::Rip), Some(0x1003));
        assert_eq!(get(&kernel, Register::Event), None);
        fake.registers.set(Register::Cpl, 3);
        let program = resume(vcpu.answer(&mut fake, &exit, READY));
        assert_eq!(get(&program, Register::Rax), Some(u64::MAX));
    }
}

#[test]
fn outside_64_bit_code_the_upper_half_of_rax_is_zero() {
    for code in [0x0c9b_0010, 0x009b_0010] {
        let mut fake = guest(&[0x0f, 0x01, 0xc1]).with(Register::Cs, code);
        let mut vcpu = start(&MULTIBOOT, &fake);
        for exit in [vmmcall(3), undefined(0)] {
            let resume = resume(vcpu.answer(&mut fake, &exit, READY));
            assert_eq!(get(&resume, Register::Rax), Some(0xffff_fc18));
        }
    }
}

#[test]
fn a_hypercall_that_could_not_be_read_is_read_first() {
    let mut fake = guest(&[]);
    let mut vcpu = start(&LINUX, &fake);
    let resume = resume(vcpu.answer(&mut fake, &vmmcall(0), READY));
    assert_eq!(get(&resume, Register::Rax), None);
    assert!(matches!(fake.asked[..], [Asked::Fault(_), ..]));
}

#[test]
fn icebp_traps_where_the_processor_does_not_know_it() {
    for code in [&[0xf1][..], &[0x66, 0xf1]] {
        let mut fake = guest(code);
        let mut vcpu = start(&LINUX, &fake);
        let trap = resume(vcpu.answer(&mut fake, &undefined(0), READY));
        assert_eq!(get(&trap, Register::Event), Some(DB));
        let next = 0x1000 + code.len() as u64;
        assert_eq!(get(&trap, Register::Rip), Some(next));
        assert_eq!(get(&trap, Register::Dr6), Some(0xffff_0ff0));
    }
}

#[test]
fn the_resume_flag_ends_with_what_was_carried_out_and_stays_with_what_was_not() {
    let mut fake = guest(&[0x0f, 0x01, 0xc1]);
    fake.registers.set(Register::Rflags, 0x1_0202);
    let mut vcpu = start(&LINUX, &fake);
    let done = resume(vcpu.answer(&mut fake, &undefined(0), RESUMED));
    assert_eq!(get(&done, Register::Rflags), Some(0x202));
    fake.code = vec![0x0f, 0x0b];
    let fault = resume(vcpu.answer(&mut fake, &undefined(0), RESUMED));
    assert_eq!(get(&fault, Register::Rflags), None);
}

#[test]
fn while_an_event_is_delivered_no_instruction_is_looked_at() {
    let mut fake = guest(&[0x0f, 0x01, 0xc1]);
    let mut vcpu = start(&LINUX, &fake);
    let resume = resume(vcpu.answer(&mut fake, &undefined(0x8000_0021), DELIVERING));
    assert_eq!(get(&resume, Register::Event), Some(UD));
    assert_eq!(get(&resume, Register::Rax), None);
}
