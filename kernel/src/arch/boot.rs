//! From the boot loader's 32-bit entry to long mode and Rust.
//!
//! Always: the multiboot 1 header is in the file's first 8 KiB; the boot tables map physical 0..4 GiB three times: at 0
//! (for the jump only), at the window's base, and its first GiB at the image's base. `paging` replaces them all.
#![allow(unsafe_code)] // The first instructions of the machine; there is no safe way to write them.

use core::arch::global_asm;
use core::cell::UnsafeCell;

use super::stacks;

/// PML4, PDPT and four page directories, filled by the code below.
#[repr(C, align(4096))]
struct BootTables(UnsafeCell<[u8; 6 * 4096]>);

// SAFETY: written by the boot code before any Rust code runs, then only walked by the processor.
unsafe impl Sync for BootTables {}

#[used]
#[unsafe(link_section = ".bss.boot_tables")]
static BOOT_TABLES: BootTables = BootTables(UnsafeCell::new([0; 6 * 4096]));

/// EAX on entry from a multiboot 1 loader.
pub const LOADER_MAGIC: u32 = 0x2bad_b002;

// Flag bits of the header: 0 modules on page boundaries, 1 memory information wanted, 16 address fields valid (the
// loader then needs no ELF32 file).
const HEADER_MAGIC: u32 = 0x1bad_b002;
const HEADER_FLAGS: u32 = 0x0001_0003;

global_asm!(
    r#"
    .section .boot, "ax"
    .code32
    .balign 4
1:  .long {magic}
    .long {flags}
    .long {checksum}
    .long 1b
    .long __image_start_phys
    .long __load_end_phys
    .long __image_end_phys
    .long umbra_start32

    .global umbra_start32
umbra_start32:
    cli
    cld
    movl %eax, %edi
    movl %ebx, %esi

    // Long mode and no-execute are needed (CPUID 8000_0001 EDX bits 29 and 20).
    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb 8f
    movl $0x80000001, %eax
    cpuid
    andl $0x20100000, %edx
    cmpl $0x20100000, %edx
    jne 8f

    // PML4 slots 0 and 511 share one PDPT; its slots 0..3 are the first 4 GiB, slot 510 the image's.
    movl $__boot_tables_phys+0x1003, %eax
    movl %eax, __boot_tables_phys
    movl %eax, __boot_tables_phys+511*8
    movl $__boot_tables_phys+0x2003, %eax
    movl %eax, __boot_tables_phys+0x1000+510*8
    xorl %ecx, %ecx
2:  movl %eax, __boot_tables_phys+0x1000(,%ecx,8)
    addl $0x1000, %eax
    incl %ecx
    cmpl $4, %ecx
    jne 2b
    // 2048 pages of 2 MiB: present, writable, large.
    movl $0x83, %eax
    xorl %ecx, %ecx
3:  movl %eax, __boot_tables_phys+0x2000(,%ecx,8)
    addl $0x200000, %eax
    incl %ecx
    cmpl $2048, %ecx
    jne 3b

    movl $__boot_tables_phys, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax             // PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx      // EFER: LME, NXE
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80010001, %eax       // PG, WP, PE
    movl %eax, %cr0
    lgdt 5f
    ljmp $0x08, $7f

    .balign 8
4:  .quad 0
    .quad 0x00209b0000000000    // 64-bit code, the selectors of the final table
    .quad 0x0000930000000000    // data
5:  .word 23
    .long 4b

6:  .asciz "this CPU has no long mode with no-execute pages, Umbra needs both; in QEMU use -cpu qemu64\n"

8:  movl $6b, %esi
    movw $0x2f8, %dx
9:  lodsb
    testb %al, %al
    jz 10f
    outb %al, %dx
    jmp 9b
10: hlt
    jmp 10b

    .code64
7:  movw $0x10, %ax
    movw %ax, %ss
    movw %ax, %ds
    movw %ax, %es
    movq ${stack}, %rsp
    addq ${stack_size}, %rsp
    xorl %ebp, %ebp
    movl %edi, %edi
    movl %esi, %esi
    movq ${start}, %rax
    call *%rax
    ud2
    .text
    "#,
    magic = const HEADER_MAGIC,
    flags = const HEADER_FLAGS,
    checksum = const HEADER_MAGIC.wrapping_add(HEADER_FLAGS).wrapping_neg(),
    stack = sym stacks::KERNEL,
    stack_size = const size_of::<stacks::KernelStack>(),
    start = sym super::start,
    options(att_syntax),
);
