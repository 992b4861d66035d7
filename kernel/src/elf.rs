//! The initial program's ELF file: as much as loading it takes. Any file is looked at without harm.

use sel4_abi::boot_info::MAX_IMAGE_PAGES;

/// One loadable segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First address.
    pub vaddr: u64,
    /// Bytes in memory.
    pub memory_size: u64,
    /// Offset of the bytes in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub file_size: u64,
    /// Writable.
    pub write: bool,
}

/// A file that can be loaded: 64-bit x86, little-endian, executable, its segments inside the file and in user space.
#[derive(Clone, Copy, Debug)]
pub struct Elf<'a> {
    bytes: &'a [u8],
    /// First instruction.
    pub entry: u64,
    headers: u64,
    header_size: u64,
    count: u64,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfError {
    /// No ELF file at all.
    NotElf,
    /// ELF, but not a 64-bit x86 executable with fixed addresses.
    WrongKind,
    /// It ends before what it announces.
    Truncated,
    /// A segment lies outside user space, or wraps.
    BadAddress,
    /// Nothing to load.
    Empty,
    /// More pages than the initial CNode has slots for.
    TooLarge,
}

impl core::fmt::Display for ElfError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotElf => "it is not an ELF file",
            Self::WrongKind => "it is not a 64-bit x86 ELF executable with fixed addresses",
            Self::Truncated => "it ends before what its headers announce",
            Self::BadAddress => "a segment lies outside user addresses",
            Self::Empty => "it has no loadable segment",
            Self::TooLarge => "it has more pages than the initial CNode has slots for",
        })
    }
}

