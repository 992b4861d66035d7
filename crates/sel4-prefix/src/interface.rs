//! The kernel's invocations as one table: what is invoked, with which arguments, under which label. The interface files,
//! the label headers and the C stubs are written from it.
//!
//! seL4's interfaces only, in the order that numbers them; Umbra's own invocations have labels beyond and are listed by
//! [`crate::tables`].

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

const fn arg(name: &'static str, ty: Type) -> Parameter {
    Parameter {
        name,
        ty,
        out: false,
    }
}

const fn back(name: &'static str, ty: Type) -> Parameter {
    Parameter {
        name,
        ty,
        out: true,
    }
}

const fn method(
    id: &'static str,
    name: &'static str,
    label: u64,
    brief: &'static str,
    parameters: &'static [Parameter],
) -> Method {
    Method {
        id,
        name,
        label,
        brief,
        parameters,
    }
}

const CPTR: Type = Type::Cap("seL4_CPtr");
const CNODE: Type = Type::Cap("seL4_CNode");
const TCB: Type = Type::Cap("seL4_TCB");

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
    interfaces: &[
        Interface {
            name: "seL4_Untyped",
            methods: &[method(
                "UntypedRetype",
                "Retype",
                label::UNTYPED_RETYPE,
                "Make objects from untyped memory.",
                &[
                    arg("type", Type::Word),
                    arg("size_bits", Type::Word),
                    arg("root", CNODE),
                    arg("node_index", Type::Word),
                    arg("node_depth", Type::Word),
                    arg("node_offset", Type::Word),
                    arg("num_objects", Type::Word),
                ],
            )],
        },
        Interface {
            name: "seL4_TCB",
            methods: TCB_METHODS,
        },
        Interface {
            name: "seL4_CNode",
            methods: CNODE_METHODS,
        },
        Interface {
            name: "seL4_IRQControl",
            methods: &[method(
                "IRQIssueIRQHandler",
                "Get",
                label::IRQ_ISSUE_IRQ_HANDLER,
                "Take an interrupt line by number; refused where interrupts come through an I/O APIC.",
                &[
                    arg("irq", Type::Word),
                    arg("root", CNODE),
                    arg("index", Type::Word),
                    arg("depth", Type::Uint8),
                ],
            )],
        },
        Interface {
            name: "seL4_IRQHandler",
            methods: &[
                method(
                    "IRQAckIRQ",
                    "Ack",
                    label::IRQ_ACK,
                    "Let the interrupt come again.",
                    &[],
                ),
                method(
                    "IRQSetIRQHandler",
                    "SetNotification",
                    label::IRQ_SET_HANDLER,
                    "Choose the notification that the interrupt signals.",
                    &[arg("notification", CPTR)],
                ),
                method(
                    "IRQClearIRQHandler",
                    "Clear",
                    label::IRQ_CLEAR_HANDLER,
                    "Signal nothing any more.",
                    &[],
                ),
            ],
        },
        Interface {
            name: "seL4_DomainSet",
            methods: &[
                method(
                    "DomainSetSet",
                    "Set",
                    label::DOMAIN_SET_SET,
                    "Move a thread to another scheduling domain.",
                    &[arg("domain", Type::Uint8), arg("thread", TCB)],
                ),
                method(
                    "DomainScheduleConfigure",
                    "ScheduleConfigure",
                    label::DOMAIN_SCHEDULE_CONFIGURE,
                    "Write an entry of the domain schedule.",
                    &[
                        arg("index", Type::Word),
                        arg("domain", Type::Uint8),
                        arg("duration", Type::Time),
                    ],
                ),
                method(
                    "DomainScheduleSetStart",
                    "ScheduleSetStart",
                    label::DOMAIN_SCHEDULE_SET_START,
                    "Choose the entry the domain schedule begins with.",
                    &[arg("index", Type::Word)],
                ),
            ],
        },
        Interface {
            name: "seL4_SchedControl",
            methods: &[method(
                "SchedControlConfigureFlags",
                "ConfigureFlags",
                label::SCHED_CONTROL_CONFIGURE_FLAGS,
                "Give a scheduling context its budget and period.",
                &[
                    arg("schedcontext", Type::Cap("seL4_SchedContext")),
                    arg("budget", Type::Time),
                    arg("period", Type::Time),
                    arg("extra_refills", Type::Word),
                    arg("badge", Type::Word),
                    arg("flags", Type::Word),
                ],
            )],
        },
        Interface {
            name: "seL4_SchedContext",
            methods: &[
                method(
                    "SchedContextBind",
                    "Bind",
                    label::SCHED_CONTEXT_BIND,
                    "Give the time to a thread or lend it through a notification.",
                    &[arg("cap", CPTR)],
                ),
                method(
                    "SchedContextUnbind",
                    "Unbind",
                    label::SCHED_CONTEXT_UNBIND,
                    "Take the time from everybody who has it.",
                    &[],
                ),
                method(
                    "SchedContextUnbindObject",
                    "UnbindObject",
                    label::SCHED_CONTEXT_UNBIND_OBJECT,
                    "Take the time from this thread or notification.",
                    &[arg("cap", CPTR)],
                ),
                method(
                    "SchedContextConsumed",
                    "Consumed",
                    label::SCHED_CONTEXT_CONSUMED,
                    "Read the time used since the last reading.",
                    &[back("consumed", Type::Time)],
                ),
                method(
                    "SchedContextYieldTo",
                    "YieldTo",
                    label::SCHED_CONTEXT_YIELD_TO,
                    "Let the thread that has this time go first among equals.",
                    &[back("consumed", Type::Time)],
                ),
            ],
        },
    ],
};

