//! Numbers and names of the ABI as the headers want them: values for the templates' places, and headers that are tables.

use std::mem::{offset_of, size_of};

use sel4_abi::boot_info::{BootInfo, extra, slot};
use sel4_abi::message::ipc_buffer;
use sel4_abi::{Error, LookupFailure, label, object, syscall};

use crate::bitfield::fault_words;
use crate::interface::{APIS, CONTEXT};
use crate::text::put;
use crate::xml::Block;

/// System calls that a kernel without MCS numbers first.
const MASTER: &[Block] = &[Block {
    needs: &[],
    names: &[
        "Call",
        "ReplyRecv",
        "Send",
        "NBSend",
        "Recv",
        "Reply",
        "Yield",
        "NBRecv",
    ],
}];

/// System calls that this kernel numbers first.
const MCS: &[Block] = &[Block {
    needs: &[],
    names: &[
        "Call",
        "ReplyRecv",
        "NBSendRecv",
        "NBSendWait",
        "Send",
        "NBSend",
        "Recv",
        "NBRecv",
        "Wait",
        "NBWait",
        "Yield",
    ],
}];

/// System calls whose numbers follow.
const DEBUG: &[Block] = &[
    Block {
        needs: &["PRINTING"],
        names: &["DebugPutChar", "DebugDumpScheduler"],
    },
    Block {
        needs: &["DEBUG_BUILD"],
        names: &[
            "DebugHalt",
            "DebugCapIdentify",
            "DebugSnapshot",
            "DebugNameThread",
        ],
    },
    Block {
        needs: &["DEBUG_BUILD", "ENABLE_SMP_SUPPORT"],
        names: &["DebugSendIPI", "DebugGetThreadAffinity"],
    },
    Block {
        needs: &["DANGEROUS_CODE_INJECTION"],
        names: &["DebugRun"],
    },
    Block {
        needs: &["ENABLE_BENCHMARKS"],
        names: &[
            "BenchmarkFlushCaches",
            "BenchmarkResetLog",
            "BenchmarkFinalizeLog",
            "BenchmarkSetLogBuffer",
            "BenchmarkNullSyscall",
        ],
    },
    Block {
        needs: &["BENCHMARK_TRACK_UTILISATION"],
        names: &[
            "BenchmarkGetThreadUtilisation",
            "BenchmarkResetThreadUtilisation",
        ],
    },
    Block {
        needs: &["BENCHMARK_TRACK_UTILISATION", "DEBUG_BUILD"],
        names: &[
            "BenchmarkDumpAllThreadsUtilisation",
            "BenchmarkResetAllThreadsUtilisation",
        ],
    },
    Block {
        needs: &["KERNEL_X86_DANGEROUS_MSR"],
        names: &["X86DangerousWRMSR", "X86DangerousRDMSR"],
    },
    Block {
        needs: &["VTX"],
        names: &["VMEnter"],
    },
    Block {
        needs: &["SET_TLS_BASE_SELF"],
        names: &["SetTLSBase"],
    },
];

/// The groups of the system-call list.
pub const SYSCALLS: &[(&str, &[Block])] =
    &[("api-master", MASTER), ("api-mcs", MCS), ("debug", DEBUG)];

/// The system calls the kernel has, with their numbers.
pub const NUMBERS: &[(&str, i64)] = &[
    ("Call", syscall::CALL),
    ("ReplyRecv", syscall::REPLY_RECV),
    ("NBSendRecv", syscall::NB_SEND_RECV),
    ("NBSendWait", syscall::NB_SEND_WAIT),
    ("Send", syscall::SEND),
    ("NBSend", syscall::NB_SEND),
    ("Recv", syscall::RECV),
    ("NBRecv", syscall::NB_RECV),
    ("Wait", syscall::WAIT),
    ("NBWait", syscall::NB_WAIT),
    ("Yield", syscall::YIELD),
    ("DebugPutChar", syscall::DEBUG_PUT_CHAR),
    ("DebugDumpScheduler", syscall::DEBUG_DUMP_SCHEDULER),
    ("DebugHalt", syscall::DEBUG_HALT),
    ("DebugCapIdentify", syscall::DEBUG_CAP_IDENTIFY),
    ("DebugSnapshot", syscall::DEBUG_SNAPSHOT),
    ("DebugNameThread", syscall::DEBUG_NAME_THREAD),
    ("SetTLSBase", syscall::SET_TLS_BASE),
];

