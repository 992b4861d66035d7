//! Messages: lengths, badges, queues, replies.

use super::kit::{
    Answer, CNODE, HIGH, Kit, LOW, TCB, at, cnode, delete, endpoint, info, invoke, notification,
    received, reply, rest,
};
use super::report::{Check, done, ensure, equal, marks, refused};
use super::thread::mark;
use sel4::MessageInfo;
use sel4_abi::{label, object};

fn pattern(n: usize, length: usize) -> u64 {
    ((n as u64 + 1) * 0x0101_0101) ^ ((length as u64) << 40)
}

fn fill(length: usize) {
    sel4::with_ipc_buffer_mut(|buffer| {
        for (n, word) in buffer.msg_regs_mut().iter_mut().enumerate() {
            *word = if n < length { pattern(n, length) } else { 0 };
        }
    });
}

fn is_pattern(length: usize) -> bool {
    sel4::with_ipc_buffer(|buffer| (0..length).all(|n| buffer.msg_regs()[n] == pattern(n, length)))
}

/// Receives, and marks each message's length, or 999 if its words are wrong.
fn receiver(args: [u64; 6]) {
    loop {
        let (info, _) = endpoint(args[0]).recv(reply(args[1]));
        mark(if is_pattern(info.length()) {
            info.length() as u64
        } else {
            999
        });
    }
}

pub(crate) fn a_send_of_every_length_arrives_whole(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    t.spawn(HIGH, [ep, object, 0, 0, 0, 0], receiver)?;
    for length in 0..=120 {
        fill(length);
        endpoint(ep).send(info(0, length));
        marks!(length as u64);
    }
    Ok(())
}

pub(crate) fn a_queued_send_of_every_length_arrives_whole(t: &mut Kit) -> Check {
    let ep = t.ep()?;
    t.spawn(HIGH, [ep, 0, 0, 0, 0, 0], |args| {
        for length in 0..=120 {
            fill(length);
            endpoint(args[0]).send(info(7, length));
        }
    })?;
    let object = t.reply()?;
    for length in 0..=120 {
        let (info, _) = endpoint(ep).recv(reply(object));
        equal!(info.length(), length);
        equal!(info.label(), 7);
        ensure!(is_pattern(length));
    }
    Ok(())
}

/// Answers every call with its own words.
fn echo(args: [u64; 6]) {
    let mut next = endpoint(args[0]).recv(reply(args[1])).0;
    loop {
        let answer = MessageInfo::new(next.label() + 1, 0, 0, next.length());
        next = endpoint(args[0]).reply_recv(answer, reply(args[1])).0;
    }
}

pub(crate) fn a_call_of_every_length_is_answered_whole(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    t.spawn(HIGH, [ep, object, 0, 0, 0, 0], echo)?;
    for length in 0..=120 {
        fill(length);
        let answer = endpoint(ep).call(info(4, length));
        equal!(answer.length(), length);
        equal!(answer.label(), 5);
        ensure!(is_pattern(length));
    }
    Ok(())
}

pub(crate) fn a_length_above_120_counts_as_120(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    t.spawn(HIGH, [ep, object, 0, 0, 0, 0], receiver)?;
    fill(120);
    endpoint(ep).send(info(0, 127));
    marks!(120);
    Ok(())
}

pub(crate) fn a_thread_without_buffer_receives_four_words(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let thread = t.active(HIGH, [ep, object, 0, 0, 0, 0], |args| {
        let message = endpoint(args[0]).recv_with_mrs(reply(args[1]));
        mark(message.info.length() as u64);
        mark(message.msg[3]);
    })?;
    done!(invoke(thread.tcb, label::TCB_SET_IPC_BUFFER, &[0], &[0]));
    t.resume(thread)?;
    fill(10);
    endpoint(ep).send(info(0, 10));
    marks!(4, pattern(3, 10));
    Ok(())
}

