//! Debug registers: which one an instruction means, and what a write leaves in it (APM vol. 2, 13.1.1).

use crate::control::Control;
use exit_abi::Register;
use words::x86::cr4;

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

/// DR6 bit 14, BS: a single step.
const DR6_SINGLE_STEP: u64 = 1 << 14;

/// What DR6 shows after a single step: the bit joins those that nobody has cleared (APM vol. 2, 13.1.1.3).
#[must_use]
pub const fn stepped(dr6: u64) -> u64 {
    dr6 & DR6_WRITABLE | DR6_ONES | DR6_SINGLE_STEP
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
    fn a_single_step_joins_the_conditions_nobody_cleared() {
        assert_eq!(stepped(0xffff_0ff0), 0xffff_4ff0);
        assert_eq!(stepped(0xffff_0ff1), 0xffff_4ff1);
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
