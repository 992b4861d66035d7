//! The kernel's invocations as one table: what is invoked, with which arguments, under which label. The interface files,
//! the label headers and the C stubs are written from it.
//!
//! seL4's interfaces only, in the order that numbers them; Umbra's own invocations have labels beyond and are listed by
//! [`crate::tables`].

use Type::{Attributes, Bool, Cap, Context, Rights, Time, Uint8, Uint16, Uint32, Word};
use sel4_abi::label;

/// What an argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// A word.
    Word,
    /// Eight bits.
    Uint8,
    /// Sixteen bits.
    Uint16,
    /// Thirty-two bits.
    Uint32,
    /// One bit.
    Bool,
    /// Microseconds.
    Time,
    /// Rights, one word.
    Rights,
    /// Attributes of a mapping, one word.
    Attributes,
    /// The registers of a thread.
    Context,
    /// A capability, passed beside the message; the C type says which kind is meant.
    Cap(&'static str),
}

impl Type {
    /// The C type.
    #[must_use]
    pub const fn c(self) -> &'static str {
        match self {
            Self::Word => "seL4_Word",
            Self::Uint8 => "seL4_Uint8",
            Self::Uint16 => "seL4_Uint16",
            Self::Uint32 => "seL4_Uint32",
            Self::Bool => "seL4_Bool",
            Self::Time => "seL4_Time",
            Self::Rights => "seL4_CapRights_t",
            Self::Attributes => "seL4_X86_VMAttributes",
            Self::Context => "seL4_UserContext",
            Self::Cap(name) => name,
        }
    }

    /// Bits it takes in the message; a capability none.
    #[must_use]
    pub const fn bits(self) -> usize {
        match self {
            Self::Cap(_) => 0,
            Self::Bool => 1,
            Self::Uint8 => 8,
            Self::Uint16 => 16,
            Self::Uint32 => 32,
            Self::Word | Self::Time | Self::Rights | Self::Attributes => 64,
            Self::Context => 64 * sel4_abi::USER_CONTEXT_WORDS,
        }
    }
}

/// An argument, or a word of the answer.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub ty: Type,
    /// It comes back.
    pub out: bool,
}

/// An invocation.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// The label's name.
    pub id: &'static str,
    /// Its name within the interface.
    pub name: &'static str,
    /// The label.
    pub label: u64,
    /// What it does.
    pub brief: &'static str,
    /// Arguments in message order, and what comes back.
    pub parameters: &'static [Parameter],
}

/// The invocations of one kind of capability.
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// The C type of the capability.
    pub name: &'static str,
    /// Its invocations, by label.
    pub methods: &'static [Method],
}

/// One interface file.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    /// The name the file says.
    pub name: &'static str,
    /// The file's name.
    pub file: &'static str,
    /// Structures passed by their members, with those.
    pub structs: &'static [(&'static str, &'static [&'static str])],
    /// Its interfaces.
    pub interfaces: &'static [Interface],
}

/// A list of interfaces. Before each invocation stands what it does; in parentheses its arguments in message order, with an
/// arrow before the type of what comes back; then the label's name in the files and in this workspace.
macro_rules! interfaces {
    ($($interface:ident {
        $($brief:literal $method:ident($($name:ident $direction:tt $ty:expr),*) as $id:ident, $label:ident;)*
    })*) => {
        &[$(Interface {
            name: stringify!($interface),
            methods: &[$(Method {
                id: stringify!($id),
                name: stringify!($method),
                label: label::$label,
                brief: $brief,
                parameters: &[$(Parameter {
                    name: stringify!($name),
                    ty: $ty,
                    out: interfaces!(@out $direction),
                }),*],
            }),*],
        }),*]
    };
    (@out :) => { false };
    (@out ->) => { true };
}

const CPTR: Type = Cap("seL4_CPtr");
const CNODE: Type = Cap("seL4_CNode");
const TCB: Type = Cap("seL4_TCB");

/// The three files, in the order that numbers the labels.
pub const APIS: &[Api] = &[GENERIC, SEL4_ARCH, ARCH];

