//! The conductor: goes from mode to mode as a list says, looks in each at memory, page faults and exceptions, and notes
//! what it saw.
//!
//! Always: it runs with interrupts off, in code mapped to itself in every mode, and judges nothing. A trap where none is
//! provoked ends the machine with `exit::FATAL`.
#![allow(unsafe_code)] // mode switches

use core::arch::global_asm;
use core::mem::offset_of;

use guest_rt::cpu;
use guest_rt::exit::FATAL;
use guest_rt::gdt::{CODE32, CODE64};
use guest_rt::legacy::{Excursion, call};
use guest_rt::real::{LOW, install};
use guest_rt::trap::RETURN;
use guest_rt::{real_mode_begins, real_mode_ends};

/// What runs in a mode.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// 32-bit code, paging off.
    Flat = 0,
    /// 32-bit code, paging on.
    Paged = 1,
    /// 32-bit code in long mode.
    Compatibility = 2,
    /// 64-bit code.
    Long = 3,
    /// 16-bit code, protection off.
    Real = 4,
}

/// A mode: what its registers hold, and where it looks.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Mode {
    /// What runs in it.
    pub kind: Kind,
    /// CR0.
    pub cr0: u32,
    /// CR3.
    pub cr3: u32,
    /// CR4.
    pub cr4: u32,
    /// EFER, without LMA.
    pub efer: u32,
    /// The interrupt table's pointer.
    pub idt: u32,
    /// The address of the counter.
    pub window: u64,
    /// An address without translation.
    pub absent: u64,
    /// An address that must not be written.
    pub read_only: u64,
}

/// One station.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Step {
    /// The mode's address.
    pub mode: u32,
    /// The address of four bytes to write before, or 0.
    pub edit: u32,
    /// What is written there.
    pub value: u32,
    /// `DIRECT`, `EARLY`.
    pub flags: u32,
}

/// Paging stays on: CR4 and CR3 are loaded under way.
pub const DIRECT: u32 = 1;
/// The edit happens in the mode before.
pub const EARLY: u32 = 2;

/// What was seen at one station. A trap is the vector times 65536 plus the error code, or `NO_TRAP`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Seen {
    /// The counter, after one was added.
    pub counter: u32,
    /// The trap at the address without translation; in real mode what INT 60h gave.
    pub absent: u32,
    /// CR2 then; in real mode the second word of the vendor's name.
    pub absent_cr2: u64,
    /// The trap at a write to the address that must not be written.
    pub read_only: u32,
    /// The trap at an undefined instruction; in real mode vectors 6 and 0.
    pub undefined: u32,
    /// CR2 at the refused write.
    pub read_only_cr2: u64,
    /// CR0, then CR4.
    pub controls: [u32; 2],
    /// EFER, with LMA; not in real mode.
    pub efer: u64,
}

/// No trap.
pub const NO_TRAP: u32 = 0xffff_0000;
/// What the handler of INT 60h answers.
pub const REAL_ANSWER: u32 = 0x1d1d;

const _: () = assert!(
    offset_of!(Mode, window) == 24
        && offset_of!(Mode, absent) == 32
        && offset_of!(Mode, read_only) == 40
);
const _: () = assert!(size_of::<Step>() == 16 && size_of::<Seen>() == 48);
const _: () = assert!(
    offset_of!(Seen, read_only) == 16
        && offset_of!(Seen, undefined) == 20
        && offset_of!(Seen, read_only_cr2) == 24
        && offset_of!(Seen, controls) == 32
        && offset_of!(Seen, efer) == 40
);

