//! Debug registers: which one an instruction means, what a write leaves in it, and which breakpoints an access carried
//! out in the guest's stead meets (APM vol. 2, 13.1.1).

use crate::control::Control;
use exit_abi::Register;
use words::x86::{cr4, dr7};

/// Why an access faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// DR4, DR5 with CR4.DE, or no such register: #UD.
    Undefined,
    /// Upper half of DR6 or DR7 set: #GP(0).
    GeneralProtection,
}

/// DR6 bits that always read 1.
const DR6_ONES: u64 = 0xffff_0ff0;
/// DR6 bits that can be written: B0..B3, BD, BS, BT.
const DR6_WRITABLE: u64 = 0xe00f;
/// DR7 bit 10 always reads 1.
const DR7_ONES: u64 = 1 << 10;
/// DR7 bits that can be written: enables, GD, and the four condition fields.
const DR7_WRITABLE: u64 = 0xffff_23ff;

/// DR6 bits 3..0: which breakpoints matched.
const DR6_MATCHES: u64 = 0xf;
/// DR6 bit 13, BD: a debug register was about to be accessed.
const DR6_ACCESS: u64 = 1 << 13;
/// DR6 bit 14, BS: a single step.
const DR6_SINGLE_STEP: u64 = 1 << 14;

/// The conditions of one debug exception.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Conditions {
    /// Which breakpoints matched, bit n = breakpoint n.
    pub matches: u8,
    /// A debug register was about to be accessed under DR7.GD.
    pub access: bool,
    /// An instruction ended with RFLAGS.TF set.
    pub step: bool,
}

impl Conditions {
    /// Whether there is any.
    #[must_use]
    pub const fn any(self) -> bool {
        self.matches != 0 || self.access || self.step
    }

    /// What DR6 shows afterwards. The matches are those of this exception; the other bits join what nobody has cleared
    /// (APM vol. 2, 13.1.1.3).
    #[must_use]
    pub const fn status(self, dr6: u64) -> u64 {
        let mut status = dr6 & DR6_WRITABLE & !DR6_MATCHES | DR6_ONES;
        status |= self.matches as u64 & DR6_MATCHES;
        if self.access {
            status |= DR6_ACCESS;
        }
        if self.step {
            status |= DR6_SINGLE_STEP;
        }
        status
    }
}

/// Whether an access to a debug register raises #DB instead.
#[must_use]
pub const fn is_guarded(control: u64) -> bool {
    control & dr7::GENERAL_DETECT != 0
}

/// What DR7 is when the handler of #DB begins: general detection is off, so that the handler can use the registers.
#[must_use]
pub const fn entering(control: u64) -> u64 {
    control & !dr7::GENERAL_DETECT
}

/// Whether any breakpoint is enabled.
#[must_use]
pub const fn is_armed(control: u64) -> bool {
    control & dr7::ENABLED != 0
}

/// What an instruction touches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touch {
    /// Memory that it reads.
    Read,
    /// Memory that it writes.
    Write,
    /// A port.
    Port,
}

/// The four breakpoints with their control.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Breakpoints {
    /// DR0 to DR3.
    pub addresses: [u64; 4],
    /// DR7.
    pub control: u64,
    /// CR4.DE: breakpoints can stand on ports.
    pub extensions: bool,
}

impl Breakpoints {
    /// Which breakpoints `length` bytes at `address` meet, bit n = breakpoint n. Execution breakpoints are the
    /// processor's own affair: they come before the instruction.
    #[must_use]
    pub fn met(&self, touch: Touch, address: u64, length: u64) -> u8 {
        (0..4u8)
            .zip(self.addresses)
            .filter(|&(number, breakpoint)| {
                self.control >> (2 * number) & 3 != 0
                    && self.is_for(number, touch)
                    && overlap(breakpoint, self.length(number), address, length)
            })
            .fold(0, |met, (number, _)| met | 1 << number)
    }

    /// The field R/W: 0 execution, 1 writes, 2 ports, 3 reads and writes.
    const fn is_for(&self, number: u8, touch: Touch) -> bool {
        match (self.control >> (16 + 4 * number) & 3, touch) {
            (1 | 3, Touch::Write) | (3, Touch::Read) => true,
            (2, Touch::Port) => self.extensions,
            _ => false,
        }
    }

    /// The field LEN: 0 one byte, 1 two, 2 eight, 3 four.
    const fn length(&self, number: u8) -> u64 {
        match self.control >> (18 + 4 * number) & 3 {
            0 => 1,
            1 => 2,
            2 => 8,
            _ => 4,
        }
    }
}

/// Whether the bytes of an access meet those of a breakpoint, whose address the processor aligns to its length.
const fn overlap(breakpoint: u64, size: u64, address: u64, length: u64) -> bool {
    let first = breakpoint & !(size - 1);
    // Distances wrap, so that an access over the end of the address space meets a breakpoint at 0.
    address.wrapping_sub(first) < size || first.wrapping_sub(address) < length
}

/// The register that MOV DR`number` means.
///
/// # Errors
/// [`Fault::Undefined`] for DR4 and DR5 under CR4.DE and for DR8..DR15.
pub const fn register(number: u8, control: &Control) -> Result<Register, Fault> {
    let extensions = control.cr4 & cr4::DE != 0;
    Ok(match number {
        0 => Register::Dr0,
        1 => Register::Dr1,
        2 => Register::Dr2,
        3 => Register::Dr3,
        4 if !extensions => Register::Dr6,
        5 if !extensions => Register::Dr7,
        6 => Register::Dr6,
        7 => Register::Dr7,
        _ => return Err(Fault::Undefined),
    })
}

