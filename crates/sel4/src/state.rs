//! The calling thread's IPC buffer, found through the FS base.
//!
//! Each thread has a [`ThreadBlock`] of its own, and its FS base points there: word 0 is the block's own address (as the
//! x86-64 ABI wants of any thread pointer), word 1 the address of the thread's IPC buffer, word 2 a borrow flag. The
//! runtime crates fill a block in and hand it to [`install_thread_block`] before anything else runs on the thread.

#![allow(unsafe_code)] // the thread block is shared with assembly and holds a raw pointer to the buffer

use crate::{InvocationContext, IpcBuffer, sys};
use core::cell::Cell;

/// What the FS base of a thread points at.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct ThreadBlock {
    this: Cell<*const ThreadBlock>,
    ipc_buffer: Cell<*mut IpcBuffer>,
    borrowed: Cell<bool>,
}

// SAFETY: a block is used by the one thread whose FS base it was given to; until then nobody reads it. Programs keep
// blocks in statics only to have memory for them.
unsafe impl Sync for ThreadBlock {}

impl ThreadBlock {
    /// A block no thread uses yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            this: Cell::new(core::ptr::null()),
            ipc_buffer: Cell::new(core::ptr::null_mut()),
            borrowed: Cell::new(false),
        }
    }
}

impl Default for ThreadBlock {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes `block` the calling thread's, without an IPC buffer yet.
///
/// # Safety
///
/// No other thread uses `block`, now or later.
pub unsafe fn install_thread_block(block: &'static ThreadBlock) {
    block.this.set(block);
    crate::set_tls_base(core::ptr::from_ref(block).addr());
}

#[cfg(target_os = "none")]
#[inline(always)]
fn current() -> &'static ThreadBlock {
    let block: *const ThreadBlock;
    // SAFETY: the runtime pointed the FS base at a block whose first word is its own address before any other code ran.
    unsafe {
        core::arch::asm!("mov {}, qword ptr fs:[0]", out(reg) block, options(pure, readonly, nostack, preserves_flags));
        &*block
    }
}

#[cfg(test)]
fn current() -> &'static ThreadBlock {
    thread_local!(static BLOCK: &'static ThreadBlock = Box::leak(Box::default()));
    BLOCK.with(|block| *block)
}

#[cfg(all(not(test), not(target_os = "none")))]
fn current() -> &'static ThreadBlock {
    panic!("an IPC buffer of the image was used on the host")
}

/// Gives the calling thread its IPC buffer.
pub fn set_ipc_buffer(ipc_buffer: &'static mut IpcBuffer) {
    current().ipc_buffer.set(ipc_buffer);
}

/// Sets the borrow flag as long as it lives.
struct Borrow(&'static ThreadBlock);

impl Borrow {
    fn new(block: &'static ThreadBlock) -> Self {
        assert!(
            !block.borrowed.replace(true),
            "the IPC buffer is in use already"
        );
        assert!(
            !block.ipc_buffer.get().is_null(),
            "the thread has no IPC buffer"
        );
        Self(block)
    }
}

impl Drop for Borrow {
    fn drop(&mut self) {
        self.0.borrowed.set(false);
    }
}

/// Calls `f` with the calling thread's IPC buffer. Uses do not nest.
#[inline]
pub fn with_ipc_buffer<T>(f: impl FnOnce(&IpcBuffer) -> T) -> T {
    with_ipc_buffer_mut(|buffer| f(buffer))
}

/// Calls `f` with the calling thread's IPC buffer. Uses do not nest.
#[inline]
pub fn with_ipc_buffer_mut<T>(f: impl FnOnce(&mut IpcBuffer) -> T) -> T {
    let borrow = Borrow::new(current());
    // SAFETY: `set_ipc_buffer` got the buffer for ever, the block is this thread's alone, and the flag keeps a second
    // reference from being made while this one lives.
    f(unsafe { &mut *borrow.0.ipc_buffer.get() })
}

/// Whether each thread has an IPC buffer of its own behind the functions of this module: yes.
#[must_use]
pub const fn ipc_buffer_is_thread_local() -> bool {
    true
}

/// The context of capabilities that were given none: the calling thread's IPC buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Implicit;

impl InvocationContext for Implicit {
    #[inline]
    fn with_context<T>(&mut self, f: impl FnOnce(&mut IpcBuffer) -> T) -> T {
        with_ipc_buffer_mut(f)
    }
}

const _: () = assert!(core::mem::offset_of!(ThreadBlock, this) == 0);
const _: () = assert!(core::mem::offset_of!(ThreadBlock, ipc_buffer) == 8);
const _: () = assert!(core::mem::align_of::<IpcBuffer>() == sys::IPC_BUFFER_SIZE as usize);