// EBX is the mode, EDI what is seen, throughout. `modes_resume` is where the next trap leads, once.
global_asm!(
    r#"
    // What 32- and 64-bit code have in common. \p is the first letter of the registers' names, \bits their width.
    .macro modes_see bits, p
    mov \p\()si, [\p\()bx + 24]
    inc dword ptr [\p\()si]
    mov eax, dword ptr [\p\()si]
    mov dword ptr [\p\()di], eax
    cmp dword ptr [\p\()bx], 0
    je 4f
    mov \p\()si, [\p\()bx + 32]
    mov dword ptr [modes_resume], offset modes_at_2_\bits
    mov eax, dword ptr [\p\()si]
modes_at_2_\bits:
    call modes_note\bits
    mov dword ptr [\p\()di + 4], eax
    mov dword ptr [\p\()di + 12], 0
    mov [\p\()di + 8], \p\()dx
    mov \p\()si, [\p\()bx + 40]
    mov dword ptr [modes_resume], offset modes_at_3_\bits
    lock inc dword ptr [\p\()si]
modes_at_3_\bits:
    call modes_note\bits
    mov dword ptr [\p\()di + 16], eax
    mov dword ptr [\p\()di + 28], 0
    mov [\p\()di + 24], \p\()dx
4:  mov dword ptr [modes_resume], offset modes_at_5_\bits
    ud2
modes_at_5_\bits:
    call modes_note\bits
    mov dword ptr [\p\()di + 20], eax
    mov \p\()ax, cr0
    mov dword ptr [\p\()di + 32], eax
    mov \p\()ax, cr4
    mov dword ptr [\p\()di + 36], eax
    mov ecx, 0xc0000080
    rdmsr
    mov dword ptr [\p\()di + 40], eax
    mov dword ptr [\p\()di + 44], edx
    .endm

    // The way of a trap: noted, and on to where the next one leads.
    .macro modes_traps bits, p, iret
modes_note\bits:
    mov eax, dword ptr [modes_trap]
    mov \p\()dx, [modes_trap + 8]
    mov dword ptr [modes_trap], {no_trap}
    mov dword ptr [modes_resume], 0
    ret
modes_trap\bits:
    pop \p\()ax
    shl eax, 16
    or eax, dword ptr [\p\()sp]
    mov dword ptr [modes_trap], eax
    mov \p\()ax, cr2
    mov [modes_trap + 8], \p\()ax
    add \p\()sp, \bits / 8
    mov eax, dword ptr [modes_resume]
    mov dword ptr [modes_resume], 0
    test eax, eax
    jz 2f
    mov [\p\()sp], \p\()ax
    \iret
2:  mov al, {fatal}
    out 0xf4, al
    hlt
    jmp 2b

    .globl modes_stubs\bits
    .set vector, 0
    .balign 16
modes_stubs\bits:
    .rept 32
    .balign 16
    .if (vector != 8) && (vector != 10) && (vector != 11) && (vector != 12) && (vector != 13) && (vector != 14) && (vector != 17)
    push 0
    .endif
    push vector
    jmp modes_trap\bits
    .set vector, vector + 1
    .endr
    .endm

    .section .text.modes, "ax"
    .code32
    .globl modes_run
modes_run:
    mov eax, dword ptr [ebx]
    mov dword ptr [modes_step], eax
    mov eax, dword ptr [ebx + 4]
    mov dword ptr [modes_last], eax
    mov eax, dword ptr [ebx + 8]
    mov dword ptr [modes_seen], eax
    mov dword ptr [modes_resume], 0
modes_next:
    mov ecx, dword ptr [modes_step]
    cmp ecx, dword ptr [modes_last]
    je 9f
    test dword ptr [ecx + 12], 3
    jnz 2f
    call modes_edit
2:  mov ebx, dword ptr [ecx]
    mov edi, dword ptr [modes_seen]
    cmp dword ptr [ebx], 4
    je modes_real
    mov eax, dword ptr [ebx + 20]
    lidt [eax]
    mov eax, dword ptr [ebx + 12]
    mov cr4, eax
    mov eax, dword ptr [ebx + 8]
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    mov eax, dword ptr [ebx + 16]
    wrmsr
    mov eax, dword ptr [ebx + 4]
    mov cr0, eax
modes_in:
    mov edi, dword ptr [modes_seen]
    cmp dword ptr [ebx], 3
    je modes_to_long
    call modes_look32
modes_out:
    add dword ptr [modes_step], 16
    add dword ptr [modes_seen], 48
    mov ecx, dword ptr [modes_step]
    cmp ecx, dword ptr [modes_last]
    je 3f
    test dword ptr [ecx + 12], 3
    jz 3f
    call modes_edit
    test dword ptr [ecx + 12], 1
    jnz modes_direct
3:  mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    mov ecx, 0xc0000080
    rdmsr
    and eax, 0xfffffeff
    wrmsr
    jmp modes_next
9:  ret

    // Both modes have the same CR0 and EFER; PSE may be on under either's tables, PAE does not change.
modes_direct:
    mov ebx, dword ptr [ecx]
    mov eax, cr4
    or eax, dword ptr [ebx + 12]
    mov cr4, eax
    mov eax, dword ptr [ebx + 8]
    mov cr3, eax
    mov eax, dword ptr [ebx + 12]
    mov cr4, eax
    jmp modes_in

modes_edit:
    mov eax, dword ptr [ecx + 4]
    test eax, eax
    jz 2f
    mov edx, dword ptr [ecx + 8]
    mov dword ptr [eax], edx
2:  ret

modes_look32:
    modes_see 32, e
    ret
    modes_traps 32, e, iretd

modes_to_long:
    push 0x08
    mov eax, offset modes_long
    push eax
    retf

    .code64
modes_long:
    modes_see 64, r
    push 0x18
    mov eax, offset modes_out
    push rax
    retfq
    modes_traps 64, r, iretq

    // CS has L set, and for want of D the code has 16 bits; then paging is asked for. EBX: interrupt table, CR3; results:
    // trap, CR0.
    .code32
    .globl modes_long_code
modes_long_code:
    mov eax, dword ptr [ebx]
    lidt [eax]
    mov eax, 0x20
    mov cr4, eax
    mov eax, dword ptr [ebx + 4]
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x100
    wrmsr
    mov dword ptr [modes_resume], offset modes_at_refused
    mov eax, cr0
    or eax, 0x80000000
    .byte 0xea // jmp 0x08:imm32
    .long modes_code_l
    .word 0x08
    .code16
modes_code_l:
    mov cr0, eax
modes_at_refused:
    .byte 0x66, 0xea // jmp 0x18:imm32
    .long modes_code_back
    .word 0x18
    .code32
modes_code_back:
    call modes_note32
    mov dword ptr [ebx + 8], eax
    mov eax, cr0
    mov dword ptr [ebx + 12], eax
    mov ecx, 0xc0000080
    rdmsr
    and eax, 0xfffffeff
    wrmsr
    ret

    // FS keeps its 4 GiB in real mode.
modes_real:
    mov dword ptr [modes_stack], esp
    mov esi, dword ptr [ebx + 24]
    lidt [modes_ivt]
    mov eax, 0x10
    mov fs, eax
    mov eax, 0x40
    mov ds, eax
    mov es, eax
    mov ss, eax
    .byte 0xea // jmp 0x38:imm32
    .long {low}
    .word 0x38
modes_real_up:
    mov eax, 0x10
    mov ss, eax
    mov eax, 0x23
    mov ds, eax
    mov es, eax
    xor eax, eax
    mov fs, eax
    mov esp, dword ptr [modes_stack]
    jmp modes_out

    .code16
    .globl modes_code16, modes_code16_end, modes_int60, modes_int0, modes_int6
modes_code16:
"#,
    real_mode_begins!("modes_code16"),
    r#"
    inc dword ptr fs:[esi]
    mov eax, dword ptr fs:[esi]
    mov dword ptr fs:[edi], eax
    xor edx, edx
    int 0x60
    mov dword ptr fs:[edi + 4], edx
    xor ecx, ecx
    ud2
    xor ax, ax
    div ah
    mov dword ptr fs:[edi + 20], ecx
    push ebx
    xor eax, eax
    cpuid
    mov dword ptr fs:[edi + 8], ebx
    mov dword ptr fs:[edi + 12], 0
    pop ebx
    mov eax, cr0
    mov dword ptr fs:[edi + 32], eax
    mov eax, cr4
    mov dword ptr fs:[edi + 36], eax
"#,
    real_mode_ends!("modes_real_up"),
    r#"
modes_int60:
    mov dx, {answer}
    iret
modes_int6:
    or cx, 6
    jmp 2f
modes_int0:
    or cx, 0x100
2:  push bp
    mov bp, sp
    add word ptr [bp + 2], 2
    pop bp
    iret
modes_code16_end:
    .code64

    .section .data.modes, "aw"
    .balign 8
modes_trap:
    .quad {no_trap}, 0
modes_step:
    .long 0
modes_last:
    .long 0
modes_seen:
    .long 0
modes_resume:
    .long 0
modes_stack:
    .long 0
modes_ivt:
    .word 0x3ff
    .long 0
"#,
    low = const LOW,
    fatal = const FATAL,
    no_trap = const NO_TRAP,
    answer = const REAL_ANSWER,
);

