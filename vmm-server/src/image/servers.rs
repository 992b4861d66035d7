//! Everybody else, by capability: the vCPU object, mmu-server, the device server.
//!
//! The four message words that travel in registers carry all of a page fault and of a port access; only register sets
//! and guest memory go through the IPC buffer.

use super::cpu;
use exit_abi::{Mask, Mode};
use protocol::mmu::{MAX_DATA, load, outcome, stats};
use protocol::slots::vmm as slot;
use protocol::{device, mmu};
use sel4::{MessageInfo, Word, cap};
use vcpu::Registers;
use vcpu::control::Load;
use vcpu::cpuid::Leaf;
use vcpu::registers::MAX_WORDS;
use vmm_server::platform::{Access, Loaded, Outcome, PortOutcome, PortReply, Refused};
use vmm_server::{Platform, Stopped};
use words::{Gpa, Gva};

/// The virtual CPU.
pub const VCPU: cap::VCpu = cap::VCpu::from_bits(slot::VCPU);
const MMU: cap::Endpoint = cap::Endpoint::from_bits(slot::MMU);
const DEVICE: cap::Endpoint = cap::Endpoint::from_bits(slot::DEVICE);

/// Words before the data of a virtual access: mode, CR3, address, length, access.
const HEADER: usize = 5;
const WORD: usize = size_of::<Word>();

/// The capabilities this domain starts with.
pub struct Servers;

const fn request(label: Word, length: usize) -> MessageInfo {
    MessageInfo::new(label, 0, 0, length)
}

fn call<const N: usize>(server: cap::Endpoint, label: Word, words: [Word; N]) -> (Word, [Word; 4]) {
    let reply = server.call_with_mrs(request(label, N), words);
    (reply.info.label(), reply.msg)
}

/// Sends `words` and then `data`; what comes back is in the IPC buffer.
fn call_with_data(label: Word, words: [Word; HEADER], data: &[u8]) -> Word {
    sel4::with_ipc_buffer_mut(|buffer| {
        let registers = buffer.msg_regs_mut();
        registers[..HEADER].copy_from_slice(&words);
        for (register, chunk) in registers[HEADER..].iter_mut().zip(data.chunks(WORD)) {
            let mut bytes = [0; WORD];
            bytes[..chunk.len()].copy_from_slice(chunk);
            *register = Word::from_le_bytes(bytes);
        }
    });
    MMU.call(request(label, HEADER + data.len().div_ceil(WORD)))
        .label()
}

const fn done(label: Word) -> Result<(), Refused> {
    if label == 0 { Ok(()) } else { Err(Refused) }
}

fn outcome_of(label: Word, words: &[Word]) -> Outcome {
    match (label, words) {
        (outcome::DONE, _) => Outcome::Done,
        (outcome::INJECT, &[code, address, ..]) => Outcome::Inject {
            code: code as u32,
            address,
        },
        (outcome::DEVICE, &[gpa, access, ..]) => Outcome::Device {
            gpa: Gpa::new(gpa),
            access: access as u32,
        },
        _ => Outcome::Refused,
    }
}

fn port_reply((label, [value, lines, ..]): (Word, [Word; 4])) -> PortReply {
    PortReply {
        outcome: match label {
            device::reply::OK => PortOutcome::Done(value as u32),
            device::reply::NO_PORT => PortOutcome::NoPort,
            device::reply::EXIT => PortOutcome::Exit(value),
            device::reply::RESET => PortOutcome::Reset,
            _ => PortOutcome::Refused,
        },
        lines: lines as u16,
    }
}

const fn load_reason(reason: Load) -> Word {
    match reason {
        Load::Cr3 => load::CR3,
        Load::Cr0 => load::CR0,
        Load::Cr4 => load::CR4,
        Load::Efer => load::EFER,
    }
}

const fn header(access: &Access, length: usize) -> [Word; HEADER] {
    [
        access.mode.bits() as Word,
        access.cr3,
        access.gva.bits(),
        length as Word,
        access.access as Word,
    ]
}

impl Servers {
    /// Tells the device server that the VM is over.
    pub fn stop(&mut self, stopped: &Stopped, detail: &[Word]) {
        let length = sel4::with_ipc_buffer_mut(|buffer| {
            let words = [stopped.reason as Word, stopped.value];
            let all = words.iter().chain(detail).copied();
            let registers = buffer.msg_regs_mut().iter_mut();
            registers
                .zip(all)
                .map(|(register, word)| *register = word)
                .count()
        });
        let _ = DEVICE.call(request(device::STOP, length));
    }
}

