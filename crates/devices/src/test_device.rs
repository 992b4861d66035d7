//! The devices that QEMU offers to test kernels (`pc-testdev`): a scratch register, and interrupt lines that a program sets
//! itself. Its window of memory is memory here (docs/decisions/0011-test-memory-is-memory.md).
//!
//! Always: each does what it is written and nothing on its own. Its page-flush port, too, which takes a page from the
//! host's tables for a moment, is no more than a port whose writes vanish.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | raises lines that devices drive | the caller drives a line while either does; it is the guest's own |
//! | guest | accesses across the ends | bytes that do not exist read as zero, and writes to them vanish |

/// Number of the interrupt lines.
pub const LINES: u8 = 24;

/// The scratch register: four bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scratch {
    bytes: [u8; 4],
}

impl Scratch {
    /// A register that shows zero.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; 4] }
    }

    /// Reads `size` (1, 2, 4) bytes from byte `offset` on.
    #[must_use]
    pub fn read(&self, offset: u8, size: u8) -> u32 {
        let mut value = [0; 8];
        load(&self.bytes, usize::from(offset), size.min(4), &mut value);
        u64::from_le_bytes(value) as u32
    }

    /// Writes the low `size` (1, 2, 4) bytes of `value` from byte `offset` on.
    pub fn write(&mut self, offset: u8, size: u8, value: u32) {
        let value = u64::from(value).to_le_bytes();
        store(&mut self.bytes, usize::from(offset), size.min(4), value);
    }
}

/// The interrupt lines. Bit n is IRQ n, where there is one, and pin n of the IOAPIC above.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lines {
    levels: u32,
}

impl Lines {
    /// All low.
    #[must_use]
    pub const fn new() -> Self {
        Self { levels: 0 }
    }

    /// Writes a byte to the register of `line`: high unless zero. Lines that do not exist stay low.
    pub const fn write(&mut self, line: u8, value: u8) {
        if line >= LINES {
            return;
        }
        let bit = 1 << line;
        self.levels = if value == 0 {
            self.levels & !bit
        } else {
            self.levels | bit
        };
    }

    /// The levels.
    #[must_use]
    pub const fn levels(&self) -> u32 {
        self.levels
    }
}

fn load(bytes: &[u8], at: usize, size: u8, value: &mut [u8; 8]) {
    let from = bytes.iter().skip(at).take(usize::from(size));
    for (to, byte) in value.iter_mut().zip(from) {
        *to = *byte;
    }
}

fn store(bytes: &mut [u8], at: usize, size: u8, value: [u8; 8]) {
    let to = bytes.iter_mut().skip(at).take(usize::from(size));
    for (to, byte) in to.zip(value) {
        *to = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scratch_register_has_bytes_words_and_a_whole() {
        let mut scratch = Scratch::new();
        scratch.write(0, 4, 0x1234_5678);
        assert_eq!(
            [0, 1, 2, 3].map(|at| scratch.read(at, 1)),
            [0x78, 0x56, 0x34, 0x12]
        );
        scratch.write(1, 1, 0xab);
        scratch.write(2, 2, 0xcdef);
        assert_eq!(scratch.read(0, 4), 0xcdef_ab78);
        assert_eq!(scratch.read(2, 2), 0xcdef);
        scratch.write(3, 4, 0x1122_3344);
        assert_eq!(scratch.read(0, 4), 0x44ef_ab78);
        assert_eq!(scratch.read(3, 4), 0x44);
    }

    #[test]
    fn a_line_is_high_while_not_zero() {
        let mut lines = Lines::new();
        lines.write(14, 1);
        lines.write(23, 0x80);
        lines.write(24, 1);
        lines.write(255, 1);
        assert_eq!(lines.levels(), 1 << 14 | 1 << 23);
        lines.write(14, 0);
        assert_eq!(lines.levels(), 1 << 23);
    }
}
