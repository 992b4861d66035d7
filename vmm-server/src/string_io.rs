//! INS and OUTS: port accesses whose other side is memory, a bounded number of elements an exit.
//!
//! Always: an element is done wholly or not at all: memory is checked before the port is touched, and a fault leaves the
//! registers of the elements before it. An instruction with elements left keeps its RIP and exits again, so that
//! interrupts and debug traps are taken in between (APM vol. 3, REP).

use crate::bus::Bus;
use crate::memory::{VIEW, View};
use crate::platform::Platform;
use crate::trap::Trap;
use crate::vcpu::Vcpu;
use exit_abi::{Mask, Register};
use vcpu::Registers;
use vcpu::Resume;
use vcpu::debug::Touch;
use vcpu::registers::merge_low;
use vcpu::segment::{Access, Name, Segment};
use words::svm::ioio;
use words::x86::rflags;

/// Most elements at one exit.
const MOST_ELEMENTS: u64 = 32;

/// Address size in EXITINFO1, one-hot: 16, 32, 64 bits.
const ADDRESS_SIZE: u32 = 7 << 7;

/// Whether this is a string instruction whose bytes the kernel could not read: one with an unknown address size.
pub(crate) const fn is_unread(info: u32) -> bool {
    info as u64 & ioio::STRING != 0 && info & ADDRESS_SIZE == 0
}

/// The instruction, from EXITINFO1 as the kernel completes it.
#[derive(Clone, Copy)]
struct StringIo {
    port: u16,
    size: u8,
    input: bool,
    repeat: bool,
    /// Bytes of an address: 2, 4 or 8.
    address_size: u32,
    segment: Name,
}

impl StringIo {
    fn new(info: u32) -> Self {
        let word = u64::from(info);
        let input = word & ioio::IN != 0;
        let override_segment = Name::from_number((info >> 10 & 7) as u8);
        Self {
            port: ioio::port(word),
            size: ioio::size(word) as u8,
            input,
            repeat: word & ioio::REP != 0,
            address_size: match (info & ADDRESS_SIZE) >> 7 {
                1 => 2,
                2 => 4,
                _ => 8,
            },
            segment: if input { Name::Es } else { override_segment },
        }
    }

    const fn pointer(&self) -> Register {
        if self.input {
            Register::Rdi
        } else {
            Register::Rsi
        }
    }

    fn registers(&self) -> Mask {
        let (base, rest) = self.segment.registers();
        let own = [Register::Rcx, self.pointer(), base, rest];
        VIEW.iter()
            .chain(&own)
            .fold(Mask::default(), |mask, &register| mask.with(register))
    }

    const fn address_mask(&self) -> u64 {
        u64::MAX >> (64 - 8 * self.address_size)
    }
}

/// Where the instruction stands.
struct Progress {
    pointer: u64,
    left: u64,
    done: u64,
}

impl Vcpu {
    /// Does elements of the string instruction of `info`. The result says whether it is finished.
    pub(crate) fn string_io(
        &mut self,
        platform: &mut impl Platform,
        info: u32,
        resume: &mut Resume,
    ) -> Result<bool, Trap> {
        let io = StringIo::new(info);
        let registers = platform.read_registers(io.registers());
        let mask = io.address_mask();
        let mut progress = Progress {
            pointer: registers.get(io.pointer()) & mask,
            left: if io.repeat {
                registers.get(Register::Rcx) & mask
            } else {
                1
            },
            done: 0,
        };
        let outcome = self.elements(platform, &io, &registers, &mut progress);
        if progress.done != 0 {
            self.iterated = true;
            write_back(resume, &io, &registers, &progress);
        }
        outcome?;
        Ok(progress.left == 0)
    }

    fn elements(
        &mut self,
        platform: &mut impl Platform,
        io: &StringIo,
        registers: &Registers,
        progress: &mut Progress,
    ) -> Result<(), Trap> {
        let view = View::new(&self.control, registers);
        let segment = Segment::of(io.segment, registers);
        let down = registers.get(Register::Rflags) & rflags::DF != 0;
        let step = u64::from(io.size);
        // A guest that steps sees each element.
        let most = if registers.get(Register::Rflags) & rflags::TF == 0 {
            MOST_ELEMENTS
        } else {
            1
        };
        while progress.left != 0 && progress.done < most && self.met == 0 {
            self.element(platform, io, &view, segment, progress.pointer)?;
            let next = if down {
                progress.pointer.wrapping_sub(step)
            } else {
                progress.pointer.wrapping_add(step)
            };
            progress.pointer = next & io.address_mask();
            progress.left -= 1;
            progress.done += 1;
        }
        Ok(())
    }

    fn element(
        &mut self,
        platform: &mut impl Platform,
        io: &StringIo,
        view: &View,
        segment: Segment,
        offset: u64,
    ) -> Result<(), Trap> {
        let mut data = [0; 4];
        let length = usize::from(io.size).min(4);
        let part = &mut data[..length];
        if io.input {
            let gva = view.linear(io.segment, segment, offset, length as u64, Access::Write)?;
            view.probe_write(platform, gva, length)?;
            let value = self.port_in(platform, io.port, io.size)?;
            self.meet(Touch::Write, gva.bits(), length as u64);
            let mut bus = Bus::new(&mut self.board, None, platform.now());
            view.write(platform, &mut bus, gva, &value.to_le_bytes()[..length])
        } else {
            let gva = view.linear(io.segment, segment, offset, length as u64, Access::Read)?;
            let mut bus = Bus::new(&mut self.board, None, platform.now());
            view.read(platform, &mut bus, gva, part)?;
            self.meet(Touch::Read, gva.bits(), length as u64);
            self.port_out(platform, io.port, io.size, u32::from_le_bytes(data))
        }
    }
}

fn write_back(resume: &mut Resume, io: &StringIo, registers: &Registers, progress: &Progress) {
    let pointer = io.pointer();
    let old = registers.get(pointer);
    resume.set(pointer, merge_low(old, progress.pointer, io.address_size));
    if io.repeat {
        let old = registers.get(Register::Rcx);
        resume.set(
            Register::Rcx,
            merge_low(old, progress.left, io.address_size),
        );
    }
}
