//! Notifications.

use super::kit::{HIGH, Kit, LOW, TCB, delete, endpoint, info, invoke, notification, reply, rest};
use super::report::{Check, done, equal, marks, refused};
use super::thread::mark;
use sel4_abi::label;

pub(crate) fn signals_add_up_until_they_are_taken(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    for badge in [1, 4, 4, 16] {
        let badged = t.mint(ntfn, 1, badge)?;
        notification(badged).signal();
    }
    equal!(notification(ntfn).wait().1, 21);
    equal!(notification(ntfn).poll().1, 0);
    Ok(())
}

pub(crate) fn a_signal_without_badge_still_wakes(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    notification(ntfn).signal();
    equal!(notification(ntfn).wait().1, 0);
    Ok(())
}

fn waiter(args: [u64; 6]) {
    mark(args[1] + notification(args[0]).wait().1);
}

pub(crate) fn one_signal_wakes_one_waiter_the_highest_first(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    let badged = t.mint(ntfn, 15, 1)?;
    for (priority, n) in [(100, 10), (120, 20), (100, 30)] {
        t.spawn(priority, [ntfn, n, 0, 0, 0, 0], waiter)?;
        rest();
    }
    for _ in 0..3 {
        notification(badged).signal();
        rest();
    }
    marks!(21, 11, 31);
    Ok(())
}

pub(crate) fn a_higher_waiter_runs_before_the_signaller_goes_on(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    t.spawn(HIGH, [ntfn, 1, 0, 0, 0, 0], waiter)?;
    notification(ntfn).signal();
    mark(9);
    marks!(1, 9);
    Ok(())
}

pub(crate) fn a_lower_waiter_runs_later(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    t.spawn(LOW, [ntfn, 1, 0, 0, 0, 0], waiter)?;
    rest();
    notification(ntfn).signal();
    mark(9);
    rest();
    marks!(9, 1);
    Ok(())
}

pub(crate) fn waiting_without_the_read_right_is_a_fault(t: &mut Kit) -> Check {
    let (ntfn, faults) = (t.ntfn()?, t.ep()?);
    let weak = t.copy(ntfn, 1)?;
    let thread = t.active(LOW, [weak, 0, 0, 0, 0, 0], waiter)?;
    t.set_handler(thread, faults)?;
    t.resume(thread)?;
    let object = t.reply()?;
    let message = endpoint(faults).recv_with_mrs(reply(object));
    equal!(message.info.label(), sel4_abi::fault::CAP_FAULT);
    equal!(message.msg[1], weak);
    equal!(message.msg[2], 1);
    equal!(message.msg[3], 2);
    Ok(())
}

pub(super) fn bind(thread: u64, ntfn: u64) -> super::kit::Answer {
    invoke(thread, label::TCB_BIND_NOTIFICATION, &[], &[ntfn])
}

pub(crate) fn a_bound_signal_wakes_a_receiver_and_messages_still_arrive(t: &mut Kit) -> Check {
    let (ep, ntfn, object) = (t.ep()?, t.ntfn()?, t.reply()?);
    let (signal, send) = (t.mint(ntfn, 15, 0x40)?, t.mint(ep, 15, 3)?);
    let thread = t.active(HIGH, [ep, object, 0, 0, 0, 0], |args| {
        loop {
            mark(endpoint(args[0]).recv_with_mrs(reply(args[1])).badge);
        }
    })?;
    done!(bind(thread.tcb, ntfn));
    t.resume(thread)?;
    notification(signal).signal();
    endpoint(send).send_with_mrs(info(0, 0), []);
    notification(signal).signal();
    marks!(0x40, 3, 0x40);
    Ok(())
}

pub(crate) fn a_signal_pending_at_a_receive_comes_before_a_waiting_sender(t: &mut Kit) -> Check {
    let (ep, ntfn, object) = (t.ep()?, t.ntfn()?, t.reply()?);
    let (signal, send) = (t.mint(ntfn, 15, 0x40)?, t.mint(ep, 15, 3)?);
    t.spawn(HIGH, [send, 0, 0, 0, 0, 0], |args| {
        endpoint(args[0]).send_with_mrs(info(0, 0), []);
    })?;
    notification(signal).signal();
    done!(bind(TCB, ntfn));
    let first = endpoint(ep).recv_with_mrs(reply(object)).badge;
    let second = endpoint(ep).recv_with_mrs(reply(object)).badge;
    done!(invoke(TCB, label::TCB_UNBIND_NOTIFICATION, &[], &[]));
    equal!(first, 0x40);
    equal!(second, 3);
    Ok(())
}

pub(crate) fn binding_refuses_what_is_bound_or_waited_for_or_unreadable(t: &mut Kit) -> Check {
    let (one, two, ep) = (t.ntfn()?, t.ntfn()?, t.ep()?);
    let first = t.thread(LOW, [0; 6], |_| {})?;
    let second = t.thread(LOW, [0; 6], |_| {})?;
    refused!(
        invoke(first.tcb, label::TCB_BIND_NOTIFICATION, &[], &[]),
        TruncatedMessage
    );
    refused!(bind(first.tcb, ep), IllegalOperation);
    let weak = t.copy(one, 1)?;
    refused!(bind(first.tcb, weak), IllegalOperation);
    refused!(
        invoke(first.tcb, label::TCB_UNBIND_NOTIFICATION, &[], &[]),
        IllegalOperation
    );
    done!(bind(first.tcb, one));
    refused!(bind(first.tcb, two), IllegalOperation);
    refused!(bind(second.tcb, one), IllegalOperation);
    done!(invoke(first.tcb, label::TCB_UNBIND_NOTIFICATION, &[], &[]));
    done!(bind(second.tcb, one));
    t.spawn(HIGH, [two, 0, 0, 0, 0, 0], waiter)?;
    refused!(bind(first.tcb, two), IllegalOperation);
    Ok(())
}

pub(crate) fn waiting_for_what_is_bound_to_another_is_a_fault(t: &mut Kit) -> Check {
    let (ntfn, faults, object) = (t.ntfn()?, t.ep()?, t.reply()?);
    done!(bind(TCB, ntfn));
    let thread = t.active(LOW, [ntfn, 0, 0, 0, 0, 0], waiter)?;
    t.set_handler(thread, faults)?;
    t.resume(thread)?;
    let message = endpoint(faults).recv_with_mrs(reply(object));
    done!(invoke(TCB, label::TCB_UNBIND_NOTIFICATION, &[], &[]));
    equal!(message.info.label(), sel4_abi::fault::CAP_FAULT);
    equal!(message.msg[2], 1);
    Ok(())
}

pub(crate) fn deleting_a_notification_restarts_its_waiters(t: &mut Kit) -> Check {
    let (ntfn, faults, object) = (t.ntfn()?, t.ep()?, t.reply()?);
    let thread = t.active(HIGH, [ntfn, 0, 0, 0, 0, 0], waiter)?;
    t.set_handler(thread, faults)?;
    t.resume(thread)?;
    delete(ntfn)?;
    // It waited again, on an empty slot.
    let message = endpoint(faults).recv_with_mrs(reply(object));
    equal!(message.info.label(), sel4_abi::fault::CAP_FAULT);
    marks!();
    Ok(())
}
