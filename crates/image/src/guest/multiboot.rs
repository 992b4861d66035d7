//! Multiboot 1 (the Multiboot Specification, version 0.6.96): ELF32 and ELF64 programs, or any file whose header has the
//! address fields. Modules and the information structure go as high as they can, since test kernels are linked from
//! 0x8000 up and take what follows for theirs.

use std::ops::Range;

use elf::ElfBytes;
use elf::abi::{EM_386, EM_X86_64, PT_LOAD};
use elf::endian::AnyEndian;
use protocol::system::Entry;

use super::layout::{self, place_in_reach};
use super::{Loaded, Piece, Request, overlap, range, too_large};
use crate::Error;
use crate::bytes::{part, put, u32_at};

/// Specification 3.1: the header lies in the first 8192 bytes, four-byte aligned.
const SEARCH: usize = 8192;
const MAGIC: u32 = 0x1bad_b002;
/// Specification 3.1.2: bits 0 to 15 are demands. Modules on pages, memory information, a video mode (not given, as a
/// machine without a display may).
const KNOWN_DEMANDS: u32 = 0b111;
const DEMANDS: u32 = 0xffff;
/// The header's address fields are valid.
const ADDRESS_FIELDS: u32 = 1 << 16;

/// Specification 3.3: flags of the information structure and its fields.
mod info {
    pub const MEMORY: u32 = 1;
    pub const COMMAND_LINE: u32 = 1 << 2;
    pub const MODULES: u32 = 1 << 3;
    pub const MAP: u32 = 1 << 6;
    pub const LOADER_NAME: u32 = 1 << 9;
    pub const SIZE: usize = 120;
}
const LOADER_NAME: &str = "Umbra";

/// Gaps below this are filled with zeros, so that a program of many small segments stays few pieces.
const MERGE_GAP: u64 = 1 << 20;

/// A header that was found.
pub struct Header {
    offset: usize,
    flags: u32,
}

/// A program in memory.
struct Program {
    pieces: Vec<Piece>,
    occupied: Vec<Range<u64>>,
    entry: u64,
}

/// Looks for the header.
pub fn find(file: &[u8]) -> Option<Header> {
    (0..SEARCH.min(file.len())).step_by(4).find_map(|offset| {
        let flags = u32_at(file, offset + 4)?;
        let sum = MAGIC
            .wrapping_add(flags)
            .wrapping_add(u32_at(file, offset + 8)?);
        (u32_at(file, offset)? == MAGIC && sum == 0).then_some(Header { offset, flags })
    })
}

/// Lays program, modules and information out.
pub fn load(request: &Request, header: &Header) -> Result<Loaded, Error> {
    let name = &request.kernel.name;
    let unknown = header.flags & DEMANDS & !KNOWN_DEMANDS;
    if unknown != 0 {
        return Err(Error::new(
            name,
            format!("its multiboot header demands what no one knows (flags {unknown:#x})"),
            "correct the header",
        ));
    }
    let program = if header.flags & ADDRESS_FIELDS != 0 {
        by_address_fields(name, &request.kernel.bytes, header)?
    } else {
        by_elf(name, &request.kernel.bytes)?
    };
    fits(request, &program)?;
    let Program {
        mut pieces,
        mut occupied,
        entry,
    } = program;
    let eip = u32::try_from(entry)
        .ok()
        .filter(|eip| inside(&occupied, u64::from(*eip)));
    let eip = eip.ok_or_else(|| damaged(name, "its entry lies outside what is loaded"))?;
    let mut modules = Vec::new();
    for file in request.initrds {
        let length = file.bytes.len() as u64;
        let gpa = place_in_reach(&occupied, length, request.memory)
            .ok_or_else(|| too_large(&file.name, "the module", None, request.memory))?;
        occupied.push(gpa..gpa + length);
        modules.push((gpa, length, base_name(&file.name)));
        pieces.push(Piece {
            gpa,
            bytes: file.bytes.clone(),
        });
    }
    let info = information(request, &modules, &mut occupied)?;
    let address = info.gpa as u32;
    pieces.push(info);
    Ok(Loaded {
        entry: Entry::Multiboot { eip, info: address },
        pieces: merge(pieces),
        occupied,
    })
}

fn damaged(name: &str, what: &str) -> Error {
    Error::new(
        name,
        what,
        "the file is truncated or damaged: build or copy it again",
    )
}

fn inside(occupied: &[Range<u64>], address: u64) -> bool {
    occupied.iter().any(|range| range.contains(&address))
}

