//! The fixed power-management registers of ACPI (ACPI specification 6.0, 4.8.3) as a PIIX4 has them: PM1 events, PM1
//! control and the 24-bit PM timer, with no second block and no general-purpose events.
//!
//! `now` is a count of [`FREQUENCY`] ticks since any fixed moment and should not run backwards. Always: timer and timer
//! status follow from what was written and from `now`; half periods that nobody watched are one status bit. The machine
//! is in ACPI mode from the start (`SCI_EN` is always set), as one whose FADT names no SMI command port.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | switches the machine off | an effect for the caller; it concerns that VM alone |
//! | guest | never clears a status bit: an interrupt without end | a level; it costs the guest's own time |
//! | guest | accesses across registers, beyond the block | byte by byte; what does not exist reads as zero |

/// Ticks a second of the PM timer.
pub const FREQUENCY: u64 = 3_579_545;
/// Bytes of the block.
pub const LEN: u16 = 12;

/// Offsets of the registers' bytes.
const STATUS: u16 = 0;
const ENABLE: u16 = 2;
const CONTROL: u16 = 4;
const TIMER: u16 = 8;

/// Bits of the timer.
const TIMER_MASK: u64 = 0xff_ffff;
/// Ticks between changes of the timer's top bit, each of which sets [`event::TIMER`].
const HALF: u64 = 1 << 23;

/// Bits of the event registers, status and enable alike.
mod event {
    pub const TIMER: u16 = 1 << 0;
    pub const GLOBAL: u16 = 1 << 5;
    pub const POWER_BUTTON: u16 = 1 << 8;
    pub const SLEEP_BUTTON: u16 = 1 << 9;
    pub const CLOCK: u16 = 1 << 10;
    /// Events that can be enabled.
    pub const ALL: u16 = TIMER | GLOBAL | POWER_BUTTON | SLEEP_BUTTON | CLOCK;
}

/// Bits of the control register.
mod control {
    pub const SCI: u16 = 1 << 0;
    pub const BUS_MASTER_RELOAD: u16 = 1 << 1;
    pub const SLEEP_TYPE: u16 = 7 << SLEEP_TYPE_SHIFT;
    pub const SLEEP_TYPE_SHIFT: u16 = 10;
    pub const SLEEP: u16 = 1 << 13;
    /// Bits that read back as written.
    pub const KEPT: u16 = BUS_MASTER_RELOAD | SLEEP_TYPE;
}

/// What the caller has to do after a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Effect {
    /// Nothing.
    None,
    /// The guest asked for the sleeping state of this type (0 to 7).
    Sleep(u8),
}

/// The block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PowerManagement {
    status: u16,
    enable: u16,
    control: u16,
    /// The tick at which the timer showed zero.
    started: u64,
    /// Half periods are settled up to here.
    settled: u64,
    /// The interrupt's level when it was last asked for.
    shown: bool,
}

impl PowerManagement {
    /// The block after reset; the timer begins at zero.
    #[must_use]
    pub const fn new(now: u64) -> Self {
        Self {
            status: 0,
            enable: 0,
            control: 0,
            started: now,
            settled: now,
            shown: false,
        }
    }

    /// Reads `size` bytes (1, 2, 4) at `offset` in the block.
    pub fn read(&mut self, offset: u16, size: u8, now: u64) -> u32 {
        self.advance(now);
        let bytes = self.image(now);
        (0..size.min(4)).fold(0, |value, byte| {
            let at = usize::from(offset) + usize::from(byte);
            value | u32::from(bytes.get(at).copied().unwrap_or(0)) << (8 * byte)
        })
    }

    /// Writes the low `size` bytes (1, 2, 4) of `value` at `offset` in the block.
    pub fn write(&mut self, offset: u16, size: u8, value: u32, now: u64) -> Effect {
        self.advance(now);
        let mut effect = Effect::None;
        for byte in 0..size.min(4) {
            let at = offset.saturating_add(u16::from(byte));
            if let Effect::Sleep(kind) = self.write_byte(at, (value >> (8 * byte)) as u8) {
                effect = Effect::Sleep(kind);
            }
        }
        effect
    }

