//! Untyped memory against a model that only knows a watermark.

use super::world::{Answer, World};
use crate::cap::Cap;
use crate::mem::{Page, Ref};
use crate::object::untyped::aligned_start;
use proptest::prelude::*;
use sel4_abi::boot_info::slot as fixed;
use sel4_abi::{Error, label, object};

proptest! {
    #![proptest_config(super::cases(64))]

    #[test]
    fn an_aligned_start_is_the_first_fitting_place(base in 0u64..1 << 20, free in 0u64..1 << 12, bits in 4u64..20) {
        let base = base << 20;
        let start = aligned_start(base, free, bits);
        prop_assert_eq!(start % (1 << bits), 0);
        prop_assert!(start >= base + (free << 4));
        prop_assert!(start - (base + (free << 4)) < 1 << bits);
    }

    #[test]
    fn objects_follow_each_other_in_aligned_places_until_the_memory_is_full(
        requests in prop::collection::vec((4u64..14, 1u64..5), 1..40), revoke_at in 0usize..40
    ) {
        let mut w = World::new();
        let memory = w.make(object::UNTYPED, 16);
        let Cap::Untyped { base, .. } = w.cap(memory) else { panic!("no untyped") };
        let mut watermark = base;
        for (n, (bits, count)) in requests.into_iter().enumerate() {
            if n == revoke_at {
                w.revoke(memory);
                watermark = base;
            }
            let slot = w.next_slot;
            w.next_slot += count;
            let words = [object::UNTYPED, bits, 0, 0, slot, count];
            let answer = w.call(memory, label::UNTYPED_RETYPE, &words, &[fixed::CNODE]);
            let left = base + (1 << 16) - watermark;
            if left >> bits < count {
                prop_assert_eq!(answer, Answer::error(Error::NotEnoughMemory, &[left]));
                continue;
            }
            answer.ok();
            let first = watermark.next_multiple_of(1 << bits);
            for n in 0..count {
                let Cap::Untyped { base, bits: found, .. } = w.cap(slot + n) else { panic!("no untyped") };
                prop_assert_eq!((base, u64::from(found)), (first + (n << bits), bits));
            }
            watermark = first + (count << bits);
        }
        w.check();
    }

    #[test]
    fn whatever_is_made_of_memory_begins_as_zeroes(
        steps in prop::collection::vec((0u8..6, 1u64..5), 1..60), every in 0u32..4
    ) {
        const BITS: u64 = 15;
        let mut w = World::new();
        let memory = w.make(object::UNTYPED, BITS);
        let Cap::Untyped { base, .. } = w.cap(memory) else { panic!("no untyped") };
        // Nobody knows what is in it at power-on.
        crate::mem::write_bytes(base, &[0xff; 1 << BITS]);
        w.kernel.machine.pending_every = every;
        // Each made of the one before.
        let mut untyped = vec![memory];
        for (step, count) in steps {
            let from = untyped[untyped.len() - 1];
            let (ty, bits) = match step {
                0 => {
                    w.revoke(memory);
                    untyped.truncate(1);
                    continue;
                }
                1 => {
                    w.revoke(from);
                    continue;
                }
                2 => (object::UNTYPED, 11 + count % 3),
                _ => (object::X86_4K, 0),
            };
            let count = if ty == object::UNTYPED { 1 } else { count };
            let slot = w.next_slot;
            let words = [ty, bits, 0, 0, slot, count];
            if w.call(from, label::UNTYPED_RETYPE, &words, &[fixed::CNODE]).label != 0 {
                continue;
            }
            w.next_slot += count;
            for n in slot..slot + count {
                match w.cap(n) {
                    Cap::Frame { base, .. } => {
                        prop_assert!(crate::mem::bytes(base, 4096).iter().all(|&byte| byte == 0));
                        crate::mem::write_bytes(base, &[0xff; 4096]);
                    }
                    _ => untyped.push(n),
                }
            }
        }
        w.check();
    }
}

#[test]
fn memory_is_zero_when_it_is_given_out_again() {
    let mut w = World::new();
    let memory = w.make(object::UNTYPED, 14);
    let frame = w.retype(memory, object::X86_4K, 0);
    let base = w.frame(frame);
    crate::mem::write_bytes(base, &[0xff; 4096]);
    w.delete(frame);
    let again = w.retype(memory, object::X86_4K, 0);
    assert_eq!(w.frame(again), base);
    assert!(crate::mem::bytes(base, 4096).iter().all(|&byte| byte == 0));
}

#[test]
fn memory_that_was_used_up_is_zeroed_once_by_its_reset() {
    let mut w = World::new();
    let memory = w.make(object::UNTYPED, 14);
    let is_dirty = |w: &World| matches!(w.cap(memory), Cap::Untyped { dirty: true, .. });
    let Cap::Untyped { base, .. } = w.cap(memory) else {
        panic!("no untyped")
    };
    let fill = |w: &mut World, frames| {
        for _ in 0..frames {
            let frame = w.retype(memory, object::X86_4K, 0);
            crate::mem::write_bytes(w.frame(frame), &[0xff; 4096]);
        }
        w.revoke(memory);
        w.retype(memory, object::ENDPOINT, 0);
    };
    fill(&mut w, 3);
    assert!(is_dirty(&w), "its last page was never used");
    w.revoke(memory);
    fill(&mut w, 4);
    assert!(!is_dirty(&w));
    let all = crate::mem::bytes(base, 1 << 14);
    assert!(all.iter().all(|&byte| byte == 0));
    let small = w.retype(memory, object::UNTYPED, 12);
    assert!(matches!(w.cap(small), Cap::Untyped { dirty: false, .. }));
    w.check();
}

