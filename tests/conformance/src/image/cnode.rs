//! Slots: copying, moving, deleting, and who is derived from whom.

use super::kit::{Answer, CNODE, Kit, TCB, cnode, delete, invoke, is_empty, kind, retype, revoke};
use super::report::{Check, done, ensure, equal, refused};
use sel4_abi::{label, object};

fn copy(dest: u64, words: &[u64]) -> Answer {
    cnode(label::CNODE_COPY, dest, words, &[CNODE])
}

fn rotate(dest: u64, pivot: u64, source: u64) -> Answer {
    cnode(
        label::CNODE_ROTATE,
        dest,
        &[0, pivot, 64, 0, source, 64],
        &[CNODE; 2],
    )
}

pub(crate) fn cnode_operations_refuse_in_the_stated_order(t: &mut Kit) -> Check {
    let (ep, empty, other) = (t.ep()?, t.slot(), t.slot());
    refused!(
        invoke(CNODE, label::TCB_SUSPEND, &[], &[]),
        IllegalOperation
    );
    refused!(
        invoke(CNODE, label::CNODE_DELETE, &[ep], &[]),
        TruncatedMessage
    );
    for depth in [0, 65, u64::MAX] {
        refused!(
            invoke(CNODE, label::CNODE_DELETE, &[ep, depth], &[]),
            RangeError,
            1,
            64
        );
    }
    refused!(copy(empty, &[ep]), TruncatedMessage);
    refused!(copy(ep, &[other, 64]), DeleteFirst);
    refused!(copy(empty, &[other, 64]), FailedLookup, 1, 2, 64);
    refused!(copy(empty, &[ep, 64]), TruncatedMessage);
    refused!(
        cnode(label::CNODE_MINT, empty, &[ep, 64, 15], &[CNODE]),
        TruncatedMessage
    );
    refused!(
        cnode(label::CNODE_MUTATE, empty, &[ep, 64], &[CNODE]),
        TruncatedMessage
    );
    refused!(
        cnode(label::CNODE_COPY, empty, &[ep, 64, 15], &[ep]),
        FailedLookup,
        1,
        1
    );
    done!(copy(empty, &[ep, 64, 15]));
    Ok(())
}

pub(crate) fn a_lookup_that_fails_tells_where(t: &mut Kit) -> Check {
    let guard = super::kit::GUARD;
    let inner = t.make(object::CAP_TABLE, 4)?;
    // Guard mismatch, depth mismatch, and bits left over.
    let delete = |cap, index, depth| invoke(cap, label::CNODE_DELETE, &[index, depth], &[]);
    refused!(delete(CNODE, 1 << 50, 64), FailedLookup, 0, 4, 64, 0, guard);
    refused!(delete(inner, 0, 3), FailedLookup, 0, 3, 3, 4);
    refused!(delete(inner, 0, 6), FailedLookup, 0, 3, 2, 0);
    done!(delete(inner, 3, 4));
    Ok(())
}

pub(crate) fn a_moved_capability_leaves_its_slot(t: &mut Kit) -> Check {
    let (ep, to) = (t.ep()?, t.slot());
    done!(cnode(label::CNODE_MOVE, to, &[ep, 64], &[CNODE]));
    ensure!(is_empty(ep));
    ensure!(!is_empty(to));
    Ok(())
}

pub(crate) fn a_badge_is_given_once(t: &mut Kit) -> Check {
    let (ep, to) = (t.ep()?, t.slot());
    let badged = t.mint(ep, 15, 3)?;
    let mint = cnode(label::CNODE_MINT, to, &[badged, 64, 15, 4], &[CNODE]);
    refused!(mint, IllegalOperation);
    done!(copy(to, &[badged, 64, 15]));
    Ok(())
}

