//! From the loader's 32-bit entry to long mode.
//!
//! Always: the first GiB is mapped to itself in writable 2 MiB pages, `pml4_boot` is the root, the stack is 128 KiB of
//! BSS, interrupts are off, and the exception table stands before the guest's own `main` runs.

use core::arch::global_asm;

// The header (Multiboot 0.6.96, section 3.1): flags 1 (memory information) and 16 (address fields).
// CR0 = PG WP NE ET MP PE, CR4 = PAE, EFER = LME + NXE (APM vol. 2, 14.6: enabling long mode).
global_asm!(
    r#"
    .section .multiboot, "a"
    .balign 4
multiboot_header:
    .long 0x1badb002
    .long 0x00010002
    .long -(0x1badb002 + 0x00010002)
    .long multiboot_header
    .long image_start
    .long image_data_end
    .long image_bss_end
    .long _start

    .section .text.boot, "ax"
    .code32
    .globl _start
_start:
    cli
    cld
    mov esp, offset boot_stack_top
    mov dword ptr [boot_magic], eax
    mov dword ptr [boot_information], ebx

    mov dword ptr [pml4_boot], offset pdpt_boot + 3
    mov dword ptr [pdpt_boot], offset pd_boot + 3
    mov edi, offset pd_boot
    mov eax, 0x83
2:  mov dword ptr [edi], eax
    add edi, 8
    add eax, 0x200000
    cmp eax, 0x40000083
    jne 2b

    mov eax, 0x20
    mov cr4, eax
    mov eax, offset pml4_boot
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x900
    wrmsr
    mov eax, 0x80010033
    mov cr0, eax
    lgdt [gdt_pointer]
    push 0x08
    mov eax, offset boot_long
    push eax
    retf

    .code64
boot_long:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov esp, offset boot_stack_top
    xor ebp, ebp
    call guest_start
    ud2

    .section .bss.boot, "aw", @nobits
    .balign 4096
    .globl pml4_boot, pdpt_boot, pd_boot
pml4_boot:
    .skip 4096
pdpt_boot:
    .skip 4096
pd_boot:
    .skip 4096
    .skip 131072
    .globl boot_stack_top
boot_stack_top:
"#
);

unsafe extern "Rust" {
    /// The guest's program; `entry!` defines it.
    safe fn guest_main();
}

/// Called on the boot stack in long mode.
#[unsafe(no_mangle)]
extern "C" fn guest_start() -> ! {
    crate::gdt::init();
    crate::trap::init();
    guest_main();
    crate::exit::exit(crate::exit::SUCCESS)
}

/// Names the function that is the guest's program. When it returns, the guest ends with success.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[allow(unsafe_code)] // gives the function its symbol
        #[unsafe(no_mangle)]
        fn guest_main() {
            $main()
        }
    };
}
