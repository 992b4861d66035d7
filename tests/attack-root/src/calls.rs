//! Random system calls of a thread that holds one capability of every kind.
//!
//! Plain noise is refused at the first check. So most calls name a capability that is there and a label its kind knows,
//! with words of the sizes that arguments have; the rest is noise.

use crate::rng::Rng;
use sel4_abi::{MSG_MAX_LENGTH, label, message::MessageInfo, syscall};

/// Slots of the hostile thread's CNode.
pub mod slot {
    macro_rules! slots {
        ($($name:ident = $value:literal: $doc:literal,)*) => {
            $(#[doc = $doc] pub const $name: u64 = $value;)*
        };
    }
    slots! {
        CNODE = 1: "Its own CNode.",
        UNTYPED = 2: "Untyped memory.",
        ENDPOINT = 3: "An endpoint.",
        NOTIFICATION = 4: "A notification.",
        REPLY = 5: "A reply object.",
        TCB = 6: "A thread with time, of the same CSpace.",
        TCB_IDLE = 7: "A thread with nothing.",
        SC = 8: "The first thread's scheduling context.",
        SC_IDLE = 9: "A scheduling context of nobody.",
        FRAME = 10: "A 4 KiB frame.",
        FRAME_MAPPED = 11: "A 4 KiB frame mapped in the address space.",
        LARGE_FRAME = 12: "A 2 MiB frame.",
        PML4 = 13: "An address space.",
        PDPT = 14: "Its next level.",
        DIRECTORY = 15: "Its next level.",
        TABLE = 16: "Its last level.",
        ASID_POOL = 17: "An ASID pool.",
        VCPU = 18: "A VCPU.",
        GUEST_PML4 = 19: "A guest-physical space.",
        GUEST_PDPT = 20: "Its next level.",
        GUEST_DIRECTORY = 21: "Its next level.",
        GUEST_TABLE = 22: "Its last level.",
        POOL = 23: "A shadow pool.",
        SCHED_CONTROL = 24: "Authority to give time.",
        ASID_CONTROL = 25: "Authority over ASID pools.",
        IRQ_CONTROL = 26: "Authority over interrupt lines.",
        IRQ_HANDLER = 27: "An interrupt line of no device.",
        IO_PORT = 28: "Port 0x80, which does nothing.",
        DOMAIN_SET = 29: "Authority over scheduling domains.",
        IO_PORT_CONTROL = 30: "Authority over I/O ports, of which all but eight that do nothing are taken.",
        DEVICE_UNTYPED = 31: "Untyped memory of no device: addresses where nothing is.",
        HUGE_FRAME = 32: "A 1 GiB frame of the same.",
        BADGED_ENDPOINT = 33: "The endpoint with a badge, to send alone.",
        BADGED_NOTIFICATION = 34: "The notification with a badge, to send alone.",
        END = 35: "One past the last of them.",
    }
}

/// Radix of the CNode.
pub const CNODE_BITS: u64 = 8;
/// Where the hostile thread's one page of code is.
pub const CODE: u64 = 0x40_0000;
/// First of the eight ports that nobody holds: they belong to the old DMA controllers' page registers.
pub const PORTS: u64 = 0x88;
/// Its IPC buffer.
pub const BUFFER: u64 = 0x50_0000;

/// One system call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// rdx.
    pub number: i64,
    /// rdi.
    pub cap: u64,
    /// rsi.
    pub info: u64,
    /// r10, r8, r9, r15.
    pub words: [u64; 4],
    /// r12.
    pub reply: u64,
    /// r13.
    pub destination: u64,
    /// Every other register, in the order rax, rbx, rcx, rsp, rbp, r11, r14, FS base, GS base, flags.
    pub others: [u64; 10],
    /// Where the thread begins; nearly always the system-call instruction.
    pub rip: u64,
    /// The IPC buffer: 128 words.
    pub buffer: [u64; 128],
}