pub(crate) fn a_message_brings_its_label_and_the_senders_badge(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let badged = t.mint(ep, 15, 0xbad6e)?;
    t.spawn(LOW, [ep, object, 0, 0, 0, 0], |args| {
        for _ in 0..2 {
            let message = endpoint(args[0]).recv_with_mrs(reply(args[1]));
            mark(message.badge);
            mark(message.info.label());
        }
    })?;
    endpoint(badged).send_with_mrs(info(0xf_ffff_ffff_ffff, 0), []);
    rest();
    endpoint(ep).send_with_mrs(info(1, 0), []);
    rest();
    marks!(0xbad6e, 0xf_ffff_ffff_ffff, 0, 1);
    Ok(())
}

pub(crate) fn a_non_blocking_send_without_receiver_is_dropped(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    endpoint(ep).nb_send_with_mrs(info(3, 1), [5]);
    let message = endpoint(ep).nb_recv_with_mrs(reply(object));
    equal!(message.badge, 0);
    Ok(())
}

pub(crate) fn a_non_blocking_receive_without_sender_brings_badge_zero_alone(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let message = endpoint(ep).nb_recv_with_mrs(reply(object));
    equal!(message.badge, 0);
    equal!(message.info.into_inner().word(), 0);
    equal!(message.msg[0], 0);
    Ok(())
}

pub(crate) fn a_non_blocking_receive_takes_a_waiting_sender(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let badged = t.mint(ep, 1, 9)?;
    t.spawn(HIGH, [badged, 0, 0, 0, 0, 0], |args| {
        endpoint(args[0]).send_with_mrs(info(1, 1), [77]);
        mark(1);
    })?;
    marks!();
    let message = endpoint(ep).nb_recv_with_mrs(reply(object));
    equal!(message.badge, 9);
    equal!(message.msg[0], 77);
    marks!(1);
    Ok(())
}

pub(crate) fn calling_without_the_send_right_is_an_invalid_capability(t: &mut Kit) -> Check {
    let ep = t.ep()?;
    let (no_ep, ntfn) = (t.copy(ep, 14)?, t.ntfn()?);
    refused!(invoke(no_ep, 0, &[], &[]), InvalidCapability, 0);
    let no_ntfn = t.copy(ntfn, 2)?;
    refused!(invoke(no_ntfn, 0, &[], &[]), InvalidCapability, 0);
    Ok(())
}

pub(crate) fn calling_an_empty_slot_is_an_invalid_capability(t: &mut Kit) -> Check {
    let slot = t.slot();
    refused!(invoke(slot, 0, &[], &[]), InvalidCapability, 0);
    Ok(())
}

pub(crate) fn a_call_without_grant_rights_never_comes_back(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let weak = t.copy(ep, 1)?;
    let caller = t.spawn(HIGH, [weak, 0, 0, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).call_with_mrs(info(0, 0), []);
        mark(2);
    })?;
    let _ = endpoint(ep).recv_with_mrs(reply(object));
    reply(object).reply_with_mrs(info(0, 0), []);
    rest();
    marks!();
    // It is stopped, not blocked: an unconfigured context can be bound to it.
    t.unbind(caller.sc)?;
    let sc = t.sc()?;
    t.bind(sc, caller.tcb)
}

pub(crate) fn a_call_received_without_reply_object_never_comes_back(t: &mut Kit) -> Check {
    let ep = t.ep()?;
    t.spawn(HIGH, [ep, 0, 0, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).call_with_mrs(info(0, 0), []);
        mark(2);
    })?;
    let (_, _) = notification(ep).wait();
    rest();
    marks!();
    Ok(())
}

pub(crate) fn grant_reply_alone_is_enough_to_be_answered(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let caller = t.copy(ep, 9)?;
    t.spawn(HIGH, [ep, object, 0, 0, 0, 0], echo)?;
    equal!(
        endpoint(caller).call_with_mrs(info(1, 0), []).info.label(),
        2
    );
    Ok(())
}

