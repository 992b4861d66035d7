//! What the boot loader left: memory map, first module, command line (multiboot 1, section 3.3).
//!
//! Everything is copied out, because the loader's structures lie in memory that is given away. Valid while the boot
//! tables are loaded: reads go through the window and stay below 4 GiB.
#![allow(unsafe_code)] // Reads the loader's structures.

use kernel::machine::Region;
use words::Hpa;

use super::layout::{self, PAGE};
use super::regions::{Full, Regions};

/// Entries kept of the memory map, as many as boot information has room for.
const MAP_ENTRIES: usize = 50;
/// Bytes of a memory-map entry: { u32 size, u64 base, u64 length, u32 type }, packed.
const ENTRY_BYTES: usize = 24;
/// Type of a range of RAM.
const USABLE: u32 = 1;

// Flag bits of the information structure, each announcing a field.
const HAS_COMMAND_LINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_MAP: u32 = 1 << 6;

/// Copies `into.len()` bytes of physical memory, or says that the boot tables do not reach them.
pub fn copy_physical(from: u64, into: &mut [u8]) -> Option<()> {
    let end = from.checked_add(into.len() as u64)?;
    if end > layout::BOOT_REACH {
        return None;
    }
    let source: *const u8 = layout::window(Hpa::new(from));
    for (index, byte) in into.iter_mut().enumerate() {
        // SAFETY: below 4 GiB, where the boot tables map everything; volatile because the memory is not Rust's.
        *byte = unsafe { source.add(index).read_volatile() };
    }
    Some(())
}

/// A doubleword of physical memory.
pub fn read32(from: u64) -> Option<u32> {
    let mut bytes = [0; 4];
    copy_physical(from, &mut bytes)?;
    Some(u32::from_le_bytes(bytes))
}

/// The copy.
pub struct Multiboot {
    map: [u8; MAP_ENTRIES * ENTRY_BYTES],
    map_bytes: usize,
    command_line: [u8; 256],
    command_line_bytes: usize,
    /// The first module, if there is one.
    pub module: Option<Region>,
}

impl Multiboot {
    /// Copies what the structure at `info` tells; `None` if it points where it cannot be read or tells no memory map.
    pub fn read(info: u64) -> Option<Self> {
        let flags = read32(info)?;
        let mut result = Self {
            map: [0; MAP_ENTRIES * ENTRY_BYTES],
            map_bytes: 0,
            command_line: [0; 256],
            command_line_bytes: 0,
            module: None,
        };
        if flags & HAS_COMMAND_LINE != 0 {
            result.copy_command_line(read32(info + 16)?.into())?;
        }
        if flags & HAS_MODULES != 0 && read32(info + 20)? > 0 {
            let modules = u64::from(read32(info + 24)?);
            result.module = Some(Region {
                start: read32(modules)?.into(),
                end: read32(modules + 4)?.into(),
            });
        }
        if flags & HAS_MAP == 0 {
            return None;
        }
        result.copy_map(read32(info + 48)?.into(), read32(info + 44)?.into())?;
        Some(result)
    }

    fn copy_command_line(&mut self, from: u64) -> Option<()> {
        while self.command_line_bytes < self.command_line.len() {
            let mut byte = [0];
            copy_physical(from + self.command_line_bytes as u64, &mut byte)?;
            if byte[0] == 0 {
                break;
            }
            self.command_line[self.command_line_bytes] = byte[0];
            self.command_line_bytes += 1;
        }
        Some(())
    }

    /// Copies the map, giving every entry the same size; entries past [`MAP_ENTRIES`] are not used.
    fn copy_map(&mut self, start: u64, length: u64) -> Option<()> {
        let mut at = start;
        for slot in self.map.chunks_exact_mut(ENTRY_BYTES) {
            if at >= start + length {
                break;
            }
            let size = read32(at)?;
            if size < 20 {
                return None;
            }
            copy_physical(at, slot)?;
            slot[..4].copy_from_slice(&20u32.to_le_bytes());
            self.map_bytes += ENTRY_BYTES;
            at += u64::from(size) + 4;
        }
        Some(())
    }

    /// The memory map, packed entries.
    pub fn memory_map(&self) -> &[u8] {
        &self.map[..self.map_bytes]
    }

    /// The kernel's command line, as far as it is text.
    pub fn command_line(&self) -> &str {
        let bytes = &self.command_line[..self.command_line_bytes];
        core::str::from_utf8(bytes).unwrap_or("?")
    }

    /// RAM from 1 MiB up to the end of the window, in whole pages: what the map calls usable and nothing else covers.
    pub fn ram(&self) -> Result<Regions, Full> {
        let mut ram = Regions::new();
        for (region, kind) in self.entries() {
            if kind == USABLE {
                ram.add(Region {
                    start: region.start.next_multiple_of(PAGE),
                    end: region.end / PAGE * PAGE,
                })?;
            }
        }
        for (region, kind) in self.entries() {
            if kind != USABLE {
                ram.remove(Region {
                    start: region.start / PAGE * PAGE,
                    end: region.end.next_multiple_of(PAGE),
                })?;
            }
        }
        ram.remove(Region {
            start: 0,
            end: 1 << 20,
        })?;
        ram.remove(Region {
            start: layout::WINDOW_SIZE,
            end: u64::MAX,
        })?;
        Ok(ram)
    }

    /// Ranges and types of the map, cut off where addresses stop making sense (2^52).
    fn entries(&self) -> impl Iterator<Item = (Region, u32)> {
        const LIMIT: u64 = 1 << 52;
        self.memory_map().chunks_exact(ENTRY_BYTES).map(|entry| {
            let word = |at: usize| {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&entry[at..at + 8]);
                u64::from_le_bytes(bytes)
            };
            let start = word(4).min(LIMIT);
            let end = start.saturating_add(word(12)).min(LIMIT);
            // The type is the upper half of the word that its four bytes end.
            (Region { start, end }, (word(16) >> 32) as u32)
        })
    }
}
