//! `system.toml`: the machine, the programs of the domains, the VMs.
//!
//! [`System::parse`] answers a checked description or one line `FILE:LINE: what: remedy`. What depends on the guest's
//! files (do they fit, do loaded files overlap) is checked when they are packed, with the line kept in
//! [`Vm::line`] and [`Load::line`].

mod check;
mod raw;
mod size;

use protocol::system::{Flush, Policy};

use crate::Error;

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Guest memory comes in pieces of this size.
pub const MEMORY_STEP: u64 = 2 << 20;
/// Most guest memory: it is contiguous from address zero, and above begin the addresses of the PC's devices.
pub const MEMORY_MAX: u64 = 3 << 30;
/// Least machine memory kept for Umbra itself: kernel, domains, the packed files.
pub const UMBRA_MEMORY: u64 = 96 << 20;

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
    /// log2 of the shadow pool's pages.
    pub shadow_bits: u64,
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
    /// Machine memory the VM takes: its own, its shadow pool and the pool's header pages.
    #[must_use]
    pub fn footprint(&self) -> u64 {
        let pool = PAGE << self.shadow_bits;
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

/// The policy with this name.
#[must_use]
pub fn policy(name: &str) -> Option<Policy> {
    (name == "vtlb").then_some(Policy::Vtlb)
}

#[cfg(test)]
mod tests;
