//! The processor's edge: boot, entry from user mode, interrupts, the world switch, controllers.
//!
//! One processor. Everything above talks to [`hardware::Hardware`] through `kernel::machine::Machine`; [`run`] is the loop.

mod acpi;
mod apic;
mod boot;
mod breakpoints;
mod clock;
mod console;
mod cpu;
mod entry;
mod fault;
mod features;
mod guest;
mod hardware;
mod latency;
mod layout;
mod multiboot;
mod paging;
mod regions;
mod run;
mod segments;
mod self_test;
mod stacks;
mod svm;

use kernel::machine::{BootParams, Region, SvmFeatures};

use acpi::Acpi;
use console::say;
use hardware::Hardware;
use kernel::kernel::Kernel;
use multiboot::Multiboot;
use regions::{Full, Regions};

/// What the boot loader and the firmware said, and what was made of it.
struct Found {
    multiboot: Multiboot,
    acpi: Acpi,
    /// RAM without the kernel and its tables.
    memory: Regions,
}

/// Rust begins here, on the boot tables, with interrupts off.
extern "C" fn start(magic: u32, info: u32) -> ! {
    console::init();
    say!("umbra kernel {}", env!("CARGO_PKG_VERSION"));
    if magic != boot::LOADER_MAGIC {
        stop("the boot loader does not speak multiboot 1");
    }
    segments::init();
    segments::init_syscall();
    let svm = enable_svm();
    guest::save_host_state();
    features::enable();
    let (found, hardware) = prepare(info.into(), svm);
    boot_logic(&found, hardware)
}

/// Prints why nothing can run here, in the form the launcher knows, and stops.
fn stop(why: &str) -> ! {
    say!("umbra-panic {why}");
    cpu::halt_forever();
}

fn enable_svm() -> SvmFeatures {
    match svm::enable() {
        Ok(features) => features,
        Err(svm::Missing::Absent) => stop(
            "this CPU has no AMD SVM, which Umbra needs for its guests; in QEMU use -cpu qemu64",
        ),
        Err(svm::Missing::Disabled) => {
            stop("this CPU has no AMD SVM to offer: firmware has disabled it (VM_CR.SVMDIS)")
        }
    }
}

/// Reads what the loader left, builds the final tables, and brings up the controllers and the clock.
fn prepare(info: u64, svm: SvmFeatures) -> (Found, Hardware) {
    let Some(multiboot) = Multiboot::read(info) else {
        stop("the boot loader passed no memory map that can be read");
    };
    if !multiboot.command_line().is_empty() {
        say!("command line: {}", multiboot.command_line());
    }
    let Some(acpi) = Acpi::read() else {
        stop("the firmware has no ACPI tables that name the interrupt controllers");
    };
    let memory = match build_tables(&multiboot, &acpi) {
        Ok(memory) => memory,
        Err(error) => panic!("no page tables: {error:?}"),
    };
    apic::silence_8259s();
    let local = match apic::LocalApic::enable(&acpi) {
        Ok(local) => local,
        Err(apic::InX2ApicMode) => {
            stop("firmware left the local APIC in x2APIC mode, which Umbra does not use")
        }
    };
    let ioapics = apic::IoApics::new(&acpi, &local);
    let speeds = match clock::measure(&local) {
        Ok(speeds) => speeds,
        Err(clock::NoPit) => {
            stop("the PIT does not count, so the speed of the time stamp counter is unknown")
        }
    };
    let hardware = Hardware::new(local, ioapics, speeds, svm);
    (
        Found {
            multiboot,
            acpi,
            memory,
        },
        hardware,
    )
}

/// Loads the final tables; returns the RAM that is the logic's.
fn build_tables(multiboot: &Multiboot, acpi: &Acpi) -> Result<Regions, paging::Error> {
    let ram = multiboot.ram()?;
    let memory = without_image(&ram)?;
    let mut free = memory.clone();
    if let Some(module) = multiboot.module {
        free.remove(whole_pages(module))?;
    }
    let mut pages = [Region::default(); acpi::MAX_IOAPICS + 1];
    let devices = apic::register_pages(acpi, &mut pages);
    let tables = paging::build_and_load(&ram, &free, devices)?;
    let mut rest = memory;
    rest.remove(tables)?;
    Ok(rest)
}

fn without_image(ram: &Regions) -> Result<Regions, Full> {
    let mut memory = ram.clone();
    memory.remove(Region {
        start: layout::image_start(),
        end: layout::image().end - layout::IMAGE,
    })?;
    Ok(memory)
}

/// The pages a range touches.
fn whole_pages(region: Region) -> Region {
    Region {
        start: region.start / layout::PAGE * layout::PAGE,
        end: region.end.next_multiple_of(layout::PAGE),
    }
}

/// Tests the processor, then hands everything to the logic.
fn boot_logic(found: &Found, mut hardware: Hardware) -> ! {
    if let Err(failure) = self_test::run(&mut hardware) {
        panic!("self-test: {failure}");
    }
    let Some(module) = found.multiboot.module else {
        stop("the boot loader passed no module: there is no root task to start");
    };
    let mut devices = [Region::default(); acpi::MAX_IOAPICS + 1];
    let params = BootParams {
        memory: found.memory.as_slice(),
        module,
        kernel_devices: apic::register_pages(&found.acpi, &mut devices),
        kernel_pml4: paging::kernel_pml4(),
        rsdp: Some(found.acpi.rsdp()),
        memory_map: found.multiboot.memory_map(),
        command_line: found.multiboot.command_line(),
    };
    match Kernel::boot(hardware, &params) {
        Ok(kernel) => run::run(kernel),
        Err(error) => panic!("the system does not start: {error}"),
    }
}
