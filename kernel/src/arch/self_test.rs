//! The self-test at boot: four small guests and the timer, before anything depends on them.
//!
//! Two guests, one in paged real mode on a PAE root, one in long mode, compute, store, halt and then touch a page the
//! shadow tables do not have. Then the timer must interrupt an idle processor, and a guest that spins with interrupts off.
#![allow(unsafe_code)] // Writes a VMCB and tables by hand.

use core::arch::global_asm;
use core::fmt;

use kernel::context::GuestRegisters;
use kernel::machine::{Machine, SvmFeatures};
use words::svm::{exit, intercept1, intercept2, vintr, vmcb};
use words::x86::{cr0, cr4, efer, pf, pte, vector};

use super::apic::TIMER_VECTOR;
use super::console::say;
use super::hardware::Hardware;
use super::layout::{self, HardwarePage};
use super::{entry, guest};

// Guest-virtual addresses: the code page, a word in it the guests write, and a page that is not mapped.
const CODE: u64 = 0x1000;
const RESULT: u64 = 0x800;
const ABSENT: u64 = 0x5000;

global_asm!(
    r#"
    .section .rodata.guests, "a"
umbra_real_guest:
    .code16
    mov ax, 0x1234
    lea bx, [eax + 1]
    mov [{result}], bx
    hlt
    mov cx, [{absent} - {code}]
umbra_long_guest:
    .code64
    mov rax, 0x123456789abcdef0
    lea rbx, [rax + 1]
    mov [{code} + {result}], rbx
    hlt
    mov rcx, [{absent}]
umbra_spinning_guest:
    cli
2:  jmp 2b
umbra_guests_end:
    .text
    "#,
    result = const RESULT,
    absent = const ABSENT,
    code = const CODE,
);

unsafe extern "C" {
    static umbra_real_guest: u8;
    static umbra_long_guest: u8;
    static umbra_spinning_guest: u8;
    static umbra_guests_end: u8;
}

/// Length of HLT.
const HLT_BYTES: u64 = 1;

static PML4: HardwarePage = HardwarePage::new();
static LONG_PDPT: HardwarePage = HardwarePage::new();
static PAE_PDPT: HardwarePage = HardwarePage::new();
static DIRECTORY: HardwarePage = HardwarePage::new();
static TABLE: HardwarePage = HardwarePage::new();
static CODE_PAGE: HardwarePage = HardwarePage::new();
static VMCB: HardwarePage = HardwarePage::new();

/// What went wrong, and the last exit.
pub struct Failure {
    what: &'static str,
    exit: u64,
    info: [u64; 2],
    rip: u64,
    rbx: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            exit,
            info: [info1, info2],
            rip,
            rbx,
        } = self;
        write!(
            f,
            "{what} failed: exit {exit:#x}, {info1:#x}, {info2:#x}, rip {rip:#x}, rbx {rbx:#x}"
        )
    }
}

/// Runs everything and prints two lines.
pub fn run(hardware: &mut Hardware) -> Result<(), Failure> {
    map_code();
    let svm = hardware.svm();
    run_real(&svm)?;
    run_long(&svm)?;
    say!("self-test: real mode ok, long mode ok");
    timer_while_idle(hardware)?;
    timer_in_guest(hardware, &svm)?;
    say!("self-test: timer while idle ok, timer in a guest with interrupts off ok");
    Ok(())
}

/// Fills the tables of both formats, which share the lower two levels: one page at [`CODE`].
fn map_code() {
    let all = pte::P | pte::RW | pte::US;
    put_entry(&PML4, 0, LONG_PDPT.hpa().bits() | all);
    put_entry(&LONG_PDPT, 0, DIRECTORY.hpa().bits() | all);
    // A PAE root's entries carry no rights (APM vol. 2, 5.2.3).
    put_entry(&PAE_PDPT, 0, DIRECTORY.hpa().bits() | pte::P);
    put_entry(&DIRECTORY, 0, TABLE.hpa().bits() | all);
    put_entry(&TABLE, (CODE >> 12) as usize, CODE_PAGE.hpa().bits() | all);
    let start = &raw const umbra_real_guest;
    let length = &raw const umbra_guests_end as usize - start as usize;
    // SAFETY: the guests' code, less than a page's half, goes into the page made for it; both are the image's.
    unsafe { core::ptr::copy_nonoverlapping(start, CODE_PAGE.words().cast(), length) };
}

