//! Code that is written over between an exit and the reading of its instruction.
//!
//! Always: what the exit says and what is read are each something that the guest did; the guest gets the effect of one of
//! them, whole, or runs again. What is written is what the bytes that were read say, with the rights that they need.

use super::*;

const HOLE: u64 = 0xfd00_0000;
const RAM: u64 = 0x3000;

/// RBX leads to where no memory is, RSI to memory.
fn now_reads(code: &[u8]) -> Fake {
    let hole = Outcome::Device {
        gpa: Gpa::new(HOLE),
        access: 0,
    };
    let mut fake = Fake::new()
        .with(Register::Rip, 0x100)
        .with(Register::Rflags, 0x202)
        .with(Register::Rax, 0x4433_2211)
        .with(Register::Rbx, HOLE)
        .with(Register::Rsi, RAM)
        .with(Register::Cs, 0x0a9b_0010);
    fake.odd_pages.insert(HOLE, hole);
    fake.faults.push_back(hole);
    fake.memory
        .extend((RAM..).zip([0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0]));
    fake.code = code.to_vec();
    fake
}

/// A load from where no memory is.
fn device_load() -> Exit {
    fault_at(HOLE, 0, 0)
}

/// The same under nested paging.
fn nested_load() -> Exit {
    Exit::NestedPaging {
        code: 4,
        walk: false,
        gpa: Gpa::new(HOLE),
        rip: 0x100,
        event: 0,
    }
}

fn undefined() -> Exit {
    Exit::Exception {
        vector: 6,
        code: 0,
        rip: 0x100,
        dr6: 0,
        event: 0,
    }
}

fn answered(fake: &mut Fake, exit: &Exit) -> Resume {
    let mut vcpu = start(&LINUX, fake);
    resume(vcpu.answer(fake, exit, READY))
}

#[test]
fn another_load_fills_its_own_register_and_no_other() {
    for exit in [device_load(), nested_load()] {
        // mov ecx, [rsi]; mov edx, [rbx]
        let mut fake = now_reads(&[0x8b, 0x0e]);
        let resume = answered(&mut fake, &exit);
        assert_eq!(get(&resume, Register::Rcx), Some(0x1234_5678));
        assert_eq!(get(&resume, Register::Rip), Some(0x102));
        let written = Register::Rcx.bit() | Register::Rip.bit();
        assert_eq!(resume.registers().mask().0, written);
        let mut fake = now_reads(&[0x8b, 0x53, 0x00]);
        let resume = answered(&mut fake, &exit);
        assert_eq!(get(&resume, Register::Rdx), Some(0xffff_ffff));
        assert_eq!(get(&resume, Register::Rip), Some(0x103));
        let written = Register::Rdx.bit() | Register::Rip.bit();
        assert_eq!(resume.registers().mask().0, written);
    }
}

#[test]
fn a_load_of_the_last_byte_of_the_address_space_reads_that_byte() {
    // or dh, [rbp - 1], with RBP = 0
    let mut fake = now_reads(&[0x08 | 2, 0x75, 0xff]);
    fake.memory.insert(u64::MAX, 0x5a);
    let resume = answered(&mut fake, &device_load());
    assert_eq!(get(&resume, Register::Rdx), Some(0x5a00));
    assert_eq!(get(&resume, Register::Rip), Some(0x103));
}

#[test]
fn a_load_that_became_a_store_needs_the_right_to_write() {
    for (code, page) in [
        // mov [rsi], eax; mov [rbx], eax
        (&[0x89, 0x06], RAM),
        (&[0x89, 0x03], HOLE),
    ] {
        let mut fake = now_reads(code);
        let fault = Outcome::Inject {
            code: 3,
            address: page,
        };
        fake.odd_pages.insert(page, fault);
        let before = fake.memory.clone();
        let resume = answered(&mut fake, &device_load());
        assert_eq!(get(&resume, Register::Event), Some(3 << 32 | 0x8000_0b0e));
        assert_eq!(get(&resume, Register::Cr2), Some(page));
        assert_eq!(get(&resume, Register::Rip), None);
        assert_eq!(fake.memory, before);
    }
}

#[test]
fn what_became_no_instruction_is_undefined_here_or_by_the_processor() {
    for exit in [device_load(), nested_load(), machine_status(), undefined()] {
        // In 64-bit code: PUSH ES, POP DS, LOCK NOP.
        for code in [&[0x06, 0, 0][..], &[0x1f, 0, 0], &[0xf0, 0x90, 0]] {
            let mut fake = now_reads(code);
            let mut vcpu = start(&LINUX, &fake);
            let control = *vcpu.control();
            match vcpu.answer(&mut fake, &exit, READY) {
                Answer::Resume(resume) => {
                    let event = get(&resume, Register::Event);
                    assert!(matches!(event, None | Some(UD)), "{event:x?}");
                    let others = resume.registers().mask().0 & !Register::Event.bit();
                    assert_eq!(others, 0, "{code:x?}");
                }
                other => panic!("{exit:?} {code:x?}: {other:?}"),
            }
            assert_eq!(*vcpu.control(), control);
        }
    }
}

