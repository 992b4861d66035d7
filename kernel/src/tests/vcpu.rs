//! A hostile vmm-server against the VCPU: whatever it writes, the guest runs within I4 to I6 or exits.

use super::shadow::Guest;
use super::world::{Answer, Thread};
use crate::machine::Next;
use crate::object::tcb::State;
use crate::object::vcpu::After;
use exit_abi::{Exit, ExitClass, Register};
use sel4_abi::label::{self, LEVEL_PAE_ROOT};
use sel4_abi::{Error, object};
use words::svm::{event, exit, intercept1, intercept2, vintr, vmcb};
use words::x86::{cr0, cr4, efer, rflags, vector};

/// A guest whose vCPU thread is bound, and a server that waits for its exits; the server has the lower priority number
/// of the two that matter: it is answered and asked by the test.
pub struct Machine {
    pub guest: Guest,
    pub vmm: Thread,
    pub endpoint: u64,
    pub thread: Thread,
}

impl Machine {
    pub fn new(guest: Guest) -> Self {
        let mut guest = guest;
        let w = &mut guest.world;
        let endpoint = w.make(object::ENDPOINT, 0);
        let vmm = w.thread(200, true);
        let thread = w.thread(100, true);
        w.set_handler(thread, endpoint);
        w.call(guest.vcpu, label::VCPU_BIND_TCB, &[], &[thread.cap])
            .ok();
        Self {
            guest,
            vmm,
            endpoint,
            thread,
        }
    }

    /// The root task sleeps, the server waits, the vCPU runs: what the kernel wants to run then.
    pub fn start(&mut self) -> Next {
        let gate = self.guest.world.gate();
        let w = &mut self.guest.world;
        w.resume(self.vmm);
        w.call(self.guest.vcpu, label::VCPU_RUN, &[], &[]).ok();
        w.wait(gate);
        w.expect_running(self.vmm);
        w.recv(self.endpoint, self.vmm.reply)
    }
    /// The guest exits with `code`; what runs next.
    pub fn exit(&mut self, code: u64) -> Next {
        self.guest
            .world
            .vcpu(self.guest.vcpu)
            .write(vmcb::EXITCODE, code);
        match self.guest.world.kernel.handle_guest_exit() {
            After::Run(next) => next,
            After::Interrupt | After::Decide => self.guest.world.settle(),
        }
    }
    /// The server answers the exit and waits for the next one.
    pub fn answer(&mut self, words: &[u64]) -> Next {
        self.guest
            .world
            .reply_recv(self.endpoint, self.vmm.reply, 0, words)
    }
    /// The server has this exit in its hands.
    #[track_caller]
    pub fn expect_exit(&self, class: ExitClass) -> Vec<u64> {
        self.guest.world.expect_running(self.vmm);
        let message = self.guest.world.received(self.vmm.tcb);
        assert_eq!(message.label, class as u64);
        message.words
    }
    pub fn read(&self, offset: usize) -> u64 {
        self.guest.world.vcpu(self.guest.vcpu).read(offset)
    }
    pub fn write(&self, offset: usize, value: u64) {
        self.guest.world.vcpu(self.guest.vcpu).write(offset, value);
    }
    /// Writes registers from the root task.
    pub fn set(&mut self, registers: &[(Register, u64)]) -> Answer {
        let mut sorted = registers.to_vec();
        sorted.sort_by_key(|(register, _)| *register as u8);
        let mut words = vec![sorted.iter().map(|(register, _)| register.bit()).sum()];
        words.extend(sorted.iter().map(|(_, value)| value));
        self.guest
            .world
            .call(self.guest.vcpu, label::VCPU_WRITE_REGISTERS, &words, &[])
    }
}

/// A guest in real mode with a PAE root, ready to run.
pub fn real_mode() -> Machine {
    let mut guest = Guest::new();
    guest.pae_root();
    guest.set_root(8).ok();
    Machine::new(guest)
}

/// A guest in long mode with a four-level root, ready to run.
pub fn long_mode() -> Machine {
    let mut guest = Guest::new();
    guest.chain();
    let mut machine = Machine::new(guest);
    machine
        .set(&[
            (Register::Efer, efer::LME | efer::LMA),
            (Register::Cr0, cr0::PE | cr0::PG),
            (Register::Cr4, cr4::PAE),
            (Register::Cs, 0xa9b << 16 | 8),
        ])
        .ok();
    machine.guest.set_root(0).ok();
    machine
}

