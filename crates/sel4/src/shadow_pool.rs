//! The shadow pool: Umbra's own object, the memory of one VM's shadow tables. Pages are named by index; an entry names
//! guest frames, never host ones.

use crate::{InvocationContext, Result, Word, cap, sys::label};
use words::{Gfn, Gva};

/// Number of a page in its pool.
pub type Page = u32;

/// A slot of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The page.
    pub page: Page,
    /// The slot, 0..512.
    pub slot: u16,
}

impl Entry {
    #[inline]
    const fn word(self) -> Word {
        self.page as Word | (self.slot as Word) << 32
    }
}

/// A link to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Where.
    pub parent: Entry,
    /// To which page.
    pub child: Page,
}

/// A leaf to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill {
    /// Where.
    pub entry: Entry,
    /// Which guest frame.
    pub frame: Gfn,
    /// Size, rights, tracking: the bits of [`sys::label::fill`](crate::sys::label::fill).
    pub attributes: Word,
}

/// What to flush from the real TLB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// Everything.
    All,
    /// One address.
    Address(Gva),
}

/// What a pool says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Info {
    /// Usable pages.
    pub pages: Word,
    /// The present epoch; pages of an earlier one are stale.
    pub epoch: Word,
    /// The page that is the vCPUs' root.
    pub root: Option<Page>,
}

/// Most links one call makes.
pub const MAX_LINKS: usize = 59;
/// Most leaves one call makes.
pub const MAX_FILLS: usize = 39;
/// Most slots one call clears or harvests.
pub const MAX_SLOTS: usize = 512;
/// Slots whose harvest fits in a word.
pub const SLOTS_PER_WORD: usize = 32;

impl<C: InvocationContext> cap::ShadowPool<C> {
    /// Binds the pool to the guest-physical space its entries are checked against.
    pub fn bind_space(self, space: cap::GuestPml4) -> Result<()> {
        self.invoke(label::POOL_BIND_SPACE, &[space.bits()], &[])
            .map(drop)
    }
    /// Lets the vCPU have roots of this pool (its paging right).
    pub fn bind_vcpu(self, vcpu: cap::VCpu) -> Result<()> {
        self.invoke(label::POOL_BIND_VCPU, &[vcpu.bits()], &[])
            .map(drop)
    }
    /// Makes a page an empty table of a level, 1 (page table) to 4 (PML4).
    pub fn reset(self, page: Page, level: u32) -> Result<()> {
        self.invoke(label::POOL_RESET, &[], &[page.into(), level.into()])
            .map(drop)
    }
    /// Makes a page a PAE root with its four page directories.
    pub fn reset_pae_root(self, page: Page, directories: [Page; 4]) -> Result<()> {
        let [d0, d1, d2, d3] = directories.map(Word::from);
        self.invoke(
            label::POOL_RESET,
            &[],
            &[page.into(), label::LEVEL_PAE_ROOT, d0, d1, d2, d3],
        )
        .map(drop)
    }
    /// Makes links, at most [`MAX_LINKS`]. On an error those before the failing one stand.
    ///
    /// # Panics
    ///
    /// If there are more.
    #[inline]
    pub fn link(self, links: &[Link]) -> Result<()> {
        if let [link] = links {
            return self
                .invoke(
                    label::POOL_LINK,
                    &[],
                    &[link.parent.word(), link.child.into()],
                )
                .map(drop);
        }
        let mut words = [0; 2 * MAX_LINKS];
        for (group, link) in words.chunks_exact_mut(2).zip(links) {
            group.copy_from_slice(&[link.parent.word(), link.child.into()]);
        }
        self.invoke(label::POOL_LINK, &[], &words[..2 * links.len()])
            .map(drop)
    }
    /// Makes leaves, at most [`MAX_FILLS`]. On an error those before the failing one stand.
    ///
    /// # Panics
    ///
    /// If there are more.
    #[inline]
    pub fn fill(self, fills: &[Fill]) -> Result<()> {
        if let [fill] = fills {
            return self.invoke(label::POOL_FILL, &[], &fill.words()).map(drop);
        }
        let mut words = [0; 3 * MAX_FILLS];
        for (group, fill) in words.chunks_exact_mut(3).zip(fills) {
            group.copy_from_slice(&fill.words());
        }
        self.invoke(label::POOL_FILL, &[], &words[..3 * fills.len()])
            .map(drop)
    }
    /// Empties `count` slots from `first` on.
    pub fn clear(self, first: Entry, count: usize) -> Result<()> {
        self.invoke(label::POOL_CLEAR, &[], &[first.word(), count as Word])
            .map(drop)
    }
    /// Reads and clears the hardware's A and D bits of `count` slots from `first` on: two bits a slot, A then D,
    /// [`SLOTS_PER_WORD`] slots a word. The result is the number of words.
    pub fn harvest(self, first: Entry, count: usize, bits: &mut [Word]) -> Result<usize> {
        self.invoke_into(
            label::POOL_HARVEST,
            &[],
            &[first.word(), count as Word],
            bits,
        )
    }
    /// Makes a page the vCPU's root (its paging right).
    pub fn set_root(self, page: Page, vcpu: cap::VCpu) -> Result<()> {
        self.invoke(label::POOL_SET_ROOT, &[vcpu.bits()], &[page.into()])
            .map(drop)
    }
    /// Flushes the real TLB.
    pub fn invalidate(self, what: Flush) -> Result<()> {
        match what {
            Flush::All => self.invoke(label::POOL_INVALIDATE, &[], &[0]),
            Flush::Address(gva) => self.invoke(label::POOL_INVALIDATE, &[], &[1, gva.bits()]),
        }
        .map(drop)
    }
    /// Begins a new epoch: every page is stale, no vCPU has a root.
    pub fn retire(self) -> Result<()> {
        self.invoke(label::POOL_RETIRE, &[], &[]).map(drop)
    }
    /// Pages, epoch, root.
    pub fn info(self) -> Result<Info> {
        let [pages, epoch, root, _] = self.invoke(label::POOL_INFO, &[], &[])?;
        Ok(Info {
            pages,
            epoch,
            root: Page::try_from(root).ok(),
        })
    }
}