pub(crate) fn any_copy_of_a_reply_object_answers_and_only_once(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let copy = t.copy(object, 0)?;
    t.spawn(HIGH, [ep, 0, 0, 0, 0, 0], |args| {
        mark(endpoint(args[0]).call_with_mrs(info(0, 0), []).msg[0]);
        mark(endpoint(args[0]).call_with_mrs(info(0, 0), []).msg[0]);
    })?;
    let _ = endpoint(ep).recv_with_mrs(reply(object));
    reply(copy).reply_with_mrs(info(0, 1), [11]);
    reply(copy).reply_with_mrs(info(0, 1), [12]);
    reply(object).reply_with_mrs(info(0, 1), [13]);
    rest();
    marks!(11);
    let _ = endpoint(ep).recv_with_mrs(reply(object));
    reply(object).reply_with_mrs(info(0, 1), [14]);
    marks!(14);
    Ok(())
}

pub(crate) fn calling_a_reply_object_without_caller_succeeds_and_does_nothing(
    t: &mut Kit,
) -> Check {
    let object = t.reply()?;
    let answer = done!(invoke(object, 5, &[1, 2], &[]));
    equal!(answer.length, 0);
    Ok(())
}

pub(crate) fn a_reply_brings_badge_zero_and_its_label(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let badged = t.mint(ep, 15, 5)?;
    t.spawn(HIGH, [ep, object, 0, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).recv_with_mrs(reply(args[1]));
        reply(args[1]).reply_with_mrs(info(9, 1), [3]);
    })?;
    let answer: Answer = received(endpoint(badged).call(info(0, 0)));
    equal!(answer.label, 9);
    equal!(answer.words[0], 3);
    equal!(
        answer.info.into_inner().word(),
        MessageInfo::new(9, 0, 0, 1).into_inner().word()
    );
    Ok(())
}

fn sender(args: [u64; 6]) {
    endpoint(args[0]).send_with_mrs(info(0, 1), [args[1]]);
}

pub(crate) fn senders_are_taken_by_priority_and_equals_in_order(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    for (priority, n) in [(100, 1), (110, 2), (100, 3), (120, 4)] {
        t.spawn(priority, [ep, n, 0, 0, 0, 0], sender)?;
        rest();
    }
    for wanted in [4, 2, 1, 3] {
        equal!(endpoint(ep).recv_with_mrs(reply(object)).msg[0], wanted);
    }
    Ok(())
}

pub(crate) fn a_queued_sender_whose_priority_changes_moves(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let mut last = None;
    for n in 1..=3 {
        last = Some(t.spawn(LOW, [ep, n, 0, 0, 0, 0], sender)?);
        rest();
    }
    let last = last.map_or(0, |thread| thread.tcb);
    done!(invoke(last, label::TCB_SET_PRIORITY, &[LOW + 1], &[TCB]));
    for wanted in [3, 1, 2] {
        equal!(endpoint(ep).recv_with_mrs(reply(object)).msg[0], wanted);
    }
    Ok(())
}

pub(crate) fn receivers_are_served_by_priority(t: &mut Kit) -> Check {
    let ep = t.ep()?;
    for (priority, n) in [(100, 1), (120, 2), (110, 3)] {
        let object = t.reply()?;
        t.spawn(priority, [ep, object, n, 0, 0, 0], |args| {
            let _ = endpoint(args[0]).recv_with_mrs(reply(args[1]));
            mark(args[2]);
        })?;
        rest();
    }
    for _ in 0..3 {
        endpoint(ep).send_with_mrs(info(0, 0), []);
        rest();
    }
    marks!(2, 3, 1);
    Ok(())
}

pub(crate) fn a_send_and_receive_does_both(t: &mut Kit) -> Check {
    let (there, back, object) = (t.ep()?, t.ep()?, t.reply()?);
    t.spawn(LOW, [there, back, object, 0, 0, 0], |args| {
        let message = endpoint(args[1]).nb_send_recv_with_mrs(
            info(0, 1),
            [5],
            endpoint(args[0]),
            reply(args[2]),
        );
        mark(message.msg[0]);
    })?;
    let mine = t.reply()?;
    equal!(endpoint(back).recv_with_mrs(reply(mine)).msg[0], 5);
    endpoint(there).send_with_mrs(info(0, 1), [6]);
    rest();
    marks!(6);
    Ok(())
}

