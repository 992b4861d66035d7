//! The runtime of the initial program: first instruction, stack, thread block, log, panics, and a heap if it wants one.
//!
//! ```text
//! #[sel4_root_task::root_task(stack_size = 64 * 1024)]
//! fn main(boot_info: &sel4::BootInfoPtr) -> ! { … }
//! ```
//!
//! The kernel enters with rdi = address of the boot information and no stack. A whole program is in `examples/hello-root`.
//!
//! On the host such a program compiles and links too, so that checks of a whole workspace work; run there, it says where it
//! belongs.
#![cfg_attr(target_os = "none", no_std)]
#![allow(unsafe_code)] // entry from assembly, and an allocator

mod entry;
mod heap;
pub mod panicking;
mod stack;

pub use entry::{Never, Termination};
pub use heap::StaticHeap;
pub use sel4::{debug_print, debug_println};
/// Makes the function below it the program's `main`, see [`declare_root_task!`].
pub use sel4_root_task_macros::root_task;
pub use stack::Stack;

#[doc(hidden)]
pub use entry::{Function, start};

/// Bytes of a stack when the declaration names none.
pub const DEFAULT_STACK_SIZE: usize = 64 * 1024;

/// Stops the program.
pub fn abort() -> ! {
    sel4::init_thread::suspend_self()
}

/// Stops the program, with a last line for the debug console if one is given.
#[macro_export]
macro_rules! abort {
    () => { $crate::abort() };
    ($($arg:tt)*) => {{
        $crate::debug_println!($($arg)*);
        $crate::abort()
    }};
}

/// What a root task says and answers that was started on the host.
#[cfg(not(target_os = "none"))]
#[doc(hidden)]
pub fn elsewhere() -> i32 {
    eprintln!("this program is a root task: boot it with `cargo run -- --root-task FILE`");
    1
}

/// Declares the initial program: `main = FUNCTION`, and optionally `stack_size = BYTES` and `heap_size = BYTES`, in this
/// order. The function takes `&sel4::BootInfoPtr` and returns `!`, `()` or a result: a [`Termination`]. The attribute
/// [`root_task`](macro@root_task) on the function does the same.
#[macro_export]
macro_rules! declare_root_task {
    (main = $main:expr $(, heap_size = $heap_size:expr)? $(,)?) => {
        $crate::declare_root_task! {
            main = $main, stack_size = $crate::DEFAULT_STACK_SIZE $(, heap_size = $heap_size)?
        }
    };
    (main = $main:expr, stack_size = $stack_size:expr, heap_size = $heap_size:expr $(,)?) => {
        #[cfg(target_os = "none")]
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

            #[cfg(target_os = "none")]
            static STACK: $crate::Stack<{ $stack_size }> = $crate::Stack::new();

            static LOGGER: ::sel4::logging::Logger = ::sel4::logging::Logger::new(env!("CARGO_PKG_NAME"));

            #[cfg_attr(not(target_os = "none"), allow(dead_code))] // the host's compiler reads it, and nobody calls it there
            extern "C" fn rust_entry(boot_info: *const ::sel4::BootInfo) -> ! {
                // SAFETY: the first instruction runs once, on the initial thread, with the kernel's boot information.
                unsafe { $crate::start(boot_info, &LOGGER, $main) }
            }

            /// The first instruction: takes the stack; rdi is the boot information.
            #[cfg(target_os = "none")]
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

            /// The host's first function of a program.
            #[cfg(not(target_os = "none"))]
            #[unsafe(export_name = "main")]
            extern "C" fn elsewhere() -> i32 {
                $crate::elsewhere()
            }
        }
    };
}