#[test]
fn a_preempted_reset_goes_on_where_it_stopped() {
    let mut w = World::new();
    let memory = w.make(object::UNTYPED, 21);
    let cnode = w.retype(memory, object::CAP_TABLE, 15);
    w.delete(cnode);
    w.kernel.machine.pending = true;
    let small = w.retype(memory, object::ENDPOINT, 0);
    let Cap::Untyped { free, base, .. } = w.cap(memory) else {
        panic!("no untyped")
    };
    assert_eq!(free, 1);
    assert_eq!(w.cap(small).extent(), Some((base, base + 16)));
    w.check();
}

#[test]
fn retype_refuses_in_the_stated_order() {
    let mut w = World::new();
    let memory = w.make(object::UNTYPED, 12);
    let table = w.make(object::CAP_TABLE, 4);
    let ask = |w: &mut World, words: &[u64], caps: &[u64]| {
        w.call(memory, label::UNTYPED_RETYPE, words, caps)
    };
    let error = Answer::error;
    let range = |min, max| Answer::error(Error::RangeError, &[min, max]);
    let into = [fixed::CNODE];
    assert_eq!(
        w.call(memory, label::CNODE_COPY, &[], &[]),
        error(Error::IllegalOperation, &[])
    );
    assert_eq!(
        ask(&mut w, &[99, 99, 99, 99, 99], &into),
        error(Error::TruncatedMessage, &[])
    );
    assert_eq!(
        ask(&mut w, &[99, 99, 99, 99, 99, 0], &[]),
        error(Error::TruncatedMessage, &[])
    );
    assert_eq!(
        ask(&mut w, &[20, 99, 99, 99, 99, 0], &into),
        error(Error::InvalidArgument, &[0])
    );
    assert_eq!(ask(&mut w, &[0, 64, 99, 99, 99, 0], &into), range(0, 47));
    assert_eq!(ask(&mut w, &[0, 48, 99, 99, 99, 0], &into), range(0, 47));
    assert_eq!(
        ask(&mut w, &[object::CAP_TABLE, 43, 99, 99, 99, 0], &into),
        range(0, 47)
    );
    for (ty, bits) in [
        (object::CAP_TABLE, 0),
        (object::UNTYPED, 3),
        (object::SCHED_CONTEXT, 6),
        (object::SHADOW_POOL, 4),
    ] {
        assert_eq!(
            ask(&mut w, &[ty, bits, 0, 99, 99, 0], &into),
            error(Error::InvalidArgument, &[1])
        );
    }
    assert_eq!(ask(&mut w, &[2, 0, 0, 65, 99, 0], &into), range(1, 64));
    assert_eq!(
        ask(&mut w, &[2, 0, memory, 64, 99, 0], &into),
        error(Error::FailedLookup, &[0, 2, 64])
    );
    assert_eq!(ask(&mut w, &[2, 0, 0, 0, 16, 0], &[table]), range(0, 15));
    assert_eq!(ask(&mut w, &[2, 0, table, 64, 15, 0], &into), range(1, 256));
    assert_eq!(
        ask(&mut w, &[2, 0, table, 64, 15, 257], &into),
        range(1, 256)
    );
    assert_eq!(ask(&mut w, &[2, 0, table, 64, 15, 2], &into), range(1, 1));
    ask(&mut w, &[2, 0, table, 64, 15, 1], &into).ok();
    assert_eq!(
        ask(
            &mut w,
            &[object::X86_LARGE_PAGE, 0, table, 64, 14, 2],
            &into
        ),
        error(Error::DeleteFirst, &[])
    );
    let left = 4096 - 16;
    assert_eq!(
        ask(&mut w, &[object::X86_4K, 0, table, 64, 1, 1], &into),
        error(Error::NotEnoughMemory, &[left])
    );
    let device = w.untyped.clone().find(|&slot| {
        matches!(
            w.cap(slot),
            Cap::Untyped {
                device: true,
                bits: 20..,
                ..
            }
        )
    });
    let words = [object::ENDPOINT, 0, table, 64, 1, 1];
    let answer = w.call(
        device.expect("device memory"),
        label::UNTYPED_RETYPE,
        &words,
        &into,
    );
    assert_eq!(answer, error(Error::InvalidArgument, &[1]));
    w.check();
}

#[test]
fn device_memory_is_given_out_with_what_is_in_it() {
    let mut w = World::new();
    let below_ram = w.untyped.clone().find_map(|slot| match w.cap(slot) {
        Cap::Untyped {
            device: true, base, ..
        } if base < 0x10_0000 => Some((slot, base)),
        _ => None,
    });
    let (slot, base) =
        below_ram.expect("memory that the test machine has and the kernel does not use");
    // The second page: the first may be that at address 0.
    let page: Ref<Page> = Ref::at(base + 4096);
    page.0[5].set(0x5eed);
    for _ in 0..2 {
        w.retype(slot, object::X86_4K, 0);
        let frame = w.retype(slot, object::X86_4K, 0);
        assert!(matches!(w.cap(frame), Cap::Frame { device: true, .. }));
        w.revoke(slot);
        assert_eq!(page.0[5].get(), 0x5eed);
    }
    w.check();
}
