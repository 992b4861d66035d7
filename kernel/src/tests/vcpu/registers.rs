//! What the registers of a vCPU become in the processor, whatever is written to them, and who may read and write them.

use super::{Machine, long_mode, real_mode};
use crate::machine::Next;
use crate::tests::world::Answer;
use exit_abi::{ExitClass, Register};
use sel4_abi::{Error, label};
use words::svm::{event, exit, intercept1, intercept2, vintr, vmcb};
use words::x86::{cr0, cr4, efer, vector};

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

/// Whether the guest's #NM exits.
fn nm_exits(machine: &Machine) -> bool {
    machine.read(vmcb::EXCEPTIONS) as u32 & 1 << vector::NM != 0
}

#[test]
fn the_first_fpu_instruction_of_a_guest_switches_the_state_and_a_guests_own_ts_is_its_own() {
    const NM: u64 = exit::EXCEPTION + vector::NM as u64;
    const SWITCHED: u64 = cr0::TS | cr0::MP;
    let switched = |machine: &Machine| machine.read(vmcb::CR0) & SWITCHED;
    for own in [0, cr0::TS, cr0::MP, cr0::TS | cr0::MP] {
        let mut machine = real_mode();
        machine.set(&[(Register::Cr0, own)]).ok();
        machine.start();
        // WAIT, too, may find nothing of another's state.
        assert_eq!(switched(&machine), SWITCHED);
        assert!(nm_exits(&machine));
        let next = machine.exit(NM);
        assert!(matches!(next, Next::Guest { .. }));
        assert_eq!(switched(&machine), own);
        assert!(!nm_exits(&machine), "one of its own is the guest's alone");
        assert_eq!(machine.read(vmcb::EVENTINJ), 0);
        machine.exit(exit::CPUID);
        machine.answer(&[Register::Cr0.bit(), own ^ cr0::TS]);
        assert_eq!(switched(&machine), own ^ cr0::TS);
        assert!(!nm_exits(&machine));
    }
}
