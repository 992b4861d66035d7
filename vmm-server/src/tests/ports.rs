//! I/O ports: of the device server, of the board, of nobody.

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
    let (mut fake, mut vcpu) = multiboot();
    fake.port_outcome = Some(PortOutcome::Exit(3));
    let verdict = vcpu.answer(&mut fake, &out(0xf4, 3), MASKED);
    assert_eq!(stopped(verdict), (Stop::ExitPort, 3));
    fake.port_outcome = Some(PortOutcome::Reset);
    let verdict = vcpu.answer(&mut fake, &out(0x64, 0xfe), MASKED);
    assert_eq!(stopped(verdict).0, Stop::Reset);
}

#[test]
fn markers_are_kept_with_the_time() {
    let (mut fake, mut vcpu) = multiboot();
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
    let (mut fake, mut vcpu) = multiboot();
    for (port, value) in [(0x43, 0x34), (0x40, 0xa9), (0x40, 0x04)] {
        vcpu.answer(&mut fake, &out(port, value), MASKED);
    }
    assert!(matches!(fake.asked[..], [Asked::Deadline(Some(_))]));
    vcpu.answer(&mut fake, &input(0x61), MASKED);
    assert_eq!(fake.asked.len(), 1);
}