#[test]
fn a_vcpu_with_a_fitting_root_runs() {
    for make in [real_mode, long_mode] {
        let mut machine = make();
        let next = machine.start();
        let vcpu = machine.guest.world.vcpu(machine.guest.vcpu);
        assert!(
            matches!(next, Next::Guest { vmcb, .. } if vmcb == vcpu.hpa()),
            "{next:?}"
        );
        machine.guest.world.check();
    }
}

#[test]
fn a_vcpu_without_root_exits_with_no_root_and_runs_once_it_has_one() {
    let mut machine = Machine::new(Guest::new());
    machine.start();
    let words = machine.expect_exit(ExitClass::NoRoot);
    assert_eq!(words.len(), 4);
    assert_eq!(words[1], 0xfff0);
    let next = machine.answer(&[]);
    assert!(matches!(next, Next::User { .. }));
    machine.expect_exit(ExitClass::NoRoot);
    machine.guest.world.check();
}

#[test]
fn changing_long_mode_drops_the_root_and_a_root_of_the_other_format_is_none() {
    let mut machine = real_mode();
    machine.set(&[(Register::Efer, efer::LMA | efer::LME)]).ok();
    assert_eq!(
        machine.guest.world.vcpu(machine.guest.vcpu).root.get(),
        None
    );
    // A PAE root for a long-mode guest does not count.
    machine.guest.set_root(8).ok();
    machine.start();
    machine.expect_exit(ExitClass::NoRoot);
    let mut machine = long_mode();
    machine.set(&[(Register::Efer, efer::LME)]).ok();
    machine.guest.set_root(0).ok();
    machine.start();
    machine.expect_exit(ExitClass::NoRoot);
}

#[test]
fn bits_of_efer_that_do_not_change_the_format_keep_the_root() {
    let mut machine = long_mode();
    machine
        .set(&[(
            Register::Efer,
            efer::LMA | efer::LME | efer::SCE | efer::NXE,
        )])
        .ok();
    assert_eq!(
        machine.guest.world.vcpu(machine.guest.vcpu).root.get(),
        Some(0)
    );
}

#[test]
fn the_real_control_registers_are_the_kernels_for_every_combination_of_guest_bits() {
    const CR0: [u64; 11] = [
        cr0::PE,
        cr0::MP,
        cr0::EM,
        cr0::TS,
        cr0::ET,
        cr0::NE,
        cr0::WP,
        cr0::AM,
        cr0::NW,
        cr0::CD,
        cr0::PG,
    ];
    let cr4: Vec<u64> = (0..24).map(|n| 1 << n).collect();
    let subset = |bits: &[u64], choice: usize| {
        bits.iter()
            .enumerate()
            .filter(|(n, _)| choice >> n & 1 != 0)
            .map(|(_, bit)| bit)
            .sum::<u64>()
    };
    let step = |machine: &mut Machine, cr0v: u64, cr4v: u64, eferv: u64| {
        let vcpu = machine.guest.world.vcpu(machine.guest.vcpu);
        vcpu.cr0.set(cr0v);
        vcpu.cr4.set(cr4v);
        vcpu.efer.set(eferv);
        vcpu.written.set(false);
        assert!(machine.guest.world.kernel.vcpu_prepare(vcpu).is_some());
        let (cr0r, cr4r, eferr) = (
            machine.read(vmcb::CR0),
            machine.read(vmcb::CR4),
            machine.read(vmcb::EFER),
        );
        let long = eferv & efer::LMA != 0;
        assert_eq!(
            cr0r & (cr0::PG | cr0::WP | cr0::CD | cr0::NW),
            cr0::PG | cr0::WP,
            "CR0 {cr0v:#x}"
        );
        assert_eq!(cr0r & !cr0::DEFINED, 0);
        assert_eq!((cr0r ^ cr0v) & cr0::PE, 0);
        assert_eq!(
            cr4r & (cr4::PAE | cr4::LA57 | cr4::PCIDE | cr4::PGE | cr4::PKE),
            cr4::PAE,
            "CR4 {cr4v:#x}"
        );
        assert_eq!(
            cr4r & !machine.guest.world.kernel.machine.svm.cr4_allowed,
            0,
            "CR4 {cr4v:#x}"
        );
        if cr0v & cr0::PG == 0 {
            assert_eq!(cr4r & (cr4::SMEP | cr4::SMAP), 0);
        }
        assert_eq!(eferr & (efer::NXE | efer::SVME), efer::NXE | efer::SVME);
        let mode = if long { efer::LMA | efer::LME } else { 0 };
        assert_eq!(eferr & (efer::LMA | efer::LME), mode);
        assert_eq!(
            eferr & !(efer::NXE | efer::SVME | efer::LMA | efer::LME | efer::SCE),
            0
        );
    };
    let some = if cfg!(debug_assertions) { 97 } else { 1 };
    for (make, mode) in [(real_mode as fn() -> Machine, 0), (long_mode, efer::LMA)] {
        let mut machine = make();
        machine.start();
        for choice in 0..1 << CR0.len() {
            let cr0v = subset(&CR0, choice);
            for eferv in [0, efer::LME, efer::NXE | efer::SCE, !efer::LMA] {
                step(&mut machine, cr0v, !0, eferv | mode);
                step(&mut machine, cr0v, 0, eferv | mode);
            }
        }
        for choice in (0..1 << cr4.len()).step_by(32 * some) {
            let cr4v = subset(&cr4, choice) | choice as u64 >> 5 & 31;
            for cr0v in [0, cr0::PE, cr0::PE | cr0::PG, u64::MAX] {
                step(&mut machine, cr0v, cr4v, mode);
            }
        }
    }
}

