//! Where objects go in untyped memory: a mirror of each untyped's watermark, so that a retype is only asked for where it
//! will succeed.
//!
//! Best fit: the region with the least room that is enough. Big regions stay whole for big objects, whatever the order of
//! requests.

use heapless::Vec;

/// Most regions: what the boot information describes.
pub const MAX_REGIONS: usize = 230;
/// First address a 32-bit register cannot hold.
const FOUR_GIB: u64 = 1 << 32;

/// One untyped capability and how much of it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// Slot of the capability.
    pub slot: usize,
    /// Physical address, a multiple of the size.
    pub base: u64,
    /// log2 of the size.
    pub size_bits: u32,
    used: u64,
}

/// Objects to make at once: slot of the untyped, and how many of those asked for fit there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Slot of the untyped capability.
    pub untyped: usize,
    /// Objects.
    pub count: usize,
}

/// Where an object may lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Anywhere.
    Any,
    /// Below 4 GiB: a PAE root's address has 32 bits (APM vol. 2, 5.2.1).
    Below4G,
}

/// All ordinary memory.
#[derive(Debug, Default)]
pub struct Memory {
    regions: Vec<Region, MAX_REGIONS>,
}

impl Region {
    const fn end(&self) -> u64 {
        self.base + (1 << self.size_bits)
    }
    /// Objects of a size that still fit.
    const fn room_for(&self, size_bits: u32) -> u64 {
        let next = (self.base + self.used).next_multiple_of(1 << size_bits);
        self.end().saturating_sub(next) >> size_bits
    }
    const fn left(&self) -> u64 {
        self.end() - self.base - self.used
    }
    const fn is_in(&self, place: Place) -> bool {
        match place {
            Place::Any => true,
            Place::Below4G => self.end() <= FOUR_GIB,
        }
    }
}

impl Memory {
    /// Adds an untyped nothing was made of yet. More than [`MAX_REGIONS`] are not used.
    pub fn add(&mut self, slot: usize, base: u64, size_bits: u32) {
        let _ = self.regions.push(Region {
            slot,
            base,
            size_bits,
            used: 0,
        });
    }

    /// Takes room for up to `count` objects of a size; `None` if not even one fits anywhere.
    pub fn take(&mut self, size_bits: u32, count: usize, place: Place) -> Option<Grant> {
        let region = self
            .regions
            .iter_mut()
            .filter(|region| region.is_in(place) && region.room_for(size_bits) > 0)
            .min_by_key(|region| (region.room_for(size_bits) < count as u64, region.left()))?;
        let count = region.room_for(size_bits).min(count as u64);
        let next = (region.base + region.used).next_multiple_of(1 << size_bits);
        region.used = next + (count << size_bits) - region.base;
        Some(Grant {
            untyped: region.slot,
            count: count as usize,
        })
    }

    /// Bytes not used.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.regions.iter().map(Region::left).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        let mut memory = Memory::default();
        memory.add(100, 0x10_0000, 20);
        memory.add(101, 0x4000_0000, 30);
        memory
    }

    #[test]
    fn small_objects_leave_big_regions_whole() {
        let mut memory = memory();
        assert_eq!(
            memory.take(12, 1, Place::Any),
            Some(Grant {
                untyped: 100,
                count: 1
            })
        );
        assert_eq!(
            memory.take(30, 1, Place::Any),
            Some(Grant {
                untyped: 101,
                count: 1
            })
        );
        assert_eq!(memory.take(30, 1, Place::Any), None);
    }

    #[test]
    fn an_object_begins_at_a_multiple_of_its_size() {
        let mut memory = Memory::default();
        memory.add(1, 0, 13);
        assert_eq!(
            memory.take(4, 1, Place::Any).map(|grant| grant.count),
            Some(1)
        );
        assert_eq!(
            memory.take(12, 2, Place::Any).map(|grant| grant.count),
            Some(1)
        );
        assert_eq!((memory.take(12, 1, Place::Any), memory.left()), (None, 0));
    }

    #[test]
    fn a_request_too_big_for_one_region_gets_what_a_region_has() {
        let mut memory = Memory::default();
        memory.add(1, 0, 22);
        memory.add(2, 1 << 22, 22);
        assert_eq!(
            memory.take(21, 3, Place::Any).map(|grant| grant.count),
            Some(2)
        );
        assert_eq!(
            memory.take(21, 1, Place::Any),
            Some(Grant {
                untyped: 2,
                count: 1
            })
        );
    }

    #[test]
    fn what_must_lie_below_4_gib_does() {
        let mut memory = Memory::default();
        memory.add(1, 1 << 32, 21);
        memory.add(2, 1 << 31, 22);
        assert_eq!(
            memory
                .take(21, 1, Place::Below4G)
                .map(|grant| grant.untyped),
            Some(2)
        );
        assert_eq!(memory.take(22, 1, Place::Below4G), None);
    }
}
