//! The ways between user mode and the kernel, and what an interrupt does to kernel mode.
//!
//! [`enter_user`] is a call that returns when the thread comes back, whatever brought it; all its registers are then in its
//! [`UserContext`]. Interrupts reach kernel mode only where it opens the door ([`wait_for_interrupt`],
//! [`take_interrupt`]): the stub notes the vector and closes the door again, so at most one is noted.
#![allow(unsafe_code)] // Entry stubs, and the statics they share with Rust.

use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kernel::context::{UserContext, entry};
use words::x86::rflags;

use super::{fault, segments};

/// RFLAGS bits SYSCALL clears: those that would change how kernel code runs. AC would open SMAP.
pub const SYSCALL_CLEARS: u64 =
    rflags::TF | rflags::IF | rflags::DF | rflags::IOPL | rflags::NT | rflags::RF | rflags::AC;
/// RFLAGS bits a thread may have: the arithmetic ones, TF, DF, RF, AC and ID. IF and the constant bit are added.
const USER_FLAGS: u64 = 0x8d5 | rflags::TF | rflags::DF | rflags::RF | rflags::AC | 1 << 21;
/// What [`enter_user`] returns for SYSCALL: a number that is no vector.
const BY_SYSCALL: u64 = 256;
/// Value of the noted vector when there is none.
const NONE: u32 = u32::MAX;

/// Kernel address of the context of the thread in user mode.
static CURRENT: AtomicU64 = AtomicU64::new(0);
/// Kernel stack pointer to go on with when the thread comes back.
static KERNEL_RSP: AtomicU64 = AtomicU64::new(0);
/// The user's stack pointer, for the few instructions until it is in the context.
static USER_RSP: AtomicU64 = AtomicU64::new(0);
/// The vector noted in kernel mode.
static NOTED: AtomicU32 = AtomicU32::new(NONE);
/// Non-maskable interrupts since boot. Nothing here sends any, and nothing depends on them.
static NMIS: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    safe fn umbra_syscall();
    safe fn umbra_nmi();
    safe fn umbra_interrupts();
}

/// Bytes between the stubs of two vectors.
const STUB_BYTES: u64 = 16;

/// Address of a vector's stub.
pub fn stub(vector: u8) -> u64 {
    umbra_interrupts as *const () as u64 + STUB_BYTES * u64::from(vector)
}
/// Address of the NMI stub.
pub fn nmi_stub() -> u64 {
    umbra_nmi as *const () as u64
}
/// Address of the SYSCALL stub.
pub fn syscall_stub() -> u64 {
    umbra_syscall as *const () as u64
}