#[test]
fn no_register_write_clears_an_intercept() {
    let mut machine = real_mode();
    for bit in 0..Register::COUNT {
        let words = [1 << bit, u64::MAX];
        machine
            .guest
            .world
            .call(machine.guest.vcpu, label::VCPU_WRITE_REGISTERS, &words, &[]);
    }
    machine
        .set(&[(Register::Efer, 0), (Register::Window, 0)])
        .ok();
    machine.guest.set_root(8).ok();
    machine.start();
    assert_eq!(machine.read(vmcb::CR_READ) as u32, 0x19_0019);
    assert_eq!(
        machine.read(vmcb::CR_READ) >> 32,
        0xffff_ffff,
        "debug registers"
    );
    let exceptions = machine.read(vmcb::EXCEPTIONS) as u32;
    for number in [vector::PF, vector::AC, vector::DB, vector::MC, vector::UD] {
        assert_ne!(exceptions & 1 << number, 0, "exception {number}");
    }
    let first = (machine.read(vmcb::EXCEPTIONS) >> 32) as u32;
    let needed = intercept1::INTR
        | intercept1::NMI
        | intercept1::SMI
        | intercept1::INIT
        | intercept1::RDPMC
        | intercept1::RSM
        | intercept1::INVD
        | intercept1::INVLPG
        | intercept1::INVLPGA
        | intercept1::IOIO_PROT
        | intercept1::MSR_PROT
        | intercept1::TASK_SWITCH
        | intercept1::SHUTDOWN;
    assert_eq!(first & needed, needed);
    let second = machine.read(vmcb::INTERCEPT2) as u32;
    let needed = intercept2::VMRUN
        | intercept2::VMMCALL
        | intercept2::VMLOAD
        | intercept2::VMSAVE
        | intercept2::STGI
        | intercept2::CLGI
        | intercept2::SKINIT
        | intercept2::WBINVD
        | intercept2::MONITOR
        | intercept2::MWAIT
        | intercept2::XSETBV;
    assert_eq!(second & needed, needed);
    assert_eq!(machine.read(vmcb::IOPM_BASE), 0x1_0000);
    assert_eq!(machine.read(vmcb::MSRPM_BASE), 0x1_4000);
    assert_eq!(machine.read(vmcb::NP_CONTROL), 0);
    assert_ne!(machine.read(vmcb::V_INTR) & vintr::INTR_MASKING, 0);
    assert_eq!(
        machine.read(vmcb::V_INTR) & !(vintr::INTR_MASKING | 15),
        0,
        "no virtual interrupt, no AVIC"
    );
    assert_eq!(machine.read(0xb8), 0, "no virtualised branch records");
}