#[test]
fn what_touches_neither_memory_nor_a_control_register_is_left_to_the_processor() {
    for exit in [device_load(), nested_load(), machine_status()] {
        // NOP, CPUID, JMP to itself, CLI
        for code in [&[0x90, 0, 0][..], &[0x0f, 0xa2], &[0xeb, 0xfe], &[0xfa]] {
            let resume = answered(&mut now_reads(code), &exit);
            assert!(
                resume.registers().mask().is_empty(),
                "{code:x?}: {resume:?}"
            );
        }
    }
}

#[test]
fn a_load_of_the_machine_status_that_became_a_store_loads_nothing() {
    // smsw [rsi + 2]: four bytes, where the exit said three
    let mut fake = now_reads(&[0x0f, 0x01, 0x66, 0x02]);
    let mut vcpu = start(&LINUX, &fake);
    let control = *vcpu.control();
    let resume = resume(vcpu.answer(&mut fake, &machine_status(), READY));
    assert_eq!(*vcpu.control(), control);
    assert_eq!(get(&resume, Register::Rip), Some(0x104));
    assert_eq!(resume.registers().mask().0, Register::Rip.bit());
    let [low, high] = (control.cr0 as u16).to_le_bytes();
    assert_eq!(fake.memory.get(&(RAM + 2)), Some(&low));
    assert_eq!(fake.memory.get(&(RAM + 3)), Some(&high));
    assert_eq!(fake.memory.get(&RAM), Some(&0x78));
}

#[test]
fn a_programs_store_of_the_machine_status_that_became_a_load_is_a_general_protection_fault() {
    // lmsw [rsi]
    let mut fake = now_reads(&[0x0f, 0x01, 0x36]);
    fake.memory.insert(RAM, 0x09);
    let mut vcpu = start(&LINUX, &fake);
    let control = *vcpu.control();
    fake.registers.set(Register::Cpl, 3);
    let refused = resume(vcpu.answer(&mut fake, &machine_status(), READY));
    assert_eq!(get(&refused, Register::Event), Some(GP));
    assert_eq!(get(&refused, Register::Rip), None);
    assert_eq!(*vcpu.control(), control);
    fake.registers.set(Register::Cpl, 0);
    let loaded = resume(vcpu.answer(&mut fake, &machine_status(), READY));
    assert_eq!(get(&loaded, Register::Rip), Some(0x103));
    assert_eq!(vcpu.control().cr0 & cr0::TS, cr0::TS);
}

#[test]
fn a_store_of_the_machine_status_that_became_a_move_moves_nothing_here() {
    // mov cr3, rax; lmsw ax; smsw eax
    for code in [[0x0f, 0x22, 0xd8], [0x0f, 0x01, 0xf0], [0x0f, 0x01, 0xe0]] {
        let mut fake = now_reads(&code);
        let mut vcpu = start(&LINUX, &fake);
        let control = *vcpu.control();
        let resume = resume(vcpu.answer(&mut fake, &machine_status(), READY));
        assert!(resume.registers().mask().is_empty());
        assert_eq!(*vcpu.control(), control);
        assert!(fake.asked.is_empty());
    }
}

#[test]
fn a_guest_that_never_shows_its_instruction_is_stopped_in_the_end() {
    let mut fake = now_reads(&[0x90, 0, 0]);
    let mut vcpu = start(&LINUX, &fake);
    let last = (0..40)
        .map(|_| vcpu.answer(&mut fake, &machine_status(), READY))
        .last();
    assert_eq!(stopped(last.unwrap()), (Stop::Emulation, 0x100));
    // One that shows it again in between has all its tries again.
    let mut vcpu = start(&LINUX, &fake);
    for turn in 0..40 {
        fake.code = if turn % 10 == 0 {
            // smsw [rsi]
            vec![0x0f, 0x01, 0x26]
        } else {
            vec![0x90, 0, 0]
        };
        resume(vcpu.answer(&mut fake, &machine_status(), READY));
    }
}

#[test]
fn what_was_undefined_and_became_an_instruction_is_undefined_unless_it_is_carried_out_here() {
    // mov ecx, [rsi]; mov cr3, rax; vmmcall
    for code in [&[0x8b, 0x0e, 0][..], &[0x0f, 0x22, 0xd8], &[0x0f, 1, 0xd9]] {
        let mut fake = now_reads(code);
        let resume = answered(&mut fake, &undefined());
        assert_eq!(get(&resume, Register::Event), Some(UD));
        assert_eq!(resume.registers().mask().0, Register::Event.bit());
        assert!(fake.asked.is_empty());
    }
}

proptest::proptest! {
    /// Whatever stands there now, the guest goes on or its own VM is stopped with the instruction's address, and nothing but
    /// general registers, flags and one event comes of a load.
    #[test]
    fn any_bytes_in_place_of_a_load_give_what_those_bytes_may(
        code in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..16),
        nested: bool,
    ) {
        let mut fake = now_reads(&code);
        let mut vcpu = start(&LINUX, &fake);
        let control = *vcpu.control();
        let exit = if nested { nested_load() } else { device_load() };
        match vcpu.answer(&mut fake, &exit, READY) {
            Answer::Resume(resume) => {
                let may = exit_abi::Mask::GPRS
                    .with(Register::Rip)
                    .with(Register::Rflags)
                    .with(Register::Cr2)
                    .with(Register::Event);
                assert_eq!(resume.registers().mask().0 & !may.0, 0, "{resume:?}");
            }
            other => assert_eq!(stopped(other), (Stop::Emulation, 0x100)),
        }
        assert_eq!(*vcpu.control(), control);
    }
}
