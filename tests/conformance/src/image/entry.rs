//! Ways into the kernel: what becomes of registers, flags and the IPC buffer, and which vectors are the users'.
#![allow(unsafe_code)] // instructions with chosen registers

use super::fault::{answer, faulting, take};
use super::kit::{HIGH, Kit, TCB, at, endpoint, info, invoke, notification, reply, rest};
use super::report::{self, Check, done, equal, marks};
use super::thread::{Args, mark};
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

/// The word FS.base points to; in a thread's own block, that is the block's address.
fn word_at_base() -> u64 {
    let word: u64;
    // SAFETY: FS.base is the thread's block or what its caller has set it to.
    unsafe { asm!("mov {}, fs:[0]", out(reg) word, options(readonly, nostack)) };
    word
}

pub(crate) fn a_thread_goes_on_with_the_tls_base_it_set(_: &mut Kit) -> Check {
    let before = word_at_base();
    let other = [7u64];
    let address = (&raw const other).addr() as u64;
    let back = || enter(syscall::SET_TLS_BASE, before, 0, 0, [0; 4]);
    // Nothing uses the block until it is there again.
    let _ = enter(syscall::SET_TLS_BASE, address, 0, 0, [0; 4]);
    let by_call = word_at_base();
    let _ = back();
    let ask = label::TCB_SET_TLS_BASE << 12 | 1;
    let answer = enter(syscall::CALL, TCB, ask, 0, [address, 0, 0, 0]);
    let by_invocation = word_at_base();
    let _ = back();
    equal!(by_call, other[0]);
    equal!(answer.info, 0);
    equal!(by_invocation, other[0]);
    Ok(())
}

/// Whether the processor has instructions for segment bases.
fn has_base_instructions() -> bool {
    let highest = core::arch::x86_64::__cpuid(0).eax;
    highest >= 7 && core::arch::x86_64::__cpuid_count(7, 0).ebx & 1 != 0
}

/// FS.base and GS.base.
fn bases() -> [u64; 2] {
    let (fs, gs);
    // SAFETY: only reads.
    unsafe {
        asm!("rdfsbase {}", "rdgsbase {}", out(reg) fs, out(reg) gs, options(nomem, nostack))
    };
    [fs, gs]
}

/// Sets both bases, calls the kernel, and gives the thread its own back; what the bases were before that.
fn enter_with(wanted: [u64; 2], number: i64, cap: u64, info: u64, words: [u64; 4]) -> [u64; 2] {
    let own = bases();
    let set = |[fs, gs]: [u64; 2]| {
        // SAFETY: nothing uses the thread's block until it is there again, and nothing ever uses GS.
        unsafe { asm!("wrfsbase {}", "wrgsbase {}", in(reg) fs, in(reg) gs, options(nostack)) };
    };
    set(wanted);
    let _ = enter(number, cap, info, 0, words);
    let found = bases();
    set(own);
    found
}

pub(crate) fn a_base_set_by_instruction_is_the_threads_own(t: &mut Kit) -> Check {
    if !has_base_instructions() {
        report::remark("the processor has no FSGSBASE: the instructions are unknown ones");
        let (_, ep, object) = faulting(t, [0; 6], |_| {
            bases();
        })?;
        let message = take(ep, object);
        equal!(message.label, fault::USER_EXCEPTION);
        equal!(message.words[3], 6);
        return Ok(());
    }
    let ntfn = t.ntfn()?;
    let waits = |args: Args| {
        let wanted = [args[1], args[2]];
        enter_with(wanted, syscall::WAIT, args[0], 0, [0; 4])
            .into_iter()
            .for_each(mark);
    };
    let first = t.spawn(HIGH, [ntfn, 0x5000, 0x6000, 0, 0, 0], waits)?;
    let second = t.spawn(HIGH, [ntfn, 0x7000, 0x8000, 0, 0, 0], waits)?;
    let read = |thread: u64| invoke(thread, label::TCB_READ_REGISTERS, &[0, 20], &[]);
    equal!(done!(read(first.tcb)).words[18], 0x5000);
    equal!(done!(read(first.tcb)).words[19], 0x6000);
    equal!(done!(read(second.tcb)).words[18], 0x7000);
    // What another gives is what it has then.
    done!(invoke(second.tcb, label::TCB_SET_TLS_BASE, &[0x9000], &[]));
    notification(ntfn).signal();
    notification(ntfn).signal();
    marks!(0x5000, 0x6000, 0x9000, 0x8000);
    // A call that changes the one leaves the other.
    let found = enter_with([1, 0x6000], syscall::SET_TLS_BASE, 0x5000, 0, [0; 4]);
    equal!(found[0], 0x5000);
    equal!(found[1], 0x6000);
    let ask = label::TCB_SET_TLS_BASE << 12 | 1;
    let found = enter_with([1, 0x8000], syscall::CALL, TCB, ask, [0x7000, 0, 0, 0]);
    equal!(found[0], 0x7000);
    equal!(found[1], 0x8000);
    // Copied from the thread itself, as they are; and no more than a look at nothing changes them.
    let idle = t.thread(HIGH, [0; 6], |_| {})?;
    sel4::with_ipc_buffer_mut(|buffer| buffer.caps_or_badges_mut()[0] = TCB);
    let ask = label::TCB_COPY_REGISTERS << 12 | 1 << 7 | 1;
    let found = enter_with([0x3000, 0x4000], syscall::CALL, idle.tcb, ask, [8, 0, 0, 0]);
    equal!(found[1], 0x4000);
    equal!(done!(read(idle.tcb)).words[18], 0x3000);
    equal!(done!(read(idle.tcb)).words[19], 0x4000);
    let found = enter_with([0x3000, 0x4000], syscall::NB_WAIT, ntfn, 0, [0; 4]);
    equal!(found[0], 0x3000);
    equal!(found[1], 0x4000);
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
    let words = [slot, 64, TCB, 64];
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
            equal!(super::kit::kind(slot), super::kit::kind(TCB));
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
