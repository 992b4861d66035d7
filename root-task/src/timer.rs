//! What the HPET's registers say (IA-PC HPET specification 1.0a, 2.3).

use protocol::system::Timer;

/// Physical address of the register page on every PC that has one.
pub const HPET_ADDRESS: u64 = 0xfed0_0000;
/// General capabilities: vendor, timers, period.
pub const CAPABILITIES: usize = 0;
/// Timer 0's configuration: its upper half is the set of I/O-APIC pins it can use.
pub const TIMER_0: usize = 0x100;

/// Longest period allowed, in femtoseconds.
const MAX_PERIOD: u64 = 0x05f5_e100;
/// Pin of the PIT, in the way every PC wires it, and of an HPET that can use no other.
pub const PIT_PIN: u32 = 2;
/// First pin no ISA device uses.
const FIRST_PCI_PIN: u32 = 16;

/// The timer to use, given the two registers, or `None` if there is no HPET behind them.
///
/// A pin above the ISA ones is the HPET's alone; else pin 2, which it shares with a PIT that then stays silent.
#[must_use]
pub fn choose(capabilities: u64, timer_0: u64) -> Option<Timer> {
    let period = capabilities >> 32;
    let vendor = capabilities >> 16 & 0xffff;
    if period == 0 || period > MAX_PERIOD || vendor == 0 || vendor == 0xffff {
        return None;
    }
    let pins = (timer_0 >> 32) as u32;
    let of_its_own = pins >> FIRST_PCI_PIN << FIRST_PCI_PIN;
    let pin = if of_its_own != 0 {
        of_its_own.trailing_zeros()
    } else {
        PIT_PIN
    };
    (pins >> pin & 1 != 0).then_some(Timer::Hpet { pin })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPABLE: u64 = 10_000_000 << 32 | 0x8086_a201;

    #[test]
    fn a_pin_of_its_own_is_preferred() {
        assert_eq!(
            choose(CAPABLE, 0x00ff_0104 << 32),
            Some(Timer::Hpet { pin: 16 })
        );
        assert_eq!(
            choose(CAPABLE, 0x0000_0004 << 32),
            Some(Timer::Hpet { pin: 2 })
        );
    }

    #[test]
    fn a_timer_without_a_usable_pin_is_not_used() {
        assert_eq!(choose(CAPABLE, 0x0000_0800 << 32), None);
        assert_eq!(choose(CAPABLE, 0), None);
    }

    #[test]
    fn what_reads_as_nothing_is_no_timer() {
        assert_eq!(choose(0, !0), None);
        assert_eq!(choose(!0, !0), None);
    }
}
