//! Invocation labels (column "MCS" of the interface: no VT-x, no IOMMU, no hardware debug API), then Umbra's own.

macro_rules! labels {
    ($($name:ident = $value:literal,)*) => {
        $(#[doc = concat!("`", stringify!($name), "`.")] pub const $name: u64 = $value;)*
        /// Every label with its name, in order.
        pub const ALL: &[(&str, u64)] = &[$((stringify!($name), $value)),*];
    };
}

labels! {
    UNTYPED_RETYPE = 1,
    TCB_READ_REGISTERS = 2,
    TCB_WRITE_REGISTERS = 3,
    TCB_COPY_REGISTERS = 4,
    TCB_CONFIGURE = 5,
    TCB_SET_PRIORITY = 6,
    TCB_SET_MC_PRIORITY = 7,
    TCB_SET_SCHED_PARAMS = 8,
    TCB_SET_TIMEOUT_ENDPOINT = 9,
    TCB_SET_IPC_BUFFER = 10,
    TCB_SET_SPACE = 11,
    TCB_SUSPEND = 12,
    TCB_RESUME = 13,
    TCB_BIND_NOTIFICATION = 14,
    TCB_UNBIND_NOTIFICATION = 15,
    TCB_SET_TLS_BASE = 16,
    TCB_SET_FLAGS = 17,
    CNODE_REVOKE = 18,
    CNODE_DELETE = 19,
    CNODE_CANCEL_BADGED_SENDS = 20,
    CNODE_COPY = 21,
    CNODE_MINT = 22,
    CNODE_MOVE = 23,
    CNODE_MUTATE = 24,
    CNODE_ROTATE = 25,
    IRQ_ISSUE_IRQ_HANDLER = 26,
    IRQ_ACK = 27,
    IRQ_SET_HANDLER = 28,
    IRQ_CLEAR_HANDLER = 29,
    DOMAIN_SET_SET = 30,
    DOMAIN_SCHEDULE_CONFIGURE = 31,
    DOMAIN_SCHEDULE_SET_START = 32,
    SCHED_CONTROL_CONFIGURE_FLAGS = 33,
    SCHED_CONTEXT_BIND = 34,
    SCHED_CONTEXT_UNBIND = 35,
    SCHED_CONTEXT_UNBIND_OBJECT = 36,
    SCHED_CONTEXT_CONSUMED = 37,
    SCHED_CONTEXT_YIELD_TO = 38,
    X86_PDPT_MAP = 39,
    X86_PDPT_UNMAP = 40,
    X86_PAGE_DIRECTORY_MAP = 41,
    X86_PAGE_DIRECTORY_UNMAP = 42,
    X86_PAGE_TABLE_MAP = 43,
    X86_PAGE_TABLE_UNMAP = 44,
    X86_PAGE_MAP = 45,
    X86_PAGE_UNMAP = 46,
    X86_PAGE_GET_ADDRESS = 47,
    X86_ASID_CONTROL_MAKE_POOL = 48,
    X86_ASID_POOL_ASSIGN = 49,
    X86_IO_PORT_CONTROL_ISSUE = 50,
    X86_IO_PORT_IN8 = 51,
    X86_IO_PORT_IN16 = 52,
    X86_IO_PORT_IN32 = 53,
    X86_IO_PORT_OUT8 = 54,
    X86_IO_PORT_OUT16 = 55,
    X86_IO_PORT_OUT32 = 56,
    X86_IRQ_ISSUE_IRQ_HANDLER_IOAPIC = 57,
    X86_IRQ_ISSUE_IRQ_HANDLER_MSI = 58,
    VCPU_BIND_TCB = 0x100,
    VCPU_READ_REGISTERS = 0x101,
    VCPU_WRITE_REGISTERS = 0x102,
    VCPU_REQUEST_WINDOW = 0x103,
    VCPU_FETCH_INSTRUCTION = 0x104,
    VCPU_READ_COUNTERS = 0x105,
    VCPU_RUN = 0x106,
    VCPU_SET_NESTED = 0x107,
    GUEST_PDPT_MAP = 0x110,
    GUEST_PDPT_UNMAP = 0x111,
    GUEST_PAGE_DIRECTORY_MAP = 0x112,
    GUEST_PAGE_DIRECTORY_UNMAP = 0x113,
    GUEST_PAGE_TABLE_MAP = 0x114,
    GUEST_PAGE_TABLE_UNMAP = 0x115,
    PAGE_MAP_GUEST = 0x116,
    POOL_BIND_SPACE = 0x120,
    POOL_BIND_VCPU = 0x121,
    POOL_RESET = 0x122,
    POOL_LINK = 0x123,
    POOL_FILL = 0x124,
    POOL_CLEAR = 0x125,
    POOL_HARVEST = 0x126,
    POOL_SET_ROOT = 0x127,
    POOL_INVALIDATE = 0x128,
    POOL_RETIRE = 0x129,
    POOL_INFO = 0x12a,
}

/// First label of Umbra's own invocations.
pub const UMBRA_FIRST: u64 = 0x100;

/// Arguments of `POOL_RESET`: MR0 page index, MR1 level (1 page table … 4 PML4, [`LEVEL_PAE_ROOT`]), and for a PAE root
/// MR2..MR5 the four page directories.
pub const LEVEL_PAE_ROOT: u64 = 5;

/// Attribute word of one `POOL_FILL` group: bits 1..0 page size (0: 4 KiB, 1: 2 MiB, 2: 1 GiB), then the rights below.
/// A group is three words: page | slot << 32, guest frame number, attributes. Up to 40 groups a call; on an error MR0 of
/// the reply is that error's usual word and the groups before the failing one stand. `POOL_LINK` groups are two words:
/// parent | slot << 32, child. `POOL_CLEAR` and `POOL_HARVEST` take page | slot << 32 and a count of at most 512 (harvest
/// answers two bits a slot, A then D, 32 slots a word). `POOL_SET_ROOT`: MR0 page, extra cap 0 the VCPU (paging right).
/// `POOL_INVALIDATE`: MR0 0 = everything, 1 = the address in MR1. `POOL_RETIRE` starts a new epoch: every page is stale.
/// `POOL_INFO` answers pages usable, epoch, current root of the pool's vCPUs (all ones: none).
pub mod fill {
    /// Page size field.
    pub const SIZE_MASK: u64 = 3;
    /// Writable.
    pub const WRITE: u64 = 1 << 2;
    /// Reachable at CPL 3.
    pub const USER: u64 = 1 << 3;
    /// Executable.
    pub const EXECUTE: u64 = 1 << 4;
    /// Leave the hardware's A and D bits clear, so that `POOL_HARVEST` tells of later use.
    pub const TRACK: u64 = 1 << 5;
}

/// VCPU capability rights, in the standard rights word.
pub mod vcpu_right {
    /// Registers, run, window, counters (the write bit).
    pub const RUN: u64 = super::super::Rights::WRITE;
    /// Read registers (the read bit).
    pub const READ: u64 = super::super::Rights::READ;
    /// Set the shadow root, bind to a pool or for nested paging to a space, fetch instructions (the grant bit).
    pub const PAGING: u64 = super::super::Rights::GRANT;
}
