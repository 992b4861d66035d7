//! A processor's local APIC (APM vol. 2, chapter 16) in xAPIC form, with its timer.
//!
//! `now` is a count of [`FREQUENCY`] ticks since any fixed moment (see [`Clock`](crate::clock::Clock) for the way from
//! the time-stamp counter) and should not run backwards. Always: what is pending follows from what was written, what
//! was received and from `now` at the last [`LocalApic::advance`]; a register access advances by itself.
//!
//! Who owns the processor asks in this order: [`LocalApic::take_nmi`]; an external controller's interrupt while
//! [`LocalApic::passes_external`]; [`LocalApic::pending`], then [`LocalApic::acknowledge`]. Whoever has the guest's CR8
//! keeps it and [`LocalApic::task_priority`] the same.
//!
//! Left to others: where the page sits ([`LocalApic::address`] tells), the IOAPICs that an end of interrupt concerns,
//! other processors. Messages to those are lost without a report: the two accept errors of P6 and K8 buses do not occur.
//! System-management interrupts are taken and do nothing.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | a periodic count of a nanosecond | expiries nobody watched are one request; the caller may space deadlines |
//! | guest | interrupts itself without end | one request bit a vector, one NMI; each access does bounded work |
//! | guest | vectors below 16, registers that do not exist | error status bits; an illegal vector for the error itself ends there |
//! | guest | narrow or misplaced accesses | reads show bytes of the register or zero, writes vanish |
//! | guest | moves or switches off the APIC | the address is the caller's to compare with; off, nothing is pending |
//! | caller | acknowledges with nothing pending | the spurious vector, and no in-service bit |

mod base;
mod registers;
mod send;
#[cfg(test)]
mod tests;
mod timer;
mod vectors;

use crate::message::{Delivery, Destination, Message, Trigger};
use base::Base;
pub use base::ReservedBits;
use registers::{LOCALS, Local, Register, command, error, lvt, spurious};
use timer::Timer;
use vectors::Vectors;

/// Ticks a second of the timer before its divider.
pub const FREQUENCY: u64 = 1_000_000_000;
/// What the version register shows: an xAPIC, six entries in the local vector table, no extended registers
/// (APM vol. 2, 16.3.4). The tables that list processors repeat the low byte.
pub const VERSION: u32 = 0x14 | (LOCALS as u32 - 1) << 16;

/// Destination format: the flat model; and the bits of the register that are always set (APM vol. 2, 16.6.1).
const FLAT: u8 = 0xf;
const FORMAT_ONES: u32 = 0x0fff_ffff;
/// A destination that means every local APIC.
const BROADCAST: u8 = 0xff;
/// The lowest vector an APIC takes (APM vol. 2, 16.6.3).
const FIRST_VECTOR: u8 = 16;

/// What the caller has to do after a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Effect {
    /// Nothing.
    None,
    /// An interrupt ended; if it was triggered by a level, the IOAPICs are to be told its vector.
    Ended(Option<u8>),
    /// The guest sent its own processor an INIT.
    Init,
}

/// The local APIC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalApic {
    base: Base,
    /// The identifier after reset.
    reset_id: u8,
    id: u8,
    task_priority: u8,
    logical_id: u8,
    /// Destination format: 0xf flat, 0 clusters.
    format: u8,
    spurious: u32,
    in_service: Vectors,
    trigger_mode: Vectors,
    requests: Vectors,
    /// Errors since the last write of the status register, and what it shows.
    errors: u32,
    shown_errors: u32,
    command_low: u32,
    command_high: u32,
    locals: [u32; LOCALS],
    timer: Timer,
    /// Levels of the two input pins.
    lint: [bool; 2],
    nmi: bool,
    /// An external interrupt that came by message.
    external: bool,
}

