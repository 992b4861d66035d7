//! Faults: their words, and what a reply does.
#![allow(unsafe_code)] // instructions that fault

use super::kit::{
    HIGH, Kit, LOW, Thread, at, endpoint, info, invoke, notification, received, reply, rest,
};
use super::report::{Check, done, ensure, equal, marks};
use super::thread::{Job, mark};
use core::arch::asm;
use sel4_abi::{fault, label, object};

/// Where nothing is mapped.
const HOLE: u64 = 0x20_0000_0000;

/// A thread that does `job`, and the endpoint and reply object of its faults.
pub(super) fn faulting(t: &mut Kit, args: [u64; 6], job: Job) -> Check<(Thread, u64, u64)> {
    let (ep, object) = (t.ep()?, t.reply()?);
    let badged = t.mint(ep, 15, 0xfa)?;
    let thread = t.active(LOW, args, job)?;
    t.set_handler(thread, badged)?;
    t.resume(thread)?;
    Ok((thread, ep, object))
}

pub(super) fn take(ep: u64, object: u64) -> super::kit::Answer {
    received(endpoint(ep).recv(reply(object)).0)
}

fn register(thread: Thread, n: usize) -> u64 {
    invoke(thread.tcb, label::TCB_READ_REGISTERS, &[0, 20], &[]).words[n]
}

/// Replies with these words.
pub(super) fn answer(object: u64, label: u64, words: &[u64]) {
    sel4::with_ipc_buffer_mut(|buffer| buffer.msg_regs_mut()[..words.len()].copy_from_slice(words));
    at(object).send(info(label, words.len()));
}

pub(crate) fn a_read_of_nothing_tells_address_and_error_code(t: &mut Kit) -> Check {
    let (thread, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: the handler never lets it come back.
        unsafe { asm!("mov rax, [{}]", in(reg) HOLE + 8, out("rax") _) };
    })?;
    let message = take(ep, object);
    equal!(message.label, fault::VM_FAULT);
    equal!(message.length, 4);
    equal!(message.words[0], register(thread, 0));
    equal!(message.words[1], HOLE + 8);
    equal!(message.words[2], 0);
    equal!(message.words[3], 4);
    Ok(())
}

pub(crate) fn a_write_to_code_tells_that_it_was_a_write(t: &mut Kit) -> Check {
    let (_, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: the page is not writable: the handler never lets it come back.
        unsafe { asm!("mov qword ptr [{}], 0", in(reg) HOLE) };
    })?;
    let message = take(ep, object);
    equal!(message.label, fault::VM_FAULT);
    equal!(message.words[3], 6);
    Ok(())
}

pub(crate) fn a_jump_to_nothing_is_an_instruction_fault(t: &mut Kit) -> Check {
    let (_, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: nothing is there to be executed.
        unsafe { asm!("jmp {}", in(reg) HOLE) };
    })?;
    let message = take(ep, object);
    equal!(message.words[0], HOLE);
    equal!(message.words[1], HOLE);
    // Without no-execute the processor need not say that it was a fetch: word 2 is the error code's bit 4.
    equal!(message.words[2], message.words[3] >> 4 & 1);
    Ok(())
}

pub(crate) fn a_fault_message_brings_the_handlers_badge(t: &mut Kit) -> Check {
    let (_, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: the handler never lets it come back.
        unsafe { asm!("ud2") };
    })?;
    equal!(endpoint(ep).recv_with_mrs(reply(object)).badge, 0xfa);
    Ok(())
}

pub(crate) fn a_page_fault_goes_on_after_any_reply(t: &mut Kit) -> Check {
    let (thread, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: the handler lets it come back when the register holds another address.
        unsafe { asm!("mov rax, [rcx]", in("rcx") HOLE, out("rax") _) };
        mark(1);
    })?;
    let _ = take(ep, object);
    let mut words = [0; 22];
    let read = done!(invoke(thread.tcb, label::TCB_READ_REGISTERS, &[0, 20], &[]));
    words[1] = 20;
    words[2..].copy_from_slice(&read.words[..20]);
    words[2 + 5] = super::thread::BUFFERS;
    done!(invoke(thread.tcb, label::TCB_WRITE_REGISTERS, &words, &[]));
    answer(object, 99, &[]);
    rest();
    marks!(1);
    Ok(())
}

