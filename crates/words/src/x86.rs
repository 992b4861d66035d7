//! x86 register bits, page-table bits, page-fault codes, MSR numbers, exception vectors.
//!
//! Sources: AMD64 APM vol. 2 (24593), chapters 3 (system resources), 5 (paging), 8 (exceptions), appendix A (MSRs).

/// CR0 (APM vol. 2, 3.1.1).
pub mod cr0 {
    /// Protection enable.
    pub const PE: u64 = 1;
    /// Monitor coprocessor.
    pub const MP: u64 = 1 << 1;
    /// Emulate coprocessor.
    pub const EM: u64 = 1 << 2;
    /// Task switched: the next FPU instruction raises #NM.
    pub const TS: u64 = 1 << 3;
    /// Extension type, always 1.
    pub const ET: u64 = 1 << 4;
    /// Numeric error.
    pub const NE: u64 = 1 << 5;
    /// Write protect: supervisor writes honour read-only pages.
    pub const WP: u64 = 1 << 16;
    /// Alignment mask.
    pub const AM: u64 = 1 << 18;
    /// Not write-through.
    pub const NW: u64 = 1 << 29;
    /// Cache disable.
    pub const CD: u64 = 1 << 30;
    /// Paging.
    pub const PG: u64 = 1 << 31;
    /// All defined bits; the rest of the low half reads 0, the high half is #GP.
    pub const DEFINED: u64 = PE | MP | EM | TS | ET | NE | WP | AM | NW | CD | PG;
}

/// CR4 (APM vol. 2, 3.1.3).
pub mod cr4 {
    /// Virtual-8086 mode extensions.
    pub const VME: u64 = 1;
    /// Protected-mode virtual interrupts.
    pub const PVI: u64 = 1 << 1;
    /// Time stamp disable.
    pub const TSD: u64 = 1 << 2;
    /// Debugging extensions.
    pub const DE: u64 = 1 << 3;
    /// Page size extensions (4 MiB pages in 2-level paging).
    pub const PSE: u64 = 1 << 4;
    /// Physical address extension.
    pub const PAE: u64 = 1 << 5;
    /// Machine check enable.
    pub const MCE: u64 = 1 << 6;
    /// Page global enable.
    pub const PGE: u64 = 1 << 7;
    /// RDPMC at any privilege level.
    pub const PCE: u64 = 1 << 8;
    /// FXSAVE/FXRSTOR and SSE.
    pub const OSFXSR: u64 = 1 << 9;
    /// Unmasked SIMD exceptions.
    pub const OSXMMEXCPT: u64 = 1 << 10;
    /// User-mode instruction prevention.
    pub const UMIP: u64 = 1 << 11;
    /// Five-level paging.
    pub const LA57: u64 = 1 << 12;
    /// RDFSBASE and its family.
    pub const FSGSBASE: u64 = 1 << 16;
    /// Process-context identifiers.
    pub const PCIDE: u64 = 1 << 17;
    /// XSAVE and extended states.
    pub const OSXSAVE: u64 = 1 << 18;
    /// Supervisor-mode execution prevention.
    pub const SMEP: u64 = 1 << 20;
    /// Supervisor-mode access prevention.
    pub const SMAP: u64 = 1 << 21;
    /// Protection keys.
    pub const PKE: u64 = 1 << 22;
}

/// EFER (APM vol. 2, 3.1.7).
pub mod efer {
    /// SYSCALL enable.
    pub const SCE: u64 = 1;
    /// Long mode enable.
    pub const LME: u64 = 1 << 8;
    /// Long mode active (set by the processor).
    pub const LMA: u64 = 1 << 10;
    /// No-execute enable.
    pub const NXE: u64 = 1 << 11;
    /// Secure virtual machine enable.
    pub const SVME: u64 = 1 << 12;
    /// Fast FXSAVE/FXRSTOR.
    pub const FFXSR: u64 = 1 << 14;
}

/// RFLAGS (APM vol. 2, 3.1.6).
pub mod rflags {
    /// Reserved, always 1.
    pub const ONE: u64 = 1 << 1;
    /// Trap: single step.
    pub const TF: u64 = 1 << 8;
    /// Interrupts enabled.
    pub const IF: u64 = 1 << 9;
    /// Direction of string instructions.
    pub const DF: u64 = 1 << 10;
    /// I/O privilege level, two bits.
    pub const IOPL: u64 = 3 << 12;
    /// Nested task.
    pub const NT: u64 = 1 << 14;
    /// Resume: instruction breakpoints are ignored once.
    pub const RF: u64 = 1 << 16;
    /// Virtual-8086 mode.
    pub const VM: u64 = 1 << 17;
    /// Alignment check; with SMAP, permission for supervisor access to user pages.
    pub const AC: u64 = 1 << 18;
}

/// DR7 (APM vol. 2, 13.1.1.4).
pub mod dr7 {
    /// Local and global enable bits of the four breakpoints.
    pub const ENABLED: u64 = 0xff;
    /// Accesses to debug registers raise #DB.
    pub const GENERAL_DETECT: u64 = 1 << 13;
    /// No breakpoint: the reserved bit alone.
    pub const NOTHING: u64 = 1 << 10;
}

