//! A thread's registers, in the order of the ABI.

use crate::{Word, sys};

/// The registers by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
#[allow(missing_docs)] // names are the registers'
pub struct RegisterFrame {
    pub rip: Word,
    pub rsp: Word,
    pub rflags: Word,
    pub rax: Word,
    pub rbx: Word,
    pub rcx: Word,
    pub rdx: Word,
    pub rsi: Word,
    pub rdi: Word,
    pub rbp: Word,
    pub r8: Word,
    pub r9: Word,
    pub r10: Word,
    pub r11: Word,
    pub r12: Word,
    pub r13: Word,
    pub r14: Word,
    pub r15: Word,
    pub fs_base: Word,
    pub gs_base: Word,
}

/// Number of registers.
pub(crate) const WORDS: usize = sys::USER_CONTEXT_WORDS;

/// A thread's registers. libsel4: `seL4_UserContext`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct UserContext(RegisterFrame);

impl UserContext {
    /// Around the ABI's structure.
    #[must_use]
    pub const fn from_inner(inner: RegisterFrame) -> Self {
        Self(inner)
    }
    /// The registers by name.
    #[must_use]
    pub const fn into_inner(self) -> RegisterFrame {
        self.0
    }
    /// The registers by name.
    #[must_use]
    pub const fn inner(&self) -> &RegisterFrame {
        &self.0
    }
    /// The registers by name.
    #[must_use]
    pub const fn inner_mut(&mut self) -> &mut RegisterFrame {
        &mut self.0
    }
    /// The instruction pointer.
    #[must_use]
    pub const fn pc(&self) -> &Word {
        &self.0.rip
    }
    /// The instruction pointer.
    #[must_use]
    pub const fn pc_mut(&mut self) -> &mut Word {
        &mut self.0.rip
    }
    /// The stack pointer.
    #[must_use]
    pub const fn sp(&self) -> &Word {
        &self.0.rsp
    }
    /// The stack pointer.
    #[must_use]
    pub const fn sp_mut(&mut self) -> &mut Word {
        &mut self.0.rsp
    }
    /// Register of the `ix`-th parameter of a C function.
    ///
    /// # Panics
    ///
    /// There are six.
    #[must_use]
    pub const fn c_param(&self, ix: usize) -> &Word {
        match ix {
            0 => &self.0.rdi,
            1 => &self.0.rsi,
            2 => &self.0.rdx,
            3 => &self.0.rcx,
            4 => &self.0.r8,
            5 => &self.0.r9,
            _ => panic!("a C function has six register parameters"),
        }
    }
    /// Register of the `ix`-th parameter of a C function.
    ///
    /// # Panics
    ///
    /// There are six.
    #[must_use]
    pub const fn c_param_mut(&mut self, ix: usize) -> &mut Word {
        match ix {
            0 => &mut self.0.rdi,
            1 => &mut self.0.rsi,
            2 => &mut self.0.rdx,
            3 => &mut self.0.rcx,
            4 => &mut self.0.r8,
            5 => &mut self.0.r9,
            _ => panic!("a C function has six register parameters"),
        }
    }
    pub(crate) const fn words(&self) -> [Word; WORDS] {
        let r = &self.0;
        [
            r.rip, r.rsp, r.rflags, r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.r8, r.r9,
            r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.fs_base, r.gs_base,
        ]
    }
    pub(crate) const fn from_words(words: [Word; WORDS]) -> Self {
        let [
            rip,
            rsp,
            rflags,
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            rbp,
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            fs_base,
            gs_base,
        ] = words;
        Self(RegisterFrame {
            rip,
            rsp,
            rflags,
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            rbp,
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            fs_base,
            gs_base,
        })
    }
}

const _: () = assert!(size_of::<UserContext>() == WORDS * 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_registers_agree() {
        let words = core::array::from_fn(|i| i as Word + 1);
        let context = UserContext::from_words(words);
        assert_eq!(context.words(), words);
        assert_eq!(
            (*context.pc(), *context.sp(), *context.c_param(0)),
            (1, 2, 9)
        );
    }
}
