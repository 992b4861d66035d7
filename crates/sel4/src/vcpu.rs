//! The virtual processor: Umbra's own object, bound to a thread whose exits are fault messages (crate `exit-abi`).
//!
//! Which methods a capability allows is a matter of its rights: `RUN`, `READ` and `PAGING` of
//! [`sys::label::vcpu_right`](crate::sys::label::vcpu_right).

use crate::{InvocationContext, Result, Word, cap, sys::label};
use exit_abi::Mask;

/// Longest x86 instruction.
pub const MAX_INSTRUCTION: usize = 15;

impl<C: InvocationContext> cap::VCpu<C> {
    /// Makes `tcb` this processor's thread.
    pub fn bind_tcb(self, tcb: cap::Tcb) -> Result<()> {
        self.invoke(label::VCPU_BIND_TCB, &[tcb.bits()], &[])
            .map(drop)
    }
    /// Makes this processor run under nested paging, on a guest-physical space; for good, and not if it has a shadow pool or
    /// the machine no nested paging.
    pub fn set_nested(self, space: cap::GuestPml4) -> Result<()> {
        self.invoke(label::VCPU_SET_NESTED, &[space.bits()], &[])
            .map(drop)
    }
    /// Reads registers into `values`, ascending. There is room for all of them, or the rest is cut off.
    pub fn read_registers(self, mask: Mask, values: &mut [Word]) -> Result<()> {
        self.invoke_into(label::VCPU_READ_REGISTERS, &[], &[mask.0], values)
            .map(drop)
    }
    /// Reads one register.
    pub fn read_register(self, register: exit_abi::Register) -> Result<Word> {
        self.invoke(label::VCPU_READ_REGISTERS, &[], &[register.bit()])
            .map(|words| words[0])
    }
    /// Writes registers, ascending.
    ///
    /// # Panics
    ///
    /// If there is not one value for each register of the mask.
    pub fn write_registers(self, mask: Mask, values: &[Word]) -> Result<()> {
        assert_eq!(mask.len(), values.len(), "one value a register");
        let mut words = [0; 1 + Word::BITS as usize];
        words[0] = mask.0;
        words[1..=values.len()].copy_from_slice(values);
        self.invoke(label::VCPU_WRITE_REGISTERS, &[], &words[..=values.len()])
            .map(drop)
    }
    /// Asks for an exit as soon as the guest can take an interrupt, while it runs.
    pub fn request_window(self) -> Result<()> {
        self.invoke(label::VCPU_REQUEST_WINDOW, &[], &[]).map(drop)
    }
    /// The same for an interrupt of priority class `class` (1 to 15): only while the guest's CR8 is below it.
    pub fn request_window_for(self, class: u8) -> Result<()> {
        let word = Word::from(class & 15) << 4;
        self.invoke(label::VCPU_REQUEST_WINDOW, &[], &[word])
            .map(drop)
    }
    /// The bytes at the guest's instruction pointer, as many as the shadow shows.
    pub fn fetch_instruction(self) -> Result<([u8; MAX_INSTRUCTION], usize)> {
        let [count, low, high, _] = self.invoke(label::VCPU_FETCH_INSTRUCTION, &[], &[])?;
        let mut bytes = [0; MAX_INSTRUCTION];
        bytes[..8].copy_from_slice(&low.to_le_bytes());
        bytes[8..].copy_from_slice(&high.to_le_bytes()[..MAX_INSTRUCTION - 8]);
        Ok((bytes, (count as usize).min(MAX_INSTRUCTION)))
    }
    /// Reads the kernel's counters of this processor; the result is how many there are or fit.
    pub fn read_counters(self, counters: &mut [Word]) -> Result<usize> {
        self.invoke_into(label::VCPU_READ_COUNTERS, &[], &[], counters)
    }
    /// Lets the processor run.
    pub fn run(self) -> Result<()> {
        self.invoke(label::VCPU_RUN, &[], &[]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocations::recorder::record;
    use exit_abi::Register;

    #[test]
    fn registers_are_written_as_a_mask_and_values() {
        let calls = record(0, &[], || {
            let mask = Mask::default().with(Register::Rip).with(Register::Rax);
            cap::VCpu::from_bits(5)
                .write_registers(mask, &[1, 0x1000])
                .unwrap();
        });
        assert_eq!(
            calls,
            [(5, 0x101 + 1, vec![], vec![1 << 16 | 1, 1, 0x1000])]
        );
    }

    #[test]
    fn more_registers_than_four_are_read_through_the_buffer() {
        record(0, &(1..=16).collect::<Vec<_>>(), || {
            let mut values = [0; 16];
            cap::VCpu::from_bits(5)
                .read_registers(Mask::GPRS, &mut values)
                .unwrap();
            assert_eq!(values[..], (1..=16).collect::<Vec<_>>());
        });
    }

    #[test]
    fn instruction_bytes_come_little_endian() {
        record(0, &[9, 0x0807_0605_0403_0201, 0x09], || {
            let (bytes, count) = cap::VCpu::from_bits(5).fetch_instruction().unwrap();
            assert_eq!(bytes[..count], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        });
    }
}
