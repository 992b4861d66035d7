//! What a PC's memory looks like to a guest, and finding room in it.

use std::ops::Range;

use super::overlap;

/// Usable memory below the BIOS area ends here.
pub const LOW_END: u64 = 0x9_fc00;
/// The second part of usable memory.
pub const HIGH_START: u64 = 0x10_0000;

/// Kind of a region: usable memory, in the numbers of the BIOS's memory map (both boot protocols use them).
pub const USABLE: u32 = 1;
/// Not to be used.
pub const RESERVED: u32 = 2;

/// Start, length and kind of each region.
pub fn map(memory: u64) -> [(u64, u64, u32); 3] {
    [
        (0, LOW_END, USABLE),
        (LOW_END, HIGH_START - LOW_END, RESERVED),
        (HIGH_START, memory - HIGH_START, USABLE),
    ]
}

/// Memory a kernel that has just turned paging on can be expected to reach: test kernels map their first GiB.
const REACH: u64 = 1 << 30;

/// Highest free place for `size` bytes in the first GiB, or else below `memory`; not below 1 MiB.
pub fn place_in_reach(occupied: &[Range<u64>], size: u64, memory: u64) -> Option<u64> {
    place_high(occupied, size, memory.min(REACH)).or_else(|| place_high(occupied, size, memory))
}

/// Highest free place for `size` bytes below `limit` and not below 1 MiB.
pub fn place_high(occupied: &[Range<u64>], size: u64, limit: u64) -> Option<u64> {
    const ALIGN: u64 = 4096;
    let mut limit = limit;
    loop {
        let start = limit.checked_sub(size)? / ALIGN * ALIGN;
        if start < HIGH_START {
            return None;
        }
        let range = start..start + size;
        match occupied
            .iter()
            .filter(|other| overlap(other, &range))
            .map(|r| r.start)
            .min()
        {
            None => return Some(start),
            Some(lower) => limit = lower,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn information_lies_in_the_first_gib_while_there_is_room() {
        assert_eq!(place_in_reach(&[], 4096, 2 << 30), Some((1 << 30) - 4096));
        assert_eq!(place_in_reach(&[], 4096, 64 << 20), Some((64 << 20) - 4096));
        let full = HIGH_START..1 << 30;
        assert_eq!(
            place_in_reach(&[full], 4096, 2 << 30),
            Some((2 << 30) - 4096)
        );
    }
}