pub(crate) fn mutate_gives_a_cnode_a_guard_and_an_endpoint_nothing(t: &mut Kit) -> Check {
    let (ep, to) = (t.ep()?, t.slot());
    refused!(
        cnode(label::CNODE_MUTATE, to, &[ep, 64, 0], &[CNODE]),
        IllegalOperation
    );
    let table = t.make(object::CAP_TABLE, 4)?;
    // Size 60, value 0: whole words are addresses.
    done!(cnode(label::CNODE_MUTATE, to, &[table, 64, 60], &[CNODE]));
    ensure!(is_empty(table));
    done!(invoke(to, label::CNODE_DELETE, &[3, 64], &[]));
    refused!(
        invoke(to, label::CNODE_DELETE, &[3 | 1 << 10, 64], &[]),
        FailedLookup,
        0,
        4,
        64,
        0,
        60
    );
    Ok(())
}

pub(crate) fn a_guard_that_does_not_fit_is_refused(t: &mut Kit) -> Check {
    let (table, to) = (t.make(object::CAP_TABLE, 4)?, t.slot());
    let mint = |data| cnode(label::CNODE_MINT, to, &[table, 64, 15, data], &[CNODE]);
    refused!(mint(61), IllegalOperation);
    done!(mint(60));
    Ok(())
}

pub(crate) fn what_cannot_be_copied_is_refused(t: &mut Kit) -> Check {
    let (to, table) = (t.slot(), t.make(object::X86_PAGE_TABLE, 0)?);
    let slots = sel4::init_thread::slot::IRQ_CONTROL.cptr_bits();
    let ports = sel4::init_thread::slot::IO_PORT_CONTROL.cptr_bits();
    let space = t.make(object::X64_PML4, 0)?;
    let levels = [
        t.make(object::X86_PDPT, 0)?,
        t.make(object::X86_PAGE_DIRECTORY, 0)?,
    ];
    for source in [slots, ports, table, space, levels[0], levels[1]] {
        refused!(copy(to, &[source, 64, 15]), IllegalOperation);
    }
    Ok(())
}

pub(crate) fn rotate_refuses_in_the_stated_order(t: &mut Kit) -> Check {
    let (a, b, c) = (t.make(object::TCB, 0)?, t.sc()?, t.reply()?);
    let (empty, other) = (t.slot(), t.slot());
    let short = cnode(label::CNODE_ROTATE, empty, &[0, a, 64, 0, b], &[CNODE; 2]);
    refused!(short, TruncatedMessage);
    refused!(rotate(empty, a, a), IllegalOperation);
    refused!(rotate(a, a, b), IllegalOperation);
    refused!(rotate(c, a, b), DeleteFirst);
    refused!(rotate(empty, a, other), FailedLookup, 1, 2, 64);
    refused!(rotate(empty, other, a), FailedLookup, 0, 2, 64);
    let ep = t.ep()?;
    refused!(rotate(empty, a, ep), IllegalOperation);
    Ok(())
}

pub(crate) fn rotate_moves_two_capabilities_or_swaps_them(t: &mut Kit) -> Check {
    let (a, b, empty) = (t.make(object::TCB, 0)?, t.sc()?, t.slot());
    let (tcb, sc) = (kind(a), kind(b));
    // b to a's place, a to the empty slot.
    done!(rotate(empty, a, b));
    equal!(kind(empty), tcb);
    equal!(kind(a), sc);
    ensure!(is_empty(b));
    // The source is the destination: they change places.
    done!(rotate(a, empty, a));
    equal!(kind(a), tcb);
    equal!(kind(empty), sc);
    Ok(())
}

pub(crate) fn revoke_takes_badged_children_and_their_copies(t: &mut Kit) -> Check {
    let ep = t.ep()?;
    let one = t.mint(ep, 15, 1)?;
    let two = t.mint(ep, 15, 2)?;
    let copy = t.copy(one, 15)?;
    revoke(one)?;
    ensure!(is_empty(copy));
    ensure!(!is_empty(two));
    ensure!(!is_empty(one));
    revoke(ep)?;
    ensure!(is_empty(one));
    ensure!(is_empty(two));
    ensure!(!is_empty(ep));
    Ok(())
}

