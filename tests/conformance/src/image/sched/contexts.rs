//! Scheduling contexts: their parameters, whom they are bound to, their end.

use super::{count, marker, pause, spinner};
use crate::image::kit::{Answer, HIGH, Kit, LOW, TCB, delete, invoke, notification, rest};
use crate::image::report::{Check, done, ensure, equal, marks, refused};
use crate::image::thread::mark;
use sel4_abi::{label, object};

fn configure(t: &Kit, words: &[u64], sc: u64) -> Answer {
    invoke(
        t.sched_control,
        label::SCHED_CONTROL_CONFIGURE_FLAGS,
        words,
        &[sc],
    )
}

pub(crate) fn context_parameters_are_refused_in_the_stated_order(t: &mut Kit) -> Check {
    let (sc, ntfn) = (t.make(object::SCHED_CONTEXT, 8)?, t.ntfn()?);
    let words = [1000, 1000, 0, 0, 0];
    let none = invoke(
        t.sched_control,
        label::SCHED_CONTROL_CONFIGURE_FLAGS,
        &words,
        &[],
    );
    refused!(none, TruncatedMessage);
    refused!(configure(t, &words[..4], sc), TruncatedMessage);
    for (budget, period) in [
        (0, 0),
        (0, 1000),
        (1, 1000),
        (19, 1000),
        (u64::MAX, 1000),
        (20, 19),
    ] {
        let answer = configure(t, &[budget, period, 0, 0, 0], ntfn);
        equal!(answer.label, sel4::Error::RangeError as u64);
        equal!(answer.words[0], 20);
    }
    refused!(
        configure(t, &[1001, 1000, 0, 0, 0], ntfn),
        RangeError,
        20,
        1000
    );
    refused!(configure(t, &words, ntfn), InvalidCapability, 1);
    refused!(configure(t, &[100, 1000, 9, 0, 0], sc), RangeError, 0, 8);
    done!(configure(t, &[100, 1000, 8, 0, 1], sc));
    done!(configure(t, &[20, 20, 0, 0, 0], sc));
    refused!(invoke(t.sched_control, 1, &words, &[sc]), IllegalOperation);
    refused!(invoke(sc, 1, &[], &[]), IllegalOperation);
    Ok(())
}

pub(crate) fn the_smallest_context_has_no_extra_refills(t: &mut Kit) -> Check {
    let sc = t.make(object::SCHED_CONTEXT, 7)?;
    refused!(configure(t, &[100, 1000, 1, 0, 0], sc), RangeError, 0, 0);
    done!(configure(t, &[100, 1000, 0, 0, 0], sc));
    Ok(())
}

pub(crate) fn the_longest_period_is_told_by_what_is_refused(t: &mut Kit) -> Check {
    let sc = t.sc()?;
    let longest = u64::MAX / t.mhz() / 8;
    for words in [
        [1000, longest + 1, 0, 0, 0],
        [longest + 1, longest, 0, 0, 0],
    ] {
        refused!(configure(t, &words, sc), RangeError, 20, longest);
    }
    done!(configure(t, &[1000, longest, 0, 0, 0], sc));
    done!(configure(t, &[longest, longest, 0, 0, 0], sc));
    Ok(())
}

pub(crate) fn refills_are_what_fits_behind_the_header(t: &mut Kit) -> Check {
    // Header 96 bytes, a refill 16; two are always there.
    for (bits, extra) in [(7, 0), (8, 8), (9, 24), (12, 248)] {
        let sc = t.make(object::SCHED_CONTEXT, bits)?;
        refused!(
            configure(t, &[100, 1000, extra + 1, 0, 0], sc),
            RangeError,
            0,
            extra
        );
        done!(configure(t, &[100, 1000, extra, 0, 0], sc));
    }
    Ok(())
}