#[test]
fn an_event_no_processor_takes_makes_the_vcpu_exit_as_invalid() {
    let software = event::VALID | event::TYPE_SOFT | 0x80;
    let mut machine = real_mode();
    let bit = u64::from(Register::Event as u8);
    for word in [
        software,
        event::exception(2),
        event::exception(31),
        event::VALID | 7 << 8,
    ] {
        assert_eq!(
            machine.set(&[(Register::Event, word)]),
            Answer::error(Error::RangeError, &[bit, bit])
        );
    }
    machine.start();
    for word in [software, event::exception(31)] {
        machine.exit(exit::CPUID);
        machine.expect_exit(ExitClass::Cpuid);
        machine.answer(&[Register::Event.bit(), word]);
        machine.expect_exit(ExitClass::Invalid);
        assert!(matches!(machine.answer(&[]), Next::Guest { .. }));
    }
    // So does a mask that promises more values than there are.
    for words in [
        &[Register::IretIntercept.bit()][..],
        &[Register::Rip.bit() | Register::Rax.bit(), 1][..],
    ] {
        machine.exit(exit::CPUID);
        machine.expect_exit(ExitClass::Cpuid);
        machine.answer(words);
        machine.expect_exit(ExitClass::Invalid);
        machine.answer(&[]);
    }
    machine.exit(exit::CPUID);
    let next = machine.answer(&[Register::Event.bit(), event::exception_with_code(13, 4)]);
    assert!(matches!(next, Next::Guest { .. }));
    assert_eq!(
        machine.read(vmcb::EVENTINJ),
        event::exception_with_code(13, 4)
    );
    machine.guest.world.check();
}

#[test]
fn a_state_the_processor_refuses_is_an_invalid_exit() {
    let mut machine = real_mode();
    machine.start();
    machine.exit(u64::MAX);
    let words = machine.expect_exit(ExitClass::Invalid);
    assert_eq!(words[0] & 0xffff_ffff, 0xffff_ffff);
}

#[test]
fn a_root_that_is_not_the_installed_one_stops_the_vm() {
    let mut machine = real_mode();
    machine.start();
    machine.write(vmcb::CR3, 0x1234_5000);
    machine.exit(exit::HLT);
    let words = machine.expect_exit(ExitClass::FormatBroken);
    assert_eq!(words[1..3], [0x1234_5000, 8]);
    // What was found is not run again when the handler goes on all the same.
    machine.answer(&[0]);
    assert_ne!(machine.read(vmcb::CR3), 0x1234_5000);
    assert_eq!(machine.read(vmcb::EVENTINJ), 0);
}

#[test]
fn a_flush_gives_a_fresh_tag_and_running_out_of_tags_flushes_everything() {
    let mut machine = real_mode();
    machine.guest.world.kernel.machine.svm.asids = 4;
    machine.start();
    let tag = |machine: &Machine| machine.read(vmcb::ASID) as u32;
    let control = |machine: &Machine| machine.read(vmcb::ASID) >> 32 & 0xff;
    assert_eq!((tag(&machine), control(&machine)), (1, 0));
    let mut seen = Vec::new();
    for _ in 0..7 {
        let vcpu = machine.guest.world.vcpu(machine.guest.vcpu);
        vcpu.flush.set(true);
        machine.exit(exit::INTR);
        seen.push((tag(&machine), control(&machine)));
        // Without a reason the tag stays, and nothing is flushed.
        machine.exit(exit::INTR);
        assert_eq!(
            (tag(&machine), control(&machine)),
            (seen.last().expect("just pushed").0, 0)
        );
    }
    assert_eq!(
        seen,
        [(2, 0), (3, 0), (1, 1), (2, 0), (3, 0), (1, 1), (2, 0)]
    );
}

#[test]
fn a_whole_flush_that_vmrun_did_not_get_to_is_done_by_the_next_one() {
    let mut machine = real_mode();
    machine.guest.world.kernel.machine.svm.asids = 2;
    machine.start();
    machine.guest.world.vcpu(machine.guest.vcpu).flush.set(true);
    machine.exit(exit::INTR);
    assert_eq!(machine.read(vmcb::ASID) >> 32 & 0xff, 1);
    machine.exit(u64::MAX);
    machine.expect_exit(ExitClass::Invalid);
    machine.answer(&[]);
    assert_eq!(machine.read(vmcb::ASID) >> 32 & 0xff, 1, "still due");
    machine.exit(exit::INTR);
    assert_eq!(machine.read(vmcb::ASID) >> 32 & 0xff, 0);
}