/// What a write of `value` leaves in `register`.
///
/// # Errors
/// [`Fault::GeneralProtection`] for a DR6 or DR7 with its upper half set.
pub const fn written(register: Register, value: u64, control: &Control) -> Result<u64, Fault> {
    let value = if control.is_long() {
        value
    } else {
        value & 0xffff_ffff
    };
    let upper = value >> 32 != 0;
    match register {
        Register::Dr6 | Register::Dr7 if upper => Err(Fault::GeneralProtection),
        Register::Dr6 => Ok(value & DR6_WRITABLE | DR6_ONES),
        Register::Dr7 => Ok(value & DR7_WRITABLE | DR7_ONES),
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use words::x86::efer;

    const LONG: Control = Control {
        cr0: 0,
        cr3: 0,
        cr4: 0,
        efer: efer::LMA,
    };
    const EXTENSIONS: Control = Control {
        cr4: cr4::DE,
        ..LONG
    };

    #[test]
    fn dr4_and_dr5_are_aliases_unless_debugging_extensions_are_on() {
        assert_eq!(register(4, &LONG), Ok(Register::Dr6));
        assert_eq!(register(5, &LONG), Ok(Register::Dr7));
        assert_eq!(register(4, &EXTENSIONS), Err(Fault::Undefined));
        assert_eq!(register(8, &LONG), Err(Fault::Undefined));
    }

    #[test]
    fn conditions_join_those_nobody_cleared_and_matches_replace_the_last_ones() {
        let step = Conditions {
            step: true,
            ..Conditions::default()
        };
        assert_eq!(step.status(0xffff_0ff0), 0xffff_4ff0);
        assert_eq!(step.status(0xffff_2ff1), 0xffff_6ff0);
        let second = Conditions {
            matches: 1 << 2,
            ..Conditions::default()
        };
        assert_eq!(second.status(0xffff_4ff2), 0xffff_4ff4);
        let access = Conditions {
            access: true,
            ..Conditions::default()
        };
        assert_eq!(access.status(0), 0xffff_2ff0);
        assert!(step.any() && second.any() && access.any() && !Conditions::default().any());
    }

    #[test]
    fn general_detection_guards_until_the_handler_begins() {
        assert!(is_guarded(0x2400) && !is_guarded(0x400));
        assert_eq!(entering(0x2403), 0x403);
        assert!(is_armed(2) && !is_armed(0x2400));
    }

    /// Breakpoint 1 at 0x1000 with these fields R/W and LEN.
    fn one(kind: u64, length: u64) -> Breakpoints {
        Breakpoints {
            addresses: [0, 0x1002, 0, 0],
            control: 1 << 2 | kind << 20 | length << 22,
            extensions: true,
        }
    }

    #[test]
    fn a_breakpoint_meets_what_overlaps_its_aligned_bytes() {
        let four = one(1, 3);
        assert_eq!(four.met(Touch::Write, 0x1003, 1), 2);
        assert_eq!(four.met(Touch::Write, 0xffe, 4), 2);
        assert_eq!(four.met(Touch::Write, 0xffc, 4), 0);
        assert_eq!(four.met(Touch::Write, 0x1004, 4), 0);
        assert_eq!(one(1, 0).met(Touch::Write, 0x1000, 2), 0);
        assert_eq!(one(1, 0).met(Touch::Write, 0x1000, 4), 2);
        assert_eq!(one(1, 2).met(Touch::Write, 0x1007, 1), 2);
        let low = Breakpoints {
            addresses: [0, 0, 0, 0],
            ..one(1, 0)
        };
        assert_eq!(low.met(Touch::Write, !0, 2), 2);
    }

    #[test]
    fn a_breakpoint_meets_only_its_kind_of_access() {
        assert_eq!(one(1, 0).met(Touch::Read, 0x1002, 1), 0);
        assert_eq!(one(3, 0).met(Touch::Read, 0x1002, 1), 2);
        assert_eq!(one(0, 0).met(Touch::Read, 0x1002, 1), 0);
        assert_eq!(one(2, 0).met(Touch::Port, 0x1002, 1), 2);
        assert_eq!(one(2, 0).met(Touch::Write, 0x1002, 1), 0);
        let plain = Breakpoints {
            extensions: false,
            ..one(2, 0)
        };
        assert_eq!(plain.met(Touch::Port, 0x1002, 1), 0);
        let disabled = Breakpoints {
            control: one(3, 0).control & !0xff,
            ..one(3, 0)
        };
        assert_eq!(disabled.met(Touch::Read, 0x1002, 1), 0);
    }

    #[test]
    fn fixed_bits_stay_fixed() {
        assert_eq!(written(Register::Dr6, 0, &LONG), Ok(0xffff_0ff0));
        assert_eq!(written(Register::Dr7, 0xffff_ffff, &LONG), Ok(0xffff_27ff));
        assert_eq!(written(Register::Dr0, !0, &LONG), Ok(!0));
    }

    #[test]
    fn the_upper_half_of_the_status_and_control_registers_is_refused() {
        let refused = Err(Fault::GeneralProtection);
        assert_eq!(written(Register::Dr7, 1 << 32, &LONG), refused);
        assert_eq!(
            written(Register::Dr7, 1 << 32, &Control::default()),
            Ok(DR7_ONES)
        );
    }
}
