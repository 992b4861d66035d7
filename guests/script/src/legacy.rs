//! The executor of 32-bit modes: an interpreter of steps in 32-bit code, with its own interrupt table.
//!
//! Always: the interpreter keeps its state in `Interpreter` alone, so a trap, from whichever level, notes its outcome
//! and goes on with the next step.
#![allow(unsafe_code)] // mode switches and the interpreter's memory

use core::arch::global_asm;
use core::mem::offset_of;
use core::ptr::addr_of_mut;

use guest_rt::cpu::{self, cr, msr};
use guest_rt::gdt::CODE32;
use guest_rt::legacy::{Excursion, call};
use guest_rt::trap::{PF, RETURN};
use guest_rt::user;

use crate::script::{NO_TRAP, Op, Outcome, Step};
use crate::space::{Mode, Space};

/// What the interpreter works on; the offsets stand in its code.
#[repr(C)]
struct Interpreter {
    /// The next step.
    next: u32,
    /// The end of the steps.
    end: u32,
    /// The next outcome.
    outcome: u32,
    /// Where the user code page is mapped.
    user_code: u32,
    /// The stack pointer to return with.
    stack: u32,
}

const _: () =
    assert!(size_of::<Step>() == 24 && size_of::<Outcome>() == 24 && Op::GetEfer as u32 == 21);
const _: () = assert!(offset_of!(Step, address) == 8 && offset_of!(Step, value) == 16);
const _: () = assert!(
    offset_of!(Outcome, error) == 4
        && offset_of!(Outcome, cr2) == 8
        && offset_of!(Outcome, value) == 16
);

// ESI is the step, EDI its outcome, EDX the address, EAX and ECX the value; nothing survives a step but `Interpreter`.
global_asm!(
    r#"
    .section .text.interpreter, "ax"
    .code32
    .globl interpreter_run, interpreter_stubs
interpreter_run:
    mov dword ptr [interpreter_state], ebx
    mov dword ptr [ebx + 16], esp
    lidt [interpreter_idt_pointer]
interpreter_next:
    mov ebx, dword ptr [interpreter_state]
    mov esp, dword ptr [ebx + 16]
    // A trap leaves AC as it was.
    push 2
    popfd
    mov esi, dword ptr [ebx]
    cmp esi, dword ptr [ebx + 4]
    je interpreter_end
    mov edi, dword ptr [ebx + 8]
    mov dword ptr [edi], -1
    xor eax, eax
    mov dword ptr [edi + 4], eax
    mov dword ptr [edi + 8], eax
    mov dword ptr [edi + 12], eax
    mov dword ptr [edi + 20], eax
    mov edx, dword ptr [esi + 8]
    mov eax, dword ptr [esi + 16]
    mov ecx, dword ptr [esi]
    jmp dword ptr [ecx * 4 + interpreter_table]
interpreter_end:
    ret

interpreter_wrote:
    xor eax, eax
interpreter_read:
    mov dword ptr [edi + 16], eax
interpreter_advance:
    add dword ptr [ebx], 24
    add dword ptr [ebx + 8], 24
    jmp interpreter_next

interpreter_op_read8:
    movzx eax, byte ptr [edx]
    jmp interpreter_read
interpreter_op_write8:
    mov byte ptr [edx], al
    jmp interpreter_wrote
interpreter_op_read32:
    mov eax, dword ptr [edx]
    jmp interpreter_read
interpreter_op_write32:
    mov dword ptr [edx], eax
    jmp interpreter_wrote
interpreter_op_load:
    mov eax, dword ptr [edx]
    mov ecx, dword ptr [edx + 4]
    mov dword ptr [edi + 20], ecx
    jmp interpreter_read
    // An entry changes in two halves: first not present, then its high half, then all of it.
interpreter_op_store:
    mov ecx, dword ptr [esi + 20]
    mov dword ptr [edx], 0
    mov dword ptr [edx + 4], ecx
    mov dword ptr [edx], eax
    jmp interpreter_wrote
interpreter_op_read_ac:
    stac
    movzx eax, byte ptr [edx]
    clac
    jmp interpreter_read
interpreter_op_write_ac:
    stac
    mov byte ptr [edx], al
    clac
    jmp interpreter_wrote
interpreter_op_invlpg:
    invlpg [edx]
    jmp interpreter_wrote
interpreter_op_reload:
    mov eax, cr3
interpreter_op_cr3:
    mov cr3, eax
    jmp interpreter_wrote
interpreter_op_cr0:
    not edx
    mov ecx, cr0
    and ecx, edx
    or ecx, eax
    mov cr0, ecx
    jmp interpreter_wrote
interpreter_op_cr4:
    not edx
    mov ecx, cr4
    and ecx, edx
    or ecx, eax
    mov cr4, ecx
    jmp interpreter_wrote
interpreter_op_efer:
    mov ecx, 0xc0000080
    rdmsr
    mov ecx, dword ptr [esi + 8]
    not ecx
    and eax, ecx
    or eax, dword ptr [esi + 16]
    mov ecx, 0xc0000080
    wrmsr
    jmp interpreter_wrote
interpreter_op_get_cr0:
    mov eax, cr0
    jmp interpreter_read
interpreter_op_get_cr3:
    mov eax, cr3
    jmp interpreter_read
interpreter_op_get_cr4:
    mov eax, cr4
    jmp interpreter_read
interpreter_op_get_efer:
    mov ecx, 0xc0000080
    rdmsr
    jmp interpreter_read
interpreter_op_execute:
    call edx
    jmp interpreter_wrote

interpreter_op_user_write:
    mov ecx, dword ptr [ebx + 12]
    add ecx, {write}
    jmp interpreter_to_user
interpreter_op_user_execute:
    mov ecx, edx
    jmp interpreter_to_user
interpreter_op_user_read:
    mov ecx, dword ptr [ebx + 12]
    add ecx, {read}
interpreter_to_user:
    mov edi, edx
    push 0x23
    push 0
    push 2
    push 0x33
    push ecx
    iretd

interpreter_trap:
    mov ebx, dword ptr [interpreter_state]
    mov edi, dword ptr [ebx + 8]
    mov dword ptr [edi + 16], eax
    pop eax
    sub eax, offset interpreter_stubs
    shr eax, 4
    mov dword ptr [edi], eax
    pop eax
    mov dword ptr [edi + 4], eax
    mov eax, cr2
    mov dword ptr [edi + 8], eax
    jmp interpreter_advance

    .set vector32, 0
    .balign 16
interpreter_stubs:
    .rept 256
    .balign 16
    .if (vector32 != 8) && (vector32 != 10) && (vector32 != 11) && (vector32 != 12) && (vector32 != 13) && (vector32 != 14) && (vector32 != 17)
    push 0
    .endif
    call interpreter_trap
    .set vector32, vector32 + 1
    .endr
    .code64

    .section .data.interpreter, "aw"
    .balign 4
interpreter_table:
    .long interpreter_op_read8, interpreter_op_write8, interpreter_op_read32, interpreter_op_write32
    .long interpreter_op_load, interpreter_op_store, interpreter_op_invlpg, interpreter_op_reload
    .long interpreter_op_cr3, interpreter_op_cr0, interpreter_op_cr4, interpreter_op_efer
    .long interpreter_op_execute, interpreter_op_user_read, interpreter_op_user_write, interpreter_op_user_execute
    .long interpreter_op_read_ac, interpreter_op_write_ac
    .long interpreter_op_get_cr0, interpreter_op_get_cr3, interpreter_op_get_cr4, interpreter_op_get_efer
interpreter_idt_pointer:
    .word 256 * 8 - 1
    .long interpreter_idt

    .section .bss.interpreter, "aw", @nobits
    .balign 8
    .globl interpreter_idt
interpreter_idt:
    .skip 256 * 8
interpreter_state:
    .skip 4
"#,
    read = const user::READ,
    write = const user::WRITE,
);