    /// Level of the system control interrupt.
    pub fn interrupt(&mut self, now: u64) -> bool {
        self.advance(now);
        self.shown = self.asks();
        self.shown
    }

    /// The tick at which the interrupt rises by itself; `now` if it has, and nobody has asked for its level since.
    #[must_use]
    pub fn next_event(&self, now: u64) -> Option<u64> {
        if self.asks() {
            return (!self.shown).then_some(now);
        }
        if self.enable & event::TIMER == 0 {
            return None;
        }
        let halves = self.halves(self.settled).checked_add(1)?;
        let tick = self.started.checked_add(halves.checked_mul(HALF)?)?;
        Some(tick.max(now))
    }

    /// Somebody pressed the power button.
    pub const fn press_power_button(&mut self) {
        self.status |= event::POWER_BUTTON;
    }

    /// Half periods of the timer until `tick`.
    const fn halves(&self, tick: u64) -> u64 {
        tick.saturating_sub(self.started) / HALF
    }

    const fn asks(&self) -> bool {
        self.status & self.enable != 0
    }

    fn advance(&mut self, now: u64) {
        if self.halves(now) > self.halves(self.settled) {
            self.status |= event::TIMER;
        }
        self.settled = self.settled.max(now);
    }

    /// What each byte of the block shows.
    fn image(&self, now: u64) -> [u8; LEN as usize] {
        let mut bytes = [0; LEN as usize];
        let timer = (now.saturating_sub(self.started) & TIMER_MASK) as u32;
        let control = self.control | control::SCI;
        let mut put = |at: u16, value: &[u8]| {
            let at = usize::from(at);
            bytes[at..at + value.len()].copy_from_slice(value);
        };
        put(STATUS, &self.status.to_le_bytes());
        put(ENABLE, &self.enable.to_le_bytes());
        put(CONTROL, &control.to_le_bytes());
        put(TIMER, &timer.to_le_bytes());
        bytes
    }