impl Platform for Servers {
    fn now(&self) -> u64 {
        cpu::tsc()
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf {
        cpu::cpuid(leaf, subleaf)
    }

    fn read_registers(&mut self, mask: Mask) -> Registers {
        let mut values = [0; MAX_WORDS];
        let values = &mut values[..mask.len().min(MAX_WORDS)];
        match VCPU.read_registers(mask, values) {
            Ok(()) => Registers::from_message(mask, values),
            Err(error) => {
                log::error!("the kernel refuses to read registers: {error:?}");
                Registers::from_message(mask, &[])
            }
        }
    }

    fn write_registers(&mut self, registers: &Registers) -> Result<(), Refused> {
        let mut words = [0; MAX_WORDS];
        let length = registers.encode(&mut words);
        let values = words.get(1..length).unwrap_or(&[]);
        VCPU.write_registers(registers.mask(), values)
            .map_err(|_| Refused)
    }

    fn request_window(&mut self, class: u8) {
        let result = match class {
            0 => VCPU.request_window(),
            class => VCPU.request_window_for(class),
        };
        if let Err(error) = result {
            log::error!("the kernel refuses an interrupt window: {error:?}");
        }
    }

    fn fetch_instruction(&mut self) -> ([u8; insn::MAX_LENGTH], usize) {
        // Without the bytes the caller walks the guest's tables.
        VCPU.fetch_instruction()
            .unwrap_or(([0; insn::MAX_LENGTH], 0))
    }

    fn fault(&mut self, words: [u64; 3]) -> Outcome {
        let (label, words) = call(MMU, mmu::FAULT, words);
        outcome_of(label, &words)
    }

    fn invlpg(&mut self, mode: Mode, gva: Gva, cr3: u64) -> Result<(), Refused> {
        let words = [mode.bits().into(), gva.bits(), cr3];
        done(call(MMU, mmu::INVLPG, words).0)
    }

    fn load(&mut self, mode: Mode, cr3: u64, reason: Load) -> Loaded {
        let words = [mode.bits().into(), cr3, load_reason(reason)];
        match call(MMU, mmu::LOAD, words).0 {
            0 => Loaded::Done,
            1 => Loaded::GeneralProtection,
            _ => Loaded::Refused,
        }
    }

    fn ensure_root(&mut self, mode: Mode, cr3: u64) -> Result<(), Refused> {
        done(call(MMU, mmu::ENSURE_ROOT, [mode.bits().into(), cr3]).0)
    }

    fn read_virtual(&mut self, access: &Access, data: &mut [u8]) -> Outcome {
        if data.len() > MAX_DATA {
            return Outcome::Refused;
        }
        let label = call_with_data(mmu::READ_VIRTUAL, header(access, data.len()), &[]);
        sel4::with_ipc_buffer(|buffer| {
            let words = buffer.msg_regs();
            if label == outcome::DONE {
                for (chunk, word) in data.chunks_mut(WORD).zip(words) {
                    chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
                }
            }
            outcome_of(label, words)
        })
    }

    fn write_virtual(&mut self, access: &Access, data: &[u8]) -> Outcome {
        if data.len() > MAX_DATA {
            return Outcome::Refused;
        }
        let label = call_with_data(mmu::WRITE_VIRTUAL, header(access, data.len()), data);
        sel4::with_ipc_buffer(|buffer| outcome_of(label, buffer.msg_regs()))
    }

    fn mmu_stats(&mut self) -> [u64; stats::COUNT] {
        let length = MMU.call(request(mmu::STATS, 0)).length();
        let mut counters = [0; stats::COUNT];
        sel4::with_ipc_buffer(|buffer| {
            let given = buffer.msg_regs().iter().take(length);
            for (counter, &word) in counters.iter_mut().zip(given) {
                *counter = word;
            }
        });
        counters
    }

    fn read_counters(&mut self, counters: &mut [u64]) -> usize {
        VCPU.read_counters(counters).unwrap_or(0)
    }

    fn port_in(&mut self, port: u16, size: u8) -> PortReply {
        port_reply(call(DEVICE, device::PORT_IN, [port.into(), size.into()]))
    }

    fn port_out(&mut self, port: u16, size: u8, value: u32) -> PortReply {
        let words = [port.into(), size.into(), value.into()];
        port_reply(call(DEVICE, device::PORT_OUT, words))
    }

    fn lines(&mut self) -> u16 {
        let (_, [_, lines, ..]) = call(DEVICE, device::LINES, []);
        lines as u16
    }

    fn set_deadline(&mut self, tsc: Option<u64>) {
        call(DEVICE, device::DEADLINE, [tsc.unwrap_or(u64::MAX)]);
    }
}