/// Errors with the names the headers give them.
const ERRORS: &[(&str, Error)] = &[
    ("InvalidArgument", Error::InvalidArgument),
    ("InvalidCapability", Error::InvalidCapability),
    ("IllegalOperation", Error::IllegalOperation),
    ("RangeError", Error::RangeError),
    ("AlignmentError", Error::AlignmentError),
    ("FailedLookup", Error::FailedLookup),
    ("TruncatedMessage", Error::TruncatedMessage),
    ("DeleteFirst", Error::DeleteFirst),
    ("RevokeFirst", Error::RevokeFirst),
    ("NotEnoughMemory", Error::NotEnoughMemory),
];

/// A fault's words, read from the message in the order in which the structure takes them.
fn arguments(fault: &str) -> String {
    let count = fault_words(fault).len();
    let words: Vec<String> = (0..count).map(|n| format!("seL4_GetMR({n})")).collect();
    words.join(", ")
}

/// Members of an enumeration of a message's words. Two have another name there than in the fault's structure.
fn words(fault: &str) -> String {
    let names = fault_words(fault);
    let lines: Vec<String> = names
        .iter()
        .map(|name| {
            let name = match *name {
                "RSP" | "Stack" => "SP",
                name => name,
            };
            format!("    seL4_{fault}_{name},")
        })
        .collect();
    lines.join("\n")
}

/// Size bits of an object of a fixed size.
fn bits(ty: u64) -> u64 {
    object::size_bits(ty, 0).unwrap_or(0)
}

/// What the templates' places stand for.
#[must_use]
pub fn places() -> Vec<(&'static str, String)> {
    let mut places: Vec<(&str, String)> = numbers()
        .into_iter()
        .map(|(name, number)| (name, number.to_string()))
        .collect();
    let lines = |lines: Vec<String>| lines.join("\n");
    places.extend([
        ("USER_TOP", format!("{:#018x}", sel4_abi::USER_TOP)),
        (
            "errors",
            lines(
                ERRORS
                    .iter()
                    .map(|(name, error)| format!("    seL4_{name} = {},", *error as u64))
                    .collect(),
            ),
        ),
        (
            "context",
            lines(
                CONTEXT
                    .iter()
                    .map(|name| format!("    seL4_Word {name};"))
                    .collect(),
            ),
        ),
        ("vm_fault_words", words("VMFault")),
        ("unknown_syscall_words", words("UnknownSyscall")),
        ("user_exception_words", words("UserException")),
        ("vm_fault_arguments", arguments("VMFault")),
        ("unknown_syscall_arguments", arguments("UnknownSyscall")),
        ("user_exception_arguments", arguments("UserException")),
        ("cap_fault_arguments", arguments("CapFault")),
        ("timeout_arguments", arguments("Timeout")),
    ]);
    places
}

