//! Address spaces: frames, tables, and the attributes of a mapping.

use crate::{ObjectBlueprint, ObjectBlueprintX64, ObjectBlueprintX86, Word, around::around};
use core::ops::{BitAnd, BitOr, Not};

/// A frame size.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum FrameObjectType {
    /// 4 KiB.
    _4k,
    /// 2 MiB.
    LargePage,
    /// 1 GiB.
    HugePage,
}

impl FrameObjectType {
    /// The smallest.
    pub const GRANULE: Self = Self::_4k;
    /// log2 of the smallest one's bytes.
    pub const _4K_BITS: usize = 12;
    /// log2 of a large page's bytes.
    pub const LARGE_PAGE_BITS: usize = 21;
    /// log2 of a huge page's bytes.
    pub const HUGE_PAGE_BITS: usize = 30;

    /// What to retype.
    #[must_use]
    pub const fn blueprint(self) -> ObjectBlueprint {
        ObjectBlueprint::Arch(match self {
            Self::_4k => ObjectBlueprintX86::_4k,
            Self::LargePage => ObjectBlueprintX86::LargePage,
            Self::HugePage => ObjectBlueprintX86::SeL4Arch(ObjectBlueprintX64::HugePage),
        })
    }
    /// log2 of its bytes.
    #[must_use]
    pub const fn bits(self) -> usize {
        self.blueprint().physical_size_bits()
    }
    /// Its bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        1 << self.bits()
    }
    /// The size with so many bits.
    #[must_use]
    pub const fn from_bits(bits: usize) -> Option<Self> {
        Some(match bits {
            Self::_4K_BITS => Self::_4k,
            Self::LARGE_PAGE_BITS => Self::LargePage,
            Self::HUGE_PAGE_BITS => Self::HugePage,
            _ => return None,
        })
    }
}

/// A table of an address space.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum TranslationTableObjectType {
    /// Level 0, the root.
    PML4,
    /// Level 1.
    PDPT,
    /// Level 2.
    PageDirectory,
    /// Level 3.
    PageTable,
}

impl TranslationTableObjectType {
    /// What to retype.
    #[must_use]
    pub const fn blueprint(&self) -> ObjectBlueprint {
        ObjectBlueprint::Arch(match self {
            Self::PML4 => ObjectBlueprintX86::SeL4Arch(ObjectBlueprintX64::PML4),
            Self::PDPT => ObjectBlueprintX86::SeL4Arch(ObjectBlueprintX64::PDPT),
            Self::PageDirectory => ObjectBlueprintX86::PageDirectory,
            Self::PageTable => ObjectBlueprintX86::PageTable,
        })
    }
    /// Address bits it resolves.
    #[must_use]
    pub const fn index_bits(&self) -> usize {
        9
    }
    /// The table at a level, 0 being the root.
    #[must_use]
    pub const fn from_level(level: usize) -> Option<Self> {
        Some(match level {
            0 => Self::PML4,
            1 => Self::PDPT,
            2 => Self::PageDirectory,
            3 => Self::PageTable,
            _ => return None,
        })
    }
}

/// The shape of an address space.
pub mod vspace_levels {
    /// Levels of tables.
    pub const NUM_LEVELS: usize = 4;
    /// First level whose entries may be pages.
    pub const HIGHEST_LEVEL_WITH_PAGE_ENTRIES: usize = 1;

    /// log2 of the bytes a table of this level spans.
    #[must_use]
    pub const fn span_bits(level: usize) -> usize {
        step_bits(level) + 9
    }
    /// log2 of the bytes one entry of this level spans.
    #[must_use]
    pub const fn step_bits(level: usize) -> usize {
        12 + 9 * (NUM_LEVELS - 1 - level)
    }
}

/// Attributes of a mapping: the page-attribute-table index. libsel4: `seL4_X86_VMAttributes`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct VmAttributes(Word);

around!(VmAttributes, Word);

impl VmAttributes {
    /// No bit.
    pub const NONE: Self = Self(0);
    /// Write-back memory.
    pub const DEFAULT: Self = Self(0);
    /// Write-through.
    pub const WRITE_THROUGH: Self = Self(1);
    /// Uncached, as far as the memory-type ranges allow no better.
    pub const CACHE_DISABLED: Self = Self(2);
    /// Uncacheable whatever they say.
    pub const UNCACHEABLE: Self = Self(3);
    /// Write-combining.
    pub const WRITE_COMBINING: Self = Self(4);

    /// Whether all bits of `other` are there.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Not for VmAttributes {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl BitOr for VmAttributes {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for VmAttributes {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_span_what_x86_says() {
        assert_eq!(
            core::array::from_fn(vspace_levels::step_bits),
            [39, 30, 21, 12]
        );
        assert_eq!(vspace_levels::span_bits(0), 48);
    }
}