pub(crate) fn binding_a_context_refuses_what_is_bound(t: &mut Kit) -> Check {
    let (one, two) = (
        t.active(LOW, [0; 6], marker)?,
        t.active(LOW, [0; 6], marker)?,
    );
    let (ntfn, other, spare) = (t.ntfn()?, t.ntfn()?, t.sc()?);
    let bind = |sc, object: &[u64]| invoke(sc, label::SCHED_CONTEXT_BIND, &[], object);
    refused!(bind(spare, &[]), TruncatedMessage);
    refused!(bind(one.sc, &[two.tcb]), IllegalOperation);
    refused!(bind(spare, &[one.tcb]), IllegalOperation);
    refused!(bind(spare, &[spare]), InvalidCapability, 1);
    done!(bind(one.sc, &[ntfn]));
    refused!(bind(one.sc, &[other]), IllegalOperation);
    refused!(bind(spare, &[ntfn]), IllegalOperation);
    let unbind = |sc, object: &[u64]| invoke(sc, label::SCHED_CONTEXT_UNBIND_OBJECT, &[], object);
    refused!(unbind(one.sc, &[]), TruncatedMessage);
    refused!(unbind(one.sc, &[two.tcb]), IllegalOperation);
    refused!(unbind(one.sc, &[other]), IllegalOperation);
    refused!(unbind(one.sc, &[one.sc]), InvalidCapability, 1);
    done!(unbind(one.sc, &[ntfn]));
    done!(unbind(one.sc, &[one.tcb]));
    refused!(unbind(one.sc, &[one.tcb]), IllegalOperation);
    let own = sel4::init_thread::slot::SC.cptr_bits();
    refused!(unbind(own, &[TCB]), IllegalOperation);
    refused!(
        invoke(own, label::SCHED_CONTEXT_UNBIND, &[], &[]),
        IllegalOperation
    );
    Ok(())
}

pub(crate) fn an_unconfigured_context_may_not_be_bound_to_a_blocked_thread(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    let thread = t.spawn(HIGH, [ntfn, 0, 0, 0, 0, 0], |args| {
        mark(notification(args[0]).wait().1)
    })?;
    t.unbind(thread.sc)?;
    let sc = t.sc()?;
    refused!(
        invoke(sc, label::SCHED_CONTEXT_BIND, &[], &[thread.tcb]),
        IllegalOperation
    );
    t.bind(thread.sc, thread.tcb)
}

pub(crate) fn a_thread_without_context_starts_and_does_not_run_until_it_has_one(
    t: &mut Kit,
) -> Check {
    let thread = t.thread(HIGH, [1, 0, 0, 0, 0, 0], marker)?;
    t.resume(thread)?;
    rest();
    marks!();
    t.bind(thread.sc, thread.tcb)?;
    rest();
    marks!();
    t.configure(thread.sc, 5000, 5000, 0, 0, 0)?;
    marks!(1);
    Ok(())
}

pub(crate) fn binding_and_starting_work_in_both_orders(t: &mut Kit) -> Check {
    let one = t.thread(HIGH, [1, 0, 0, 0, 0, 0], marker)?;
    t.configure(one.sc, 5000, 5000, 0, 0, 0)?;
    t.resume(one)?;
    marks!();
    t.bind(one.sc, one.tcb)?;
    marks!(1);
    t.spawn(HIGH, [2, 0, 0, 0, 0, 0], marker)?;
    marks!(2);
    Ok(())
}

pub(crate) fn deleting_a_context_stops_its_thread(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    let badged = t.mint(ntfn, 15, 3)?;
    let thread = t.spawn(HIGH, [ntfn, 0, 0, 0, 0, 0], |args| {
        loop {
            mark(notification(args[0]).wait().1);
        }
    })?;
    notification(badged).signal();
    marks!(3);
    delete(thread.sc)?;
    notification(badged).signal();
    rest();
    marks!();
    let sc = t.sc()?;
    t.configure(sc, 5000, 5000, 0, 0, 0)?;
    t.bind(sc, thread.tcb)?;
    marks!(3);
    Ok(())
}

pub(crate) fn deleting_a_context_stops_a_thread_that_spins(t: &mut Kit) -> Check {
    let thread = t.spawn(LOW, [0; 6], spinner)?;
    let stop = t.ntfn()?;
    pause(t, stop, 5000)?;
    ensure!(count(0) > 0);
    delete(thread.sc)?;
    let before = count(0);
    rest();
    equal!(count(0), before);
    Ok(())
}

pub(crate) fn a_notification_needs_no_right_to_hold_a_context(t: &mut Kit) -> Check {
    let (ntfn, sc) = (t.ntfn()?, t.sc()?);
    let weak = t.copy(ntfn, 0)?;
    t.bind(sc, weak)?;
    done!(invoke(sc, label::SCHED_CONTEXT_UNBIND_OBJECT, &[], &[weak]));
    Ok(())
}

pub(crate) fn a_ready_context_can_be_bound_to_a_blocked_thread(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    let thread = t.spawn(HIGH, [ntfn, 0, 0, 0, 0, 0], |args| {
        mark(notification(args[0]).wait().1 + 1);
    })?;
    delete(thread.sc)?;
    let sc = t.sc()?;
    t.configure(sc, 5000, 5000, 0, 0, 0)?;
    t.bind(sc, thread.tcb)?;
    marks!();
    notification(ntfn).signal();
    marks!(1);
    Ok(())
}
