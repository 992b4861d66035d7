//! vmm-server → mmu-server. All requests are idempotent: after a restart the caller sends them again.
//!
//! | label | words | reply label | reply words |
//! | --- | --- | --- | --- |
//! | [`FAULT`] | the first three words of a paging exit, unchanged (code and mode, address, guest CR3) | [`outcome`] | see there |
//! | [`INVLPG`] | mode, address, CR3 | 0 | |
//! | [`LOAD`] | mode, CR3, [`load`] reason | 0, or 1: the load raises #GP(0) | |
//! | [`ENSURE_ROOT`] | mode, CR3 | 0 | |
//! | [`READ_PHYSICAL`] | gpa, length (≤ [`MAX_DATA`]) | 0 or 1: not all of it is memory | data in words from MR0 |
//! | [`WRITE_PHYSICAL`] | gpa, length, data… | 0 or 1 | |
//! | [`READ_VIRTUAL`] | mode, CR3, address, length (≤ [`MAX_DATA`]), access | [`outcome`] | data, or as the outcome says |
//! | [`WRITE_VIRTUAL`] | mode, CR3, address, length, access, data… | [`outcome`] | as the outcome says |
//! | [`STATS`] | | 0 | counters in the order of [`stats`] |
//!
//! `mode` is the `exit_abi::Mode` word. `access` is page-fault error-code bits (W, U, I) that say how the guest accesses.
//! A virtual access that crosses a page is the caller's to split.

/// A guest page fault.
pub const FAULT: u64 = 1;
/// INVLPG.
pub const INVLPG: u64 = 2;
/// A control register changed; the mode and CR3 are the new ones.
pub const LOAD: u64 = 3;
/// The vCPU has no root.
pub const ENSURE_ROOT: u64 = 4;
/// Read guest-physical memory.
pub const READ_PHYSICAL: u64 = 5;
/// Write guest-physical memory.
pub const WRITE_PHYSICAL: u64 = 6;
/// Read guest-virtual memory with the guest's rights, setting A.
pub const READ_VIRTUAL: u64 = 7;
/// Write guest-virtual memory with the guest's rights, setting A and D.
pub const WRITE_VIRTUAL: u64 = 8;
/// Counters.
pub const STATS: u64 = 9;

/// Fewest pages of a shadow pool: what the instruction or event that needs most tables at a time needs
/// (`shadow::MIN_PAGES` derives it).
pub const MIN_POOL_PAGES: u64 = 37;

/// Most bytes one data request moves: message words 5..120.
pub const MAX_DATA: usize = 512;

/// Reasons of a `LOAD`.
pub mod load {
    /// MOV to CR3.
    pub const CR3: u64 = 0;
    /// CR0 changed in a paging-relevant bit.
    pub const CR0: u64 = 1;
    /// CR4 changed in a paging-relevant bit.
    pub const CR4: u64 = 2;
    /// EFER changed in a paging-relevant bit.
    pub const EFER: u64 = 3;
    /// The machine was started or reset.
    pub const RESET: u64 = 4;
}

/// Reply labels of faults and virtual accesses.
pub mod outcome {
    /// The access can be tried again (or, for a virtual access, was done; data follows).
    pub const DONE: u64 = 0;
    /// The guest's own fault: MR0 is the error code, MR1 the faulting address.
    pub const INJECT: u64 = 1;
    /// No memory there: MR0 is the guest-physical address, MR1 the access bits (W, U, I).
    pub const DEVICE: u64 = 2;
    /// The request made no sense, or the guest's instruction would fault for ever (`shadow::bounds::MAX_TURNS`).
    pub const REFUSED: u64 = 3;
}

/// Order of the counters in a `STATS` reply.
pub mod stats {
    /// Shadow leaves filled.
    pub const FILLS: usize = 0;
    /// Page faults reflected to the guest.
    pub const INJECTED: usize = 1;
    /// Faults on addresses with no memory.
    pub const DEVICE: usize = 2;
    /// Single-address flushes.
    pub const FLUSH_ADDRESS: usize = 3;
    /// Whole flushes.
    pub const FLUSH_ALL: usize = 4;
    /// Shadow pages evicted for want of room.
    pub const EVICTIONS: usize = 5;
    /// Most shadow and guest table entries touched by one request.
    pub const MAX_TOUCHED: usize = 6;
    /// Shadow pages in use, most ever.
    pub const PAGES_PEAK: usize = 7;
    /// Requests.
    pub const REQUESTS: usize = 8;
    /// Most shadow tables made by one request.
    pub const MAX_TABLES: usize = 9;
    /// Most times in a row that one fault came again after it was filled.
    pub const MAX_REPEATS: usize = 10;
    /// Requests that the oracle judged; 0 without it.
    pub const ORACLE_CHECKS: usize = 11;
    /// Rules that the oracle found broken.
    pub const FINDINGS: usize = 12;
    /// Number of counters.
    pub const COUNT: usize = 13;
}
