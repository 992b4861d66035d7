//! Instructions that touch addresses without memory.

use super::*;

const HOLE: Outcome = Outcome::Device {
    gpa: Gpa::new(0xfd00_0000),
    access: 0,
};

const IOAPIC: Outcome = Outcome::Device {
    gpa: Gpa::new(0xfec0_0000),
    access: 2,
};

fn faulting(code: &[u8]) -> Fake {
    let mut fake = Fake::new()
        .with(Register::Rip, 0x100)
        .with(Register::Rbx, 0xfd00_0000)
        .with(Register::Cs, 0x0a9b_0010);
    fake.faults.push_back(HOLE);
    fake.odd_pages.insert(0xfd00_0000, HOLE);
    fake.code = code.to_vec();
    fake
}

#[test]
fn a_load_from_no_memory_gives_all_ones() {
    // mov eax, [rbx]
    let mut fake = faulting(&[0x8b, 0x03]);
    let mut vcpu = start(&LINUX, &fake);
    let resume = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
    assert_eq!(get(&resume, Register::Rax), Some(0xffff_ffff));
    assert_eq!(get(&resume, Register::Rip), Some(0x102));
}

#[test]
fn a_store_to_no_memory_vanishes() {
    // mov [rbx], eax
    let mut fake = faulting(&[0x89, 0x03]);
    let mut vcpu = start(&LINUX, &fake);
    let resume = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
    assert_eq!(get(&resume, Register::Rip), Some(0x102));
    assert!(fake.memory.is_empty());
}

#[test]
fn bytes_the_shadow_does_not_show_are_read_by_a_walk() {
    let mut fake = faulting(&[0x8b]);
    fake.memory.extend([(0x100, 0x8b), (0x101, 0x03)]);
    let mut vcpu = start(&LINUX, &fake);
    let resume = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
    assert_eq!(get(&resume, Register::Rax), Some(0xffff_ffff));
    assert!(fake.asked.contains(&Asked::Read(0x100, 15, 0x10)));
}

#[test]
fn an_instruction_beyond_the_emulator_stops_the_vm_with_its_address() {
    // fld dword [rbx]
    let mut fake = faulting(&[0xd9, 0x03]);
    let mut vcpu = start(&LINUX, &fake);
    let verdict = vcpu.answer(&mut fake, &page_fault(0), READY);
    assert_eq!(stopped(verdict), (Stop::Emulation, 0x100));
}

#[test]
fn a_descriptor_without_memory_is_a_general_protection_fault() {
    let mut fake = faulting(&[]);
    let mut vcpu = start(&LINUX, &fake);
    let resume = resume(vcpu.answer(&mut fake, &page_fault(0x8000_0030), DELIVERING));
    assert_eq!(get(&resume, Register::Event), Some(GP));
}

/// A page with memory in front of the IOAPIC's.
fn astride(code: &[u8]) -> Fake {
    let mut fake = faulting(code)
        .with(Register::Rax, 0x4433_2211)
        .with(Register::Rbx, 0xfffe);
    fake.odd_pages.insert(0x1_0000, IOAPIC);
    fake.faults = [IOAPIC, IOAPIC].into();
    fake
}

#[test]
fn a_store_astride_memory_and_a_device_reaches_both() {
    // mov [rbx], eax
    let mut fake = astride(&[0x89, 0x03]);
    let mut vcpu = start(&LINUX, &fake);
    let written = resume(vcpu.answer(&mut fake, &fault_at(0x1_0000, 2, 0), READY));
    assert_eq!(get(&written, Register::Rip), Some(0x102));
    assert_eq!(fake.memory.get(&0xfffe), Some(&0x11));
    assert_eq!(fake.memory.get(&0xffff), Some(&0x22));
    // What was written selects a register of the IOAPIC, and reads back with the memory before it.
    fake.code = vec![0x8b, 0x03];
    let read = resume(vcpu.answer(&mut fake, &fault_at(0x1_0000, 0, 0), READY));
    assert_eq!(get(&read, Register::Rax), Some(0x33_2211));
}

