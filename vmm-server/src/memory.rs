//! The guest's memory as its instructions see it: linear addresses, split at pages, with the guest's own faults.
//!
//! Always: an access that crosses a page is checked in both before anything is read from a device or written. Where
//! there is no memory [`Devices`] answers.

use crate::platform::{Access, Outcome, Platform};
use crate::trap::Trap;
use exit_abi::{Mode, Register};
use vcpu::segment::{self, Addressing, Name, Segment};
use vcpu::{Control, Registers};
use words::addr::PAGE_SIZE;
use words::x86::{pf, rflags};
use words::{Gpa, Gva};

/// Registers that [`View::new`] looks at.
pub(crate) const VIEW: [Register; 4] = [
    Register::Rflags,
    Register::Cpl,
    Register::Cs,
    Register::CsBase,
];

/// What answers where there is no memory.
pub(crate) trait Devices {
    /// Reads `data` at `gpa`, inside one page.
    fn read(&mut self, gpa: Gpa, data: &mut [u8]);
    /// Writes `data` at `gpa`, inside one page.
    fn write(&mut self, gpa: Gpa, data: &[u8]);
    /// Where `gva` leads, if it is known that no memory is there and that this access is granted.
    fn known(&self, gva: Gva, write: bool) -> Option<Gpa>;
}

/// Nothing is anywhere: reads are all ones, writes vanish.
pub(crate) struct Nothing;

impl Devices for Nothing {
    fn read(&mut self, _: Gpa, data: &mut [u8]) {
        data.fill(0xff);
    }
    fn write(&mut self, _: Gpa, _: &[u8]) {}
    fn known(&self, _: Gva, _: bool) -> Option<Gpa> {
        None
    }
}

/// How the guest addresses memory at this exit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub mode: Mode,
    pub cr3: u64,
    pub addressing: Addressing,
    pub code: Segment,
}

/// A piece of an access inside one page.
struct Piece {
    gva: Gva,
    from: usize,
    to: usize,
}

impl View {
    /// From the control registers and the registers of [`VIEW`].
    pub(crate) fn new(control: &Control, registers: &Registers) -> Self {
        let flags = registers.get(Register::Rflags);
        let code = Segment::of(Name::Cs, registers);
        let addressing = if control.is_long() && code.is_long_code() {
            Addressing::Flat
        } else if !control.is_protected() || flags & rflags::VM != 0 {
            Addressing::Real
        } else {
            Addressing::Protected
        };
        Self {
            mode: control.mode(flags, registers.get(Register::Cpl) as u8),
            cr3: control.cr3,
            addressing,
            code,
        }
    }

    /// The linear address of the instruction at `rip`.
    pub(crate) const fn code_address(&self, rip: u64) -> Gva {
        match self.addressing {
            Addressing::Flat => Gva::new(rip),
            Addressing::Protected | Addressing::Real => {
                Gva::new(self.code.base.wrapping_add(rip) & 0xffff_ffff)
            }
        }
    }

    /// The linear address of `size` bytes at `offset` in a segment.
    pub(crate) const fn linear(
        &self,
        name: Name,
        segment: Segment,
        offset: u64,
        size: u64,
        access: segment::Access,
    ) -> Result<Gva, Trap> {
        match segment.linear(name, offset, size, access, self.addressing) {
            Ok(gva) => Ok(gva),
            Err(refused) => Err(Trap::Exception {
                vector: refused.vector,
                code: 0,
            }),
        }
    }

    /// Error-code bits of a data access: U at CPL 3.
    const fn user(&self) -> u32 {
        if self.mode.cpl() == 3 { pf::U } else { 0 }
    }

    /// Next address of an access that goes on behind `gva`.
    const fn advance(&self, gva: Gva, by: u64) -> Gva {
        match self.addressing {
            Addressing::Flat => gva.wrapping_add(by),
            Addressing::Protected | Addressing::Real => {
                Gva::new(gva.wrapping_add(by).bits() & 0xffff_ffff)
            }
        }
    }

