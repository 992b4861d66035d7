//! The bookkeeping of the shadow pool's pages: which table each is, found by what it covers, and which was filled longest
//! ago.
//!
//! The tables form the tree that the hardware walks. The children of one table stand in a search tree of their own, which
//! branches by one bit of the 9-bit index at a time, so that no choice of addresses makes it deeper than ten.
//!
//! Always: a table's place in the tree is named by its parent and index alone; forgetting everything costs nothing; every
//! operation looks at a bounded number of records; and in the order of filling a table comes after (is newer than) all
//! tables below it, so that the oldest table outside a path has none below it. The kernel's pool is not touched here.

use crate::mutant::{self, Mutant};
use words::{Gva, PageSize};

/// No page.
const NONE: u32 = u32::MAX;
/// Levels of tables, and a place for level 0, where there is none.
const LEVELS: usize = 5;
/// Pairs of slots in a page directory: what one 4 MiB page covers.
const PAIRS: usize = 256;

/// One page's record. The engine needs one for every page it is to use.
#[derive(Clone, Copy, Debug)]
pub struct PageRecord {
    /// The table that links to this one, and the slot there.
    parent: u32,
    index: u16,
    level: u8,
    /// Not in the order of filling, never evicted: part of the root.
    pinned: bool,
    /// A page directory: holds, or held, leaves.
    leaves: bool,
    /// log2 of the largest guest page that stands in pieces in this table; 0: none.
    pieces: u8,
    /// The search tree of this table's children.
    children: u32,
    /// This table's place in the search tree it stands in: the children with a clear and with a set bit.
    branches: [u32; 2],
    /// Neighbours in the order of filling; `newer` also links the free pages.
    older: u32,
    newer: u32,
    /// A page directory: the pairs of slots that hold, or held, pieces of a 4 MiB page.
    pairs: [u64; PAIRS / 64],
}

impl PageRecord {
    /// A page not used yet.
    pub const EMPTY: Self = Self {
        parent: NONE,
        index: 0,
        level: 0,
        pinned: false,
        leaves: false,
        pieces: 0,
        children: NONE,
        branches: [NONE; 2],
        older: NONE,
        newer: NONE,
        pairs: [0; PAIRS / 64],
    };
}

/// The tables on the way of an address, as far as there are any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Way {
    tables: [u32; LEVELS],
}

impl Way {
    /// The table of `level`.
    pub const fn table(&self, level: u32) -> Option<u32> {
        match self.tables[level as usize] {
            NONE => None,
            page => Some(page),
        }
    }

    /// The lowest table from `level` up, and its level.
    pub fn lowest(&self, level: u32) -> Option<(u32, u32)> {
        (level..LEVELS as u32).find_map(|level| Some((level, self.table(level)?)))
    }

    /// The table of `level` is `page`.
    pub const fn set(&mut self, level: u32, page: u32) {
        self.tables[level as usize] = page;
    }

    fn has(&self, page: u32) -> bool {
        self.tables.contains(&page)
    }
}

/// What holds the link to a record of a search tree.
#[derive(Clone, Copy)]
enum Holder {
    /// The table whose children they are.
    Parent(u32),
    /// Another child of that table.
    Child(u32, usize),
}

/// The records of the usable pages.
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    records: &'a mut [PageRecord],
    /// The table at the top, and its level; a PAE root counts as a table of level 3.
    root: u32,
    /// Pages from here on were not taken since everything was forgotten.
    fresh: u32,
    /// First of the pages given back since then.
    free: u32,
    in_use: u32,
    peak: u32,
    oldest: u32,
    newest: u32,
    /// Records looked at.
    steps: u64,
}

impl<'a> Pages<'a> {
    /// Records for as many pages as the slice is long.
    pub fn new(records: &'a mut [PageRecord]) -> Self {
        records.fill(PageRecord::EMPTY);
        Self {
            records,
            root: NONE,
            fresh: 0,
            free: NONE,
            in_use: 0,
            peak: 0,
            oldest: NONE,
            newest: NONE,
            steps: 0,
        }
    }

    /// How many pages there are.
    pub fn count(&self) -> usize {
        self.records.len()
    }

    /// Most pages in use at a time.
    pub fn peak(&self) -> u32 {
        self.peak
    }

    /// How many pages are not in use.
    #[cfg(test)]
    fn left(&self) -> usize {
        self.records.len() - self.in_use as usize
    }

