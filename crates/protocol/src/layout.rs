//! The address space root-task gives each domain.

/// Where domain images are linked.
pub const IMAGE_BASE: u64 = 0x20_0000;
/// Top of the first thread's stack; an unmapped guard page lies below its bottom.
pub const STACK_TOP: u64 = 0x7000_0000;
/// Bytes of a stack.
pub const STACK_SIZE: u64 = 64 * 1024;
/// Distance between the stacks of a domain's threads.
pub const STACK_STRIDE: u64 = 0x10_0000;
/// IPC buffer of the domain's thread 0; thread n's is n pages on.
pub const IPC_BUFFER: u64 = 0x7100_0000;
/// The postcard-coded [`DomainInfo`](crate::system::DomainInfo): a u64 length, then the bytes. Read-only, up to 64 KiB.
pub const INFO: u64 = 0x7200_0000;
/// Most bytes of it.
pub const INFO_MAX: u64 = 64 * 1024;
/// mmu-server: guest RAM, guest-physical 0 here.
pub const GUEST_RAM: u64 = 0x10_0000_0000;
/// mmu-server: the guest's packed files, read-only.
pub const GUEST_FILES: u64 = 0x20_0000_0000;
