//! The runtime of the domains root-task starts: first instruction, thread block, IPC buffer, log, panics, and what the
//! domain learns at its start.
//!
//! ```text
//! sel4_domain::declare_domain! { name = "mmu-server", main = main }
//!
//! fn main(thread: usize, info: &DomainInfo) -> ! { … }
//! ```
//!
//! root-task starts each thread at the same first instruction with rdi = the thread's number and its own stack; `main`
//! runs on every one of them. Addresses are those of [`protocol::layout`], capabilities those of [`protocol::slots`].
#![cfg_attr(not(test), no_std)]
#![allow(unsafe_code)] // entry from assembly, memory that root-task placed

mod entry;
mod info;
#[cfg(target_os = "none")]
mod panic;
mod passive;

pub use passive::{ready_and_receive, ready_and_receive_with_mrs};
pub use protocol::system::DomainInfo;

#[doc(hidden)]
pub use entry::start;

/// Most threads of a domain.
pub const MAX_THREADS: usize = 8;

/// Declares a domain: `name = "NAME"`, the name its log lines carry, and `main = FUNCTION`, a
/// `fn(thread: usize, info: &DomainInfo) -> !`.
#[macro_export]
macro_rules! declare_domain {
    (name = $name:expr, main = $main:expr $(,)?) => {
        #[doc(hidden)]
        #[allow(unsafe_code)] // the first instruction
        mod __sel4_domain {
            #[allow(unused_imports)]
            use super::*;

            static LOGGER: ::sel4::logging::Logger = ::sel4::logging::Logger::new($name);

            extern "C" fn rust_entry(thread: usize) -> ! {
                // SAFETY: root-task starts each thread once, with its own number.
                unsafe { $crate::start(thread, &LOGGER, $main) }
            }

            /// The first instruction: rdi is the thread's number, rsp the top of its stack.
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            extern "C" fn _start() -> ! {
                ::core::arch::naked_asm!("xor ebp, ebp", "call {entry}", "ud2", entry = sym rust_entry)
            }
        }
    };
}

/// Stops the domain by a fault, which root-task is told of.
pub fn fail() -> ! {
    #[cfg(target_os = "none")]
    // SAFETY: the instruction raises #UD and is never passed.
    unsafe {
        core::arch::asm!("ud2", options(noreturn, nomem, nostack))
    }
    #[cfg(not(target_os = "none"))]
    panic!("the domain failed")
}
