//! Ranges of linear addresses.

use words::Gva;

/// Addresses from the first to the last, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    first: u64,
    last: u64,
}

impl Range {
    /// Every address.
    pub const ALL: Self = Self {
        first: 0,
        last: u64::MAX,
    };

    /// The page of 2^`bits` bytes that holds `gva`.
    pub const fn page(gva: Gva, bits: u32) -> Self {
        let first = gva.align_down(bits).bits();
        Self {
            first,
            last: first | ((1 << bits) - 1),
        }
    }

    /// Whether the 2^`bits` bytes from `gva` share an address with this.
    pub const fn meets(&self, gva: Gva, bits: u32) -> bool {
        let first = gva.bits();
        let last = first | ((1 << bits) - 1);
        first <= self.last && self.first <= last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_meets_what_lies_in_it_and_around_it() {
        let page = Range::page(Gva::new(0x20_5123), 21);
        assert!(page.meets(Gva::new(0x3f_f000), 12));
        assert!(page.meets(Gva::new(0), 30));
        assert!(!page.meets(Gva::new(0x40_0000), 12));
        assert!(!page.meets(Gva::new(0x1f_f000), 12));
    }
}
