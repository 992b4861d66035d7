//! The figures of APM vol. 2, chapter 5, that show the entries: for each, which bits must be zero and where the address is.

/// Bits from the first to the second, both included.
pub type Field = (u32, u32);

/// One figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figure {
    /// Fields marked as reserved, MBZ. Without NX and the address bits beyond the implemented width: these have rules of
    /// their own.
    pub must_be_zero: &'static [Field],
    /// Lowest bit of the base address: 12 in front of a table.
    pub base: u32,
    /// Bit 63 is NX.
    pub has_nx: bool,
    /// log2 of the page, if the entry maps one.
    pub page: Option<u32>,
}

/// 5.2.1: a 4-byte entry that names a page table. Nothing is reserved.
pub const LEGACY_PDE: Figure = Figure {
    must_be_zero: &[],
    base: 12,
    has_nx: false,
    page: None,
};
/// 5.2.1: a 4-byte entry of a page table.
pub const LEGACY_PTE: Figure = Figure {
    page: Some(12),
    ..LEGACY_PDE
};
/// 5.2.2: a 4-byte entry of a 4 MiB page. Address bits 39..32 stand in bits 20..13.
pub const LEGACY_PDE_4M: Figure = Figure {
    must_be_zero: &[(21, 21)],
    base: 22,
    has_nx: false,
    page: Some(22),
};

/// 5.2.3: a page-directory-pointer entry of PAE paging.
pub const PAE_PDPE: Figure = Figure {
    must_be_zero: &[(1, 2), (5, 8), (52, 63)],
    base: 12,
    has_nx: false,
    page: None,
};
/// 5.2.3: a PAE page-directory entry that names a page table.
pub const PAE_PDE: Figure = Figure {
    must_be_zero: &[(52, 62)],
    base: 12,
    has_nx: true,
    page: None,
};
/// 5.2.3: a PAE page-directory entry of a 2 MiB page.
pub const PAE_PDE_2M: Figure = Figure {
    must_be_zero: &[(13, 20), (52, 62)],
    base: 21,
    has_nx: true,
    page: Some(21),
};
/// 5.2.3: a PAE page-table entry.
pub const PAE_PTE: Figure = Figure {
    page: Some(12),
    ..PAE_PDE
};

/// 5.3.3: a PML4 entry.
pub const LONG_PML4E: Figure = Figure {
    must_be_zero: &[(7, 8)],
    base: 12,
    has_nx: true,
    page: None,
};
/// 5.3.3: a page-directory-pointer entry that names a page directory. Bit 8 is ignored.
pub const LONG_PDPE: Figure = Figure {
    must_be_zero: &[],
    base: 12,
    has_nx: true,
    page: None,
};
/// The same on a processor without 1 GiB pages: PS must be zero.
pub const LONG_PDPE_WITHOUT_1G: Figure = Figure {
    must_be_zero: &[(7, 7)],
    ..LONG_PDPE
};
/// 5.3.5: a page-directory-pointer entry of a 1 GiB page.
pub const LONG_PDPE_1G: Figure = Figure {
    must_be_zero: &[(13, 29)],
    base: 30,
    has_nx: true,
    page: Some(30),
};
/// 5.3.3: a page-directory entry that names a page table.
pub const LONG_PDE: Figure = Figure {
    must_be_zero: &[],
    base: 12,
    has_nx: true,
    page: None,
};
/// 5.3.4: a page-directory entry of a 2 MiB page.
pub const LONG_PDE_2M: Figure = Figure {
    must_be_zero: &[(13, 20)],
    base: 21,
    has_nx: true,
    page: Some(21),
};
/// 5.3.3: a page-table entry.
pub const LONG_PTE: Figure = Figure {
    page: Some(12),
    ..LONG_PDE
};

impl Figure {
    /// Whether bit `n` must be zero in an 8-byte entry, on a processor with `width` address bits and with this EFER.NXE.
    #[must_use]
    pub fn is_reserved(&self, n: u32, width: u32, nxe: bool) -> bool {
        if self
            .must_be_zero
            .iter()
            .any(|&(low, high)| low <= n && n <= high)
        {
            return true;
        }
        if n == 63 && self.has_nx {
            // 5.6.1: without EFER.NXE the bit is reserved.
            return !nxe;
        }
        // 5.3, "Physical-Page Base Address": what the processor does not implement must be zero.
        n >= width && n <= 51
    }

    /// Whether an 8-byte entry has a bit set that must be zero.
    #[must_use]
    pub fn is_violated(&self, entry: u64, width: u32, nxe: bool) -> bool {
        (0..64).any(|n| bit(entry, n) && self.is_reserved(n, width, nxe))
    }

    /// The base address of an 8-byte entry.
    #[must_use]
    pub fn address(&self, entry: u64) -> u64 {
        field(entry, self.base, 51)
    }
}

/// Bit `n`.
#[must_use]
pub const fn bit(value: u64, n: u32) -> bool {
    value >> n & 1 == 1
}

/// Bits `low` to `high`, in place.
#[must_use]
pub const fn field(value: u64, low: u32, high: u32) -> u64 {
    value >> low << low << (63 - high) >> (63 - high)
}