    fn write_byte(&mut self, at: u16, value: u8) -> Effect {
        let shift = 8 * (at & 1);
        let (bits, others) = (u16::from(value) << shift, !(0xff << shift));
        match at & !1 {
            // Written ones clear.
            STATUS => self.status &= !bits,
            ENABLE => self.enable = (self.enable & others | bits) & event::ALL,
            CONTROL => {
                self.control = (self.control & others | bits) & control::KEPT;
                if bits & control::SLEEP != 0 {
                    let kind = (self.control & control::SLEEP_TYPE) >> control::SLEEP_TYPE_SHIFT;
                    return Effect::Sleep(kind as u8);
                }
            }
            _ => {}
        }
        Effect::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATUS: u16 = 0;
    const ENABLE: u16 = 2;
    const CONTROL: u16 = 4;
    const TIMER: u16 = 8;

    fn set(pm: &mut PowerManagement, offset: u16, value: u32, now: u64) {
        assert_eq!(pm.write(offset, 2, value, now), Effect::None);
    }

    #[test]
    fn the_timer_has_24_bits_as_4_8_3_3_allows() {
        let mut pm = PowerManagement::new(100);
        assert_eq!(pm.read(TIMER, 4, 100), 0);
        assert_eq!(pm.read(TIMER, 4, 100 + 0x12_3456), 0x12_3456);
        assert_eq!(pm.read(TIMER, 4, 100 + 0x5_ff12_3456), 0x12_3456);
        assert_eq!(pm.read(TIMER + 1, 2, 100 + 0x12_3456), 0x1234);
        assert_eq!(pm.write(TIMER, 4, 0, 200), Effect::None);
        assert_eq!(pm.read(TIMER, 4, 200), 100);
    }

    #[test]
    fn the_timer_status_comes_with_each_change_of_the_top_bit() {
        let mut pm = PowerManagement::new(0);
        for change in [0x80_0000, 0x100_0000, 0x180_0000] {
            assert_eq!(pm.read(STATUS, 2, change - 1), 0);
            assert_eq!(pm.read(STATUS, 2, change), 1);
            set(&mut pm, STATUS, 1, change);
        }
        pm.press_power_button();
        assert_eq!(pm.read(STATUS, 2, 1 << 40), 0x101);
    }

    #[test]
    fn the_interrupt_is_the_level_of_enabled_events() {
        let mut pm = PowerManagement::new(0);
        assert_eq!(pm.next_event(0), None);
        set(&mut pm, ENABLE, 1, 0);
        assert_eq!(pm.next_event(5), Some(HALF));
        assert!(!pm.interrupt(HALF - 1));
        assert!(pm.interrupt(HALF));
        assert_eq!(pm.next_event(HALF), None);
        set(&mut pm, STATUS, 1, HALF);
        assert!(!pm.interrupt(HALF));
        assert_eq!(pm.next_event(HALF), Some(2 * HALF));
        pm.press_power_button();
        assert!(!pm.interrupt(HALF));
        set(&mut pm, ENABLE, 1 << 8, HALF);
        assert!(pm.interrupt(HALF));
        assert_eq!(pm.write(STATUS + 1, 1, 1, HALF), Effect::None);
        assert!(!pm.interrupt(HALF));
    }

    #[test]
    fn an_interrupt_that_nobody_has_taken_over_yet_is_the_next_event() {
        let mut pm = PowerManagement::new(0);
        set(&mut pm, ENABLE, 1, 0);
        assert_eq!(pm.next_event(HALF + 3), Some(HALF + 3));
        assert_eq!(pm.read(STATUS, 2, HALF + 5), 1);
        assert_eq!(pm.next_event(HALF + 7), Some(HALF + 7));
        assert!(pm.interrupt(HALF + 9));
        assert_eq!(pm.next_event(HALF + 9), None);
        // Enabled by a write, it is due at once.
        set(&mut pm, ENABLE, 0, HALF + 10);
        assert!(!pm.interrupt(HALF + 10));
        set(&mut pm, ENABLE, 1, HALF + 11);
        assert_eq!(pm.next_event(HALF + 11), Some(HALF + 11));
    }

    #[test]
    fn the_machine_is_in_acpi_mode_and_enables_have_their_bits() {
        let mut pm = PowerManagement::new(0);
        assert_eq!(pm.read(CONTROL, 2, 0), 1);
        set(&mut pm, CONTROL, 0, 0);
        assert_eq!(pm.read(CONTROL, 2, 0), 1);
        set(&mut pm, ENABLE, 0xffff, 0);
        assert_eq!(pm.read(ENABLE, 2, 0), 0x0721);
        assert_eq!(pm.read(STATUS, 4, 0), 0x0721_0000);
    }

    #[test]
    fn sleep_enable_asks_for_the_type_and_reads_as_zero() {
        let mut pm = PowerManagement::new(0);
        set(&mut pm, CONTROL, 5 << 10, 0);
        assert_eq!(pm.read(CONTROL, 2, 0), 5 << 10 | 1);
        assert_eq!(pm.write(CONTROL, 2, 5 << 10 | 1 << 13, 0), Effect::Sleep(5));
        assert_eq!(pm.write(CONTROL, 4, 1 << 13, 0), Effect::Sleep(0));
        assert_eq!(pm.read(CONTROL, 2, 0), 1);
    }

    #[test]
    fn bytes_that_do_not_exist_read_as_zero() {
        let mut pm = PowerManagement::new(0);
        assert_eq!(pm.read(6, 2, 100), 0);
        assert_eq!(pm.read(TIMER + 2, 4, u64::MAX), 0xff);
        assert_eq!(pm.read(u16::MAX, 4, 0), 0);
        assert_eq!(pm.write(u16::MAX, 4, u32::MAX, 0), Effect::None);
    }

    proptest! {
        #[test]
        fn the_interrupt_rises_when_it_said_it_would(
            steps in proptest::collection::vec((0u16..6, any::<u16>(), 0u64..1 << 26), 0..100),
        ) {
            let (mut pm, mut now) = (PowerManagement::new(7), 7);
            for (offset, value, step) in steps {
                now += step;
                let _ = pm.write(offset & !1, 2, u32::from(value), now);
                pm.interrupt(now);
                if let Some(next) = pm.next_event(now) {
                    prop_assert!(next > now);
                    prop_assert!(!pm.clone().interrupt(next - 1));
                    prop_assert!(pm.clone().interrupt(next));
                }
            }
        }
    }
}
