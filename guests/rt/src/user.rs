//! Excursions to privilege level 3: one access there, and back through `int 0x80` or the fault.
//!
//! The code is bytes that mean the same in 32- and 64-bit mode, so one page of it serves every mode.

use core::arch::asm;

use crate::gdt::{USER_CODE64, USER_DATA};
use crate::trap::{RETURN, Trap, catch};

/// Where in the code page the byte at (R)DI is read into AL.
pub const READ: u64 = 0;
/// Where AL is written to the byte at (R)DI.
pub const WRITE: u64 = 16;
/// Where a call from kernel code returns at once.
pub const RET: u64 = 32;
/// Where user code comes straight back.
pub const BACK: u64 = 48;

/// The code page's beginning.
pub const CODE: [u8; 64] = {
    let mut code = [0xcc; 64];
    let [read, write, ret, back]: [&[u8]; 4] = [
        &[0x8a, 0x07, 0xcd, RETURN], // mov al, [rdi]; int 0x80
        &[0x88, 0x07, 0xcd, RETURN], // mov [rdi], al; int 0x80
        &[0xc3],                     // ret
        &[0xcd, RETURN],             // int 0x80
    ];
    put(&mut code, READ as usize, read);
    put(&mut code, WRITE as usize, write);
    put(&mut code, RET as usize, ret);
    put(&mut code, BACK as usize, back);
    code
};

const fn put(code: &mut [u8; 64], at: usize, bytes: &[u8]) {
    let mut i = 0;
    while i < bytes.len() {
        code[at + i] = bytes[i];
        i += 1;
    }
}

/// Goes to user mode at `code` with `address` in RDI and `value` in AL. `Ok` is AL when the code came back.
pub fn run(code: u64, address: u64, value: u8) -> Result<u8, Trap> {
    let outcome = catch(|| {
        // SAFETY: leaves to user mode with no stack; only a trap ends it, which `catch` turns into this closure's end.
        unsafe {
            asm!(
                "push {data}", "push 0", "push 2", "push {selector}", "push {code}", "iretq",
                data = in(reg) u64::from(USER_DATA), selector = in(reg) u64::from(USER_CODE64), code = in(reg) code,
                in("rdi") address, in("rax") u64::from(value),
                options(noreturn),
            )
        }
    });
    match outcome {
        Err(trap) if trap.vector == RETURN => Ok(trap.rax as u8),
        Err(trap) => Err(trap),
        // The closure never returns by itself; the type cannot say so.
        Ok(()) => Ok(0),
    }
}
