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
const MULTIBOOT: Entry = Entry::Multiboot { eip: 0, info: 0 };
const LINUX: Entry = Entry::Linux64 {
    rip: 0x10_0200,
    zero_page: 0x7000,
    cr3: 0x9000,
    gdt: 0x8000,
};
const GP: u64 = 0x8000_0b0d;
const UD: u64 = 0x8000_0306;

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

fn page_fault(event: u64) -> Exit {
    Exit::Paging {
        code: 2,
        mode: Mode::from_bits(Mode::PE | Mode::PG),
        gva: Gva::new(0x5008),
        cr3: 0x9000,
        event,
    }
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

mod debugging;
mod device_memory;
mod local_apic;
mod nmi;
mod rewritten;
mod undefined;

mod faults {
    use super::*;

    #[test]
    fn a_filled_fault_costs_one_call_and_an_empty_reply() {
        let mut fake = Fake::new();
        let mut vcpu = start(&LINUX, &fake);
        let exit = page_fault(0);
        let [w0, w1, w2, _] = exit.encode(READY);
        let resume = resume(vcpu.answer(&mut fake, &exit, READY));
        assert!(resume.registers().mask().is_empty());
        assert_eq!(fake.asked, [Asked::Fault([w0, w1, w2])]);
    }

    #[test]
    fn what_was_being_delivered_starts_over_after_a_fill() {
        let mut fake = Fake::new();
        let mut vcpu = start(&LINUX, &fake);
        let exit = page_fault(0x8000_0030);
        let status = Status {
            event_in_delivery: true,
            ..READY
        };
        let resume = resume(vcpu.answer(&mut fake, &exit, status));
        assert_eq!(get(&resume, Register::Event), Some(0x8000_0030));
    }

    #[test]
    fn the_guests_own_fault_comes_with_cr2() {
        let mut fake = Fake::new();
        fake.faults.push_back(Outcome::Inject {
            code: 7,
            address: 0x5008,
        });
        let mut vcpu = start(&LINUX, &fake);
        let resume = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
        assert_eq!(get(&resume, Register::Event), Some(7 << 32 | 0x8000_0b0e));
        assert_eq!(get(&resume, Register::Cr2), Some(0x5008));
        assert_eq!(get(&resume, Register::Rip), None);
    }

    #[test]
    fn two_faults_are_a_double_fault_and_three_the_end() {
        let mut fake = Fake::new();
        let inject = Outcome::Inject {
            code: 0,
            address: 0x5008,
        };
        fake.faults.extend([inject, inject]);
        let mut vcpu = start(&LINUX, &fake);
        let second = resume(vcpu.answer(&mut fake, &page_fault(0x8000_0b0e), READY));
        assert_eq!(get(&second, Register::Event), Some(0x8000_0b08));
        assert_eq!(get(&second, Register::Cr2), None);
        let third = vcpu.answer(&mut fake, &page_fault(0x8000_0b08), READY);
        assert_eq!(stopped(third).0, Stop::TripleFault);
    }

    #[test]
    fn a_jump_to_no_memory_is_an_undefined_instruction() {
        let mut fake = Fake::new();
        fake.faults.push_back(Outcome::Device {
            gpa: Gpa::new(1 << 36),
            access: 0x10,
        });
        let mut vcpu = start(&LINUX, &fake);
        let resume = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
        assert_eq!(get(&resume, Register::Event), Some(UD));
    }

    fn no_root() -> Exit {
        Exit::NoRoot {
            mode: Mode::from_bits(0),
            rip: 0,
            cr3: 0,
        }
    }

    #[test]
    fn no_root_is_answered_by_mmu_server_and_keeps_the_event_on_its_way() {
        let mut fake = Fake::new();
        let mut vcpu = start(&LINUX, &fake);
        open_interrupts(&mut vcpu, &mut fake);
        fake.lines = 1 << 4;
        vcpu.signal(&mut fake, signal::LINE);
        fake.asked.clear();
        let status = Status {
            event_in_delivery: true,
            ..READY
        };
        let resume = resume(vcpu.answer(&mut fake, &no_root(), status));
        assert_eq!(fake.asked, [Asked::EnsureRoot]);
        assert_eq!(get(&resume, Register::Event), None);
        assert_eq!(get(&resume, Register::Window), Some(1));
    }

    #[test]
    fn a_root_that_never_comes_stops_the_vm() {
        let mut fake = Fake::new();
        let mut vcpu = start(&LINUX, &fake);
        let last = (0..40)
            .map(|_| vcpu.answer(&mut fake, &no_root(), READY))
            .last();
        assert_eq!(stopped(last.unwrap()).0, Stop::DomainFailed);
        fake.refuse_requests = true;
        let verdict = start(&LINUX, &fake).answer(&mut fake, &no_root(), READY);
        assert_eq!(stopped(verdict).0, Stop::DomainFailed);
    }

    #[test]
    fn a_load_mmu_server_does_not_understand_stops_the_vm() {
        let mut fake = Fake::new();
        fake.load = Loaded::Refused;
        let mut vcpu = start(&LINUX, &fake);
        let verdict = vcpu.answer(&mut fake, &cr(3, 0xa000), READY);
        assert_eq!(stopped(verdict).0, Stop::DomainFailed);
    }
}

mod control_registers {
    use super::*;

    #[test]
    fn a_new_cr3_is_loaded_and_then_set_by_the_reply() {
        let mut fake = Fake::new();
        let mut vcpu = start(&LINUX, &fake);
        let resume = resume(vcpu.answer(&mut fake, &cr(3, 0xa000), READY));
        assert_eq!(fake.asked, [Asked::Load(Load::Cr3, 0xa000)]);
        assert_eq!(get(&resume, Register::Cr3), Some(0xa000));
        assert_eq!(get(&resume, Register::Rip), Some(0x103));
        assert_eq!(vcpu.control().cr3, 0xa000);
    }

    #[test]
    fn a_refused_load_leaves_everything_and_raises() {
        let mut fake = Fake::new();
        fake.load = Loaded::GeneralProtection;
        let mut vcpu = start(&LINUX, &fake);
        let resume = resume(vcpu.answer(&mut fake, &cr(3, 0xa000), READY));
        assert_eq!(get(&resume, Register::Event), Some(GP));
        assert_eq!(get(&resume, Register::Cr3), None);
        assert_eq!(get(&resume, Register::Rip), None);
        assert_eq!(vcpu.control().cr3, 0x9000);
    }

    #[test]
    fn a_new_paging_format_reaches_the_kernel_before_mmu_server() {
        let mut fake = Fake::new();
        let mut vcpu = start(&MULTIBOOT, &fake);
        vcpu.answer(&mut fake, &cr(4, cr4::PAE), READY);
        vcpu.answer(&mut fake, &cr(3, 0x4000), READY);
        let exit = Exit::Msr {
            len: 2,
            write: true,
            rip: 0,
            number: 0xc000_0080,
            value: efer::LME,
        };
        vcpu.answer(&mut fake, &exit, READY);
        fake.asked.clear();
        let verdict = vcpu.answer(&mut fake, &cr(0, cr0::PG | cr0::PE), READY);
        let both = Register::Cr0.bit() | Register::Efer.bit();
        assert_eq!(
            fake.asked,
            [Asked::WroteRegisters(both), Asked::Load(Load::Cr0, 0x4000)]
        );
        assert!(vcpu.control().is_long());
        assert_eq!(get(&resume(verdict), Register::Cr0), None);
    }

    #[test]
    fn a_format_mmu_server_refuses_is_taken_back() {
        let mut fake = Fake::new();
        let mut vcpu = start(&MULTIBOOT, &fake);
        vcpu.answer(&mut fake, &cr(4, cr4::PAE), READY);
        fake.asked.clear();
        fake.load = Loaded::GeneralProtection;
        let verdict = vcpu.answer(&mut fake, &cr(0, cr0::PG | cr0::PE), READY);
        let bit = Register::Cr0.bit();
        assert_eq!(
            fake.asked,
            [
                Asked::WroteRegisters(bit),
                Asked::Load(Load::Cr0, 0),
                Asked::WroteRegisters(bit)
            ]
        );
        assert_eq!(get(&resume(verdict), Register::Event), Some(GP));
        assert_eq!(vcpu.control().cr0 & cr0::PG, 0);
    }

    #[test]
    fn registers_the_kernel_refuses_stop_the_vm() {
        let mut fake = Fake::new();
        fake.refuse_registers = true;
        let mut vcpu = start(&LINUX, &fake);
        let verdict = vcpu.answer(&mut fake, &cr(4, cr4::PAE | cr4::PGE), READY);
        assert_eq!(stopped(verdict).0, Stop::InvalidState);
    }

    #[test]
    fn clts_is_one_register_in_the_reply() {
        let mut fake = Fake::new();
        let mut vcpu = start(&LINUX, &fake);
        let set = vcpu.control().cr0 | cr0::TS;
        vcpu.answer(&mut fake, &cr(0, set), READY);
        let exit = Exit::Cr {
            len: 2,
            number: 0,
            gpr: 0,
            instruction: CrInstruction::Clts,
            rip: 0,
            value: 0,
            mode: Mode::from_bits(0),
        };
        let resume = resume(vcpu.answer(&mut fake, &exit, READY));
        assert_eq!(get(&resume, Register::Cr0), Some(set & !cr0::TS));
        assert!(fake.asked.is_empty());
    }

    #[test]
    fn smsw_to_memory_writes_sixteen_bits() {
        // smsw [rbx]
        let mut fake = Fake::new()
            .with(Register::Rbx, 0x3ffe)
            .with(Register::Cs, 0x0a9b_0010);
        fake.code = vec![0x0f, 0x01, 0x23];
        let mut vcpu = start(&LINUX, &fake);
        let exit = Exit::Cr {
            len: 3,
            number: 0,
            gpr: 0,
            instruction: CrInstruction::Other,
            rip: 0x100,
            value: 0,
            mode: Mode::from_bits(0),
        };
        let resume = resume(vcpu.answer(&mut fake, &exit, READY));
        assert_eq!(get(&resume, Register::Rip), Some(0x103));
        assert_eq!(fake.memory.get(&0x3ffe), Some(&(vcpu.control().cr0 as u8)));
        assert_eq!(fake.memory.len(), 2);
    }

    #[test]
    fn lmsw_from_memory_reads_sixteen_bits() {
        // lmsw [rbx]
        let mut fake = Fake::new()
            .with(Register::Rbx, 0x3000)
            .with(Register::Cs, 0x0a9b_0010);
        fake.code = vec![0x0f, 0x01, 0x33];
        fake.memory.insert(0x3000, 0x09);
        let mut vcpu = start(&LINUX, &fake);
        let exit = Exit::Cr {
            len: 3,
            number: 0,
            gpr: 0,
            instruction: CrInstruction::Other,
            rip: 0x100,
            value: 0,
            mode: Mode::from_bits(0),
        };
        vcpu.answer(&mut fake, &exit, READY);
        assert_eq!(vcpu.control().cr0 & cr0::TS, cr0::TS);
    }

    #[test]
    fn invlpg_reaches_mmu_server_only_while_there_is_paging() {
        let mut fake = Fake::new();
        let exit = Exit::Invlpg {
            len: 3,
            rip: 0,
            gva: Gva::new(0x5000),
            mode: Mode::from_bits(0),
        };
        start(&MULTIBOOT, &fake).answer(&mut fake, &exit, READY);
        assert!(fake.asked.is_empty());
        start(&LINUX, &fake).answer(&mut fake, &exit, READY);
        assert_eq!(fake.asked, [Asked::Invlpg(0x5000)]);
    }
}

mod ports {
    use super::*;

    #[test]
    fn a_port_of_the_device_server_is_one_call() {
        let mut fake = Fake::new();
        fake.port_values.push_back(0x1ff);
        let mut vcpu = start(&MULTIBOOT, &fake);
        let resume = resume(vcpu.answer(&mut fake, &input(0x3fd), MASKED));
        assert_eq!(fake.asked, [Asked::In(0x3fd, 1)]);
        assert_eq!(get(&resume, Register::Rax), Some(0x1234_56ff));
        assert_eq!(get(&resume, Register::Rip), Some(0x101));
    }

    #[test]
    fn a_port_nobody_has_reads_as_all_ones() {
        let mut fake = Fake::new();
        fake.port_outcome = Some(PortOutcome::NoPort);
        let mut vcpu = start(&MULTIBOOT, &fake);
        let exit = Exit::Io {
            len: 1,
            info: 0x1f0 << 16 | 0x41,
            rip: 0,
            rax: 0,
        };
        let resume = resume(vcpu.answer(&mut fake, &exit, MASKED));
        assert_eq!(get(&resume, Register::Rax), Some(0xffff_ffff));
    }

    #[test]
    fn exit_and_reset_end_the_vm() {
        let mut fake = Fake::new();
        let mut vcpu = start(&MULTIBOOT, &fake);
        fake.port_outcome = Some(PortOutcome::Exit(3));
        let verdict = vcpu.answer(&mut fake, &out(0xf4, 3), MASKED);
        assert_eq!(stopped(verdict), (Stop::ExitPort, 3));
        fake.port_outcome = Some(PortOutcome::Reset);
        let verdict = vcpu.answer(&mut fake, &out(0x64, 0xfe), MASKED);
        assert_eq!(stopped(verdict).0, Stop::Reset);
    }

    #[test]
    fn markers_are_kept_with_the_time() {
        let mut fake = Fake::new();
        let mut vcpu = start(&MULTIBOOT, &fake);
        let exit = Exit::Io {
            len: 1,
            info: 0x5e0 << 16 | 0x40,
            rip: 0,
            rax: 7,
        };
        vcpu.answer(&mut fake, &exit, MASKED);
        assert_eq!(vcpu.markers().kept(), [(7, 1_000_000)]);
        assert!(fake.asked.is_empty());
    }

    #[test]
    fn starting_the_timer_arms_one_deadline() {
        let mut fake = Fake::new();
        let mut vcpu = start(&MULTIBOOT, &fake);
        for (port, value) in [(0x43, 0x34), (0x40, 0xa9), (0x40, 0x04)] {
            vcpu.answer(&mut fake, &out(port, value), MASKED);
        }
        assert!(matches!(fake.asked[..], [Asked::Deadline(Some(_))]));
        vcpu.answer(&mut fake, &input(0x61), MASKED);
        assert_eq!(fake.asked.len(), 1);
    }
}

mod strings {
    use super::*;

    const DATA: u64 = 0xffff_ffff_0c93_0018;

    fn guest(rcx: u64) -> Fake {
        Fake::new()
            .with(Register::Rcx, rcx)
            .with(Register::Rsi, 0x2ffe)
            .with(Register::Rdi, 0x2ffe)
            .with(Register::Rflags, rflags::ONE)
            .with(Register::Es, DATA)
            .with(Register::Ds, DATA)
            .with(Register::Cs, 0xffff_ffff_0c9b_0008)
    }

    /// REP INSW or REP OUTSW at port 0x1f0 with 32-bit addresses in DS or ES.
    fn string(input: bool) -> Exit {
        let segment = if input { 0 } else { 3 };
        let info = 0x1f0 << 16 | segment << 10 | 1 << 8 | 0x2c | u32::from(input);
        Exit::Io {
            len: 2,
            info,
            rip: 0x100,
            rax: 0,
        }
    }

    #[test]
    fn input_is_stored_element_by_element_across_a_page() {
        let mut fake = guest(2);
        fake.port_values.extend([0x1122, 0x3344]);
        let mut vcpu = start(&MULTIBOOT, &fake);
        let resume = resume(vcpu.answer(&mut fake, &string(true), MASKED));
        let stored: Vec<u8> = fake.memory.values().copied().collect();
        assert_eq!(stored, [0x22, 0x11, 0x44, 0x33]);
        assert_eq!(get(&resume, Register::Rdi), Some(0x3002));
        assert_eq!(get(&resume, Register::Rcx), Some(0));
        assert_eq!(get(&resume, Register::Rip), Some(0x102));
    }

    #[test]
    fn output_reads_memory_and_goes_down_with_df() {
        let mut fake = guest(2).with(Register::Rflags, rflags::DF);
        fake.memory
            .extend([(0x2ffe, 1), (0x2fff, 2), (0x2ffc, 3), (0x2ffd, 4)]);
        let mut vcpu = start(&MULTIBOOT, &fake);
        let resume = resume(vcpu.answer(&mut fake, &string(false), MASKED));
        assert!(fake.asked.contains(&Asked::Out(0x1f0, 2, 0x201)));
        assert!(fake.asked.contains(&Asked::Out(0x1f0, 2, 0x403)));
        assert_eq!(get(&resume, Register::Rsi), Some(0x2ffa));
    }

    #[test]
    fn a_long_transfer_goes_on_at_the_next_exit() {
        let mut fake = guest(1000);
        let mut vcpu = start(&MULTIBOOT, &fake);
        let resume = resume(vcpu.answer(&mut fake, &string(false), MASKED));
        assert_eq!(get(&resume, Register::Rcx), Some(1000 - 32));
        assert_eq!(get(&resume, Register::Rip), None);
    }

    #[test]
    fn operands_the_kernel_could_not_read_are_filled_in_first() {
        let mut fake = guest(2);
        let mut vcpu = start(&MULTIBOOT, &fake);
        let exit = Exit::Io {
            len: 2,
            info: 0x1f0 << 16 | 0x2c,
            rip: 0x100,
            rax: 0,
        };
        let resume = resume(vcpu.answer(&mut fake, &exit, MASKED));
        assert!(resume.registers().mask().is_empty());
        assert!(matches!(fake.asked[..], [Asked::Fault([_, 0x100, _])]));
    }

    #[test]
    fn nothing_to_transfer_touches_nothing() {
        let mut fake = guest(0);
        let mut vcpu = start(&MULTIBOOT, &fake);
        let resume = resume(vcpu.answer(&mut fake, &string(true), MASKED));
        assert!(fake.asked.is_empty());
        assert_eq!(get(&resume, Register::Rip), Some(0x102));
    }

    #[test]
    fn a_fault_keeps_what_was_done_and_does_not_touch_the_port() {
        let mut fake = guest(2);
        let fault = Outcome::Inject {
            code: 3,
            address: 0x3000,
        };
        fake.odd_pages.insert(0x3000, fault);
        let mut vcpu = start(&MULTIBOOT, &fake);
        let resume = resume(vcpu.answer(&mut fake, &string(true), MASKED));
        assert_eq!(get(&resume, Register::Rcx), Some(1));
        assert_eq!(get(&resume, Register::Rdi), Some(0x3000));
        assert_eq!(get(&resume, Register::Cr2), Some(0x3000));
        assert_eq!(get(&resume, Register::Rip), None);
        let ins = fake
            .asked
            .iter()
            .filter(|asked| matches!(asked, Asked::In(..)));
        assert_eq!(ins.count(), 1);
    }

    #[test]
    fn a_segment_limit_raises() {
        let mut fake = guest(1).with(Register::Es, 0x0000_0fff_0493_0018);
        let mut vcpu = start(&MULTIBOOT, &fake);
        let resume = resume(vcpu.answer(&mut fake, &string(true), MASKED));
        assert_eq!(get(&resume, Register::Event), Some(GP));
        assert!(fake.asked.is_empty());
    }
}

mod interrupts {
    use super::*;

    #[test]
    fn a_line_that_rises_while_the_guest_runs_is_injected_in_its_window() {
        let mut fake = Fake::new();
        let mut vcpu = start(&MULTIBOOT, &fake);
        open_interrupts(&mut vcpu, &mut fake);
        fake.lines = 1 << 4;
        vcpu.signal(&mut fake, signal::LINE);
        vcpu.interrupt_running(&mut fake);
        assert_eq!(fake.asked, [Asked::Lines, Asked::Window(0)]);
        let exit = Exit::Window { rip: 0 };
        let resume = resume(vcpu.answer(&mut fake, &exit, READY));
        assert_eq!(get(&resume, Register::Event), Some(0x8000_0034));
        assert_eq!(get(&resume, Register::Window), None);
    }

    #[test]
    fn an_interrupt_that_cannot_be_taken_asks_for_a_window() {
        let mut fake = Fake::new();
        let mut vcpu = start(&MULTIBOOT, &fake);
        open_interrupts(&mut vcpu, &mut fake);
        fake.lines = 1 << 4;
        let masked = resume(vcpu.answer(&mut fake, &input(0x3fd), MASKED));
        assert_eq!(get(&masked, Register::Window), Some(1));
        assert_eq!(get(&masked, Register::Event), None);
        let ready = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
        assert_eq!(get(&ready, Register::Event), Some(0x8000_0034));
        // The window asked for is taken back.
        assert_eq!(get(&ready, Register::Window), Some(0));
        let after = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
        assert!(after.registers().mask().is_empty());
    }

    #[test]
    fn a_window_is_asked_for_once() {
        let mut fake = Fake::new();
        let mut vcpu = start(&MULTIBOOT, &fake);
        open_interrupts(&mut vcpu, &mut fake);
        fake.lines = 1 << 4;
        vcpu.answer(&mut fake, &input(0x3fd), MASKED);
        let second = resume(vcpu.answer(&mut fake, &page_fault(0), MASKED));
        assert!(second.registers().mask().is_empty());
        fake.asked.clear();
        vcpu.interrupt_running(&mut fake);
        assert!(fake.asked.is_empty());
    }

    #[test]
    fn a_halted_guest_wakes_by_a_signal() {
        let mut fake = Fake::new();
        let mut vcpu = start(&MULTIBOOT, &fake);
        open_interrupts(&mut vcpu, &mut fake);
        // STI; HLT: the shadow is over when HLT is.
        let status = Status {
            interrupt_shadow: true,
            ..READY
        };
        let exit = Exit::Hlt { len: 1, rip: 0x100 };
        let mut resume = halted(vcpu.answer(&mut fake, &exit, status));
        vcpu.signal(&mut fake, signal::LINE);
        assert!(!vcpu.wake(&mut fake, &mut resume));
        fake.lines = 1 << 4;
        vcpu.signal(&mut fake, signal::LINE);
        assert!(vcpu.wake(&mut fake, &mut resume));
        assert_eq!(get(&resume, Register::Event), Some(0x8000_0034));
        assert_eq!(get(&resume, Register::Rip), Some(0x101));
        assert_eq!(get(&resume, Register::InterruptShadow), Some(0));
        assert!(!vcpu.wake(&mut fake, &mut resume));
    }

    #[test]
    fn an_interrupt_that_waits_already_ends_the_halt_at_once() {
        let mut fake = Fake::new();
        let mut vcpu = start(&MULTIBOOT, &fake);
        open_interrupts(&mut vcpu, &mut fake);
        fake.lines = 1 << 4;
        vcpu.signal(&mut fake, signal::LINE);
        let exit = Exit::Hlt { len: 1, rip: 0x100 };
        let resume = resume(vcpu.answer(&mut fake, &exit, READY));
        assert_eq!(get(&resume, Register::Event), Some(0x8000_0034));
    }

    #[test]
    fn the_timer_wakes_a_halted_guest() {
        let mut fake = Fake::new();
        let mut vcpu = start(&MULTIBOOT, &fake);
        open_interrupts(&mut vcpu, &mut fake);
        for (port, value) in [(0x43, 0x34), (0x40, 0xa9), (0x40, 0x04)] {
            vcpu.answer(&mut fake, &out(port, value), MASKED);
        }
        let [Asked::Deadline(Some(deadline))] = fake.asked[..] else {
            panic!("{:?}", fake.asked);
        };
        let exit = Exit::Hlt { len: 1, rip: 0 };
        let mut resume = halted(vcpu.answer(&mut fake, &exit, READY));
        fake.tsc.set(deadline);
        fake.asked.clear();
        vcpu.signal(&mut fake, signal::DEADLINE);
        assert!(matches!(fake.asked[..], [Asked::Deadline(Some(_))]));
        assert!(vcpu.wake(&mut fake, &mut resume));
        assert_eq!(get(&resume, Register::Event), Some(0x8000_0030));
    }

    #[test]
    fn a_guest_that_waits_for_any_interrupt_goes_on_with_firmwares_next_tick() {
        let mut fake = Fake::new();
        let mut vcpu = Vcpu::new(&MULTIBOOT, 1000, 64 << 20, &fake).0;
        let exit = Exit::Hlt { len: 1, rip: 0 };
        let mut resume = halted(vcpu.answer(&mut fake, &exit, READY));
        let [.., Asked::Deadline(Some(deadline))] = fake.asked[..] else {
            panic!("{:?}", fake.asked);
        };
        fake.tsc.set(deadline);
        vcpu.signal(&mut fake, signal::DEADLINE);
        assert!(vcpu.wake(&mut fake, &mut resume));
        assert_eq!(get(&resume, Register::Event), Some(0x8000_0008));
    }

    #[test]
    fn halting_with_interrupts_off_is_the_end() {
        let mut fake = Fake::new();
        let mut vcpu = start(&MULTIBOOT, &fake);
        let exit = Exit::Hlt { len: 1, rip: 0 };
        let verdict = vcpu.answer(&mut fake, &exit, MASKED);
        assert_eq!(stopped(verdict), (Stop::Halted, 0));
    }
}

mod instructions {
    use super::*;

    fn instruction(code: u32) -> Exit {
        Exit::Instruction {
            len: 3,
            code,
            rip: 0x100,
            info1: 0,
            info2: 0,
        }
    }

    #[test]
    fn cpuid_shows_the_policy() {
        let mut fake = Fake::new();
        let mut vcpu = start(&MULTIBOOT, &fake);
        let exit = Exit::Cpuid {
            len: 2,
            rip: 0x100,
            leaf: 0x4000_0000,
            subleaf: 0,
        };
        let resume = resume(vcpu.answer(&mut fake, &exit, READY));
        assert_eq!(
            get(&resume, Register::Rbx),
            Some(u64::from(u32::from_le_bytes(*b"Umbr")))
        );
        assert_eq!(get(&resume, Register::Rip), Some(0x102));
    }

    #[test]
    fn an_unknown_msr_raises() {
        let mut fake = Fake::new();
        let mut vcpu = start(&MULTIBOOT, &fake);
        let exit = Exit::Msr {
            len: 2,
            write: false,
            rip: 0,
            number: 0x2fe,
            value: 0,
        };
        let resume = resume(vcpu.answer(&mut fake, &exit, READY));
        assert_eq!(get(&resume, Register::Event), Some(GP));
    }

    #[test]
    fn the_guests_tsc_starts_at_zero() {
        let mut fake = Fake::new();
        let (mut vcpu, registers) = Vcpu::new(&MULTIBOOT, 1000, 64 << 20, &fake);
        assert_eq!(
            registers.get(Register::TscOffset),
            1_000_000u64.wrapping_neg()
        );
        fake.tsc.set(1_000_005);
        let exit = Exit::Msr {
            len: 2,
            write: false,
            rip: 0,
            number: 0x10,
            value: 0,
        };
        let resume = resume(vcpu.answer(&mut fake, &exit, READY));
        assert_eq!(get(&resume, Register::Rax), Some(5));
        assert_eq!(get(&resume, Register::Rdx), Some(0));
    }

    #[test]
    fn svm_instructions_are_undefined_and_cache_flushes_are_nothing() {
        let mut fake = Fake::new();
        let mut vcpu = start(&LINUX, &fake);
        let undefined = resume(vcpu.answer(&mut fake, &instruction(0x80), READY));
        assert_eq!(get(&undefined, Register::Event), Some(UD));
        let skipped = resume(vcpu.answer(&mut fake, &instruction(0x89), READY));
        assert_eq!(get(&skipped, Register::Rip), Some(0x103));
    }

    #[test]
    fn a_task_switch_by_hardware_stops_the_vm_with_a_clear_word() {
        // As the kernel sends it, length known or not, and whatever was being delivered through a task gate.
        for (len, delivering) in [(0, false), (2, false), (0, true)] {
            let mut fake = Fake::new();
            let mut vcpu = start(&MULTIBOOT, &fake);
            let sent = Exit::Instruction {
                len,
                code: 0x7d,
                rip: 0x100,
                info1: 0x28,
                info2: 1 << 36,
            };
            let status = Status {
                event_in_delivery: delivering,
                ..READY
            };
            let label = ExitClass::Instruction as u64;
            let (exit, status) = Exit::decode(label, sent.encode(status)).expect("an exit");
            let Answer::Stop(stopped) = vcpu.answer(&mut fake, &exit, status) else {
                panic!("the VM went on")
            };
            assert_eq!(
                (stopped.reason, stopped.value),
                (Stop::UnknownExit, 0x7d),
                "{len}"
            );
            assert!(stopped.what.contains("task switch"), "{}", stopped.what);
            assert!(fake.asked.is_empty(), "nobody is asked for anything");
        }
    }

    #[test]
    fn exits_without_an_answer_stop_the_vm_and_say_which() {
        let mut fake = Fake::new();
        let mut vcpu = start(&LINUX, &fake);
        let verdict = vcpu.answer(&mut fake, &instruction(0x7e), READY);
        assert_eq!(stopped(verdict), (Stop::UnknownExit, 0x7e));
        let exit = Exit::Invalid { code: !0, rip: 0 };
        let verdict = vcpu.answer(&mut fake, &exit, READY);
        assert_eq!(stopped(verdict).0, Stop::InvalidState);
        let exit = Exit::FormatBroken {
            found: 5,
            installed_page: 6,
        };
        let verdict = vcpu.answer(&mut fake, &exit, READY);
        assert_eq!(stopped(verdict), (Stop::FormatBroken, 5));
        let exit = Exit::Shutdown { rip: 9, event: 0 };
        let verdict = vcpu.answer(&mut fake, &exit, READY);
        assert_eq!(stopped(verdict).0, Stop::TripleFault);
    }

    #[test]
    fn intercepted_exceptions_go_back_to_the_guest() {
        let mut fake = Fake::new();
        let mut vcpu = start(&LINUX, &fake);
        let alignment = Exit::Exception {
            vector: 17,
            code: 0,
            rip: 0,
            dr6: 0,
            event: 0,
        };
        let resume = resume(vcpu.answer(&mut fake, &alignment, READY));
        assert_eq!(get(&resume, Register::Event), Some(0x8000_0b11));
    }

    #[test]
    fn an_instruction_out_of_the_shadows_sight_is_filled_in_and_run_again() {
        let mut fake = Fake::new().with(Register::CsBase, 0x10000);
        let mut vcpu = start(&MULTIBOOT, &fake);
        let exit = Exit::Cpuid {
            len: 0,
            rip: 0xff8,
            leaf: 0,
            subleaf: 0,
        };
        let verdict = vcpu.answer(&mut fake, &exit, READY);
        assert!(resume(verdict).registers().mask().is_empty());
        let addresses: Vec<u64> = fake
            .asked
            .iter()
            .map(|asked| match asked {
                Asked::Fault([_, gva, _]) => *gva,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(addresses, [0x10ff8, 0x11000]);
        let last = (0..40).map(|_| vcpu.answer(&mut fake, &exit, READY)).last();
        assert_eq!(stopped(last.unwrap()), (Stop::DomainFailed, 0));
    }

    #[test]
    fn an_instruction_carried_out_here_is_a_step_of_a_guest_that_steps() {
        let mut fake = Fake::new().with(Register::Dr6, 0xffff_0ff1);
        let mut vcpu = start(&LINUX, &fake);
        let cpuid = Exit::Cpuid {
            len: 2,
            rip: 0x100,
            leaf: 0,
            subleaf: 0,
        };
        let stepping = Status {
            single_step: true,
            ..READY
        };
        let plain = resume(vcpu.answer(&mut fake, &cpuid, READY));
        assert_eq!(get(&plain, Register::Event), None);
        let stepped = resume(vcpu.answer(&mut fake, &cpuid, stepping));
        assert_eq!(get(&stepped, Register::Rip), Some(0x102));
        assert_eq!(get(&stepped, Register::Event), Some(0x8000_0301));
        assert_eq!(get(&stepped, Register::Dr6), Some(0xffff_4ff0));
        // A fault is no step.
        let faults = Exit::Msr {
            len: 2,
            write: false,
            rip: 0x100,
            number: 0xdead,
            value: 0,
        };
        let faulted = resume(vcpu.answer(&mut fake, &faults, stepping));
        assert_eq!(get(&faulted, Register::Event), Some(GP));
    }

    #[test]
    fn debug_registers_go_by_their_rules() {
        let mut fake = Fake::new().with(Register::Dr7, 0x400);
        let mut vcpu = start(&LINUX, &fake);
        let dr = |write, value| Exit::Dr {
            len: 3,
            number: 7,
            gpr: 2,
            write,
            rip: 0,
            value,
        };
        let read = resume(vcpu.answer(&mut fake, &dr(false, 0), READY));
        assert_eq!(get(&read, Register::Rdx), Some(0x400));
        let written = resume(vcpu.answer(&mut fake, &dr(true, 1), READY));
        assert_eq!(get(&written, Register::Dr7), Some(0x401));
        let refused = resume(vcpu.answer(&mut fake, &dr(true, 1 << 32), READY));
        assert_eq!(get(&refused, Register::Event), Some(GP));
    }
}

proptest::proptest! {
    /// Words of any value, as a broken kernel or a guest of bad will could make them.
    #[test]
    fn no_sequence_of_exits_panics_or_injects_nonsense(
        exits in proptest::collection::vec(
            (0x100u64..0x10f, proptest::prelude::any::<[u64; 4]>(), 0u8..4),
            0..60,
        ),
        code in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..15),
        long: bool,
    ) {
        let mut fake = Fake::new().with(Register::Cs, 0xffff_ffff_0a9b_0010);
        fake.code = code;
        let mut vcpu = start(if long { &LINUX } else { &MULTIBOOT }, &fake);
        for (label, words, outcome) in exits {
            fake.lines = words[3] as u16;
            fake.faults.clear();
            fake.faults.push_back(match outcome {
                0 => Outcome::Done,
                1 => Outcome::Inject { code: words[0] as u32 & 31, address: words[1] },
                2 => Outcome::Device { gpa: Gpa::new(words[1]), access: words[0] as u32 & 0x16 },
                _ => Outcome::Refused,
            });
            fake.tsc.set(fake.tsc.get().wrapping_add(words[2] >> 40));
            let (exit, status) = Exit::decode(label, words).unwrap();
            assert_eq!(Some(exit.class()), ExitClass::from_label(label));
            vcpu.signal(&mut fake, signal::LINE);
            match vcpu.answer(&mut fake, &exit, status) {
                Answer::Resume(resume) => {
                    let event = get(&resume, Register::Event).unwrap_or(1 << 31);
                    assert!(event >> 31 & 1 != 0);
                }
                Answer::Halt(mut resume) => assert!(!vcpu.wake(&mut fake, &mut resume)),
                Answer::Stop(stopped) => assert!(!stopped.what.is_empty()),
            }
            let control = vcpu.control();
            let paging = control.cr0 & cr0::PG != 0;
            assert_eq!(control.is_long(), paging && control.efer & efer::LME != 0);
            assert_eq!(control.efer & efer::SVME, 0);
        }
    }
}