#[test]
fn one_address_is_invalidated_under_the_present_tag_unless_a_fresh_one_is_due() {
    let mut machine = real_mode();
    let invalidate =
        |machine: &mut Machine| machine.guest.ask(label::POOL_INVALIDATE, &[1, 0x7000]).ok();
    invalidate(&mut machine);
    assert!(
        machine.guest.world.kernel.machine.invlpga.is_empty(),
        "never ran: nothing to invalidate"
    );
    let vcpu = machine.guest.world.vcpu(machine.guest.vcpu);
    assert!(machine.guest.world.kernel.vcpu_prepare(vcpu).is_some());
    invalidate(&mut machine);
    assert_eq!(machine.guest.world.kernel.machine.invlpga, [(0x7000, 1)]);
    machine.guest.ask(label::POOL_INVALIDATE, &[0]).ok();
    invalidate(&mut machine);
    assert_eq!(machine.guest.world.kernel.machine.invlpga.len(), 1);
    assert_eq!(
        machine.guest.ask(label::POOL_INVALIDATE, &[2]),
        Answer::error(Error::InvalidArgument, &[0])
    );
    assert_eq!(
        machine.guest.ask(label::POOL_INVALIDATE, &[1]),
        Answer::error(Error::TruncatedMessage, &[])
    );
}

#[test]
fn a_window_for_a_class_of_interrupts_opens_when_cr8_is_below_it_on_either_processor() {
    for tcg in [false, true] {
        let mut guest = Guest::new();
        guest.world.kernel.machine.svm.tcg = tcg;
        guest.pae_root();
        guest.set_root(8).ok();
        let mut machine = Machine::new(guest);
        machine.start();
        for class in 0..16u64 {
            for cr8 in 0..16u64 {
                machine.exit(exit::CPUID);
                machine.expect_exit(ExitClass::Cpuid);
                let mask = Register::Window.bit() | Register::Cr8.bit();
                machine.answer(&[mask, 1 | class << 4, cr8]);
                let word = machine.read(vmcb::V_INTR);
                let (tpr, priority) = (word & 15, word >> vintr::PRIO_SHIFT & 15);
                // What the manual says of a processor, and what QEMU's software CPU does.
                let opens = word & vintr::IRQ != 0
                    && (word & vintr::IGN_TPR != 0
                        || if tcg { priority >= tpr } else { priority > tpr });
                assert_eq!(opens, class == 0 || cr8 < class, "class {class}, CR8 {cr8}");
                let first = (machine.read(vmcb::EXCEPTIONS) >> 32) as u32;
                assert_ne!(first & intercept1::VINTR, 0, "never delivered");
            }
        }
    }
}

#[test]
fn a_window_can_be_asked_for_with_a_class_while_the_guest_runs() {
    let mut machine = real_mode();
    let asked = |machine: &mut Machine, words: &[u64]| {
        let vcpu = machine.guest.vcpu;
        let w = &mut machine.guest.world;
        w.call(vcpu, label::VCPU_REQUEST_WINDOW, words, &[]).ok();
        let mask = [Register::Window.bit()];
        w.call(vcpu, label::VCPU_READ_REGISTERS, &mask, &[]).ok()
    };
    assert_eq!(asked(&mut machine, &[]), [1]);
    assert_eq!(asked(&mut machine, &[0x7f]), [0x71]);
}

#[test]
fn no_window_opens_in_an_interrupt_shadow_that_the_software_cpu_would_forget() {
    for tcg in [false, true] {
        let mut guest = Guest::new();
        guest.world.kernel.machine.svm.tcg = tcg;
        guest.pae_root();
        guest.set_root(8).ok();
        let mut machine = Machine::new(guest);
        machine
            .set(&[(Register::Window, 1), (Register::InterruptShadow, 1)])
            .ok();
        machine.start();
        assert_eq!(machine.read(vmcb::V_INTR) & vintr::IRQ == 0, tcg);
        machine.write(vmcb::INTERRUPT_SHADOW, 0);
        machine.exit(exit::INTR);
        assert_ne!(machine.read(vmcb::V_INTR) & vintr::IRQ, 0);
    }
}

#[test]
fn while_a_window_is_open_writes_of_cr8_exit_on_the_software_cpu_alone() {
    for tcg in [false, true] {
        let mut guest = Guest::new();
        guest.world.kernel.machine.svm.tcg = tcg;
        guest.pae_root();
        guest.set_root(8).ok();
        let mut machine = Machine::new(guest);
        machine.start();
        let writes = |machine: &Machine| machine.read(vmcb::CR_READ) as u32 >> 16;
        assert_eq!(writes(&machine), 0x19);
        machine.exit(exit::CPUID);
        machine.answer(&[Register::Window.bit(), 0x21]);
        assert_eq!(writes(&machine), if tcg { 0x119 } else { 0x19 });
        machine.exit(exit::VINTR);
        machine.answer(&[]);
        assert_eq!(writes(&machine), 0x19);
    }
}