const TCB_METHODS: &[Method] = &[
    method(
        "TCBReadRegisters",
        "ReadRegisters",
        label::TCB_READ_REGISTERS,
        "Read a thread's registers.",
        &[
            arg("suspend_source", Type::Bool),
            arg("arch_flags", Type::Uint8),
            arg("count", Type::Word),
            back("regs", Type::Context),
        ],
    ),
    method(
        "TCBWriteRegisters",
        "WriteRegisters",
        label::TCB_WRITE_REGISTERS,
        "Write a thread's registers.",
        &[
            arg("resume_target", Type::Bool),
            arg("arch_flags", Type::Uint8),
            arg("count", Type::Word),
            arg("regs", Type::Context),
        ],
    ),
    method(
        "TCBCopyRegisters",
        "CopyRegisters",
        label::TCB_COPY_REGISTERS,
        "Copy registers from another thread.",
        &[
            arg("source", TCB),
            arg("suspend_source", Type::Bool),
            arg("resume_target", Type::Bool),
            arg("transfer_frame", Type::Bool),
            arg("transfer_integer", Type::Bool),
            arg("arch_flags", Type::Uint8),
        ],
    ),
    method(
        "TCBConfigure",
        "Configure",
        label::TCB_CONFIGURE,
        "Set a thread's spaces and IPC buffer.",
        &[
            arg("cspace_root", CNODE),
            arg("cspace_root_data", Type::Word),
            arg("vspace_root", CPTR),
            arg("vspace_root_data", Type::Word),
            arg("buffer", Type::Word),
            arg("bufferFrame", CPTR),
        ],
    ),
    method(
        "TCBSetPriority",
        "SetPriority",
        label::TCB_SET_PRIORITY,
        "Set a thread's priority.",
        &[arg("authority", TCB), arg("priority", Type::Word)],
    ),
    method(
        "TCBSetMCPriority",
        "SetMCPriority",
        label::TCB_SET_MC_PRIORITY,
        "Set the highest priority a thread may give.",
        &[arg("authority", TCB), arg("mcp", Type::Word)],
    ),
    method(
        "TCBSetSchedParams",
        "SetSchedParams",
        label::TCB_SET_SCHED_PARAMS,
        "Set a thread's priorities, time and fault handler.",
        &[
            arg("authority", TCB),
            arg("mcp", Type::Word),
            arg("priority", Type::Word),
            arg("sched_context", CPTR),
            arg("fault_ep", CPTR),
        ],
    ),
    method(
        "TCBSetTimeoutEndpoint",
        "SetTimeoutEndpoint",
        label::TCB_SET_TIMEOUT_ENDPOINT,
        "Choose who is told when a thread's budget ends.",
        &[arg("timeout_fault_ep", CPTR)],
    ),
    method(
        "TCBSetIPCBuffer",
        "SetIPCBuffer",
        label::TCB_SET_IPC_BUFFER,
        "Set a thread's IPC buffer.",
        &[arg("buffer", Type::Word), arg("bufferFrame", CPTR)],
    ),
    method(
        "TCBSetSpace",
        "SetSpace",
        label::TCB_SET_SPACE,
        "Set a thread's fault handler and spaces.",
        &[
            arg("fault_ep", CPTR),
            arg("cspace_root", CNODE),
            arg("cspace_root_data", Type::Word),
            arg("vspace_root", CPTR),
            arg("vspace_root_data", Type::Word),
        ],
    ),
    method(
        "TCBSuspend",
        "Suspend",
        label::TCB_SUSPEND,
        "Stop a thread.",
        &[],
    ),
    method(
        "TCBResume",
        "Resume",
        label::TCB_RESUME,
        "Let a thread run.",
        &[],
    ),
    method(
        "TCBBindNotification",
        "BindNotification",
        label::TCB_BIND_NOTIFICATION,
        "Let a notification's signals reach a thread that waits for messages.",
        &[arg("notification", CPTR)],
    ),
    method(
        "TCBUnbindNotification",
        "UnbindNotification",
        label::TCB_UNBIND_NOTIFICATION,
        "End that.",
        &[],
    ),
    method(
        "TCBSetTLSBase",
        "SetTLSBase",
        label::TCB_SET_TLS_BASE,
        "Set a thread's FS base.",
        &[arg("tls_base", Type::Word)],
    ),
    method(
        "TCBSetFlags",
        "SetFlags",
        label::TCB_SET_FLAGS,
        "Clear, then set flags of a thread; answers what they are then.",
        &[
            arg("clear", Type::Word),
            arg("set", Type::Word),
            back("flags", Type::Word),
        ],
    ),
];

