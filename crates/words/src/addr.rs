//! Addresses of the three spaces: guest-virtual, guest-physical, host-physical.
//!
//! There is no conversion between the spaces here and no `From<u64>`: where one becomes another, a table was walked,
//! and that code says so. Arithmetic that would wrap returns `None` or says `wrapping` in its name.

use core::fmt;

/// Bytes in the smallest page.
pub const PAGE_SIZE: u64 = 4096;
/// log2 of [`PAGE_SIZE`].
pub const PAGE_BITS: u32 = 12;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident, $tag:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The address with these bits; any value is allowed, meaning is given by whoever uses it.
            #[must_use]
            pub const fn new(bits: u64) -> Self {
                Self(bits)
            }
            /// The address as a number.
            #[must_use]
            pub const fn bits(self) -> u64 {
                self.0
            }
            /// The address `offset` bytes on, or `None` past 2^64.
            #[must_use]
            pub const fn checked_add(self, offset: u64) -> Option<Self> {
                match self.0.checked_add(offset) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }
            /// The address `offset` bytes on, modulo 2^64.
            #[must_use]
            pub const fn wrapping_add(self, offset: u64) -> Self {
                Self(self.0.wrapping_add(offset))
            }
            /// The first byte of the 4 KiB page that holds this address.
            #[must_use]
            pub const fn page(self) -> Self {
                Self(self.0 & !(PAGE_SIZE - 1))
            }
            /// The offset inside its 4 KiB page.
            #[must_use]
            pub const fn page_offset(self) -> u64 {
                self.0 & (PAGE_SIZE - 1)
            }
            /// Whether the address is a multiple of 2^`bits`; `bits` below 64.
            #[must_use]
            pub const fn is_aligned(self, bits: u32) -> bool {
                self.0 & ((1u64 << bits) - 1) == 0
            }
            /// The address rounded down to a multiple of 2^`bits`; `bits` below 64.
            #[must_use]
            pub const fn align_down(self, bits: u32) -> Self {
                Self(self.0 & !((1u64 << bits) - 1))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($tag, "({:#x})"), self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address!(
    /// A guest-virtual (linear) address: what a guest's instruction computes after adding the segment base.
    Gva,
    "Gva"
);
address!(
    /// A guest-physical address: what a guest's page tables yield. Never dereferenced by anyone as it stands.
    Gpa,
    "Gpa"
);
address!(
    /// A host-physical address: a place in the machine's memory. Only the kernel holds these.
    Hpa,
    "Hpa"
);

impl Gva {
    /// Whether bits 63..48 repeat bit 47 (APM vol. 2, 5.3.1).
    #[must_use]
    pub const fn is_canonical(self) -> bool {
        let top = (self.0 as i64) >> 47;
        top == 0 || top == -1
    }
    /// The index into the table of `level` (1 = page table … 4 = PML4) in 4-level and PAE formats: nine bits.
    #[must_use]
    pub const fn index(self, level: u32) -> usize {
        ((self.0 >> (PAGE_BITS + 9 * (level - 1))) & 511) as usize
    }
}

impl Gpa {
    /// The guest frame that holds this address.
    #[must_use]
    pub const fn frame(self) -> Gfn {
        Gfn(self.0 >> PAGE_BITS)
    }
}

/// A guest frame number: a guest-physical address divided by 4096.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[repr(transparent)]
pub struct Gfn(u64);

impl Gfn {
    /// The frame with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
    /// The number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
    /// The frame's first byte.
    #[must_use]
    pub const fn gpa(self) -> Gpa {
        Gpa(self.0 << PAGE_BITS)
    }
}

/// The three page sizes of the long-mode and PAE formats.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PageSize {
    /// 4 KiB, mapped by a page-table entry.
    Size4K,
    /// 2 MiB, mapped by a page-directory entry.
    Size2M,
    /// 1 GiB, mapped by a page-directory-pointer entry.
    Size1G,
}

impl PageSize {
    /// log2 of the size in bytes: 12, 21 or 30.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Size4K => 12,
            Self::Size2M => 21,
            Self::Size1G => 30,
        }
    }
    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.bits()
    }
    /// The level of the table whose entry maps such a page: 1, 2 or 3.
    #[must_use]
    pub const fn level(self) -> u32 {
        match self {
            Self::Size4K => 1,
            Self::Size2M => 2,
            Self::Size1G => 3,
        }
    }
    /// The size mapped by a leaf at `level`, or `None` for a level that has no leaves.
    #[must_use]
    pub const fn from_level(level: u32) -> Option<Self> {
        match level {
            1 => Some(Self::Size4K),
            2 => Some(Self::Size2M),
            3 => Some(Self::Size1G),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_means_sign_extended_from_bit_47() {
        assert!(Gva::new(0x7fff_ffff_ffff).is_canonical());
        assert!(Gva::new(0xffff_8000_0000_0000).is_canonical());
        assert!(!Gva::new(0x8000_0000_0000).is_canonical());
    }

    #[test]
    fn table_indices_are_nine_bits_a_level() {
        let gva = Gva::new(0xffff_ffff_ffff_f000);
        assert_eq!([1, 2, 3, 4].map(|level| gva.index(level)), [511; 4]);
        assert_eq!(Gva::new(1 << 39).index(4), 1);
    }
}
