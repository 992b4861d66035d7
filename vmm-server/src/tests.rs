//! Exits through the whole of the virtual CPU, against a fake of everybody else.

use crate::fake::{Asked, Fake};
use crate::platform::{Loaded, Outcome, PortOutcome};
use crate::{Stopped, Vcpu, Verdict};
use exit_abi::{CrInstruction, Exit, ExitClass, Mode, Register, Status};
use protocol::device::{Stop, signal};
use protocol::system::Entry;
use vcpu::Resume;
use vcpu::control::Load;
use words::x86::{cr0, cr4, efer, rflags};
use words::{Gpa, Gva};

mod any_exit;
mod control_registers;
mod debugging;
mod device_memory;
mod faults;
mod instructions;
mod interrupts;
mod local_apic;
mod nmi;
mod ports;
mod rewritten;
mod strings;
mod undefined;

const READY: Status = Status {
    interrupts_enabled: true,
    interrupt_shadow: false,
    event_in_delivery: false,
    single_step: false,
    resume_flag: false,
};
const MASKED: Status = Status {
    interrupts_enabled: false,
    ..READY
};
const DELIVERING: Status = Status {
    event_in_delivery: true,
    ..READY
};
const STEPPING: Status = Status {
    single_step: true,
    ..READY
};
const MULTIBOOT: Entry = Entry::Multiboot { eip: 0, info: 0 };
const LINUX: Entry = Entry::Linux64 {
    rip: 0x10_0200,
    zero_page: 0x7000,
    cr3: 0x9000,
    gdt: 0x8000,
};
const DB: u64 = 0x8000_0301;
const UD: u64 = 0x8000_0306;
const GP: u64 = 0x8000_0b0d;

/// A verdict with its reply.
#[derive(PartialEq, Eq, Debug)]
enum Answer {
    Resume(Resume),
    Halt(Resume),
    Stop(Stopped),
}

impl Vcpu {
    /// Stops the timer that firmware left running.
    pub(crate) fn without_ticks(&mut self) {
        self.board.write(0x43, 1, 0x34, 0);
        assert!(self.board.take_timer_written());
    }

    fn answer(&mut self, fake: &mut Fake, exit: &Exit, status: Status) -> Answer {
        let mut resume = Resume::new(Status::default());
        match self.exit(fake, exit, status, &mut resume) {
            Verdict::Resume => Answer::Resume(resume),
            Verdict::Halt => Answer::Halt(resume),
            Verdict::Stop(stopped) => Answer::Stop(stopped),
        }
    }
}

/// A virtual CPU whose interval timer waits for a count.
fn start(entry: &Entry, fake: &Fake) -> Vcpu {
    let mut vcpu = Vcpu::new(entry, 1000, 64 << 20, fake).0;
    vcpu.without_ticks();
    vcpu
}

fn multiboot() -> (Fake, Vcpu) {
    let fake = Fake::new();
    let vcpu = start(&MULTIBOOT, &fake);
    (fake, vcpu)
}

fn linux() -> (Fake, Vcpu) {
    let fake = Fake::new();
    let vcpu = start(&LINUX, &fake);
    (fake, vcpu)
}

fn resume(answer: Answer) -> Resume {
    match answer {
        Answer::Resume(resume) => resume,
        other => panic!("expected a reply, got {other:?}"),
    }
}

fn halted(answer: Answer) -> Resume {
    match answer {
        Answer::Halt(resume) => resume,
        other => panic!("expected a halt, got {other:?}"),
    }
}

fn stopped(answer: Answer) -> (Stop, u64) {
    match answer {
        Answer::Stop(stopped) => (stopped.reason, stopped.value),
        other => panic!("expected the VM's end, got {other:?}"),
    }
}

fn get(resume: &Resume, register: Register) -> Option<u64> {
    let set = resume.registers().mask().0 & register.bit() != 0;
    set.then(|| resume.registers().get(register))
}

fn out(port: u16, value: u8) -> Exit {
    let info = u32::from(port) << 16 | 0x10;
    Exit::Io {
        len: 1,
        info,
        rip: 0x100,
        rax: u64::from(value),
    }
}

fn input(port: u16) -> Exit {
    Exit::Io {
        len: 1,
        info: u32::from(port) << 16 | 0x11,
        rip: 0x100,
        rax: 0x1234_5678,
    }
}

fn cr(number: u8, value: u64) -> Exit {
    Exit::Cr {
        len: 3,
        number,
        gpr: 0,
        instruction: CrInstruction::MovTo,
        rip: 0x100,
        value,
        mode: Mode::from_bits(0),
    }
}

/// LMSW or SMSW of three bytes, with an operand in memory.
fn machine_status() -> Exit {
    Exit::Cr {
        len: 3,
        number: 0,
        gpr: 0,
        instruction: CrInstruction::Other,
        rip: 0x100,
        value: 0,
        mode: Mode::from_bits(0),
    }
}

fn read_msr(number: u32) -> Exit {
    Exit::Msr {
        len: 2,
        write: false,
        rip: 0x100,
        number,
        value: 0,
    }
}

fn write_msr(number: u32, value: u64) -> Exit {
    Exit::Msr {
        len: 2,
        write: true,
        rip: 0x100,
        number,
        value,
    }
}

fn cpuid(leaf: u32) -> Exit {
    Exit::Cpuid {
        len: 2,
        rip: 0x100,
        leaf,
        subleaf: 0,
    }
}

fn hlt() -> Exit {
    Exit::Hlt { len: 1, rip: 0x100 }
}

/// An instruction that has no exit of its own, by SVM's code.
fn instruction(code: u32, len: u8, rip: u64) -> Exit {
    Exit::Instruction {
        len,
        code,
        rip,
        info1: 0,
        info2: 0,
    }
}

/// A page fault with this error code, while an event was delivered or none.
fn fault_at(gva: u64, code: u16, event: u64) -> Exit {
    Exit::Paging {
        code,
        mode: Mode::from_bits(Mode::PE | Mode::PG),
        gva: Gva::new(gva),
        cr3: 0x9000,
        event,
    }
}

fn page_fault(event: u64) -> Exit {
    fault_at(0x5008, 2, event)
}

/// Both interrupt controllers initialised at 0x30 and 0x38, nothing masked.
fn open_interrupts(vcpu: &mut Vcpu, fake: &mut Fake) {
    for (command, base, cascade) in [(0x20, 0x30, 4), (0xa0, 0x38, 2)] {
        vcpu.answer(fake, &out(command, 0x11), MASKED);
        for value in [base, cascade, 1, 0] {
            vcpu.answer(fake, &out(command + 1, value), MASKED);
        }
    }
    fake.asked.clear();
}

/// Interrupt line 4 rises, and the device server says so.
fn raise_line(vcpu: &mut Vcpu, fake: &mut Fake) {
    fake.lines = 1 << 4;
    vcpu.signal(fake, signal::LINE);
}
