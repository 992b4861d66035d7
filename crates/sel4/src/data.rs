//! Small words with fields: rights, CNode guards, thread flags.

use crate::{WORD_SIZE, Word, around::around, sys};

/// Rights a copied capability keeps. libsel4: `seL4_CapRights_t`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct CapRights(sys::Rights);

around!(CapRights, sys::Rights);

impl CapRights {
    /// From its four bits.
    #[must_use]
    pub const fn new(grant_reply: bool, grant: bool, read: bool, write: bool) -> Self {
        Self(sys::Rights::new(
            (write as Word * sys::Rights::WRITE)
                | (read as Word * sys::Rights::READ)
                | (grant as Word * sys::Rights::GRANT)
                | (grant_reply as Word * sys::Rights::GRANT_REPLY),
        ))
    }
    /// No right.
    #[must_use]
    pub const fn none() -> Self {
        Self::new(false, false, false, false)
    }
    /// Every right.
    #[must_use]
    pub const fn all() -> Self {
        Self(sys::Rights::ALL)
    }
    /// Read and write.
    #[must_use]
    pub const fn read_write() -> Self {
        Self::new(false, false, true, true)
    }
    /// Read.
    #[must_use]
    pub const fn read_only() -> Self {
        Self::new(false, false, true, false)
    }
    /// Write.
    #[must_use]
    pub const fn write_only() -> Self {
        Self::new(false, false, false, true)
    }
}

/// Builds [`CapRights`] right by right.
#[derive(Clone, Debug)]
pub struct CapRightsBuilder {
    grant_reply: bool,
    grant: bool,
    read: bool,
    write: bool,
}

impl CapRightsBuilder {
    /// Begins with no right.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            grant_reply: false,
            grant: false,
            read: false,
            write: false,
        }
    }
    /// Begins with every right.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            grant_reply: true,
            grant: true,
            read: true,
            write: true,
        }
    }
    /// The rights.
    #[must_use]
    pub const fn build(self) -> CapRights {
        CapRights::new(self.grant_reply, self.grant, self.read, self.write)
    }
    /// A reply capability goes with a call.
    #[must_use]
    pub const fn grant_reply(mut self, can: bool) -> Self {
        self.grant_reply = can;
        self
    }
    /// Capabilities may be passed.
    #[must_use]
    pub const fn grant(mut self, can: bool) -> Self {
        self.grant = can;
        self
    }
    /// Receive, wait, read.
    #[must_use]
    pub const fn read(mut self, can: bool) -> Self {
        self.read = can;
        self
    }
    /// Send, signal, write.
    #[must_use]
    pub const fn write(mut self, can: bool) -> Self {
        self.write = can;
        self
    }
}

/// Guard of a CNode capability. libsel4: `seL4_CNode_CapData_t`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct CNodeCapData(Word);

around!(CNodeCapData, Word);

impl CNodeCapData {
    /// A guard of `guard_size` bits.
    #[must_use]
    pub const fn new(guard: Word, guard_size: usize) -> Self {
        Self(guard << 6 | guard_size as Word & 63)
    }
    /// Skips `num_bits` zero bits.
    #[must_use]
    pub const fn skip(num_bits: usize) -> Self {
        Self::new(0, num_bits)
    }
    /// Skips what a single CNode of this radix leaves of a word.
    #[must_use]
    pub const fn skip_high_bits(cnode_size_bits: usize) -> Self {
        Self::skip(WORD_SIZE - cnode_size_bits)
    }
    /// The word.
    #[must_use]
    pub const fn into_word(self) -> Word {
        self.0
    }
}

/// Builds the word of thread flags. libsel4: `seL4_TCBFlag`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcbFlagsBuilder(Word);

impl TcbFlagsBuilder {
    /// No flag.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }
    /// The thread may not use the FPU.
    #[must_use]
    pub const fn fpu_disabled(mut self, disabled: bool) -> Self {
        self.0 = self.0 & !1 | disabled as Word;
        self
    }
    /// The word.
    #[must_use]
    pub const fn build(self) -> Word {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_have_the_bits_of_the_abi() {
        assert_eq!(CapRights::all().into_inner().bits(), 0xf);
        assert_eq!(CapRights::read_write().into_inner().bits(), 3);
        assert_eq!(
            CapRightsBuilder::none()
                .grant_reply(true)
                .write(true)
                .build()
                .into_inner()
                .bits(),
            9
        );
        assert_eq!(
            CapRightsBuilder::all()
                .grant(false)
                .build()
                .into_inner()
                .bits(),
            0xb
        );
    }

    #[test]
    fn a_guard_has_its_size_in_the_low_six_bits() {
        assert_eq!(CNodeCapData::new(5, 7).into_word(), 5 << 6 | 7);
        assert_eq!(CNodeCapData::skip_high_bits(12).into_word(), 52);
    }
}