    /// Records looked at since it was asked last.
    pub fn take_steps(&mut self) -> u64 {
        core::mem::take(&mut self.steps)
    }

    /// No page is in use any more.
    pub fn forget(&mut self) {
        self.root = NONE;
        self.fresh = 0;
        self.free = NONE;
        self.in_use = 0;
        self.oldest = NONE;
        self.newest = NONE;
    }

    /// An unused page, if there is one. It is in use from now on, and has no place yet.
    pub fn take(&mut self) -> Option<u32> {
        let page = if self.free != NONE {
            let page = self.free;
            self.free = self.record(page).newer;
            page
        } else if (self.fresh as usize) < self.records.len() {
            self.fresh += 1;
            self.fresh - 1
        } else {
            return None;
        };
        self.steps += 1;
        self.in_use += 1;
        self.peak = self.peak.max(self.in_use);
        Some(page)
    }

    /// The page becomes the table at the top.
    pub fn place_root(&mut self, page: u32, level: u32) {
        *self.record_mut(page) = PageRecord {
            level: level as u8,
            pinned: true,
            ..PageRecord::EMPTY
        };
        self.root = page;
    }

    /// The page becomes the table below slot `index` of `parent`, where there is none; `pinned` if it is never to be evicted.
    pub fn place(&mut self, page: u32, parent: u32, index: u32, pinned: bool) {
        let level = self.record(parent).level.saturating_sub(1);
        // Nothing of what an evicted table was may stay.
        *self.record_mut(page) = PageRecord {
            parent,
            index: index as u16,
            level,
            pinned,
            ..PageRecord::EMPTY
        };
        let (mut holder, mut bits) = (Holder::Parent(parent), index);
        loop {
            self.steps += 1;
            match self.held(holder) {
                NONE => break,
                other => {
                    holder = Holder::Child(other, (bits & 1) as usize);
                    bits >>= 1;
                }
            }
        }
        self.hold(holder, page);
        if !pinned {
            self.append(page);
        }
    }

    /// The tables on the way of `gva`.
    pub fn way(&mut self, gva: Gva) -> Way {
        let mut way = Way {
            tables: [NONE; LEVELS],
        };
        let mut page = self.root;
        while page != NONE {
            let level = u32::from(self.record(page).level);
            way.set(level, page);
            page = if level > 1 {
                self.child(page, gva.index(level) as u32)
            } else {
                NONE
            };
        }
        way
    }

    /// The table below slot `index` of `parent`.
    fn child(&mut self, parent: u32, index: u32) -> u32 {
        let mut page = self.record(parent).children;
        let mut bits = index;
        while page != NONE {
            self.steps += 1;
            let record = self.record(page);
            if u32::from(record.index) == index {
                return page;
            }
            page = record.branches[(bits & 1) as usize];
            bits >>= 1;
        }
        NONE
    }

    /// The placed page has no place any more; it stays in use.
    pub fn displace(&mut self, page: u32) {
        let PageRecord {
            parent,
            index,
            pinned,
            ..
        } = *self.record(page);
        if !pinned {
            self.detach(page);
        }
        let (mut holder, mut bits) = (Holder::Parent(parent), index);
        loop {
            self.steps += 1;
            match self.held(holder) {
                NONE => return,
                found if found == page => break,
                other => {
                    holder = Holder::Child(other, usize::from(bits & 1));
                    bits >>= 1;
                }
            }
        }
        self.take_out(holder, page);
        // An evicted page gets a new place without being taken first: nothing of the old one may stick to it.
        *self.record_mut(page) = PageRecord::EMPTY;
    }

    /// Takes `page` out of the search tree: any record without branches below it shares its leading bits, so can stand in
    /// its place.
    fn take_out(&mut self, holder: Holder, page: u32) {
        let (mut last, mut last_holder) = (page, holder);
        loop {
            self.steps += 1;
            let branches = self.record(last).branches;
            let Some(side) = branches.iter().position(|branch| *branch != NONE) else {
                break;
            };
            last_holder = Holder::Child(last, side);
            last = branches[side];
        }
        self.hold(last_holder, NONE);
        if last != page {
            self.record_mut(last).branches = self.record(page).branches;
            self.hold(holder, last);
        }
    }

    fn held(&self, holder: Holder) -> u32 {
        match holder {
            Holder::Parent(page) => self.record(page).children,
            Holder::Child(page, side) => self.record(page).branches[side],
        }
    }

