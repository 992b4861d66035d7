//! A PC's keyboard controller (8042) with no keyboard and no mouse on it, and system control port A (0x92): what
//! remains is the machine's reset line, the A20 gate and a controller that answers its driver at once.
//!
//! Always: a byte sent towards a device that is not there is answered by the controller's time-out report, so that a
//! driver's probe ends without waiting. The A20 gate is remembered and shown; address line 20 itself is not masked.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | resets the machine | an effect for the caller; it concerns that VM alone |
//! | guest | command without its data byte, data without command | the awaited byte is a state; any command replaces it |
//! | guest | command bytes out of the controller's memory | five address bits, 32 bytes |
//! | guest | closes A20 to confuse address checks | the gate changes nothing but what the port shows |
//! | guest | never reads the answer | one byte is kept, the newest; nothing grows |

/// What the caller has to do after a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Effect {
    /// Nothing.
    None,
    /// The reset line was pulled.
    Reset,
}

impl Effect {
    const fn reset_if(pulled: bool) -> Self {
        if pulled { Self::Reset } else { Self::None }
    }
}

/// Status bits.
mod status {
    pub const OUTPUT_FULL: u8 = 0x01;
    pub const SYSTEM: u8 = 0x04;
    pub const COMMAND: u8 = 0x08;
    pub const NOT_INHIBITED: u8 = 0x10;
    pub const MOUSE: u8 = 0x20;
    pub const TIMEOUT: u8 = 0x40;
}

/// Bits of the controller's command byte, its memory's byte 0.
mod control {
    pub const KEYBOARD_INTERRUPT: u8 = 0x01;
    pub const MOUSE_INTERRUPT: u8 = 0x02;
    pub const KEYBOARD_OFF: u8 = 0x10;
    pub const MOUSE_OFF: u8 = 0x20;
}

/// Output port: reset line (active low) and A20 gate.
const OUTPUT_NOT_RESET: u8 = 0x01;
const OUTPUT_A20: u8 = 0x02;
/// Output port: the two interrupt lines follow the output buffer.
const OUTPUT_KEYBOARD_FULL: u8 = 0x10;
const OUTPUT_MOUSE_FULL: u8 = 0x20;
/// Answer to the self-test: passed.
const SELF_TEST_PASSED: u8 = 0x55;
/// Answer to a test of the mouse's lines: clock stuck low, so nothing is there.
const NO_MOUSE: u8 = 0x01;
/// What the controller reports when a device does not answer.
const NO_ANSWER: u8 = 0xfe;
/// Input port: keyboard not locked.
const INPUT_PORT: u8 = 0x80;

/// What the next byte written to the data register is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expect {
    Keyboard,
    Memory(u8),
    OutputPort,
    EchoKeyboard,
    EchoMouse,
    Mouse,
}

/// The controller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Controller {
    memory: [u8; 32],
    /// The output buffer with the status bits that came with it.
    output: Option<(u8, u8)>,
    /// The data register shows the last byte until the next one.
    shown: u8,
    expect: Expect,
    after_command: bool,
    tested: bool,
    a20: bool,
}

impl Default for Controller {
    fn default() -> Self {
        Self::new()
    }
}