impl Fill {
    #[inline]
    const fn words(self) -> [Word; 3] {
        [self.entry.word(), self.frame.number(), self.attributes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocations::recorder::record;
    use crate::sys::label::fill;

    const POOL: cap::ShadowPool = cap::ShadowPool::from_bits(7);

    fn leaf(slot: u16) -> Fill {
        Fill {
            entry: Entry { page: 3, slot },
            frame: Gfn::new(0x100 + Word::from(slot)),
            attributes: fill::WRITE,
        }
    }

    #[test]
    fn leaves_are_groups_of_three_words() {
        let calls = record(0, &[], || {
            POOL.fill(&[leaf(1)]).unwrap();
            POOL.fill(&[leaf(1), leaf(2)]).unwrap();
        });
        let (one, two) = ([3 | 1 << 32, 0x101, 4], [3 | 2 << 32, 0x102, 4]);
        assert_eq!(
            calls,
            [
                (7, 0x124, vec![], one.to_vec()),
                (7, 0x124, vec![], [one, two].concat())
            ]
        );
    }

    #[test]
    fn links_are_groups_of_two_words_and_a_root_names_its_vcpu() {
        let calls = record(0, &[], || {
            let parent = Entry { page: 1, slot: 511 };
            POOL.link(&[Link { parent, child: 2 }]).unwrap();
            POOL.set_root(1, cap::VCpu::from_bits(5)).unwrap();
            POOL.reset_pae_root(9, [10, 11, 12, 13]).unwrap();
        });
        assert_eq!(calls[0], (7, 0x123, vec![], vec![1 | 511 << 32, 2]));
        assert_eq!(calls[1], (7, 0x127, vec![5], vec![1]));
        assert_eq!(calls[2], (7, 0x122, vec![], vec![9, 5, 10, 11, 12, 13]));
    }

    #[test]
    fn a_pool_without_a_root_says_so() {
        record(0, &[60, 4, Word::MAX], || {
            assert_eq!(
                POOL.info(),
                Ok(Info {
                    pages: 60,
                    epoch: 4,
                    root: None
                })
            );
        });
    }
}
