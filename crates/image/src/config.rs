//! `system.toml`: the machine, the programs of the domains, the VMs.
//!
//! [`System::parse`] answers a checked description or one line `FILE:LINE: what: remedy`. What depends on the guest's
//! files (do they fit, do loaded files overlap) is checked when they are packed, with the line kept in
//! [`Vm::line`] and [`Load::line`].

mod check;
mod cpu;
mod raw;
mod size;

use protocol::mmu::MIN_POOL_PAGES;
use protocol::system::{Flush, Paging, Policy};

use crate::Error;

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Guest memory comes in pieces of this size.
pub const MEMORY_STEP: u64 = 2 << 20;
/// Most guest memory: it is contiguous from address zero, and above begin the addresses of the PC's devices.
pub const MEMORY_MAX: u64 = 3 << 30;
/// Least machine memory kept for Umbra itself: kernel, domains, the packed files.
pub const UMBRA_MEMORY: u64 = 96 << 20;

/// Most pages of a shadow pool.
const SHADOW_PAGES_MAX: u64 = 1 << 18;
/// The processor model of a machine nobody chose one for: AMD SVM without nested paging.
const CPU: &str = "qemu64";
/// The same where a VM wants nested paging: everything that QEMU's software processor has.
pub const CPU_NESTED: &str = "max";

/// The whole description.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct System {
    /// The machine that QEMU emulates.
    pub machine: Machine,
    /// Programs that stand in for the domains' own.
    pub domains: Domains,
    /// The VMs, at least one; exactly one has the console.
    pub vms: Vec<Vm>,
}

/// The machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Bytes of memory.
    pub memory: u64,
    /// QEMU's name of the processor model.
    pub cpu: String,
}

/// Paths of programs, relative to the file, where they are not the ones built with the image.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Domains {
    /// The root-task.
    pub root_task: Option<String>,
    /// Every VM's vmm-server.
    pub vmm_server: Option<String>,
    /// Every VM's mmu-server.
    pub mmu_server: Option<String>,
    /// The device server.
    pub drivers: Option<String>,
}

/// One VM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vm {
    /// The line where it is described.
    pub line: String,
    /// Its name, unlike any other's.
    pub name: String,
    /// Bytes of guest memory.
    pub memory: u64,
    /// Pages of the shadow pool.
    pub shadow_pages: u64,
    /// Shadow or nested paging.
    pub paging: Paging,
    /// How the shadow is kept.
    pub policy: Policy,
    /// How one address is flushed.
    pub flush: Flush,
    /// Priority of its vCPU.
    pub priority: u64,
    /// Owns the machine's console.
    pub console: bool,
    /// What it runs.
    pub guest: Guest,
    /// Files to load besides.
    pub loads: Vec<Load>,
    /// Its own vmm-server, relative to the file.
    pub vmm_server: Option<String>,
    /// Its own mmu-server, relative to the file.
    pub mmu_server: Option<String>,
}

/// What a VM runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Guest {
    /// A guest that comes with Umbra.
    pub name: Option<String>,
    /// A guest's file.
    pub kernel: Option<String>,
    /// Its initrd or modules.
    pub initrd: Vec<String>,
    /// More of the command line.
    pub append: Option<String>,
}

/// A file to be copied into guest memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Load {
    /// The line where it is described.
    pub line: String,
    /// The file.
    pub file: String,
    /// Guest-physical address.
    pub at: u64,
}

impl System {
    /// Reads and checks a description. `file` is the name that messages give it.
    ///
    /// # Errors
    /// The first thing that cannot work.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let lines = raw::Lines { file, text };
        check::system(&lines, &raw::parse(&lines)?)
    }

    /// Machine memory that the VMs and Umbra need.
    #[must_use]
    pub fn needed_memory(&self) -> u64 {
        self.vms.iter().map(Vm::footprint).sum::<u64>() + UMBRA_MEMORY
    }

    /// The VM that owns the console.
    #[must_use]
    pub fn console_vm(&self) -> usize {
        self.vms.iter().position(|vm| vm.console).unwrap_or(0)
    }
}

impl Vm {
    /// log2 of the pages of the object that the shadow pool is made of.
    #[must_use]
    pub fn shadow_bits(&self) -> u64 {
        u64::from(self.shadow_pages.next_power_of_two().trailing_zeros())
    }

    /// Machine memory the VM takes: its own, its shadow pool and the pool's header pages.
    #[must_use]
    pub fn footprint(&self) -> u64 {
        let pool = PAGE << self.shadow_bits();
        self.memory + pool + pool / 64
    }
}

/// Checks an amount of guest memory.
///
/// # Errors
/// What is wrong with it and what to do, to be put behind a place.
pub fn check_memory(memory: u64) -> Result<u64, (String, String)> {
    if memory == 0 || !memory.is_multiple_of(MEMORY_STEP) {
        return Err((
            format!(
                "guest memory of {} is no multiple of 2M",
                size::show(memory)
            ),
            "give it as 256M, for example".into(),
        ));
    }
    if memory > MEMORY_MAX {
        return Err((
            format!(
                "guest memory of {} is more than a guest can have",
                size::show(memory)
            ),
            "give it 3G at most: devices have the addresses above".into(),
        ));
    }
    Ok(memory)
}

/// Reads an amount as people write it: `4096`, `64K`, `256M`, `1G`, also `0x1000`.
///
/// # Errors
/// That it is none.
pub fn parse_size(text: &str) -> Result<u64, String> {
    size::parse(text).ok_or_else(|| format!("`{text}` is no amount: write 64K, 256M or 1G"))
}

/// An amount as people write it.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    size::show(bytes)
}

/// Reads the size of a shadow pool, as memory (`8M`) or as a number of pages (`2048`); answers the number of its pages.
///
/// # Errors
/// What is wrong with it and what to do.
pub fn parse_shadow(text: &str) -> Result<u64, String> {
    let amount = parse_size(text)?;
    let is_pages = text.bytes().all(|b| b.is_ascii_digit());
    let pages = if is_pages {
        Some(amount)
    } else {
        pages(amount)
    };
    check_shadow(pages.unwrap_or(0)).map_err(|(what, remedy)| format!("{what}: {remedy}"))
}

/// The whole pages that an amount is.
fn pages(bytes: u64) -> Option<u64> {
    bytes.is_multiple_of(PAGE).then_some(bytes / PAGE)
}

/// Checks a number of pages for a shadow pool: with fewer than the least, an instruction may need more tables than there are
/// and never get done.
///
/// # Errors
/// What is wrong with it and what to do, to be put behind a place.
fn check_shadow(pages: u64) -> Result<u64, (String, String)> {
    if (MIN_POOL_PAGES..=SHADOW_PAGES_MAX).contains(&pages) {
        return Ok(pages);
    }
    Err((
        "the shadow pool is too small, too large or no number of pages".into(),
        format!(
            "give it {MIN_POOL_PAGES} to {SHADOW_PAGES_MAX} pages, or up to {} of memory",
            size::show(PAGE * SHADOW_PAGES_MAX)
        ),
    ))
}

/// The way of paging with this name.
#[must_use]
pub fn paging(name: &str) -> Option<Paging> {
    match name {
        "shadow" => Some(Paging::Shadow),
        "nested" => Some(Paging::Nested),
        _ => None,
    }
}

pub use cpu::lacks_nested_paging;

/// The policy with this name.
#[must_use]
pub fn policy(name: &str) -> Option<Policy> {
    (name == "vtlb").then_some(Policy::Vtlb)
}

#[cfg(test)]
mod tests;