    fn hold(&mut self, holder: Holder, page: u32) {
        match holder {
            Holder::Parent(parent) => self.record_mut(parent).children = page,
            Holder::Child(other, side) => self.record_mut(other).branches[side] = page,
        }
    }

    /// The page, which has no place, is not in use any more.
    pub fn give_back(&mut self, page: u32) {
        let free = self.free;
        self.record_mut(page).newer = free;
        self.free = page;
        self.in_use -= 1;
    }

    /// The tables of `way`, from `level` up, were filled just now.
    pub fn touch(&mut self, level: u32, way: &Way) {
        if mutant::is(Mutant::FillLeavesOrder) {
            return;
        }
        // Upwards, so that a table stays newer than those below it.
        for page in (level..LEVELS as u32).map_while(|level| way.table(level)) {
            self.steps += 1;
            if self.record(page).pinned {
                return;
            }
            if self.newest != page {
                self.detach(page);
                self.append(page);
            }
        }
    }

    /// The table filled longest ago that is not on `way`. It has no table below it.
    pub fn victim(&mut self, way: &Way) -> Option<u32> {
        if mutant::is(Mutant::EvictsNewest) {
            return self.newest_outside(way);
        }
        let mut page = self.oldest;
        // At most three tables can be on the way, so this is short.
        while page != NONE {
            self.steps += 1;
            if !way.has(page) || mutant::is(Mutant::EvictsPathInUse) {
                return Some(page);
            }
            page = self.record(page).newer;
        }
        None
    }

    /// The newest table not on `way` and without a table below it: what must not be taken.
    fn newest_outside(&self, way: &Way) -> Option<u32> {
        let mut page = self.newest;
        while page != NONE {
            let record = self.record(page);
            if !way.has(page) && record.children == NONE {
                return Some(page);
            }
            page = record.older;
        }
        None
    }

    /// The table that links to this one, and the slot there.
    pub fn link(&self, page: u32) -> (u32, u32) {
        let record = self.record(page);
        (record.parent, u32::from(record.index))
    }

    /// Whether the page directory holds, or held, leaves.
    pub fn has_leaves(&self, page: u32) -> bool {
        self.record(page).leaves
    }

    /// The page directory holds leaves.
    pub fn set_leaves(&mut self, page: u32) {
        self.record_mut(page).leaves = true;
    }

    /// log2 of the largest guest page that stands in pieces in this table, 0 if none does.
    pub fn pieces(&self, page: u32) -> u32 {
        u32::from(self.record(page).pieces)
    }

    /// A guest page of 2^`bits` bytes stands in pieces in this table.
    pub fn add_pieces(&mut self, page: u32, bits: u32) {
        let record = self.record_mut(page);
        record.pieces = record.pieces.max(bits as u8);
    }

    /// Whether the 4 MiB around `gva` hold, or held, pieces of a 4 MiB page; `directory` is the page directory there.
    pub fn is_pair(&self, directory: u32, gva: Gva) -> bool {
        let (word, bit) = Self::pair(gva);
        self.record(directory).pairs[word] & bit != 0
    }

    /// The 4 MiB around `gva` hold pieces of a 4 MiB page.
    pub fn set_pair(&mut self, directory: u32, gva: Gva) {
        let (word, bit) = Self::pair(gva);
        self.record_mut(directory).pairs[word] |= bit;
    }

    fn pair(gva: Gva) -> (usize, u64) {
        let pair = (gva.bits() >> (PageSize::Size2M.bits() + 1)) as usize % PAIRS;
        (pair / 64, 1 << (pair % 64))
    }

    fn record(&self, page: u32) -> &PageRecord {
        &self.records[page as usize]
    }

    fn record_mut(&mut self, page: u32) -> &mut PageRecord {
        &mut self.records[page as usize]
    }

    /// Makes the page the newest.
    fn append(&mut self, page: u32) {
        let newest = self.newest;
        let record = self.record_mut(page);
        record.older = newest;
        record.newer = NONE;
        if newest == NONE {
            self.oldest = page;
        } else {
            self.record_mut(newest).newer = page;
        }
        self.newest = page;
    }

