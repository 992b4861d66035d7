//! SVM structures and numbers: VMCB field offsets, intercepts, exit codes, event words.
//!
//! Source: AMD64 APM vol. 2, chapter 15 and appendix B (VMCB layout), appendix C (exit codes).

/// Byte offsets into the VMCB (APM vol. 2, appendix B). Control area first, save area from 0x400.
pub mod vmcb {
    /// u16: bit n intercepts reads of CRn (15.9).
    pub const CR_READ: usize = 0x000;
    /// u16: bit n intercepts writes of CRn (15.9).
    pub const CR_WRITE: usize = 0x002;
    /// u16: bit n intercepts reads of DRn (15.9).
    pub const DR_READ: usize = 0x004;
    /// u16: bit n intercepts writes of DRn (15.9).
    pub const DR_WRITE: usize = 0x006;
    /// u32: bit n intercepts exception vector n (15.12).
    pub const EXCEPTIONS: usize = 0x008;
    /// u32: see [`super::intercept1`] (15.9, 15.13).
    pub const INTERCEPT1: usize = 0x00c;
    /// u32: see [`super::intercept2`] (15.9).
    pub const INTERCEPT2: usize = 0x010;
    /// u32: see [`super::intercept3`] (15.9).
    pub const INTERCEPT3: usize = 0x014;
    /// u64: host-physical address of the I/O permission map, 12 KiB (15.10.1).
    pub const IOPM_BASE: usize = 0x040;
    /// u64: host-physical address of the MSR permission map, 8 KiB (15.11).
    pub const MSRPM_BASE: usize = 0x048;
    /// u64: added to guest TSC reads (15.5.1).
    pub const TSC_OFFSET: usize = 0x050;
    /// u32: TLB tag (15.16).
    pub const ASID: usize = 0x058;
    /// u8: 0 nothing, 1 flush everything (15.16.1).
    pub const TLB_CONTROL: usize = 0x05c;
    /// u64: virtual interrupt control, see [`super::vintr`] (15.21).
    pub const V_INTR: usize = 0x060;
    /// u64: bit 0 interrupt shadow (15.21.5).
    pub const INTERRUPT_SHADOW: usize = 0x068;
    /// u64 (15.6).
    pub const EXITCODE: usize = 0x070;
    /// u64 (15.6).
    pub const EXITINFO1: usize = 0x078;
    /// u64 (15.6).
    pub const EXITINFO2: usize = 0x080;
    /// u64: event whose delivery was interrupted (15.7.2).
    pub const EXITINTINFO: usize = 0x088;
    /// u64: bit 0 enables nested paging (15.25.3).
    pub const NP_CONTROL: usize = 0x090;
    /// u64: event to inject (15.20).
    pub const EVENTINJ: usize = 0x0a8;
    /// u64: nested CR3 (15.25.3).
    pub const N_CR3: usize = 0x0b0;
    /// u32: clean bits (15.15.3); 0 is always right.
    pub const CLEAN: usize = 0x0c0;
    /// u64: next RIP, with NRIPS only (15.7.1).
    pub const NRIP: usize = 0x0c8;
    /// u8 length, then 15 bytes of instruction, with DecodeAssists only (15.8.4).
    pub const INSN_LEN: usize = 0x0d0;
    /// 15 bytes (15.8.4).
    pub const INSN_BYTES: usize = 0x0d1;
    /// Segment registers: { u16 selector, u16 attributes, u32 limit, u64 base } each (15.5.1).
    pub const ES: usize = 0x400;
    /// Code segment (15.5.1).
    pub const CS: usize = 0x410;
    /// Stack segment (15.5.1).
    pub const SS: usize = 0x420;
    /// Data segment (15.5.1).
    pub const DS: usize = 0x430;
    /// FS, moved by VMLOAD/VMSAVE only (15.5.2).
    pub const FS: usize = 0x440;
    /// GS, moved by VMLOAD/VMSAVE only (15.5.2).
    pub const GS: usize = 0x450;
    /// GDTR (limit and base used) (15.5.1).
    pub const GDTR: usize = 0x460;
    /// LDTR, moved by VMLOAD/VMSAVE only (15.5.2).
    pub const LDTR: usize = 0x470;
    /// IDTR (limit and base used) (15.5.1).
    pub const IDTR: usize = 0x480;
    /// TR, moved by VMLOAD/VMSAVE only (15.5.2).
    pub const TR: usize = 0x490;
    /// u8 (15.5.1).
    pub const CPL: usize = 0x4cb;
    /// u64 (15.5.1).
    pub const EFER: usize = 0x4d0;
    /// u64 (15.5.1).
    pub const CR4: usize = 0x548;
    /// u64 (15.5.1).
    pub const CR3: usize = 0x550;
    /// u64 (15.5.1).
    pub const CR0: usize = 0x558;
    /// u64 (15.5.1).
    pub const DR7: usize = 0x560;
    /// u64 (15.5.1).
    pub const DR6: usize = 0x568;
    /// u64 (15.5.1).
    pub const RFLAGS: usize = 0x570;
    /// u64 (15.5.1).
    pub const RIP: usize = 0x578;
    /// u64 (15.5.1).
    pub const RSP: usize = 0x5d8;
    /// u64 (15.5.1).
    pub const RAX: usize = 0x5f8;
    /// u64, VMLOAD/VMSAVE (15.5.2).
    pub const STAR: usize = 0x600;
    /// u64, VMLOAD/VMSAVE (15.5.2).
    pub const LSTAR: usize = 0x608;
    /// u64, VMLOAD/VMSAVE (15.5.2).
    pub const CSTAR: usize = 0x610;
    /// u64, VMLOAD/VMSAVE (15.5.2).
    pub const SFMASK: usize = 0x618;
    /// u64, VMLOAD/VMSAVE (15.5.2).
    pub const KERNEL_GS_BASE: usize = 0x620;
    /// u64, VMLOAD/VMSAVE (15.5.2).
    pub const SYSENTER_CS: usize = 0x628;
    /// u64, VMLOAD/VMSAVE (15.5.2).
    pub const SYSENTER_ESP: usize = 0x630;
    /// u64, VMLOAD/VMSAVE (15.5.2).
    pub const SYSENTER_EIP: usize = 0x638;
    /// u64 (15.5.1).
    pub const CR2: usize = 0x640;
    /// u64: guest PAT, used with nested paging only (15.25.8).
    pub const G_PAT: usize = 0x668;
}

