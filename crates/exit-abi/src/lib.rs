//! The one table of vCPU exit messages: what each exit class carries to the fault endpoint, and what a reply may set.
//!
//! A vCPU is a TCB with a VCPU object bound. An exit is a fault message with a label of [`ExitClass`]; the reply resumes
//! the guest (label 0) after setting the registers its mask names. The kernel encodes, vmm-server decodes, both with this
//! crate. A message carries what its exit needs and no more; everything else is asked for by `VCPU_READ_REGISTERS`.
//! Where the processor has neither NRIP-save nor DecodeAssists the kernel decodes the instruction itself, so the messages
//! look the same on every machine; an instruction length of 0 says that the instruction's page was not in the shadow.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod exit;
pub mod mode;
pub mod register;

pub use exit::{CrInstruction, Exit, ExitClass, Status};
pub use mode::Mode;
pub use register::{Mask, Register};