// To user mode: rdi = context. RFLAGS that may come from others than the processor are masked here, so that no thread's
// saved flags can hurt the kernel; those of a thread that goes back by SYSRET are the ones that SYSCALL saved. Returns
// through umbra_syscall or umbra_interrupt_common, on the stack saved here, with rax = cause and rdx = error code, or what
// rdx was at SYSCALL.
global_asm!(
    r#"
umbra_enter_user:
    mov [rip + {kernel_rsp}], rsp
    mov [rip + {current}], rdi
    mov rax, [rdi + {rax}]
    mov rbx, [rdi + {rbx}]
    mov rdx, [rdi + {rdx}]
    mov rsi, [rdi + {rsi}]
    mov rbp, [rdi + {rbp}]
    mov r8, [rdi + {r8}]
    mov r9, [rdi + {r9}]
    mov r10, [rdi + {r10}]
    mov r11, [rdi + {flags}]
    mov r12, [rdi + {r12}]
    mov r13, [rdi + {r13}]
    mov r14, [rdi + {r14}]
    mov r15, [rdi + {r15}]
    cmp qword ptr [rdi + {entered_by}], {by_syscall}
    jne 2f
    mov rcx, [rdi + {rip_}]
    mov rsp, [rdi + {rsp_}]
    mov rdi, [rdi + {rdi_}]
    sysretq
2:  and r11, {user_flags}
    or r11, {always_flags}
    push {user_data}
    push [rdi + {rsp_}]
    push r11
    push {user_code}
    push [rdi + {rip_}]
    mov r11, [rdi + {r11}]
    mov rcx, [rdi + {rcx}]
    mov rdi, [rdi + {rdi_}]
    iretq

    .global umbra_syscall
umbra_syscall:
    mov [rip + {user_rsp}], rsp
    mov rsp, [rip + {current}]
    mov [rsp + {rip_}], rcx
    mov [rsp + {rcx}], rcx
    mov [rsp + {flags}], r11
    mov [rsp + {r11}], r11
    mov [rsp + {rax}], rax
    mov [rsp + {rbx}], rbx
    mov [rsp + {rdx}], rdx
    mov [rsp + {rsi}], rsi
    mov [rsp + {rdi_}], rdi
    mov [rsp + {rbp}], rbp
    mov [rsp + {r8}], r8
    mov [rsp + {r9}], r9
    mov [rsp + {r10}], r10
    mov [rsp + {r12}], r12
    mov [rsp + {r13}], r13
    mov [rsp + {r14}], r14
    mov [rsp + {r15}], r15
    mov qword ptr [rsp + {entered_by}], {by_syscall}
    mov rax, [rip + {user_rsp}]
    mov [rsp + {rsp_}], rax
    mov rsp, [rip + {kernel_rsp}]
    mov eax, {cause_syscall}
    ret

    // An NMI is counted and forgotten; it may come at any instruction.
umbra_nmi:
    inc qword ptr [rip + {nmis}]
    iretq

    // [rsp] vector, +8 error code, then the processor's frame: +16 rip, +24 cs, +32 rflags, +40 rsp, +48 ss.
umbra_interrupt_common:
    cld
    test byte ptr [rsp + 24], 3
    jz 3f
    push rdi
    mov rdi, [rip + {current}]
    mov [rdi + {rax}], rax
    mov [rdi + {rbx}], rbx
    mov [rdi + {rcx}], rcx
    mov [rdi + {rdx}], rdx
    mov [rdi + {rsi}], rsi
    mov [rdi + {rbp}], rbp
    mov [rdi + {r8}], r8
    mov [rdi + {r9}], r9
    mov [rdi + {r10}], r10
    mov [rdi + {r11}], r11
    mov [rdi + {r12}], r12
    mov [rdi + {r13}], r13
    mov [rdi + {r14}], r14
    mov [rdi + {r15}], r15
    pop rax
    mov [rdi + {rdi_}], rax
    mov rax, [rsp + 16]
    mov [rdi + {rip_}], rax
    mov rax, [rsp + 32]
    mov [rdi + {flags}], rax
    mov rax, [rsp + 40]
    mov [rdi + {rsp_}], rax
    mov qword ptr [rdi + {entered_by}], {by_interrupt}
    mov rax, [rsp]
    mov rdx, [rsp + 8]
    mov rsp, [rip + {kernel_rsp}]
    ret

    // From kernel mode: an interrupt is noted and interrupts stay off; a late single step of a user's is dropped;
    // everything else is a bug.
3:  cmp qword ptr [rsp], 32
    jb 4f
    push rax
    mov eax, [rsp + 8]
    mov [rip + {noted}], eax
    pop rax
    and qword ptr [rsp + 32], ~{interrupt_flag}
    add rsp, 16
    iretq
4:  cmp qword ptr [rsp], 1
    jne 5f
    and qword ptr [rsp + 32], ~{trap_flag}
    add rsp, 16
    iretq
5:  mov rdi, rsp
    and rsp, -16
    call {kernel_exception}
    ud2

    // One stub of 16 bytes for each vector. Exceptions 8, 10..14, 17, 21, 29 and 30 push an error code themselves.
    .balign 16
    .global umbra_interrupts
umbra_interrupts:
    .set number, 0
    .rept 256
    .balign 16
    .if (number == 8) || (number >= 10 && number <= 14) || (number == 17) || (number == 21) || (number == 29) || (number == 30)
    .else
    push 0
    .endif
    push number
    jmp umbra_interrupt_common
    .set number, number + 1
    .endr
    "#,
    kernel_rsp = sym KERNEL_RSP,
    user_rsp = sym USER_RSP,
    current = sym CURRENT,
    noted = sym NOTED,
    nmis = sym NMIS,
    kernel_exception = sym fault::kernel_exception,
    user_flags = const USER_FLAGS,
    always_flags = const rflags::IF | rflags::ONE,
    interrupt_flag = const rflags::IF,
    trap_flag = const rflags::TF,
    user_code = const segments::USER_CODE,
    user_data = const segments::USER_DATA,
    by_syscall = const entry::SYSCALL,
    by_interrupt = const entry::FULL,
    cause_syscall = const BY_SYSCALL,
    entered_by = const offset_of!(UserContext, entered_by),
    rip_ = const offset_of!(UserContext, rip),
    rsp_ = const offset_of!(UserContext, rsp),
    flags = const offset_of!(UserContext, rflags),
    rax = const offset_of!(UserContext, rax),
    rbx = const offset_of!(UserContext, rbx),
    rcx = const offset_of!(UserContext, rcx),
    rdx = const offset_of!(UserContext, rdx),
    rsi = const offset_of!(UserContext, rsi),
    rdi_ = const offset_of!(UserContext, rdi),
    rbp = const offset_of!(UserContext, rbp),
    r8 = const offset_of!(UserContext, r8),
    r9 = const offset_of!(UserContext, r9),
    r10 = const offset_of!(UserContext, r10),
    r11 = const offset_of!(UserContext, r11),
    r12 = const offset_of!(UserContext, r12),
    r13 = const offset_of!(UserContext, r13),
    r14 = const offset_of!(UserContext, r14),
    r15 = const offset_of!(UserContext, r15),
);

