//! What a PC's firmware has put into memory before the first instruction: interrupt table, data areas, and the tables that
//! describe the machine.
//!
//! Always: all of it lies below 1 MiB, where the memory map says that it is not free, except for the interrupt table with
//! the BIOS data area, which a program that wants the first page takes over. Nothing depends on the guest or its memory:
//! these are the devices of [`protocol::platform`], told in three languages.

mod acpi;
mod aml;
mod bios;
mod mp;

use protocol::platform::FIRMWARE_TABLES_END;

use super::layout::{HIGH_START, LOW_END};
use super::{Loaded, Piece, overlap, piece_range};
use crate::Error;

/// First byte of the tables. They lie in the last 64 KiB below 1 MiB, since a table of the MultiProcessor Specification is
/// looked for there (version 1.4, chapter 4), and ACPI's in a larger area around it (ACPI 6.5, 5.2.5.1).
const TABLES: u64 = 0xf_0000;
/// Room for the tables; the BIOS's code lies at the end of the same 64 KiB.
const TABLES_SIZE: usize = 0x8000;

/// Guest-physical address of ACPI's root pointer.
pub const RSDP: u64 = TABLES;

/// Adds it to a guest that is laid out otherwise.
pub fn add(name: &str, loaded: &mut Loaded) -> Result<(), Error> {
    for piece in pieces() {
        let range = piece_range(&piece);
        if !loaded.occupied.iter().any(|other| overlap(other, &range)) {
            loaded.occupied.push(range);
            loaded.pieces.push(piece);
        } else if range.start >= LOW_END {
            return Err(Error::new(
                name,
                format!(
                    "is loaded where the machine's tables stand, at {:#x}",
                    range.start
                ),
                format!("link it for an address below {LOW_END:#x} or from {HIGH_START:#x} on"),
            ));
        }
    }
    Ok(())
}

/// Each area for itself.
fn pieces() -> Vec<Piece> {
    let mut tables = Area::new();
    acpi::write(&mut tables);
    mp::write(&mut tables);
    vec![
        Piece {
            gpa: 0,
            bytes: bios::first_page(),
        },
        Piece {
            gpa: LOW_END,
            bytes: bios::extended_data_area(),
        },
        Piece {
            gpa: TABLES,
            bytes: tables.bytes,
        },
        Piece {
            gpa: FIRMWARE_TABLES_END - bios::CODE_SIZE as u64,
            bytes: bios::code(),
        },
    ]
}

/// Memory from [`TABLES`] on, being filled.
struct Area {
    bytes: Vec<u8>,
}

impl Area {
    fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Puts a table at the next multiple of `align`; answers its address.
    fn put(&mut self, align: usize, table: &[u8]) -> u32 {
        let at = self.next(align);
        self.bytes.resize((at - TABLES as u32) as usize, 0);
        self.bytes.extend_from_slice(table);
        debug_assert!(self.bytes.len() <= TABLES_SIZE);
        at
    }

    /// The address that the next table would get.
    fn next(&self, align: usize) -> u32 {
        TABLES as u32 + self.bytes.len().next_multiple_of(align) as u32
    }
}

/// What makes the sum of these bytes zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0u8, |sum, byte| sum.wrapping_add(*byte))
        .wrapping_neg()
}
