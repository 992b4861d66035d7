//! Who runs first, and who may say so.

use super::marker;
use crate::image::kit::{HIGH, Kit, LOW, TCB, WORKING, invoke, notification, rest};
use crate::image::report::{Check, done, marks, refused};
use crate::image::thread::mark;
use sel4_abi::label;

pub(crate) fn a_higher_thread_runs_at_once_and_a_lower_one_later(t: &mut Kit) -> Check {
    t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    t.spawn(HIGH, [2, 0, 0, 0, 0, 0], marker)?;
    mark(3);
    rest();
    marks!(2, 3, 1);
    Ok(())
}

pub(crate) fn ready_threads_run_by_priority(t: &mut Kit) -> Check {
    for priority in [50, 70, 60, 199, 2] {
        t.spawn(priority, [priority, 0, 0, 0, 0, 0], marker)?;
    }
    rest();
    marks!(199, 70, 60, 50, 2);
    Ok(())
}

pub(crate) fn of_equals_the_last_started_runs_first(t: &mut Kit) -> Check {
    for n in 1..=3 {
        t.spawn(LOW, [n, 0, 0, 0, 0, 0], marker)?;
    }
    rest();
    marks!(3, 2, 1);
    Ok(())
}

pub(crate) fn raising_a_ready_thread_runs_it_at_once(t: &mut Kit) -> Check {
    let thread = t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    mark(9);
    done!(invoke(thread.tcb, label::TCB_SET_PRIORITY, &[HIGH], &[TCB]));
    marks!(9, 1);
    Ok(())
}

pub(crate) fn lowering_oneself_runs_others_first(t: &mut Kit) -> Check {
    t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    done!(invoke(TCB, label::TCB_SET_PRIORITY, &[LOW - 1], &[TCB]));
    mark(9);
    done!(invoke(TCB, label::TCB_SET_PRIORITY, &[WORKING], &[TCB]));
    marks!(1, 9);
    Ok(())
}

pub(crate) fn a_priority_above_the_authoritys_maximum_is_out_of_range(t: &mut Kit) -> Check {
    let (weak, thread) = (
        t.thread(LOW, [0; 6], marker)?,
        t.thread(LOW, [0; 6], marker)?,
    );
    done!(invoke(weak.tcb, label::TCB_SET_MC_PRIORITY, &[50], &[TCB]));
    let ask = |label, words: &[u64], caps: &[u64]| invoke(thread.tcb, label, words, caps);
    refused!(
        ask(label::TCB_SET_PRIORITY, &[51], &[weak.tcb]),
        RangeError,
        0,
        50
    );
    refused!(
        ask(label::TCB_SET_MC_PRIORITY, &[51], &[weak.tcb]),
        RangeError,
        0,
        50
    );
    refused!(
        ask(label::TCB_SET_PRIORITY, &[256], &[TCB]),
        RangeError,
        0,
        255
    );
    refused!(
        ask(label::TCB_SET_PRIORITY, &[1], &[weak.sc]),
        InvalidCapability,
        1
    );
    refused!(ask(label::TCB_SET_PRIORITY, &[1], &[]), TruncatedMessage);
    done!(ask(label::TCB_SET_PRIORITY, &[50], &[weak.tcb]));
    Ok(())
}

pub(crate) fn scheduling_parameters_are_refused_in_the_stated_order(t: &mut Kit) -> Check {
    let (one, two) = (
        t.active(LOW, [0; 6], marker)?,
        t.active(LOW, [0; 6], marker)?,
    );
    let empty = t.slot();
    let ask =
        |words: &[u64], caps: &[u64]| invoke(one.tcb, label::TCB_SET_SCHED_PARAMS, words, caps);
    refused!(ask(&[1, 1], &[TCB, one.sc]), TruncatedMessage);
    refused!(ask(&[1, 1], &[one.sc, one.sc, empty]), InvalidCapability, 1);
    refused!(ask(&[256, 1], &[TCB, one.sc, empty]), RangeError, 0, 255);
    refused!(ask(&[1, 256], &[TCB, one.sc, empty]), RangeError, 0, 255);
    refused!(ask(&[1, 1], &[TCB, two.sc, empty]), IllegalOperation);
    refused!(ask(&[1, 1], &[TCB, two.tcb, empty]), InvalidCapability, 2);
    refused!(ask(&[1, 1], &[TCB, one.sc, two.tcb]), InvalidCapability, 3);
    let own = [TCB, empty, empty];
    refused!(
        invoke(TCB, label::TCB_SET_SCHED_PARAMS, &[255, 200], &own),
        IllegalOperation
    );
    done!(ask(&[1, 1], &[TCB, empty, empty]));
    t.bind(one.sc, one.tcb)
}

pub(crate) fn a_woken_equal_goes_behind_its_peers(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    t.spawn(LOW, [ntfn, 1, 0, 0, 0, 0], |args| {
        notification(args[0]).wait();
        mark(args[1]);
    })?;
    rest();
    // The one that signals goes on, and the woken one waits behind the one that was ready before.
    t.spawn(LOW, [3, 0, 0, 0, 0, 0], marker)?;
    t.spawn(LOW, [ntfn, 2, 0, 0, 0, 0], |args| {
        notification(args[0]).signal();
        mark(args[1]);
    })?;
    rest();
    marks!(2, 3, 1);
    Ok(())
}

pub(crate) fn a_ready_thread_given_its_priority_again_goes_first(t: &mut Kit) -> Check {
    let first = t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    t.spawn(LOW, [2, 0, 0, 0, 0, 0], marker)?;
    done!(invoke(first.tcb, label::TCB_SET_PRIORITY, &[LOW], &[TCB]));
    rest();
    marks!(1, 2);
    Ok(())
}
