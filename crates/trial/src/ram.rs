//! The guest's memory: 16 MiB with a hole, of which the frames where tables live have contents. All else is zero and stays
//! zero, so that an episode begins quickly.

use shadow::GuestMemory;
use std::cell::{Cell, RefCell};
use words::Gpa;

/// First byte of the frames with contents.
pub const TABLES: u64 = 0x40_0000;
/// How many there are.
pub const TABLE_FRAMES: u64 = 24;
/// End of memory.
pub const END: u64 = 0x100_0000;
const FRAMES: usize = (END >> 12) as usize;
/// The frames from 3 MiB to 4 MiB are no memory, to begin with.
const HOLE: std::ops::Range<u64> = 0x300..0x400;

/// A compare-exchange that was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub at: u64,
    pub old: u64,
    pub new: u64,
}

/// The memory.
#[derive(Debug)]
pub struct Ram {
    words: Vec<Cell<u64>>,
    present: RefCell<[u64; FRAMES / 64]>,
    /// Exchanges to fail, as if another processor had been faster.
    pub contention: Cell<u32>,
    /// Exchanges done.
    pub marks: RefCell<Vec<Mark>>,
}

impl Ram {
    pub fn new() -> Self {
        let mut present = [!0; FRAMES / 64];
        for frame in HOLE {
            present[frame as usize / 64] &= !(1 << (frame % 64));
        }
        Self {
            words: vec![Cell::new(0); (TABLE_FRAMES << 9) as usize],
            present: RefCell::new(present),
            contention: Cell::new(0),
            marks: RefCell::new(Vec::new()),
        }
    }

    fn has_frame(&self, frame: u64) -> bool {
        (frame as usize) < FRAMES
            && self.present.borrow()[frame as usize / 64] >> (frame % 64) & 1 != 0
    }

    /// Whether all `bytes` from `first` are memory.
    pub fn has(&self, first: u64, bytes: u64) -> bool {
        let Some(last) = first.checked_add(bytes - 1) else {
            return false;
        };
        if last >= END {
            return false;
        }
        let (first, last) = (first >> 12, last >> 12);
        if first.is_multiple_of(64) && last % 64 == 63 {
            let words = first as usize / 64..=last as usize / 64;
            return self.present.borrow()[words].iter().all(|word| *word == !0);
        }
        (first..=last).all(|frame| self.has_frame(frame))
    }

    /// A frame without tables comes or goes.
    pub fn plug(&self, frame: u64, there: bool) {
        let word = frame as usize / 64;
        let bit = 1 << (frame % 64);
        let mut present = self.present.borrow_mut();
        if there {
            present[word] |= bit;
        } else {
            present[word] &= !bit;
        }
    }

    fn word(&self, at: u64) -> Option<&Cell<u64>> {
        let index = at.checked_sub(TABLES)? / 8;
        self.words.get(index as usize)
    }

    pub fn get64(&self, at: u64) -> Option<u64> {
        self.has_frame(at >> 12)
            .then(|| self.word(at).map_or(0, Cell::get))
    }

    pub fn set64(&self, at: u64, value: u64) {
        if let Some(word) = self.word(at) {
            word.set(value);
        }
    }

    pub fn get32(&self, at: u64) -> Option<u32> {
        self.get64(at).map(|word| (word >> (8 * (at & 4))) as u32)
    }

    pub fn set32(&self, at: u64, value: u32) {
        let shift = 8 * (at & 4);
        let word = self.get64(at).unwrap_or(0);
        self.set64(
            at,
            word & !(0xffff_ffff << shift) | u64::from(value) << shift,
        );
    }

    fn is_lost(&self) -> bool {
        let left = self.contention.get();
        self.contention.set(left.saturating_sub(1));
        left > 0
    }

    fn note(&self, at: u64, old: u64, new: u64) {
        self.marks.borrow_mut().push(Mark { at, old, new });
    }
}

impl GuestMemory for &Ram {
    fn read32(&self, at: Gpa) -> Option<u32> {
        self.get32(at.bits())
    }
    fn read64(&self, at: Gpa) -> Option<u64> {
        self.get64(at.bits())
    }
    fn exchange32(&self, at: Gpa, current: u32, new: u32) -> bool {
        if self.is_lost() || self.get32(at.bits()) != Some(current) {
            return false;
        }
        self.note(at.bits(), current.into(), new.into());
        self.set32(at.bits(), new);
        true
    }
    fn exchange64(&self, at: Gpa, current: u64, new: u64) -> bool {
        if self.is_lost() || self.get64(at.bits()) != Some(current) {
            return false;
        }
        self.note(at.bits(), current, new);
        self.set64(at.bits(), new);
        true
    }
    fn is_memory(&self, first: Gpa, bytes: u64) -> bool {
        self.has(first.bits(), bytes)
    }
}
