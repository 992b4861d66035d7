//! Interrupt windows and the interception of IRET, on a processor and on the software CPU.

use super::{Machine, real_mode, real_mode_on};
use exit_abi::{ExitClass, Register};
use sel4_abi::label;
use words::svm::{exit, intercept1, vintr, vmcb};

#[test]
fn a_window_for_a_class_of_interrupts_opens_when_cr8_is_below_it_on_either_processor() {
    for tcg in [false, true] {
        let mut machine = real_mode_on(tcg);
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
        let mut machine = real_mode_on(tcg);
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
        let mut machine = real_mode_on(tcg);
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