/// First intercept word, VMCB offset 0x00c (APM vol. 2, table B-1).
#[allow(missing_docs)] // each is the instruction or event of its name
pub mod intercept1 {
    pub const INTR: u32 = 1;
    pub const NMI: u32 = 1 << 1;
    pub const SMI: u32 = 1 << 2;
    pub const INIT: u32 = 1 << 3;
    pub const VINTR: u32 = 1 << 4;
    pub const RDTSC: u32 = 1 << 14;
    pub const RDPMC: u32 = 1 << 15;
    pub const CPUID: u32 = 1 << 18;
    pub const RSM: u32 = 1 << 19;
    pub const IRET: u32 = 1 << 20;
    pub const INVD: u32 = 1 << 22;
    pub const HLT: u32 = 1 << 24;
    pub const INVLPG: u32 = 1 << 25;
    pub const INVLPGA: u32 = 1 << 26;
    pub const IOIO_PROT: u32 = 1 << 27;
    pub const MSR_PROT: u32 = 1 << 28;
    pub const TASK_SWITCH: u32 = 1 << 29;
    pub const FERR_FREEZE: u32 = 1 << 30;
    pub const SHUTDOWN: u32 = 1 << 31;
}

/// Second intercept word, VMCB offset 0x010.
#[allow(missing_docs)] // each is the instruction of its name
pub mod intercept2 {
    pub const VMRUN: u32 = 1;
    pub const VMMCALL: u32 = 1 << 1;
    pub const VMLOAD: u32 = 1 << 2;
    pub const VMSAVE: u32 = 1 << 3;
    pub const STGI: u32 = 1 << 4;
    pub const CLGI: u32 = 1 << 5;
    pub const SKINIT: u32 = 1 << 6;
    pub const RDTSCP: u32 = 1 << 7;
    pub const ICEBP: u32 = 1 << 8;
    pub const WBINVD: u32 = 1 << 9;
    pub const MONITOR: u32 = 1 << 10;
    pub const MWAIT: u32 = 1 << 11;
    pub const MWAIT_ARMED: u32 = 1 << 12;
    pub const XSETBV: u32 = 1 << 13;
    pub const RDPRU: u32 = 1 << 14;
}

/// Third intercept word, VMCB offset 0x014.
#[allow(missing_docs)] // each is the instruction of its name
pub mod intercept3 {
    pub const INVLPGB: u32 = 1;
    pub const INVLPGB_ILLEGAL: u32 = 1 << 1;
    pub const INVPCID: u32 = 1 << 2;
    pub const MCOMMIT: u32 = 1 << 3;
    pub const TLBSYNC: u32 = 1 << 4;
}

/// Nested paging (APM vol. 2, 15.25).
pub mod np {
    /// NP_CONTROL: nested paging is on.
    pub const ENABLE: u64 = 1;
    /// EXITINFO1 of a nested page fault: it met the final translation of the guest's address (15.25.6).
    pub const FINAL: u64 = 1 << 32;
    /// EXITINFO1 of a nested page fault: it met the walk of the guest's own tables.
    pub const WALK: u64 = 1 << 33;
}