#[test]
fn iret_is_intercepted_for_as_long_as_it_is_asked_for() {
    let mut machine = real_mode();
    let intercepted =
        |machine: &Machine| (machine.read(vmcb::EXCEPTIONS) >> 32) as u32 & intercept1::IRET != 0;
    machine.set(&[(Register::IretIntercept, 1)]).ok();
    machine.start();
    assert!(intercepted(&machine));
    machine.exit(exit::IRET);
    let words = machine.expect_exit(ExitClass::Instruction);
    assert_eq!(words[0] & 0xffff_ffff, exit::IRET);
    machine.answer(&[]);
    assert!(intercepted(&machine));
    machine.exit(exit::IRET);
    machine.answer(&[Register::IretIntercept.bit(), 0]);
    assert!(!intercepted(&machine));
}

#[test]
fn a_task_switch_by_hardware_is_told_to_the_server_by_its_code_and_nothing_of_it_happens() {
    for make in [real_mode, long_mode] {
        let mut machine = make();
        machine.start();
        let unchanged = |machine: &Machine| {
            [vmcb::RIP, vmcb::CR3, vmcb::TR, vmcb::EVENTINJ].map(|field| machine.read(field))
        };
        let before = unchanged(&machine);
        // The selector of the new TSS; a JMP, and an error code to push (APM vol. 2, 15.14.1).
        machine.write(vmcb::EXITINFO1, 0x28);
        machine.write(vmcb::EXITINFO2, 1 << 36 | 1 << 44 | 7);
        machine.exit(exit::TASK_SWITCH);
        let words = machine.expect_exit(ExitClass::Instruction);
        let words = words.try_into().expect("four words");
        let (told, _) = Exit::decode(ExitClass::Instruction as u64, words).expect("an exit");
        let Exit::Instruction { code, rip, .. } = told else {
            panic!("{told:?}")
        };
        assert_eq!((u64::from(code), rip), (exit::TASK_SWITCH, before[0]));
        assert_eq!(unchanged(&machine), before);
        // The server that stops the VM does not answer: the guest does not run on.
        machine.guest.world.check();
    }
}

#[test]
fn a_guests_breakpoints_are_loaded_while_it_runs_and_at_no_other_time() {
    let mut machine = real_mode();
    let loaded = |machine: &Machine| machine.guest.world.kernel.machine.debug_registers;
    machine
        .set(&[
            (Register::Dr0, 0x10),
            (Register::Dr1, 0x20),
            (Register::Dr2, 0x30),
            (Register::Dr3, 0x40),
        ])
        .ok();
    machine.start();
    assert_eq!(loaded(&machine), None);
    machine.exit(exit::CPUID);
    machine.answer(&[Register::Dr7.bit(), 0x480]);
    assert_eq!(loaded(&machine), Some(([0x10, 0x20, 0x30, 0x40], 0x480)));
    machine.exit(exit::CPUID);
    machine.expect_exit(ExitClass::Cpuid);
    assert_eq!(loaded(&machine), None);
    machine.answer(&[]);
    assert!(loaded(&machine).is_some());
}

#[test]
fn an_interrupted_event_is_injected_again_by_the_kernel() {
    let mut machine = real_mode();
    machine.start();
    machine.write(vmcb::EXITINTINFO, event::interrupt(0x21));
    let next = machine.exit(exit::INTR);
    assert!(matches!(next, Next::Guest { .. }));
    assert_eq!(machine.read(vmcb::EVENTINJ), event::interrupt(0x21));
    // With an exit for the server the word goes there instead.
    machine.exit(exit::EXCEPTION + 14);
    let words = machine.expect_exit(ExitClass::Paging);
    assert_eq!(words[3], event::interrupt(0x21));
    assert_eq!(machine.read(vmcb::EVENTINJ), 0);
}

/// Whether the guest goes on with RFLAGS.RF set.
fn resumes(machine: &Machine) -> bool {
    machine.read(vmcb::RFLAGS) & rflags::RF != 0
}

#[test]
fn a_fault_goes_into_the_guest_with_the_resume_flag_and_nothing_else_does() {
    let (flags, event) = (Register::Rflags.bit(), Register::Event.bit());
    let mut machine = real_mode();
    machine.start();
    for (word, fault) in [
        (event::exception(6), true),
        (event::exception_with_code(13, 4), true),
        (event::exception_with_code(14, 2), true),
        (event::exception(1), false),
        (event::exception(3), false),
        (event::exception_with_code(8, 0), false),
        (event::interrupt(14), false),
        (event::VALID | event::TYPE_NMI | 2, false),
        (0, false),
    ] {
        machine.exit(exit::CPUID);
        // RFLAGS of the same reply stand below what the fault adds.
        machine.answer(&[flags | event, 0x202, word]);
        assert_eq!(resumes(&machine), fault, "{word:#x}");
        assert_eq!(machine.read(vmcb::EVENTINJ), word);
    }
}