pub(crate) fn a_plain_copy_is_no_child_of_its_source_but_of_the_original(t: &mut Kit) -> Check {
    let tcb = t.make(object::TCB, 0)?;
    let copy = t.copy(tcb, 15)?;
    let second = t.copy(copy, 15)?;
    revoke(copy)?;
    ensure!(!is_empty(second));
    ensure!(!is_empty(tcb));
    revoke(tcb)?;
    ensure!(is_empty(copy));
    ensure!(is_empty(second));
    Ok(())
}

pub(crate) fn the_last_capability_destroys_the_object(t: &mut Kit) -> Check {
    let table = t.make(object::CAP_TABLE, 4)?;
    let (ep, second) = (t.ep()?, t.copy(table, 15)?);
    done!(invoke(table, label::CNODE_MOVE, &[3, 4, ep, 64], &[CNODE]));
    delete(table)?;
    // Still there by the other capability.
    done!(cnode(label::CNODE_MOVE, ep, &[3, 4], &[second]));
    done!(invoke(second, label::CNODE_MOVE, &[3, 4, ep, 64], &[CNODE]));
    delete(second)?;
    ensure!(is_empty(ep));
    Ok(())
}

pub(crate) fn deleting_an_empty_slot_succeeds(t: &mut Kit) -> Check {
    delete(t.slot())
}

pub(crate) fn two_levels_of_cnodes_resolve_one_after_the_other(t: &mut Kit) -> Check {
    let (outer, inner) = (t.make(object::CAP_TABLE, 4)?, t.make(object::CAP_TABLE, 8)?);
    let ep = t.ep()?;
    done!(invoke(
        outer,
        label::CNODE_COPY,
        &[5, 4, inner, 64, 15],
        &[CNODE]
    ));
    done!(invoke(
        outer,
        label::CNODE_COPY,
        &[0x5ab, 12, ep, 64, 15],
        &[CNODE]
    ));
    let to = t.slot();
    done!(cnode(label::CNODE_MOVE, to, &[0xab, 8], &[inner]));
    equal!(kind(to), kind(ep));
    Ok(())
}

pub(crate) fn cnodes_that_hold_each_other_can_be_deleted(t: &mut Kit) -> Check {
    let (a, b) = (t.make(object::CAP_TABLE, 5)?, t.make(object::CAP_TABLE, 5)?);
    done!(invoke(a, label::CNODE_COPY, &[31, 5, a, 64, 15], &[CNODE]));
    done!(invoke(a, label::CNODE_COPY, &[30, 5, b, 64, 15], &[CNODE]));
    done!(invoke(b, label::CNODE_MOVE, &[31, 5, a, 64], &[CNODE]));
    delete(b)?;
    ensure!(is_empty(b));
    Ok(())
}

pub(crate) fn a_tree_of_two_thousand_capabilities_is_revoked(t: &mut Kit) -> Check {
    let (ep, table) = (t.ep()?, t.make(object::CAP_TABLE, 11)?);
    for n in 0..2048 {
        let words = [n, 11, ep, 64, 15, 1 + n % 7];
        done!(invoke(table, label::CNODE_MINT, &words, &[CNODE]));
    }
    revoke(ep)?;
    for n in [0, 1, 1000, 2047] {
        refused!(
            cnode(label::CNODE_MOVE, ep + 1000, &[n, 11], &[table]),
            FailedLookup,
            1,
            2,
            11
        );
    }
    Ok(())
}

pub(crate) fn revoking_memory_takes_everything_made_of_it(t: &mut Kit) -> Check {
    let memory = t.make(object::UNTYPED, 20)?;
    let first = t.slots(8);
    for (n, ty) in [
        object::TCB,
        object::ENDPOINT,
        object::CAP_TABLE,
        object::X86_4K,
    ]
    .iter()
    .enumerate()
    {
        done!(retype(memory, *ty, 4, first + n as u64));
        done!(copy(first + 4 + n as u64, &[first + n as u64, 64, 15]));
    }
    revoke(memory)?;
    for slot in first..first + 8 {
        ensure!(is_empty(slot));
    }
    ensure!(!is_empty(TCB));
    Ok(())
}