pub(crate) fn an_undefined_instruction_tells_its_vector(t: &mut Kit) -> Check {
    let (thread, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: the handler never lets it come back.
        unsafe { asm!("ud2") };
    })?;
    let message = take(ep, object);
    equal!(message.label, fault::USER_EXCEPTION);
    equal!(message.length, 5);
    for n in 0..3 {
        equal!(message.words[n], register(thread, n));
    }
    equal!(message.words[3], 6);
    equal!(message.words[4], 0);
    Ok(())
}

pub(crate) fn a_division_by_zero_is_exception_0_and_a_wrong_selector_has_a_code(
    t: &mut Kit,
) -> Check {
    let (_, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: both are skipped by the handler.
        unsafe {
            asm!("xor ecx, ecx", "div ecx", out("rcx") _, out("rax") _, out("rdx") _);
            asm!("mov ecx, 0x40", "mov ds, ecx", out("rcx") _);
        }
        mark(1);
    })?;
    let message = take(ep, object);
    equal!(message.words[3], 0);
    answer(object, 0, &[message.words[0] + 2]);
    let message = take(ep, object);
    equal!(message.words[3], 13);
    equal!(message.words[4], 0x40);
    answer(object, 0, &[message.words[0] + 2]);
    rest();
    marks!(1);
    Ok(())
}

pub(crate) fn an_exceptions_reply_sets_place_stack_and_flags(t: &mut Kit) -> Check {
    let (thread, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: the handler skips it.
        unsafe {
            let flags: u64;
            asm!("ud2", "pushfq", "pop {}", out(reg) flags);
            mark(flags & 1);
        };
    })?;
    let message = take(ep, object);
    let carry = message.words[2] | 1;
    answer(object, 0, &[message.words[0] + 2, message.words[1], carry]);
    rest();
    marks!(1);
    let _ = thread;
    Ok(())
}

pub(crate) fn a_reply_with_a_label_stops_a_thread_after_an_exception(t: &mut Kit) -> Check {
    let (_, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: the handler does not let it come back.
        unsafe { asm!("ud2") };
        mark(1);
    })?;
    let message = take(ep, object);
    answer(object, 1, &[message.words[0] + 2]);
    rest();
    marks!();
    Ok(())
}

pub(crate) fn a_general_protection_fault_in_user_mode_is_exception_13(t: &mut Kit) -> Check {
    let (_, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: privileged: the handler skips it.
        unsafe { asm!("cli") };
        mark(1);
    })?;
    let message = take(ep, object);
    equal!(message.words[3], 13);
    answer(object, 0, &[message.words[0] + 1]);
    rest();
    marks!(1);
    Ok(())
}

pub(crate) fn ports_are_closed_to_user_mode(t: &mut Kit) -> Check {
    let (_, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: the handler skips it.
        unsafe { asm!("out 0x80, al") };
        mark(1);
    })?;
    let message = take(ep, object);
    equal!(message.words[3], 13);
    answer(object, 0, &[message.words[0] + 2]);
    rest();
    marks!(1);
    Ok(())
}

/// An unknown system call with known registers; marks what comes back in rax and r8.
fn unknown(_: [u64; 6]) {
    let (rax, r8): (u64, u64);
    // SAFETY: the handler skips the instruction; what it may change is an output.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") 0xa0u64 => rax,
            inlateout("r8") 0xa8u64 => r8,
            in("rdx") -100i64,
            in("rdi") 0xa5u64,
            in("rsi") 0xa4u64,
            in("r9") 0xa9u64,
            in("r10") 0xaau64,
            in("r12") 0xacu64,
            in("r13") 0xadu64,
            in("r14") 0xaeu64,
            in("r15") 0xafu64,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    mark(rax);
    mark(r8);
}