#[test]
fn a_fault_whose_delivery_was_broken_off_still_has_the_resume_flag() {
    let mut machine = real_mode();
    machine.start();
    for (word, fault) in [
        (event::exception_with_code(13, 4), true),
        (event::interrupt(0x21), false),
    ] {
        machine.write(vmcb::RFLAGS, 0x202);
        machine.write(vmcb::EXITINTINFO, word);
        machine.exit(exit::INTR);
        assert_eq!(machine.read(vmcb::EVENTINJ), word);
        assert_eq!(resumes(&machine), fault, "{word:#x}");
    }
}

/// A fault, and RFLAGS without and with the guest's own RF.
const FAULT: u64 = event::exception_with_code(13, 4);
const FLAGS: [(u64, bool); 2] = [(0x202, false), (0x1_0202, true)];

#[test]
fn a_fault_that_is_taken_back_leaves_the_resume_flag_as_the_guest_has_it() {
    for (flags, own) in FLAGS {
        for instead in [0, event::interrupt(0x21)] {
            let mut machine = real_mode();
            machine
                .set(&[(Register::Rflags, flags), (Register::Event, FAULT)])
                .ok();
            assert!(resumes(&machine));
            machine.set(&[(Register::Event, instead)]).ok();
            assert_eq!(resumes(&machine), own, "{flags:#x} {instead:#x}");
            // Once it is back to the guest's own, nothing more is taken.
            machine.set(&[(Register::Rflags, 0x1_0202)]).ok();
            machine.set(&[(Register::Event, 0)]).ok();
            assert!(resumes(&machine));
        }
    }
}

#[test]
fn flags_written_while_a_fault_waits_are_below_what_it_adds() {
    for (flags, own) in FLAGS {
        let mut machine = real_mode();
        machine.set(&[(Register::Event, FAULT)]).ok();
        machine.set(&[(Register::Rflags, flags)]).ok();
        assert!(resumes(&machine));
        machine.set(&[(Register::Event, 0)]).ok();
        assert_eq!(resumes(&machine), own, "{flags:#x}");
    }
}

#[test]
fn another_fault_in_place_of_one_that_waits_is_taken_back_as_well() {
    let mut machine = real_mode();
    machine.set(&[(Register::Event, FAULT)]).ok();
    machine.set(&[(Register::Event, event::exception(6))]).ok();
    assert!(resumes(&machine));
    machine.set(&[(Register::Event, 0)]).ok();
    assert!(!resumes(&machine));
}

#[test]
fn a_fault_whose_delivery_was_broken_off_is_told_with_the_guests_own_resume_flag() {
    for (flags, own) in FLAGS {
        let mut machine = real_mode();
        machine
            .set(&[(Register::Rflags, flags), (Register::Event, FAULT)])
            .ok();
        machine.start();
        machine.write(vmcb::EXITINTINFO, FAULT);
        machine.exit(exit::EXCEPTION + u64::from(vector::PF));
        machine.expect_exit(ExitClass::Paging);
        assert_eq!(resumes(&machine), own, "{flags:#x}");
        machine.answer(&[Register::Event.bit(), event::exception_with_code(8, 0)]);
        assert_eq!(resumes(&machine), own, "{flags:#x}");
    }
}

#[test]
fn a_fault_that_was_delivered_takes_nothing_of_the_guests_resume_flag_with_it() {
    let mut machine = real_mode();
    machine.set(&[(Register::Event, FAULT)]).ok();
    machine.start();
    // Delivered; its handler returned to an instruction with RF, which exits.
    machine.write(vmcb::RFLAGS, 0x1_0202);
    machine.exit(exit::CPUID);
    machine.answer(&[Register::Event.bit(), 0]);
    assert!(resumes(&machine));
}

#[test]
fn an_exit_tells_of_the_resume_flag() {
    let mut machine = real_mode();
    machine.start();
    for (flags, told) in [(0x1_0002, true), (2, false)] {
        machine.write(vmcb::RFLAGS, flags);
        machine.exit(exit::CPUID);
        let words = machine.expect_exit(ExitClass::Cpuid);
        let words = [words[0], words[1], words[2], 0];
        let (_, status) = Exit::decode(ExitClass::Cpuid as u64, words).expect("an exit");
        assert_eq!(status.resume_flag, told);
        machine.answer(&[]);
    }
}