fn numbers() -> Vec<(&'static str, u64)> {
    let lookup = |failure: LookupFailure| failure.words().0[0];
    let bits_left = 0;
    vec![
        ("MAX_PRIORITY", sel4_abi::MAX_PRIORITY),
        ("MSG_REGISTERS", sel4_abi::MSG_REGISTERS as u64),
        ("MSG_MAX_LENGTH", sel4_abi::MSG_MAX_LENGTH as u64),
        ("MSG_MAX_EXTRA_CAPS", sel4_abi::MSG_MAX_EXTRA_CAPS as u64),
        ("IPC_BUFFER_SIZE", sel4_abi::IPC_BUFFER_SIZE),
        (
            "IPC_BUFFER_BITS",
            u64::from(sel4_abi::IPC_BUFFER_SIZE.ilog2()),
        ),
        ("IPC_BUFFER_MSG", ipc_buffer::MSG as u64),
        ("IPC_BUFFER_CAPS", ipc_buffer::CAPS_OR_BADGES as u64),
        ("IPC_BUFFER_DEPTH", ipc_buffer::RECEIVE_DEPTH as u64),
        ("USER_CONTEXT_WORDS", sel4_abi::USER_CONTEXT_WORDS as u64),
        ("RETYPE_FAN_OUT_LIMIT", sel4_abi::RETYPE_FAN_OUT_LIMIT),
        (
            "TIMEOUT_REPLY_LENGTH",
            sel4_abi::fault::TIMEOUT_REPLY_LENGTH as u64,
        ),
        ("INVALID_ROOT", lookup(LookupFailure::InvalidRoot)),
        (
            "MISSING_CAPABILITY",
            lookup(LookupFailure::MissingCapability { bits_left }),
        ),
        (
            "DEPTH_MISMATCH",
            lookup(LookupFailure::DepthMismatch {
                bits_left,
                bits_found: 0,
            }),
        ),
        (
            "GUARD_MISMATCH",
            lookup(LookupFailure::GuardMismatch {
                bits_left,
                guard: 0,
                guard_size: 0,
            }),
        ),
        ("UNTYPED", object::UNTYPED),
        ("TCB", object::TCB),
        ("ENDPOINT", object::ENDPOINT),
        ("NOTIFICATION", object::NOTIFICATION),
        ("CAP_TABLE", object::CAP_TABLE),
        ("SCHED_CONTEXT", object::SCHED_CONTEXT),
        ("REPLY", object::REPLY),
        ("X86_PDPT", object::X86_PDPT),
        ("X64_PML4", object::X64_PML4),
        ("X64_HUGE_PAGE", object::X64_HUGE_PAGE),
        ("X86_4K", object::X86_4K),
        ("X86_LARGE_PAGE", object::X86_LARGE_PAGE),
        ("X86_PAGE_TABLE", object::X86_PAGE_TABLE),
        ("X86_PAGE_DIRECTORY", object::X86_PAGE_DIRECTORY),
        ("OBJECT_TYPE_COUNT", object::COUNT),
        ("VCPU", object::VCPU),
        ("GUEST_PML4", object::GUEST_PML4),
        ("GUEST_PDPT", object::GUEST_PDPT),
        ("GUEST_PAGE_DIRECTORY", object::GUEST_PAGE_DIRECTORY),
        ("GUEST_PAGE_TABLE", object::GUEST_PAGE_TABLE),
        ("SHADOW_POOL", object::SHADOW_POOL),
        ("SLOT_BITS", object::SLOT_BITS),
        ("TCB_BITS", bits(object::TCB)),
        ("ENDPOINT_BITS", bits(object::ENDPOINT)),
        ("NOTIFICATION_BITS", bits(object::NOTIFICATION)),
        ("REPLY_BITS", bits(object::REPLY)),
        ("PAGE_BITS", bits(object::X86_4K)),
        ("LARGE_PAGE_BITS", bits(object::X86_LARGE_PAGE)),
        ("HUGE_PAGE_BITS", bits(object::X64_HUGE_PAGE)),
        ("PAGE_TABLE_BITS", bits(object::X86_PAGE_TABLE)),
        ("PAGE_DIRECTORY_BITS", bits(object::X86_PAGE_DIRECTORY)),
        ("PDPT_BITS", bits(object::X86_PDPT)),
        ("PML4_BITS", bits(object::X64_PML4)),
        ("MIN_SCHED_CONTEXT_BITS", object::MIN_SCHED_CONTEXT_BITS),
        ("MIN_UNTYPED_BITS", object::MIN_UNTYPED_BITS),
        ("MAX_UNTYPED_BITS", object::MAX_UNTYPED_BITS),
        ("SLOT_NULL", slot::NULL),
        ("SLOT_TCB", slot::TCB),
        ("SLOT_CNODE", slot::CNODE),
        ("SLOT_VSPACE", slot::VSPACE),
        ("SLOT_IRQ_CONTROL", slot::IRQ_CONTROL),
        ("SLOT_ASID_CONTROL", slot::ASID_CONTROL),
        ("SLOT_ASID_POOL", slot::ASID_POOL),
        ("SLOT_IO_PORT_CONTROL", slot::IO_PORT_CONTROL),
        ("SLOT_IO_SPACE", slot::IO_SPACE),
        ("SLOT_BOOT_INFO_FRAME", slot::BOOT_INFO_FRAME),
        ("SLOT_IPC_BUFFER", slot::IPC_BUFFER),
        ("SLOT_DOMAIN_SET", slot::DOMAIN_SET),
        ("SLOT_SC", slot::SC),
        ("SLOT_FIRST_FREE", slot::FIRST_FREE),
        ("EXTRA_PADDING", extra::PADDING),
        ("EXTRA_VBE", extra::X86_VBE),
        ("EXTRA_MBMMAP", extra::X86_MBMMAP),
        ("EXTRA_ACPI_RSDP", extra::X86_ACPI_RSDP),
        ("EXTRA_FRAMEBUFFER", extra::X86_FRAMEBUFFER),
        ("EXTRA_TSC_FREQ", extra::X86_TSC_FREQ),
        ("EXTRA_COMMAND_LINE", extra::COMMAND_LINE),
        ("BOOT_INFO_SIZE", size_of::<BootInfo>() as u64),
        ("BOOT_INFO_LIST", offset_of!(BootInfo, untyped_list) as u64),
    ]
}

