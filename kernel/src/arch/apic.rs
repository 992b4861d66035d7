//! The interrupt controllers: the local APIC through its registers in memory, IOAPICs, and the old pair of 8259s, silenced.
#![allow(unsafe_code)] // Device registers.

use kernel::machine::{IrqRoute, Region};
use words::Hpa;
use words::x86::msr;

use super::acpi::{Acpi, MAX_IOAPICS};
use super::layout::{self, PAGE};
use super::{cpu, segments};

/// The kernel's timer interrupt.
pub const TIMER_VECTOR: u8 = 157;

/// IA32_TSC_DEADLINE.
const TSC_DEADLINE: u32 = 0x6e0;
// Bits of the APIC base register (APM vol. 2, 16.3.1 and 16.9).
const X2APIC_ENABLED: u64 = 1 << 10;
const APIC_ENABLED: u64 = 1 << 11;
/// An entry of a local vector table or of an IOAPIC that does not interrupt.
const MASKED: u32 = 1 << 16;
/// Timer entry: deadline mode.
const DEADLINE_MODE: u32 = 2 << 17;

/// Offsets of the local APIC's registers (APM vol. 2, table 16-2).
mod local {
    pub const ID: u64 = 0x20;
    pub const TASK_PRIORITY: u64 = 0x80;
    pub const END_OF_INTERRUPT: u64 = 0xb0;
    pub const SPURIOUS: u64 = 0xf0;
    pub const IN_SERVICE: u64 = 0x100;
    pub const REQUESTED: u64 = 0x200;
    pub const TIMER: u64 = 0x320;
    pub const THERMAL: u64 = 0x330;
    pub const PERFORMANCE: u64 = 0x340;
    pub const LINT0: u64 = 0x350;
    pub const LINT1: u64 = 0x360;
    pub const ERROR: u64 = 0x370;
    pub const VERSION: u64 = 0x30;
    pub const INITIAL_COUNT: u64 = 0x380;
    pub const CURRENT_COUNT: u64 = 0x390;
    pub const DIVIDE: u64 = 0x3e0;
}

/// Why the local APIC cannot be used.
#[derive(Debug)]
pub struct InX2ApicMode;

/// The local APIC.
pub struct LocalApic {
    base: Hpa,
    /// The timer fires at a TSC value by itself.
    deadline_mode: bool,
}

impl LocalApic {
    /// Enables the local APIC with every source masked.
    pub fn enable(acpi: &Acpi) -> Result<Self, InX2ApicMode> {
        let base = cpu::read_msr(msr::APIC_BASE);
        if base & X2APIC_ENABLED != 0 {
            return Err(InX2ApicMode);
        }
        // SAFETY: every long-mode processor has the register; the address stays.
        unsafe { cpu::write_msr(msr::APIC_BASE, base | APIC_ENABLED) };
        let apic = Self {
            base: Hpa::new(acpi.local_apic),
            deadline_mode: cpu::cpuid(1, 0).ecx & 1 << 24 != 0,
        };
        apic.write(local::SPURIOUS, 0x100 | u32::from(segments::SPURIOUS));
        apic.write(local::TASK_PRIORITY, 0);
        for entry in [local::TIMER, local::LINT0, local::LINT1, local::ERROR] {
            apic.write(entry, MASKED);
        }
        // The number of entries, less one, tells whether these two exist.
        let last_entry = apic.read(local::VERSION) >> 16 & 0xff;
        if last_entry >= 4 {
            apic.write(local::PERFORMANCE, MASKED);
        }
        if last_entry >= 5 {
            apic.write(local::THERMAL, MASKED);
        }
        apic.write(local::DIVIDE, 0b1011);
        Ok(apic)
    }

    fn register(&self, offset: u64) -> *mut u32 {
        layout::window(self.base.wrapping_add(offset))
    }
    fn read(&self, offset: u64) -> u32 {
        // SAFETY: the register page is mapped, by the boot tables and by the final ones.
        unsafe { self.register(offset).read_volatile() }
    }
    fn write(&self, offset: u64, value: u32) {
        // SAFETY: as above; the local APIC does not write memory.
        unsafe { self.register(offset).write_volatile(value) };
    }

    /// The number interrupts are addressed to.
    fn id(&self) -> u32 {
        self.read(local::ID) >> 24
    }

    /// Whether the timer takes TSC values.
    pub fn has_deadline_mode(&self) -> bool {
        self.deadline_mode
    }

    /// Lets the timer count down from its maximum, silently, to be measured.
    pub fn start_measurement(&self) {
        self.write(local::TIMER, MASKED);
        self.write(local::INITIAL_COUNT, u32::MAX);
    }
    /// Ticks since [`start_measurement`](Self::start_measurement).
    pub fn measured(&self) -> u32 {
        u32::MAX - self.read(local::CURRENT_COUNT)
    }
    /// Ends the measurement; the timer's vector is set up, nothing is programmed.
    pub fn end_measurement(&self) {
        self.write(local::INITIAL_COUNT, 0);
        let mode = if self.deadline_mode { DEADLINE_MODE } else { 0 };
        self.write(local::TIMER, mode | u32::from(TIMER_VECTOR));
    }

    /// Interrupts after `count` ticks.
    pub fn set_count(&self, count: u32) {
        self.write(local::INITIAL_COUNT, count);
    }
    /// Interrupts when the TSC reaches `tsc`, at once if it has.
    pub fn set_deadline(&self, tsc: u64) {
        // Zero would switch the timer off.
        // SAFETY: the register exists in deadline mode.
        unsafe { cpu::write_msr(TSC_DEADLINE, tsc.max(1)) };
    }