/// Page-table entry bits of every format (APM vol. 2, 5.3.3, 5.4).
pub mod pte {
    /// Present.
    pub const P: u64 = 1;
    /// Writable.
    pub const RW: u64 = 1 << 1;
    /// User.
    pub const US: u64 = 1 << 2;
    /// Page-level write-through.
    pub const PWT: u64 = 1 << 3;
    /// Page-level cache disable.
    pub const PCD: u64 = 1 << 4;
    /// Accessed.
    pub const A: u64 = 1 << 5;
    /// Dirty (leaves only).
    pub const D: u64 = 1 << 6;
    /// Page size: the entry of a higher level is a leaf.
    pub const PS: u64 = 1 << 7;
    /// Global (leaves only).
    pub const G: u64 = 1 << 8;
    /// PAT index bit of a 4 KiB leaf.
    pub const PAT: u64 = 1 << 7;
    /// PAT index bit of a large leaf.
    pub const PAT_LARGE: u64 = 1 << 12;
    /// No execute (long-mode and PAE formats).
    pub const NX: u64 = 1 << 63;
    /// The address field of a 4 KiB-aligned entry: bits 51..12.
    pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
}

/// The #PF error code (APM vol. 2, 8.4.2).
pub mod pf {
    /// The translation was present: a protection violation.
    pub const P: u32 = 1;
    /// The access was a write.
    pub const W: u32 = 1 << 1;
    /// The access was made at CPL 3.
    pub const U: u32 = 1 << 2;
    /// A reserved bit was set.
    pub const RSVD: u32 = 1 << 3;
    /// The access was an instruction fetch (reported with NXE or SMEP only).
    pub const I: u32 = 1 << 4;
}

/// Exception vectors (APM vol. 2, 8.2).
pub mod vector {
    /// Divide error.
    pub const DE: u8 = 0;
    /// Debug.
    pub const DB: u8 = 1;
    /// Non-maskable interrupt.
    pub const NMI: u8 = 2;
    /// Breakpoint.
    pub const BP: u8 = 3;
    /// Overflow.
    pub const OF: u8 = 4;
    /// Bound range.
    pub const BR: u8 = 5;
    /// Invalid opcode.
    pub const UD: u8 = 6;
    /// Device not available.
    pub const NM: u8 = 7;
    /// Double fault.
    pub const DF: u8 = 8;
    /// Invalid TSS.
    pub const TS: u8 = 10;
    /// Segment not present.
    pub const NP: u8 = 11;
    /// Stack.
    pub const SS: u8 = 12;
    /// General protection.
    pub const GP: u8 = 13;
    /// Page fault.
    pub const PF: u8 = 14;
    /// x87 floating point.
    pub const MF: u8 = 16;
    /// Alignment check.
    pub const AC: u8 = 17;
    /// Machine check.
    pub const MC: u8 = 18;
    /// SIMD floating point.
    pub const XF: u8 = 19;

    /// Whether the processor pushes an error code for this exception in protected mode.
    #[must_use]
    pub const fn has_error_code(vector: u8) -> bool {
        matches!(vector, DF | TS | NP | SS | GP | PF | AC | 21 | 29 | 30)
    }
}

/// MSR numbers (APM vol. 2, appendix A).
pub mod msr {
    /// Time stamp counter.
    pub const TSC: u32 = 0x10;
    /// Local APIC base.
    pub const APIC_BASE: u32 = 0x1b;
    /// What the TSC was moved by since reset (Intel's; hypervisors offer it on AMD processors too).
    pub const TSC_ADJUST: u32 = 0x3b;
    /// SYSENTER code segment.
    pub const SYSENTER_CS: u32 = 0x174;
    /// SYSENTER stack pointer.
    pub const SYSENTER_ESP: u32 = 0x175;
    /// SYSENTER instruction pointer.
    pub const SYSENTER_EIP: u32 = 0x176;
    /// Page attribute table.
    pub const PAT: u32 = 0x277;
    /// Extended feature enable register.
    pub const EFER: u32 = 0xc000_0080;
    /// SYSCALL segments.
    pub const STAR: u32 = 0xc000_0081;
    /// SYSCALL target, 64-bit.
    pub const LSTAR: u32 = 0xc000_0082;
    /// SYSCALL target, compatibility mode.
    pub const CSTAR: u32 = 0xc000_0083;
    /// SYSCALL flag mask.
    pub const SFMASK: u32 = 0xc000_0084;
    /// FS segment base.
    pub const FS_BASE: u32 = 0xc000_0100;
    /// GS segment base.
    pub const GS_BASE: u32 = 0xc000_0101;
    /// GS base exchanged by SWAPGS.
    pub const KERNEL_GS_BASE: u32 = 0xc000_0102;
    /// VM_CR (APM vol. 2, 15.30.1).
    pub const VM_CR: u32 = 0xc001_0114;
    /// VM_HSAVE_PA (APM vol. 2, 15.30.4).
    pub const VM_HSAVE_PA: u32 = 0xc001_0117;
}
