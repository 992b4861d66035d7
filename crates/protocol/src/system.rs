//! The compiled system: what the host's composer writes (from `system.toml` and the chosen guest) and root-task reads.
//!
//! The archive is one blob, page-aligned: the magic `UMBRAARC`, a u64 length, a postcard-coded [`Archive`], then data at
//! the page-aligned offsets the archive names. Offsets are from the blob's first byte.

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

/// Magic at the archive's first byte.
pub const MAGIC: [u8; 8] = *b"UMBRAARC";
/// Most VMs.
pub const MAX_VMS: usize = 4;
/// Most loadable pieces of one domain image.
pub const MAX_SEGMENTS: usize = 8;
/// Most pieces of a guest.
pub const MAX_PIECES: usize = 16;

/// A name of a domain or VM.
pub type Name = String<32>;

/// Bytes at an offset of the archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Blob {
    /// Offset from the archive's first byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// A loadable piece of a domain image: page-aligned, permissions as the ELF file's program header has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Segment {
    /// Address in the domain.
    pub vaddr: u64,
    /// Bytes in memory; what the data does not cover is zero.
    pub memory_size: u64,
    /// The bytes. The offset is congruent to `vaddr` modulo the page size.
    pub data: Blob,
    /// Writable.
    pub write: bool,
}

/// A domain's program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Program {
    /// `vmm-server`, `mmu-server`, `drivers` or a test's stand-in for one.
    pub name: Name,
    /// First instruction.
    pub entry: u64,
    /// What to load.
    pub segments: Vec<Segment, MAX_SEGMENTS>,
}

/// How the guest's first instruction finds the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Entry {
    /// 64-bit Linux boot protocol: long mode, identity paging as built by the loader, RSI = zero page.
    Linux64 {
        /// First instruction.
        rip: u64,
        /// Guest-physical address of the zero page.
        zero_page: u64,
        /// CR3: page tables the loader put into guest memory.
        cr3: u64,
        /// Guest-physical address of the GDT the loader put there (boot CS 0x10, DS 0x18).
        gdt: u64,
    },
    /// Multiboot 1: protected mode without paging, EAX = magic, EBX = information.
    Multiboot {
        /// First instruction.
        eip: u32,
        /// Guest-physical address of the information structure.
        info: u32,
    },
    /// 32-bit Linux boot protocol: protected mode without paging, ESI = zero page.
    Linux32 {
        /// First instruction.
        eip: u32,
        /// Guest-physical address of the zero page.
        zero_page: u32,
        /// Guest-physical address of the GDT the loader put there (boot CS 0x10, DS 0x18).
        gdt: u32,
    },
    /// PVH: protected mode without paging, EBX = start information.
    Pvh {
        /// First instruction.
        eip: u32,
        /// Guest-physical address of `hvm_start_info`.
        start_info: u32,
    },
    /// Real mode at CS:IP.
    Real {
        /// Segment.
        cs: u16,
        /// Offset.
        ip: u16,
    },
}

/// Bytes to copy into guest memory before the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Piece {
    /// Where.
    pub gpa: u64,
    /// What; memory not covered by any piece is zero.
    pub data: Blob,
}

/// Which hardware format translates the guest's addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Paging {
    /// Shadow tables that mmu-server keeps.
    #[default]
    Shadow,
    /// The processor walks the guest's own tables, then the guest-physical space (APM vol. 2, 15.25).
    Nested,
}

/// How the shadow is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Policy {
    /// Dropped at every CR3 write: the 2006 recipe.
    Vtlb,
}

/// How one address is flushed from the real TLB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Flush {
    /// INVLPGA.
    Invlpga,
    /// A fresh TLB tag.
    Tag,
}

/// One VM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Vm {
    /// Its name in `system.toml`.
    pub name: Name,
    /// Guest RAM in bytes, a multiple of 2 MiB, from guest-physical 0.
    pub memory: u64,
    /// Shadow pool: log2 of its pages.
    pub shadow_bits: u64,
    /// Most pages of it that mmu-server uses.
    pub shadow_pages: u64,
    /// Shadow or nested paging.
    pub paging: Paging,
    /// Shadow policy; without a meaning under nested paging.
    pub policy: Policy,
    /// Flush method.
    pub flush: Flush,
    /// Priority of its vCPU (its servers run one above).
    pub priority: u64,
    /// Owns the machine's serial console; the others' output goes to the log.
    pub console: bool,
    /// What to copy into memory.
    pub pieces: Vec<Piece, MAX_PIECES>,
    /// Where to begin.
    pub entry: Entry,
    /// Program of its vmm-server (index into [`Archive::programs`]).
    pub vmm: u32,
    /// Program of its mmu-server.
    pub mmu: u32,
}

/// The whole system.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Archive {
    /// Programs.
    pub programs: Vec<Program, 8>,
    /// Program of the device server.
    pub drivers: u32,
    /// The VMs.
    pub vms: Vec<Vm, MAX_VMS>,
}

/// What a domain learns at its start, at [`layout::INFO`](crate::layout::INFO). The same structure for every server;
/// what does not concern one is left at zero.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DomainInfo {
    /// TSC ticks per microsecond.
    pub tsc_mhz: u32,
    /// The VM (of vmm-server, mmu-server), or all of them (device server).
    pub vms: Vec<Vm, MAX_VMS>,
    /// mmu-server: length of the archive, whose first byte would stand at
    /// [`layout::GUEST_FILES`](crate::layout::GUEST_FILES). Mapped there are the pages of its own VM's pieces, until it
    /// says that it is ready.
    pub archive_length: u64,
}

/// The same on its way to a domain: what is written of it reads as a [`DomainInfo`], and the VMs stay where they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct DomainInfoRef<'a> {
    /// See [`DomainInfo::tsc_mhz`].
    pub tsc_mhz: u32,
    /// See [`DomainInfo::vms`]; not more than [`MAX_VMS`].
    pub vms: &'a [Vm],
    /// See [`DomainInfo::archive_length`].
    pub archive_length: u64,
}