pub(crate) fn an_unknown_system_call_tells_registers_and_number(t: &mut Kit) -> Check {
    let (thread, ep, object) = faulting(t, [0; 6], unknown)?;
    let message = take(ep, object);
    equal!(message.label, fault::UNKNOWN_SYSCALL);
    equal!(message.length, 19);
    let wanted = [
        (0, 0xa0),
        (4, 0xa4),
        (5, 0xa5),
        (7, 0xa8),
        (8, 0xa9),
        (9, 0xaa),
        (11, 0xac),
    ];
    for (n, word) in wanted {
        equal!(message.words[n], word);
    }
    for (n, word) in [(12, 0xad), (13, 0xae), (14, 0xaf)] {
        equal!(message.words[n], word);
    }
    equal!(message.words[3], -100i64 as u64);
    equal!(message.words[15], register(thread, 0));
    // What the instruction itself stored: the address behind it, and the flags.
    equal!(message.words[2], message.words[15] + 2);
    equal!(message.words[10], message.words[17]);
    equal!(message.words[17], register(thread, 2));
    equal!(message.words[18], -100i64 as u64);
    equal!(message.info.into_inner().word(), 0x2013);
    Ok(())
}

pub(crate) fn an_unknown_system_calls_reply_writes_registers_and_skips_it(t: &mut Kit) -> Check {
    let (_, ep, object) = faulting(t, [0; 6], unknown)?;
    let mut message = take(ep, object);
    message.words[0] = 0x1111;
    message.words[7] = 0x2222;
    message.words[15] += 2;
    answer(object, 0, &message.words[..18]);
    rest();
    marks!(0x1111, 0x2222);
    Ok(())
}

pub(crate) fn an_unknown_system_call_that_is_not_skipped_comes_again(t: &mut Kit) -> Check {
    let (_, ep, object) = faulting(t, [0; 6], unknown)?;
    for _ in 0..3 {
        let message = take(ep, object);
        equal!(message.label, fault::UNKNOWN_SYSCALL);
        answer(object, 0, &[]);
    }
    let message = take(ep, object);
    answer(object, 5, &message.words[..18]);
    rest();
    marks!();
    Ok(())
}

pub(crate) fn calls_of_other_configurations_are_unknown(t: &mut Kit) -> Check {
    // Affinity, code injection, benchmarks, model-specific registers, VT-x.
    for number in [
        -18i64,
        -19,
        -20,
        -21,
        -25,
        -29,
        -30,
        -31,
        -32,
        0,
        1,
        i64::MIN,
    ] {
        let (thread, ep, object) = faulting(t, [number as u64, 0, 0, 0, 0, 0], |args| {
            // SAFETY: the handler never lets it come back.
            unsafe { asm!("syscall", in("rdx") args[0], out("rcx") _, out("r11") _) };
        })?;
        let message = take(ep, object);
        equal!(message.label, fault::UNKNOWN_SYSCALL);
        equal!(message.words[18], number as u64);
        t.suspend(thread)?;
        t.again();
    }
    Ok(())
}

pub(crate) fn a_software_interrupt_is_an_unknown_system_call(t: &mut Kit) -> Check {
    let (_, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: the handler skips it.
        unsafe { asm!("mov eax, 0x123456", "int 0xa5", out("rax") _) };
        mark(1);
    })?;
    let mut message = take(ep, object);
    equal!(message.label, fault::UNKNOWN_SYSCALL);
    equal!(message.words[18], 0xa512_3456);
    message.words[15] += 2;
    answer(object, 0, &message.words[..18]);
    rest();
    marks!(1);
    Ok(())
}