pub(crate) fn rights_only_shrink(t: &mut Kit) -> Check {
    let ep = t.ep()?;
    let weak = t.copy(ep, 2)?;
    let more = t.copy(weak, 15)?;
    refused!(invoke(more, 0, &[], &[]), InvalidCapability, 0);
    Ok(())
}

pub(crate) fn a_moved_capability_keeps_its_place_in_the_tree(t: &mut Kit) -> Check {
    let (ep, elsewhere, later) = (t.ep()?, t.slot(), t.slot());
    let child = t.mint(ep, 15, 1)?;
    done!(cnode(label::CNODE_MOVE, elsewhere, &[child, 64], &[CNODE]));
    done!(cnode(label::CNODE_MOVE, later, &[ep, 64], &[CNODE]));
    ensure!(!is_empty(elsewhere));
    revoke(later)?;
    ensure!(is_empty(elsewhere));
    ensure!(!is_empty(later));
    Ok(())
}

pub(crate) fn a_mutated_capability_keeps_its_place_in_the_tree(t: &mut Kit) -> Check {
    let (table, to) = (t.make(object::CAP_TABLE, 4)?, t.slot());
    let copy = t.copy(table, 15)?;
    done!(cnode(label::CNODE_MUTATE, to, &[copy, 64, 60], &[CNODE]));
    revoke(table)?;
    ensure!(is_empty(to));
    Ok(())
}

pub(crate) fn rights_matter_to_no_other_kind(t: &mut Kit) -> Check {
    let (tcb, sc) = (t.make(object::TCB, 0)?, t.sc()?);
    let table = t.make(object::CAP_TABLE, 4)?;
    let [tcb, sc, table] = [t.copy(tcb, 0)?, t.copy(sc, 0)?, t.copy(table, 0)?];
    done!(invoke(tcb, label::TCB_SUSPEND, &[], &[]));
    done!(invoke(sc, label::SCHED_CONTEXT_CONSUMED, &[], &[]));
    done!(invoke(
        table,
        label::CNODE_COPY,
        &[3, 4, TCB, 64, 15],
        &[CNODE]
    ));
    let control = t.copy(t.sched_control, 0)?;
    let words = [20, 20, 0, 0, 0];
    let configure = label::SCHED_CONTROL_CONFIGURE_FLAGS;
    done!(invoke(control, configure, &words, &[sc]));
    Ok(())
}

pub(crate) fn an_original_of_any_kind_takes_its_copies(t: &mut Kit) -> Check {
    let control = t.sched_control;
    for source in [t.sc()?, t.reply()?, t.make(object::CAP_TABLE, 1)?, control] {
        let copy = t.copy(source, 15)?;
        let second = t.copy(copy, 15)?;
        revoke(source)?;
        ensure!(is_empty(copy));
        ensure!(is_empty(second));
        ensure!(!is_empty(source));
    }
    Ok(())
}

pub(crate) fn control_of_time_spaces_and_domains_can_be_copied(t: &mut Kit) -> Check {
    let asids = sel4::init_thread::slot::ASID_CONTROL.cptr_bits();
    let pool = sel4::init_thread::slot::ASID_POOL.cptr_bits();
    let domains = sel4::init_thread::slot::DOMAIN_SET.cptr_bits();
    for source in [t.sched_control, asids, pool, domains] {
        let copy = t.copy(source, 15)?;
        equal!(kind(copy), kind(source));
    }
    Ok(())
}

pub(crate) fn a_badge_is_nothing_to_a_reply_object(t: &mut Kit) -> Check {
    let object = t.reply()?;
    let badged = t.mint(object, 15, 77)?;
    equal!(kind(badged), kind(object));
    let moved = t.slot();
    done!(cnode(label::CNODE_MOVE, moved, &[badged, 64], &[CNODE]));
    equal!(kind(moved), kind(object));
    Ok(())
}
