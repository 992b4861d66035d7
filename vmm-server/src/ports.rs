//! IN and OUT: the board's ports here, all others at the device server.

use crate::board::Board;
use crate::platform::{Platform, PortOutcome, PortReply};
use crate::stats::MARKER_PORT;
use crate::trap::Trap;
use crate::vcpu::Vcpu;
use protocol::device::Stop;
use vcpu::debug::Touch;

/// All ones of `size` bytes: what a port without a device reads as.
const fn ones(size: u8) -> u32 {
    u32::MAX >> (32 - 8 * size as u32)
}

impl Vcpu {
    /// Reads `size` (1, 2, 4) bytes of `port`.
    pub(crate) fn port_in(
        &mut self,
        platform: &mut impl Platform,
        port: u16,
        size: u8,
    ) -> Result<u32, Trap> {
        self.meet(Touch::Port, port.into(), size.into());
        if Board::has(port) {
            return Ok(self.board.read(port, size, platform.now()));
        }
        let reply = platform.port_in(port, size);
        Ok(self.settle(reply, ones(size))? & ones(size))
    }

    /// Writes the low `size` (1, 2, 4) bytes of `value` to `port`.
    pub(crate) fn port_out(
        &mut self,
        platform: &mut impl Platform,
        port: u16,
        size: u8,
        value: u32,
    ) -> Result<(), Trap> {
        self.meet(Touch::Port, port.into(), size.into());
        let value = value & ones(size);
        if port == MARKER_PORT {
            self.markers.record(value, platform.now());
        } else if Board::has(port) {
            self.board.write(port, size, value, platform.now());
        } else {
            let reply = platform.port_out(port, size, value);
            self.settle(reply, 0)?;
        }
        Ok(())
    }

    fn settle(&mut self, reply: PortReply, absent: u32) -> Result<u32, Trap> {
        self.board.set_lines(reply.lines);
        match reply.outcome {
            PortOutcome::Done(value) => Ok(value),
            PortOutcome::NoPort => Ok(absent),
            PortOutcome::Exit(value) => Err(Trap::stop(Stop::ExitPort, value, "exit port")),
            PortOutcome::Reset => Err(Trap::stop(Stop::Reset, 0, "reset")),
            PortOutcome::Refused => Err(Trap::stop(
                Stop::DomainFailed,
                0,
                "the device server refused a request",
            )),
        }
    }
}