unsafe extern "C" {
    fn interpreter_run();
    fn interpreter_stubs();
    static mut interpreter_idt: [u64; 256];
}

/// Executes `steps` in `space`, or with paging off, and comes back to long mode.
pub fn execute(space: &Space, steps: &[Step], outcomes: &mut [Outcome]) {
    fill_idt();
    let range = steps.as_ptr_range();
    let mut interpreter = Interpreter {
        next: range.start as u32,
        end: range.end as u32,
        outcome: outcomes.as_mut_ptr() as u32,
        user_code: space.user_code as u32,
        stack: 0,
    };
    let paging = if space.mode == Mode::Flat { 0 } else { cr::PG };
    let excursion = Excursion {
        target: interpreter_run as *const () as u32,
        cr0: (cpu::cr0() & !cr::PG | paging) as u32,
        cr3: space.cr3 as u32,
        cr4: if space.mode == Mode::TwoLevel {
            cr::PSE
        } else {
            cr::PAE
        } as u32,
        argument: (&raw mut interpreter) as u32,
    };
    let efer = cpu::rdmsr(msr::EFER);
    // SAFETY: the interpreter is such code: it returns with the stack it got, uses none but its own segments, and the
    // space maps the first GiB to itself. It writes one outcome for each step, into a slice of that length.
    unsafe { call(&excursion) };
    cpu::wrmsr(msr::EFER, efer);
    outcomes.iter_mut().for_each(tidy);
}

/// User code that came back did not fault; CR2 belongs to page faults alone.
fn tidy(outcome: &mut Outcome) {
    if outcome.vector == u32::from(RETURN) {
        *outcome = Outcome::done(outcome.value & 0xff);
    } else if outcome.vector != NO_TRAP {
        outcome.value = 0;
    }
    if outcome.vector != u32::from(PF) {
        outcome.cr2 = 0;
    }
}

/// 32-bit interrupt gates (APM vol. 2, 4.7.3); user code may raise `RETURN` alone.
fn fill_idt() {
    let table = addr_of_mut!(interpreter_idt).cast::<u64>();
    for vector in 0..256 {
        let handler = interpreter_stubs as *const () as u64 + 16 * vector;
        let kind: u64 = if vector == u64::from(RETURN) {
            0xee00
        } else {
            0x8e00
        };
        let gate = handler & 0xffff
            | u64::from(CODE32) << 16
            | kind << 32
            | (handler >> 16 & 0xffff) << 48;
        // SAFETY: inside the table, which only this function writes and no CPU mode uses meanwhile.
        unsafe { table.add(vector as usize).write(gate) };
    }
}
