//! Registers of a vCPU that messages and invocations may name: one bit each in a 64-bit mask.
//!
//! A reply to an exit, `VCPU_READ_REGISTERS` and `VCPU_WRITE_REGISTERS` use the same form: MR0 is the mask, the values
//! follow in ascending bit order.

/// Bit number of a register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
#[allow(missing_docs)] // names are the registers'
pub enum Register {
    Rax = 0,
    Rcx = 1,
    Rdx = 2,
    Rbx = 3,
    Rsp = 4,
    Rbp = 5,
    Rsi = 6,
    Rdi = 7,
    R8 = 8,
    R9 = 9,
    R10 = 10,
    R11 = 11,
    R12 = 12,
    R13 = 13,
    R14 = 14,
    R15 = 15,
    Rip = 16,
    Rflags = 17,
    /// Guest-visible CR0; the kernel derives the real one (I6). Likewise CR3, CR4, EFER.
    Cr0 = 18,
    Cr2 = 19,
    Cr3 = 20,
    Cr4 = 21,
    Efer = 22,
    Dr6 = 23,
    Dr7 = 24,
    /// Event to inject before the next guest instruction: the EVENTINJ word of APM vol. 2, 15.20. Reads as the
    /// normalised EXITINTINFO of the last exit. An event the processor would refuse is answered with RangeError or, in
    /// a reply, stops the vCPU with an `Invalid` exit. With a fault RFLAGS.RF is set, as RFLAGS on the handler's stack
    /// have it (APM vol. 2, 3.1.6).
    Event = 25,
    /// 1 while the interrupt shadow of STI or MOV SS holds.
    InterruptShadow = 26,
    /// Added to the TSC the guest reads.
    TscOffset = 27,
    /// Bit 0: exit as soon as an interrupt can be taken. Bits 7..4: the priority class of the interrupt that waits; if it is
    /// not 0, the guest's CR8 must be below it, too. Other bits are 0.
    Window = 28,
    Dr0 = 29,
    Dr1 = 30,
    Dr2 = 31,
    /// Segment bases …
    EsBase = 32,
    CsBase = 33,
    SsBase = 34,
    DsBase = 35,
    FsBase = 36,
    GsBase = 37,
    LdtrBase = 38,
    TrBase = 39,
    /// … and the rest of each: selector 15..0, attributes 31..16 (VMCB form), limit in bytes 63..32.
    Es = 40,
    Cs = 41,
    Ss = 42,
    Ds = 43,
    Fs = 44,
    Gs = 45,
    Ldtr = 46,
    Tr = 47,
    GdtrBase = 48,
    GdtrLimit = 49,
    IdtrBase = 50,
    IdtrLimit = 51,
    /// Current privilege level; writes set SS.DPL too.
    Cpl = 52,
    Star = 53,
    Lstar = 54,
    Cstar = 55,
    Sfmask = 56,
    KernelGsBase = 57,
    SysenterCs = 58,
    SysenterEsp = 59,
    SysenterEip = 60,
    /// CR8: task priority, four bits.
    Cr8 = 61,
    Dr3 = 62,
    /// 1: IRET exits before it is carried out (`Exit::Instruction` with SVM exit code 0x74), which tells when NMIs are
    /// taken again.
    IretIntercept = 63,
}

impl Register {
    /// Number of registers.
    pub const COUNT: u8 = 64;
    /// General-purpose register with the hardware's number (0 RAX … 15 R15).
    #[must_use]
    pub const fn gpr(number: u8) -> u8 {
        number & 15
    }
    /// This register alone as a mask.
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// A set of registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct Mask(pub u64);

impl Mask {
    /// All sixteen general-purpose registers.
    pub const GPRS: Self = Self(0xffff);
    /// Everything there is.
    pub const ALL: Self = Self(u64::MAX);

    /// The set with `register` added.
    #[must_use]
    pub const fn with(self, register: Register) -> Self {
        Self(self.0 | register.bit())
    }
    /// Bit numbers in the set, ascending: the order of the values in a message.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let bit = rest.trailing_zeros() as u8;
            rest &= rest - 1;
            Some(bit)
        })
    }
    /// How many registers.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }
    /// Whether none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}
