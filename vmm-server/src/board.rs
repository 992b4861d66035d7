//! The devices of the guest's machine that are functions of the TSC, of the guest's accesses and of interrupt lines, at
//! the places of crate `protocol`'s `platform`.
//!
//! Always: time comes in as the host's TSC; [`Board::advance`] brings the interrupt controllers up to date with the
//! timers, and whoever changes or asks something calls it first. Left to others: every port and address that is in
//! neither table here, and the deadline of [`Board::next_event`].
//!
//! | place | model |
//! | --- | --- |
//! | 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 | PIC pair |
//! | 0x40-0x43, 0x61 | interval timer |
//! | 0x80 | POST code |
//! | 0xe0-0xe7, 0x2000-0x2017 | test device: scratch register, page flush (nothing), interrupt lines |
//! | 0x510, 0x511 | firmware configuration |
//! | 0x600-0x60b | power management |
//! | 0xcf8-0xcff, 0xcf9 | PCI configuration, reset control |
//! | APIC_BASE, 0xfee00000 at first | local APIC |
//! | 0xfec00000 | IOAPIC |
//! | 0xfed00000 | HPET |

mod interrupts;
mod memory;
mod ports;
#[cfg(test)]
mod tests;
mod timers;

use devices::fw_cfg::{FwCfg, Region};
use devices::pci::Pci;
use devices::test_device::{Lines, Scratch};
use devices::{debug_ports::PostCode, lapic::ReservedBits};
use interrupts::{Driver, Interrupts};
use timers::Timers;

/// First byte of the addresses of devices: memory beyond begins again at 4 GiB for whoever looks at a memory map.
const FOUR_GIB: u64 = 4 << 30;
/// Processors of the machine.
const PROCESSORS: u16 = 1;

/// How a guest ended its machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It switched the machine off.
    Off,
    /// It reset the machine.
    Reset,
}

/// What waits for the processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// Nothing.
    Nothing,
    /// An interrupt that no task priority holds back.
    External,
    /// An interrupt of this priority class, above the task priority.
    Ready(u8),
    /// An interrupt of this priority class, held back by the task priority.
    Held(u8),
}

/// The board.
#[derive(Clone, Debug)]
pub struct Board {
    interrupts: Interrupts,
    timers: Timers,
    post: PostCode,
    firmware: FwCfg,
    pci: Pci,
    scratch: Scratch,
    lines: Lines,
    /// Lines of the device server.
    server: u32,
    ending: Option<Ending>,
    timer_written: bool,
    count_written: bool,
}

impl Board {
    /// The board as firmware leaves it, with `memory` bytes of RAM and a TSC of `tsc_mhz` counts a microsecond that reads
    /// `now`.
    #[must_use]
    pub fn new(tsc_mhz: u32, memory: u64, now: u64) -> Self {
        let low = Region {
            base: 0,
            len: memory.min(FOUR_GIB),
        };
        let high = Region {
            base: FOUR_GIB,
            len: memory.saturating_sub(FOUR_GIB),
        };
        let regions = [low, high];
        let used = if high.len == 0 {
            &regions[..1]
        } else {
            &regions
        };
        Self {
            interrupts: Interrupts::new(),
            timers: Timers::new(tsc_mhz, now),
            post: PostCode::new(),
            firmware: FwCfg::new(used, PROCESSORS),
            pci: Pci::new(),
            scratch: Scratch::new(),
            lines: Lines::new(),
            server: 0,
            ending: None,
            // Firmware wrote one.
            timer_written: true,
            count_written: false,
        }
    }

    /// Whether a timer was written since the last question, so that [`Board::next_event`] may have changed.
    pub const fn take_timer_written(&mut self) -> bool {
        core::mem::replace(&mut self.timer_written, false)
    }

    /// Whether a count of the local APIC's timer was started since the last question.
    pub const fn take_count_written(&mut self) -> bool {
        core::mem::replace(&mut self.count_written, false)
    }

    /// Whether the guest ended an interrupt since the last question.
    pub const fn take_interrupt_ended(&mut self) -> bool {
        self.interrupts.take_ended()
    }

    /// How the guest ended its machine, if it did.
    #[must_use]
    pub const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Takes over the levels of the device server's interrupt lines.
    pub fn set_lines(&mut self, lines: u16) {
        self.server = u32::from(lines);
        self.drive_server();
    }

    fn drive_server(&mut self) {
        let mut lines = self.server & DEVICE_LINES;
        if self.timers.replace_legacy() {
            lines &= !(1 << CLOCK_IRQ);
        }
        self.interrupts.drive_all(Driver::Server, lines);
    }

    /// Tells the interrupt controllers what the timers did until `now`.
    pub fn advance(&mut self, now: u64) {
        self.timers.advance(now, &mut self.interrupts);
        // Whether the clock has a line of its own may have changed.
        self.drive_server();
    }

    /// The host TSC at which something interrupts next by itself.
    #[must_use]
    pub fn next_event(&mut self, now: u64) -> Option<u64> {
        let lapic = self.interrupts.lapic().next_event();
        self.timers.next_event(now, lapic)
    }

    /// Whether any interrupt waits; the task priority may hold it back.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.interrupts.external() || self.interrupts.lapic().requested().is_some()
    }

    /// What waits while CR8 reads as `cr8`, which is asked only if it matters.
    pub fn waiting(&mut self, cr8: impl FnOnce() -> u8) -> Waiting {
        if self.interrupts.external() {
            return Waiting::External;
        }
        let Some(vector) = self.interrupts.lapic().requested() else {
            return Waiting::Nothing;
        };
        self.set_task_priority(cr8());
        match self.interrupts.lapic().pending() {
            Some(vector) => Waiting::Ready(vector >> 4),
            None => Waiting::Held(vector >> 4),
        }
    }

    /// The processor's acknowledge cycle: the vector to take.
    pub fn acknowledge(&mut self) -> u8 {
        self.interrupts.acknowledge()
    }

    /// Whether an NMI waits.
    #[must_use]
    pub const fn nmi_waits(&self) -> bool {
        self.interrupts.lapic().nmi_pending()
    }

    /// The processor took the NMI.
    pub const fn take_nmi(&mut self) {
        self.interrupts.take_nmi();
    }

    /// Whether the local APIC is switched on.
    #[must_use]
    pub const fn has_local_apic(&self) -> bool {
        self.interrupts.lapic().enabled()
    }

    /// The task priority, as CR8 shows it.
    #[must_use]
    pub const fn task_priority(&self) -> u8 {
        self.interrupts.lapic().task_priority()
    }

    /// Says what CR8 is.
    pub fn set_task_priority(&mut self, cr8: u8) {
        self.interrupts.set_task_priority(cr8);
    }

    /// APIC_BASE.
    #[must_use]
    pub const fn apic_base(&self) -> u64 {
        self.interrupts.lapic().read_base()
    }

    /// Writes APIC_BASE on a processor with physical addresses of `width` bits.
    ///
    /// # Errors
    /// The processor raises #GP(0).
    pub fn write_apic_base(&mut self, value: u64, width: u8) -> Result<(), ReservedBits> {
        self.timer_written = true;
        self.interrupts.write_base(value, width)
    }
}

/// The clock's line, which the HPET takes in legacy replacement mode.
const CLOCK_IRQ: u8 = 8;
/// Lines that come from the device server: all but the timer's and the cascade.
const DEVICE_LINES: u32 = 0xffff & !(1 << 0 | 1 << 2);
