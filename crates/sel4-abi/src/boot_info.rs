//! Boot information: the initial capability slots and the frame the initial thread is given.

use crate::Word;

/// Slots of the initial CNode.
pub mod slot {
    /// Empty.
    pub const NULL: u64 = 0;
    /// The initial thread.
    pub const TCB: u64 = 1;
    /// Its root CNode.
    pub const CNODE: u64 = 2;
    /// Its address space.
    pub const VSPACE: u64 = 3;
    /// Interrupt control.
    pub const IRQ_CONTROL: u64 = 4;
    /// ASID control.
    pub const ASID_CONTROL: u64 = 5;
    /// The initial ASID pool.
    pub const ASID_POOL: u64 = 6;
    /// I/O-port control.
    pub const IO_PORT_CONTROL: u64 = 7;
    /// I/O space control, always empty here.
    pub const IO_SPACE: u64 = 8;
    /// The boot-information frame.
    pub const BOOT_INFO_FRAME: u64 = 9;
    /// The initial thread's IPC buffer frame.
    pub const IPC_BUFFER: u64 = 10;
    /// The domain set.
    pub const DOMAIN_SET: u64 = 11;
    /// The initial thread's scheduling context.
    pub const SC: u64 = 14;
    /// First slot with no fixed meaning; SchedControl is the first thing in it.
    pub const FIRST_FREE: u64 = 16;
}

/// Radix of the initial CNode.
pub const ROOT_CNODE_BITS: u64 = 16;
/// Most pages of the initial program's image: each takes a slot of the initial CNode, and others are to be left.
pub const MAX_IMAGE_PAGES: u64 = (1 << ROOT_CNODE_BITS) - 1024;
/// Bytes of the RSDP's copy; a shorter one is followed by zeros.
pub const RSDP_BYTES: u64 = 36;
/// Most untyped capabilities described in the boot information.
pub const MAX_UNTYPED: usize = 230;

/// A half-open range of slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct SlotRegion {
    /// First slot.
    pub start: Word,
    /// One past the last.
    pub end: Word,
}

/// One untyped capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct UntypedDesc {
    /// Host-physical address.
    pub paddr: Word,
    /// log2 of the size.
    pub size_bits: u8,
    /// 1 for device memory.
    pub is_device: u8,
    /// Zero.
    pub padding: [u8; 6],
}

/// The boot-information frame, MCS layout.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct BootInfo {
    /// Bytes of extra boot information, at +4096.
    pub extra_len: Word,
    /// 0: one node.
    pub node_id: Word,
    /// 1: one node.
    pub num_nodes: Word,
    /// All ones: no IOMMU.
    pub num_io_pt_levels: Word,
    /// Address of the initial thread's IPC buffer.
    pub ipc_buffer: Word,
    /// Empty slots.
    pub empty: SlotRegion,
    /// None.
    pub shared_frames: SlotRegion,
    /// Frames of the initial program's image.
    pub user_image_frames: SlotRegion,
    /// Its paging structures.
    pub user_image_paging: SlotRegion,
    /// None.
    pub io_space_caps: SlotRegion,
    /// Frames of the extra boot information.
    pub extra_bi_pages: SlotRegion,
    /// Radix of the initial CNode.
    pub init_thread_cnode_size_bits: Word,
    /// Scheduling domain of the initial thread.
    pub init_thread_domain: Word,
    /// SchedControl capabilities, one a node.
    pub sched_control: SlotRegion,
    /// Untyped capabilities.
    pub untyped: SlotRegion,
    /// What they cover.
    pub untyped_list: [UntypedDesc; MAX_UNTYPED],
}

const _: () = assert!(core::mem::size_of::<BootInfo>() == 3864);
const _: () = assert!(core::mem::offset_of!(BootInfo, sched_control) == 152);
const _: () = assert!(core::mem::offset_of!(BootInfo, untyped_list) == 184);

/// Identifiers of extra boot-information chunks; each begins with { id, length including this header }.
pub mod extra {
    /// Padding.
    pub const PADDING: u64 = 0;
    /// VBE information.
    pub const X86_VBE: u64 = 1;
    /// Multiboot memory map.
    pub const X86_MBMMAP: u64 = 2;
    /// Copy of the ACPI RSDP.
    pub const X86_ACPI_RSDP: u64 = 3;
    /// Framebuffer.
    pub const X86_FRAMEBUFFER: u64 = 4;
    /// TSC frequency: u32, MHz.
    pub const X86_TSC_FREQ: u64 = 5;
    /// The kernel's command line, text without an end mark. Ours, behind seL4's numbers.
    pub const COMMAND_LINE: u64 = 0x100;
}