unsafe extern "C" {
    fn modes_run();
    fn modes_long_code();
    fn modes_stubs32();
    fn modes_stubs64();
    fn modes_code16();
    fn modes_code16_end();
    fn modes_int60();
    fn modes_int0();
    fn modes_int6();
}

/// Interrupt tables of 32-bit modes and of long mode, with their pointers.
#[repr(C, align(16))]
pub struct Tables {
    gates64: [[u64; 2]; 256],
    gates32: [u64; 256],
    pointer64: [u16; 4],
    pointer32: [u16; 4],
}

impl Tables {
    /// Tables that are not filled in.
    pub const fn new() -> Self {
        Self {
            gates64: [[0; 2]; 256],
            gates32: [0; 256],
            pointer64: [0; 4],
            pointer32: [0; 4],
        }
    }

    /// Fills both in, where they are to stay.
    pub fn fill(&mut self) {
        let gate = |handler: u64, code: u16| {
            handler & 0xffff | u64::from(code) << 16 | 0x8e00 << 32 | (handler >> 16 & 0xffff) << 48
        };
        for vector in 0..32 {
            let at = 16 * vector as u64;
            let [low, high] = [
                modes_stubs32 as *const () as u64,
                modes_stubs64 as *const () as u64,
            ];
            self.gates32[vector] = gate(low + at, CODE32);
            self.gates64[vector] = [gate(high + at, CODE64), 0];
        }
        let pointer = |limit: usize, base: u64| [limit as u16, base as u16, (base >> 16) as u16, 0];
        self.pointer32 = pointer(32 * 8 - 1, self.gates32.as_ptr() as u64);
        self.pointer64 = pointer(32 * 16 - 1, self.gates64.as_ptr() as u64);
    }

