//! Ways into the kernel: what becomes of registers, flags and the IPC buffer, and which vectors are the users'.
#![allow(unsafe_code)] // instructions with chosen registers

use super::fault::{answer, faulting, take};
use super::kit::{HIGH, Kit, at, endpoint, info, invoke, notification, reply, rest};
use super::report::{Check, done, equal, marks};
use super::thread::mark;
use core::arch::asm;
use sel4_abi::{fault, label, object, syscall};

/// Registers behind a system call.
struct After {
    badge: u64,
    info: u64,
    number: u64,
    words: [u64; 4],
    rcx: u64,
    r11: u64,
    /// The address behind the instruction, and the flags before it.
    next: u64,
    flags: u64,
}

/// A system call with these words in rdx, rdi, rsi, r12, and the message registers.
fn enter(number: i64, cap: u64, info: u64, reply: u64, mut words: [u64; 4]) -> After {
    let (mut rdx, mut badge, mut out) = (number as u64, cap, info);
    let (rcx, r11, next, flags);
    // SAFETY: every register that changes is an output. The stack pointer need not come back: it is kept in rax, which does.
    unsafe {
        asm!(
            "pushfq",
            "pop r13",
            "lea r14, [rip + 2f]",
            "mov rax, rsp",
            "syscall",
            "2:",
            "mov rsp, rax",
            inlateout("rdx") rdx,
            inlateout("rdi") badge,
            inlateout("rsi") out,
            inlateout("r10") words[0],
            inlateout("r8") words[1],
            inlateout("r9") words[2],
            inlateout("r15") words[3],
            in("r12") reply,
            out("rax") _,
            lateout("rcx") rcx,
            lateout("r11") r11,
            out("r13") flags,
            out("r14") next,
        );
    }
    After {
        badge,
        info: out,
        number: rdx,
        words,
        rcx,
        r11,
        next,
        flags,
    }
}

pub(crate) fn a_system_call_keeps_its_number_and_the_flags(_: &mut Kit) -> Check {
    let after = enter(syscall::YIELD, 0, 0, 0, [1, 2, 3, 4]);
    equal!(after.number, syscall::YIELD as u64);
    equal!(after.rcx, after.next);
    equal!(after.r11, after.flags);
    equal!(after.words[3], 4);
    Ok(())
}

pub(crate) fn calling_an_object_answers_with_badge_zero(t: &mut Kit) -> Check {
    let frame = t.make(object::X86_4K, 0)?;
    let ask = label::X86_PAGE_GET_ADDRESS << 12;
    let after = enter(syscall::CALL, frame, ask, 0, [9; 4]);
    equal!(after.badge, 0);
    equal!(after.info, 1);
    let ask = label::TCB_SUSPEND << 12;
    let after = enter(syscall::CALL, frame, ask, 0, [9; 4]);
    equal!(after.badge, 0);
    equal!(after.info, (sel4::Error::IllegalOperation as u64) << 12);
    Ok(())
}

pub(crate) fn a_poll_of_nothing_writes_the_badge_alone(t: &mut Kit) -> Check {
    let (ntfn, ep, object) = (t.ntfn()?, t.ep()?, t.reply()?);
    for (number, cap) in [(syscall::NB_RECV, ep), (syscall::NB_WAIT, ntfn)] {
        let after = enter(number, cap, 0x1234_5000, object, [5, 6, 7, 8]);
        equal!(after.badge, 0);
        equal!(after.info, 0x1234_5000);
        for n in 0..4 {
            equal!(after.words[n], 5 + n);
        }
    }
    Ok(())
}

pub(crate) fn a_bound_signal_leaves_the_message_information(t: &mut Kit) -> Check {
    let (ep, object, ntfn) = (t.ep()?, t.reply()?, t.ntfn()?);
    let badged = t.mint(ntfn, 15, 0x40)?;
    let thread = t.active(HIGH, [ep, object, 0, 0, 0, 0], |args| {
        let after = enter(syscall::RECV, args[0], 0x1234_5000, args[1], [5; 4]);
        mark(after.badge);
        mark(after.info);
        mark(after.words[0]);
    })?;
    let bind = label::TCB_BIND_NOTIFICATION;
    done!(invoke(thread.tcb, bind, &[], &[ntfn]));
    t.resume(thread)?;
    notification(badged).signal();
    marks!(0x40, 0x1234_5000, 5);
    Ok(())
}

pub(crate) fn words_in_registers_are_not_those_of_the_buffer(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    t.spawn(HIGH, [ep, object, 0, 0, 0, 0], |args| {
        sel4::with_ipc_buffer_mut(|buffer| {
            let inner = buffer.inner_mut();
            (inner.tag, inner.user_data) = (0x51, 0x52);
            inner.msg[..6].fill(0x53);
        });
        let message = endpoint(args[0]).recv_with_mrs(reply(args[1]));
        mark(message.msg[0]);
        mark(message.msg[3]);
        sel4::with_ipc_buffer(|buffer| {
            let inner = buffer.inner();
            [inner.tag, inner.user_data].into_iter().for_each(mark);
            [0, 3, 4, 5].into_iter().for_each(|n| mark(inner.msg[n]));
        });
    })?;
    sel4::with_ipc_buffer_mut(|buffer| {
        let inner = buffer.inner_mut();
        inner.tag = 0x99;
        inner.msg[..5].copy_from_slice(&[0x99, 0x99, 0x99, 0x99, 0x25]);
    });
    endpoint(ep).send_with_mrs(info(0, 5), [0x21, 0x22, 0x23, 0x24]);
    marks!(0x21, 0x24, 0x51, 0x52, 0x53, 0x53, 0x25, 0x53);
    Ok(())
}

