//! Programs as ELF32 and ELF64 files, loaded at their segments' physical addresses.

use elf::ElfBytes;
use elf::abi::{EM_386, EM_X86_64, PT_LOAD};
use elf::endian::AnyEndian;

use super::{Piece, Program, damaged, overlap, range};
use crate::Error;
use crate::bytes::part;

/// Reads the program. Its entry is the file's, as a physical address.
pub fn read(name: &str, file: &[u8]) -> Result<Program, Error> {
    let elf = ElfBytes::<AnyEndian>::minimal_parse(file)
        .map_err(|_| damaged(name, "it is no whole ELF file"))?;
    if ![EM_386, EM_X86_64].contains(&elf.ehdr.e_machine) {
        return Err(Error::new(
            name,
            "an ELF file for another processor",
            "build it for x86",
        ));
    }
    let mut program = Program {
        pieces: Vec::new(),
        occupied: Vec::new(),
        entry: elf.ehdr.e_entry,
    };
    for segment in elf.segments().into_iter().flatten() {
        if segment.p_type != PT_LOAD || segment.p_memsz == 0 {
            continue;
        }
        let outside = || damaged(name, "has a segment outside the file or the address space");
        let data = part(file, segment.p_offset, segment.p_filesz).ok_or_else(outside)?;
        let place = range(segment.p_paddr, segment.p_memsz).ok_or_else(outside)?;
        if segment.p_filesz > segment.p_memsz
            || program.occupied.iter().any(|other| overlap(other, &place))
        {
            return Err(damaged(name, "has segments that overlap"));
        }
        // An entry given as a virtual address means the place where that address is loaded.
        if let Some(distance) = elf.ehdr.e_entry.checked_sub(segment.p_vaddr)
            && distance < segment.p_memsz
        {
            program.entry = segment.p_paddr + distance;
        }
        program.occupied.push(place);
        program.pieces.push(Piece {
            gpa: segment.p_paddr,
            bytes: data.to_vec(),
        });
    }
    if program.occupied.is_empty() {
        return Err(damaged(name, "has nothing to load"));
    }
    Ok(program)
}