pub(crate) fn two_threads_talk_by_send_and_receive_alone(t: &mut Kit) -> Check {
    let (a, b) = (t.ep()?, t.ep()?);
    let (one, two) = (t.reply()?, t.reply()?);
    let talk = |args: [u64; 6]| {
        let [mine, theirs, object, first, ..] = args;
        let mut word = first;
        for _ in 0..20 {
            let message = endpoint(theirs).nb_send_recv_with_mrs(
                info(0, 1),
                [word],
                endpoint(mine),
                reply(object),
            );
            word = message.msg[0] + 1;
        }
        mark(word);
    };
    t.spawn(LOW, [a, b, one, 0, 0, 0], talk)?;
    rest();
    t.spawn(LOW, [b, a, two, 100, 0, 0], talk)?;
    rest();
    // The first one's first word met nobody; so the second waits for an answer to its last one.
    marks!(139);
    Ok(())
}

pub(crate) fn a_send_and_wait_signals_and_waits(t: &mut Kit) -> Check {
    let (ready, go) = (t.ntfn()?, t.ntfn()?);
    let badged = t.mint(ready, 15, 4)?;
    t.spawn(HIGH, [badged, go, 0, 0, 0, 0], |args| {
        let message =
            notification(args[0]).nb_send_wait_with_mrs(info(0, 0), [], notification(args[1]));
        mark(message.badge);
    })?;
    equal!(notification(ready).poll().1, 4);
    let go = t.mint(go, 15, 6)?;
    notification(go).signal();
    marks!(6);
    Ok(())
}

pub(crate) fn a_first_phase_on_a_cnode_does_nothing_and_the_second_runs(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    let badged = t.mint(ntfn, 15, 8)?;
    notification(badged).signal();
    let message = at(CNODE).nb_send_recv_with_mrs(
        info(label::CNODE_DELETE, 2),
        [TCB, 64],
        notification(ntfn),
        reply(0),
    );
    equal!(message.badge, 8);
    ensure!(super::kit::kind(TCB) != 0);
    Ok(())
}

pub(crate) fn a_first_phase_on_nothing_is_ignored(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    let badged = t.mint(ntfn, 15, 8)?;
    notification(badged).signal();
    let message = at(1 << 40).nb_send_recv_with_mrs(info(0, 0), [], notification(ntfn), reply(0));
    equal!(message.badge, 8);
    Ok(())
}

pub(crate) fn cancelling_badged_sends_restarts_those_senders_alone(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let (one, two) = (t.mint(ep, 15, 1)?, t.mint(ep, 15, 2)?);
    for (cap, word) in [(one, 1), (two, 2), (one, 3)] {
        t.spawn(LOW, [cap, word, 0, 0, 0, 0], sender)?;
        rest();
    }
    // The restarted ones queue again, behind the other.
    done!(cnode(label::CNODE_CANCEL_BADGED_SENDS, one, &[], &[]));
    rest();
    let mut found = [0; 3];
    for word in &mut found {
        *word = endpoint(ep).recv_with_mrs(reply(object)).msg[0];
    }
    equal!(found[0], 2);
    equal!(found[1] + found[2], 4);
    Ok(())
}

pub(crate) fn cancelling_badged_sends_without_badge_does_nothing(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    for word in [1, 2] {
        t.spawn(LOW, [ep, word, 0, 0, 0, 0], sender)?;
        rest();
    }
    done!(cnode(label::CNODE_CANCEL_BADGED_SENDS, ep, &[], &[]));
    rest();
    equal!(endpoint(ep).recv_with_mrs(reply(object)).msg[0], 1);
    Ok(())
}

pub(crate) fn cancelling_badged_sends_needs_all_four_rights(t: &mut Kit) -> Check {
    let (ep, ntfn) = (t.ep()?, t.ntfn()?);
    let weak = t.mint(ep, 7, 1)?;
    for slot in [weak, ntfn] {
        refused!(
            cnode(label::CNODE_CANCEL_BADGED_SENDS, slot, &[], &[]),
            IllegalOperation
        );
    }
    Ok(())
}