/// Labels that a kind of capability knows.
fn labels(of: u64) -> &'static [u64] {
    use label::*;
    match of {
        slot::UNTYPED | slot::DEVICE_UNTYPED => &[UNTYPED_RETYPE],
        slot::IO_PORT_CONTROL => &[X86_IO_PORT_CONTROL_ISSUE],
        slot::CNODE => &[
            CNODE_REVOKE,
            CNODE_DELETE,
            CNODE_CANCEL_BADGED_SENDS,
            CNODE_COPY,
            CNODE_MINT,
            CNODE_MOVE,
            CNODE_MUTATE,
            CNODE_ROTATE,
        ],
        slot::TCB | slot::TCB_IDLE => &[
            TCB_READ_REGISTERS,
            TCB_WRITE_REGISTERS,
            TCB_COPY_REGISTERS,
            TCB_CONFIGURE,
            TCB_SET_PRIORITY,
            TCB_SET_MC_PRIORITY,
            TCB_SET_SCHED_PARAMS,
            TCB_SET_TIMEOUT_ENDPOINT,
            TCB_SET_IPC_BUFFER,
            TCB_SET_SPACE,
            TCB_SUSPEND,
            TCB_RESUME,
            TCB_BIND_NOTIFICATION,
            TCB_UNBIND_NOTIFICATION,
            TCB_SET_TLS_BASE,
            TCB_SET_FLAGS,
        ],
        slot::SC | slot::SC_IDLE => &[
            SCHED_CONTEXT_BIND,
            SCHED_CONTEXT_UNBIND,
            SCHED_CONTEXT_UNBIND_OBJECT,
            SCHED_CONTEXT_CONSUMED,
            SCHED_CONTEXT_YIELD_TO,
        ],
        slot::SCHED_CONTROL => &[SCHED_CONTROL_CONFIGURE_FLAGS],
        slot::FRAME | slot::FRAME_MAPPED | slot::LARGE_FRAME | slot::HUGE_FRAME => &[
            X86_PAGE_MAP,
            X86_PAGE_UNMAP,
            X86_PAGE_GET_ADDRESS,
            PAGE_MAP_GUEST,
        ],
        slot::PDPT => &[X86_PDPT_MAP, X86_PDPT_UNMAP],
        slot::DIRECTORY => &[X86_PAGE_DIRECTORY_MAP, X86_PAGE_DIRECTORY_UNMAP],
        slot::TABLE => &[X86_PAGE_TABLE_MAP, X86_PAGE_TABLE_UNMAP],
        slot::ASID_CONTROL => &[X86_ASID_CONTROL_MAKE_POOL],
        slot::ASID_POOL => &[X86_ASID_POOL_ASSIGN],
        slot::IRQ_CONTROL => &[
            IRQ_ISSUE_IRQ_HANDLER,
            X86_IRQ_ISSUE_IRQ_HANDLER_IOAPIC,
            X86_IRQ_ISSUE_IRQ_HANDLER_MSI,
        ],
        slot::IRQ_HANDLER => &[IRQ_ACK, IRQ_SET_HANDLER, IRQ_CLEAR_HANDLER],
        slot::IO_PORT => &[
            X86_IO_PORT_IN8,
            X86_IO_PORT_IN16,
            X86_IO_PORT_IN32,
            X86_IO_PORT_OUT8,
            X86_IO_PORT_OUT16,
            X86_IO_PORT_OUT32,
        ],
        slot::DOMAIN_SET => &[
            DOMAIN_SET_SET,
            DOMAIN_SCHEDULE_CONFIGURE,
            DOMAIN_SCHEDULE_SET_START,
        ],
        slot::VCPU => &[
            VCPU_BIND_TCB,
            VCPU_READ_REGISTERS,
            VCPU_WRITE_REGISTERS,
            VCPU_REQUEST_WINDOW,
            VCPU_FETCH_INSTRUCTION,
            VCPU_READ_COUNTERS,
            VCPU_RUN,
            VCPU_SET_NESTED,
        ],
        slot::GUEST_PDPT => &[GUEST_PDPT_MAP, GUEST_PDPT_UNMAP],
        slot::GUEST_DIRECTORY => &[GUEST_PAGE_DIRECTORY_MAP, GUEST_PAGE_DIRECTORY_UNMAP],
        slot::GUEST_TABLE => &[GUEST_PAGE_TABLE_MAP, GUEST_PAGE_TABLE_UNMAP],
        slot::POOL => &[
            POOL_BIND_SPACE,
            POOL_BIND_VCPU,
            POOL_RESET,
            POOL_LINK,
            POOL_FILL,
            POOL_CLEAR,
            POOL_HARVEST,
            POOL_SET_ROOT,
            POOL_INVALIDATE,
            POOL_RETIRE,
            POOL_INFO,
        ],
        _ => &[0],
    }
}

/// The capability that an invocation of `label` wants first beside the invoked one.
fn extra(label: u64) -> u64 {
    use label::*;
    match label {
        UNTYPED_RETYPE
        | TCB_CONFIGURE
        | CNODE_COPY
        | CNODE_MINT
        | CNODE_MOVE
        | CNODE_MUTATE
        | X86_IO_PORT_CONTROL_ISSUE
        | IRQ_ISSUE_IRQ_HANDLER => slot::CNODE,
        X86_PAGE_MAP
        | X86_PDPT_MAP
        | X86_PAGE_DIRECTORY_MAP
        | X86_PAGE_TABLE_MAP
        | X86_ASID_POOL_ASSIGN => slot::PML4,
        PAGE_MAP_GUEST
        | GUEST_PDPT_MAP
        | GUEST_PAGE_DIRECTORY_MAP
        | GUEST_PAGE_TABLE_MAP
        | POOL_BIND_SPACE => slot::GUEST_PML4,
        POOL_BIND_VCPU | POOL_SET_ROOT => slot::VCPU,
        SCHED_CONTROL_CONFIGURE_FLAGS => slot::SC,
        TCB_BIND_NOTIFICATION | IRQ_SET_HANDLER => slot::NOTIFICATION,
        X86_ASID_CONTROL_MAKE_POOL => slot::UNTYPED,
        _ => slot::TCB,
    }
}

