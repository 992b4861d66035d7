//! Object types and sizes.

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        $($(#[$doc])* pub const $name: u64 = $value;)*
    };
}

types! {
    /// Untyped memory; size bits 4..=47 by the user.
    UNTYPED = 0,
    /// Thread control block.
    TCB = 1,
    /// Endpoint.
    ENDPOINT = 2,
    /// Notification.
    NOTIFICATION = 3,
    /// CNode; size bits = radix.
    CAP_TABLE = 4,
    /// Scheduling context; size bits by the user, 7 at least.
    SCHED_CONTEXT = 5,
    /// Reply object.
    REPLY = 6,
    /// Page-directory-pointer table.
    X86_PDPT = 7,
    /// PML4: a virtual address space.
    X64_PML4 = 8,
    /// 1 GiB frame.
    X64_HUGE_PAGE = 9,
    /// 4 KiB frame.
    X86_4K = 10,
    /// 2 MiB frame.
    X86_LARGE_PAGE = 11,
    /// Page table.
    X86_PAGE_TABLE = 12,
    /// Page directory.
    X86_PAGE_DIRECTORY = 13,
    /// Virtual CPU (Umbra).
    VCPU = 14,
    /// Root of a guest-physical space (Umbra).
    GUEST_PML4 = 15,
    /// Second level of a guest-physical space (Umbra).
    GUEST_PDPT = 16,
    /// Third level of a guest-physical space (Umbra).
    GUEST_PAGE_DIRECTORY = 17,
    /// Last level of a guest-physical space (Umbra).
    GUEST_PAGE_TABLE = 18,
    /// Shadow pool; size bits = log2 of its pages, 5..=18 (Umbra).
    SHADOW_POOL = 19,
    /// Number of types.
    COUNT = 20,
}

/// Size bits of a capability slot.
pub const SLOT_BITS: u64 = 5;
/// Size bits of a TCB.
pub const TCB_BITS: u64 = 11;
/// Size bits of an endpoint.
pub const ENDPOINT_BITS: u64 = 4;
/// Size bits of a notification.
pub const NOTIFICATION_BITS: u64 = 6;
/// Size bits of a reply object.
pub const REPLY_BITS: u64 = 5;
/// Smallest size bits of a scheduling context.
pub const MIN_SCHED_CONTEXT_BITS: u64 = 7;
/// Smallest and largest untyped.
pub const MIN_UNTYPED_BITS: u64 = 4;
/// Largest untyped.
pub const MAX_UNTYPED_BITS: u64 = 47;
/// Size bits of a VCPU: VMCB page, state page.
pub const VCPU_BITS: u64 = 13;
/// Smallest shadow pool: 2^5 pages.
pub const MIN_POOL_BITS: u64 = 5;
/// Largest shadow pool: 2^18 pages, 1 GiB.
pub const MAX_POOL_BITS: u64 = 18;

/// The size in bits of an object of `ty` made with `user_bits`, or `None` for a type that does not exist.
#[must_use]
pub const fn size_bits(ty: u64, user_bits: u64) -> Option<u64> {
    Some(match ty {
        UNTYPED | SCHED_CONTEXT => user_bits,
        TCB => TCB_BITS,
        ENDPOINT => ENDPOINT_BITS,
        NOTIFICATION => NOTIFICATION_BITS,
        CAP_TABLE => user_bits + SLOT_BITS,
        REPLY => REPLY_BITS,
        X64_HUGE_PAGE => 30,
        X86_LARGE_PAGE => 21,
        VCPU => VCPU_BITS,
        SHADOW_POOL => user_bits + 12,
        X86_PDPT | X64_PML4 | X86_4K | X86_PAGE_TABLE | X86_PAGE_DIRECTORY | GUEST_PML4
        | GUEST_PDPT | GUEST_PAGE_DIRECTORY | GUEST_PAGE_TABLE => 12,
        _ => return None,
    })
}