pub(crate) fn a_send_to_an_unreachable_address_tells_the_lookup(t: &mut Kit) -> Check {
    let wrong = 1 << 40;
    let (thread, ep, object) = faulting(t, [wrong, 0, 0, 0, 0, 0], |args| {
        at(args[0]).send_with_mrs(info(0, 0), []);
    })?;
    let message = take(ep, object);
    equal!(message.label, fault::CAP_FAULT);
    // Place, address, not receiving; guard mismatch, bits left, guard, its size.
    equal!(message.length, 7);
    equal!(message.words[0], register(thread, 0));
    equal!(message.words[1], wrong);
    equal!(message.words[2], 0);
    equal!(message.words[3], 4);
    equal!(message.words[4], 64);
    equal!(message.words[5], 0);
    equal!(message.words[6], super::kit::GUARD);
    Ok(())
}

pub(crate) fn an_extra_capability_that_is_not_there_is_a_fault(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    let wrong = 1 << 40;
    let (_, ep, object) = faulting(t, [ntfn, wrong, 0, 0, 0, 0], |args| {
        sel4::with_ipc_buffer_mut(|buffer| buffer.caps_or_badges_mut()[0] = args[1]);
        at(args[0]).send(sel4::MessageInfo::new(0, 0, 1, 0));
    })?;
    let message = take(ep, object);
    equal!(message.label, fault::CAP_FAULT);
    equal!(message.words[1], wrong);
    equal!(message.words[2], 0);
    Ok(())
}

pub(crate) fn a_non_blocking_send_to_an_unreachable_address_does_nothing(t: &mut Kit) -> Check {
    t.spawn(HIGH, [0; 6], |_| {
        at(1 << 40).nb_send_with_mrs(info(0, 0), []);
        // Neither does one whose extra capability is not there.
        sel4::with_ipc_buffer_mut(|buffer| buffer.caps_or_badges_mut()[0] = 1 << 40);
        at(super::kit::TCB).nb_send(sel4::MessageInfo::new(label::TCB_SUSPEND, 0, 1, 0));
        mark(1);
    })?;
    marks!(1);
    Ok(())
}

pub(crate) fn receiving_by_something_else_is_a_fault_in_the_receive_phase(t: &mut Kit) -> Check {
    let (_, ep, object) = faulting(t, [super::kit::TCB, 0, 0, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).recv_with_mrs(reply(0));
    })?;
    let message = take(ep, object);
    equal!(message.label, fault::CAP_FAULT);
    equal!(message.length, 5);
    equal!(message.words[1], super::kit::TCB);
    equal!(message.words[2], 1);
    equal!(message.words[3], 2);
    equal!(message.words[4], 0);
    Ok(())
}

pub(crate) fn receiving_with_a_wrong_reply_object_names_the_reply_object(t: &mut Kit) -> Check {
    let service = t.ep()?;
    for (wrong, kind) in [(0, 2), (super::kit::TCB, 2), (1 << 40, 4)] {
        let (thread, ep, object) = faulting(t, [service, wrong, 0, 0, 0, 0], |args| {
            let _ = endpoint(args[0]).nb_recv_with_mrs(reply(args[1]));
        })?;
        let message = take(ep, object);
        equal!(message.label, fault::CAP_FAULT);
        equal!(message.words[1], wrong);
        equal!(message.words[2], 1);
        equal!(message.words[3], kind);
        t.suspend(thread)?;
    }
    Ok(())
}

pub(crate) fn a_capability_fault_restarts_the_call_after_its_reply(t: &mut Kit) -> Check {
    let (ntfn, slot) = (t.ntfn()?, t.slot());
    let (_, ep, object) = faulting(t, [slot, 0, 0, 0, 0, 0], |args| {
        mark(notification(args[0]).wait().1);
    })?;
    let _ = take(ep, object);
    let badged = t.mint(ntfn, 15, 6)?;
    done!(super::kit::cnode(
        label::CNODE_MOVE,
        slot,
        &[ntfn, 64],
        &[super::kit::CNODE]
    ));
    notification(badged).signal();
    answer(object, 3, &[]);
    rest();
    marks!(6);
    Ok(())
}