impl LocalApic {
    /// The APIC of the bootstrap processor after reset: there, but disabled by software, all local interrupts masked
    /// (APM vol. 2, 16.3.1 and 16.4.7).
    #[must_use]
    pub const fn new(id: u8) -> Self {
        Self {
            base: Base::new(),
            reset_id: id,
            id,
            task_priority: 0,
            logical_id: 0,
            format: FLAT,
            spurious: spurious::VECTOR,
            in_service: Vectors::new(),
            trigger_mode: Vectors::new(),
            requests: Vectors::new(),
            errors: 0,
            shown_errors: 0,
            command_low: 0,
            command_high: 0,
            locals: [lvt::MASKED; LOCALS],
            timer: Timer::new(),
            lint: [false; 2],
            nmi: false,
            external: false,
        }
    }

    /// The APIC as a PC's firmware leaves it, in virtual wire mode (MultiProcessor Specification 1.4, 3.6.2.2):
    /// enabled, the first pin passes external interrupts, the second is the NMI.
    #[must_use]
    pub const fn after_firmware(id: u8) -> Self {
        let mut apic = Self::new(id);
        apic.spurious |= spurious::ENABLE;
        apic.locals[Local::Lint0 as usize] = 7 << lvt::DELIVERY_SHIFT | lvt::LEVEL;
        apic.locals[Local::Lint1 as usize] = 4 << lvt::DELIVERY_SHIFT | lvt::LEVEL;
        apic
    }

    /// Where the page of registers sits; `None` while the APIC is switched off and nothing answers.
    #[must_use]
    pub const fn address(&self) -> Option<u64> {
        if self.base.enabled() {
            Some(self.base.address())
        } else {
            None
        }
    }

    /// Whether the APIC is there, as CPUID function 1 EDX bit 9 tells.
    #[must_use]
    pub const fn enabled(&self) -> bool {
        self.base.enabled()
    }

    /// Reads the APIC base address register (MSR 0x1b).
    #[must_use]
    pub const fn read_base(&self) -> u64 {
        self.base.read()
    }

