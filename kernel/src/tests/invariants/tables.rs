//! Walks of paging structures.

use crate::cap::frame_bits;
use crate::mem::{Page, Ref};
use core::cell::Cell;
use core::convert::Infallible;
use words::x86::pte;

/// The words that have a bit of `mask`, with their places; whole lines of others are passed over.
pub fn present(words: &[Cell<u64>], mask: u64) -> impl Iterator<Item = (usize, u64)> {
    let lines = words.chunks(8).enumerate();
    let used = lines
        .filter(move |(_, line)| line.iter().fold(0, |all, word| all | word.get()) & mask != 0);
    used.flat_map(move |(n, line)| {
        let words = line.iter().enumerate();
        words.map(move |(at, word)| (8 * n + at, word.get()))
    })
    .filter(move |(_, word)| word & mask != 0)
}

/// Visits every present entry below `table`'s lower half: its value, its table's level, and the address it stands for.
pub fn each_entry<E>(
    table: Ref<Page>,
    level: u8,
    base: u64,
    visit: &mut impl FnMut(u64, u8, u64) -> Result<(), E>,
) -> Result<(), E> {
    let count = if level == 4 { 256 } else { 512 };
    for (n, value) in present(&table.0[..count], pte::P) {
        let address = base | (n as u64) << (12 + 9 * (u64::from(level) - 1));
        visit(value, level, address)?;
        if level > 1 && value & pte::PS == 0 {
            each_entry(Ref::at(value & pte::ADDRESS), level - 1, address, visit)?;
        }
    }
    Ok(())
}

/// A frame of a guest-physical space.
#[derive(Clone, Copy)]
pub struct Granted {
    start: u64,
    end: u64,
    writable: bool,
}

impl Granted {
    /// Whether it lets the guest have this memory.
    pub fn grants(&self, base: u64, bytes: u64, write: bool) -> bool {
        self.start <= base && base + bytes <= self.end && (self.writable || !write)
    }
}

/// The frames that a guest-physical space lets the guest have.
pub fn granted(root: Ref<Page>) -> Vec<Granted> {
    let mut all = Vec::new();
    let Ok(()) = each_entry::<Infallible>(root, 4, 0, &mut |value, level, _| {
        if (level == 1 || value & pte::PS != 0) && value & pte::US != 0 {
            let bytes = 1 << frame_bits(level - 1);
            let start = value & pte::ADDRESS & !(bytes - 1);
            all.push(Granted {
                start,
                end: start + bytes,
                writable: value & pte::RW != 0,
            });
        }
        Ok(())
    });
    all
}