fn put_entry(table: &HardwarePage, index: usize, value: u64) {
    // SAFETY: `index` is below 512; no guest runs.
    unsafe { table.words().add(index).write_volatile(value) };
}

/// Offset in the code page of a label of the guests.
fn offset_of(label: *const u8) -> u64 {
    label as u64 - &raw const umbra_real_guest as u64
}

/// Writes a field of the VMCB.
fn set<T>(field: usize, value: T) {
    // SAFETY: fields lie inside the page, aligned as their type asks; no guest runs.
    unsafe {
        VMCB.words()
            .cast::<u8>()
            .add(field)
            .cast::<T>()
            .write_volatile(value)
    };
}

/// Reads a 64-bit field of the VMCB.
fn get(field: usize) -> u64 {
    // SAFETY: as for `set`.
    unsafe {
        VMCB.words()
            .cast::<u8>()
            .add(field)
            .cast::<u64>()
            .read_volatile()
    }
}

fn set_segment(field: usize, selector: u16, attributes: u16, limit: u32, base: u64) {
    set(field, selector);
    set(field + 2, attributes);
    set(field + 4, limit);
    set(field + 8, base);
}

/// What every test guest has: intercepts, maps, a tag that nobody else uses yet.
fn prepare(svm: &SvmFeatures, rip: u64) {
    // SAFETY: the page is the VMCB's alone; no guest runs.
    unsafe { VMCB.words().write_bytes(0, 512) };
    set(vmcb::EXCEPTIONS, u32::MAX);
    set(
        vmcb::INTERCEPT1,
        intercept1::INTR
            | intercept1::NMI
            | intercept1::SMI
            | intercept1::INIT
            | intercept1::CPUID
            | intercept1::INVD
            | intercept1::HLT
            | intercept1::IOIO_PROT
            | intercept1::MSR_PROT
            | intercept1::TASK_SWITCH
            | intercept1::SHUTDOWN,
    );
    set(vmcb::INTERCEPT2, intercept2::VMRUN | intercept2::VMMCALL);
    set(vmcb::IOPM_BASE, svm.iopm.bits());
    set(vmcb::MSRPM_BASE, svm.msrpm.bits());
    set(vmcb::ASID, 1u32);
    set(vmcb::TLB_CONTROL, 1u8);
    set(vmcb::V_INTR, vintr::INTR_MASKING);
    set(vmcb::DR6, 0xffff_0ff0u64);
    set(vmcb::DR7, 0x400u64);
    set(vmcb::RFLAGS, 2u64);
    set(vmcb::RIP, rip);
    set(vmcb::CR4, cr4::PAE | cr4::MCE);
}

/// A guest in real mode under paging: CR0.PE = 0 with PG = 1, which VMRUN alone can make.
fn prepare_real(svm: &SvmFeatures) {
    prepare(svm, 0);
    set(vmcb::CR0, cr0::PG | cr0::WP | cr0::NE | cr0::ET);
    set(vmcb::CR3, PAE_PDPT.hpa().bits());
    set(vmcb::EFER, efer::SVME | efer::NXE);
    set_segment(vmcb::CS, (CODE >> 4) as u16, 0x09b, 0xffff, CODE);
    for field in [vmcb::SS, vmcb::DS, vmcb::ES, vmcb::FS, vmcb::GS] {
        set_segment(field, (CODE >> 4) as u16, 0x093, 0xffff, CODE);
    }
    set_segment(vmcb::LDTR, 0, 0x082, 0xffff, 0);
    set_segment(vmcb::TR, 0, 0x08b, 0xffff, 0);
}

/// A guest in 64-bit mode.
fn prepare_long(svm: &SvmFeatures, label: *const u8) {
    prepare(svm, CODE + offset_of(label));
    set(vmcb::CR0, cr0::PG | cr0::WP | cr0::NE | cr0::ET | cr0::PE);
    set(vmcb::CR3, PML4.hpa().bits());
    set(vmcb::EFER, efer::SVME | efer::NXE | efer::LME | efer::LMA);
    set_segment(vmcb::CS, 0x08, 0xa9b, u32::MAX, 0);
    for field in [vmcb::SS, vmcb::DS, vmcb::ES, vmcb::FS, vmcb::GS] {
        set_segment(field, 0x10, 0xc93, u32::MAX, 0);
    }
    set_segment(vmcb::LDTR, 0, 0x082, 0, 0);
    set_segment(vmcb::TR, 0, 0x08b, 0xffff, 0);
}