pub(crate) fn a_thread_sets_its_own_tls_base(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    let thread = t.spawn(HIGH, [ntfn, 0, 0, 0, 0, 0], |args| {
        let before: u64;
        // SAFETY: reads the thread's own block, whose first word is its address.
        unsafe { asm!("mov {}, fs:[0]", out(reg) before) };
        // Nothing uses the block until it is there again.
        let _ = enter(syscall::SET_TLS_BASE, 0x7000, 0, 0, [0; 4]);
        let _ = enter(syscall::WAIT, args[0], 0, 0, [0; 4]);
        let _ = enter(syscall::SET_TLS_BASE, before, 0, 0, [0; 4]);
        mark(1);
    })?;
    let read = label::TCB_READ_REGISTERS;
    equal!(
        done!(invoke(thread.tcb, read, &[0, 20], &[])).words[18],
        0x7000
    );
    notification(ntfn).signal();
    marks!(1);
    Ok(())
}

pub(crate) fn a_breakpoint_instruction_is_exception_3(t: &mut Kit) -> Check {
    let (_, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: the handler lets it go on.
        unsafe { asm!("int3") };
        mark(1);
    })?;
    let message = take(ep, object);
    equal!(message.label, fault::USER_EXCEPTION);
    equal!(message.words[3], 3);
    equal!(message.words[4], 0);
    // The place is behind the instruction: nothing is to be skipped.
    answer(object, 0, &[]);
    rest();
    marks!(1);
    Ok(())
}

/// The flag that traps after each instruction.
const TRAP: u64 = 1 << 8;

pub(crate) fn a_traced_instruction_is_exception_1(t: &mut Kit) -> Check {
    let (_, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: the handler takes the flag away.
        unsafe {
            asm!("pushfq", "or qword ptr [rsp], {trap}", "popfq", "nop", trap = const TRAP);
        }
        mark(1);
    })?;
    let message = take(ep, object);
    equal!(message.label, fault::USER_EXCEPTION);
    equal!(message.words[3], 1);
    // The flags that a handler writes have it off whatever it says.
    answer(object, 0, &message.words[..3]);
    rest();
    marks!(1);
    Ok(())
}

pub(crate) fn a_traced_system_call_is_not_trapped_in_the_kernel(t: &mut Kit) -> Check {
    let (_, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: the handler lets it go on; the call changes what is said to change.
        unsafe {
            asm!(
                "pushfq", "or qword ptr [rsp], {trap}", "popfq", "syscall", "nop",
                trap = const TRAP,
                in("rdx") syscall::YIELD,
                lateout("rcx") _, lateout("r11") _,
            );
        }
        mark(1);
    })?;
    // It goes on with the flag, and traps as soon as an instruction of its own is done.
    let message = take(ep, object);
    equal!(message.words[3], 1);
    answer(object, 0, &message.words[..3]);
    rest();
    marks!(1);
    Ok(())
}

pub(crate) fn the_machines_vectors_are_closed_to_user_mode(t: &mut Kit) -> Check {
    let (_, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: the handler skips all of them.
        unsafe { asm!("int 0x20", "int 0x30", "int 0x9d", "int 8", "int 14") };
        mark(1);
    })?;
    for _ in 0..5 {
        let message = take(ep, object);
        equal!(message.label, fault::USER_EXCEPTION);
        equal!(message.words[3], 13);
        // The code says that it was a gate (APM vol. 2, 8.4.1); QEMU does not name the right one.
        equal!(message.words[4] & 7, 2);
        answer(object, 0, &[message.words[0] + 2]);
    }
    rest();
    marks!(1);
    Ok(())
}

pub(crate) fn the_first_and_the_last_trap_vector_are_unknown_system_calls(t: &mut Kit) -> Check {
    let (_, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: the handler skips both.
        unsafe { asm!("mov eax, 0xff000007", "int 158", "int 254", out("rax") _) };
        mark(1);
    })?;
    for vector in [158u64, 254] {
        let mut message = take(ep, object);
        equal!(message.label, fault::UNKNOWN_SYSCALL);
        equal!(message.words[18], vector << 24 | 7);
        message.words[15] += 2;
        answer(object, 0, &message.words[..18]);
    }
    rest();
    marks!(1);
    Ok(())
}

pub(crate) fn a_send_to_an_object_does_its_operation_and_answers_nothing(t: &mut Kit) -> Check {
    let slot = t.slot();
    let words = [slot, 64, super::kit::TCB, 64];
    let tag = |label: u64| label << 12 | 1 << 7 | 5;
    sel4::with_ipc_buffer_mut(|buffer| {
        buffer.msg_regs_mut()[4] = 15;
        buffer.caps_or_badges_mut()[0] = super::kit::CNODE;
    });
    for number in [syscall::SEND, syscall::NB_SEND] {
        let send = |label| enter(number, super::kit::CNODE, tag(label), 0, words);
        // Once it is done, once it is refused; neither is told.
        for _ in 0..2 {
            let after = send(label::CNODE_COPY);
            equal!(after.info, tag(label::CNODE_COPY));
            equal!(after.words[0], slot);
            equal!(super::kit::kind(slot), super::kit::kind(super::kit::TCB));
        }
        super::kit::delete(slot)?;
    }
    // An endpoint that may not be sent to is no fault, and nothing happens.
    let ep = t.ep()?;
    let weak = t.copy(ep, 14)?;
    at(weak).send_with_mrs(info(0, 0), []);
    at(weak).nb_send_with_mrs(info(0, 0), []);
    Ok(())
}
