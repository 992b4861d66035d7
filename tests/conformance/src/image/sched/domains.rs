//! The domain and its schedule of one entry.

use super::marker;
use crate::image::kit::{HIGH, Kit, LOW, TCB, invoke, rest};
use crate::image::report::{Check, done, equal, marks, refused};
use crate::image::thread::mark;
use sel4_abi::label;

const DOMAINS: u64 = sel4::init_thread::slot::DOMAIN_SET.cptr_bits();

/// The longest duration an entry may have: 56 bits.
const LONGEST: u64 = (1 << 56) - 1;

pub(crate) fn a_thread_in_its_domain_again_runs_first_among_equals(t: &mut Kit) -> Check {
    let one = t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    t.spawn(LOW, [2, 0, 0, 0, 0, 0], marker)?;
    done!(invoke(DOMAINS, label::DOMAIN_SET_SET, &[0], &[one.tcb]));
    rest();
    marks!(1, 2);
    Ok(())
}

pub(crate) fn a_domain_is_given_in_the_stated_order_of_refusals(t: &mut Kit) -> Check {
    let thread = t.thread(LOW, [0; 6], marker)?;
    let set = |words: &[u64], caps: &[u64]| invoke(DOMAINS, label::DOMAIN_SET_SET, words, caps);
    refused!(set(&[], &[thread.tcb]), TruncatedMessage);
    // Before the thread is asked for.
    refused!(set(&[1], &[]), InvalidArgument, 0);
    refused!(set(&[u64::MAX], &[thread.sc]), InvalidArgument, 0);
    refused!(set(&[0], &[]), TruncatedMessage);
    refused!(set(&[0], &[thread.sc]), InvalidArgument, 1);
    done!(set(&[0], &[thread.tcb]));
    done!(set(&[0], &[TCB]));
    Ok(())
}

pub(crate) fn the_domain_schedule_refuses_in_the_stated_order(_: &mut Kit) -> Check {
    let configure = |words: &[u64]| invoke(DOMAINS, label::DOMAIN_SCHEDULE_CONFIGURE, words, &[]);
    refused!(configure(&[1, 1]), TruncatedMessage);
    // Entry 1 is the end marker, whatever it is to become.
    refused!(configure(&[1, 0, 5]), RangeError, 0, 0);
    refused!(configure(&[u64::MAX, 1, 0]), RangeError, 0, 0);
    refused!(configure(&[0, 1, 0]), RangeError, 0, 0);
    refused!(configure(&[0, 0, 0]), InvalidArgument, 2);
    refused!(configure(&[0, 0, LONGEST + 1]), InvalidArgument, 2);
    let start = |words: &[u64]| invoke(DOMAINS, label::DOMAIN_SCHEDULE_SET_START, words, &[]);
    refused!(start(&[]), TruncatedMessage);
    refused!(start(&[2]), RangeError, 0, 1);
    refused!(start(&[1]), InvalidArgument, 0);
    let after = label::DOMAIN_SCHEDULE_SET_START + 1;
    refused!(invoke(DOMAINS, after, &[0, 0, 5], &[]), IllegalOperation);
    Ok(())
}

pub(crate) fn a_domain_schedule_of_one_entry_is_set_and_started_again(t: &mut Kit) -> Check {
    let copy = t.copy(DOMAINS, 15)?;
    for duration in [1, LONGEST] {
        for authority in [DOMAINS, copy] {
            let entry = [0, 0, duration];
            let configure = label::DOMAIN_SCHEDULE_CONFIGURE;
            equal!(done!(invoke(authority, configure, &entry, &[])).length, 0);
            let start = label::DOMAIN_SCHEDULE_SET_START;
            equal!(done!(invoke(authority, start, &[0], &[])).length, 0);
        }
    }
    Ok(())
}

pub(crate) fn the_threads_go_on_when_the_domain_schedule_starts_again(t: &mut Kit) -> Check {
    // A duration of one tick is long over when the threads have run: the only domain begins again.
    let entry = [0, 0, 1];
    done!(invoke(
        DOMAINS,
        label::DOMAIN_SCHEDULE_CONFIGURE,
        &entry,
        &[]
    ));
    t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    done!(invoke(DOMAINS, label::DOMAIN_SCHEDULE_SET_START, &[0], &[]));
    mark(0);
    t.spawn(HIGH, [2, 0, 0, 0, 0, 0], marker)?;
    rest();
    marks!(0, 2, 1);
    Ok(())
}