/// Virtual interrupt control word, VMCB offset 0x060 (APM vol. 2, 15.21).
pub mod vintr {
    /// V_TPR, low four bits: the guest's CR8 when V_INTR_MASKING is set.
    pub const TPR_MASK: u64 = 0xff;
    /// A virtual interrupt is pending.
    pub const IRQ: u64 = 1 << 8;
    /// Priority of the virtual interrupt, four bits.
    pub const PRIO_SHIFT: u32 = 16;
    /// Ignore V_TPR for the virtual interrupt.
    pub const IGN_TPR: u64 = 1 << 20;
    /// Physical interrupts follow host IF; guest IF governs virtual ones only.
    pub const INTR_MASKING: u64 = 1 << 24;
}

/// EVENTINJ and EXITINTINFO words (APM vol. 2, 15.20).
pub mod event {
    /// The word describes an event.
    pub const VALID: u64 = 1 << 31;
    /// Bits 63..32 hold an error code.
    pub const ERROR_VALID: u64 = 1 << 11;
    /// Type field, bits 10..8.
    pub const TYPE_MASK: u64 = 7 << 8;
    /// External or virtual interrupt.
    pub const TYPE_INTR: u64 = 0;
    /// Non-maskable interrupt.
    pub const TYPE_NMI: u64 = 2 << 8;
    /// Exception.
    pub const TYPE_EXCEPTION: u64 = 3 << 8;
    /// Software interrupt (INTn).
    pub const TYPE_SOFT: u64 = 4 << 8;

    /// An external interrupt with `vector`.
    #[must_use]
    pub const fn interrupt(vector: u8) -> u64 {
        VALID | TYPE_INTR | vector as u64
    }
    /// Exception `vector` without error code.
    #[must_use]
    pub const fn exception(vector: u8) -> u64 {
        VALID | TYPE_EXCEPTION | vector as u64
    }
    /// Exception `vector` with error code `code`.
    #[must_use]
    pub const fn exception_with_code(vector: u8, code: u32) -> u64 {
        VALID | TYPE_EXCEPTION | ERROR_VALID | vector as u64 | (code as u64) << 32
    }
}

/// Exit codes (APM vol. 2, appendix C).
#[allow(missing_docs)] // each is the event or instruction of its name
pub mod exit {
    pub const READ_CR0: u64 = 0x00;
    pub const WRITE_CR0: u64 = 0x10;
    pub const READ_DR0: u64 = 0x20;
    pub const WRITE_DR0: u64 = 0x30;
    pub const EXCEPTION: u64 = 0x40;
    pub const INTR: u64 = 0x60;
    pub const NMI: u64 = 0x61;
    pub const SMI: u64 = 0x62;
    pub const INIT: u64 = 0x63;
    pub const VINTR: u64 = 0x64;
    pub const RDTSC: u64 = 0x6e;
    pub const RDPMC: u64 = 0x6f;
    pub const CPUID: u64 = 0x72;
    pub const RSM: u64 = 0x73;
    pub const IRET: u64 = 0x74;
    pub const INVD: u64 = 0x76;
    pub const HLT: u64 = 0x78;
    pub const INVLPG: u64 = 0x79;
    pub const INVLPGA: u64 = 0x7a;
    pub const IOIO: u64 = 0x7b;
    pub const MSR: u64 = 0x7c;
    pub const TASK_SWITCH: u64 = 0x7d;
    pub const FERR_FREEZE: u64 = 0x7e;
    pub const SHUTDOWN: u64 = 0x7f;
    pub const VMRUN: u64 = 0x80;
    pub const VMMCALL: u64 = 0x81;
    pub const VMLOAD: u64 = 0x82;
    pub const VMSAVE: u64 = 0x83;
    pub const STGI: u64 = 0x84;
    pub const CLGI: u64 = 0x85;
    pub const SKINIT: u64 = 0x86;
    pub const RDTSCP: u64 = 0x87;
    pub const ICEBP: u64 = 0x88;
    pub const WBINVD: u64 = 0x89;
    pub const MONITOR: u64 = 0x8a;
    pub const MWAIT: u64 = 0x8b;
    pub const MWAIT_ARMED: u64 = 0x8c;
    pub const XSETBV: u64 = 0x8d;
    pub const RDPRU: u64 = 0x8e;
    pub const NPF: u64 = 0x400;
    /// VMEXIT_INVALID: compare the low 32 bits only.
    pub const INVALID: u64 = 0xffff_ffff;
}

/// EXITINFO1 of an IOIO exit (APM vol. 2, 15.10.2).
pub mod ioio {
    /// IN (set) or OUT (clear).
    pub const IN: u64 = 1;
    /// INS or OUTS.
    pub const STRING: u64 = 1 << 2;
    /// REP prefix.
    pub const REP: u64 = 1 << 3;
    /// Operand size in bytes: the three one-hot bits 6..4 read as 1, 2 or 4.
    #[must_use]
    pub const fn size(info: u64) -> u32 {
        ((info >> 4) & 7) as u32
    }
    /// Port number.
    #[must_use]
    pub const fn port(info: u64) -> u16 {
        (info >> 16) as u16
    }
}
