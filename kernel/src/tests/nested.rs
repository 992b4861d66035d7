//! Nested paging: the guest's registers are its own, the guest-physical space is what holds it.

use super::exits::exit_of;
use super::fake::FakeMachine;
use super::shadow::Guest;
use super::vcpu::Machine;
use super::world::Answer;
use crate::machine::Next;
use exit_abi::{Exit, ExitClass, Register};
use sel4_abi::boot_info::slot as fixed;
use sel4_abi::{Error, label, object};
use words::svm::{event, exit, intercept1, np, vmcb};
use words::x86::{cr0, cr4, efer, pf, pte, rflags, vector};

/// Frames of memory at guest-physical 0x10000, for code and tables.
const PAGES: u64 = 8;
const MEMORY: u64 = 0x1_0000;

/// A guest whose vCPU runs under nested paging, and the host addresses of its memory.
fn nested_on(machine: FakeMachine) -> (Machine, Vec<u64>) {
    let mut guest = Guest::with(machine);
    let w = &mut guest.world;
    guest.vcpu = w.make(object::VCPU, 0);
    w.call(guest.vcpu, label::VCPU_SET_NESTED, &[], &[guest.space])
        .ok();
    let memory = (0..PAGES).map(|n| {
        let frame = w.make(object::X86_4K, 0);
        let words = [MEMORY + (n << 12), 3, 0];
        w.call(frame, label::PAGE_MAP_GUEST, &words, &[guest.space])
            .ok();
        w.frame(frame)
    });
    let memory = memory.collect();
    (Machine::new(guest), memory)
}

fn nested() -> Machine {
    nested_on(FakeMachine::new()).0
}

fn tcg() -> FakeMachine {
    let mut machine = FakeMachine::new();
    machine.svm.tcg = true;
    machine
}

const LONG: [(Register, u64); 4] = [
    (Register::Cr0, cr0::PE | cr0::PG),
    (Register::Cr3, MEMORY),
    (Register::Cr4, cr4::PAE),
    (Register::Efer, efer::LME | efer::LMA),
];

fn is_running(next: Next) -> bool {
    matches!(next, Next::Guest { .. })
}

#[test]
fn a_nested_vcpu_runs_on_the_space_with_its_own_registers() {
    let mut machine = nested();
    machine.set(&LONG).ok();
    assert!(is_running(machine.start()));
    let root = machine.guest.world.space(machine.guest.space);
    assert_eq!(machine.read(vmcb::NP_CONTROL), np::ENABLE);
    assert_eq!(machine.read(vmcb::N_CR3), root.bits());
    assert_eq!(machine.read(vmcb::CR3), MEMORY);
    assert_eq!(machine.read(vmcb::G_PAT), 0x0606_0606_0606_0606);
    assert_ne!(machine.read(vmcb::ASID) as u32, 0);
    let writes = machine.read(vmcb::CR_READ) as u32;
    assert_eq!(writes, 0x11_0011, "CR0 and CR4 are intercepted, CR3 is not");
    assert_eq!(machine.read(vmcb::EXCEPTIONS) as u32 & 1 << vector::PF, 0);
    let first = (machine.read(vmcb::EXCEPTIONS) >> 32) as u32;
    assert_eq!(first & intercept1::INVLPG, 0);
    machine.guest.world.check();
}

#[test]
fn real_mode_and_paging_off_run_as_they_are() {
    let mut machine = nested();
    assert!(is_running(machine.start()));
    assert_eq!(machine.read(vmcb::CR0) & (cr0::PE | cr0::PG | cr0::WP), 0);
    assert_eq!(machine.read(vmcb::CR4) & cr4::PAE, 0);
    assert_eq!(
        machine.read(vmcb::EFER) & !(efer::SCE | efer::NXE),
        efer::SVME
    );
}

