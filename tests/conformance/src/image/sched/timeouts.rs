//! Timeout faults.

use super::{count, passive, pause, periodic, spinner};
use crate::image::kit::{
    HIGH, Kit, LOW, at, delete, endpoint, info, invoke, is_silent, reply, rest,
};
use crate::image::report::{Check, done, ensure, equal, marks};
use crate::image::thread::mark;
use sel4_abi::{fault, label};

pub(crate) fn a_timeout_tells_badge_and_time_and_its_empty_reply_goes_on(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let thread = periodic(t, LOW, 1000, 2000, [0; 6], spinner)?;
    let badged = t.mint(ep, 15, 0x71)?;
    done!(invoke(
        thread.tcb,
        label::TCB_SET_TIMEOUT_ENDPOINT,
        &[],
        &[badged]
    ));
    t.resume(thread)?;
    let mut message = endpoint(ep).recv_with_mrs(reply(object));
    for _ in 0..20 {
        equal!(message.info.label(), fault::TIMEOUT);
        equal!(message.info.length(), 2);
        equal!(message.badge, 0x71);
        equal!(message.msg[0], 7);
        // An interrupt that comes late leaves less to the next period, but never less than the shortest budget.
        ensure!(message.msg[1] >= 18);
        message = endpoint(ep).reply_recv_with_mrs(info(0, 0), [], reply(object));
    }
    Ok(())
}

pub(crate) fn a_round_robin_thread_never_times_out(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let thread = t.thread(LOW, [0; 6], spinner)?;
    t.configure(thread.sc, 1000, 1000, 0, 0, 0)?;
    t.bind(thread.sc, thread.tcb)?;
    done!(invoke(
        thread.tcb,
        label::TCB_SET_TIMEOUT_ENDPOINT,
        &[],
        &[ep]
    ));
    t.resume(thread)?;
    let stop = t.ntfn()?;
    pause(t, stop, 10_000)?;
    ensure!(is_silent(ep, object));
    ensure!(count(0) > 0);
    Ok(())
}

pub(crate) fn a_yield_is_no_timeout(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let thread = periodic(t, HIGH, 1000, 10_000, [0; 6], |_| {
        sel4::r#yield();
        mark(1);
    })?;
    let badged = t.mint(ep, 15, 1)?;
    let set = label::TCB_SET_TIMEOUT_ENDPOINT;
    done!(invoke(thread.tcb, set, &[], &[badged]));
    t.resume(thread)?;
    equal!(endpoint(ep).nb_recv_with_mrs(reply(object)).badge, 0);
    marks!();
    t.sleep(15_000);
    marks!(1);
    Ok(())
}

pub(crate) fn a_timeout_of_a_thread_without_context_is_one_word(t: &mut Kit) -> Check {
    let (ep, object, stop) = (t.ep()?, t.reply()?, t.ntfn()?);
    let thread = periodic(t, LOW, 1000, 50_000, [0; 6], spinner)?;
    let set = label::TCB_SET_TIMEOUT_ENDPOINT;
    done!(invoke(thread.tcb, set, &[], &[ep]));
    t.resume(thread)?;
    pause(t, stop, 5000)?;
    // Its fault waits in the queue; the message is made when it is received.
    delete(thread.sc)?;
    let message = endpoint(ep).recv_with_mrs(reply(object));
    equal!(message.info.label(), fault::TIMEOUT);
    equal!(message.info.length(), 1);
    Ok(())
}

pub(crate) fn a_server_that_times_out_is_answered_for_and_restored(t: &mut Kit) -> Check {
    let (ep, timeouts, mine) = (t.ep()?, t.ep()?, t.reply()?);
    let work = t.ticks(200_000);
    let server = passive(t, HIGH, ep, work)?;
    // Its registers where it waits for a message.
    let saved = done!(invoke(server.tcb, label::TCB_READ_REGISTERS, &[0, 20], &[]));
    let badged = t.mint(timeouts, 15, 5)?;
    done!(invoke(
        server.tcb,
        label::TCB_SET_TIMEOUT_ENDPOINT,
        &[],
        &[badged]
    ));
    let client = periodic(t, LOW, 2000, 20_000, [ep, 0, 0, 0, 0, 0], |args| {
        mark(
            endpoint(args[0])
                .call_with_mrs(info(0, 1), [1])
                .info
                .label(),
        );
    })?;
    t.resume(client)?;
    let message = endpoint(timeouts).recv_with_mrs(reply(mine));
    equal!(message.info.label(), fault::TIMEOUT);
    equal!(message.msg[0], 7);
    // The client gets an answer and its time; the server gets other time and its old registers.
    reply(server.reply).reply_with_mrs(info(0x33, 0), []);
    t.bind(server.sc, server.tcb)?;
    sel4::with_ipc_buffer_mut(|buffer| {
        buffer.msg_regs_mut()[..20].copy_from_slice(&saved.words[..20])
    });
    at(mine).send(info(0, 19));
    rest();
    t.unbind(server.sc)?;
    t.sleep(25_000);
    marks!(0x33);
    // The server waits for a message where it did.
    let again = done!(invoke(server.tcb, label::TCB_READ_REGISTERS, &[0, 1], &[]));
    equal!(again.words[0], saved.words[0]);
    Ok(())
}

pub(crate) fn a_timeout_after_an_answer_has_the_call_done_again(t: &mut Kit) -> Check {
    let (ep, timeouts, mine) = (t.ep()?, t.ep()?, t.reply()?);
    let work = t.ticks(200_000);
    let server = passive(t, HIGH, ep, work)?;
    let client = periodic(t, LOW, 2000, 20_000, [ep, 0, 0, 0, 0, 0], |args| {
        mark(endpoint(args[0]).call_with_mrs(info(0, 0), []).info.label());
    })?;
    let set = label::TCB_SET_TIMEOUT_ENDPOINT;
    done!(invoke(client.tcb, set, &[], &[timeouts]));
    t.resume(client)?;
    // The server, which nobody is told about, uses the client's time up.
    let stop = t.ntfn()?;
    pause(t, stop, 8000)?;
    reply(server.reply).reply_with_mrs(info(0x33, 0), []);
    let message = endpoint(timeouts).recv_with_mrs(reply(mine));
    equal!(message.info.label(), fault::TIMEOUT);
    at(mine).send(info(0, 0));
    t.sleep(25_000);
    // The answer's badge, 0, is what the call names now: the null capability.
    marks!(sel4_abi::Error::InvalidCapability as u64);
    Ok(())
}