pub(crate) fn a_thread_without_handler_stops_and_can_be_started_again(t: &mut Kit) -> Check {
    let thread = t.spawn(HIGH, [0; 6], |_| {
        // SAFETY: skipped by whoever starts it again.
        unsafe { asm!("ud2") };
        mark(1);
    })?;
    marks!();
    let ip = register(thread, 0);
    done!(invoke(
        thread.tcb,
        label::TCB_WRITE_REGISTERS,
        &[1, 1, ip + 2],
        &[]
    ));
    marks!(1);
    Ok(())
}

pub(crate) fn revoking_the_endpoint_takes_the_handler_away(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let badged = t.mint(ep, 15, 1)?;
    let thread = t.active(HIGH, [0; 6], |_| {
        // SAFETY: nobody lets it come back.
        unsafe { asm!("ud2") };
    })?;
    t.set_handler(thread, badged)?;
    super::kit::revoke(ep)?;
    t.resume(thread)?;
    ensure!(super::kit::is_silent(ep, object));
    Ok(())
}

pub(crate) fn a_handler_keeps_the_endpoint_when_its_source_is_deleted(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let badged = t.mint(ep, 15, 0x12)?;
    let thread = t.active(HIGH, [0; 6], |_| {
        // SAFETY: nobody lets it come back.
        unsafe { asm!("ud2") };
    })?;
    t.set_handler(thread, badged)?;
    super::kit::delete(badged)?;
    t.resume(thread)?;
    equal!(endpoint(ep).nb_recv_with_mrs(reply(object)).badge, 0x12);
    Ok(())
}

pub(crate) fn a_passive_handler_works_on_the_faulting_threads_time(t: &mut Kit) -> Check {
    let (ep, object, ready) = (t.ep()?, t.reply()?, t.ntfn()?);
    let handler = t.spawn(HIGH, [ep, object, ready, 0, 0, 0], |args| {
        let mut message = notification(args[2]).nb_send_recv_with_mrs(
            info(0, 0),
            [],
            endpoint(args[0]),
            reply(args[1]),
        );
        loop {
            mark(message.info.label());
            let next = message.msg[0] + 2;
            message = endpoint(args[0]).reply_recv_with_mrs(info(0, 1), [next], reply(args[1]));
        }
    })?;
    notification(ready).wait();
    t.unbind(handler.sc)?;
    let thread = t.active(LOW, [0; 6], |_| {
        // SAFETY: the handler skips both.
        unsafe { asm!("ud2", "ud2") };
        mark(1);
    })?;
    t.set_handler(thread, ep)?;
    t.resume(thread)?;
    rest();
    marks!(3, 3, 1);
    Ok(())
}

pub(crate) fn resuming_a_faulted_thread_forgets_the_fault(t: &mut Kit) -> Check {
    let (thread, ep, object) = faulting(t, [0; 6], |_| {
        // SAFETY: started behind it.
        unsafe { asm!("ud2") };
        mark(1);
    })?;
    let message = take(ep, object);
    done!(invoke(
        thread.tcb,
        label::TCB_WRITE_REGISTERS,
        &[1, 1, message.words[0] + 2],
        &[]
    ));
    rest();
    marks!(1);
    reply(object).reply_with_mrs(info(0, 0), []);
    Ok(())
}

/// A thread that sends to `address` from a CSpace of its own; the fault's message.
fn lost(t: &mut Kit, cspace: u64, address: u64, take_away: bool) -> Check<super::kit::Answer> {
    let (ep, object) = (t.ep()?, t.reply()?);
    let thread = t.active(LOW, [address, 0, 0, 0, 0, 0], |args| {
        at(args[0]).send_with_mrs(info(0, 0), []);
    })?;
    let caps = [ep, cspace, super::kit::VSPACE];
    done!(invoke(thread.tcb, label::TCB_SET_SPACE, &[0, 0], &caps));
    if take_away {
        super::kit::revoke(cspace)?;
    }
    t.resume(thread)?;
    let message = take(ep, object);
    equal!(message.label, fault::CAP_FAULT);
    equal!(message.words[1], address);
    equal!(message.words[2], 0);
    Ok(message)
}

