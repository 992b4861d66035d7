//! The world switch: into a guest with VMRUN, back at #VMEXIT (APM vol. 2, 15.5 and 15.6).
//!
//! Always: a physical interrupt ends the guest's turn, because VMRUN runs with host IF = 1 under GIF = 0 (a guest with
//! V_INTR_MASKING cannot hold it back) and is left waiting in the local APIC; what VMLOAD moves is the host's again
//! before GIF is set.
#![allow(unsafe_code)] // VMRUN.

use core::arch::{asm, global_asm};
use core::mem::offset_of;

use kernel::context::GuestRegisters;
use words::Hpa;

use super::layout::{self, HardwarePage};
use super::segments;

/// Host state that VMRUN leaves alone (FS, GS, TR, LDTR, SYSCALL registers). All of it is the same for ever but FS and GS,
/// which are loaded for each thread that goes to user mode: so it is saved once.
static HOST_STATE: HardwarePage = HardwarePage::new();

// rdi = VMCB, rsi = registers, rdx = page for host state. SS is loaded because it is null after an interrupt from user
// mode, and #VMEXIT may read the descriptor of what SS held. VMLOAD and the loads stand between STI and VMRUN, so STI's
// shadow is over before the guest begins.
global_asm!(
    r#"
umbra_enter_guest:
    push rsi
    push rdx
    mov eax, {kernel_data}
    mov ss, eax
    clgi
    sti
    mov rax, rdi
    vmload rax
    mov rbx, [rsi + {rbx}]
    mov rcx, [rsi + {rcx}]
    mov rdx, [rsi + {rdx}]
    mov rdi, [rsi + {rdi_}]
    mov rbp, [rsi + {rbp}]
    mov r8, [rsi + {r8}]
    mov r9, [rsi + {r9}]
    mov r10, [rsi + {r10}]
    mov r11, [rsi + {r11}]
    mov r12, [rsi + {r12}]
    mov r13, [rsi + {r13}]
    mov r14, [rsi + {r14}]
    mov r15, [rsi + {r15}]
    mov rsi, [rsi + {rsi_}]
    vmrun rax
    vmsave rax
    mov rax, [rsp + 8]
    mov [rax + {rbx}], rbx
    mov [rax + {rcx}], rcx
    mov [rax + {rdx}], rdx
    mov [rax + {rsi_}], rsi
    mov [rax + {rdi_}], rdi
    mov [rax + {rbp}], rbp
    mov [rax + {r8}], r8
    mov [rax + {r9}], r9
    mov [rax + {r10}], r10
    mov [rax + {r11}], r11
    mov [rax + {r12}], r12
    mov [rax + {r13}], r13
    mov [rax + {r14}], r14
    mov [rax + {r15}], r15
    pop rax
    vmload rax
    cli
    stgi
    pop rsi
    ret
    "#,
    kernel_data = const segments::KERNEL_DATA,
    rbx = const offset_of!(GuestRegisters, rbx),
    rcx = const offset_of!(GuestRegisters, rcx),
    rdx = const offset_of!(GuestRegisters, rdx),
    rsi_ = const offset_of!(GuestRegisters, rsi),
    rdi_ = const offset_of!(GuestRegisters, rdi),
    rbp = const offset_of!(GuestRegisters, rbp),
    r8 = const offset_of!(GuestRegisters, r8),
    r9 = const offset_of!(GuestRegisters, r9),
    r10 = const offset_of!(GuestRegisters, r10),
    r11 = const offset_of!(GuestRegisters, r11),
    r12 = const offset_of!(GuestRegisters, r12),
    r13 = const offset_of!(GuestRegisters, r13),
    r14 = const offset_of!(GuestRegisters, r14),
    r15 = const offset_of!(GuestRegisters, r15),
);

/// Saves what every guest's exit brings back: FS and GS without a base. Once, after the tables and the registers of SYSCALL
/// are loaded and SVM is on.
pub fn save_host_state() {
    // SAFETY: writes a page that is for this.
    unsafe {
        asm!("vmsave rax", in("rax") HOST_STATE.hpa().bits(), options(nostack, preserves_flags))
    };
}

/// Runs the guest of `vmcb` until its next exit. Both structures lie in the window; the VMCB is the kernel's own and
/// intercepts what would let a guest touch the host.
pub fn enter_guest(vmcb: Hpa, registers: Hpa) {
    let registers: *mut GuestRegisters = layout::window(registers);
    // SAFETY: the logic library builds VMCBs whose paging root maps the guest's frames only. #VMEXIT brings back stack,
    // instruction pointer and control registers, VMLOAD the rest, and every general register is declared or pushed.
    unsafe {
        asm!(
            "push rbx", "push rbp", "call umbra_enter_guest", "pop rbp", "pop rbx",
            inout("rdi") vmcb.bits() => _,
            inout("rsi") registers => _,
            inout("rdx") HOST_STATE.hpa().bits() => _,
            out("rax") _, out("rcx") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
}
