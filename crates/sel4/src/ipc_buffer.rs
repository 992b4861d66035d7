//! The IPC buffer: message words beyond the registers, extra capabilities, the slot for a received capability.

use crate::{AbsoluteCPtr, CPtr, CPtrWithDepth, Word, cap, sys};
use core::fmt;

/// A thread's IPC buffer. Message words 0..=3 here are this program's copies: the kernel moves those in registers.
#[repr(transparent)]
pub struct IpcBuffer(sys::message::IpcBuffer);

impl IpcBuffer {
    /// Around the ABI's structure.
    #[must_use]
    pub const fn from_inner(inner: sys::message::IpcBuffer) -> Self {
        Self(inner)
    }
    /// The ABI's structure.
    #[must_use]
    pub const fn inner(&self) -> &sys::message::IpcBuffer {
        &self.0
    }
    /// The ABI's structure.
    #[must_use]
    pub const fn inner_mut(&mut self) -> &mut sys::message::IpcBuffer {
        &mut self.0
    }
    /// Message words.
    #[must_use]
    pub const fn msg_regs(&self) -> &[Word] {
        &self.0.msg
    }
    /// Message words.
    #[must_use]
    pub const fn msg_regs_mut(&mut self) -> &mut [Word] {
        &mut self.0.msg
    }
    /// The message words as bytes.
    #[must_use]
    pub fn msg_bytes(&self) -> &[u8] {
        let words = self.msg_regs();
        #[expect(unsafe_code, reason = "the words, seen as bytes")]
        // SAFETY: the words are initialised memory of that size, and every byte pattern is a byte.
        unsafe {
            core::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words))
        }
    }
    /// The message words as bytes.
    #[must_use]
    pub fn msg_bytes_mut(&mut self) -> &mut [u8] {
        let words = self.msg_regs_mut();
        #[expect(unsafe_code, reason = "the words, seen as bytes")]
        // SAFETY: the words are initialised memory of that size, borrowed exclusively; every byte pattern is a word.
        unsafe {
            core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words))
        }
    }
    /// The word the kernel leaves alone.
    #[must_use]
    pub const fn user_data(&self) -> Word {
        self.0.user_data
    }
    /// Sets the word the kernel leaves alone.
    pub const fn set_user_data(&mut self, data: Word) {
        self.0.user_data = data;
    }
    /// Sender: extra capabilities. Receiver: badges of unwrapped ones.
    #[must_use]
    pub const fn caps_or_badges(&self) -> &[Word] {
        &self.0.caps_or_badges
    }
    /// Sender: extra capabilities. Receiver: badges of unwrapped ones.
    #[must_use]
    pub const fn caps_or_badges_mut(&mut self) -> &mut [Word] {
        &mut self.0.caps_or_badges
    }
    /// Where a received capability goes.
    #[must_use]
    pub fn recv_slot(&self) -> AbsoluteCPtr {
        let root = cap::CNode::from_bits(self.0.receive_cnode);
        let path = CPtrWithDepth::from_bits_with_depth(
            self.0.receive_index,
            self.0.receive_depth as usize,
        );
        AbsoluteCPtr::new(root, path)
    }
    /// Sets where a received capability goes.
    pub fn set_recv_slot(&mut self, slot: &AbsoluteCPtr) {
        self.0.receive_cnode = slot.root().bits();
        self.0.receive_index = slot.path().bits();
        self.0.receive_depth = slot.path().depth() as Word;
    }
    /// Lets no capability be received.
    pub fn clear_recv_slot(&mut self) {
        self.set_recv_slot(&AbsoluteCPtr::new(
            CPtr::from_bits(0).cast(),
            CPtrWithDepth::empty(),
        ));
    }
}

impl fmt::Debug for IpcBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