    fn pieces(&self, gva: Gva, length: usize) -> impl Iterator<Item = Piece> + use<> {
        let view = *self;
        let mut done = 0;
        core::iter::from_fn(move || {
            if done == length {
                return None;
            }
            let at = view.advance(gva, done as u64);
            let room = (PAGE_SIZE - at.page_offset()) as usize;
            let from = done;
            done = length.min(done + room);
            Some(Piece {
                gva: at,
                from,
                to: done,
            })
        })
    }

    const fn access(&self, gva: Gva, bits: u32) -> Access {
        Access {
            mode: self.mode,
            cr3: self.cr3,
            gva,
            access: bits | self.user(),
        }
    }

    const fn crosses(gva: Gva, length: usize) -> bool {
        gva.page_offset() + length as u64 > PAGE_SIZE
    }

    /// Reads memory as data.
    pub(crate) fn read(
        &self,
        platform: &mut impl Platform,
        devices: &mut impl Devices,
        gva: Gva,
        data: &mut [u8],
    ) -> Result<(), Trap> {
        if Self::crosses(gva, data.len()) {
            let last = self.advance(gva, data.len() as u64 - 1);
            self.read_as(platform, &mut Nothing, last, &mut [0], 0)?;
        }
        self.read_as(platform, devices, gva, data, 0)
    }

    /// Checks that memory can be written, without writing it.
    pub(crate) fn probe_write(
        &self,
        platform: &mut impl Platform,
        gva: Gva,
        length: usize,
    ) -> Result<(), Trap> {
        let probe = &mut [0; 8][..length.min(8)];
        self.read_as(platform, &mut Nothing, gva, probe, pf::W)
    }

    /// Reads memory as instructions; where there is none they are all ones.
    pub(crate) fn fetch(
        &self,
        platform: &mut impl Platform,
        gva: Gva,
        data: &mut [u8],
    ) -> Result<(), Trap> {
        self.read_as(platform, &mut Nothing, gva, data, pf::I)
    }

    fn read_as(
        &self,
        platform: &mut impl Platform,
        devices: &mut impl Devices,
        gva: Gva,
        data: &mut [u8],
        bits: u32,
    ) -> Result<(), Trap> {
        for piece in self.pieces(gva, data.len()) {
            let part = &mut data[piece.from..piece.to];
            let device = match devices.known(piece.gva, false) {
                Some(gpa) => Some(gpa),
                None => settle(platform.read_virtual(&self.access(piece.gva, bits), part))?,
            };
            if let Some(gpa) = device {
                devices.read(gpa, part);
            }
        }
        Ok(())
    }

    /// Writes memory.
    pub(crate) fn write(
        &self,
        platform: &mut impl Platform,
        devices: &mut impl Devices,
        gva: Gva,
        data: &[u8],
    ) -> Result<(), Trap> {
        if Self::crosses(gva, data.len()) {
            self.probe_write(platform, gva, data.len())?;
        }
        for piece in self.pieces(gva, data.len()) {
            let part = &data[piece.from..piece.to];
            let device = match devices.known(piece.gva, true) {
                Some(gpa) => Some(gpa),
                None => settle(platform.write_virtual(&self.access(piece.gva, pf::W), part))?,
            };
            if let Some(gpa) = device {
                devices.write(gpa, part);
            }
        }
        Ok(())
    }
}

/// The place without memory that an access met, if it did.
fn settle(outcome: Outcome) -> Result<Option<Gpa>, Trap> {
    match outcome {
        Outcome::Done => Ok(None),
        Outcome::Device { gpa, .. } => Ok(Some(gpa)),
        Outcome::Inject { code, address } => Err(Trap::PageFault { code, address }),
        Outcome::Refused => Err(Trap::MMU_REFUSED),
    }
}
