//! The kernel's API for programs: capabilities as types, invocations as methods, IPC, faults, boot information.
//!
//! Names and shapes are those of rust-sel4's crate `sel4`, for x86_64 with scheduling contexts (MCS), so a program written
//! against one ports to the other. What seL4 has and that crate lacks is here too (I/O ports, scheduling-context
//! operations, unmapping of paging structures, `rotate`, `cancel_badged_sends`, `tcb_copy_registers`, `nb_send_wait`); what
//! Umbra adds to seL4 is in [`vcpu`], [`guest_space`] and [`shadow_pool`]. "libsel4:" in the docs names the call or type of
//! seL4's C library that an item mirrors. `tests/surface.rs` names every item that rust-sel4 has for this kernel.
//!
//! What differs: no cargo features (the IPC buffer is always found through the FS base); no VT-x and no IOMMU types, because
//! the kernel has neither; [`Fault::Other`] instead of a panic for a message that is no thread's fault; and the word that
//! `seL4_TCB_Configure` and `seL4_TCB_SetSpace` have for the address space's root is 0, as on every x86 kernel.
//!
//! Every number comes from the crate `sel4-abi`, re-exported as [`sys`].
//!
//! System calls exist in programs of the image only. On the host this crate compiles, so that its users' logic can be
//! tested there, and every system call panics.
#![cfg_attr(not(test), no_std)]

mod arch;
mod around;
mod boot_info;
pub mod cap_type;
mod cptr;
mod data;
mod debug;
mod error;
mod fault;
pub mod guest_space;
pub mod init_thread;
mod invocation_context;
mod invocations;
mod ipc;
mod ipc_buffer;
pub mod logging;
mod message_info;
mod object;
pub mod shadow_pool;
mod state;
mod user_context;
pub mod vcpu;
mod vspace;

/// The ABI this crate speaks.
pub use sel4_abi as sys;
/// The kernel's configuration, and the macros that ask for it.
pub use sel4_config::{
    self as config, sel4_cfg, sel4_cfg_attr, sel4_cfg_bool, sel4_cfg_enum, sel4_cfg_if,
    sel4_cfg_match, sel4_cfg_str, sel4_cfg_struct, sel4_cfg_usize, sel4_cfg_word,
    sel4_cfg_wrap_match,
};

pub use boot_info::{BootInfo, BootInfoExtra, BootInfoExtraId, BootInfoPtr, UntypedDesc};
pub use cap_type::{
    CapType, CapTypeForFrameObject, CapTypeForFrameObjectOfFixedSize, CapTypeForObject,
    CapTypeForObjectOfFixedSize, CapTypeForObjectOfVariableSize, CapTypeForTranslationTableObject,
    cap,
};
pub use cptr::{AbsoluteCPtr, CPtr, CPtrBits, CPtrWithDepth, Cap, HasCPtrWithDepth};
pub use data::{CNodeCapData, CapRights, CapRightsBuilder, TcbFlagsBuilder};
#[doc(hidden)]
pub use debug::debug_print_helper as __debug_print_helper;
pub use debug::{
    DebugWrite, debug_cap_identify, debug_dump_scheduler, debug_halt, debug_put_char,
    debug_snapshot,
};
pub use error::{Error, Result};
pub use fault::{CapFault, Fault, NullFault, Timeout, UnknownSyscall, UserException, VmFault};
pub use invocation_context::{
    ImplicitInvocationContext, InvocationContext, NoExplicitInvocationContext, NoInvocationContext,
};
pub use invocations::SchedFlags;
pub use ipc::{
    CallWithMRs, ConveysReplyAuthority, FastMessages, RecvWithMRs, ReplyAuthority, WaitMessageInfo,
    set_tls_base, r#yield,
};
pub use ipc_buffer::IpcBuffer;
pub use message_info::{MessageInfo, MessageInfoBuilder};
pub use object::{
    ObjectBlueprint, ObjectBlueprintArch, ObjectBlueprintSeL4Arch, ObjectBlueprintUmbra,
    ObjectBlueprintX64, ObjectBlueprintX86, ObjectType, ObjectTypeArch, ObjectTypeSeL4Arch,
    ObjectTypeUmbra, ObjectTypeX64, ObjectTypeX86,
};
pub use state::{
    BorrowError, BorrowMutError, ThreadBlock, install_thread_block, ipc_buffer_is_thread_local,
    set_ipc_buffer, try_with_ipc_buffer_slot, try_with_ipc_buffer_slot_mut, with_ipc_buffer,
    with_ipc_buffer_mut,
};
pub use user_context::{RegisterFrame, UserContext};
pub use vspace::{FrameObjectType, TranslationTableObjectType, VmAttributes, vspace_levels};

/// A machine word.
pub type Word = sys::Word;
/// Bits in a [`Word`].
pub const WORD_SIZE: usize = 64;
/// What a receiver learns about the capability a message was sent through.
pub type Badge = Word;
/// Microseconds.
pub type Time = u64;

/// Message words that travel in registers.
pub const NUM_FAST_MESSAGE_REGISTERS: usize = sys::MSG_REGISTERS;
/// Message words in all.
pub const NUM_MESSAGE_REGISTERS: usize = sys::MSG_MAX_LENGTH;
