//! A platform for tests: flat guest memory, scripted answers, and a record of what was asked.

use crate::platform::{Access, Loaded, Outcome, Platform, PortOutcome, PortReply, Refused};
use exit_abi::{Mask, Mode, Register};
use protocol::mmu::stats;
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use vcpu::Registers;
use vcpu::control::Load;
use vcpu::cpuid::Leaf;
use words::Gva;
use words::addr::PAGE_SIZE;

/// What was asked of the platform, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    WroteRegisters(u64),
    Window(u8),
    Fault([u64; 3]),
    Invlpg(u64),
    Load(Load, u64),
    EnsureRoot,
    In(u16, u8),
    Out(u16, u8, u32),
    Lines,
    Deadline(Option<u64>),
    Read(u64, usize, u32),
    Write(u64, usize),
}

pub struct Fake {
    pub tsc: Cell<u64>,
    pub registers: Registers,
    pub memory: BTreeMap<u64, u8>,
    /// Pages at which accesses end in this outcome.
    pub odd_pages: BTreeMap<u64, Outcome>,
    pub faults: VecDeque<Outcome>,
    pub load: Loaded,
    pub refuse_requests: bool,
    pub refuse_registers: bool,
    pub code: Vec<u8>,
    pub port_values: VecDeque<u32>,
    pub port_outcome: Option<PortOutcome>,
    pub lines: u16,
    pub asked: Vec<Asked>,
}

impl Fake {
    pub fn new() -> Self {
        Self {
            tsc: Cell::new(1_000_000),
            registers: Registers::new(),
            memory: BTreeMap::new(),
            odd_pages: BTreeMap::new(),
            faults: VecDeque::new(),
            load: Loaded::Done,
            refuse_requests: false,
            refuse_registers: false,
            code: Vec::new(),
            port_values: VecDeque::new(),
            port_outcome: None,
            lines: 0,
            asked: Vec::new(),
        }
    }

    pub fn with(mut self, register: Register, value: u64) -> Self {
        self.registers.set(register, value);
        self
    }

    fn outcome(&self, gva: Gva) -> Outcome {
        self.odd_pages
            .get(&gva.page().bits())
            .copied()
            .unwrap_or(Outcome::Done)
    }

    fn done(&self) -> Result<(), Refused> {
        if self.refuse_requests {
            Err(Refused)
        } else {
            Ok(())
        }
    }

    fn reply(&mut self, value: u32) -> PortReply {
        PortReply {
            outcome: self.port_outcome.unwrap_or(PortOutcome::Done(value)),
            lines: self.lines,
        }
    }
}

/// The addresses of a page from this one on. After the last of the address space comes the first.
fn addresses(gva: Gva) -> impl Iterator<Item = u64> {
    (0..PAGE_SIZE).map(move |by| gva.wrapping_add(by).bits())
}

impl Platform for Fake {
    fn now(&self) -> u64 {
        self.tsc.get()
    }
    fn cpuid(&self, leaf: u32, _: u32) -> Leaf {
        let eax = match leaf {
            0 => 7,
            0x8000_0000 => 0x8000_000a,
            0x8000_0008 => 0x3028,
            _ => 0x60fb1,
        };
        Leaf {
            eax,
            ebx: !0,
            ecx: !0,
            edx: !0,
        }
    }
    fn read_registers(&mut self, mask: Mask) -> Registers {
        let values: Vec<u64> = mask
            .iter()
            .map(|bit| {
                let mut words = [0; 64];
                let length = self.registers.encode(&mut words);
                let own = Mask(if length == 0 { 0 } else { words[0] });
                let index = own.iter().position(|other| other == bit);
                index.map_or(0, |index| words[1 + index])
            })
            .collect();
        Registers::from_message(mask, &values)
    }
    fn write_registers(&mut self, registers: &Registers) -> Result<(), Refused> {
        self.asked.push(Asked::WroteRegisters(registers.mask().0));
        if self.refuse_registers {
            return Err(Refused);
        }
        Ok(())
    }
    fn request_window(&mut self, class: u8) {
        self.asked.push(Asked::Window(class));
    }
    fn fetch_instruction(&mut self) -> ([u8; insn::MAX_LENGTH], usize) {
        let mut bytes = [0; insn::MAX_LENGTH];
        let count = self.code.len().min(bytes.len());
        bytes[..count].copy_from_slice(&self.code[..count]);
        (bytes, count)
    }
    fn fault(&mut self, words: [u64; 3]) -> Outcome {
        self.asked.push(Asked::Fault(words));
        self.faults.pop_front().unwrap_or(Outcome::Done)
    }
    fn invlpg(&mut self, _: Mode, gva: Gva, _: u64) -> Result<(), Refused> {
        self.asked.push(Asked::Invlpg(gva.bits()));
        self.done()
    }
    fn load(&mut self, _: Mode, cr3: u64, reason: Load) -> Loaded {
        self.asked.push(Asked::Load(reason, cr3));
        self.load
    }
    fn ensure_root(&mut self, _: Mode, _: u64) -> Result<(), Refused> {
        self.asked.push(Asked::EnsureRoot);
        self.done()
    }
    fn read_virtual(&mut self, access: &Access, data: &mut [u8]) -> Outcome {
        let gva = access.gva;
        assert!(gva.page_offset() + data.len() as u64 <= PAGE_SIZE);
        self.asked
            .push(Asked::Read(gva.bits(), data.len(), access.access));
        for (address, byte) in addresses(gva).zip(data) {
            *byte = self.memory.get(&address).copied().unwrap_or(0);
        }
        self.outcome(gva)
    }
    fn write_virtual(&mut self, access: &Access, data: &[u8]) -> Outcome {
        let gva = access.gva;
        assert!(gva.page_offset() + data.len() as u64 <= PAGE_SIZE);
        self.asked.push(Asked::Write(gva.bits(), data.len()));
        let outcome = self.outcome(gva);
        if outcome == Outcome::Done {
            self.memory.extend(addresses(gva).zip(data.iter().copied()));
        }
        outcome
    }
    fn mmu_stats(&mut self) -> [u64; stats::COUNT] {
        [0; stats::COUNT]
    }
    fn read_counters(&mut self, _: &mut [u64]) -> usize {
        0
    }
    fn port_in(&mut self, port: u16, size: u8) -> PortReply {
        self.asked.push(Asked::In(port, size));
        let value = self.port_values.pop_front().unwrap_or(0);
        self.reply(value)
    }
    fn port_out(&mut self, port: u16, size: u8, value: u32) -> PortReply {
        self.asked.push(Asked::Out(port, size, value));
        self.reply(0)
    }
    fn lines(&mut self) -> u16 {
        self.asked.push(Asked::Lines);
        self.lines
    }
    fn set_deadline(&mut self, tsc: Option<u64>) {
        self.asked.push(Asked::Deadline(tsc));
    }
}