#[test]
fn what_a_nested_guest_cannot_have_it_does_not_get_whatever_its_monitor_writes() {
    let mut machine = nested();
    machine.start();
    for (cr0v, cr4v, eferv) in [
        (u64::MAX, u64::MAX, u64::MAX),
        (0, 0, 0),
        (cr0::PE | cr0::PG, 0, u64::MAX),
        (0, cr4::PAE, efer::LME | efer::LMA),
        (
            cr0::CD | cr0::NW | cr0::PE,
            cr4::PKE | cr4::OSXSAVE,
            efer::LME,
        ),
    ] {
        machine.exit(exit::CPUID);
        let mask = Register::Cr0.bit() | Register::Cr4.bit() | Register::Efer.bit();
        machine.answer(&[mask, cr0v, cr4v, eferv]);
        let (real0, real4, real_efer) = (
            machine.read(vmcb::CR0),
            machine.read(vmcb::CR4),
            machine.read(vmcb::EFER),
        );
        assert_eq!(real0 & (cr0::CD | cr0::NW), 0);
        assert_eq!(real0 & !cr0::DEFINED, 0);
        assert_eq!(
            real4 & (cr4::LA57 | cr4::PCIDE | cr4::PKE | cr4::OSXSAVE),
            0,
            "{cr4v:#x}"
        );
        assert_ne!(real4 & cr4::MCE, 0);
        assert_ne!(real_efer & efer::SVME, 0);
        let known = efer::SVME | efer::SCE | efer::NXE | efer::LME | efer::LMA;
        assert_eq!(real_efer & !known, 0);
        // VMRUN refuses long mode without PAE or protection, and QEMU's comes back without the host's paging.
        let long = real_efer & (efer::LME | efer::LMA);
        let allowed = real0 & cr0::PG != 0 && real0 & cr0::PE != 0 && real4 & cr4::PAE != 0;
        assert!(long == 0 || (allowed && long == efer::LME | efer::LMA));
        assert_eq!(machine.read(vmcb::NP_CONTROL), np::ENABLE);
        let reads = machine.read(vmcb::CR_READ) as u32;
        assert_eq!(reads & 0x11_0011, 0x11_0011);
    }
    machine.guest.world.check();
}

#[test]
fn on_the_software_cpu_cr3_writes_and_page_faults_exit_as_well() {
    let (mut machine, _) = nested_on(tcg());
    machine.set(&LONG).ok();
    machine.start();
    assert_eq!(machine.read(vmcb::CR_READ) as u32, 0x19_0011);
    // A reserved bit without P: the guest sees what a processor says, and its CR2.
    machine.write(vmcb::EXITINFO1, u64::from(pf::RSVD | pf::U));
    machine.write(vmcb::EXITINFO2, 0x1234_5678);
    let next = machine.exit(exit::EXCEPTION + u64::from(vector::PF));
    assert!(is_running(next));
    assert_eq!(
        machine.read(vmcb::EVENTINJ),
        event::exception_with_code(vector::PF, pf::RSVD | pf::U | pf::P)
    );
    assert_eq!(machine.read(vmcb::CR2), 0x1234_5678);
    assert_ne!(machine.read(vmcb::RFLAGS) & rflags::RF, 0);
    machine.write(vmcb::EXITINFO1, u64::from(pf::W));
    machine.exit(exit::EXCEPTION + u64::from(vector::PF));
    assert_eq!(
        machine.read(vmcb::EVENTINJ),
        event::exception_with_code(vector::PF, pf::W)
    );
    // While an event is delivered it is the monitor's to say what comes of both.
    machine.write(vmcb::EXITINTINFO, event::exception(vector::DE));
    let found = exit_of(&mut machine, exit::EXCEPTION + u64::from(vector::PF));
    let Exit::Exception {
        vector,
        code,
        event: first,
        ..
    } = found
    else {
        panic!("{found:?}")
    };
    assert_eq!(
        (vector, code, first),
        (vector::PF, pf::W, event::exception(vector::DE))
    );
    assert_eq!(machine.read(vmcb::EVENTINJ), 0);
}

#[test]
fn a_vcpu_has_a_pool_or_a_space_and_keeps_it() {
    let illegal = Answer::error(Error::IllegalOperation, &[]);
    let mut machine = nested();
    let g = &mut machine.guest;
    let bind = |g: &mut Guest, vcpu| g.world.call(g.pool, label::POOL_BIND_VCPU, &[], &[vcpu]);
    let nest =
        |g: &mut Guest, vcpu, space| g.world.call(vcpu, label::VCPU_SET_NESTED, &[], &[space]);
    let (space, pool) = (g.space, g.pool);
    assert_eq!(bind(g, g.vcpu), illegal);
    assert_eq!(nest(g, g.vcpu, space), illegal);
    let fresh = g.world.make(object::VCPU, 0);
    assert_eq!(
        nest(g, fresh, pool),
        Answer::error(Error::InvalidCapability, &[1])
    );
    assert_eq!(
        g.world.call(fresh, label::VCPU_SET_NESTED, &[], &[]),
        Answer::error(Error::TruncatedMessage, &[])
    );
    let weak = g.world.copy(fresh, 3);
    assert_eq!(
        nest(g, weak, space),
        Answer::error(Error::InvalidCapability, &[0])
    );
    bind(g, fresh).ok();
    assert_eq!(nest(g, fresh, space), illegal);
    g.world.kernel.machine.svm.nested = false;
    let other = g.world.make(object::VCPU, 0);
    assert_eq!(nest(g, other, space), illegal, "no such processor");
    g.world.check();
}

