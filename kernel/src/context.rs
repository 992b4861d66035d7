//! A thread's saved user registers, in the order of seL4's `UserContext` so that ReadRegisters is a copy.

use crate::mem::{self, Ref};
use core::cell::Cell;
use core::mem::offset_of;
use sel4_abi::USER_CONTEXT_WORDS;

/// How the thread last entered the kernel: decides the way back.
pub mod entry {
    /// By SYSCALL: rcx and r11 are free, the way back is SYSRET.
    pub const SYSCALL: u64 = 1;
    /// By an interrupt or exception, or its registers were written: the way back is IRET.
    pub const FULL: u64 = 0;
}

/// Saved registers; the entry code writes and reads them at these offsets (8 bytes a word).
#[repr(C)]
#[derive(Default)]
#[allow(missing_docs)] // names are the registers'
pub struct UserContext {
    pub rip: Cell<u64>,
    pub rsp: Cell<u64>,
    pub rflags: Cell<u64>,
    pub rax: Cell<u64>,
    pub rbx: Cell<u64>,
    pub rcx: Cell<u64>,
    pub rdx: Cell<u64>,
    pub rsi: Cell<u64>,
    pub rdi: Cell<u64>,
    pub rbp: Cell<u64>,
    pub r8: Cell<u64>,
    pub r9: Cell<u64>,
    pub r10: Cell<u64>,
    pub r11: Cell<u64>,
    pub r12: Cell<u64>,
    pub r13: Cell<u64>,
    pub r14: Cell<u64>,
    pub r15: Cell<u64>,
    pub fs_base: Cell<u64>,
    pub gs_base: Cell<u64>,
    /// One of [`entry`].
    pub entered_by: Cell<u64>,
}

const _: () = assert!(offset_of!(UserContext, gs_base) == 8 * (USER_CONTEXT_WORDS - 1));

impl UserContext {
    /// The registers by their numbers.
    #[inline(always)]
    pub(crate) fn registers(&self) -> Ref<[Cell<u64>; USER_CONTEXT_WORDS]> {
        // They are the first words of the structure.
        mem::inside(core::ptr::from_ref(self).cast())
    }
}

/// Registers of a guest that VMRUN does not move, at offsets of 8 bytes a word. RAX and RSP live in the VMCB.
#[repr(C)]
#[derive(Default)]
#[allow(missing_docs)] // names are the registers'
pub struct GuestRegisters {
    pub rbx: Cell<u64>,
    pub rcx: Cell<u64>,
    pub rdx: Cell<u64>,
    pub rsi: Cell<u64>,
    pub rdi: Cell<u64>,
    pub rbp: Cell<u64>,
    pub r8: Cell<u64>,
    pub r9: Cell<u64>,
    pub r10: Cell<u64>,
    pub r11: Cell<u64>,
    pub r12: Cell<u64>,
    pub r13: Cell<u64>,
    pub r14: Cell<u64>,
    pub r15: Cell<u64>,
}

impl GuestRegisters {
    /// How far behind their VMCB they are.
    pub const BEHIND_VMCB: u64 = 4096;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_numbered_as_user_context_has_them() {
        let context = UserContext::default();
        let registers = context.registers();
        for (n, register) in registers.iter().enumerate() {
            register.set(n as u64);
        }
        assert_eq!((context.rip.get(), context.rsp.get()), (0, 1));
        assert_eq!((context.rflags.get(), context.rax.get()), (2, 3));
        assert_eq!((context.r8.get(), context.r15.get()), (10, 17));
        assert_eq!((context.fs_base.get(), context.gs_base.get()), (18, 19));
        assert_eq!(context.entered_by.get(), entry::FULL);
    }
}
