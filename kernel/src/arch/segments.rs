//! GDT, TSS and IDT.
//!
//! Always: the GDT is in writable memory, because #VMEXIT reloads segments from it (APM vol. 2, 15.6); the TSS has no I/O
//! bitmap, so IN and OUT in user mode are #GP; user mode reaches by INT n only vectors 3 and 4 and those above the timer.
#![allow(unsafe_code)] // Tables the processor reads, and the instructions that load them.

use core::arch::asm;
use core::cell::UnsafeCell;

use words::x86::{msr, vector};

use super::{cpu, entry, stacks};

/// Kernel code segment; kernel data follows it, as SYSCALL wants.
pub const KERNEL_CODE: u16 = 0x08;
/// Kernel data segment.
pub const KERNEL_DATA: u16 = 0x10;
/// User data segment, with privilege level 3.
pub const USER_DATA: u16 = 0x18 | 3;
/// User code segment; it follows user data, as SYSRET wants.
pub const USER_CODE: u16 = 0x20 | 3;
const TSS: u16 = 0x28;

/// First vector that no hardware uses: INT n from here up to the spurious vector is an unknown system call.
pub const FIRST_UNKNOWN: u8 = 158;
/// The last of them.
pub const LAST_UNKNOWN: u8 = 254;
/// The local APIC's spurious-interrupt vector.
pub const SPURIOUS: u8 = 255;

const TSS_WORDS: usize = 26;
const TSS_BYTES: u64 = 104;

/// A table the processor reads and in part writes.
#[repr(C, align(16))]
struct Table<T>(UnsafeCell<T>);

// SAFETY: written once at boot by the one processor, then used by hardware only.
unsafe impl<T> Sync for Table<T> {}

static GDT: Table<[u64; 7]> = Table(UnsafeCell::new([0; 7]));
static TSS_TABLE: Table<[u32; TSS_WORDS]> = Table(UnsafeCell::new([0; TSS_WORDS]));
static IDT: Table<[[u64; 2]; 256]> = Table(UnsafeCell::new([[0; 2]; 256]));

/// Operand of LGDT and LIDT.
#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Interrupt stack table slots (1 to 7; 0 means the current or TSS.RSP0 stack).
mod ist {
    pub const DOUBLE_FAULT: u8 = 1;
    pub const NMI: u8 = 2;
    pub const MACHINE_CHECK: u8 = 3;
    pub const DEBUG: u8 = 4;
}

/// Builds and loads the three tables.
pub fn init() {
    load_gdt();
    load_idt();
}

fn load_gdt() {
    let tss = TSS_TABLE.0.get() as u64;
    // An available 64-bit TSS, APM vol. 2, 4.8.3; LTR marks it busy.
    let tss_low = (TSS_BYTES - 1) | (tss & 0xff_ffff) << 16 | 0x89 << 40 | (tss >> 24 & 0xff) << 56;
    let gdt = [
        0,
        0x0020_9b00_0000_0000,
        0x0000_9300_0000_0000,
        0x0000_f300_0000_0000,
        0x0020_fb00_0000_0000,
        tss_low,
        tss >> 32,
    ];
    let pointer = Pointer {
        limit: size_of_val(&gdt) as u16 - 1,
        base: GDT.0.get() as u64,
    };
    // SAFETY: the one writer, before the tables are loaded; the selectors loaded mean what they meant under the boot
    // table, so no code or stack moves.
    unsafe {
        *TSS_TABLE.0.get() = task_state();
        *GDT.0.get() = gdt;
        asm!("lgdt [{}]", in(reg) &pointer, options(readonly, nostack, preserves_flags));
        asm!("mov ss, {0:x}", "mov ds, {0:x}", "mov es, {0:x}", "mov fs, {1:x}", "mov gs, {1:x}", "lldt {1:x}",
             in(reg) KERNEL_DATA, in(reg) 0u16, options(nostack, preserves_flags));
        asm!("ltr {:x}", in(reg) TSS, options(nostack, preserves_flags));
    }
}

/// The 64-bit TSS (APM vol. 2, 12.2.5): RSP0 at byte 4, IST1.. at byte 36, the I/O bitmap's offset, past the end, at 102.
fn task_state() -> [u32; TSS_WORDS] {
    let mut words = [0; TSS_WORDS];
    let mut set = |word: usize, value: u64| {
        words[word] = value as u32;
        words[word + 1] = (value >> 32) as u32;
    };
    set(1, stacks::ENTRY.top());
    for (slot, stack) in [
        (ist::DOUBLE_FAULT, &stacks::DOUBLE_FAULT),
        (ist::NMI, &stacks::NMI),
        (ist::MACHINE_CHECK, &stacks::MACHINE_CHECK),
        (ist::DEBUG, &stacks::DEBUG),
    ] {
        set(9 + 2 * (usize::from(slot) - 1), stack.top());
    }
    words[25] = (TSS_BYTES as u32) << 16;
    words
}

fn load_idt() {
    let pointer = Pointer {
        limit: size_of::<[[u64; 2]; 256]>() as u16 - 1,
        base: IDT.0.get() as u64,
    };
    // SAFETY: the one writer, before the table is loaded; every gate leads to a stub.
    unsafe {
        for number in 0..=255 {
            (*IDT.0.get())[usize::from(number)] = gate(number);
        }
        asm!("lidt [{}]", in(reg) &pointer, options(readonly, nostack, preserves_flags));
    }
}

/// An interrupt gate (APM vol. 2, 4.8.4).
fn gate(number: u8) -> [u64; 2] {
    let (handler, stack) = match number {
        vector::NMI => (entry::nmi_stub(), ist::NMI),
        vector::DF => (entry::stub(number), ist::DOUBLE_FAULT),
        vector::MC => (entry::stub(number), ist::MACHINE_CHECK),
        vector::DB => (entry::stub(number), ist::DEBUG),
        _ => (entry::stub(number), 0),
    };
    let user_may_call = matches!(
        number,
        vector::BP | vector::OF | FIRST_UNKNOWN..=LAST_UNKNOWN
    );
    let attributes = if user_may_call { 0xee } else { 0x8e };
    let low = (handler & 0xffff)
        | u64::from(KERNEL_CODE) << 16
        | u64::from(stack) << 32
        | attributes << 40
        | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

/// Points SYSCALL at the kernel and SYSRET at the user segments.
pub fn init_syscall() {
    // SYSRET takes SS = base + 8 and CS = base + 16 (APM vol. 2, 6.1.1).
    let sysret_base = u64::from(USER_DATA - 8);
    let star = sysret_base << 48 | u64::from(KERNEL_CODE) << 32;
    // SAFETY: registers every long-mode processor has; the target is the entry stub.
    unsafe {
        cpu::write_msr(msr::STAR, star);
        cpu::write_msr(msr::LSTAR, entry::syscall_stub());
        cpu::write_msr(msr::CSTAR, entry::syscall_stub());
        cpu::write_msr(msr::SFMASK, entry::SYSCALL_CLEARS);
    }
}
