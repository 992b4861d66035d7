//! The bookkeeping of the shadow pool's pages: which table each is, found by what it covers, and which was filled longest
//! ago.
//!
//! Always: a table and its place in the pool's tree are named by level and covered address alone; forgetting everything
//! costs nothing; and in the order of filling a table comes after (is newer than) all tables below it, so that the oldest
//! table outside a path has none below it. The kernel's pool is not touched here.

use words::Gva;

/// No page.
const NONE: u32 = u32::MAX;

/// One page's record. The engine needs one for every page it is to use.
#[derive(Clone, Copy, Debug)]
pub struct PageRecord {
    /// What the table covers.
    key: Key,
    /// Next page of the same bucket, or of the list of free pages.
    next: u32,
    /// Neighbours in the order of filling.
    older: u32,
    newer: u32,
    /// Not in the order of filling, never evicted: part of the root.
    pinned: bool,
    /// A page directory: holds, or held, leaves.
    leaves: bool,
    /// log2 of the largest guest page that stands in pieces in this table; 0: none.
    pieces: u8,
    /// The bucket with this record's index: its first page, if it was written in this generation.
    bucket: u32,
    generation: u64,
}

impl PageRecord {
    /// A page not used yet.
    pub const EMPTY: Self = Self {
        key: Key {
            level: 0,
            prefix: 0,
        },
        next: NONE,
        older: NONE,
        newer: NONE,
        pinned: false,
        leaves: false,
        pieces: 0,
        bucket: NONE,
        generation: 0,
    };
}

/// A table's place: its level, and the bits of the addresses it covers that select it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key {
    level: u32,
    prefix: u64,
}

impl Key {
    /// The table of `level` on the way of `gva`.
    const fn new(level: u32, gva: Gva) -> Self {
        /// Bits of a linear address that select something.
        const USED: u64 = (1 << 48) - 1;
        Self {
            level,
            prefix: (gva.bits() & USED) >> (12 + 9 * level),
        }
    }

    /// An address the table covers.
    const fn address(self) -> Gva {
        Gva::new(self.prefix << (12 + 9 * self.level))
    }

    /// One of `buckets`.
    const fn bucket(self, buckets: usize) -> usize {
        // Multiplication by a large odd number spreads neighbours; the upper half, scaled, picks the bucket.
        let spread =
            (self.prefix << 3 | self.level as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        ((spread * buckets as u64) >> 32) as usize
    }
}

/// The records of the usable pages.
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    records: &'a mut [PageRecord],
    /// Pages from here on were not taken since everything was forgotten.
    fresh: u32,
    /// First of the pages given back since then.
    free: u32,
    in_use: u32,
    peak: u32,
    oldest: u32,
    newest: u32,
    generation: u64,
}

