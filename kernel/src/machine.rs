//! What the kernel's logic needs of the processor and the board. The binary implements it with hardware, host tests with
//! a recorder. No default bodies: an unwritten method should not compile.

use words::Hpa;

/// Features of the processor's SVM (CPUID 8000_000A), and what this machine was found to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SvmFeatures {
    /// SVM is there and enabled.
    pub present: bool,
    /// Number of TLB tags, 0 included; usable are 1..asids.
    pub asids: u32,
    /// Next RIP is saved on instruction exits.
    pub nrips: bool,
    /// Operands and instruction bytes are saved on exits.
    pub decode_assists: bool,
    /// Nested paging.
    pub nested: bool,
    /// TLB_CONTROL 3 flushes one tag.
    pub flush_by_asid: bool,
    /// QEMU's software CPU: TR of a guest must read as available for I/O bitmaps to work.
    pub tcg: bool,
    /// CR4 bits the processor has (reserved ones would make VMRUN fail).
    pub cr4_allowed: u64,
    /// Physical address width in bits.
    pub physical_bits: u32,
    /// 1 GiB leaves exist (CPUID 8000_0001 EDX[26]).
    pub huge_pages: bool,
    /// Host-physical address of the I/O permission map (12 KiB, all ones) and of the MSR permission map (8 KiB).
    pub iopm: Hpa,
    /// See `iopm`.
    pub msrpm: Hpa,
}

/// An interrupt line's electrical description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqRoute {
    /// IOAPIC number, in MADT order.
    pub ioapic: u32,
    /// Pin of it.
    pub pin: u32,
    /// Level-triggered (else edge).
    pub level: bool,
    /// Active low (else high).
    pub active_low: bool,
}

/// The processor and the board.
pub trait Machine {
    /// The time stamp counter.
    fn now(&self) -> u64;
    /// TSC ticks a microsecond.
    fn tsc_mhz(&self) -> u64;
    /// Programs the one-shot timer to interrupt with the timer vector at `tsc`; in the past means at once.
    fn set_deadline(&mut self, tsc: u64);
    /// Loads CR3 with `root`.
    fn switch_vspace(&mut self, root: Hpa);
    /// INVLPG in the current address space.
    fn invalidate_page(&mut self, vaddr: u64);
    /// Flushes the host's whole TLB (tag 0).
    fn flush_tlb(&mut self);
    /// INVLPGA: one page of TLB tag `tag`.
    fn invlpga(&mut self, gva: u64, tag: u32);
    /// Pins of IOAPIC `ioapic`, or `None` if there is no such IOAPIC.
    fn ioapic_pins(&self, ioapic: u32) -> Option<u32>;
    /// Routes a pin to `vector`, masked.
    fn irq_route(&mut self, route: IrqRoute, vector: u8);
    /// Masks or unmasks a routed pin.
    fn irq_mask(&mut self, route: IrqRoute, masked: bool);
    /// Signals end of interrupt to the local APIC.
    fn end_of_interrupt(&mut self);
    /// Whether the local APIC awaits the end of an interrupt of this CPU vector.
    fn in_service(&self, vector: u8) -> bool;
    /// Whether an interrupt waits in the local APIC (for preemption points).
    fn interrupt_pending(&self) -> bool;
    /// IN of `size` 1, 2 or 4 bytes.
    fn port_in(&mut self, port: u16, size: u8) -> u32;
    /// OUT.
    fn port_out(&mut self, port: u16, size: u8, value: u32);
    /// A character on the debug console.
    fn put_char(&mut self, c: u8);
    /// Stops the machine for good.
    fn halt(&mut self) -> !;
    /// Loads FS.base and GS.base for the thread about to run in user mode.
    fn load_tls(&mut self, fs_base: u64, gs_base: u64);
    /// Whether threads set FS.base and GS.base by instructions of their own.
    fn threads_set_bases(&self) -> bool;
    /// FS.base and GS.base as they are, where threads set them.
    fn bases(&self) -> (u64, u64);
    /// FXSAVE to the 512 bytes at `area` (16-aligned); CR0.TS is clear.
    fn fpu_save(&mut self, area: Hpa);
    /// FXRSTOR from `area`; CR0.TS is clear.
    fn fpu_restore(&mut self, area: Hpa);
    /// Sets or clears CR0.TS.
    fn set_task_switched(&mut self, ts: bool);
    /// Loads DR0..DR3 for a guest that is about to run with breakpoints on; `dr7` is its DR7, which VMRUN loads.
    fn load_debug_registers(&mut self, dr: [u64; 4], dr7: u64);
    /// The guest is back: none of its breakpoints may meet the host.
    fn unload_debug_registers(&mut self);
    /// SVM as found at boot.
    fn svm(&self) -> SvmFeatures;
}

/// What to run next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Return to user mode with the [`UserContext`](crate::context::UserContext) at this host-physical address.
    User {
        /// Its place.
        context: Hpa,
    },
    /// VMRUN.
    Guest {
        /// The VMCB; [`GuestRegisters`](crate::context::GuestRegisters) are in the page behind it.
        vmcb: Hpa,
    },
    /// Nothing is runnable, or an interrupt is to be taken first: wait for one.
    Idle,
}

/// A range of host-physical addresses, end exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// First byte.
    pub start: u64,
    /// One past the last.
    pub end: u64,
}

/// What the boot code found out, for `Kernel::boot`.
#[derive(Clone, Copy, Debug)]
pub struct BootParams<'a> {
    /// Usable RAM above 1 MiB, page-aligned, ascending, without the kernel's own image; the module may lie inside.
    pub memory: &'a [Region],
    /// The root task's ELF file (the first multiboot module), anywhere in RAM.
    pub module: Region,
    /// Register pages of local APIC and IOAPICs, kept out of device untypeds. Ascending.
    pub kernel_devices: &'a [Region],
    /// Table whose upper half (slots 256..512) every address space shares.
    pub kernel_pml4: Hpa,
    /// Copy of the ACPI RSDP, if found (20 or 36 bytes).
    pub rsdp: Option<&'a [u8]>,
    /// The multiboot memory map, packed entries of { u32 size, u64 base, u64 length, u32 type }.
    pub memory_map: &'a [u8],
    /// The kernel's command line.
    pub command_line: &'a str,
}