pub(crate) fn a_thread_whose_root_is_gone_has_an_invalid_root(t: &mut Kit) -> Check {
    let table = t.make(object::CAP_TABLE, 4)?;
    let message = lost(t, table, 5 << 60, true)?;
    equal!(message.length, 4);
    equal!(message.words[3], 1);
    Ok(())
}

pub(crate) fn a_level_of_more_bits_than_are_left_is_a_depth_mismatch(t: &mut Kit) -> Check {
    let (outer, inner) = (t.make(object::CAP_TABLE, 4)?, t.make(object::CAP_TABLE, 4)?);
    // Four bits lead to a level with a guard of 57 and four more: 60 are left.
    let words = [5, 4, inner, 64, 15, 57];
    done!(invoke(
        outer,
        label::CNODE_MINT,
        &words,
        &[super::kit::CNODE]
    ));
    let message = lost(t, outer, 5 << 60, false)?;
    equal!(message.length, 6);
    equal!(message.words[3], 3);
    equal!(message.words[4], 60);
    equal!(message.words[5], 61);
    Ok(())
}

pub(crate) fn an_address_may_be_longer_than_its_path(t: &mut Kit) -> Check {
    let (table, ntfn) = (t.make(object::CAP_TABLE, 4)?, t.ntfn()?);
    let words = [5, 4, ntfn, 64, 15, 0x33];
    done!(invoke(
        table,
        label::CNODE_MINT,
        &words,
        &[super::kit::CNODE]
    ));
    let thread = t.active(HIGH, [5 << 60 | 0x1234, 0, 0, 0, 0, 0], |args| {
        notification(args[0]).signal();
        // SAFETY: it has no handler, and is stopped here: it has no capability to stop itself by.
        unsafe { asm!("ud2") };
    })?;
    let caps = [0, table, super::kit::VSPACE];
    done!(invoke(thread.tcb, label::TCB_SET_SPACE, &[0, 0], &caps));
    t.resume(thread)?;
    equal!(notification(ntfn).poll().1, 0x33);
    Ok(())
}

/// A thread that has faulted and waits in the queue of its handler's endpoint; the endpoint's capability with badge 1.
fn queued(t: &mut Kit) -> Check<(Thread, u64, u64)> {
    let ep = t.ep()?;
    let badged = t.mint(ep, 15, 1)?;
    let thread = t.active(HIGH, [0; 6], |_| {
        // SAFETY: nobody lets it come back.
        unsafe { asm!("ud2") };
        mark(1);
    })?;
    t.set_handler(thread, badged)?;
    t.resume(thread)?;
    Ok((thread, ep, badged))
}

pub(crate) fn a_fault_that_waits_for_its_handler_ends_with_the_endpoint(t: &mut Kit) -> Check {
    let (thread, ep, _) = queued(t)?;
    super::kit::revoke(ep)?;
    super::kit::delete(ep)?;
    rest();
    marks!();
    t.is_stopped(thread)
}

pub(crate) fn a_fault_that_waits_for_its_handler_ends_when_it_is_cancelled(t: &mut Kit) -> Check {
    let (thread, ep, badged) = queued(t)?;
    let cancel = label::CNODE_CANCEL_BADGED_SENDS;
    done!(super::kit::cnode(cancel, badged, &[], &[]));
    rest();
    marks!();
    let object = t.reply()?;
    equal!(endpoint(ep).nb_recv_with_mrs(reply(object)).badge, 0);
    t.is_stopped(thread)
}