pub(crate) fn deleting_an_endpoint_restarts_its_senders(t: &mut Kit) -> Check {
    let ep = t.ep()?;
    t.spawn(LOW, [ep, 5, 0, 0, 0, 0], |args| {
        endpoint(args[0]).send_with_mrs(info(0, 0), []);
        mark(args[1]);
    })?;
    rest();
    marks!();
    delete(ep)?;
    rest();
    // It sent again, by a slot that is empty now: what is no Call is told nothing.
    marks!(5);
    Ok(())
}

pub(crate) fn a_reply_object_used_again_stops_the_caller_it_had(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    for n in 1..=2 {
        t.spawn(HIGH, [ep, n, 0, 0, 0, 0], |args| {
            let _ = endpoint(args[0]).call_with_mrs(info(0, 0), []);
            mark(args[1]);
        })?;
    }
    let _ = endpoint(ep).recv_with_mrs(reply(object));
    let _ = endpoint(ep).recv_with_mrs(reply(object));
    reply(object).reply_with_mrs(info(0, 0), []);
    rest();
    marks!(2);
    Ok(())
}

pub(crate) fn deleting_a_reply_object_stops_its_caller(t: &mut Kit) -> Check {
    let ep = t.ep()?;
    let object = t.make(object::REPLY, 0)?;
    t.spawn(HIGH, [ep, 0, 0, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).call_with_mrs(info(0, 0), []);
        mark(1);
    })?;
    let _ = endpoint(ep).recv_with_mrs(reply(object));
    delete(object)?;
    rest();
    marks!();
    Ok(())
}

pub(crate) fn registers_that_no_message_uses_survive_a_call(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    t.spawn(HIGH, [ep, object, 0, 0, 0, 0], echo)?;
    let found: [u64; 5];
    #[expect(
        unsafe_code,
        reason = "the system-call instruction with chosen registers"
    )]
    // SAFETY: a Call of an endpoint; every register that changes is an output.
    unsafe {
        let (rax, rbx, r12, r13, r14): (u64, u64, u64, u64, u64);
        core::arch::asm!(
            "xchg rbx, {saved}",
            "syscall",
            "xchg rbx, {saved}",
            saved = inlateout(reg) 0x22u64 => rbx,
            inlateout("rax") 0x11u64 => rax,
            inlateout("r12") 0x33u64 => r12,
            inlateout("r13") 0x44u64 => r13,
            inlateout("r14") 0x55u64 => r14,
            in("rdx") sel4_abi::syscall::CALL,
            inlateout("rdi") ep => _,
            inlateout("rsi") 0u64 => _,
            lateout("r10") _, lateout("r8") _, lateout("r9") _, lateout("r15") _,
            lateout("rcx") _, lateout("r11") _,
        );
        found = [rax, rbx, r12, r13, r14];
    }
    for (n, word) in found.into_iter().enumerate() {
        equal!(word, 0x11 * (n as u64 + 1));
    }
    Ok(())
}

pub(crate) fn a_thread_without_buffer_sends_four_words(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let thread = t.active(LOW, [ep, 0, 0, 0, 0, 0], |args| {
        endpoint(args[0]).send_with_mrs(info(3, 10), [1, 2, 3, 4]);
    })?;
    done!(invoke(thread.tcb, label::TCB_SET_IPC_BUFFER, &[0], &[0]));
    t.resume(thread)?;
    let message = endpoint(ep).recv_with_mrs(reply(object));
    equal!(message.info.length(), 4);
    equal!(message.msg[3], 4);
    Ok(())
}

pub(crate) fn a_buffer_that_may_only_be_read_sends_all_and_receives_four(t: &mut Kit) -> Check {
    let (ep, back, object) = (t.ep()?, t.ep()?, t.reply()?);
    let mine = t.reply()?;
    let thread = t.active(HIGH, [ep, back, object, 0, 0, 0], |args| {
        fill(10);
        endpoint(args[0]).send(info(0, 10));
        mark(
            endpoint(args[1])
                .recv_with_mrs(reply(args[2]))
                .info
                .length() as u64,
        );
    })?;
    let (frame, address) = t.buffer(thread);
    let weak = t.copy(frame, 2)?;
    done!(invoke(
        thread.tcb,
        label::TCB_SET_IPC_BUFFER,
        &[address],
        &[weak]
    ));
    t.resume(thread)?;
    let (info_in, _) = endpoint(ep).recv(reply(mine));
    equal!(info_in.length(), 10);
    ensure!(is_pattern(10));
    fill(10);
    endpoint(back).send(info(0, 10));
    marks!(4);
    Ok(())
}

