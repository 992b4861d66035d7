//! Programs of the image: ELF64 files of domains, as page-aligned pieces for root-task to map.

use elf::ElfBytes;
use elf::abi::{EM_X86_64, ET_EXEC, PF_W, PT_LOAD};
use elf::endian::AnyEndian;
use elf::file::Class;
use elf::segment::ProgramHeader;
use protocol::system::{MAX_SEGMENTS, Name};

use crate::Error;
use crate::bytes::part;
use crate::config::PAGE;

/// A domain's program, ready for the archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Its name.
    pub name: Name,
    /// First instruction.
    pub entry: u64,
    /// Its pieces.
    pub segments: Vec<Segment>,
}

/// A page-aligned piece of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Address, page-aligned.
    pub vaddr: u64,
    /// Bytes in memory.
    pub memory_size: u64,
    /// What the memory begins with.
    pub data: Vec<u8>,
    /// Permissions as in the file (`PF_R`, `PF_W`, `PF_X`).
    pub flags: u32,
}

impl Segment {
    /// The domain may write it.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.flags & PF_W != 0
    }

    /// First address behind it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.vaddr + self.memory_size
    }
}

impl Program {
    /// Reads a program's file. `place` names it in messages.
    ///
    /// # Errors
    /// It is no static ELF64 program for this processor.
    pub fn read(name: &str, place: &str, file: &[u8]) -> Result<Self, Error> {
        let refuse = |what: &str| {
            Error::new(
                place,
                what,
                "build it for x86_64-unknown-none, or name another file in [domains]",
            )
        };
        let known = Name::try_from(name).map_err(|_| refuse("its name is too long"))?;
        let elf =
            ElfBytes::<AnyEndian>::minimal_parse(file).map_err(|_| refuse("is not an ELF file"))?;
        let head = elf.ehdr;
        if head.class != Class::ELF64 || head.e_machine != EM_X86_64 || head.e_type != ET_EXEC {
            return Err(refuse("is not a static ELF64 program for x86_64"));
        }
        let mut segments = Vec::new();
        for header in elf.segments().into_iter().flatten() {
            if header.p_type == PT_LOAD && header.p_memsz != 0 {
                segments.push(segment(file, &header).ok_or_else(|| {
                    refuse("has a segment outside the file or the address space")
                })?);
            }
        }
        segments.sort_by_key(|segment| segment.vaddr);
        if segments.is_empty() || segments.len() > MAX_SEGMENTS {
            return Err(refuse("has no segments or too many"));
        }
        if segments
            .windows(2)
            .any(|pair| pair[0].end() > pair[1].vaddr)
        {
            return Err(refuse("has segments that share a page"));
        }
        Ok(Self {
            name: known,
            entry: head.e_entry,
            segments,
        })
    }
}

/// One segment, widened to whole pages at its front.
fn segment(file: &[u8], header: &ProgramHeader) -> Option<Segment> {
    let data = part(file, header.p_offset, header.p_filesz)?;
    let lead = header.p_vaddr % PAGE;
    let memory_size = header
        .p_memsz
        .checked_add(lead)?
        .checked_next_multiple_of(PAGE)?;
    let vaddr = header.p_vaddr - lead;
    vaddr.checked_add(memory_size)?;
    if header.p_filesz > header.p_memsz {
        return None;
    }
    let mut padded = vec![0; usize::try_from(lead).ok()?];
    padded.extend_from_slice(data);
    Some(Segment {
        vaddr,
        memory_size,
        data: padded,
        flags: header.p_flags,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A small ELF64 file: its segments as (vaddr, data, bytes in memory, flags).
    pub fn elf64(entry: u64, segments: &[(u64, &[u8], u64, u32)]) -> Vec<u8> {
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        for word in [entry, 64, 0] {
            file.extend(word.to_le_bytes());
        }
        file.extend([0, 0, 0, 0]);
        for half in [64u16, 56, segments.len() as u16, 64, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        let mut offset = 64 + 56 * segments.len() as u64;
        for (vaddr, data, memory, flags) in segments {
            file.extend(1u32.to_le_bytes());
            file.extend(flags.to_le_bytes());
            for word in [offset, *vaddr, *vaddr, data.len() as u64, *memory, 1] {
                file.extend(word.to_le_bytes());
            }
            offset += data.len() as u64;
        }
        for (_, data, _, _) in segments {
            file.extend(*data);
        }
        file
    }

    #[test]
    fn a_program_becomes_page_aligned_pieces() {
        let file = elf64(
            0x20_1010,
            &[(0x20_1010, b"code", 4, 5), (0x20_3000, b"data", 0x1800, 6)],
        );
        let program = Program::read("p", "p", &file).expect("good");
        assert_eq!(program.entry, 0x20_1010);
        let [code, data] = &program.segments[..] else {
            panic!("two segments")
        };
        assert_eq!(
            (code.vaddr, code.memory_size, code.is_writable()),
            (0x20_1000, 0x1000, false)
        );
        assert_eq!(&code.data[0x10..], b"code");
        assert_eq!(
            (data.vaddr, data.memory_size, data.is_writable()),
            (0x20_3000, 0x2000, true)
        );
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let refused = |file: &[u8]| {
            Program::read("p", "p", file)
                .expect_err("refused")
                .to_string()
        };
        assert!(refused(b"").contains("not an ELF"));
        assert!(refused(&elf64(0, &[])).contains("no segments"));
        assert!(refused(&elf64(0, &[(0x1000, b"abcd", 2, 5)])).contains("outside"));
        assert!(refused(&elf64(0, &[(u64::MAX - 5, b"", 4, 5)])).contains("outside"));
        assert!(
            refused(&elf64(0, &[(0x1000, b"", 4, 5), (0x1800, b"", 4, 6)]))
                .contains("share a page")
        );
    }

    proptest! {
        #[test]
        fn a_damaged_program_never_panics(cut in 0usize..400, at in 0usize..400, byte: u8) {
            let mut file = elf64(0x20_1010, &[(0x20_1010, b"code", 4, 5), (0x20_3000, b"data", 0x1800, 6)]);
            file.truncate(cut);
            if let Some(place) = file.get_mut(at) {
                *place = byte;
            }
            let _ = Program::read("p", "p", &file);
        }
    }
}
