//! What the tests share: sparse guest memory, a stand-in for the kernel's pool, a guest over both, and what crate `naive-walk`
//! says of a guest's tables.
#![allow(dead_code)] // each test program uses its part

#[path = "../../../trial/src/dice.rs"]
pub mod dice;
pub mod guest;
pub mod naive;
pub mod pool;

use shadow::GuestMemory;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use words::Gpa;

/// Guest memory: 8-byte words that are zero until written, and a hole from 3 MiB to 4 MiB, inside a large frame.
#[derive(Clone, Debug, Default)]
pub struct Ram {
    words: RefCell<BTreeMap<u64, u64>>,
    /// Exchanges to fail, as if another processor had been faster.
    pub contention: Cell<u32>,
}

impl Ram {
    pub const END: u64 = 0x100_0000;
    const HOLE: std::ops::Range<u64> = 0x30_0000..0x40_0000;

    pub fn has(&self, first: u64, bytes: u64) -> bool {
        let Some(end) = first.checked_add(bytes) else {
            return false;
        };
        end <= Self::END && (end <= Self::HOLE.start || first >= Self::HOLE.end)
    }

    pub fn get64(&self, at: u64) -> Option<u64> {
        self.has(at, 8)
            .then(|| self.words.borrow().get(&at).copied().unwrap_or(0))
    }

    pub fn set64(&self, at: u64, value: u64) {
        assert!(self.has(at, 8) && at.is_multiple_of(8));
        self.words.borrow_mut().insert(at, value);
    }

    pub fn get32(&self, at: u64) -> Option<u32> {
        self.get64(at & !7)
            .map(|word| (word >> (8 * (at & 4))) as u32)
    }

    pub fn set32(&self, at: u64, value: u32) {
        let shift = 8 * (at & 4);
        let word = self.get64(at & !7).unwrap();
        self.set64(
            at & !7,
            word & !(0xffff_ffff << shift) | u64::from(value) << shift,
        );
    }

    /// All that was ever written.
    pub fn image(&self) -> BTreeMap<u64, u64> {
        self.words.borrow().clone()
    }

    fn lost(&self) -> bool {
        let left = self.contention.get();
        self.contention.set(left.saturating_sub(1));
        left > 0
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
        if self.lost() || self.get32(at.bits()) != Some(current) {
            return false;
        }
        self.set32(at.bits(), new);
        true
    }
    fn exchange64(&self, at: Gpa, current: u64, new: u64) -> bool {
        if self.lost() || self.get64(at.bits()) != Some(current) {
            return false;
        }
        self.set64(at.bits(), new);
        true
    }
    fn is_memory(&self, first: Gpa, bytes: u64) -> bool {
        self.has(first.bits(), bytes)
    }
}

/// An access: W, I and U of its error code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Try {
    pub write: bool,
    pub fetch: bool,
    pub user: bool,
}

pub const READ: Try = Try {
    write: false,
    fetch: false,
    user: false,
};
pub const WRITE: Try = Try {
    write: true,
    ..READ
};
pub const FETCH: Try = Try {
    fetch: true,
    ..READ
};
pub const USER: Try = Try { user: true, ..READ };
pub const USER_WRITE: Try = Try {
    user: true,
    ..WRITE
};

impl Try {
    pub fn code(self) -> u32 {
        u32::from(self.write) << 1 | u32::from(self.user) << 2 | u32::from(self.fetch) << 4
    }
}
