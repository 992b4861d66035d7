//! An x86 instruction decoder small enough for the kernel, and an emulator of the instructions that touch devices.
//!
//! Pure functions of bytes and registers: no allocation, no state, no panic whatever the bytes are.
//!
//! - [`decode`] takes an instruction apart in 16-, 32- and 64-bit code: length, prefixes, operands. Where the vendors
//!   differ it follows AMD (a 66 prefix shortens near branches in 64-bit code too).
//! - [`Instruction::kind`] names the instructions whose intercepts leave work to software, with what NRIP-save and
//!   DecodeAssists would have told (APM vol. 2, 15.7.1, 15.10): the rest have a length and nothing more.
//! - [`mmio::execute`] performs one instruction on registers and a memory given by the caller.
//!
//! Left to others: which extensions the processor has. An encoding that some processor defines has a length here, even
//! if this one raises #UD; undefined encodings among the media instructions have one too. VEX, EVEX, XOP and 3DNow! are
//! told apart and refused ([`DecodeError::Unsupported`]).
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), forbid(unsafe_code))]

mod decode;
mod instruction;
mod kind;
pub mod mmio;
mod opcode;
mod operand;

pub use decode::{DecodeError, MAX_LENGTH, decode};
pub use instruction::{Instruction, Map, ModRm, Prefixes, Repeat, Rex};
pub use kind::{Direction, Io, Kind, Port};
pub use operand::{CodeSize, Gpr, MemoryOperand, Place, Segment, Width};
