//! What the kernel tells of an instruction when the processor does not: read through the shadow, decoded, completed.

use super::vcpu::{Machine, long_mode, real_mode};
use exit_abi::{CrInstruction, Exit, ExitClass, Register};
use sel4_abi::label::{self, fill};
use words::svm::{exit, vmcb};

/// Puts `code` at guest-physical 0x100, mapped at linear 0x100 in a guest that is ready to run there.
fn with_code(mut machine: Machine, long: bool, code: &[u8]) -> Machine {
    let base = machine.guest.world.frame(machine.guest.frames[0]);
    crate::mem::write_bytes(base + 0x100, code);
    let rights = fill::USER | fill::EXECUTE;
    if long {
        machine.guest.ask(label::POOL_FILL, &[3, 0, rights]).ok();
    } else {
        machine.guest.ask(label::POOL_RESET, &[20, 1]).ok();
        machine.guest.ask(label::POOL_LINK, &[4, 20]).ok();
        machine.guest.ask(label::POOL_FILL, &[20, 0, rights]).ok();
    }
    machine
        .set(&[(Register::Rip, 0x100), (Register::CsBase, 0)])
        .ok();
    machine.start();
    machine
}

pub fn exit_of(machine: &mut Machine, code: u64) -> Exit {
    machine.exit(code);
    let message = machine.guest.world.received(machine.vmm.tcb);
    let words = message.words.try_into().expect("four words");
    Exit::decode(message.label, words).expect("an exit").0
}

#[test]
fn a_move_to_a_control_register_is_told_with_operand_and_length() {
    // mov cr3, r9
    let mut machine = with_code(long_mode(), true, &[0x41, 0x0f, 0x22, 0xd9]);
    machine
        .guest
        .world
        .vcpu(machine.guest.vcpu)
        .gpr(9)
        .set(0x1234_5678_9000);
    let Exit::Cr {
        len,
        number,
        gpr,
        instruction,
        rip,
        value,
        ..
    } = exit_of(&mut machine, exit::WRITE_CR0 + 3)
    else {
        panic!("no CR exit")
    };
    assert_eq!(
        (len, number, gpr, instruction),
        (4, 3, 9, CrInstruction::MovTo)
    );
    assert_eq!((rip, value), (0x100, 0x1234_5678_9000));
}

#[test]
fn lmsw_clts_and_smsw_are_told_apart() {
    for (code, number, expected, len) in [
        (
            &[0x0f, 0x01, 0xf0][..],
            exit::WRITE_CR0,
            CrInstruction::Lmsw,
            3,
        ),
        (&[0x0f, 0x06][..], exit::WRITE_CR0, CrInstruction::Clts, 2),
        (
            &[0x0f, 0x01, 0xe0][..],
            exit::READ_CR0,
            CrInstruction::Smsw,
            3,
        ),
        (
            &[0x0f, 0x20, 0xc0][..],
            exit::READ_CR0,
            CrInstruction::MovFrom,
            3,
        ),
        (
            &[0x0f, 0x01, 0x37][..],
            exit::WRITE_CR0,
            CrInstruction::Other,
            3,
        ),
    ] {
        let mut machine = with_code(real_mode(), false, code);
        let Exit::Cr {
            len: found,
            instruction,
            ..
        } = exit_of(&mut machine, number)
        else {
            panic!("no CR exit")
        };
        assert_eq!((found, instruction), (len, expected), "{code:x?}");
    }
}

#[test]
fn invlpg_is_told_with_its_address() {
    // invlpg [rbx + rcx*4 + 0x10]
    let mut machine = with_code(long_mode(), true, &[0x0f, 0x01, 0x7c, 0x8b, 0x10]);
    let vcpu = machine.guest.world.vcpu(machine.guest.vcpu);
    vcpu.gpr(3).set(0xffff_8000_0000_0000);
    vcpu.gpr(1).set(0x1000);
    let Exit::Invlpg { len, gva, .. } = exit_of(&mut machine, exit::INVLPG) else {
        panic!("no INVLPG exit")
    };
    assert_eq!((len, gva.bits()), (5, 0xffff_8000_0000_4010));
    // In real mode the segment's base counts: invlpg [bx + si].
    let mut machine = with_code(real_mode(), false, &[0x0f, 0x01, 0x38]);
    let vcpu = machine.guest.world.vcpu(machine.guest.vcpu);
    vcpu.write(vmcb::DS + 8, 0x8_0000);
    vcpu.gpr(3).set(0x1234);
    vcpu.gpr(6).set(0xf000);
    let Exit::Invlpg { gva, .. } = exit_of(&mut machine, exit::INVLPG) else {
        panic!("no INVLPG exit")
    };
    assert_eq!(gva.bits(), 0x8_0234);
}

