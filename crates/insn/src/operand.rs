//! Operands: widths, registers, segments, memory.
//!
//! Always: a [`Gpr`] is one of sixteen. Segment bases are the caller's to add; an offset is already truncated to its
//! address size.

/// Default operand and address size of the code segment: CS.L and CS.D (APM vol. 2, 4.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeSize {
    /// Real mode, virtual-8086 mode, 16-bit protected mode.
    Bits16,
    /// 32-bit protected mode and compatibility mode.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

/// Number of bytes of an operand or an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Width {
    /// 8 bits.
    Byte = 1,
    /// 16 bits.
    Word = 2,
    /// 32 bits.
    Dword = 4,
    /// 64 bits.
    Qword = 8,
}

impl Width {
    /// Bytes.
    #[must_use]
    pub const fn bytes(self) -> u8 {
        self as u8
    }

    /// Bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self as u32 * 8
    }

    /// All ones of this width.
    #[must_use]
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The highest bit of this width.
    #[must_use]
    pub const fn sign(self) -> u64 {
        1 << (self.bits() - 1)
    }

    /// `value` cut to this width and sign-extended to 64 bits.
    #[must_use]
    pub const fn sign_extend(self, value: u64) -> u64 {
        let unused = 64 - self.bits();
        ((value << unused) as i64 >> unused) as u64
    }
}

/// A general-purpose register by its number: 0 is rAX, 4 is rSP, 15 is R15.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gpr(u8);

impl Gpr {
    /// The accumulator.
    pub const RAX: Self = Self(0);
    /// The counter.
    pub const RCX: Self = Self(1);
    /// The data register, port number of I/O instructions.
    pub const RDX: Self = Self(2);
    /// The base register.
    pub const RBX: Self = Self(3);
    /// The stack pointer.
    pub const RSP: Self = Self(4);
    /// The frame pointer.
    pub const RBP: Self = Self(5);
    /// Source of string instructions.
    pub const RSI: Self = Self(6);
    /// Destination of string instructions.
    pub const RDI: Self = Self(7);

    /// The register whose number is the low four bits of `number`.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number & 15)
    }

    /// Its number, 0 to 15.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A segment register, numbered as in instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)] // names are the registers'
pub enum Segment {
    Es = 0,
    Cs = 1,
    Ss = 2,
    Ds = 3,
    Fs = 4,
    Gs = 5,
}

/// A memory operand before its registers are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryOperand {
    /// The segment: the override if there is one that counts, else SS for rSP- and rBP-based operands, else DS. In 64-bit
    /// mode only FS and GS have a base.
    pub segment: Segment,
    /// Base register.
    pub base: Option<Gpr>,
    /// Index register, never rSP.
    pub index: Option<Gpr>,
    /// What the index is multiplied with: 1, 2, 4 or 8.
    pub scale: u8,
    /// Added to the rest, sign-extended (an absolute 64-bit offset for `MOV` of the accumulator).
    pub displacement: i64,
    /// The displacement counts from the next instruction.
    pub rip_relative: bool,
    /// Width to which the offset is truncated.
    pub address_size: Width,
}

impl MemoryOperand {
    /// The offset in its segment. `next_rip` is the address of the following instruction.
    pub fn effective_address(&self, gpr: impl Fn(Gpr) -> u64, next_rip: u64) -> u64 {
        let base = self.base.map_or(0, &gpr);
        let index = self
            .index
            .map_or(0, &gpr)
            .wrapping_mul(u64::from(self.scale));
        let origin = if self.rip_relative { next_rip } else { 0 };
        let sum = base
            .wrapping_add(index)
            .wrapping_add(origin)
            .wrapping_add(self.displacement as u64);
        sum & self.address_size.mask()
    }
}

/// An operand that is a register or memory: what the ModRM byte's r/m field names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A general-purpose register.
    Register(Gpr),
    /// Memory.
    Memory(MemoryOperand),
}
