//! The way of an interrupt: from a device's line through the PIC pair and the IOAPIC to the local APIC and the processor.
//!
//! Every line leads to both controllers, as on a PC; which of them answers is the guest's setting. The PIC pair's output
//! is the local APIC's first pin and, by virtual wire or with the local APIC switched off, the processor's own.

use devices::ioapic::IoApic;
use devices::lapic::{Effect, LocalApic, ReservedBits};
use devices::message::Message;
use devices::pic::{PicPair, Register};
use protocol::platform::{IOAPIC_ID, IOAPIC_PINS, TIMER_PIN};

/// The processor's local APIC identifier.
const LOCAL_APIC_ID: u8 = 0;
/// The interval timer's line.
const TIMER_IRQ: u8 = 0;
/// The line between the two PICs: no device's.
const CASCADE_IRQ: u8 = 2;
/// Lines the PIC pair has.
const PIC_LINES: u8 = 16;

/// Who drives a line. Lines with several drivers are high when one of them is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(super) enum Driver {
    /// The device server's models.
    Server,
    /// The interval timer.
    Pit,
    /// The HPET.
    Hpet,
    /// Power management.
    Power,
    /// The test device.
    Test,
}

/// Number of drivers.
const DRIVERS: usize = 5;

/// The controllers and the lines that lead to them.
#[derive(Clone, Debug)]
pub(super) struct Interrupts {
    pic: PicPair,
    ioapic: IoApic,
    lapic: LocalApic,
    /// Lines by who drives them, bit n = line n.
    driven: [u32; DRIVERS],
    ended: bool,
}

impl Interrupts {
    /// As firmware leaves them: in virtual wire mode, and no line open but the interval timer's, whose output is high.
    pub(super) fn new() -> Self {
        let mut interrupts = Self {
            pic: PicPair::new(),
            ioapic: IoApic::new(IOAPIC_ID),
            lapic: LocalApic::after_firmware(LOCAL_APIC_ID),
            driven: [0; DRIVERS],
            ended: false,
        };
        interrupts.drive(Driver::Pit, TIMER_IRQ, true);
        initialise(&mut interrupts.pic);
        interrupts.pic_changed();
        interrupts
    }

    fn levels(&self) -> u32 {
        self.driven.iter().fold(0, |all, driven| all | driven)
    }

    /// Sets the level of `irq` as `driver` drives it.
    pub(super) fn drive(&mut self, driver: Driver, irq: u8, high: bool) {
        if irq >= IOAPIC_PINS {
            return;
        }
        let before = self.levels();
        let lines = &mut self.driven[driver as usize];
        let bit = 1 << irq;
        *lines = if high { *lines | bit } else { *lines & !bit };
        let after = self.levels();
        if before != after {
            self.line_changed(irq, after);
        }
    }

    /// Sets the levels of all lines as `driver` drives them.
    pub(super) fn drive_all(&mut self, driver: Driver, lines: u32) {
        let mut changed = lines ^ self.driven[driver as usize];
        while changed != 0 {
            let irq = changed.trailing_zeros() as u8;
            changed &= changed - 1;
            self.drive(driver, irq, lines >> irq & 1 != 0);
        }
    }

    /// A rising edge on the line of `irq`, which stays high: an edge that falls again before it is acknowledged is none to
    /// the PICs (8259A data sheet, interrupt request register).
    pub(super) fn edge(&mut self, driver: Driver, irq: u8) {
        self.drive(driver, irq, false);
        self.drive(driver, irq, true);
    }

    fn line_changed(&mut self, irq: u8, levels: u32) {
        let high = levels >> irq & 1 != 0;
        if irq < PIC_LINES && irq != CASCADE_IRQ {
            self.pic.set_line(irq, high);
            self.pic_changed();
        }
        let (pin, high) = if irq == TIMER_IRQ || irq == TIMER_PIN {
            (TIMER_PIN, levels & (1 << TIMER_IRQ | 1 << TIMER_PIN) != 0)
        } else {
            (irq, high)
        };
        let message = self.ioapic.set_line(pin, high);
        self.deliver(message);
    }

    fn pic_changed(&mut self) {
        self.lapic.set_lint0(self.pic.pending());
    }

