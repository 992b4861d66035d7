//! A thread's registers, in the order of the ABI.

use crate::{Word, around::around, sys};

/// The frame's registers, with its words in their order.
macro_rules! frame {
    ($($register:ident),*) => {
        /// The registers by name.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        #[repr(C)]
        #[expect(missing_docs, reason = "names are the registers'")]
        pub struct RegisterFrame {
            $(pub $register: Word,)*
        }

impl UserContext {
            pub(crate) const fn words(&self) -> [Word; WORDS] {
                [$(self.0.$register),*]
            }
            pub(crate) const fn from_words([$($register),*]: [Word; WORDS]) -> Self {
                Self(RegisterFrame { $($register),* })
            }
        }
    };
}

frame!(
    rip, rsp, rflags, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15,
    fs_base, gs_base
);

/// Number of registers.
pub(crate) const WORDS: usize = sys::USER_CONTEXT_WORDS;

/// A thread's registers. libsel4: `seL4_UserContext`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct UserContext(RegisterFrame);

around!(UserContext, RegisterFrame);

impl UserContext {
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