impl Controller {
    /// The controller as firmware leaves it: tested, A20 open, keyboard interrupt off.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            memory: [0; 32],
            output: None,
            shown: 0,
            expect: Expect::Keyboard,
            after_command: false,
            tested: true,
            a20: true,
        }
    }

    /// Reads the status register.
    #[must_use]
    pub fn read_status(&self) -> u8 {
        let mut value = status::NOT_INHIBITED;
        if let Some((_, with)) = self.output {
            value |= status::OUTPUT_FULL | with;
        }
        if self.tested {
            value |= status::SYSTEM;
        }
        if self.after_command {
            value |= status::COMMAND;
        }
        value
    }

    /// Reads the data register, which empties the output buffer.
    pub fn read_data(&mut self) -> u8 {
        if let Some((byte, _)) = self.output.take() {
            self.shown = byte;
        }
        self.shown
    }

    /// Writes the data register.
    pub fn write_data(&mut self, value: u8) -> Effect {
        self.after_command = false;
        match core::mem::replace(&mut self.expect, Expect::Keyboard) {
            Expect::Keyboard => {
                // A byte for the keyboard opens its interface again.
                self.memory[0] &= !control::KEYBOARD_OFF;
                self.answer(NO_ANSWER, status::TIMEOUT);
            }
            Expect::Memory(at) => self.memory[usize::from(at & 0x1f)] = value,
            Expect::OutputPort => return self.write_output_port(value),
            Expect::EchoKeyboard => self.answer(value, 0),
            // Without the status bit of the mouse: the loop is not there, as on a controller without that interface.
            Expect::EchoMouse => self.answer(value, 0),
            Expect::Mouse => self.answer(NO_ANSWER, status::TIMEOUT | status::MOUSE),
        }
        Effect::None
    }

    /// Writes the command register.
    pub fn write_command(&mut self, value: u8) -> Effect {
        self.after_command = true;
        self.expect = Expect::Keyboard;
        match value {
            0x20..=0x3f => self.answer(self.memory[usize::from(value & 0x1f)], 0),
            0x60..=0x7f => self.expect = Expect::Memory(value & 0x1f),
            0xa7 => self.memory[0] |= control::MOUSE_OFF,
            0xa8 => self.memory[0] &= !control::MOUSE_OFF,
            0xa9 => self.answer(NO_MOUSE, 0),
            0xaa => {
                self.tested = true;
                self.answer(SELF_TEST_PASSED, 0);
            }
            0xab => self.answer(0, 0),
            0xad => self.memory[0] |= control::KEYBOARD_OFF,
            0xae => self.memory[0] &= !control::KEYBOARD_OFF,
            0xc0 => self.answer(INPUT_PORT, 0),
            0xd0 => self.answer(self.output_port(), 0),
            0xd1 => self.expect = Expect::OutputPort,
            0xd2 => self.expect = Expect::EchoKeyboard,
            0xd3 => self.expect = Expect::EchoMouse,
            0xd4 => self.expect = Expect::Mouse,
            0xdd => self.a20 = false,
            0xdf => self.a20 = true,
            0xe0 => self.answer(0, 0),
            // Pulses the output lines whose bit is clear; bit 0 is the reset line.
            0xf0..=0xff => return Effect::reset_if(value & OUTPUT_NOT_RESET == 0),
            _ => {}
        }
        Effect::None
    }

    /// Reads system control port A.
    #[must_use]
    pub const fn read_port_a(&self) -> u8 {
        if self.a20 { OUTPUT_A20 } else { 0 }
    }

    /// Writes system control port A: bit 1 opens A20, bit 0 pulls the reset line.
    pub fn write_port_a(&mut self, value: u8) -> Effect {
        self.a20 = value & OUTPUT_A20 != 0;
        Effect::reset_if(value & 1 != 0)
    }

    /// Whether the A20 gate is open.
    #[must_use]
    pub const fn a20(&self) -> bool {
        self.a20
    }

    /// Level of the keyboard's interrupt line (IRQ 1 on a PC).
    #[must_use]
    pub fn keyboard_interrupt(&self) -> bool {
        self.full(false) && self.memory[0] & control::KEYBOARD_INTERRUPT != 0
    }

    /// Level of the mouse's interrupt line (IRQ 12 on a PC).
    #[must_use]
    pub fn mouse_interrupt(&self) -> bool {
        self.full(true) && self.memory[0] & control::MOUSE_INTERRUPT != 0
    }

    fn full(&self, mouse: bool) -> bool {
        self.output
            .is_some_and(|(_, with)| (with & status::MOUSE != 0) == mouse)
    }

    fn answer(&mut self, byte: u8, with: u8) {
        self.output = Some((byte, with));
    }

    fn output_port(&self) -> u8 {
        let mut value = OUTPUT_NOT_RESET;
        if self.a20 {
            value |= OUTPUT_A20;
        }
        if self.keyboard_interrupt() {
            value |= OUTPUT_KEYBOARD_FULL;
        }
        if self.mouse_interrupt() {
            value |= OUTPUT_MOUSE_FULL;
        }
        value
    }

    fn write_output_port(&mut self, value: u8) -> Effect {
        self.a20 = value & OUTPUT_A20 != 0;
        Effect::reset_if(value & OUTPUT_NOT_RESET == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn command(controller: &mut Controller, value: u8) -> u8 {
        assert_eq!(controller.write_command(value), Effect::None);
        assert_ne!(controller.read_status() & status::OUTPUT_FULL, 0);
        let answer = controller.read_data();
        assert_eq!(controller.read_status() & status::OUTPUT_FULL, 0);
        answer
    }

    #[test]
    fn the_reset_pulse_resets_and_other_pulses_do_not() {
        let mut controller = Controller::new();
        assert_eq!(controller.write_command(0xfe), Effect::Reset);
        assert_eq!(controller.write_command(0xff), Effect::None);
        assert_eq!(controller.write_port_a(0x02), Effect::None);
        assert_eq!(controller.write_port_a(0x03), Effect::Reset);
    }

    #[test]
    fn the_output_port_drives_reset_and_a20() {
        let mut controller = Controller::new();
        assert_eq!(command(&mut controller, 0xd0), 0x03);
        assert_eq!(controller.write_command(0xd1), Effect::None);
        assert_eq!(controller.write_data(0x01), Effect::None);
        assert!(!controller.a20());
        assert_eq!(controller.read_port_a(), 0);
        assert_eq!(controller.write_command(0xd1), Effect::None);
        assert_eq!(controller.write_data(0x02), Effect::Reset);
    }

    #[test]
    fn a_probe_finds_a_controller_and_no_device() {
        let mut controller = Controller::new();
        assert_eq!(controller.read_status() & status::OUTPUT_FULL, 0);
        assert_eq!(command(&mut controller, 0xaa), 0x55);
        assert_eq!(controller.write_command(0x60), Effect::None);
        assert_eq!(controller.write_data(0x41), Effect::None);
        assert_eq!(command(&mut controller, 0x20), 0x41);
        assert_eq!(controller.write_command(0xd3), Effect::None);
        assert_eq!(controller.write_data(0x5a), Effect::None);
        assert_eq!(
            controller.read_status() & (status::OUTPUT_FULL | status::MOUSE),
            status::OUTPUT_FULL
        );
        assert_eq!(controller.read_data(), 0x5a);
        assert_ne!(command(&mut controller, 0xa9), 0);
        assert_eq!(controller.write_data(0xf2), Effect::None);
        assert!(controller.keyboard_interrupt());
        assert_ne!(controller.read_status() & status::TIMEOUT, 0);
        assert_eq!(controller.read_data(), 0xfe);
        assert!(!controller.keyboard_interrupt());
    }

    proptest! {
        #[test]
        fn only_the_documented_writes_reset(accesses in proptest::collection::vec((0u8..5, any::<u8>()), 0..200)) {
            let mut controller = Controller::new();
            let mut awaits_port = false;
            for (what, value) in accesses {
                let (effect, expected) = match what {
                    0 => { controller.read_data(); continue }
                    1 => { let _ = controller.read_status(); continue }
                    2 => (controller.write_data(value), awaits_port && value & 1 == 0),
                    3 => (controller.write_command(value), value >= 0xf0 && value & 1 == 0),
                    _ => {
                        prop_assert_eq!(controller.write_port_a(value) == Effect::Reset, value & 1 != 0);
                        continue;
                    }
                };
                awaits_port = what == 3 && value == 0xd1;
                prop_assert_eq!(effect == Effect::Reset, expected);
                prop_assert!(!(controller.keyboard_interrupt() && controller.mouse_interrupt()));
            }
        }
    }
}
