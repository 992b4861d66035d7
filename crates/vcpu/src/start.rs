//! The registers a machine starts with, one function for each way in.

use crate::control::Control;
use crate::registers::Registers;
use crate::segment::Segment;
use exit_abi::Register;
use words::x86::{cr0, cr4, efer, rflags};

/// EAX of a multiboot 1 kernel.
pub const MULTIBOOT_MAGIC: u64 = 0x2bad_b002;

/// A machine about to start: what to write into the vCPU, and the control registers that go with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start {
    /// Every register that matters.
    pub registers: Registers,
    /// The guest's control registers (also in `registers`).
    pub control: Control,
}

/// Attributes in the VMCB's form (APM vol. 2, 15.5.1): type, S, DPL, P, L, D/B, G.
mod attributes {
    pub const CODE64: u16 = 0xa9b;
    pub const CODE32: u16 = 0xc9b;
    pub const CODE16: u16 = 0x09b;
    pub const DATA32: u16 = 0xc93;
    pub const DATA16: u16 = 0x093;
    pub const LDT: u16 = 0x082;
    pub const TSS_BUSY: u16 = 0x08b;
}

const FOUR_GIB: u32 = 0xffff_ffff;
const SIXTY_FOUR_KIB: u32 = 0xffff;
/// DR6 and DR7 after reset (APM vol. 2, 13.1.1).
const DR6_RESET: u64 = 0xffff_0ff0;
const DR7_RESET: u64 = 0x400;
/// Limit of the Linux boot GDT: null, unused, code 0x10, data 0x18.
const LINUX_GDT_LIMIT: u64 = 4 * 8 - 1;

/// 64-bit Linux boot protocol: long mode on the loader's page tables, flat segments 0x10 and 0x18, RSI = zero page,
/// interrupts off.
#[must_use]
pub fn linux64(rip: u64, zero_page: u64, cr3: u64, gdt: u64) -> Start {
    let control = Control {
        cr0: cr0::PG | cr0::PE | cr0::ET,
        cr3,
        cr4: cr4::PAE,
        efer: efer::LME | efer::LMA,
    };
    let mut registers = common(control);
    code(&mut registers, 0x10, attributes::CODE64, FOUR_GIB, 0);
    data(&mut registers, 0x18, attributes::DATA32, FOUR_GIB);
    registers.set(Register::GdtrBase, gdt);
    registers.set(Register::GdtrLimit, LINUX_GDT_LIMIT);
    registers.set(Register::Rip, rip);
    registers.set(Register::Rsi, zero_page);
    Start { registers, control }
}

/// Multiboot 1: protected mode without paging, flat 32-bit segments, EAX = magic, EBX = information structure.
#[must_use]
pub fn multiboot(eip: u32, info: u32) -> Start {
    let mut start = flat(eip, 0x08, 0x10);
    start.registers.set(Register::Rax, MULTIBOOT_MAGIC);
    start.registers.set(Register::Rbx, u64::from(info));
    start
}

/// 32-bit Linux boot protocol: protected mode without paging, flat segments from the loader's GDT, ESI = zero page.
#[must_use]
pub fn linux32(eip: u32, zero_page: u32, gdt: u32) -> Start {
    let mut start = flat(eip, 0x10, 0x18);
    start.registers.set(Register::GdtrBase, u64::from(gdt));
    start.registers.set(Register::GdtrLimit, LINUX_GDT_LIMIT);
    start.registers.set(Register::Rsi, u64::from(zero_page));
    start
}

/// PVH: protected mode without paging, flat segments, EBX = start information.
#[must_use]
pub fn pvh(eip: u32, start_info: u32) -> Start {
    let mut start = flat(eip, 0x08, 0x10);
    start.registers.set(Register::Rbx, u64::from(start_info));
    start
}

/// Protected mode without paging, flat 32-bit segments with these selectors.
fn flat(eip: u32, code_selector: u16, data_selector: u16) -> Start {
    let control = Control {
        cr0: cr0::PE | cr0::ET,
        ..Control::default()
    };
    let mut registers = common(control);
    code(
        &mut registers,
        code_selector,
        attributes::CODE32,
        FOUR_GIB,
        0,
    );
    data(&mut registers, data_selector, attributes::DATA32, FOUR_GIB);
    registers.set(Register::Rip, u64::from(eip));
    Start { registers, control }
}

/// Real mode at CS:IP.
#[must_use]
pub fn real(cs: u16, ip: u16) -> Start {
    let control = Control {
        cr0: cr0::ET,
        ..Control::default()
    };
    let mut registers = common(control);
    let base = u64::from(cs) << 4;
    code(&mut registers, cs, attributes::CODE16, SIXTY_FOUR_KIB, base);
    data(&mut registers, 0, attributes::DATA16, SIXTY_FOUR_KIB);
    registers.set(Register::Rip, u64::from(ip));
    Start { registers, control }
}