/// Runs until an exit that is not a stray interrupt's.
fn enter(registers: &GuestRegisters) -> u64 {
    loop {
        enter_once(registers);
        if !matches!(get(vmcb::EXITCODE), exit::INTR | exit::NMI) {
            return get(vmcb::EXITCODE);
        }
        entry::take_interrupt();
    }
}

fn enter_once(registers: &GuestRegisters) {
    // The registers are on the stack: named by physical address, like every guest's.
    guest::enter_guest(VMCB.hpa(), layout::hpa_of(registers));
}

fn expect(what: &'static str, holds: bool, registers: &GuestRegisters) -> Result<(), Failure> {
    if holds {
        return Ok(());
    }
    Err(Failure {
        what,
        exit: get(vmcb::EXITCODE),
        info: [get(vmcb::EXITINFO1), get(vmcb::EXITINFO2)],
        rip: get(vmcb::RIP),
        rbx: registers.rbx.get(),
    })
}

/// Runs the prepared guest to its HLT, checks what it computed, then over it to its fault.
fn run_prepared(
    mode: &'static str,
    rax: u64,
    rip_base: u64,
    end: *const u8,
) -> Result<(), Failure> {
    let registers = GuestRegisters::default();
    let halted = enter(&registers) == exit::HLT;
    expect(
        mode,
        halted && get(vmcb::RAX) == rax && registers.rbx.get() == rax + 1,
        &registers,
    )?;
    // SAFETY: the word lies in the code page; the guest does not run now.
    let stored = unsafe { CODE_PAGE.words().add(RESULT as usize / 8).read_volatile() };
    expect(mode, stored == rax + 1, &registers)?;

    let rip = get(vmcb::RIP) + HLT_BYTES;
    expect(mode, rip_base + rip < CODE + offset_of(end), &registers)?;
    set(vmcb::RIP, rip);
    let faulted = enter(&registers) == exit::EXCEPTION + u64::from(vector::PF);
    let present = get(vmcb::EXITINFO1) & u64::from(pf::P) != 0;
    expect(
        mode,
        faulted && !present && get(vmcb::EXITINFO2) == ABSENT && get(vmcb::RIP) == rip,
        &registers,
    )
}

fn run_real(svm: &SvmFeatures) -> Result<(), Failure> {
    prepare_real(svm);
    run_prepared("real mode", 0x1234, CODE, &raw const umbra_long_guest)
}

fn run_long(svm: &SvmFeatures) -> Result<(), Failure> {
    prepare_long(svm, &raw const umbra_long_guest);
    let end = &raw const umbra_spinning_guest;
    run_prepared("long mode", 0x1234_5678_9abc_def0, 0, end)
}

/// Sets the timer one millisecond ahead.
fn set_timer(hardware: &mut Hardware) -> u64 {
    let due = hardware.now() + 1000 * hardware.tsc_mhz();
    hardware.set_deadline(due);
    due
}

fn timer_while_idle(hardware: &mut Hardware) -> Result<(), Failure> {
    let due = set_timer(hardware);
    let vector = entry::wait_for_interrupt();
    let late = hardware.now() + 50 * hardware.tsc_mhz() >= due;
    hardware.end_of_interrupt();
    expect(
        "timer while idle",
        vector == Some(TIMER_VECTOR) && late,
        &GuestRegisters::default(),
    )
}

fn timer_in_guest(hardware: &mut Hardware, svm: &SvmFeatures) -> Result<(), Failure> {
    let registers = GuestRegisters::default();
    prepare_long(svm, &raw const umbra_spinning_guest);
    set_timer(hardware);
    enter_once(&registers);
    let stopped = get(vmcb::EXITCODE) == exit::INTR && hardware.interrupt_pending();
    let vector = entry::take_interrupt();
    hardware.end_of_interrupt();
    expect(
        "timer in a guest",
        stopped && vector == Some(TIMER_VECTOR),
        &registers,
    )
}