    /// Takes the page out of the order of filling.
    fn detach(&mut self, page: u32) {
        let PageRecord { older, newer, .. } = *self.record(page);
        if older == NONE {
            self.oldest = newer;
        } else {
            self.record_mut(older).newer = newer;
        }
        if newer == NONE {
            self.newest = older;
        } else {
            self.record_mut(newer).older = older;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Gva = Gva::new(0x40_0000);
    const B: Gva = Gva::new(0xffff_8000_0000_0000);

    /// A four-level root, with pages for the rest taken as they are needed.
    fn rooted(records: &mut [PageRecord]) -> Pages<'_> {
        let mut pages = Pages::new(records);
        let root = pages.take().unwrap();
        pages.place_root(root, 4);
        pages
    }

    /// Builds the tables on the way of `gva` and fills the last.
    fn fill(pages: &mut Pages, gva: Gva) {
        let way = pages.way(gva);
        let (mut level, mut table) = way.lowest(1).unwrap();
        while level > 1 {
            let page = pages.take().unwrap();
            pages.place(page, table, gva.index(level) as u32, false);
            (level, table) = (level - 1, page);
        }
        let way = pages.way(gva);
        pages.touch(1, &way);
    }

    #[test]
    fn a_placed_page_is_found_by_any_address_it_covers() {
        let mut records = [PageRecord::EMPTY; 4];
        let mut pages = rooted(&mut records);
        fill(&mut pages, A);
        let page = pages.way(A).table(1);
        assert!(page.is_some());
        assert_eq!(pages.way(Gva::new(0x5f_ffff)).table(1), page);
        let other = pages.way(Gva::new(0x60_0000));
        assert_eq!((other.table(1), other.table(2)), (None, Some(2)));
        pages.displace(page.unwrap());
        assert_eq!(pages.way(A).lowest(1), Some((2, 2)));
    }

    #[test]
    fn forgetting_frees_every_page() {
        let mut records = [PageRecord::EMPTY; 7];
        let mut pages = rooted(&mut records);
        fill(&mut pages, A);
        fill(&mut pages, B);
        assert_eq!((pages.take(), pages.left()), (None, 0));
        pages.forget();
        assert_eq!((pages.way(A).lowest(1), pages.left()), (None, 7));
        let way = pages.way(B);
        assert_eq!(pages.victim(&way), None);
        assert!(pages.take().is_some());
        assert_eq!(pages.peak(), 7);
    }

    #[test]
    fn the_victim_is_the_table_filled_longest_ago_outside_the_path() {
        let mut records = [PageRecord::EMPTY; 8];
        let mut pages = rooted(&mut records);
        fill(&mut pages, A);
        fill(&mut pages, B);
        fill(&mut pages, A);
        let way = pages.way(A);
        let victim = pages.victim(&way).unwrap();
        assert_eq!(Some(victim), pages.way(B).table(1));
        assert_eq!(pages.link(victim), (pages.way(B).table(2).unwrap(), 0));
        let way = pages.way(B);
        assert_eq!(pages.victim(&way), pages.way(A).table(1));
    }

    #[test]
    fn a_full_table_of_children_is_searched_in_ten_steps_and_survives_their_removal() {
        let mut records = [PageRecord::EMPTY; 516];
        let mut pages = rooted(&mut records);
        let slot = |n: u64| Gva::new((n * 257 % 512) << 21);
        for n in 0..512 {
            fill(&mut pages, slot(n));
        }
        for gone in 0..512 {
            for n in [gone, (gone + 511) / 2, 511] {
                pages.take_steps();
                let table = pages.way(slot(n)).table(1).unwrap();
                assert!(pages.take_steps() <= 1 + 1 + 10);
                assert_eq!(u64::from(pages.link(table).1), slot(n).bits() >> 21);
            }
            let table = pages.way(slot(gone)).table(1).unwrap();
            pages.displace(table);
            pages.give_back(table);
            assert!(pages.take_steps() <= 12 + 11 + 10);
            assert_eq!(pages.way(slot(gone)).table(1), None);
        }
        assert_eq!(pages.left(), 513);
    }

    #[test]
    fn a_4m_page_marks_the_pair_of_slots_it_covers() {
        let mut records = [PageRecord::EMPTY; 4];
        let mut pages = rooted(&mut records);
        fill(&mut pages, A);
        let directory = pages.way(A).table(2).unwrap();
        pages.set_pair(directory, A);
        assert!(pages.is_pair(directory, Gva::new(0x7f_f000)));
        assert!(!pages.is_pair(directory, Gva::new(0x80_0000)));
        assert!(!pages.is_pair(directory, Gva::new(0x3f_f000)));
    }
}
