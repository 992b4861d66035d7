//! I/O ports: control issues ranges that no living capability covers; a range reads and writes its ports.

use crate::cap::Cap;
use crate::kernel::{Done, Fail, Kernel, Message, Outcome};
use crate::machine::Machine;
use crate::mem::Ref;
use crate::slot::{self, Slot};
use sel4_abi::{Error, label};

/// Looks at the words of the bitmap of ports that a range touches, each with the range's bits in it.
#[inline(always)]
fn each_word(ports: &mut [u64], first: u16, last: u16, mut look: impl FnMut(&mut u64, u64)) {
    let (first, last) = (usize::from(first), usize::from(last));
    let words = &mut ports[first / 64..=last / 64];
    let (low, high) = (u64::MAX << (first % 64), u64::MAX >> (63 - last % 64));
    match words {
        [] => {}
        [only] => look(only, low & high),
        [begin, middle @ .., end] => {
            look(begin, low);
            middle.iter_mut().for_each(|word| look(word, u64::MAX));
            look(end, high);
        }
    }
}

impl<M: Machine> Kernel<M> {
    pub(crate) fn invoke_io_port_control(&mut self, control: Ref<Slot>, msg: &Message) -> Outcome {
        if msg.label != label::X86_IO_PORT_CONTROL_ISSUE {
            return Err(Fail::error(Error::IllegalOperation));
        }
        msg.need(4, 1)?;
        let (first, last) = (msg.word(0) as u16, msg.word(1) as u16);
        if last < first {
            return Err(Fail::argument(1));
        }
        let mut taken = 0;
        each_word(&mut self.ports, first, last, |word, mask| {
            taken |= *word & mask
        });
        if taken != 0 {
            return Err(Fail::error(Error::RevokeFirst));
        }
        let dest = self.lookup_empty(msg.extra(0).words(), msg.word(2), msg.word(3))?;
        each_word(&mut self.ports, first, last, |word, mask| *word |= mask);
        slot::insert(Cap::IoPort { first, last }, control, dest);
        Ok(Done::Empty)
    }

    pub(crate) fn invoke_io_port(&mut self, first: u16, last: u16, msg: &Message) -> Outcome {
        let (size, write) = match msg.label {
            label::X86_IO_PORT_IN8 => (1, false),
            label::X86_IO_PORT_IN16 => (2, false),
            label::X86_IO_PORT_IN32 => (4, false),
            label::X86_IO_PORT_OUT8 => (1, true),
            label::X86_IO_PORT_OUT16 => (2, true),
            label::X86_IO_PORT_OUT32 => (4, true),
            _ => return Err(Fail::error(Error::IllegalOperation)),
        };
        msg.need(if write { 2 } else { 1 }, 0)?;
        let port = msg.word(0) as u16;
        let inside = port >= first && u32::from(port) + size - 1 <= u32::from(last);
        if !inside {
            return Err(Fail::error(Error::IllegalOperation));
        }
        if write {
            self.machine.port_out(port, size as u8, msg.word(1) as u32);
            return Ok(Done::Empty);
        }
        Ok(Done::words(&[u64::from(
            self.machine.port_in(port, size as u8),
        )]))
    }

    /// The range's last capability is gone.
    pub(crate) fn ports_release(&mut self, first: u16, last: u16) {
        each_word(&mut self.ports, first, last, |word, mask| *word &= !mask);
    }
}
