//! Back to real mode: paging off, protection off, 16-bit code that prints, calls an interrupt vector and uses segments;
//! then all the way up again.
#![allow(unsafe_code)] // mode switches; writes to the first KiB

use core::arch::global_asm;

use guest_rt::cpu;
use guest_rt::legacy::{Excursion, call};
use guest_rt::real::{LOW, install};
use guest_rt::{real_mode_begins, real_mode_ends};

use super::report::Report;

/// The interrupt that the 16-bit code raises.
const VECTOR: u64 = 0x60;

// `real_down` is the excursion's 32-bit function: it enters 16-bit protected mode at the copy, which clears PE.
// In real mode the code prints "misbehave real-mode: " and what it found: 'i' from the interrupt handler, 's' if a
// segment's base is 16 times its value, 's' again if an offset wraps at 64 KiB.
global_asm!(
    r#"
    .section .text.real, "ax"
    .code32
    .globl real_down, real_code, real_code_end, real_handler
real_down:
    mov dword ptr [real_stack], esp
    sidt [real_idt]
    lidt [real_ivt]
    mov eax, 0x40
    mov ds, eax
    mov es, eax
    mov ss, eax
    push 0x38
    push {low}
    retf
real_up:
    mov eax, 0x10
    mov ss, eax
    mov eax, 0x23
    mov ds, eax
    mov es, eax
    mov esp, dword ptr [real_stack]
    lidt [real_idt]
    ret

    .code16
real_code:
"#,
    real_mode_begins!("real_code"),
    r#"
    .byte 0xbe // mov si, imm16
    .word real_text - real_code + {low}
2:  lodsb
    test al, al
    jz 3f
    call real_print
    jmp 2b
3:  int 0x60
    call real_print
    mov ax, 0x0123
    mov es, ax
    mov byte ptr es:[0x10], 's'
    mov al, byte ptr [0x1240]
    call real_print
    mov bx, 0xffff
    mov al, byte ptr [bx + 0x1241]
    call real_print
    mov al, 0x0a
    call real_print
"#,
    real_mode_ends!("real_up"),
    r#"
real_print:
    mov ah, al
    mov dx, 0x3fd
2:  in al, dx
    test al, 0x20
    jz 2b
    mov al, ah
    mov dx, 0x3f8
    out dx, al
    ret
real_handler:
    mov al, 'i'
    iret
real_text:
    .asciz "misbehave real-mode: "
real_code_end:
    .code64

    .section .data.real, "aw"
    .balign 4
real_ivt:
    .word 0x3ff
    .long 0
real_idt:
    .word 0
    .long 0
real_stack:
    .long 0
"#,
    low = const LOW,
);

unsafe extern "C" {
    fn real_down();
    fn real_code();
    fn real_code_end();
    fn real_handler();
}

/// Goes there twice, and checks that long mode is as it was.
pub fn real_mode(report: &mut Report) {
    let before = [
        cpu::cr0(),
        cpu::cr3(),
        cpu::cr4(),
        cpu::rdmsr(cpu::msr::EFER),
    ];
    install(real_code, real_code_end, &[(VECTOR, real_handler)]);
    let excursion = Excursion::without_paging(real_down, 0);
    for _ in 0..2 {
        // SAFETY: the code comes back with the stack and segments it got.
        unsafe { call(&excursion) };
    }
    report.holds(
        "long mode again",
        before
            == [
                cpu::cr0(),
                cpu::cr3(),
                cpu::cr4(),
                cpu::rdmsr(cpu::msr::EFER),
            ],
    );
    // SAFETY: the byte that the 16-bit code wrote.
    let written = unsafe { (0x1240 as *const u8).read_volatile() };
    report.is("its byte", written, b's');
}
