//! Segments and task states: 64-, 32- and 16-bit, kernel and user, in one table that serves every mode.
//!
//! Always: descriptors are marked accessed, so that the CPU writes to the table only where LTR sets a TSS busy.

use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::ptr::{addr_of, addr_of_mut};

/// 64-bit kernel code.
pub const CODE64: u16 = 0x08;
/// Kernel data, flat in every mode.
pub const DATA: u16 = 0x10;
/// 32-bit kernel code.
pub const CODE32: u16 = 0x18;
/// User data, with its privilege level.
pub const USER_DATA: u16 = 0x23;
/// 64-bit user code, with its privilege level.
pub const USER_CODE64: u16 = 0x2b;
/// 32-bit user code, with its privilege level.
pub const USER_CODE32: u16 = 0x33;
/// 16-bit code, base 0, limit 64 KiB: the step between protected and real mode.
pub const CODE16: u16 = 0x38;
/// 16-bit data, base 0, limit 64 KiB.
pub const DATA16: u16 = 0x40;
/// The 64-bit task state (two slots).
pub const TSS64: u16 = 0x48;
/// The 32-bit task state.
pub const TSS32: u16 = 0x58;
/// The local descriptor table (two slots, of which 32-bit modes use one).
const LDT: u16 = 0x60;

// Descriptors: APM vol. 2, 4.7 (legacy) and 4.8 (long mode).
global_asm!(
    r#"
    .section .data.gdt, "aw"
    .balign 8
    .globl gdt, gdt_pointer
gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x00cf9b000000ffff
    .quad 0x00cff3000000ffff
    .quad 0x00affb000000ffff
    .quad 0x00cffb000000ffff
    .quad 0x00009b000000ffff
    .quad 0x000093000000ffff
    .quad 0, 0
    .quad 0
    .quad 0, 0
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt
"#
);

/// The 64-bit task state (APM vol. 2, 12.2.5).
#[repr(C, packed(4))]
struct TaskState64 {
    reserved: u32,
    /// The stack of privilege level 0.
    rsp0: u64,
    /// The stacks of levels 1 and 2, and a reserved word.
    others: [u64; 3],
    /// The interrupt stacks.
    interrupt: [u64; 7],
    rest: [u8; 10],
    /// Beyond the limit: no I/O bitmap.
    io_map: u16,
}

/// The 32-bit task state (APM vol. 2, 12.2.4).
#[repr(C)]
struct TaskState32 {
    link: u32,
    /// The stack of privilege level 0.
    esp0: u32,
    ss0: u32,
    rest: [u16; 45],
    /// Beyond the limit: no I/O bitmap.
    io_map: u16,
}

const _: () = assert!(offset_of!(TaskState64, io_map) == 102 && size_of::<TaskState64>() == 104);
const _: () = assert!(offset_of!(TaskState32, io_map) == 102 && size_of::<TaskState32>() == 104);

static mut TASK64: TaskState64 = TaskState64 {
    reserved: 0,
    rsp0: 0,
    others: [0; 3],
    interrupt: [0; 7],
    rest: [0; 10],
    io_map: 104,
};
static mut TASK32: TaskState32 = TaskState32 {
    link: 0,
    esp0: 0,
    ss0: DATA as u32,
    rest: [0; 45],
    io_map: 104,
};

/// Bytes of a trap stack.
const STACK: usize = 16 * 1024;

/// Stacks for traps that come from user mode, 64- and 32-bit: nothing else runs on them.
#[repr(C, align(16))]
struct Stack([u8; STACK]);
static mut STACK64: Stack = Stack([0; STACK]);
static mut STACK32: Stack = Stack([0; STACK]);

unsafe extern "C" {
    static mut gdt: [u64; 14];
}

/// Fills in both task states and loads the 64-bit one.
pub(crate) fn init() {
    // SAFETY: called once, before anything uses a task state; one CPU, no interrupts, and the CPU itself reads them only
    // once TR is loaded. All addresses are below 4 GiB (the image is linked at 1 MiB).
    unsafe {
        TASK64.rsp0 = addr_of!(STACK64) as u64 + STACK as u64;
        TASK32.esp0 = addr_of!(STACK32) as u32 + STACK as u32;
        let table = addr_of_mut!(gdt).cast::<u64>();
        table
            .add(usize::from(TSS64 / 8))
            .write(available_tss(addr_of!(TASK64) as u64));
        table
            .add(usize::from(TSS32 / 8))
            .write(available_tss(addr_of!(TASK32) as u64));
        asm!("ltr {0:x}", in(reg) TSS64, options(nostack, preserves_flags));
    }
}

/// Sets the stack for traps that come from user mode; the one before.
pub fn set_user_trap_stack(top: u64) -> u64 {
    // SAFETY: one CPU; only the CPU itself reads the task state, at a trap.
    unsafe {
        let place = addr_of_mut!(TASK64.rsp0);
        let before = place.read_unaligned();
        place.write_unaligned(top);
        before
    }
}

/// Sets interrupt stack `index`, from 1 to 7.
pub fn set_interrupt_stack(index: usize, top: u64) {
    // SAFETY: as above; the index is checked.
    unsafe {
        let stacks = addr_of_mut!(TASK64.interrupt).cast::<u64>();
        assert!((1..=7).contains(&index));
        stacks.add(index - 1).write_unaligned(top);
    }
}

/// Where the table is.
pub fn address() -> u64 {
    addr_of!(gdt) as u64
}

/// Bytes of the table.
pub const SIZE: u64 = 14 * 8;

/// Loads this table and the 64-bit task state again, whatever was loaded before.
pub fn reload() {
    const BUSY: u64 = 1 << 41;
    unsafe extern "C" {
        static gdt_pointer: [u8; 10];
    }
    // SAFETY: the descriptors mean the same as before; LTR refuses a busy one.
    unsafe {
        let descriptor = addr_of_mut!(gdt).cast::<u64>().add(usize::from(TSS64 / 8));
        descriptor.write_volatile(descriptor.read_volatile() & !BUSY);
        asm!("lgdt [{0}]", "ltr {1:x}", in(reg) addr_of!(gdt_pointer), in(reg) TSS64, options(nostack, preserves_flags));
    }
}

/// The descriptor of an available TSS of 104 bytes at `base`, which is below 4 GiB: type 9 is the 64-bit TSS in long
/// mode and the 32-bit TSS outside it.
const fn available_tss(base: u64) -> u64 {
    (base & 0xff_ffff) << 16 | (base >> 24 & 0xff) << 56 | 0x89 << 40 | 103
}

/// Makes `base`, below 4 GiB or not, the local descriptor table of a long-mode program.
pub fn load_ldt(base: u64, limit: u16) {
    // Type 2: a local descriptor table; 16 bytes in long mode (APM vol. 2, 4.8.3).
    let low = u64::from(limit) | (base & 0xff_ffff) << 16 | (base >> 24 & 0xff) << 56 | 0x82 << 40;
    // SAFETY: both slots are this table's own; nothing else uses them.
    unsafe {
        let table = addr_of_mut!(gdt).cast::<u64>();
        table.add(usize::from(LDT / 8)).write_volatile(low);
        table
            .add(usize::from(LDT / 8) + 1)
            .write_volatile(base >> 32);
        asm!("lldt {0:x}", in(reg) LDT, options(nostack, preserves_flags));
    }
}

/// No local descriptor table.
pub fn unload_ldt() {
    // SAFETY: no segment register that compiled code uses has a selector in it.
    unsafe {
        asm!("mov fs, {0:e}", "lldt {0:x}", in(reg) 0u32, options(nostack, preserves_flags));
    }
}