pub(crate) fn a_reply_object_is_not_looked_at_by_a_wait_for_a_signal(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    let badged = t.mint(ntfn, 15, 6)?;
    notification(badged).signal();
    equal!(endpoint(ntfn).recv_with_mrs(reply(1 << 40)).badge, 6);
    notification(badged).signal();
    equal!(endpoint(ntfn).nb_recv_with_mrs(reply(TCB)).badge, 6);
    Ok(())
}

pub(crate) fn a_first_phase_acts_on_frames_and_not_on_threads_or_contexts(t: &mut Kit) -> Check {
    let (ntfn, frame) = (t.ntfn()?, t.make(object::X86_4K, 0)?);
    let place = super::thread::BUFFERS + 0x10_0000;
    done!(invoke(
        frame,
        label::X86_PAGE_MAP,
        &[place, 3, 0],
        &[super::kit::VSPACE]
    ));
    let thread = t.active(HIGH, [1, 0, 0, 0, 0, 0], |args| mark(args[0]))?;
    let first = |cap, label| {
        notification(ntfn).signal();
        let _ = at(cap).nb_send_wait_with_mrs(info(label, 0), [], notification(ntfn));
    };
    first(thread.tcb, label::TCB_RESUME);
    first(thread.sc, label::SCHED_CONTEXT_UNBIND);
    rest();
    marks!();
    t.resume(thread)?;
    marks!(1);
    first(frame, label::X86_PAGE_UNMAP);
    // It is not mapped any more: it can be mapped elsewhere.
    let elsewhere = [place + 4096, 3, 0];
    done!(invoke(
        frame,
        label::X86_PAGE_MAP,
        &elsewhere,
        &[super::kit::VSPACE]
    ));
    Ok(())
}

pub(crate) fn a_deleted_reply_object_ends_the_receive_it_was_given_to(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let server = t.spawn(HIGH, [ep, object, 0, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).recv_with_mrs(reply(args[1]));
        mark(1);
    })?;
    delete(object)?;
    endpoint(ep).nb_send_with_mrs(info(0, 0), []);
    rest();
    marks!();
    t.is_stopped(server)
}

pub(crate) fn a_receiver_whose_endpoint_is_deleted_receives_again(t: &mut Kit) -> Check {
    let (ep, object, faults) = (t.ep()?, t.reply()?, t.ep()?);
    let server = t.active(HIGH, [ep, object, 0, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).recv_with_mrs(reply(args[1]));
        mark(1);
    })?;
    t.set_handler(server, faults)?;
    t.resume(server)?;
    delete(ep)?;
    // There is nothing in the slot now.
    let mine = t.reply()?;
    let message = endpoint(faults).recv_with_mrs(reply(mine));
    equal!(message.info.label(), sel4_abi::fault::CAP_FAULT);
    equal!(message.msg[1], ep);
    equal!(message.msg[2], 1);
    marks!();
    Ok(())
}

pub(crate) fn a_caller_resumed_in_its_call_calls_again(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let caller = t.spawn(LOW, [ep, 0, 0, 0, 0, 0], |args| {
        mark(endpoint(args[0]).call_with_mrs(info(0, 1), [4]).msg[0]);
    })?;
    equal!(endpoint(ep).recv_with_mrs(reply(object)).msg[0], 4);
    t.resume(caller)?;
    // The reply object has nobody any more, and a second call waits.
    reply(object).reply_with_mrs(info(0, 1), [5]);
    rest();
    marks!();
    equal!(endpoint(ep).recv_with_mrs(reply(object)).msg[0], 4);
    reply(object).reply_with_mrs(info(0, 1), [6]);
    rest();
    marks!(6);
    Ok(())
}