/// Words of a register frame, in message order.
pub const CONTEXT: &[&str] = &[
    "rip", "rsp", "rflags", "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10",
    "r11", "r12", "r13", "r14", "r15", "fs_base", "gs_base",
];
const _: () = assert!(CONTEXT.len() == sel4_abi::USER_CONTEXT_WORDS);

const GENERIC: Api = Api {
    name: "ObjectApi",
    file: "object-api.xml",
    structs: &[],
    interfaces: interfaces! {
        seL4_Untyped {
            "Make objects from untyped memory."
            Retype(type: Word, size_bits: Word, root: CNODE, node_index: Word, node_depth: Word, node_offset: Word,
                num_objects: Word) as UntypedRetype, UNTYPED_RETYPE;
        }
        seL4_TCB {
            "Read a thread's registers."
            ReadRegisters(suspend_source: Bool, arch_flags: Uint8, count: Word,
                regs -> Context) as TCBReadRegisters, TCB_READ_REGISTERS;
            "Write a thread's registers."
            WriteRegisters(resume_target: Bool, arch_flags: Uint8, count: Word,
                regs: Context) as TCBWriteRegisters, TCB_WRITE_REGISTERS;
            "Copy registers from another thread."
            CopyRegisters(source: TCB, suspend_source: Bool, resume_target: Bool, transfer_frame: Bool,
                transfer_integer: Bool, arch_flags: Uint8) as TCBCopyRegisters, TCB_COPY_REGISTERS;
            "Set a thread's spaces and IPC buffer."
            Configure(cspace_root: CNODE, cspace_root_data: Word, vspace_root: CPTR, vspace_root_data: Word,
                buffer: Word, bufferFrame: CPTR) as TCBConfigure, TCB_CONFIGURE;
            "Set a thread's priority."
            SetPriority(authority: TCB, priority: Word) as TCBSetPriority, TCB_SET_PRIORITY;
            "Set the highest priority a thread may give."
            SetMCPriority(authority: TCB, mcp: Word) as TCBSetMCPriority, TCB_SET_MC_PRIORITY;
            "Set a thread's priorities, time and fault handler."
            SetSchedParams(authority: TCB, mcp: Word, priority: Word, sched_context: CPTR,
                fault_ep: CPTR) as TCBSetSchedParams, TCB_SET_SCHED_PARAMS;
            "Choose who is told when a thread's budget ends."
            SetTimeoutEndpoint(timeout_fault_ep: CPTR) as TCBSetTimeoutEndpoint, TCB_SET_TIMEOUT_ENDPOINT;
            "Set a thread's IPC buffer."
            SetIPCBuffer(buffer: Word, bufferFrame: CPTR) as TCBSetIPCBuffer, TCB_SET_IPC_BUFFER;
            "Set a thread's fault handler and spaces."
            SetSpace(fault_ep: CPTR, cspace_root: CNODE, cspace_root_data: Word, vspace_root: CPTR,
                vspace_root_data: Word) as TCBSetSpace, TCB_SET_SPACE;
            "Stop a thread."
            Suspend() as TCBSuspend, TCB_SUSPEND;
            "Let a thread run."
            Resume() as TCBResume, TCB_RESUME;
            "Let a notification's signals reach a thread that waits for messages."
            BindNotification(notification: CPTR) as TCBBindNotification, TCB_BIND_NOTIFICATION;
            "End that."
            UnbindNotification() as TCBUnbindNotification, TCB_UNBIND_NOTIFICATION;
            "Set a thread's FS base."
            SetTLSBase(tls_base: Word) as TCBSetTLSBase, TCB_SET_TLS_BASE;
            "Clear, then set flags of a thread; answers what they are then."
            SetFlags(clear: Word, set: Word, flags -> Word) as TCBSetFlags, TCB_SET_FLAGS;
        }
        seL4_CNode {
            "Delete everything derived from a capability."
            Revoke(index: Word, depth: Uint8) as CNodeRevoke, CNODE_REVOKE;
            "Delete a capability."
            Delete(index: Word, depth: Uint8) as CNodeDelete, CNODE_DELETE;
            "Turn back the senders that wait with this badge."
            CancelBadgedSends(index: Word, depth: Uint8) as CNodeCancelBadgedSends, CNODE_CANCEL_BADGED_SENDS;
            "Copy a capability with these rights at most."
            Copy(dest_index: Word, dest_depth: Uint8, src_root: CNODE, src_index: Word, src_depth: Uint8,
                rights: Rights) as CNodeCopy, CNODE_COPY;
            "Copy a capability with these rights at most and this badge or guard."
            Mint(dest_index: Word, dest_depth: Uint8, src_root: CNODE, src_index: Word, src_depth: Uint8,
                rights: Rights, badge: Word) as CNodeMint, CNODE_MINT;
            "Move a capability."
            Move(dest_index: Word, dest_depth: Uint8, src_root: CNODE, src_index: Word,
                src_depth: Uint8) as CNodeMove, CNODE_MOVE;
            "Move a capability and set its guard."
            Mutate(dest_index: Word, dest_depth: Uint8, src_root: CNODE, src_index: Word, src_depth: Uint8,
                badge: Word) as CNodeMutate, CNODE_MUTATE;
            "Move the pivot's capability to the destination and the source's to the pivot."
            Rotate(dest_index: Word, dest_depth: Uint8, dest_badge: Word, pivot_root: CNODE, pivot_index: Word,
                pivot_depth: Uint8, pivot_badge: Word, src_root: CNODE, src_index: Word,
                src_depth: Uint8) as CNodeRotate, CNODE_ROTATE;
        }
        seL4_IRQControl {
            "Take an interrupt line by number; refused where interrupts come through an I/O APIC."
            Get(irq: Word, root: CNODE, index: Word, depth: Uint8) as IRQIssueIRQHandler, IRQ_ISSUE_IRQ_HANDLER;
        }
        seL4_IRQHandler {
            "Let the interrupt come again."
            Ack() as IRQAckIRQ, IRQ_ACK;
            "Choose the notification that the interrupt signals."
            SetNotification(notification: CPTR) as IRQSetIRQHandler, IRQ_SET_HANDLER;
            "Signal nothing any more."
            Clear() as IRQClearIRQHandler, IRQ_CLEAR_HANDLER;
        }
        seL4_DomainSet {
            "Move a thread to another scheduling domain."
            Set(domain: Uint8, thread: TCB) as DomainSetSet, DOMAIN_SET_SET;
            "Write an entry of the domain schedule."
            ScheduleConfigure(index: Word, domain: Uint8,
                duration: Time) as DomainScheduleConfigure, DOMAIN_SCHEDULE_CONFIGURE;
            "Choose the entry the domain schedule begins with."
            ScheduleSetStart(index: Word) as DomainScheduleSetStart, DOMAIN_SCHEDULE_SET_START;
        }
        seL4_SchedControl {
            "Give a scheduling context its budget and period."
            ConfigureFlags(schedcontext: Cap("seL4_SchedContext"), budget: Time, period: Time, extra_refills: Word,
                badge: Word, flags: Word) as SchedControlConfigureFlags, SCHED_CONTROL_CONFIGURE_FLAGS;
        }
        seL4_SchedContext {
            "Give the time to a thread or lend it through a notification."
            Bind(cap: CPTR) as SchedContextBind, SCHED_CONTEXT_BIND;
            "Take the time from everybody who has it."
            Unbind() as SchedContextUnbind, SCHED_CONTEXT_UNBIND;
            "Take the time from this thread or notification."
            UnbindObject(cap: CPTR) as SchedContextUnbindObject, SCHED_CONTEXT_UNBIND_OBJECT;
            "Read the time used since the last reading."
            Consumed(consumed -> Time) as SchedContextConsumed, SCHED_CONTEXT_CONSUMED;
            "Let the thread that has this time go first among equals."
            YieldTo(consumed -> Time) as SchedContextYieldTo, SCHED_CONTEXT_YIELD_TO;
        }
    },
};

