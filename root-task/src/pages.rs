//! Which bytes of a program go to which page.

use core::ops::Range;
use protocol::system::Segment;
use words::addr::PAGE_SIZE;

/// A page of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Its address in the domain.
    pub vaddr: u64,
    /// Where in the page its bytes begin.
    pub at: usize,
    /// Its bytes in the archive; the rest of the page is zero.
    pub data: Range<u64>,
}

/// The pages of a segment, ascending. Nothing for a segment whose numbers overflow.
pub fn of(segment: &Segment) -> impl Iterator<Item = Page> {
    let file = segment.data.length.min(segment.memory_size);
    let first = segment.vaddr & !(PAGE_SIZE - 1);
    let end = segment
        .vaddr
        .checked_add(segment.memory_size)
        .and_then(|end| end.checked_next_multiple_of(PAGE_SIZE));
    let count = end.map_or(0, |end| (end - first) / PAGE_SIZE);
    let (vaddr, offset) = (segment.vaddr, segment.data.offset);
    (0..count).map(move |n| {
        let page = first + n * PAGE_SIZE;
        // Bytes of the segment that lie before this page, and before its end.
        let before = page.saturating_sub(vaddr).min(file);
        let through = (page + PAGE_SIZE - vaddr).min(file);
        let at = vaddr.saturating_sub(page) as usize;
        Page {
            vaddr: page,
            at,
            data: offset.saturating_add(before)..offset.saturating_add(through),
        }
    })
}

/// The pages of an archive that hold bytes of `range`, as page numbers.
#[must_use]
pub const fn touched(offset: u64, length: u64) -> Range<u64> {
    if length == 0 {
        return 0..0;
    }
    offset / PAGE_SIZE..offset.saturating_add(length).div_ceil(PAGE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::system::Blob;

    fn segment(vaddr: u64, memory_size: u64, offset: u64, length: u64) -> Segment {
        Segment {
            vaddr,
            memory_size,
            data: Blob { offset, length },
            write: true,
        }
    }

    #[test]
    fn a_segment_that_begins_inside_a_page_fills_it_from_there() {
        let pages: Vec<_> = of(&segment(0x20_1540, 0x1c0a, 0x5540, 0x1c0a)).collect();
        assert_eq!(
            pages,
            [
                Page {
                    vaddr: 0x20_1000,
                    at: 0x540,
                    data: 0x5540..0x6000
                },
                Page {
                    vaddr: 0x20_2000,
                    at: 0,
                    data: 0x6000..0x7000
                },
                Page {
                    vaddr: 0x20_3000,
                    at: 0,
                    data: 0x7000..0x714a
                },
            ]
        );
    }

    #[test]
    fn memory_beyond_the_data_is_empty() {
        let pages: Vec<_> = of(&segment(0x20_4150, 0x2000, 0x150, 0x10)).collect();
        assert_eq!(pages.len(), 3);
        assert_eq!(
            pages[0],
            Page {
                vaddr: 0x20_4000,
                at: 0x150,
                data: 0x150..0x160
            }
        );
        assert!(pages[1..].iter().all(|page| page.data.is_empty()));
    }

    #[test]
    fn numbers_that_overflow_make_no_pages() {
        assert_eq!(of(&segment(u64::MAX - 10, 100, 0, 0)).count(), 0);
    }

    #[test]
    fn every_byte_of_the_data_goes_somewhere_once() {
        for (vaddr, size) in [(0x1000, 1), (0x1fff, 2), (0x1234, 0x5000), (0x2000, 0x1000)] {
            let total: u64 = of(&segment(vaddr, size, 0x9000, size))
                .map(|page| page.data.end - page.data.start)
                .sum();
            assert_eq!(total, size);
        }
    }

    #[test]
    fn touched_pages_cover_the_bytes() {
        assert_eq!(touched(0x1000, 1), 1..2);
        assert_eq!(touched(0x1fff, 2), 1..3);
        assert_eq!(touched(0x1fff, 0), 0..0);
    }
}