const SLOT: &[Parameter] = &[arg("index", Type::Word), arg("depth", Type::Uint8)];

const CNODE_METHODS: &[Method] = &[
    method(
        "CNodeRevoke",
        "Revoke",
        label::CNODE_REVOKE,
        "Delete everything derived from a capability.",
        SLOT,
    ),
    method(
        "CNodeDelete",
        "Delete",
        label::CNODE_DELETE,
        "Delete a capability.",
        SLOT,
    ),
    method(
        "CNodeCancelBadgedSends",
        "CancelBadgedSends",
        label::CNODE_CANCEL_BADGED_SENDS,
        "Turn back the senders that wait with this badge.",
        SLOT,
    ),
    method(
        "CNodeCopy",
        "Copy",
        label::CNODE_COPY,
        "Copy a capability with these rights at most.",
        &[
            arg("dest_index", Type::Word),
            arg("dest_depth", Type::Uint8),
            arg("src_root", CNODE),
            arg("src_index", Type::Word),
            arg("src_depth", Type::Uint8),
            arg("rights", Type::Rights),
        ],
    ),
    method(
        "CNodeMint",
        "Mint",
        label::CNODE_MINT,
        "Copy a capability with these rights at most and this badge or guard.",
        &[
            arg("dest_index", Type::Word),
            arg("dest_depth", Type::Uint8),
            arg("src_root", CNODE),
            arg("src_index", Type::Word),
            arg("src_depth", Type::Uint8),
            arg("rights", Type::Rights),
            arg("badge", Type::Word),
        ],
    ),
    method(
        "CNodeMove",
        "Move",
        label::CNODE_MOVE,
        "Move a capability.",
        &[
            arg("dest_index", Type::Word),
            arg("dest_depth", Type::Uint8),
            arg("src_root", CNODE),
            arg("src_index", Type::Word),
            arg("src_depth", Type::Uint8),
        ],
    ),
    method(
        "CNodeMutate",
        "Mutate",
        label::CNODE_MUTATE,
        "Move a capability and set its guard.",
        &[
            arg("dest_index", Type::Word),
            arg("dest_depth", Type::Uint8),
            arg("src_root", CNODE),
            arg("src_index", Type::Word),
            arg("src_depth", Type::Uint8),
            arg("badge", Type::Word),
        ],
    ),
    method(
        "CNodeRotate",
        "Rotate",
        label::CNODE_ROTATE,
        "Move the pivot's capability to the destination and the source's to the pivot.",
        &[
            arg("dest_index", Type::Word),
            arg("dest_depth", Type::Uint8),
            arg("dest_badge", Type::Word),
            arg("pivot_root", CNODE),
            arg("pivot_index", Type::Word),
            arg("pivot_depth", Type::Uint8),
            arg("pivot_badge", Type::Word),
            arg("src_root", CNODE),
            arg("src_index", Type::Word),
            arg("src_depth", Type::Uint8),
        ],
    ),
];

