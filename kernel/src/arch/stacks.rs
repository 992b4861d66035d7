//! The kernel's stacks, each with a guard page below it that no table maps.
#![allow(unsafe_code)] // Memory the processor writes behind the compiler's back.

use core::cell::UnsafeCell;

use super::layout::PAGE;

/// A guard page and then `N` bytes of stack.
#[repr(C, align(4096))]
pub struct Stack<const N: usize> {
    guard: [u8; PAGE as usize],
    bytes: UnsafeCell<[u8; N]>,
}

// SAFETY: Rust code never names the bytes; the processor and compiled code use them as a stack.
unsafe impl<const N: usize> Sync for Stack<N> {}

impl<const N: usize> Stack<N> {
    const fn new() -> Self {
        Self {
            guard: [0; PAGE as usize],
            bytes: UnsafeCell::new([0; N]),
        }
    }
    /// The address a stack pointer starts at.
    pub fn top(&self) -> u64 {
        self.bytes.get() as u64 + N as u64
    }
    /// The address of the guard page.
    fn guard(&self) -> u64 {
        (&raw const self.guard) as u64
    }
}

/// The one kernel stack.
pub type KernelStack = Stack<{ 128 * 1024 }>;
/// A stack for one exception or for the frames of entries from user mode.
pub type SmallStack = Stack<{ 8 * 1024 }>;

/// Kernel code runs here.
pub static KERNEL: KernelStack = Stack::new();
/// The processor pushes its frame here when it comes from user mode (TSS.RSP0).
pub static ENTRY: SmallStack = Stack::new();
/// Double fault.
pub static DOUBLE_FAULT: SmallStack = Stack::new();
/// Non-maskable interrupt.
pub static NMI: SmallStack = Stack::new();
/// Machine check.
pub static MACHINE_CHECK: SmallStack = Stack::new();
/// Debug exception: it may be late and hit the first instruction of an entry, on the user's stack pointer.
pub static DEBUG: SmallStack = Stack::new();

/// Whether the page at this kernel address is one of the guard pages.
pub fn is_guard(page: u64) -> bool {
    [&ENTRY, &DOUBLE_FAULT, &NMI, &MACHINE_CHECK, &DEBUG]
        .iter()
        .any(|stack| stack.guard() == page)
        || KERNEL.guard() == page
}
