//! Fault labels and message layouts. Labels from [`exit_first`](EXIT_FIRST) on are vCPU exits (crate `exit-abi`).

use crate::Word;

/// No fault.
pub const NULL: Word = 0;
/// Capability fault: restart IP, address, in receive phase, look-up failure words (length 4..=7).
pub const CAP_FAULT: Word = 1;
/// Unknown system call: 19 words, see [`UNKNOWN_SYSCALL_LENGTH`].
pub const UNKNOWN_SYSCALL: Word = 2;
/// User exception: IP, SP, flags, vector, error code.
pub const USER_EXCEPTION: Word = 3;
/// Timeout: badge of the scheduling context, consumed microseconds.
pub const TIMEOUT: Word = 5;
/// VM fault: IP, address, instruction fault, x86 error code.
pub const VM_FAULT: Word = 6;
/// First label of a vCPU exit.
pub const EXIT_FIRST: Word = 0x100;

/// Words of an unknown-syscall message: rax rbx rcx rdx rsi rdi rbp r8..r15, fault IP, rsp, rflags, number.
pub const UNKNOWN_SYSCALL_LENGTH: usize = 19;
/// Words of a user-exception message.
pub const USER_EXCEPTION_LENGTH: usize = 5;
/// Words of a VM-fault message.
pub const VM_FAULT_LENGTH: usize = 4;
/// Words a timeout reply may set.
pub const TIMEOUT_REPLY_LENGTH: usize = 19;
