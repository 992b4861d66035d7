//! The executor of long mode: each step in place, its fault caught.
#![allow(unsafe_code)] // single accesses at addresses that may fault: the subject of the test

use core::arch::asm;

use guest_rt::cpu::{self, msr};
use guest_rt::trap::{Trap, catch};
use guest_rt::user;

use crate::script::{Op, Outcome, Step};
use crate::space::Space;

/// Executes `steps` in `space` and comes back with all registers as they were.
pub fn execute(space: &Space, steps: &[Step], outcomes: &mut [Outcome]) {
    let (cr0, cr3, cr4, efer) = (cpu::cr0(), cpu::cr3(), cpu::cr4(), cpu::rdmsr(msr::EFER));
    cpu::set_cr3(space.cr3);
    for (step, outcome) in steps.iter().zip(outcomes) {
        *outcome = match perform(space, step) {
            Ok(value) => Outcome::done(value),
            Err(trap) => Outcome {
                vector: trap.vector.into(),
                error: trap.error as u32,
                cr2: trap.cr2,
                value: 0,
            },
        };
    }
    cpu::set_cr4(cr4);
    cpu::wrmsr(msr::EFER, efer);
    cpu::set_cr0(cr0);
    cpu::set_cr3(cr3);
}

fn perform(space: &Space, step: &Step) -> Result<u64, Trap> {
    let Step { op, address, value } = *step;
    let in_user = |code| user::run(space.user_code + code, address, value as u8).map(u64::from);
    match op {
        Op::UserRead => in_user(user::READ),
        Op::UserWrite => in_user(user::WRITE).map(|_| 0),
        Op::UserExecute => user::run(address, 0, 0).map(|_| 0),
        _ => {
            let mut result = 0;
            catch(|| result = access(op, address, value)).map(|()| result)
        }
    }
}

fn access(op: Op, address: u64, value: u64) -> u64 {
    let changed = |register: u64| register & !address | value;
    let mut result: u64 = 0;
    // SAFETY: the addresses lie in the test window, in frames of the pool, or nowhere; no Rust object is there. A fault
    // ends in `catch`. `Execute` calls a `ret`, which keeps every register.
    unsafe {
        match op {
            Op::Read8 => {
                asm!("movzx {:e}, byte ptr [{}]", out(reg) result, in(reg) address, options(nostack))
            }
            Op::Write8 => {
                asm!("mov byte ptr [{}], {}", in(reg) address, in(reg_byte) value as u8, options(nostack))
            }
            Op::Read32 => {
                asm!("mov {:e}, dword ptr [{}]", out(reg) result, in(reg) address, options(nostack))
            }
            Op::Write32 => {
                asm!("mov dword ptr [{}], {:e}", in(reg) address, in(reg) value, options(nostack))
            }
            Op::ReadAc => {
                asm!("stac", "movzx {:e}, byte ptr [{}]", "clac", out(reg) result, in(reg) address, options(nostack))
            }
            Op::WriteAc => {
                asm!("stac", "mov byte ptr [{}], {}", "clac", in(reg) address, in(reg_byte) value as u8, options(nostack))
            }
            Op::Load => {
                asm!("mov {}, qword ptr [{}]", out(reg) result, in(reg) address, options(nostack))
            }
            Op::Store => {
                asm!("mov qword ptr [{}], {}", in(reg) address, in(reg) value, options(nostack))
            }
            Op::Execute => asm!("call {}", in(reg) address),
            Op::Invlpg => cpu::invlpg(address),
            Op::ReloadCr3 => cpu::set_cr3(cpu::cr3()),
            Op::SetCr3 => cpu::set_cr3(value),
            Op::Cr0 => cpu::set_cr0(changed(cpu::cr0())),
            Op::Cr4 => cpu::set_cr4(changed(cpu::cr4())),
            Op::Efer => cpu::wrmsr(msr::EFER, changed(cpu::rdmsr(msr::EFER))),
            Op::GetCr0 => result = cpu::cr0(),
            Op::GetCr3 => result = cpu::cr3(),
            Op::GetCr4 => result = cpu::cr4(),
            Op::GetEfer => result = cpu::rdmsr(msr::EFER) & 0xffff_ffff,
            Op::UserRead | Op::UserWrite | Op::UserExecute => {}
        }
    }
    result
}