/// What `away` takes from the guest-physical space is gone from the TLB before the guest runs again.
fn fresh_tag_after(away: impl FnOnce(&mut Guest)) {
    let mut machine = nested();
    let vcpu = machine.guest.world.vcpu(machine.guest.vcpu);
    assert!(machine.guest.world.kernel.vcpu_prepare(vcpu).is_some());
    let before = machine.read(vmcb::ASID) as u32;
    machine.guest.world.kernel.vcpu_prepare(vcpu);
    assert_eq!(machine.read(vmcb::ASID) as u32, before, "kept without need");
    away(&mut machine.guest);
    machine.guest.world.kernel.vcpu_prepare(vcpu);
    assert_ne!(machine.read(vmcb::ASID) as u32, before);
    machine.guest.world.check();
}

#[test]
fn a_frame_or_table_that_leaves_the_space_leaves_the_tlb() {
    fresh_tag_after(|g| {
        g.world
            .call(g.frames[0], label::X86_PAGE_UNMAP, &[], &[])
            .ok();
    });
    fresh_tag_after(|g| g.world.delete(g.frames[0]));
    fresh_tag_after(|g| {
        g.world
            .call(g.tables[2], label::GUEST_PAGE_TABLE_UNMAP, &[], &[])
            .ok();
    });
    fresh_tag_after(|g| {
        g.world
            .call(g.frames[0], label::PAGE_MAP_GUEST, &[0, 2, 0], &[g.space])
            .ok();
    });
    fresh_tag_after(|g| {
        let memory = g.world.retype(g.world.spare, object::UNTYPED, 12);
        let frame = g.world.retype(memory, object::X86_4K, 0);
        g.world
            .call(frame, label::PAGE_MAP_GUEST, &[0x5000, 3, 0], &[g.space])
            .ok();
        let vcpu = g.world.vcpu(g.vcpu);
        g.world.kernel.vcpu_prepare(vcpu);
        g.world.revoke(memory);
    });
}

#[test]
fn a_register_that_translations_depend_on_takes_them_out_of_the_tlb() {
    for (register, value, fresh) in [
        (Register::Cr0, cr0::PG, true),
        (Register::Cr0, cr0::WP, true),
        (Register::Cr0, cr0::TS, false),
        (Register::Cr3, 0, true),
        (Register::Cr4, cr4::SMEP, true),
        (Register::Efer, efer::NXE, true),
        (Register::Rax, 1, false),
    ] {
        let mut machine = nested();
        machine.set(&[(Register::Cr0, 0)]).ok();
        machine.start();
        let before = machine.read(vmcb::ASID) as u32;
        machine.exit(exit::CPUID);
        machine.answer(&[register.bit(), value]);
        assert_eq!(
            machine.read(vmcb::ASID) as u32 != before,
            fresh,
            "{register:?}"
        );
    }
}

#[test]
fn without_its_space_a_nested_vcpu_exits_and_never_runs() {
    let mut machine = nested();
    machine.guest.world.delete(machine.guest.space);
    machine.start();
    machine.expect_exit(ExitClass::NoRoot);
    assert!(!is_running(machine.answer(&[])));
    machine.guest.world.check();
}

#[test]
fn a_nested_vcpu_whose_space_lost_its_number_never_runs() {
    let mut world = super::world::World::new();
    let w = &mut world;
    let memory = w.make(object::UNTYPED, 12);
    let numbers = w.empty();
    let caps = [memory, fixed::CNODE];
    let make = label::X86_ASID_CONTROL_MAKE_POOL;
    w.call(fixed::ASID_CONTROL, make, &[numbers, 64], &caps)
        .ok();
    let space = w.make(object::GUEST_PML4, 0);
    w.call(numbers, label::X86_ASID_POOL_ASSIGN, &[], &[space])
        .ok();
    let slot = w.make(object::VCPU, 0);
    w.call(slot, label::VCPU_SET_NESTED, &[], &[space]).ok();
    let vcpu = w.vcpu(slot);
    assert!(w.kernel.vcpu_prepare(vcpu).is_some());
    w.delete(numbers);
    assert!(w.kernel.vcpu_prepare(vcpu).is_none());
    w.check();
}

