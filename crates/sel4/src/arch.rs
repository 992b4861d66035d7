//! The system-call instruction: the only place where this crate leaves the program.
//!
//! Registers: rdx number; rdi capability, badge on return; rsi message information; r10, r8, r9, r15 message words 0..=3;
//! r12 reply object; r13 destination of `NBSendRecv`. The instruction itself overwrites rcx and r11; the kernel keeps
//! every other register, rsp included.

use crate::{Word, sys};

/// Message words in registers.
pub(crate) type Registers = [Word; sys::MSG_REGISTERS];

/// What comes back: (rdi, rsi, message words).
pub(crate) type Returned = (Word, Word, Registers);

#[cfg(target_os = "none")]
mod target {
    #![allow(unsafe_code)] // the system-call instruction

    use super::{Registers, Returned, Word};
    use core::arch::asm;

    /// The instruction, with registers besides those that every call has.
    macro_rules! enter {
        ($number:expr, $cap:expr, $info:expr, $mrs:ident $(, $register:tt = $value:expr)*) => {{
            let (badge, info_out);
            // SAFETY: every register the kernel or the instruction changes is an output or a clobber; memory counts as
            // changed, because messages and invocations may write the IPC buffer and the program's mappings. The
            // registers besides are kept by the kernel.
            unsafe {
                asm!(
                    "syscall",
                    in("rdx") $number,
                    inlateout("rdi") $cap => badge,
                    inlateout("rsi") $info => info_out,
                    inlateout("r10") $mrs[0],
                    inlateout("r8") $mrs[1],
                    inlateout("r9") $mrs[2],
                    inlateout("r15") $mrs[3],
                    $(in($register) $value,)*
                    lateout("rcx") _,
                    lateout("r11") _,
                    options(nostack),
                );
            }
            (badge, info_out, $mrs)
        }};
    }

    /// A call that names neither a reply object nor a second destination.
    #[inline(always)]
    pub(crate) fn syscall(number: i64, cap: Word, info: Word, mut mrs: Registers) -> Returned {
        enter!(number, cap, info, mrs)
    }

    /// A call that names a reply object (or, for `NBSendWait`, a destination) in r12.
    #[inline(always)]
    pub(crate) fn syscall_reply(
        number: i64,
        cap: Word,
        info: Word,
        mut mrs: Registers,
        r12: Word,
    ) -> Returned {
        enter!(number, cap, info, mrs, "r12" = r12)
    }

    /// A call that names a reply object in r12 and a destination in r13.
    #[inline(always)]
    pub(crate) fn syscall_reply_to(
        number: i64,
        cap: Word,
        info: Word,
        mut mrs: Registers,
        r12: Word,
        r13: Word,
    ) -> Returned {
        enter!(number, cap, info, mrs, "r12" = r12, "r13" = r13)
    }
}

#[cfg(target_os = "none")]
pub(crate) use target::{syscall, syscall_reply, syscall_reply_to};

/// Without the instruction, the registers that a call does not name are zero.
#[cfg(not(target_os = "none"))]
mod elsewhere {
    use super::{Registers, Returned, Word, syscall_reply_to};

    pub(crate) fn syscall(number: i64, cap: Word, info: Word, mrs: Registers) -> Returned {
        syscall_reply_to(number, cap, info, mrs, 0, 0)
    }
    pub(crate) fn syscall_reply(
        number: i64,
        cap: Word,
        info: Word,
        mrs: Registers,
        r12: Word,
    ) -> Returned {
        syscall_reply_to(number, cap, info, mrs, r12, 0)
    }
}

#[cfg(not(target_os = "none"))]
pub(crate) use elsewhere::{syscall, syscall_reply};

#[cfg(all(not(test), not(target_os = "none")))]
pub(crate) fn syscall_reply_to(
    _: i64,
    _: Word,
    _: Word,
    _: Registers,
    _: Word,
    _: Word,
) -> Returned {
    panic!("a system call of the image was made on the host")
}

#[cfg(test)]
pub(crate) use stand_in::syscall_reply_to;

/// Host tests put a function in the kernel's place.
#[cfg(test)]
pub(crate) mod stand_in {
    use super::{Registers, Returned, Word};
    use std::cell::RefCell;

    /// The registers of one system call.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(crate) struct Entry {
        pub number: i64,
        pub cap: Word,
        pub info: Word,
        pub mrs: Registers,
        pub r12: Word,
        pub r13: Word,
    }

    type Kernel = Box<dyn FnMut(Entry) -> Returned>;

    thread_local!(static KERNEL: RefCell<Option<Kernel>> = const { RefCell::new(None) });

    /// Answers this thread's system calls with `kernel` from now on.
    pub(crate) fn install(kernel: impl FnMut(Entry) -> Returned + 'static) {
        KERNEL.with(|slot| *slot.borrow_mut() = Some(Box::new(kernel)));
    }

    pub(crate) fn syscall_reply_to(
        number: i64,
        cap: Word,
        info: Word,
        mrs: Registers,
        r12: Word,
        r13: Word,
    ) -> Returned {
        let entry = Entry {
            number,
            cap,
            info,
            mrs,
            r12,
            r13,
        };
        KERNEL.with(|slot| slot.borrow_mut().as_mut().expect("a kernel is installed")(entry))
    }
}
