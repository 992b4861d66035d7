//! Excursions out of long mode: runs 32-bit code under the paging mode one asks for and comes back.
//!
//! Always: `call` returns in long mode with control registers, EFER, interrupt table and task state as they were.
//! The 32-bit code must keep the segments of `gdt.rs` usable, must not touch `Excursion`, and returns with `ret`.

use core::arch::global_asm;
use core::mem::offset_of;

use crate::cpu::{self, cr};

/// What the 32-bit code runs under.
#[repr(C)]
pub struct Excursion {
    /// The address of the 32-bit function.
    pub target: u32,
    /// CR0 while it runs; PG says whether paging is on.
    pub cr0: u32,
    /// CR3 while it runs.
    pub cr3: u32,
    /// CR4 while it runs; PAE says which paging.
    pub cr4: u32,
    /// What it finds in EBX.
    pub argument: u32,
}

const _: () = assert!(
    offset_of!(Excursion, cr0) == 4
        && offset_of!(Excursion, cr3) == 8
        && offset_of!(Excursion, cr4) == 12
        && offset_of!(Excursion, argument) == 16
);

// Leaving and entering long mode: APM vol. 2, 14.6 and 14.7: paging off in identity-mapped code, LME, CR4, CR3, paging on.
// Both task states are marked available first, since LTR refuses a busy one.
global_asm!(
    r#"
    .section .text.legacy, "ax"
    .code64
    .globl legacy_call
legacy_call:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    pushfq
    cli
    mov qword ptr [legacy_stack], rsp
    mov ebx, edi
    mov rax, cr0
    mov dword ptr [legacy_cr0], eax
    mov rax, cr3
    mov dword ptr [legacy_cr3], eax
    mov rax, cr4
    mov dword ptr [legacy_cr4], eax
    mov ecx, 0xc0000080
    rdmsr
    and eax, 0xfffffbff
    mov dword ptr [legacy_efer], eax
    sidt [legacy_idt]
    and dword ptr [gdt + 0x48 + 4], 0xfffffdff
    and dword ptr [gdt + 0x58 + 4], 0xfffffdff
    push 0x18
    mov eax, offset legacy_down
    push rax
    retfq

    .code32
legacy_down:
    mov eax, 0x10
    mov ss, eax
    mov esp, offset legacy_stack_top
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    mov ecx, 0xc0000080
    rdmsr
    and eax, 0xfffffeff
    wrmsr
    mov eax, dword ptr [ebx + 12]
    mov cr4, eax
    mov eax, dword ptr [ebx + 8]
    mov cr3, eax
    mov eax, dword ptr [ebx + 4]
    mov cr0, eax
    mov eax, 0x58
    ltr ax
    mov eax, 0x23
    mov ds, eax
    mov es, eax
    mov eax, dword ptr [ebx]
    mov ebx, dword ptr [ebx + 16]
    call eax

    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    mov eax, dword ptr [legacy_cr4]
    mov cr4, eax
    mov eax, dword ptr [legacy_cr3]
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    mov eax, dword ptr [legacy_efer]
    wrmsr
    mov eax, dword ptr [legacy_cr0]
    mov cr0, eax
    push 0x08
    mov eax, offset legacy_up
    push eax
    retf

    .code64
legacy_up:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov rsp, qword ptr [legacy_stack]
    lidt [legacy_idt]
    and dword ptr [gdt + 0x48 + 4], 0xfffffdff
    mov eax, 0x48
    ltr ax
    popfq
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

    .section .bss.legacy, "aw", @nobits
    .balign 16
legacy_stack:
    .skip 8
legacy_cr0:
    .skip 4
legacy_cr3:
    .skip 4
legacy_cr4:
    .skip 4
legacy_efer:
    .skip 4
legacy_idt:
    .skip 16
    .skip 4096
legacy_stack_top:
"#
);

impl Excursion {
    /// Paging off, and so CR4's bits.
    pub fn without_paging(target: unsafe extern "C" fn(), argument: u32) -> Self {
        Self {
            target: target as *const () as u32,
            cr0: (cpu::cr0() & !cr::PG) as u32,
            cr3: 0,
            cr4: 0,
            argument,
        }
    }
}

/// Runs the excursion.
///
/// # Safety
///
/// `target` is 32-bit code that keeps the promises above, and under the registers asked for, the image stays mapped to
/// itself.
pub unsafe fn call(excursion: &Excursion) {
    unsafe extern "C" {
        fn legacy_call(excursion: &Excursion);
    }
    // SAFETY: by this function's contract; the image, so also `excursion` on the boot stack, lies below 4 GiB.
    unsafe { legacy_call(excursion) }
}