/// A word of a size that arguments have.
fn word(rng: &mut Rng) -> u64 {
    match rng.below(16) {
        0 => 0,
        1 | 2 => rng.below(8),
        3 | 4 => rng.below(slot::END),
        5 => rng.below(1 << CNODE_BITS),
        6 => 1 << rng.below(64),
        7 => (1u64 << rng.below(64)).wrapping_sub(1),
        8 => rng.below(1024) << 12,
        9 => u64::MAX,
        10 => rng.pick(&[PORTS, CODE, BUFFER, 0x20_0000, 1 << 30, 1 << 39]),
        11 => 0xffff_8000_0000_0000 | rng.next() >> 20,
        12 => rng.next() << rng.below(64),
        13 => rng.below(16).wrapping_neg(),
        14 => rng.below(64) | rng.below(520) << 32,
        _ => rng.next(),
    }
}

/// A system call's number; never the one that stops the machine, which a kernel for debugging has.
fn number(rng: &mut Rng) -> i64 {
    match any_number(rng) {
        syscall::DEBUG_HALT => syscall::DEBUG_SNAPSHOT,
        number => number,
    }
}

fn any_number(rng: &mut Rng) -> i64 {
    match rng.below(32) {
        0..16 => syscall::CALL,
        16..28 => -1 - rng.below(11) as i64,
        28 => syscall::SET_TLS_BASE,
        // Seldom the debug calls: some print.
        29 if rng.once_in(8) => -12 - rng.below(6) as i64,
        29 | 30 => -(rng.below(64) as i64),
        _ => rng.next() as i64,
    }
}

fn info(rng: &mut Rng, cap: u64) -> (u64, u64) {
    let label = match rng.below(16) {
        0 => rng.next() >> 12,
        1..4 => rng.pick(label::ALL).1,
        _ => rng.pick(labels(cap)),
    };
    let length = if rng.once_in(4) {
        rng.below(128)
    } else {
        4 + rng.below(8)
    };
    let extra = if rng.once_in(4) {
        rng.below(4)
    } else {
        1 + rng.below(3)
    };
    let info = MessageInfo::new(label, rng.below(8), extra, length).word();
    (info, label)
}

impl Call {
    /// The next call of a sequence.
    pub fn random(rng: &mut Rng) -> Self {
        let cap = if rng.once_in(8) {
            word(rng)
        } else {
            1 + rng.below(slot::END - 1)
        };
        let (info, label) = info(rng, cap);
        Self {
            number: number(rng),
            cap,
            info,
            words: core::array::from_fn(|_| word(rng)),
            reply: if rng.once_in(2) {
                slot::REPLY
            } else {
                word(rng)
            },
            destination: rng.below(slot::END),
            others: core::array::from_fn(|_| word(rng)),
            rip: if rng.once_in(64) { word(rng) } else { CODE },
            buffer: buffer(rng, label),
        }
    }
}

fn buffer(rng: &mut Rng, label: u64) -> [u64; 128] {
    const WORDS: usize = 1 + MSG_MAX_LENGTH;
    const CAPS: usize = WORDS + 1;
    let mut buffer = [0; 128];
    // Few words are looked at: the first dozen are worth the time.
    for word_of in &mut buffer[..16] {
        *word_of = word(rng);
    }
    if rng.once_in(16) {
        buffer[16..].fill(word(rng));
    }
    for (n, cap) in buffer[CAPS..CAPS + 3].iter_mut().enumerate() {
        *cap = match rng.below(8) {
            0 => word(rng),
            1..5 if n == 0 => extra(label),
            _ => rng.below(slot::END),
        };
    }
    let noise: [u64; 3] = core::array::from_fn(|_| word(rng));
    let receive = [
        rng.pick(&[slot::CNODE, noise[0]]),
        rng.below(1 << CNODE_BITS),
        rng.pick(&[CNODE_BITS, 64, noise[2]]),
    ];
    buffer[CAPS + 3..CAPS + 6].copy_from_slice(&receive);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_cover_every_capability_and_label() {
        let mut rng = Rng::new(7);
        let calls: Vec<Call> = (0..20_000).map(|_| Call::random(&mut rng)).collect();
        for cap in 1..slot::END {
            assert!(calls.iter().any(|call| call.cap == cap), "slot {cap}");
        }
        for (name, label) in label::ALL {
            let said = |call: &&Call| MessageInfo::from_word(call.info).label() == *label;
            assert!(calls.iter().any(|call| said(&call)), "{name}");
        }
    }
}
