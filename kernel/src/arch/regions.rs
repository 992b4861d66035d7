//! A short, ordered list of address ranges: ranges are added, then what is not free is cut out.
//!
//! Always: ascending, no overlaps, no empty ranges. A list that is full says so.

use kernel::machine::Region;

/// Ranges a list can hold: more than firmware memory maps of PCs have.
const CAPACITY: usize = 64;

/// The list was full.
#[derive(Debug)]
pub struct Full;

/// See the module.
#[derive(Clone)]
pub struct Regions {
    list: [Region; CAPACITY],
    count: usize,
}

impl Regions {
    /// No ranges.
    pub const fn new() -> Self {
        Self {
            list: [Region { start: 0, end: 0 }; CAPACITY],
            count: 0,
        }
    }

    /// The ranges.
    pub fn as_slice(&self) -> &[Region] {
        &self.list[..self.count]
    }

    /// Adds a range, joined with those it touches.
    pub fn add(&mut self, mut new: Region) -> Result<(), Full> {
        if new.start >= new.end {
            return Ok(());
        }
        let mut rest = Self::new();
        for &old in self.as_slice() {
            if old.end < new.start || new.end < old.start {
                rest.push(old)?;
            } else {
                new.start = new.start.min(old.start);
                new.end = new.end.max(old.end);
            }
        }
        rest.push(new)?;
        rest.list[..rest.count].sort_unstable_by_key(|region| region.start);
        *self = rest;
        Ok(())
    }

    /// Cuts a range out.
    pub fn remove(&mut self, hole: Region) -> Result<(), Full> {
        let mut rest = Self::new();
        for &old in self.as_slice() {
            rest.push(Region {
                start: old.start,
                end: old.end.min(hole.start),
            })?;
            rest.push(Region {
                start: old.start.max(hole.end),
                end: old.end,
            })?;
        }
        if hole.start < hole.end {
            *self = rest;
        }
        Ok(())
    }

    /// Appends a range that is not empty.
    fn push(&mut self, region: Region) -> Result<(), Full> {
        if region.start >= region.end {
            return Ok(());
        }
        *self.list.get_mut(self.count).ok_or(Full)? = region;
        self.count += 1;
        Ok(())
    }
}
