//! Every label on every slot.

use crate::report::Found;
use protocol::slots::CNODE_BITS;
use sel4::{CPtr, MessageInfo, cap, cap_type};
use sel4_abi::{label, syscall};

/// Kinds of capabilities, as the kernel's debug call names them.
pub mod kind {
    /// Nothing.
    pub const NULL: u64 = 0;
    /// A frame.
    pub const FRAME: u64 = 1;
    /// An endpoint.
    pub const ENDPOINT: u64 = 4;
    /// A notification.
    pub const NOTIFICATION: u64 = 6;
    /// A reply object.
    pub const REPLY: u64 = 8;
    /// An interrupt line.
    pub const IRQ_HANDLER: u64 = 16;
    /// A range of I/O ports.
    pub const IO_PORT: u64 = 19;
    /// A virtual processor.
    pub const VCPU: u64 = 33;
}

/// Where the machine's memory lies, of which it has less than 1 GiB here. No word that is sent is one of these, nor is its
/// lower half: registers may keep no more of it.
const RAM: core::ops::Range<u64> = 0x10_0000..0x4000_0000;
/// Sets of words that each label is tried with.
const ATTEMPTS: u64 = 6;

/// Tries everything. `expected` is what the slots hold, `spare` says which labels a slot is not tried with, and `own` which
/// replies are not looked at, because they are the guest's own memory or what this domain wrote. The result is the number of
/// attempts.
///
/// # Errors
/// What should not have been found.
pub fn all(
    expected: impl Fn(u64) -> u64,
    spare: impl Fn(u64, u64) -> bool,
    own: impl Fn(u64, u64) -> bool,
) -> Result<u64, Found> {
    let mut seed = 0x5eed;
    let mut attempts = 0;
    for slot in 0..1u64 << CNODE_BITS {
        let kind = identify(slot);
        if kind != expected(slot) {
            return Err(Found::Capability { slot, kind });
        }
        for &(_, label) in label::ALL {
            if spare(slot, label) {
                continue;
            }
            attempts += 1;
            if kind == kind::NULL {
                // A call of an empty slot is a fault; a message that does not wait is not.
                endpoint(slot).nb_send(MessageInfo::new(label, 0, 0, 4));
                continue;
            }
            for n in 0..ATTEMPTS {
                prepare(n == 0 && label == label::VCPU_READ_REGISTERS, &mut seed);
                attempt(slot, kind, label, &mut seed, own(slot, label))?;
            }
        }
    }
    Ok(attempts)
}

fn endpoint(slot: u64) -> cap::Endpoint {
    CPtr::from_bits(slot).cast::<cap_type::Endpoint>()
}

/// What the kernel calls the capability in a slot.
fn identify(slot: u64) -> u64 {
    let kind;
    // SAFETY: the debug call changes no register but rdi, and no memory.
    unsafe {
        core::arch::asm!(
            "syscall",
            in("rdx") syscall::DEBUG_CAP_IDENTIFY,
            inlateout("rdi") slot => kind,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    kind
}

/// Fills the IPC buffer; `all` asks for every register.
fn prepare(all: bool, seed: &mut u64) {
    // The first slots are the capabilities a domain has: the most that extra capabilities can be.
    let caps = [next(seed) % 16, next(seed) % 16, next(seed) % 64];
    sel4::with_ipc_buffer_mut(|buffer| {
        buffer.caps_or_badges_mut()[..3].copy_from_slice(&caps);
        for word in &mut buffer.msg_regs_mut()[..12] {
            *word = word_of(seed);
        }
        if all {
            buffer.msg_regs_mut()[0] = u64::MAX;
        }
    });
}

fn attempt(slot: u64, kind: u64, label: u64, seed: &mut u64, own: bool) -> Result<(), Found> {
    let length = 4 + (next(seed) % 8) as usize;
    let extra = if next(seed).is_multiple_of(2) { 1 } else { 3 };
    let answer = endpoint(slot).call(MessageInfo::new(label, 0, extra, length));
    // Messages go to somebody, who reads the label as he likes.
    let kernel = ![kind::ENDPOINT, kind::NOTIFICATION, kind::REPLY].contains(&kind);
    if kernel && answer.label() == 0 && gives_or_takes_addresses(kind, label) {
        return Err(Found::Done { slot, label });
    }
    if own || (kernel && answer.label() != 0) {
        return Ok(());
    }
    let leaked = sel4::with_ipc_buffer(|buffer| {
        let words = &buffer.msg_regs()[..answer.length().min(buffer.msg_regs().len())];
        words.iter().copied().find(|word| RAM.contains(word))
    });
    match leaked {
        Some(word) => Err(Found::Address { slot, label, word }),
        None => Ok(()),
    }
}

/// Labels by which memory is made, mapped or named. A device's frame may be unmapped and named: its address is the
/// machine's, not a guest's.
fn gives_or_takes_addresses(kind: u64, label: u64) -> bool {
    let harmless = [label::X86_PAGE_UNMAP, label::X86_PAGE_GET_ADDRESS];
    let memory = label == label::UNTYPED_RETYPE
        || (label::X86_PDPT_MAP..=label::X86_ASID_POOL_ASSIGN).contains(&label)
        || (label::GUEST_PDPT_MAP..=label::POOL_INFO).contains(&label)
        || (label::TCB_READ_REGISTERS..=label::CNODE_ROTATE).contains(&label);
    memory && !(kind == kind::FRAME && harmless.contains(&label))
}

/// Small words, and words beyond the machine's memory.
fn word_of(seed: &mut u64) -> u64 {
    let word = next(seed);
    match word % 4 {
        0 => word >> 60,
        1 => word >> 48,
        2 => 1 << (word >> 60),
        _ => word << 40 | word >> 60,
    }
}

/// A linear congruential generator's upper half (multiplier and increment of Knuth's MMIX).
fn next(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed ^ *seed >> 29
}
