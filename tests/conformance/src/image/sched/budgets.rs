//! Budgets and periods: how much time, and when.

use super::{consumed, count, pause, periodic, spinner};
use crate::image::kit::{HIGH, Kit, LOW, invoke, rest};
use crate::image::report::{Check, done, ensure, equal, marks};
use crate::image::thread::{COUNTERS, mark, now};
use core::sync::atomic::Ordering::SeqCst;
use sel4_abi::label;

pub(crate) fn equal_threads_share_the_processor_by_budget(t: &mut Kit) -> Check {
    // Both have half of the time of a thread above that stops them in the end.
    for n in [0, 1] {
        let thread = t.thread(LOW, [n, 0, 0, 0, 0, 0], spinner)?;
        t.configure(thread.sc, 2000, 2000, 0, 0, 0)?;
        t.bind(thread.sc, thread.tcb)?;
        t.resume(thread)?;
    }
    let stop = t.ntfn()?;
    pause(t, stop, 20_000)?;
    let (a, b) = (count(0), count(1));
    ensure!(a > 0 && b > 0);
    ensure!(a < b * 4 && b < a * 4);
    Ok(())
}

pub(crate) fn consumed_counts_the_time_since_it_was_asked(t: &mut Kit) -> Check {
    let thread = t.spawn(LOW, [t.ticks(3000), 0, 0, 0, 0, 0], |args| {
        let end = now() + args[0];
        while now() < end {}
    })?;
    rest();
    let answer = done!(invoke(thread.sc, label::SCHED_CONTEXT_CONSUMED, &[], &[]));
    equal!(answer.length, 1);
    ensure!(answer.words[0] >= 2900);
    equal!(consumed(thread)?, 0);
    Ok(())
}

pub(crate) fn a_periodic_thread_runs_its_budget_once_a_period(t: &mut Kit) -> Check {
    let thread = periodic(t, LOW, 1000, 10_000, [0, 0, 0, 0, 0, 0], spinner)?;
    t.resume(thread)?;
    let begin = now();
    t.sleep(85_000);
    t.suspend(thread)?;
    let elapsed = t.microseconds(now() - begin);
    let used = consumed(thread)?;
    // One budget a period that began; interrupts may be late.
    let due = (elapsed / 10_000 + 1) * 1000;
    ensure!(used <= due + due / 10);
    ensure!(used + 1100 >= due);
    Ok(())
}

pub(crate) fn periods_begin_never_early_and_soon_after_their_time(t: &mut Kit) -> Check {
    let thread = periodic(
        t,
        HIGH,
        500,
        5000,
        [t.ticks(5000), t.ticks(1000), 0, 0, 0, 0],
        |args| {
            let [period, moment, ..] = args;
            let (first, mut last) = (now(), now());
            COUNTERS[0].store(u64::MAX, SeqCst);
            for n in 1..10 {
                sel4::r#yield();
                let time = now();
                // The first period began when the kernel let the thread run, a moment before it looked at the clock.
                if time + moment < first + n * period {
                    mark(2);
                }
                COUNTERS[0].fetch_min(time - last, SeqCst);
                last = time;
            }
            mark(1);
        },
    )?;
    t.resume(thread)?;
    t.sleep(50_000);
    marks!(1);
    ensure!(t.microseconds(count(0)) < 5100);
    Ok(())
}

pub(crate) fn releases_come_within_two_microseconds_of_their_time(t: &mut Kit) -> Check {
    // Others run when each period begins, so that the timer is what ends them.
    t.spawn(LOW, [0; 6], spinner)?;
    let thread = periodic(t, HIGH, 500, 5000, [t.ticks(5000), 0, 0, 0, 0, 0], |args| {
        let (first, period) = (now(), args[0]);
        COUNTERS[2].store(u64::MAX, SeqCst);
        for n in 1..=20 {
            sel4::r#yield();
            // Counted from a period before, so that no number is negative.
            let late = now().wrapping_sub(first + n * period).wrapping_add(period);
            COUNTERS[1].fetch_max(late, SeqCst);
            COUNTERS[2].fetch_min(late, SeqCst);
        }
        mark(1);
    })?;
    t.resume(thread)?;
    let stop = t.ntfn()?;
    pause(t, stop, 110_000)?;
    marks!(1);
    ensure!(count(1) <= t.ticks(5002));
    ensure!(count(2) >= t.ticks(4998));
    Ok(())
}

pub(crate) fn suspending_and_resuming_does_not_refill_a_budget(t: &mut Kit) -> Check {
    let thread = periodic(t, HIGH, 1000, 60_000_000, [0; 6], |_| {
        loop {
            COUNTERS[0].fetch_add(1, SeqCst);
            sel4::r#yield();
        }
    })?;
    t.resume(thread)?;
    equal!(count(0), 1);
    for _ in 0..10 {
        t.suspend(thread)?;
        t.resume(thread)?;
        rest();
    }
    equal!(count(0), 1);
    Ok(())
}

pub(crate) fn a_sporadic_context_works_as_a_periodic_one(t: &mut Kit) -> Check {
    let thread = t.thread(LOW, [0; 6], spinner)?;
    t.configure(thread.sc, 2000, 10_000, 4, 7, 1)?;
    t.bind(thread.sc, thread.tcb)?;
    t.resume(thread)?;
    t.sleep(50_000);
    t.suspend(thread)?;
    let used = consumed(thread)?;
    ensure!((9000..13_000).contains(&used));
    Ok(())
}

pub(crate) fn reconfiguring_a_running_thread_changes_its_share(t: &mut Kit) -> Check {
    let thread = t.spawn(LOW, [0; 6], spinner)?;
    t.configure(thread.sc, 1000, 10_000, 0, 0, 0)?;
    t.sleep(30_000);
    let first = consumed(thread)?;
    t.configure(thread.sc, 5000, 10_000, 0, 0, 0)?;
    t.sleep(30_000);
    let second = consumed(thread)?;
    ensure!(first < 6000);
    ensure!(second > first + 5000);
    Ok(())
}
