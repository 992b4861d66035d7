//! The way from an instruction carried out here to the device it touches.

use crate::board::Board;
use crate::memory::Devices;
use words::x86::pf;
use words::{Gpa, Gva};

/// A page of the guest's addresses that has no memory, as mmu-server has just said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hole {
    gva: Gva,
    gpa: Gpa,
    write: bool,
}

impl Hole {
    /// From a fault at `gva` that met no memory at `gpa`; `access` has its error-code bits.
    pub(crate) const fn new(gva: Gva, gpa: Gpa, access: u32) -> Self {
        Self {
            gva: gva.page(),
            gpa: gpa.page(),
            write: access & pf::W != 0,
        }
    }

    /// Where `gva` leads, if it lies in this page and the access is one that was granted: who may write may read.
    pub(crate) fn leads(&self, gva: Gva, write: bool) -> Option<Gpa> {
        let granted = self.write || !write;
        (gva.page() == self.gva && granted).then(|| self.gpa.wrapping_add(gva.page_offset()))
    }
}

impl Hole {
    /// Whether both are the same page of the guest's addresses.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        self.gva == other.gva
    }
}

/// The devices at one moment.
pub(crate) struct Bus<'a> {
    board: &'a mut Board,
    hole: Option<Hole>,
    now: u64,
}

impl<'a> Bus<'a> {
    pub(crate) const fn new(board: &'a mut Board, hole: Option<Hole>, now: u64) -> Self {
        Self { board, hole, now }
    }
}

/// Bytes of the accesses that `length` bytes are made in: whole if that is a width a processor has.
const fn step(length: usize) -> usize {
    match length {
        1 | 2 | 4 | 8 => length,
        _ => 1,
    }
}

impl Devices for Bus<'_> {
    fn read(&mut self, gpa: Gpa, data: &mut [u8]) {
        let size = step(data.len());
        for (n, part) in data.chunks_mut(size).enumerate() {
            let at = gpa.wrapping_add((n * size) as u64);
            let value = self.board.read_memory(at.bits(), size as u8, self.now);
            let bytes = value.unwrap_or(u64::MAX).to_le_bytes();
            part.copy_from_slice(&bytes[..part.len()]);
        }
    }

    fn write(&mut self, gpa: Gpa, data: &[u8]) {
        let size = step(data.len());
        for (n, part) in data.chunks(size).enumerate() {
            let at = gpa.wrapping_add((n * size) as u64);
            let mut bytes = [0; 8];
            bytes[..part.len()].copy_from_slice(part);
            let value = u64::from_le_bytes(bytes);
            // Where nothing is, the write vanishes.
            self.board
                .write_memory(at.bits(), size as u8, value, self.now);
        }
    }

    fn known(&self, gva: Gva, write: bool) -> Option<Gpa> {
        self.hole.and_then(|hole| hole.leads(gva, write))
    }
}
