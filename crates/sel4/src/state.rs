//! The calling thread's IPC buffer, found through the FS base.
//!
//! Each thread has a [`ThreadBlock`] of its own, and its FS base points there: word 0 is the block's own address (as the
//! x86-64 ABI wants of any thread pointer), word 1 the address of the thread's IPC buffer, word 2 how
//! often it is in use. The runtime crates fill a block in and hand it to [`install_thread_block`] before anything else runs on the thread.

#![allow(unsafe_code)] // the thread block is shared with assembly and holds a raw pointer to the buffer

use crate::{InvocationContext, IpcBuffer, sys};
use core::cell::{Cell, UnsafeCell};
use core::fmt;

/// The place of a thread's IPC buffer.
type Slot = Option<&'static mut IpcBuffer>;

/// What the FS base of a thread points at.
#[repr(C, align(64))]
pub struct ThreadBlock {
    this: Cell<*const ThreadBlock>,
    ipc_buffer: UnsafeCell<Slot>,
    /// How many references to the place there are; [`EXCLUSIVE`] for one that can change it.
    borrows: Cell<isize>,
}

const EXCLUSIVE: isize = -1;

// SAFETY: a block is used by the one thread whose FS base it was given to; until then nobody reads it. Programs keep
// blocks in statics only to have memory for them.
unsafe impl Sync for ThreadBlock {}

impl ThreadBlock {
    /// A block no thread uses yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            this: Cell::new(core::ptr::null()),
            ipc_buffer: UnsafeCell::new(None),
            borrows: Cell::new(0),
        }
    }
}

impl fmt::Debug for ThreadBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadBlock")
            .field("this", &self.this.get())
            .finish_non_exhaustive()
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

/// The place of the calling thread's IPC buffer is being changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BorrowError;

/// The place of the calling thread's IPC buffer is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BorrowMutError;

/// Holds a use of the block's place, and ends it when dropped.
struct Borrow {
    block: &'static ThreadBlock,
    before: isize,
}

impl Borrow {
    fn shared(block: &'static ThreadBlock) -> Result<Self, BorrowError> {
        let before = block.borrows.get();
        if before == EXCLUSIVE {
            return Err(BorrowError);
        }
        block.borrows.set(before + 1);
        Ok(Self { block, before })
    }
    fn exclusive(block: &'static ThreadBlock) -> Result<Self, BorrowMutError> {
        let before = block.borrows.get();
        if before != 0 {
            return Err(BorrowMutError);
        }
        block.borrows.set(EXCLUSIVE);
        Ok(Self { block, before })
    }
}

impl Drop for Borrow {
    fn drop(&mut self) {
        // Uses nest: what was begun after this one has ended.
        self.block.borrows.set(self.before);
    }
}

/// Calls `f` with the place of the calling thread's IPC buffer.
#[inline]
pub fn try_with_ipc_buffer_slot<T>(f: impl FnOnce(Result<&Slot, BorrowError>) -> T) -> T {
    match Borrow::shared(current()) {
        // SAFETY: the block is this thread's alone, and no exclusive reference is made while `borrow` lives.
        Ok(borrow) => f(Ok(unsafe { &*borrow.block.ipc_buffer.get() })),
        Err(error) => f(Err(error)),
    }
}

/// Calls `f` with the place of the calling thread's IPC buffer, to change it or what is in it.
#[inline]
pub fn try_with_ipc_buffer_slot_mut<T>(
    f: impl FnOnce(Result<&mut Slot, BorrowMutError>) -> T,
) -> T {
    match Borrow::exclusive(current()) {
        // SAFETY: the block is this thread's alone, and no other reference is made while `borrow` lives.
        Ok(borrow) => f(Ok(unsafe { &mut *borrow.block.ipc_buffer.get() })),
        Err(error) => f(Err(error)),
    }
}

const IN_USE: &str = "the IPC buffer is in use already";
const NO_BUFFER: &str = "the thread has no IPC buffer";

/// Gives the calling thread its IPC buffer. libsel4: `seL4_SetIPCBuffer`.
///
/// # Panics
///
/// While the buffer is in use.
pub fn set_ipc_buffer(ipc_buffer: &'static mut IpcBuffer) {
    try_with_ipc_buffer_slot_mut(|slot| *slot.expect(IN_USE) = Some(ipc_buffer));
}

/// Calls `f` with the calling thread's IPC buffer. libsel4: `seL4_GetIPCBuffer`.
///
/// # Panics
///
/// If the thread has none, or inside [`with_ipc_buffer_mut`].
#[inline]
pub fn with_ipc_buffer<T>(f: impl FnOnce(&IpcBuffer) -> T) -> T {
    try_with_ipc_buffer_slot(|slot| f(slot.expect(IN_USE).as_ref().expect(NO_BUFFER)))
}

/// Calls `f` with the calling thread's IPC buffer.
///
/// # Panics
///
/// If the thread has none, or inside another use of it.
#[inline]
pub fn with_ipc_buffer_mut<T>(f: impl FnOnce(&mut IpcBuffer) -> T) -> T {
    try_with_ipc_buffer_slot_mut(|slot| f(slot.expect(IN_USE).as_mut().expect(NO_BUFFER)))
}

/// Whether each thread has an IPC buffer of its own behind the functions of this module: yes.
#[must_use]
pub const fn ipc_buffer_is_thread_local() -> bool {
    true
}

/// The context of capabilities that were given none: the calling thread's IPC buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ImplicitInvocationContext;

impl ImplicitInvocationContext {
    /// The context.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl InvocationContext for ImplicitInvocationContext {
    #[inline]
    fn with_context<T>(&mut self, f: impl FnOnce(&mut IpcBuffer) -> T) -> T {
        with_ipc_buffer_mut(f)
    }
}

const _: () = assert!(core::mem::offset_of!(ThreadBlock, this) == 0);
const _: () = assert!(core::mem::offset_of!(ThreadBlock, ipc_buffer) == 8);
const _: () = assert!(core::mem::align_of::<IpcBuffer>() == sys::IPC_BUFFER_SIZE as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocations::recorder::buffer;

    #[test]
    fn readers_nest_and_a_writer_is_alone() {
        set_ipc_buffer(buffer());
        with_ipc_buffer(|_| {
            with_ipc_buffer(|buffer| assert_eq!(buffer.user_data(), 0));
            try_with_ipc_buffer_slot_mut(|slot| assert_eq!(slot.err(), Some(BorrowMutError)));
        });
        with_ipc_buffer_mut(|_| {
            try_with_ipc_buffer_slot(|slot| assert_eq!(slot.err(), Some(BorrowError)));
            try_with_ipc_buffer_slot_mut(|slot| assert_eq!(slot.err(), Some(BorrowMutError)));
        });
        try_with_ipc_buffer_slot_mut(|slot| assert!(slot.is_ok_and(|slot| slot.take().is_some())));
        try_with_ipc_buffer_slot(|slot| assert!(slot.is_ok_and(Option::is_none)));
    }
}