#[test]
fn a_store_whose_other_page_faults_reaches_neither() {
    let mut fake = astride(&[0x89, 0x03]);
    let fault = Outcome::Inject {
        code: 3,
        address: 0x1_0000,
    };
    fake.odd_pages.insert(0x1_0000, fault);
    let mut vcpu = start(&LINUX, &fake);
    let resume = resume(vcpu.answer(&mut fake, &fault_at(0xfffe, 2, 0), READY));
    assert_eq!(get(&resume, Register::Event), Some(3 << 32 | 0x8000_0b0e));
    assert_eq!(get(&resume, Register::Cr2), Some(0x1_0000));
    assert!(fake.memory.is_empty());
}

#[test]
fn a_device_sees_the_width_of_an_access() {
    let mut vcpu = start(&LINUX, &Fake::new());
    let mut counter = |code: &[u8]| {
        let mut fake = faulting(code)
            .with(Register::Rax, 0x8877_6655_4433_2211)
            .with(Register::Rbx, 0x20f0);
        fake.faults.clear();
        fake.faults.push_back(Outcome::Device {
            gpa: Gpa::new(0xfed0_00f0),
            access: 2,
        });
        let resume = resume(vcpu.answer(&mut fake, &fault_at(0x20f0, 2, 0), READY));
        get(&resume, Register::Rax)
    };
    // The HPET's counter: mov [rbx], rax; mov rax, [rbx]; mov eax, [rbx]; movzx eax, word [rbx]
    counter(&[0x48, 0x89, 0x03]);
    assert_eq!(counter(&[0x48, 0x8b, 0x03]), None, "as it was");
    assert_eq!(counter(&[0x8b, 0x03]), Some(0x4433_2211));
    assert_eq!(counter(&[0x0f, 0xb7, 0x03]), Some(0x2211));
    // mov [rbx], eax
    counter(&[0x89, 0x03]);
    assert_eq!(counter(&[0x48, 0x8b, 0x03]), None);
}

#[test]
fn an_operand_beyond_its_segment_or_not_canonical_raises() {
    // mov eax, [rbx] and mov eax, [rbp]
    let mut fake = faulting(&[0x8b, 0x03]);
    fake.registers.set(Register::Rbx, 1 << 47);
    let mut vcpu = start(&LINUX, &fake);
    let resumed = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
    assert_eq!(get(&resumed, Register::Event), Some(GP));
    let mut fake = faulting(&[0x8b, 0x45, 0x00]).with(Register::Rbp, 1 << 47);
    let resumed = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
    assert_eq!(get(&resumed, Register::Event), Some(0x8000_0b0c), "#SS");
    // mov eax, [ebx] in 32-bit code, behind the limit of DS
    let mut fake = faulting(&[0x8b, 0x03])
        .with(Register::Ds, 0x0000_ffff_0c93_0018)
        .with(Register::Cs, 0xffff_ffff_0c9b_0010);
    let mut vcpu = start(&MULTIBOOT, &fake);
    let resumed = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
    assert_eq!(get(&resumed, Register::Event), Some(GP));
}

#[test]
fn an_instruction_that_touches_no_memory_any_longer_is_left_to_the_processor() {
    // cpuid
    let mut fake = faulting(&[0x0f, 0xa2]);
    let mut vcpu = start(&LINUX, &fake);
    let retried = resume(vcpu.answer(&mut fake, &page_fault(0), READY));
    assert!(retried.registers().mask().is_empty());
    let last = (0..40)
        .map(|_| {
            fake.faults.push_back(HOLE);
            vcpu.answer(&mut fake, &page_fault(0), READY)
        })
        .last();
    assert_eq!(stopped(last.unwrap()), (Stop::Emulation, 0x100));
}

#[test]
fn the_users_accesses_are_made_with_the_users_rights() {
    // mov eax, [rbx], whose page mmu-server was not asked about
    let mut fake = faulting(&[0x8b, 0x03]).with(Register::Cpl, 3);
    let mut vcpu = start(&LINUX, &fake);
    resume(vcpu.answer(&mut fake, &page_fault(0), READY));
    assert!(fake.asked.contains(&Asked::Read(0xfd00_0000, 4, 4)));
}