    /// End of interrupt.
    pub fn end_of_interrupt(&self) {
        self.write(local::END_OF_INTERRUPT, 0);
    }

    /// Whether an interrupt of this vector was delivered and is not at its end (APM vol. 2, 16.6.3 and 16.6.4).
    pub fn in_service(&self, vector: u8) -> bool {
        let word = self.read(local::IN_SERVICE + 0x10 * u64::from(vector / 32));
        word >> (vector % 32) & 1 != 0
    }

    /// Whether an interrupt has been accepted and not delivered yet.
    pub fn interrupt_pending(&self) -> bool {
        (0..8).any(|word| self.read(local::REQUESTED + 0x10 * word) != 0)
    }
}

/// One IOAPIC: an index register and a data register.
#[derive(Clone, Copy)]
struct IoApic {
    base: Hpa,
    pins: u32,
}

impl IoApic {
    const VERSION: u32 = 1;

    /// The index register of a pin's low half; the high half is the next.
    const fn entry(pin: u32) -> u32 {
        0x10 + 2 * pin
    }

    fn new(base: Hpa) -> Self {
        let mut result = Self { base, pins: 0 };
        result.pins = (result.read(Self::VERSION) >> 16 & 0xff) + 1;
        for pin in 0..result.pins {
            result.write(Self::entry(pin), MASKED);
        }
        result
    }

    fn read(&self, index: u32) -> u32 {
        let registers: *mut u32 = layout::window(self.base);
        // SAFETY: the register page is mapped; index at 0, data at 0x10.
        unsafe {
            registers.write_volatile(index);
            registers.add(4).read_volatile()
        }
    }
    fn write(&self, index: u32, value: u32) {
        let registers: *mut u32 = layout::window(self.base);
        // SAFETY: as above; an entry directs interrupts to vectors of this kernel.
        unsafe {
            registers.write_volatile(index);
            registers.add(4).write_volatile(value);
        }
    }
}

/// The IOAPICs, in the order of the MADT.
pub struct IoApics {
    list: [Option<IoApic>; MAX_IOAPICS],
    destination: u32,
}

impl IoApics {
    /// Masks every pin.
    pub fn new(acpi: &Acpi, local: &LocalApic) -> Self {
        let mut list = [None; MAX_IOAPICS];
        for (slot, &base) in list.iter_mut().zip(acpi.ioapics()) {
            *slot = Some(IoApic::new(Hpa::new(base)));
        }
        Self {
            list,
            destination: local.id(),
        }
    }

    fn get(&self, ioapic: u32) -> Option<&IoApic> {
        self.list.get(ioapic as usize)?.as_ref()
    }

    /// See `Machine::ioapic_pins`.
    pub fn pins(&self, ioapic: u32) -> Option<u32> {
        self.get(ioapic).map(|ioapic| ioapic.pins)
    }

    /// The IOAPIC of a route whose pin exists.
    fn of(&self, route: IrqRoute) -> Option<&IoApic> {
        self.get(route.ioapic)
            .filter(|ioapic| route.pin < ioapic.pins)
    }

    /// Directs a pin to a processor vector, masked. A pin that does not exist is ignored.
    pub fn route(&self, route: IrqRoute, vector: u8) {
        if let Some(ioapic) = self.of(route) {
            let electrical = u32::from(route.level) << 15 | u32::from(route.active_low) << 13;
            ioapic.write(IoApic::entry(route.pin) + 1, self.destination << 24);
            ioapic.write(
                IoApic::entry(route.pin),
                MASKED | electrical | u32::from(vector),
            );
        }
    }

    /// Masks or unmasks a pin.
    pub fn mask(&self, route: IrqRoute, masked: bool) {
        if let Some(ioapic) = self.of(route) {
            let entry = ioapic.read(IoApic::entry(route.pin));
            let entry = if masked {
                entry | MASKED
            } else {
                entry & !MASKED
            };
            ioapic.write(IoApic::entry(route.pin), entry);
        }
    }
}

/// Register pages of all controllers, ascending, without doubles; `into` has room for every one.
pub fn register_pages<'a>(acpi: &Acpi, into: &'a mut [Region; MAX_IOAPICS + 1]) -> &'a [Region] {
    let mut count = 0;
    for &address in acpi.ioapics().iter().chain([&acpi.local_apic]) {
        let start = address / PAGE * PAGE;
        if into[..count].iter().all(|known| known.start != start) {
            into[count] = Region {
                start,
                end: start + PAGE,
            };
            count += 1;
        }
    }
    into[..count].sort_unstable_by_key(|page| page.start);
    &into[..count]
}

/// Moves the 8259s' vectors out of the exceptions' way and masks all their lines.
pub fn silence_8259s() {
    // ICW1 to ICW4, then the mask, for the first and the second (Intel 8259A data sheet).
    const WORDS: [(u16, u8); 10] = [
        (0x20, 0x11),
        (0xa0, 0x11),
        (0x21, 0x20),
        (0xa1, 0x28),
        (0x21, 0x04),
        (0xa1, 0x02),
        (0x21, 0x01),
        (0xa1, 0x01),
        (0x21, 0xff),
        (0xa1, 0xff),
    ];
    for (port, value) in WORDS {
        // SAFETY: interrupt controllers do not write memory.
        unsafe { cpu::out8(port, value) };
    }
}