fn number(bytes: &[u8], at: u64, size: usize) -> Result<u64, ElfError> {
    let start = usize::try_from(at).map_err(|_| ElfError::Truncated)?;
    let end = start.checked_add(size).ok_or(ElfError::Truncated)?;
    let field = bytes.get(start..end).ok_or(ElfError::Truncated)?;
    Ok(field
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

const PT_LOAD: u64 = 1;

impl<'a> Elf<'a> {
    /// Checks the file.
    pub fn new(bytes: &'a [u8]) -> Result<Self, ElfError> {
        if bytes.get(..4) != Some(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        let kind = (
            number(bytes, 4, 1)?,
            number(bytes, 5, 1)?,
            number(bytes, 16, 2)?,
            number(bytes, 18, 2)?,
        );
        if kind != (2, 1, 2, 62) {
            return Err(ElfError::WrongKind);
        }
        let elf = Self {
            bytes,
            entry: number(bytes, 24, 8)?,
            headers: number(bytes, 32, 8)?,
            header_size: number(bytes, 54, 2)?,
            count: number(bytes, 56, 2)?,
        };
        let (mut any, mut pages) = (false, 0);
        for n in 0..elf.count {
            if let Some(segment) = elf.segment(n)? {
                any = true;
                pages += segment.memory_size / 4096;
            }
            if pages > MAX_IMAGE_PAGES {
                return Err(ElfError::TooLarge);
            }
        }
        if any { Ok(elf) } else { Err(ElfError::Empty) }
    }

    fn segment(&self, n: u64) -> Result<Option<Segment>, ElfError> {
        let at = n
            .checked_mul(self.header_size)
            .and_then(|offset| offset.checked_add(self.headers))
            .ok_or(ElfError::Truncated)?;
        let field = |offset: u64, size| {
            number(
                self.bytes,
                at.checked_add(offset).ok_or(ElfError::Truncated)?,
                size,
            )
        };
        if field(0, 4)? != PT_LOAD {
            return Ok(None);
        }
        let segment = Segment {
            vaddr: field(16, 8)?,
            memory_size: field(40, 8)?,
            offset: field(8, 8)?,
            file_size: field(32, 8)?,
            write: field(4, 4)? & 2 != 0,
        };
        if segment.memory_size == 0 {
            return Ok(None);
        }
        let file_end = segment
            .offset
            .checked_add(segment.file_size)
            .ok_or(ElfError::Truncated)?;
        if file_end > self.bytes.len() as u64 || segment.file_size > segment.memory_size {
            return Err(ElfError::Truncated);
        }
        let end = segment
            .vaddr
            .checked_add(segment.memory_size)
            .ok_or(ElfError::BadAddress)?;
        // The pages behind the image hold the IPC buffer and the boot information.
        if segment.vaddr < 4096 || end > sel4_abi::USER_TOP - (1 << 30) {
            return Err(ElfError::BadAddress);
        }
        Ok(Some(segment))
    }

    /// Its segments, in file order.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + '_ {
        (0..self.count).filter_map(|n| self.segment(n).ok().flatten())
    }

    /// First address of its first page and of the page behind its last.
    fn span(&self) -> (u64, u64) {
        let start = self.segments().map(|s| s.vaddr & !4095).min();
        let end = self.segments().map(|s| s.vaddr + s.memory_size).max();
        (start.unwrap_or(0), end.unwrap_or(0).next_multiple_of(4096))
    }

    /// The image's pages in ascending order, each once. As in seL4 gaps between segments are pages too, so that a page's
    /// place among them follows from its address; except in an image that reaches over more pages than can have slots.
    pub fn pages(&self) -> impl Iterator<Item = u64> + '_ {
        let (start, end) = self.span();
        let without_gaps = (end - start) / 4096 <= MAX_IMAGE_PAGES;
        let mut next = start;
        core::iter::from_fn(move || {
            if without_gaps {
                next += 4096;
                return (next <= end).then_some(next - 4096);
            }
            let candidate = |s: Segment| {
                let first = (s.vaddr & !4095).max(next);
                (first < s.vaddr + s.memory_size).then_some(first)
            };
            let page = self.segments().filter_map(candidate).min()?;
            next = page + 4096;
            Some(page)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(segments: &[(u64, u64)]) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56 * segments.len()];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16] = 2;
        bytes[18] = 62;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = segments.len() as u8;
        for (n, &(vaddr, size)) in segments.iter().enumerate() {
            let at = 64 + 56 * n;
            bytes[at] = 1;
            bytes[at + 16..at + 24].copy_from_slice(&vaddr.to_le_bytes());
            bytes[at + 40..at + 48].copy_from_slice(&size.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn pages_of_several_segments_come_once_each_in_order() {
        let far = 0x4040_1800;
        let bytes = file(&[(far, 0x1000), (0x20_0000, 0x1001), (far + 0x1100, 0x10)]);
        let elf = Elf::new(&bytes).expect("a good file");
        let pages: Vec<u64> = elf.pages().collect();
        assert_eq!(pages, [0x20_0000, 0x20_1000, 0x4040_1000, 0x4040_2000]);
    }

    #[test]
    fn gaps_are_pages_where_a_slot_for_each_can_be() {
        let bytes = file(&[(0x40_1800, 0x1000), (0x20_0000, 0x1001), (0x40_2900, 0x10)]);
        let elf = Elf::new(&bytes).expect("a good file");
        assert!(elf.pages().eq((0x200..0x403).map(|page| page << 12)));
        let last = 0x20_0000 + 4096 * MAX_IMAGE_PAGES;
        let whole = |end: u64| {
            let bytes = file(&[(0x20_0000, 1), (end - 4096, 4096)]);
            Elf::new(&bytes).expect("a good file").pages().count() as u64
        };
        assert_eq!(whole(last), MAX_IMAGE_PAGES);
        assert_eq!(whole(last + 4096), 2);
    }

    #[test]
    fn bad_files_are_named_not_loaded() {
        assert_eq!(Elf::new(b"hello").err(), Some(ElfError::NotElf));
        assert_eq!(Elf::new(&file(&[])).err(), Some(ElfError::Empty));
        assert_eq!(
            Elf::new(&file(&[(u64::MAX - 5, 10)])).err(),
            Some(ElfError::BadAddress)
        );
        let large = file(&[(0x20_0000, 4096 * MAX_IMAGE_PAGES), (1 << 45, 4096)]);
        assert_eq!(Elf::new(&large).err(), Some(ElfError::TooLarge));
        assert_eq!(
            Elf::new(&file(&[(0, 10)])).err(),
            Some(ElfError::BadAddress)
        );
        let good = file(&[(0x20_0000, 10)]);
        assert_eq!(Elf::new(&good[..70]).err(), Some(ElfError::Truncated));
        let mut wide = good.clone();
        wide[4] = 1;
        assert_eq!(Elf::new(&wide).err(), Some(ElfError::WrongKind));
    }
}