#[test]
fn string_io_is_told_with_repeat_and_segment() {
    // rep outs dx, byte es:[rsi]
    let mut machine = with_code(real_mode(), false, &[0x26, 0xf3, 0x6e]);
    machine.write(vmcb::EXITINFO1, 0x3f8 << 16 | 1 << 4 | 1 << 2 | 1 << 3);
    machine.write(vmcb::EXITINFO2, 0x103);
    let Exit::Io { len, info, .. } = exit_of(&mut machine, exit::IOIO) else {
        panic!("no I/O exit")
    };
    assert_eq!(len, 3);
    assert_eq!(info >> 16, 0x3f8);
    assert_eq!(info >> 7 & 7, 1, "16-bit addresses");
    assert_eq!(info >> 10 & 7, 0, "ES");
}

#[test]
fn an_instruction_whose_page_is_not_in_the_shadow_has_no_length() {
    let mut machine = real_mode();
    machine.start();
    let Exit::Cpuid { len, .. } = exit_of(&mut machine, exit::CPUID) else {
        panic!("no CPUID exit")
    };
    assert_eq!(len, 0);
    // An I/O exit's next RIP is the processor's.
    machine.answer(&[]);
    machine.write(vmcb::EXITINFO2, 0xfff2);
    let Exit::Io { len, .. } = exit_of(&mut machine, exit::IOIO) else {
        panic!("no I/O exit")
    };
    assert_eq!(len, 2);
}

#[test]
fn an_instruction_may_end_where_the_shadow_ends() {
    let mut machine = with_code(long_mode(), true, &[]);
    let base = machine.guest.world.frame(machine.guest.frames[0]);
    crate::mem::write_bytes(base + 0xffe, &[0x0f, 0xa2]);
    machine.write(vmcb::RIP, 0xffe);
    let Exit::Cpuid { len, rip, .. } = exit_of(&mut machine, exit::CPUID) else {
        panic!("no CPUID exit")
    };
    assert_eq!((len, rip), (2, 0xffe));
    machine.answer(&[]);
    machine.write(vmcb::RIP, 0xfff);
    let Exit::Cpuid { len, .. } = exit_of(&mut machine, exit::CPUID) else {
        panic!("no CPUID exit")
    };
    assert_eq!(len, 0);
}

#[test]
fn a_paging_exit_carries_what_a_walk_needs_and_no_register() {
    let mut machine = long_mode();
    machine
        .set(&[(Register::Cr3, 0x7000), (Register::Rax, 0xdead)])
        .ok();
    machine.start();
    machine.write(vmcb::EXITINFO1, 7);
    machine.write(vmcb::EXITINFO2, 0xffff_ffff_8000_0000);
    let found = exit_of(&mut machine, exit::EXCEPTION + 14);
    let Exit::Paging {
        code,
        gva,
        cr3,
        event,
        ..
    } = found
    else {
        panic!("{found:?}")
    };
    assert_eq!(
        (code, gva.bits(), cr3, event),
        (7, 0xffff_ffff_8000_0000, 0x7000, 0)
    );
    machine.expect_exit(ExitClass::Paging);
}

#[test]
fn an_open_window_ends_with_the_window_exit() {
    let mut machine = real_mode();
    machine
        .guest
        .world
        .call(machine.guest.vcpu, label::VCPU_REQUEST_WINDOW, &[], &[])
        .ok();
    machine.start();
    let asked = |machine: &Machine| machine.read(vmcb::V_INTR) & words::svm::vintr::IRQ != 0;
    assert!(asked(&machine));
    assert!(matches!(
        exit_of(&mut machine, exit::VINTR),
        Exit::Window { .. }
    ));
    machine.answer(&[]);
    assert!(!asked(&machine));
}

#[test]
fn an_intercepted_iret_is_told_with_its_length() {
    for (code, len) in [(&[0xcf][..], 1), (&[0x48, 0xcf][..], 2)] {
        let mut machine = with_code(long_mode(), true, code);
        let Exit::Instruction {
            len: found, code, ..
        } = exit_of(&mut machine, exit::IRET)
        else {
            panic!("no instruction exit")
        };
        assert_eq!((found, u64::from(code)), (len, exit::IRET));
    }
}