#[test]
fn a_deleted_vcpu_leaves_its_space_and_the_others_stay() {
    let mut machine = nested();
    let g = &mut machine.guest;
    let more = [0, 1, 2].map(|_| {
        let vcpu = g.world.make(object::VCPU, 0);
        g.world
            .call(vcpu, label::VCPU_SET_NESTED, &[], &[g.space])
            .ok();
        vcpu
    });
    for vcpu in [more[1], more[2], g.vcpu] {
        g.world.delete(vcpu);
        g.world.check();
    }
    let rest = g.world.vcpu(more[0]);
    rest.flush.set(false);
    g.world
        .call(g.frames[0], label::X86_PAGE_UNMAP, &[], &[])
        .ok();
    assert!(rest.flush.get());
}

#[test]
fn a_nested_page_fault_is_told_with_address_and_event() {
    let mut machine = nested();
    machine.start();
    machine.write(vmcb::EXITINFO1, u64::from(pf::W | pf::U) | np::FINAL);
    machine.write(vmcb::EXITINFO2, 0xfee0_0300);
    machine.write(vmcb::RIP, 0x7c00);
    machine.write(vmcb::EXITINTINFO, event::interrupt(0x21));
    let found = exit_of(&mut machine, exit::NPF);
    let expected = Exit::NestedPaging {
        code: pf::W | pf::U,
        walk: false,
        gpa: words::Gpa::new(0xfee0_0300),
        rip: 0x7c00,
        event: event::interrupt(0x21),
    };
    assert_eq!(found, expected);
    machine.answer(&[]);
    machine.write(vmcb::EXITINFO1, u64::from(pf::U) | np::WALK);
    let found = exit_of(&mut machine, exit::NPF);
    assert!(
        matches!(found, Exit::NestedPaging { walk: true, .. }),
        "{found:?}"
    );
    let counters = machine.guest.world.vcpu(machine.guest.vcpu).counters();
    assert_eq!(counters.last(), Some(&2), "the last counter is theirs");
    assert_eq!(counters.iter().sum::<u64>(), 2);
}

#[test]
fn cr3_reads_back_what_the_guest_loaded() {
    let mut machine = nested();
    machine.set(&LONG).ok();
    machine.start();
    machine.write(vmcb::CR3, 0x5_5000);
    machine.exit(exit::CPUID);
    machine.expect_exit(ExitClass::Cpuid);
    let vcpu = machine.guest.world.vcpu(machine.guest.vcpu);
    assert_eq!(vcpu.cr3.get(), 0x5_5000);
    machine.answer(&[]);
    assert_eq!(machine.read(vmcb::CR3), 0x5_5000);
    // A refused VMRUN leaves anything in the VMCB.
    machine.write(vmcb::CR3, 0xdead);
    machine.exit(u64::MAX);
    machine.expect_exit(ExitClass::Invalid);
    assert_eq!(vcpu.cr3.get(), 0x5_5000);
}

/// A way from a linear address to the code page, in one of the guest's formats.
struct Way {
    name: &'static str,
    registers: &'static [(Register, u64)],
    linear: u64,
    /// Page of the guest's memory, word in it, value.
    tables: &'static [(usize, usize, u64)],
    /// Page and offset that the linear address comes to.
    at: (usize, u64),
}

const TABLE: u64 = pte::P | pte::RW | pte::US;
const PAGED: u64 = cr0::PE | cr0::PG;

