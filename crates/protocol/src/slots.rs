//! Capability slots of each domain's CSpace (radix 12, guard filling the word). 0 is always empty; no domain but
//! root-task holds its own CNode.

/// Radix of every domain's CNode.
pub const CNODE_BITS: u64 = 12;

/// Slots every server has.
pub mod common {
    /// The endpoint it receives on (receive right only).
    pub const SERVICE: u64 = 1;
    /// Its reply object.
    pub const REPLY: u64 = 2;
    /// root-task's notification: signalled once, when the server is ready.
    pub const READY: u64 = 3;
}

/// vmm-server.
pub mod vmm {
    /// Its notification, bound to its thread (receive right). Has a scheduling context of its own.
    pub const NOTIFICATION: u64 = 4;
    /// The VCPU: run and read rights.
    pub const VCPU: u64 = 5;
    /// mmu-server's endpoint (send, grant-reply).
    pub const MMU: u64 = 6;
    /// The device server's endpoint for this VM (send, grant-reply).
    pub const DEVICE: u64 = 7;
}

/// mmu-server.
pub mod mmu {
    /// The VCPU: paging right alone.
    pub const VCPU: u64 = 5;
    /// The guest-physical space.
    pub const SPACE: u64 = 6;
    /// The shadow pool.
    pub const POOL: u64 = 7;
    /// First of the guest-frame capabilities, two a frame: mapped here, mapped in the guest-physical space.
    pub const FRAMES: u64 = 64;
    /// Most guest frames: 3 GiB in large pages.
    pub const MAX_FRAMES: u64 = 3 << 9;
    /// First of the capabilities of the test device's memory, two a page, likewise.
    pub const TEST_MEMORY: u64 = FRAMES + 2 * MAX_FRAMES;
}

/// Device server. Thread 0 serves the machine's interrupts; thread 1 + n serves VM n.
pub mod drivers {
    /// Notification of the machine's interrupts, bound to thread 0. Unbadged, with both rights: the other threads wake
    /// thread 0 by it.
    pub const NOTIFICATION: u64 = 4;
    /// I/O ports 0x3f8..=0x3ff.
    pub const COM1: u64 = 5;
    /// Interrupt handler of COM1 (badge bit 0).
    pub const COM1_IRQ: u64 = 6;
    /// I/O ports 0x40..=0x43, the PIT.
    pub const PIT: u64 = 7;
    /// Interrupt handler of the deadline timer (badge bit 1).
    pub const TIMER_IRQ: u64 = 8;
    /// I/O port 0xf4: ends the run.
    pub const EXIT: u64 = 9;
    /// VM n's endpoint (receive), reply object, and notification of its vmm-server (send), at BASE + 4n + 0, 1, 2. A
    /// capability has one badge, so the notification stands twice: badge [`signal::LINE`](crate::device::signal::LINE)
    /// at 2, badge [`signal::DEADLINE`](crate::device::signal::DEADLINE) at 3.
    pub const VM_BASE: u64 = 32;
    /// Slots of VM `n`: (endpoint, reply, notification).
    #[must_use]
    pub const fn vm(n: u64) -> (u64, u64, u64) {
        (VM_BASE + 4 * n, VM_BASE + 4 * n + 1, VM_BASE + 4 * n + 2)
    }
    /// Slot of VM `n`'s notification with the badge of a deadline.
    #[must_use]
    pub const fn vm_deadline(n: u64) -> u64 {
        VM_BASE + 4 * n + 3
    }
}
