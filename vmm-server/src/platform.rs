//! What the virtual CPU's logic asks of others. The program implements it with capabilities, host tests with a fake.

use exit_abi::{Mask, Mode};
use protocol::mmu::stats;
use vcpu::Registers;
use vcpu::control::Load;
use vcpu::cpuid::Leaf;
use words::{Gpa, Gva};

/// mmu-server's answer to a fault or a virtual access (crate `protocol`, [`protocol::mmu::outcome`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Try again; a virtual access was done.
    Done,
    /// The guest's own page fault.
    Inject {
        /// Its error code.
        code: u32,
        /// Its address.
        address: u64,
    },
    /// No memory there.
    Device {
        /// Where there is none.
        gpa: Gpa,
        /// Page-fault error-code bits W, U, I of the access.
        access: u32,
    },
    /// mmu-server did not understand.
    Refused,
}

/// How a guest-virtual access is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Paging mode.
    pub mode: Mode,
    /// Guest CR3.
    pub cr3: u64,
    /// First byte; the access does not cross a page.
    pub gva: Gva,
    /// Page-fault error-code bits W, U, I.
    pub access: u32,
}

/// What became of a port access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortOutcome {
    /// Done: the value of a read.
    Done(u32),
    /// No model has this port.
    NoPort,
    /// The guest wrote this to the exit port.
    Exit(u64),
    /// The guest asked for a reset.
    Reset,
    /// The device server did not understand.
    Refused,
}

/// The device server's answer to a port access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortReply {
    /// What became of it.
    pub outcome: PortOutcome,
    /// Levels of the interrupt lines, bit n = IRQ n.
    pub lines: u16,
}

/// The kernel or a server refused what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused;

/// What became of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loaded {
    /// The new root stands.
    Done,
    /// The load raises #GP(0).
    GeneralProtection,
    /// mmu-server did not understand.
    Refused,
}

/// Everybody else.
pub trait Platform {
    /// The machine's time stamp counter.
    fn now(&self) -> u64;
    /// The machine's CPUID.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf;

    /// Reads vCPU registers; what cannot be read is 0.
    fn read_registers(&mut self, mask: Mask) -> Registers;
    /// Writes vCPU registers at once, before any reply.
    ///
    /// # Errors
    /// The kernel refused a value.
    fn write_registers(&mut self, registers: &Registers) -> Result<(), Refused>;
    /// Makes the running guest exit as soon as it can take an interrupt of priority class `class`; 0: any.
    fn request_window(&mut self, class: u8);
    /// The bytes at the guest's RIP that the shadow shows, and how many.
    fn fetch_instruction(&mut self) -> ([u8; insn::MAX_LENGTH], usize);

    /// A guest page fault: the first three words of the exit.
    fn fault(&mut self, words: [u64; 3]) -> Outcome;
    /// INVLPG.
    ///
    /// # Errors
    /// mmu-server did not understand: the address is not flushed.
    fn invlpg(&mut self, mode: Mode, gva: Gva, cr3: u64) -> Result<(), Refused>;
    /// A control register changed.
    fn load(&mut self, mode: Mode, cr3: u64, reason: Load) -> Loaded;
    /// The vCPU has no root.
    ///
    /// # Errors
    /// mmu-server did not understand: there is still none.
    fn ensure_root(&mut self, mode: Mode, cr3: u64) -> Result<(), Refused>;
    /// Reads guest-virtual memory: at most [`protocol::mmu::MAX_DATA`] bytes.
    fn read_virtual(&mut self, access: &Access, data: &mut [u8]) -> Outcome;
    /// Writes guest-virtual memory: at most [`protocol::mmu::MAX_DATA`] bytes.
    fn write_virtual(&mut self, access: &Access, data: &[u8]) -> Outcome;
    /// mmu-server's counters.
    fn mmu_stats(&mut self) -> [u64; stats::COUNT];
    /// The kernel's counters of this vCPU; the result is how many there are.
    fn read_counters(&mut self, counters: &mut [u64]) -> usize;

    /// Reads a port of the device server.
    fn port_in(&mut self, port: u16, size: u8) -> PortReply;
    /// Writes a port of the device server.
    fn port_out(&mut self, port: u16, size: u8, value: u32) -> PortReply;
    /// Levels of the interrupt lines.
    fn lines(&mut self) -> u16;
    /// Arms the deadline at a host TSC, or disarms it.
    fn set_deadline(&mut self, tsc: Option<u64>);
}