/// Why a thread came back.
pub enum Return {
    /// SYSCALL, with the number of the system call.
    Syscall(i64),
    /// An exception, interrupt or INT n, with the error code (0 if there is none).
    Vector(u8, u64),
}

/// Runs the thread in user mode until it comes back. Its rip is canonical, or what follows a SYSCALL.
#[inline(always)]
pub fn enter_user(context: &UserContext) -> Return {
    let (cause, error): (u64, u64);
    // SAFETY: the context is mapped in the window for as long as its thread exists. The way back lands after the call
    // with this stack pointer; every register the thread may have changed is declared or pushed here.
    unsafe {
        asm!(
            "push rbx", "push rbp", "call umbra_enter_user", "pop rbp", "pop rbx",
            inout("rdi") core::ptr::from_ref(context) => _,
            out("rax") cause,
            out("rdx") error,
            out("rcx") _, out("rsi") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
    if cause == BY_SYSCALL {
        // The stub leaves rdx alone.
        Return::Syscall(error as i64)
    } else {
        Return::Vector(cause as u8, error)
    }
}

/// The vector noted since the last call.
fn noted() -> Option<u8> {
    u8::try_from(NOTED.swap(NONE, Ordering::Relaxed)).ok()
}

/// Sleeps until an interrupt comes and returns its vector; `None` if something that is no interrupt woke the processor.
pub fn wait_for_interrupt() -> Option<u8> {
    // SAFETY: the stub notes the vector and returns with interrupts off. STI's shadow covers HLT, so an interrupt that
    // waits already wakes it.
    unsafe { asm!("sti", "hlt", "cli") };
    noted()
}

/// Takes an interrupt that waits in the local APIC, if there is one.
pub fn take_interrupt() -> Option<u8> {
    // SAFETY: as above; the NOP ends STI's shadow.
    unsafe { asm!("sti", "nop", "cli") };
    noted()
}
