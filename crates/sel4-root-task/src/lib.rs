//! The runtime of the initial program: first instruction, stack, thread block, log, panics, and a heap if it wants one.
//!
//! ```text
//! sel4_root_task::declare_root_task! { main = main, stack_size = 64 * 1024 }
//!
//! fn main(boot_info: &sel4::BootInfoPtr) -> ! { … }
//! ```
//!
//! The kernel enters with rdi = address of the boot information and no stack.
#![cfg_attr(not(test), no_std)]
#![allow(unsafe_code)] // entry from assembly, and an allocator

mod entry;
mod heap;
#[cfg(target_os = "none")]
mod panic;
mod stack;

pub use entry::{Never, Termination};
pub use heap::StaticHeap;
pub use sel4::{debug_print, debug_println};
pub use stack::Stack;

#[doc(hidden)]
pub use entry::{Function, start};

/// Bytes of a stack when the declaration names none.
pub const DEFAULT_STACK_SIZE: usize = 64 * 1024;

/// Stops the program.
pub fn abort() -> ! {
    sel4::init_thread::suspend_self()
}

/// Declares the initial program: `main = FUNCTION`, and optionally `stack_size = BYTES`, `heap_size = BYTES`, in this
/// order. The function takes `&sel4::BootInfoPtr` and returns `!`, `()` or a result: a [`Termination`].
#[macro_export]
macro_rules! declare_root_task {
    (main = $main:expr $(,)?) => {
        $crate::declare_root_task! { main = $main, stack_size = $crate::DEFAULT_STACK_SIZE }
    };
    (main = $main:expr, stack_size = $stack_size:expr, heap_size = $heap_size:expr $(,)?) => {
        #[global_allocator]
        static __SEL4_ROOT_TASK_HEAP: $crate::StaticHeap<{ $heap_size }> = $crate::StaticHeap::new();

        $crate::declare_root_task! { main = $main, stack_size = $stack_size }
    };
    (main = $main:expr, stack_size = $stack_size:expr $(,)?) => {
        #[doc(hidden)]
        #[allow(unsafe_code)] // the first instruction
        mod __sel4_root_task {
            #[allow(unused_imports)]
            use super::*;

            static STACK: $crate::Stack<{ $stack_size }> = $crate::Stack::new();

            static LOGGER: ::sel4::logging::Logger = ::sel4::logging::Logger::new(env!("CARGO_PKG_NAME"));

            extern "C" fn rust_entry(boot_info: *const ::sel4::BootInfo) -> ! {
                // SAFETY: the first instruction runs once, on the initial thread, with the kernel's boot information.
                unsafe { $crate::start(boot_info, &LOGGER, $main) }
            }

            /// The first instruction: takes the stack; rdi is the boot information.
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            extern "C" fn _start() -> ! {
                ::core::arch::naked_asm!(
                    "lea rsp, [rip + {stack} + {size}]",
                    "xor ebp, ebp",
                    "call {entry}",
                    "ud2",
                    stack = sym STACK,
                    size = const $stack_size,
                    entry = sym rust_entry,
                )
            }
        }
    };
}