const SEL4_ARCH: Api = Api {
    name: "ObjectApiSel4ArchX86_64",
    file: "object-api-sel4-arch.xml",
    structs: &[("seL4_UserContext", CONTEXT)],
    interfaces: interfaces! {
        seL4_X86_PDPT {
            "Put a page-directory-pointer table into an address space."
            Map(vspace: CPTR, vaddr: Word, attr: Attributes) as X86PDPTMap, X86_PDPT_MAP;
            "Take it out."
            Unmap() as X86PDPTUnmap, X86_PDPT_UNMAP;
        }
    },
};

const ARCH: Api = Api {
    name: "ObjectApiX86",
    file: "object-api-arch.xml",
    structs: &[],
    interfaces: interfaces! {
        seL4_X86_PageDirectory {
            "Put a page directory into an address space."
            Map(vspace: CPTR, vaddr: Word, attr: Attributes) as X86PageDirectoryMap, X86_PAGE_DIRECTORY_MAP;
            "Take it out."
            Unmap() as X86PageDirectoryUnmap, X86_PAGE_DIRECTORY_UNMAP;
        }
        seL4_X86_PageTable {
            "Put a page table into an address space."
            Map(vspace: CPTR, vaddr: Word, attr: Attributes) as X86PageTableMap, X86_PAGE_TABLE_MAP;
            "Take it out."
            Unmap() as X86PageTableUnmap, X86_PAGE_TABLE_UNMAP;
        }
        seL4_X86_Page {
            "Put a frame into an address space, or change how it is there."
            Map(vspace: CPTR, vaddr: Word, rights: Rights, attr: Attributes) as X86PageMap, X86_PAGE_MAP;
            "Take it out."
            Unmap() as X86PageUnmap, X86_PAGE_UNMAP;
            "Read the frame's physical address."
            GetAddress(paddr -> Word) as X86PageGetAddress, X86_PAGE_GET_ADDRESS;
        }
        seL4_X86_ASIDControl {
            "Make a pool of address-space identifiers from a page of untyped memory."
            MakePool(untyped: Cap("seL4_Untyped"), root: CNODE, index: Word,
                depth: Uint8) as X86ASIDControlMakePool, X86_ASID_CONTROL_MAKE_POOL;
        }
        seL4_X86_ASIDPool {
            "Give an address space an identifier."
            Assign(vspace: CPTR) as X86ASIDPoolAssign, X86_ASID_POOL_ASSIGN;
        }
        seL4_X86_IOPortControl {
            "Make a capability to a range of I/O ports."
            Issue(first_port: Word, last_port: Word, root: CNODE, index: Word,
                depth: Uint8) as X86IOPortControlIssue, X86_IO_PORT_CONTROL_ISSUE;
        }
        seL4_X86_IOPort {
            "Read a byte from a port."
            In8(result -> Uint8, port: Uint16) as X86IOPortIn8, X86_IO_PORT_IN8;
            "Read two bytes from a port."
            In16(result -> Uint16, port: Uint16) as X86IOPortIn16, X86_IO_PORT_IN16;
            "Read four bytes from a port."
            In32(result -> Uint32, port: Uint16) as X86IOPortIn32, X86_IO_PORT_IN32;
            "Write a byte to a port."
            Out8(port: Word, data: Word) as X86IOPortOut8, X86_IO_PORT_OUT8;
            "Write two bytes to a port."
            Out16(port: Word, data: Word) as X86IOPortOut16, X86_IO_PORT_OUT16;
            "Write four bytes to a port."
            Out32(port: Word, data: Word) as X86IOPortOut32, X86_IO_PORT_OUT32;
        }
        seL4_IRQControl {
            "Take an interrupt line of an I/O APIC."
            GetIOAPIC(root: CNODE, index: Word, depth: Uint8, ioapic: Word, pin: Word, level: Word, polarity: Word,
                vector: Word) as X86IRQIssueIRQHandlerIOAPIC, X86_IRQ_ISSUE_IRQ_HANDLER_IOAPIC;
            "Take a vector for a device's message-signalled interrupts."
            GetMSI(root: CNODE, index: Word, depth: Uint8, pci_bus: Word, pci_dev: Word, pci_func: Word, handle: Word,
                vector: Word) as X86IRQIssueIRQHandlerMSI, X86_IRQ_ISSUE_IRQ_HANDLER_MSI;
        }
    },
};

/// Every invocation, with its interface, by label.
pub fn all() -> impl Iterator<Item = (&'static Interface, &'static Method)> {
    APIS.iter()
        .flat_map(|api| api.interfaces)
        .flat_map(|interface| {
            interface
                .methods
                .iter()
                .map(move |method| (interface, method))
        })
}