#[test]
fn the_first_fpu_instruction_of_a_guest_switches_the_state_and_a_guests_own_ts_is_its_own() {
    let mut machine = real_mode();
    machine.start();
    assert_ne!(machine.read(vmcb::CR0) & cr0::TS, 0);
    let next = machine.exit(exit::EXCEPTION + u64::from(vector::NM));
    assert!(matches!(next, Next::Guest { .. }));
    assert_eq!(machine.read(vmcb::CR0) & cr0::TS, 0);
    assert_eq!(machine.read(vmcb::EXCEPTIONS) as u32 & 1 << vector::NM, 0);
    machine.exit(exit::CPUID);
    machine.answer(&[Register::Cr0.bit(), cr0::TS]);
    assert_ne!(machine.read(vmcb::CR0) & cr0::TS, 0);
    machine.exit(exit::EXCEPTION + u64::from(vector::NM));
    assert_eq!(machine.read(vmcb::EVENTINJ), event::exception(vector::NM));
    assert!(resumes(&machine));
}

#[test]
fn rights_of_a_vcpu_capability_are_kept_apart() {
    let mut machine = real_mode();
    let w = &mut machine.guest.world;
    let [run, read, paging] = [1, 2, 4].map(|rights| w.copy(machine.guest.vcpu, rights));
    let refused = Answer::error(Error::InvalidCapability, &[0]);
    for cap in [read, paging] {
        assert_eq!(
            w.call(cap, label::VCPU_WRITE_REGISTERS, &[1, 2], &[]),
            refused
        );
        assert_eq!(w.call(cap, label::VCPU_RUN, &[], &[]), refused);
        assert_eq!(w.call(cap, label::VCPU_REQUEST_WINDOW, &[], &[]), refused);
        assert_eq!(
            w.call(cap, label::VCPU_BIND_TCB, &[], &[machine.thread.cap]),
            refused
        );
    }
    for cap in [run, paging] {
        assert_eq!(w.call(cap, label::VCPU_READ_REGISTERS, &[1], &[]), refused);
        assert_eq!(w.call(cap, label::VCPU_READ_COUNTERS, &[], &[]), refused);
    }
    assert_eq!(
        w.call(run, label::VCPU_FETCH_INSTRUCTION, &[], &[]),
        refused
    );
    w.call(paging, label::VCPU_FETCH_INSTRUCTION, &[], &[]).ok();
    w.call(run, label::VCPU_WRITE_REGISTERS, &[1, 2], &[]).ok();
    assert_eq!(
        w.call(read, label::VCPU_READ_REGISTERS, &[1], &[]).ok(),
        [2]
    );
}

#[test]
fn every_register_reads_back_what_was_written_as_far_as_a_guest_may_have_it() {
    let mut machine = long_mode();
    for bit in 0..Register::COUNT {
        let value = match bit {
            25 => event::interrupt(0x55),
            _ => 0x35,
        };
        machine
            .guest
            .world
            .call(
                machine.guest.vcpu,
                label::VCPU_WRITE_REGISTERS,
                &[1 << bit, value],
                &[],
            )
            .ok();
        let read = machine
            .guest
            .world
            .call(
                machine.guest.vcpu,
                label::VCPU_READ_REGISTERS,
                &[1 << bit],
                &[],
            )
            .ok();
        let expected = match bit {
            17 => value & 0x3f_7fd5 | 2,
            18 => value & cr0::DEFINED,
            // The event of the last exit, not the one to come.
            25 => 0,
            26 | 52 | 63 => 1,
            28 => 0x31,
            61 => 5,
            _ => value,
        };
        assert_eq!(read, [expected], "register {bit}");
    }
}

#[test]
fn deleting_a_vcpu_stops_its_thread() {
    let mut machine = real_mode();
    let w = &mut machine.guest.world;
    w.call(machine.guest.vcpu, label::VCPU_RUN, &[], &[]).ok();
    assert_eq!(w.state(machine.thread), State::Restart);
    w.delete(machine.guest.vcpu);
    assert_eq!(w.state(machine.thread), State::Inactive);
    assert_eq!(machine.guest.ask(label::POOL_INFO, &[]).ok()[2], u64::MAX);
    machine
        .guest
        .ask(label::POOL_RESET, &[8, LEVEL_PAE_ROOT, 4, 5, 6, 7])
        .ok();
    machine.guest.world.check();
}