    /// The pointer for a mode of this kind.
    pub fn pointer(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Compatibility | Kind::Long => (&raw const self.pointer64) as u32,
            Kind::Flat | Kind::Paged | Kind::Real => (&raw const self.pointer32) as u32,
        }
    }
}

/// Puts the 16-bit code and its vectors into the first 64 KiB.
pub fn install_real_mode() {
    let vectors: [(u64, unsafe extern "C" fn()); 3] =
        [(0, modes_int0), (6, modes_int6), (0x60, modes_int60)];
    install(modes_code16, modes_code16_end, &vectors);
}

/// Asks for paging with EFER.LME from a code segment with L set: the trap, and CR0 afterwards.
pub fn enter_from_long_code(tables: &Tables, cr3: u64) -> [u32; 2] {
    let mut argument = [tables.pointer(Kind::Flat), cr3 as u32, 0, 0];
    let excursion = Excursion::without_paging(modes_long_code, argument.as_mut_ptr() as u32);
    let efer = cpu::rdmsr(cpu::msr::EFER);
    // SAFETY: such code, as long as the CPU refuses; it writes its results behind the argument.
    unsafe { call(&excursion) };
    cpu::wrmsr(cpu::msr::EFER, efer);
    [argument[2], argument[3]]
}

/// Goes to all stations and comes back.
pub fn travel(steps: &[Step], seen: &mut [Seen]) {
    assert!(steps.len() == seen.len() && RETURN >= 32);
    let range = steps.as_ptr_range();
    let argument = [
        range.start as u32,
        range.end as u32,
        seen.as_mut_ptr() as u32,
    ];
    let excursion = Excursion::without_paging(modes_run, argument.as_ptr() as u32);
    let efer = cpu::rdmsr(cpu::msr::EFER);
    // SAFETY: the conductor is such code; every mode maps the image to itself, and `seen` has one place for each step.
    unsafe { call(&excursion) };
    cpu::wrmsr(cpu::msr::EFER, efer);
}
