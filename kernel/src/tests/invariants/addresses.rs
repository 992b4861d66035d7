//! Sets of objects' addresses.

use core::hash::{BuildHasherDefault, Hasher};
use std::collections::HashSet;

/// Spreads addresses, which nobody chooses so that they collide.
#[derive(Default)]
pub struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_right(29);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// How a table spreads them.
pub type Spread = BuildHasherDefault<AddressHasher>;
/// A set of them.
pub type Addresses = HashSet<u64, Spread>;