    /// Writes the APIC base address register on a processor with `physical_bits` address lines. Switched off, the APIC
    /// forgets everything but the task priority, which stays CR8's.
    ///
    /// # Errors
    ///
    /// [`ReservedBits`]: nothing changed; the processor raises #GP.
    pub const fn write_base(&mut self, value: u64, physical_bits: u32) -> Result<(), ReservedBits> {
        match Base::written(value, physical_bits) {
            Ok(base) => {
                if self.base.enabled() && !base.enabled() {
                    *self = Self {
                        task_priority: self.task_priority,
                        lint: self.lint,
                        nmi: self.nmi,
                        ..Self::new(self.reset_id)
                    };
                }
                self.base = base;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Reads `size` bytes at `offset` in the page. Registers are the low four of each 16 bytes and are meant to be read
    /// whole (APM vol. 2, 16.3.2); a part of one shows its bytes, the rest of the 16 bytes is zero.
    pub fn read(&mut self, offset: u16, size: u8, now: u64) -> u64 {
        self.advance(now);
        let value = u64::from(self.read_register(offset, now));
        let value = value >> (8 * (offset & 0xf).min(4));
        match size {
            1 => value & 0xff,
            2 => value & 0xffff,
            _ => value,
        }
    }

    /// Writes `size` bytes at `offset` in the page. Only four bytes at a multiple of 16 reach a register.
    pub fn write(&mut self, offset: u16, size: u8, value: u64, now: u64) -> Effect {
        self.advance(now);
        if size != 4 || offset & 0xf != 0 {
            return Effect::None;
        }
        self.write_register(offset, value as u32, now)
    }

    /// The task priority as CR8 shows it (APM vol. 2, 8.5.2 and 16.6.4): bits 7 to 4.
    #[must_use]
    pub const fn task_priority(&self) -> u8 {
        self.task_priority >> 4
    }

    /// Sets the task priority by CR8 (its low four bits).
    pub const fn set_task_priority(&mut self, cr8: u8) {
        self.task_priority = cr8 << 4;
    }

    /// Receives a message; `false` if it is not for this APIC or not taken now.
    pub fn receive(&mut self, message: Message) -> bool {
        if !self.base.enabled() || !self.is_for_us(message.destination) {
            return false;
        }
        match message.delivery {
            Delivery::Fixed | Delivery::Lowest => self.request(message.vector, message.trigger),
            Delivery::Nmi => {
                self.nmi = true;
                true
            }
            Delivery::External if self.software_enabled() => {
                self.external = true;
                true
            }
            Delivery::Smi | Delivery::Init | Delivery::Startup => true,
            Delivery::External | Delivery::Reserved => false,
        }
    }

    /// Drives the first input pin, where a PC has the output of its 8259A pair.
    pub fn set_lint0(&mut self, high: bool) {
        self.set_pin(Local::Lint0, high);
    }

    /// Drives the second input pin, where a PC has its NMI.
    pub fn set_lint1(&mut self, high: bool) {
        self.set_pin(Local::Lint1, high);
    }

    /// Whether an external controller's request reaches the processor: by a switched-off APIC, by the first pin as
    /// virtual wire (APM vol. 2, 16.4.2), or because an IOAPIC passed it on.
    #[must_use]
    pub const fn passes_external(&self) -> bool {
        const EXTERNAL: u32 = 7 << lvt::DELIVERY_SHIFT;
        let lint0 = self.local(Local::Lint0);
        !self.base.enabled()
            || self.external
            || lint0 & lvt::MASKED == 0 && lint0 & lvt::DELIVERY == EXTERNAL
    }

    /// The processor took its vector from the external controller.
    pub const fn external_taken(&mut self) {
        self.external = false;
    }

    /// Takes the NMI, if one came since the last call.
    pub const fn take_nmi(&mut self) -> bool {
        core::mem::replace(&mut self.nmi, false)
    }

    /// Whether an NMI waits.
    #[must_use]
    pub const fn nmi_pending(&self) -> bool {
        self.nmi
    }

    /// The vector the processor would get now if it takes interrupts: the highest one requested whose class (bits 7 to
    /// 4) is above the processor priority's (APM vol. 2, 16.6.4).
    #[must_use]
    pub fn pending(&self) -> Option<u8> {
        self.request_above(self.processor_priority())
    }

    /// The vector that would be [`pending`](Self::pending) were the task priority zero: the one to wait for if only the
    /// task priority holds it back.
    #[must_use]
    pub fn requested(&self) -> Option<u8> {
        self.request_above(self.in_service.highest().unwrap_or(0))
    }

    /// The processor's acknowledge: the pending vector goes into service. With none pending, the spurious vector, which
    /// does not (APM vol. 2, 16.4.7).
    pub fn acknowledge(&mut self) -> u8 {
        let Some(vector) = self.pending() else {
            return (self.spurious & spurious::VECTOR) as u8;
        };
        self.requests.set(vector, false);
        self.in_service.set(vector, true);
        vector
    }

    /// Lets the timer do what it does until `now`.
    pub fn advance(&mut self, now: u64) {
        if self.timer.expire(now) {
            self.raise(Local::Timer);
        }
    }

    /// The tick at which the timer interrupts next, if nothing is written until then. It may have passed if
    /// [`LocalApic::advance`] was not called since.
    #[must_use]
    pub fn next_event(&self) -> Option<u64> {
        if self.local(Local::Timer) & lvt::MASKED != 0 {
            return None;
        }
        self.timer.next()
    }

    const fn software_enabled(&self) -> bool {
        self.spurious & spurious::ENABLE != 0
    }

    const fn local(&self, local: Local) -> u32 {
        self.locals[local as usize]
    }

    fn request_above(&self, priority: u8) -> Option<u8> {
        if !self.base.enabled() || !self.software_enabled() {
            return None;
        }
        let vector = self.requests.highest()?;
        (vector >> 4 > priority >> 4).then_some(vector)
    }

    /// APM vol. 2, 16.6.4.
    fn processor_priority(&self) -> u8 {
        let serviced = self.in_service.highest().unwrap_or(0);
        if self.task_priority >> 4 >= serviced >> 4 {
            self.task_priority
        } else {
            serviced & 0xf0
        }
    }

    /// APM vol. 2, 16.6.2.
    fn arbitration_priority(&self) -> u8 {
        let class = |vectors: &Vectors| vectors.highest().unwrap_or(0) >> 4;
        let (task, requested, serviced) = (
            self.task_priority >> 4,
            class(&self.requests),
            class(&self.in_service),
        );
        if task >= requested && task > serviced {
            self.task_priority
        } else {
            task.max(requested).max(serviced) << 4
        }
    }

    /// APM vol. 2, 16.6.1.
    const fn is_for_us(&self, destination: Destination) -> bool {
        match destination {
            Destination::Physical(BROADCAST) | Destination::Logical(BROADCAST) => true,
            Destination::Physical(id) => id == self.id,
            Destination::Logical(set) if self.format == FLAT => set & self.logical_id != 0,
            Destination::Logical(set) => {
                set >> 4 == self.logical_id >> 4 && set & self.logical_id & 0xf != 0
            }
        }
    }

    /// Takes a request; not while disabled by software, and no vector below 16.
    fn request(&mut self, vector: u8, trigger: Trigger) -> bool {
        if !self.software_enabled() {
            return false;
        }
        if vector < FIRST_VECTOR {
            self.fail(error::RECEIVED_ILLEGAL_VECTOR);
            return false;
        }
        self.requests.set(vector, true);
        self.trigger_mode
            .set(vector, matches!(trigger, Trigger::Level));
        true
    }

    /// Notes an error; a new one is told by the error interrupt.
    fn fail(&mut self, what: u32) {
        if self.errors & what == 0 {
            self.errors |= what;
            self.raise(Local::Error);
        }
    }

    /// A source of the local vector table, other than the pins, asks.
    fn raise(&mut self, source: Local) {
        let entry = self.local(source);
        if entry & lvt::MASKED != 0 {
            return;
        }
        match Delivery::from_bits((entry >> lvt::DELIVERY_SHIFT) as u8) {
            Delivery::Fixed => {
                self.request((entry & lvt::VECTOR) as u8, Trigger::Edge);
            }
            Delivery::Nmi => self.nmi = true,
            _ => {}
        }
    }

    /// Without the APIC the second pin is the processor's NMI input (APM vol. 2, 16.3.1).
    fn set_pin(&mut self, pin: Local, high: bool) {
        let level = &mut self.lint[usize::from(pin == Local::Lint1)];
        let was = core::mem::replace(level, high);
        let rises = high && !was;
        if self.base.enabled() {
            self.watch_pin(pin, rises);
        } else {
            self.nmi |= rises && pin == Local::Lint1;
        }
    }

    /// What a pin's level asks for, and its edge if it `rises` just now.
    fn watch_pin(&mut self, pin: Local, rises: bool) {
        let entry = self.local(pin);
        let high = self.lint[usize::from(pin == Local::Lint1)];
        let delivery = Delivery::from_bits((entry >> lvt::DELIVERY_SHIFT) as u8);
        if entry & lvt::MASKED != 0 || !high {
            return;
        }
        if delivery == Delivery::Fixed && entry & lvt::LEVEL != 0 {
            if entry & lvt::REMOTE_IRR == 0
                && self.request((entry & lvt::VECTOR) as u8, Trigger::Level)
            {
                self.locals[pin as usize] |= lvt::REMOTE_IRR;
            }
        } else if rises {
            self.raise(pin);
        }
    }

    /// Ends the interrupt of highest priority in service (APM vol. 2, 16.6.4).
    fn end(&mut self) -> Effect {
        let Some(vector) = self.in_service.highest() else {
            return Effect::None;
        };
        self.in_service.set(vector, false);
        if !self.trigger_mode.has(vector) {
            return Effect::Ended(None);
        }
        for pin in [Local::Lint0, Local::Lint1] {
            if self.local(pin) & lvt::VECTOR == u32::from(vector) {
                self.locals[pin as usize] &= !lvt::REMOTE_IRR;
                self.watch_pin(pin, false);
            }
        }
        Effect::Ended(Some(vector))
    }

    fn read_register(&mut self, offset: u16, now: u64) -> u32 {
        let Some(register) = Register::at(offset) else {
            self.fail(error::ILLEGAL_REGISTER);
            return 0;
        };
        match register {
            Register::Id => u32::from(self.id) << 24,
            Register::Version => VERSION,
            Register::TaskPriority => u32::from(self.task_priority),
            Register::ArbitrationPriority => u32::from(self.arbitration_priority()),
            Register::ProcessorPriority => u32::from(self.processor_priority()),
            Register::EndOfInterrupt | Register::RemoteRead => 0,
            Register::LogicalDestination => u32::from(self.logical_id) << 24,
            Register::DestinationFormat => u32::from(self.format) << 28 | FORMAT_ONES,
            Register::Spurious => self.spurious,
            Register::InService(index) => self.in_service.register(index),
            Register::TriggerMode(index) => self.trigger_mode.register(index),
            Register::Request(index) => self.requests.register(index),
            Register::ErrorStatus => self.shown_errors,
            Register::CommandLow => self.command_low,
            Register::CommandHigh => self.command_high,
            Register::Local(local) => self.local(local),
            Register::InitialCount => self.timer.initial(),
            Register::CurrentCount => self.timer.count(now),
            Register::Divide => self.timer.divide(),
        }
    }

    fn write_register(&mut self, offset: u16, value: u32, now: u64) -> Effect {
        let Some(register) = Register::at(offset) else {
            self.fail(error::ILLEGAL_REGISTER);
            return Effect::None;
        };
        match register {
            Register::Id => self.id = (value >> 24) as u8,
            Register::TaskPriority => self.task_priority = value as u8,
            Register::EndOfInterrupt => return self.end(),
            Register::LogicalDestination => self.logical_id = (value >> 24) as u8,
            Register::DestinationFormat => self.format = (value >> 28) as u8,
            Register::Spurious => self.write_spurious(value),
            // The write shows the errors since the last one (APM vol. 2, 16.4.6).
            Register::ErrorStatus => self.shown_errors = core::mem::take(&mut self.errors),
            Register::CommandLow => {
                self.command_low = value & command::KEPT;
                return self.send();
            }
            Register::CommandHigh => self.command_high = value & 0xff00_0000,
            Register::Local(local) => self.write_local(local, value),
            Register::InitialCount => self.timer.start(value, now),
            Register::Divide => self.timer.set_divide(value, now),
            Register::Version
            | Register::ArbitrationPriority
            | Register::ProcessorPriority
            | Register::RemoteRead
            | Register::InService(_)
            | Register::TriggerMode(_)
            | Register::Request(_)
            | Register::CurrentCount => {}
        }
        Effect::None
    }

    /// Disabling masks every local interrupt (APM vol. 2, 16.4.7).
    fn write_spurious(&mut self, value: u32) {
        self.spurious = value & spurious::KEPT;
        if !self.software_enabled() {
            for entry in &mut self.locals {
                *entry |= lvt::MASKED;
            }
        }
    }

    fn write_local(&mut self, local: Local, value: u32) {
        let mut entry = value & local.writable();
        if !self.software_enabled() {
            entry |= lvt::MASKED;
        }
        if entry & lvt::LEVEL != 0 {
            entry |= self.local(local) & lvt::REMOTE_IRR;
        }
        self.locals[local as usize] = entry;
        match local {
            Local::Timer => self.timer.set_periodic(entry & lvt::PERIODIC != 0),
            Local::Lint0 | Local::Lint1 => self.watch_pin(local, false),
            Local::Thermal | Local::Performance | Local::Error => {}
        }
    }
}