const WAYS: &[Way] = &[
    Way {
        name: "paging off",
        registers: &[(Register::Cr0, cr0::PE)],
        linear: MEMORY + 0x5100,
        tables: &[],
        at: (5, 0x100),
    },
    Way {
        name: "two levels",
        registers: &[(Register::Cr0, PAGED), (Register::Cr3, MEMORY | 0x18)],
        linear: 0x40_1100,
        // Entry 1 of the directory is the high half of its first word; so is entry 1 of the table.
        tables: &[
            (0, 0, ((MEMORY + 0x1000) | TABLE) << 32),
            (1, 0, ((MEMORY + 0x5000) | TABLE) << 32),
        ],
        at: (5, 0x100),
    },
    Way {
        name: "two levels, 4 MiB page",
        registers: &[
            (Register::Cr0, PAGED),
            (Register::Cr3, MEMORY),
            (Register::Cr4, cr4::PSE),
        ],
        linear: 0x40_0000 + MEMORY + 0x5100,
        tables: &[(0, 0, (TABLE | pte::PS) << 32)],
        at: (5, 0x100),
    },
    Way {
        name: "PAE",
        registers: &[
            (Register::Cr0, PAGED),
            (Register::Cr3, MEMORY + 0x20),
            (Register::Cr4, cr4::PAE),
        ],
        linear: 0xc020_1100,
        tables: &[
            (0, 4 + 3, (MEMORY + 0x1000) | pte::P),
            (1, 1, (MEMORY + 0x2000) | TABLE),
            (2, 1, (MEMORY + 0x5000) | TABLE | pte::NX),
        ],
        at: (5, 0x100),
    },
    Way {
        name: "four levels",
        registers: &LONG,
        linear: 0xffff_8000_4020_1100,
        tables: &[
            (0, 256, (MEMORY + 0x1000) | TABLE),
            (1, 1, (MEMORY + 0x2000) | TABLE),
            (2, 1, (MEMORY + 0x3000) | TABLE),
            (3, 1, (MEMORY + 0x5000) | TABLE),
        ],
        at: (5, 0x100),
    },
    Way {
        name: "four levels, 2 MiB page",
        registers: &LONG,
        linear: MEMORY + 0x5100,
        tables: &[
            (0, 0, (MEMORY + 0x1000) | TABLE),
            (1, 0, (MEMORY + 0x2000) | TABLE),
            (2, 0, TABLE | pte::PS | pte::PAT_LARGE),
        ],
        at: (5, 0x100),
    },
    Way {
        name: "four levels, 1 GiB page",
        registers: &LONG,
        linear: MEMORY + 0x5100,
        tables: &[(0, 0, (MEMORY + 0x1000) | TABLE), (1, 0, TABLE | pte::PS)],
        at: (5, 0x100),
    },
    Way {
        name: "a root that maps itself",
        registers: &LONG,
        linear: 0x100,
        tables: &[(0, 0, MEMORY | TABLE)],
        at: (0, 0x100),
    },
];

fn on_way(way: &Way) -> (Machine, Vec<u64>) {
    let (mut machine, memory) = nested_on(FakeMachine::new());
    for &(page, word, value) in way.tables {
        crate::mem::write_bytes(memory[page] + 8 * word as u64, &value.to_le_bytes());
    }
    machine.set(way.registers).ok();
    let flat = [
        (Register::Rip, way.linear),
        (Register::CsBase, 0),
        (Register::Cs, 8 | 0xa9b << 16),
    ];
    machine.set(&flat).ok();
    machine.start();
    (machine, memory)
}

#[test]
fn instructions_are_read_through_the_guests_own_tables_in_every_format() {
    for way in WAYS {
        let (mut machine, memory) = on_way(way);
        // cs cpuid: three bytes, which no constant length would say.
        crate::mem::write_bytes(memory[way.at.0] + way.at.1, &[0x2e, 0x0f, 0xa2]);
        let found = exit_of(&mut machine, exit::CPUID);
        assert!(
            matches!(found, Exit::Cpuid { len: 3, .. }),
            "{}: {found:?}",
            way.name
        );
        machine.guest.world.check();
    }
}

#[test]
fn a_way_that_is_cut_or_leads_out_of_memory_gives_no_bytes() {
    for way in WAYS {
        for &(page, word, value) in way.tables {
            let low = if value as u32 == 0 {
                value >> 32
            } else {
                value
            };
            let shift = if value as u32 == 0 { 32 } else { 0 };
            for spoiled in [low & !pte::P, low | 0x4000_0000, 0] {
                let (mut machine, memory) = on_way(way);
                let bytes = (spoiled << shift).to_le_bytes();
                crate::mem::write_bytes(memory[page] + 8 * word as u64, &bytes);
                let found = exit_of(&mut machine, exit::CPUID);
                assert!(
                    matches!(found, Exit::Cpuid { len: 0, .. }),
                    "{} with {spoiled:#x}: {found:?}",
                    way.name
                );
            }
        }
    }
}
