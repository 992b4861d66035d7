//! Control registers: what is loaded, refused, taken back.

use super::*;

#[test]
fn a_new_cr3_is_loaded_and_then_set_by_the_reply() {
    let (mut fake, mut vcpu) = linux();
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
    let (mut fake, mut vcpu) = multiboot();
    vcpu.answer(&mut fake, &cr(4, cr4::PAE), READY);
    vcpu.answer(&mut fake, &cr(3, 0x4000), READY);
    vcpu.answer(&mut fake, &write_msr(0xc000_0080, efer::LME), READY);
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
    let (mut fake, mut vcpu) = multiboot();
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
    let (mut fake, mut vcpu) = linux();
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
    let resume = resume(vcpu.answer(&mut fake, &machine_status(), READY));
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
    vcpu.answer(&mut fake, &machine_status(), READY);
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
