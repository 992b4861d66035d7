//! PVH (Xen's x86/HVM direct boot ABI): an ELF file whose note names a 32-bit entry, and `hvm_start_info` for it.

use std::ops::Range;

use elf::ElfBytes;
use elf::abi::PT_NOTE;
use elf::endian::AnyEndian;
use elf::note::Note;
use protocol::system::Entry;

use super::{Loaded, Request, base_name, elf_file, firmware, layout, pad, put_text};
use crate::Error;
use crate::bytes::{put, u32_at};

/// Owner and type of the note: XEN_ELFNOTE_PHYS32_ENTRY.
const OWNER: &[u8] = b"Xen";
const PHYSICAL_ENTRY: u64 = 18;

/// `struct hvm_start_info`, version 1: offsets of its fields.
mod info {
    pub const MAGIC: u32 = 0x336e_c578;
    pub const VERSION: usize = 4;
    pub const MODULE_COUNT: usize = 12;
    pub const MODULES: usize = 16;
    pub const COMMAND_LINE: usize = 24;
    pub const RSDP: usize = 32;
    pub const MAP: usize = 40;
    pub const MAP_ENTRIES: usize = 48;
    pub const SIZE: usize = 56;
}

/// The entry that the note names.
pub fn find(file: &[u8]) -> Option<u32> {
    let elf = ElfBytes::<AnyEndian>::minimal_parse(file).ok()?;
    elf.segments()?
        .into_iter()
        .filter(|segment| segment.p_type == PT_NOTE)
        .filter_map(|segment| elf.segment_data_as_notes(&segment).ok())
        .flatten()
        .find_map(|note| match note {
            // The low half of an address of 4 or 8 bytes.
            Note::Unknown(note) if is_owner(note.name) && note.n_type == PHYSICAL_ENTRY => {
                u32_at(note.desc, 0)
            }
            _ => None,
        })
}

/// With or without the zero that the name ends with.
fn is_owner(name: &[u8]) -> bool {
    name.strip_suffix(&[0]).unwrap_or(name) == OWNER
}

/// Lays program, modules and start information out.
pub fn load(request: &Request, entry: u32) -> Result<Loaded, Error> {
    let mut program = elf_file::read(&request.kernel.name, &request.kernel.bytes)?;
    program.entry = u64::from(entry);
    let eip = program.entry_inside(request)?;
    let modules = program.place_modules(request)?;
    let start_info = program.place_information(request, |base| written(request, &modules, base))?;
    Ok(program.finish(Entry::Pvh { eip, start_info }))
}

/// The structure and all it points to, for the address `base`.
fn written(request: &Request, modules: &[Range<u64>], base: u64) -> Vec<u8> {
    let mut blob = vec![0; info::SIZE];
    put(&mut blob, 0, &info::MAGIC.to_le_bytes());
    put(&mut blob, info::VERSION, &1u32.to_le_bytes());
    put(&mut blob, info::RSDP, &firmware::RSDP.to_le_bytes());
    let line = put_text(&mut blob, base, request.append);
    put(&mut blob, info::COMMAND_LINE, &line.to_le_bytes());
    let names: Vec<u64> = request
        .initrds
        .iter()
        .map(|file| put_text(&mut blob, base, base_name(&file.name)))
        .collect();
    if !modules.is_empty() {
        let list = pad(&mut blob, base, 8);
        for (module, name) in modules.iter().zip(names) {
            for word in [module.start, module.end - module.start, name, 0] {
                blob.extend(word.to_le_bytes());
            }
        }
        put(&mut blob, info::MODULES, &list.to_le_bytes());
        let count = modules.len() as u32;
        put(&mut blob, info::MODULE_COUNT, &count.to_le_bytes());
    }
    let map = pad(&mut blob, base, 8);
    let regions = layout::map(request.memory);
    for (start, length, kind) in regions {
        for word in [start, length, u64::from(kind)] {
            blob.extend(word.to_le_bytes());
        }
    }
    put(&mut blob, info::MAP, &map.to_le_bytes());
    let count = regions.len() as u32;
    put(&mut blob, info::MAP_ENTRIES, &count.to_le_bytes());
    blob
}