const TABLE_MAP: &[Parameter] = &[
    arg("vspace", CPTR),
    arg("vaddr", Type::Word),
    arg("attr", Type::Attributes),
];

const SEL4_ARCH: Api = Api {
    name: "ObjectApiSel4ArchX86_64",
    file: "object-api-sel4-arch.xml",
    structs: &[("seL4_UserContext", CONTEXT)],
    interfaces: &[Interface {
        name: "seL4_X86_PDPT",
        methods: &[
            method(
                "X86PDPTMap",
                "Map",
                label::X86_PDPT_MAP,
                "Put a page-directory-pointer table into an address space.",
                TABLE_MAP,
            ),
            method(
                "X86PDPTUnmap",
                "Unmap",
                label::X86_PDPT_UNMAP,
                "Take it out.",
                &[],
            ),
        ],
    }],
};

const READ_PORT: Parameter = arg("port", Type::Uint16);
const WRITE_PORT: &[Parameter] = &[arg("port", Type::Word), arg("data", Type::Word)];

const ARCH: Api = Api {
    name: "ObjectApiX86",
    file: "object-api-arch.xml",
    structs: &[],
    interfaces: &[
        Interface {
            name: "seL4_X86_PageDirectory",
            methods: &[
                method(
                    "X86PageDirectoryMap",
                    "Map",
                    label::X86_PAGE_DIRECTORY_MAP,
                    "Put a page directory into an address space.",
                    TABLE_MAP,
                ),
                method(
                    "X86PageDirectoryUnmap",
                    "Unmap",
                    label::X86_PAGE_DIRECTORY_UNMAP,
                    "Take it out.",
                    &[],
                ),
            ],
        },
        Interface {
            name: "seL4_X86_PageTable",
            methods: &[
                method(
                    "X86PageTableMap",
                    "Map",
                    label::X86_PAGE_TABLE_MAP,
                    "Put a page table into an address space.",
                    TABLE_MAP,
                ),
                method(
                    "X86PageTableUnmap",
                    "Unmap",
                    label::X86_PAGE_TABLE_UNMAP,
                    "Take it out.",
                    &[],
                ),
            ],
        },
        Interface {
            name: "seL4_X86_Page",
            methods: &[
                method(
                    "X86PageMap",
                    "Map",
                    label::X86_PAGE_MAP,
                    "Put a frame into an address space, or change how it is there.",
                    &[
                        arg("vspace", CPTR),
                        arg("vaddr", Type::Word),
                        arg("rights", Type::Rights),
                        arg("attr", Type::Attributes),
                    ],
                ),
                method(
                    "X86PageUnmap",
                    "Unmap",
                    label::X86_PAGE_UNMAP,
                    "Take it out.",
                    &[],
                ),
                method(
                    "X86PageGetAddress",
                    "GetAddress",
                    label::X86_PAGE_GET_ADDRESS,
                    "Read the frame's physical address.",
                    &[back("paddr", Type::Word)],
                ),
            ],
        },
        Interface {
            name: "seL4_X86_ASIDControl",
            methods: &[method(
                "X86ASIDControlMakePool",
                "MakePool",
                label::X86_ASID_CONTROL_MAKE_POOL,
                "Make a pool of address-space identifiers from a page of untyped memory.",
                &[
                    arg("untyped", Type::Cap("seL4_Untyped")),
                    arg("root", CNODE),
                    arg("index", Type::Word),
                    arg("depth", Type::Uint8),
                ],
            )],
        },
        Interface {
            name: "seL4_X86_ASIDPool",
            methods: &[method(
                "X86ASIDPoolAssign",
                "Assign",
                label::X86_ASID_POOL_ASSIGN,
                "Give an address space an identifier.",
                &[arg("vspace", CPTR)],
            )],
        },
        Interface {
            name: "seL4_X86_IOPortControl",
            methods: &[method(
                "X86IOPortControlIssue",
                "Issue",
                label::X86_IO_PORT_CONTROL_ISSUE,
                "Make a capability to a range of I/O ports.",
                &[
                    arg("first_port", Type::Word),
                    arg("last_port", Type::Word),
                    arg("root", CNODE),
                    arg("index", Type::Word),
                    arg("depth", Type::Uint8),
                ],
            )],
        },
        Interface {
            name: "seL4_X86_IOPort",
            methods: &[
                method(
                    "X86IOPortIn8",
                    "In8",
                    label::X86_IO_PORT_IN8,
                    "Read a byte from a port.",
                    &[back("result", Type::Uint8), READ_PORT],
                ),
                method(
                    "X86IOPortIn16",
                    "In16",
                    label::X86_IO_PORT_IN16,
                    "Read two bytes from a port.",
                    &[back("result", Type::Uint16), READ_PORT],
                ),
                method(
                    "X86IOPortIn32",
                    "In32",
                    label::X86_IO_PORT_IN32,
                    "Read four bytes from a port.",
                    &[back("result", Type::Uint32), READ_PORT],
                ),
                method(
                    "X86IOPortOut8",
                    "Out8",
                    label::X86_IO_PORT_OUT8,
                    "Write a byte to a port.",
                    WRITE_PORT,
                ),
                method(
                    "X86IOPortOut16",
                    "Out16",
                    label::X86_IO_PORT_OUT16,
                    "Write two bytes to a port.",
                    WRITE_PORT,
                ),
                method(
                    "X86IOPortOut32",
                    "Out32",
                    label::X86_IO_PORT_OUT32,
                    "Write four bytes to a port.",
                    WRITE_PORT,
                ),
            ],
        },
        Interface {
            name: "seL4_IRQControl",
            methods: &[
                method(
                    "X86IRQIssueIRQHandlerIOAPIC",
                    "GetIOAPIC",
                    label::X86_IRQ_ISSUE_IRQ_HANDLER_IOAPIC,
                    "Take an interrupt line of an I/O APIC.",
                    &[
                        arg("root", CNODE),
                        arg("index", Type::Word),
                        arg("depth", Type::Uint8),
                        arg("ioapic", Type::Word),
                        arg("pin", Type::Word),
                        arg("level", Type::Word),
                        arg("polarity", Type::Word),
                        arg("vector", Type::Word),
                    ],
                ),
                method(
                    "X86IRQIssueIRQHandlerMSI",
                    "GetMSI",
                    label::X86_IRQ_ISSUE_IRQ_HANDLER_MSI,
                    "Take a vector for a device's message-signalled interrupts.",
                    &[
                        arg("root", CNODE),
                        arg("index", Type::Word),
                        arg("depth", Type::Uint8),
                        arg("pci_bus", Type::Word),
                        arg("pci_dev", Type::Word),
                        arg("pci_func", Type::Word),
                        arg("handle", Type::Word),
                        arg("vector", Type::Word),
                    ],
                ),
            ],
        },
    ],
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
