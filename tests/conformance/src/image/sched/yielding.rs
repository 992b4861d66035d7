//! Giving the processor up, to anybody or to one.

use super::{count, marker, periodic};
use crate::image::kit::{HIGH, Kit, LOW, TCB, WORKING, invoke, rest};
use crate::image::report::{Check, done, ensure, equal, marks, refused};
use crate::image::thread::{COUNTERS, mark, now};
use core::sync::atomic::Ordering::SeqCst;
use sel4_abi::label;

/// Marks, yields, marks.
fn turns(args: [u64; 6]) {
    for _ in 0..3 {
        mark(args[0]);
        sel4::r#yield();
    }
}

pub(crate) fn yield_goes_behind_equals(t: &mut Kit) -> Check {
    for n in [1, 2] {
        t.spawn(LOW, [n, 0, 0, 0, 0, 0], turns)?;
    }
    rest();
    marks!(2, 1, 2, 1, 2, 1);
    Ok(())
}

pub(crate) fn yield_with_nobody_equal_goes_on(t: &mut Kit) -> Check {
    t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    t.spawn(LOW + 1, [2, 0, 0, 0, 0, 0], turns)?;
    rest();
    marks!(2, 2, 2, 1);
    Ok(())
}

pub(crate) fn yield_of_a_periodic_thread_waits_for_its_next_period(t: &mut Kit) -> Check {
    let thread = periodic(t, HIGH, 1000, 10_000, [0, 0, 0, 0, 0, 0], |_| {
        for _ in 0..5 {
            COUNTERS[0].fetch_add(1, SeqCst);
            COUNTERS[2].store(now(), SeqCst);
            if count(0) == 1 {
                COUNTERS[1].store(now(), SeqCst);
            }
            sel4::r#yield();
        }
    })?;
    t.resume(thread)?;
    equal!(count(0), 1);
    t.sleep(45_000);
    equal!(count(0), 5);
    let periods = t.microseconds(count(2) - count(1));
    ensure!((39_900..41_000).contains(&periods));
    Ok(())
}

pub(crate) fn yielding_to_refuses_oneself_and_what_is_unbound_or_above(t: &mut Kit) -> Check {
    let yield_to = |sc| invoke(sc, label::SCHED_CONTEXT_YIELD_TO, &[], &[]);
    let own = sel4::init_thread::slot::SC.cptr_bits();
    refused!(yield_to(own), IllegalOperation);
    let sc = t.sc()?;
    refused!(yield_to(sc), IllegalOperation);
    let idle = t.active(LOW, [0; 6], marker)?;
    let answer = done!(yield_to(idle.sc));
    equal!(answer.length, 1);
    equal!(answer.words[0], 0);
    let weak = t.active(HIGH, [idle.sc, 0, 0, 0, 0, 0], |args| {
        mark(invoke(args[0], label::SCHED_CONTEXT_YIELD_TO, &[], &[]).label);
    })?;
    done!(invoke(weak.tcb, label::TCB_SET_MC_PRIORITY, &[0], &[TCB]));
    t.resume(weak)?;
    marks!(sel4::Error::IllegalOperation as u64);
    Ok(())
}

pub(crate) fn yielding_to_a_higher_thread_tells_what_it_used(t: &mut Kit) -> Check {
    let work = t.ticks(1000);
    let thread = t.spawn(LOW, [work, 0, 0, 0, 0, 0], |args| {
        let end = now() + args[0];
        while now() < end {}
        mark(1);
    })?;
    done!(invoke(TCB, label::TCB_SET_PRIORITY, &[LOW], &[TCB]));
    let answer = invoke(thread.sc, label::SCHED_CONTEXT_YIELD_TO, &[], &[]);
    mark(2);
    done!(invoke(TCB, label::TCB_SET_PRIORITY, &[WORKING], &[TCB]));
    marks!(1, 2);
    equal!(answer.label, 0);
    equal!(answer.length, 1);
    ensure!(answer.words[0] >= 900);
    Ok(())
}

pub(crate) fn yielding_to_a_lower_thread_puts_it_before_its_equals(t: &mut Kit) -> Check {
    let first = t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    t.spawn(LOW, [2, 0, 0, 0, 0, 0], marker)?;
    let answer = done!(invoke(first.sc, label::SCHED_CONTEXT_YIELD_TO, &[], &[]));
    equal!(answer.length, 1);
    equal!(answer.words[0], 0);
    mark(9);
    rest();
    marks!(9, 1, 2);
    Ok(())
}
