//! Multiboot 1 (the Multiboot Specification, version 0.6.96): ELF32 and ELF64 programs, or any file whose header has the
//! address fields. Modules and the information structure go as high as they can, since test kernels are linked from
//! 0x8000 up and take what follows for theirs.

use std::ops::Range;

use elf::abi::ELFMAGIC;
use protocol::system::Entry;

use super::{
    FORMATS, Loaded, Piece, Program, Request, base_name, damaged, elf_file, layout, pad, put_text,
};
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

/// A header that was found.
pub struct Header {
    offset: usize,
    flags: u32,
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
    let mut program = if header.flags & ADDRESS_FIELDS != 0 {
        by_address_fields(name, &request.kernel.bytes, header)?
    } else if !request.kernel.bytes.starts_with(&ELFMAGIC) {
        return Err(Error::new(
            name,
            "a multiboot 1 header without addresses, and no ELF file around it",
            FORMATS,
        ));
    } else {
        elf_file::read(name, &request.kernel.bytes)?
    };
    let eip = program.entry_inside(request)?;
    let modules = program.place_modules(request)?;
    let info = program.place_information(request, |base| written(request, &modules, base))?;
    Ok(program.finish(Entry::Multiboot { eip, info }))
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

/// The structure for `base`, which only moves pointers: its size is the same everywhere.
fn written(request: &Request, modules: &[Range<u64>], base: u64) -> Vec<u8> {
    let mut blob = vec![0; info::SIZE];
    let set = |blob: &mut Vec<u8>, offset: usize, value: u64| {
        put(blob, offset, &(value as u32).to_le_bytes())
    };
    let flags = info::MEMORY | info::COMMAND_LINE | info::MODULES | info::MAP | info::LOADER_NAME;
    set(&mut blob, 0, u64::from(flags));
    set(&mut blob, 4, layout::LOW_END >> 10);
    set(&mut blob, 8, (request.memory - layout::HIGH_START) >> 10);
    let line = format!("{} {}", base_name(&request.kernel.name), request.append);
    let line = put_text(&mut blob, base, line.trim_end());
    set(&mut blob, 16, line);
    let names: Vec<u64> = request
        .initrds
        .iter()
        .map(|file| put_text(&mut blob, base, base_name(&file.name)))
        .collect();
    let list = pad(&mut blob, base, 4);
    for (module, name) in modules.iter().zip(names) {
        for word in [module.start, module.end, name, 0] {
            blob.extend((word as u32).to_le_bytes());
        }
    }
    set(&mut blob, 20, modules.len() as u64);
    set(&mut blob, 24, list);
    let map = pad(&mut blob, base, 4);
    for (start, length, kind) in layout::map(request.memory) {
        blob.extend(20u32.to_le_bytes());
        blob.extend(start.to_le_bytes());
        blob.extend(length.to_le_bytes());
        blob.extend(kind.to_le_bytes());
    }
    let map_length = base + blob.len() as u64 - map;
    set(&mut blob, 44, map_length);
    set(&mut blob, 48, map);
    let loader = put_text(&mut blob, base, LOADER_NAME);
    set(&mut blob, 64, loader);
    blob
}
