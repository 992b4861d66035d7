//! Memory for a stack.

use core::cell::UnsafeCell;

/// A stack of `SIZE` bytes, a multiple of 16.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct Stack<const SIZE: usize>(UnsafeCell<[u8; SIZE]>);

// SAFETY: nothing but the one thread whose stack pointer was set to it uses the memory.
unsafe impl<const SIZE: usize> Sync for Stack<SIZE> {}

impl<const SIZE: usize> Stack<SIZE> {
    /// The memory.
    #[must_use]
    pub const fn new() -> Self {
        const {
            assert!(
                SIZE.is_multiple_of(16),
                "the x86-64 ABI aligns stacks to 16 bytes"
            )
        };
        Self(UnsafeCell::new([0; SIZE]))
    }
}

impl<const SIZE: usize> Default for Stack<SIZE> {
    fn default() -> Self {
        Self::new()
    }
}