/// Specification 3.1.3: one contiguous part of the file, and zeros behind it.
fn by_address_fields(name: &str, file: &[u8], header: &Header) -> Result<Program, Error> {
    let field = |n: usize| u32_at(file, header.offset + 12 + 4 * n).map(u64::from);
    let read = || -> Option<Program> {
        let (at, start, data_end, zero_end, entry) =
            (field(0)?, field(1)?, field(2)?, field(3)?, field(4)?);
        let offset = (header.offset as u64).checked_sub(at.checked_sub(start)?)?;
        let length = match data_end {
            0 => file.len() as u64 - offset,
            end => end.checked_sub(start)?,
        };
        let data = part(file, offset, length)?;
        let end = match zero_end {
            0 => start + length,
            end => end,
        };
        (end >= start + length).then_some(())?;
        Some(Program {
            pieces: vec![Piece {
                gpa: start,
                bytes: data.to_vec(),
            }],
            occupied: std::iter::once(start..end).collect(),
            entry,
        })
    };
    read().ok_or_else(|| damaged(name, "its multiboot address fields do not fit the file"))
}

/// ELF32 or ELF64, loaded at physical addresses.
fn by_elf(name: &str, file: &[u8]) -> Result<Program, Error> {
    let elf = ElfBytes::<AnyEndian>::minimal_parse(file).map_err(|_| {
        damaged(
            name,
            "a multiboot header without address fields, and no whole ELF file",
        )
    })?;
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

fn fits(request: &Request, program: &Program) -> Result<(), Error> {
    let end = program
        .occupied
        .iter()
        .map(|range| range.end)
        .max()
        .unwrap_or(0);
    if end > request.memory {
        return Err(too_large(
            &request.kernel.name,
            "the program",
            Some(end),
            request.memory,
        ));
    }
    Ok(())
}

/// The last component of a path.
fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The information structure and all it points to, at an address of its own.
fn information(
    request: &Request,
    modules: &[(u64, u64, &str)],
    occupied: &mut Vec<Range<u64>>,
) -> Result<Piece, Error> {
    let size = written(request, modules, 0).len() as u64;
    let gpa = place_in_reach(occupied, size, request.memory).ok_or_else(|| {
        too_large(
            &request.kernel.name,
            "the boot information",
            None,
            request.memory,
        )
    })?;
    occupied.push(gpa..gpa + size);
    Ok(Piece {
        gpa,
        bytes: written(request, modules, gpa),
    })
}

/// The structure for `base`, which only moves pointers: its size is the same everywhere.
fn written(request: &Request, modules: &[(u64, u64, &str)], base: u64) -> Vec<u8> {
    let mut blob = vec![0; info::SIZE];
    let set = |blob: &mut Vec<u8>, offset: usize, value: u64| {
        put(blob, offset, &(value as u32).to_le_bytes())
    };
    let flags = info::MEMORY | info::COMMAND_LINE | info::MODULES | info::MAP | info::LOADER_NAME;
    set(&mut blob, 0, u64::from(flags));
    set(&mut blob, 4, 640);
    set(&mut blob, 8, (request.memory - layout::HIGH_START) >> 10);
    let line = format!("{} {}", base_name(&request.kernel.name), request.append);
    let line = text(&mut blob, base, line.trim_end());
    set(&mut blob, 16, line);
    let names: Vec<u64> = modules.iter().map(|m| text(&mut blob, base, m.2)).collect();
    let list = align(&mut blob, base);
    for ((start, length, _), name) in modules.iter().zip(names) {
        for word in [*start, start + length, name, 0] {
            blob.extend((word as u32).to_le_bytes());
        }
    }
    set(&mut blob, 20, modules.len() as u64);
    set(&mut blob, 24, list);
    let map = align(&mut blob, base);
    for (start, length, kind) in layout::map(request.memory) {
        blob.extend(20u32.to_le_bytes());
        blob.extend(start.to_le_bytes());
        blob.extend(length.to_le_bytes());
        blob.extend(kind.to_le_bytes());
    }
    let map_length = base + blob.len() as u64 - map;
    set(&mut blob, 44, map_length);
    set(&mut blob, 48, map);
    let loader = text(&mut blob, base, LOADER_NAME);
    set(&mut blob, 64, loader);
    blob
}

/// Appends a zero-terminated text; answers its address.
fn text(blob: &mut Vec<u8>, base: u64, text: &str) -> u64 {
    let at = base + blob.len() as u64;
    blob.extend(text.bytes().filter(|&b| b != 0));
    blob.push(0);
    at
}

/// Pads to a multiple of four; answers the address reached.
fn align(blob: &mut Vec<u8>, base: u64) -> u64 {
    blob.resize(blob.len().next_multiple_of(4), 0);
    base + blob.len() as u64
}

/// Joins pieces with small gaps between them.
fn merge(mut pieces: Vec<Piece>) -> Vec<Piece> {
    pieces.sort_by_key(|piece| piece.gpa);
    let mut merged: Vec<Piece> = Vec::new();
    for piece in pieces {
        if let Some(last) = merged.last_mut() {
            let gap = piece.gpa - (last.gpa + last.bytes.len() as u64);
            if gap < MERGE_GAP {
                last.bytes.resize(last.bytes.len() + gap as usize, 0);
                last.bytes.extend(piece.bytes);
                continue;
            }
        }
        merged.push(piece);
    }
    merged
}