impl<'a> Pages<'a> {
    /// Records for as many pages as the slice is long.
    pub fn new(records: &'a mut [PageRecord]) -> Self {
        records.fill(PageRecord::EMPTY);
        Self {
            records,
            fresh: 0,
            free: NONE,
            in_use: 0,
            peak: 0,
            oldest: NONE,
            newest: NONE,
            generation: 1,
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

    /// No page is in use any more.
    pub fn forget(&mut self) {
        self.fresh = 0;
        self.free = NONE;
        self.in_use = 0;
        self.oldest = NONE;
        self.newest = NONE;
        self.generation += 1;
    }

    /// An unused page, if there is one. It is in use from now on, and covers nothing yet.
    pub fn take(&mut self) -> Option<u32> {
        let page = if self.free != NONE {
            let page = self.free;
            self.free = self.record(page).next;
            page
        } else if (self.fresh as usize) < self.records.len() {
            self.fresh += 1;
            self.fresh - 1
        } else {
            return None;
        };
        self.in_use += 1;
        self.peak = self.peak.max(self.in_use);
        Some(page)
    }

    /// The page becomes the table of `level` on the way of `gva`; `pinned` if it is never to be evicted.
    pub fn place(&mut self, page: u32, level: u32, gva: Gva, pinned: bool) {
        let key = Key::new(level, gva);
        let first = self.first_of(key);
        let record = self.record_mut(page);
        record.key = key;
        record.next = first;
        record.pinned = pinned;
        record.leaves = false;
        record.pieces = 0;
        self.set_first_of(key, page);
        if !pinned {
            self.append(page);
        }
    }

    /// The table of `level` on the way of `gva`.
    pub fn find(&self, level: u32, gva: Gva) -> Option<u32> {
        let key = Key::new(level, gva);
        let mut page = self.first_of(key);
        while page != NONE {
            let record = self.record(page);
            if record.key == key {
                return Some(page);
            }
            page = record.next;
        }
        None
    }

    /// The placed page covers nothing any more; it stays in use.
    pub fn displace(&mut self, page: u32) {
        let key = self.record(page).key;
        let next = self.record(page).next;
        let mut before = self.first_of(key);
        if before == page {
            self.set_first_of(key, next);
        } else {
            while before != NONE && self.record(before).next != page {
                before = self.record(before).next;
            }
            if before != NONE {
                self.record_mut(before).next = next;
            }
        }
        if !self.record(page).pinned {
            self.detach(page);
        }
    }

    /// The page, which covers nothing, is not in use any more.
    pub fn give_back(&mut self, page: u32) {
        let free = self.free;
        self.record_mut(page).next = free;
        self.free = page;
        self.in_use -= 1;
    }

    /// The tables on the way of `gva`, from `level` up, were filled just now.
    pub fn touch(&mut self, level: u32, gva: Gva) {
        // Upwards, so that a table stays newer than those below it.
        for level in level..4 {
            let Some(page) = self.find(level, gva) else {
                return;
            };
            if self.record(page).pinned {
                return;
            }
            if self.newest != page {
                self.detach(page);
                self.append(page);
            }
        }
    }

    /// The table filled longest ago that is not on the way of `gva`, with its level and an address it covers. It has no
    /// table below it.
    pub fn victim(&self, gva: Gva) -> Option<(u32, u32, Gva)> {
        let mut page = self.oldest;
        // At most three tables can be on the way, so this is short.
        while page != NONE {
            let record = self.record(page);
            if record.key != Key::new(record.key.level, gva) {
                return Some((page, record.key.level, record.key.address()));
            }
            page = record.newer;
        }
        None
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

    fn record(&self, page: u32) -> &PageRecord {
        &self.records[page as usize]
    }

    fn record_mut(&mut self, page: u32) -> &mut PageRecord {
        &mut self.records[page as usize]
    }

    fn first_of(&self, key: Key) -> u32 {
        let record = &self.records[key.bucket(self.records.len())];
        if record.generation == self.generation {
            record.bucket
        } else {
            NONE
        }
    }

    fn set_first_of(&mut self, key: Key, page: u32) {
        let bucket = key.bucket(self.records.len());
        self.records[bucket].bucket = page;
        self.records[bucket].generation = self.generation;
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

    #[test]
    fn a_placed_page_is_found_by_any_address_it_covers() {
        let mut records = [PageRecord::EMPTY; 4];
        let mut pages = Pages::new(&mut records);
        let page = pages.take().unwrap();
        pages.place(page, 1, A, false);
        assert_eq!(pages.find(1, Gva::new(0x5f_ffff)), Some(page));
        assert_eq!(pages.find(1, Gva::new(0x60_0000)), None);
        assert_eq!(pages.find(2, A), None);
        pages.displace(page);
        assert_eq!(pages.find(1, A), None);
    }

    #[test]
    fn forgetting_frees_every_page() {
        let mut records = [PageRecord::EMPTY; 2];
        let mut pages = Pages::new(&mut records);
        for address in [A, B] {
            let page = pages.take().unwrap();
            pages.place(page, 1, address, false);
        }
        assert_eq!(pages.take(), None);
        pages.forget();
        assert_eq!(pages.find(1, A), None);
        assert_eq!(pages.victim(B), None);
        assert!(pages.take().is_some());
        assert_eq!(pages.peak(), 2);
    }

    #[test]
    fn the_victim_is_the_table_filled_longest_ago_outside_the_path() {
        let mut records = [PageRecord::EMPTY; 8];
        let mut pages = Pages::new(&mut records);
        for address in [A, B] {
            for level in [3, 2, 1] {
                let page = pages.take().unwrap();
                pages.place(page, level, address, false);
            }
            pages.touch(1, address);
        }
        pages.touch(1, A);
        let (page, level, address) = pages.victim(A).unwrap();
        assert_eq!((page, level), (5, 1));
        assert_eq!(pages.find(1, address), Some(page));
        assert_eq!(
            pages.victim(B).map(|(page, level, _)| (page, level)),
            Some((2, 1))
        );
    }
}