/// What every start has in common: control and debug registers, tables that are not there, RFLAGS, zeroes.
fn common(control: Control) -> Registers {
    let mut registers = Registers::new();
    for number in 0..16 {
        registers.set_gpr(number, 0);
    }
    let segment = |attributes| Segment {
        attributes,
        limit: SIXTY_FOUR_KIB,
        ..Segment::default()
    };
    let values = [
        (Register::Rflags, rflags::ONE),
        (Register::Cr0, control.cr0),
        (Register::Cr2, 0),
        (Register::Cr3, control.cr3),
        (Register::Cr4, control.cr4),
        (Register::Efer, control.efer),
        (Register::Dr6, DR6_RESET),
        (Register::Dr7, DR7_RESET),
        (Register::LdtrBase, 0),
        (Register::Ldtr, segment(attributes::LDT).rest()),
        (Register::TrBase, 0),
        (Register::Tr, segment(attributes::TSS_BUSY).rest()),
        (Register::GdtrBase, 0),
        (Register::GdtrLimit, 0),
        (Register::IdtrBase, 0),
        // As after reset (APM vol. 2, 14.1.3): a program may go to real mode and use the table at 0 without LIDT.
        (Register::IdtrLimit, u64::from(SIXTY_FOUR_KIB)),
        (Register::Cpl, 0),
    ];
    for (register, value) in values {
        registers.set(register, value);
    }
    registers
}

fn code(registers: &mut Registers, selector: u16, attributes: u16, limit: u32, base: u64) {
    let segment = Segment {
        selector,
        attributes,
        limit,
        base,
    };
    registers.set(Register::CsBase, base);
    registers.set(Register::Cs, segment.rest());
}

fn data(registers: &mut Registers, selector: u16, attributes: u16, limit: u32) {
    let segment = Segment {
        selector,
        attributes,
        limit,
        base: 0,
    };
    let all = [
        (Register::EsBase, Register::Es),
        (Register::SsBase, Register::Ss),
        (Register::DsBase, Register::Ds),
        (Register::FsBase, Register::Fs),
        (Register::GsBase, Register::Gs),
    ];
    for (base, rest) in all {
        registers.set(base, 0);
        registers.set(rest, segment.rest());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registers::MAX_WORDS;

    #[test]
    fn linux_starts_in_long_mode_with_its_zero_page() {
        let start = linux64(0x100_0200, 0x7000, 0x9000, 0x8000);
        assert!(start.control.is_long());
        let registers = &start.registers;
        assert_eq!(registers.get(Register::Rip), 0x100_0200);
        assert_eq!(registers.get(Register::Rsi), 0x7000);
        assert_eq!(registers.get(Register::Cr3), 0x9000);
        assert_eq!(registers.get(Register::Rflags), 2);
        assert_eq!(registers.get(Register::Cs) & 0xffff, 0x10);
        assert_eq!(registers.get(Register::Ss) & 0xffff, 0x18);
        let cs = Segment::from_words(0, registers.get(Register::Cs));
        assert!(cs.is_long_code() && !cs.is_big());
    }

    #[test]
    fn multiboot_starts_in_protected_mode_without_paging() {
        let start = multiboot(0x10_0000, 0x9500);
        assert!(start.control.is_protected() && !start.control.is_long());
        assert_eq!(start.control.cr0 & cr0::PG, 0);
        assert_eq!(start.registers.get(Register::Rax), 0x2bad_b002);
        assert_eq!(start.registers.get(Register::Rbx), 0x9500);
        assert!(Segment::from_words(0, start.registers.get(Register::Cs)).is_big());
    }

    #[test]
    fn whoever_goes_to_real_mode_without_lidt_finds_the_table_at_zero() {
        for start in [multiboot(0x10_0000, 0), pvh(0x10_0000, 0), real(0, 0x7c00)] {
            assert_eq!(start.registers.get(Register::IdtrBase), 0);
            assert_eq!(start.registers.get(Register::IdtrLimit), 0xffff);
        }
    }

    #[test]
    fn real_mode_starts_at_its_segment() {
        let start = real(0x7c0, 0x10);
        assert!(!start.control.is_protected());
        assert_eq!(start.registers.get(Register::CsBase), 0x7c00);
        assert_eq!(start.registers.get(Register::Rip), 0x10);
    }

    #[test]
    fn a_start_fits_a_message_and_leaves_events_alone() {
        for start in [linux64(0, 0, 0, 0), multiboot(0, 0), real(0, 0)] {
            assert!(start.registers.encode(&mut [0; MAX_WORDS]) <= MAX_WORDS);
            let mask = start.registers.mask().0;
            assert_eq!(mask & Register::Event.bit(), 0);
            assert_eq!(mask & Register::Window.bit(), 0);
            assert_eq!(start.registers.get(Register::Efer), start.control.efer);
        }
    }
}
