//! The message-information word and the IPC buffer's layout.

use crate::{MSG_MAX_LENGTH, Word};

/// The message-information word: label 63..12, caps unwrapped 11..9, extra caps 8..7, length 6..0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct MessageInfo(Word);

impl MessageInfo {
    /// A word from its fields; each is cut to its width.
    #[must_use]
    pub const fn new(label: Word, caps_unwrapped: Word, extra_caps: Word, length: Word) -> Self {
        Self(label << 12 | (caps_unwrapped & 7) << 9 | (extra_caps & 3) << 7 | (length & 127))
    }
    /// The word as received; a length above 120 reads as 120.
    #[must_use]
    pub const fn from_word(word: Word) -> Self {
        if word & 127 > MSG_MAX_LENGTH as Word {
            Self(word & !127 | MSG_MAX_LENGTH as Word)
        } else {
            Self(word)
        }
    }
    /// The word.
    #[must_use]
    pub const fn word(self) -> Word {
        self.0
    }
    /// The label, 52 bits.
    #[must_use]
    pub const fn label(self) -> Word {
        self.0 >> 12
    }
    /// One bit for each extra capability that arrived as a badge.
    #[must_use]
    pub const fn caps_unwrapped(self) -> Word {
        (self.0 >> 9) & 7
    }
    /// Number of extra capabilities, 0..=3.
    #[must_use]
    pub const fn extra_caps(self) -> usize {
        ((self.0 >> 7) & 3) as usize
    }
    /// Number of message words, 0..=120.
    #[must_use]
    pub const fn length(self) -> usize {
        (self.0 & 127) as usize
    }
}

/// Byte offsets into the IPC buffer.
pub mod ipc_buffer {
    /// `msg[120]`: MR i at this offset + 8·i; MR0..MR3 travel in registers.
    pub const MSG: usize = 8;
    /// User data, ignored by the kernel.
    pub const USER_DATA: usize = 968;
    /// Sender: addresses of extra capabilities. Receiver: badges of unwrapped ones.
    pub const CAPS_OR_BADGES: usize = 976;
    /// Receive slot: CNode.
    pub const RECEIVE_CNODE: usize = 1000;
    /// Receive slot: index.
    pub const RECEIVE_INDEX: usize = 1008;
    /// Receive slot: depth.
    pub const RECEIVE_DEPTH: usize = 1016;
}

/// The IPC buffer as a structure (1024 bytes, aligned to its size).
#[derive(Clone, Debug)]
#[repr(C, align(1024))]
pub struct IpcBuffer {
    /// Tag word, unused on x86_64.
    pub tag: Word,
    /// Message words.
    pub msg: [Word; MSG_MAX_LENGTH],
    /// User data.
    pub user_data: Word,
    /// Sender: addresses of extra capabilities. Receiver: badges of unwrapped ones.
    pub caps_or_badges: [Word; 3],
    /// Receive slot: CNode.
    pub receive_cnode: Word,
    /// Receive slot: index.
    pub receive_index: Word,
    /// Receive slot: depth.
    pub receive_depth: Word,
}

const _: () = assert!(core::mem::size_of::<IpcBuffer>() == 1024);
const _: () = assert!(core::mem::offset_of!(IpcBuffer, msg) == ipc_buffer::MSG);
const _: () =
    assert!(core::mem::offset_of!(IpcBuffer, caps_or_badges) == ipc_buffer::CAPS_OR_BADGES);
const _: () = assert!(core::mem::offset_of!(IpcBuffer, receive_depth) == ipc_buffer::RECEIVE_DEPTH);