    fn deliver(&mut self, message: Option<Message>) {
        if let Some(message) = message {
            self.lapic.receive(message);
        }
    }

    pub(super) fn read_pic(&mut self, register: Register) -> u8 {
        let value = self.pic.read(register);
        self.pic_changed();
        value
    }

    pub(super) fn write_pic(&mut self, register: Register, value: u8) {
        self.pic.write(register, value);
        self.pic_changed();
        // OCW2 of the master with an end-of-interrupt command (8259A data sheet, OCW2).
        self.ended |= matches!(register, Register::MasterCommand) && value & 0x38 == 0x20;
    }

    pub(super) fn read_ioapic(&self, offset: u16, size: u8) -> u32 {
        self.ioapic.read(offset, size)
    }

    pub(super) fn write_ioapic(&mut self, offset: u16, size: u8, value: u32) {
        let message = self.ioapic.write(offset, size, value);
        self.deliver(message);
    }

    /// Reads the local APIC's page; `now` in ticks of its timer.
    pub(super) fn read_lapic(&mut self, offset: u16, size: u8, now: u64) -> u64 {
        self.lapic.read(offset, size, now)
    }

    /// Writes the local APIC's page; the result says whether the guest sent its own processor an INIT.
    pub(super) fn write_lapic(&mut self, offset: u16, size: u8, value: u64, now: u64) -> bool {
        match self.lapic.write(offset, size, value, now) {
            Effect::None => {}
            Effect::Ended(level) => {
                self.ended = true;
                if let Some(vector) = level {
                    let lapic = &mut self.lapic;
                    self.ioapic.end(vector, |message| {
                        lapic.receive(message);
                    });
                }
            }
            Effect::Init => return true,
        }
        false
    }

    pub(super) const fn lapic(&self) -> &LocalApic {
        &self.lapic
    }

    pub(super) fn write_base(&mut self, value: u64, width: u8) -> Result<(), ReservedBits> {
        let result = self.lapic.write_base(value, u32::from(width));
        self.pic_changed();
        result
    }

    /// Tells the local APIC what CR8 is; of the task priority's low half CR8 knows nothing.
    pub(super) fn set_task_priority(&mut self, cr8: u8) {
        if self.lapic.task_priority() != cr8 {
            self.lapic.set_task_priority(cr8);
        }
    }

    pub(super) fn advance(&mut self, now: u64) {
        self.lapic.advance(now);
    }

    pub(super) const fn take_nmi(&mut self) {
        self.lapic.take_nmi();
    }

    /// Whether the PIC pair asks for the processor and its request gets there.
    pub(super) fn external(&self) -> bool {
        self.lapic.passes_external() && self.pic.pending()
    }

    /// The processor's acknowledge cycle: the vector to take.
    pub(super) fn acknowledge(&mut self) -> u8 {
        if self.external() {
            self.lapic.external_taken();
            let vector = self.pic.acknowledge();
            // The output falls with the acknowledge and rises anew for whatever asks next (8259A data sheet, interrupt
            // sequence).
            self.lapic.set_lint0(false);
            self.pic_changed();
            vector
        } else {
            self.lapic.acknowledge()
        }
    }

    /// Whether the guest ended an interrupt since the last question.
    pub(super) const fn take_ended(&mut self) -> bool {
        core::mem::replace(&mut self.ended, false)
    }
}

/// Puts the PIC pair at the vectors a BIOS gives it. Of its lines the interval timer's is open, by which a BIOS counts the time
/// of day, and that between the two; a program that waits for any interrupt (STI, HLT) goes on with the next tick.
fn initialise(pic: &mut PicPair) {
    const OPEN: u8 = 1 << TIMER_IRQ | 1 << CASCADE_IRQ;
    let master = [0x11, 0x08, 1 << CASCADE_IRQ, 1, !OPEN];
    let slave = [0x11, 0x70, CASCADE_IRQ, 1, 0xff];
    for (command, data, words) in [
        (Register::MasterCommand, Register::MasterData, master),
        (Register::SlaveCommand, Register::SlaveData, slave),
    ] {
        let [first, rest @ ..] = words;
        pic.write(command, first);
        for word in rest {
            pic.write(data, word);
        }
    }
}