/// `sel4/syscall.h`: the numbers. A call that the kernel's kind lacks keeps its number.
#[must_use]
pub fn syscall_header() -> String {
    let mut text = head("Numbers of system calls.");
    text.push_str("typedef enum {\n");
    for (name, number) in NUMBERS {
        put(&mut text, &format!("    seL4_Sys{name} = {number},"));
    }
    text.push_str(
        "    _enum_pad_seL4_Syscall_ID = (1ull << (sizeof(int) * 8 - 1)) - 1\n} seL4_Syscall_ID;\n",
    );
    text
}

/// The three label headers, by the number of their file. Each begins where the one before ends.
#[must_use]
pub fn label_header(index: usize) -> String {
    const ENUMS: &[(&str, &str)] = &[
        ("invocation_label", "nInvocationLabels"),
        ("sel4_arch_invocation_label", "nSeL4ArchInvocationLabels"),
        ("arch_invocation_label", "nArchInvocationLabels"),
    ];
    let (name, end) = ENUMS[index];
    let mut text = head("Labels of invocations.");
    put(&mut text, &format!("enum {name} {{"));
    if index == 0 {
        put(&mut text, "    InvalidInvocation = 0,");
    }
    for method in APIS[index]
        .interfaces
        .iter()
        .flat_map(|interface| interface.methods)
    {
        put(&mut text, &format!("    {} = {},", method.id, method.label));
    }
    put(&mut text, &format!("    {end}\n}};"));
    text
}

/// `umbra/invocation.h`: labels of what Umbra adds.
#[must_use]
pub fn umbra_labels() -> String {
    let mut text = head("Labels of invocations that Umbra adds.");
    text.push_str("enum umbra_invocation_label {\n");
    for (name, number) in label::ALL
        .iter()
        .filter(|(_, number)| *number >= label::UMBRA_FIRST)
    {
        put(&mut text, &format!("    UMBRA_{name} = {number:#x},"));
    }
    text.push_str("};\n");
    text
}

/// `platform_gen.yaml`: what is known of the machine while building. Memory and devices are found at boot.
#[must_use]
pub fn platform() -> String {
    "# The PC tells of memory and devices at boot: see the boot information.\nmemory: []\ndevices: []\n"
        .into()
}

fn head(what: &str) -> String {
    format!("/* {what} Written by Umbra's build. */\n\n#pragma once\n\n")
}
