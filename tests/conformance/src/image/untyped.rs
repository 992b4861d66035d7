//! Memory: what it can be made into, and when it can be used again.
#![allow(unsafe_code)] // looks at frames

use super::kit::{Answer, CNODE, Kit, cnode, delete, invoke, is_empty, retype};
use super::report::{Check, done, ensure, equal, refused};
use sel4_abi::{label, object};

fn ask(untyped: u64, words: &[u64], caps: &[u64]) -> Answer {
    invoke(untyped, label::UNTYPED_RETYPE, words, caps)
}

pub(crate) fn retype_refuses_in_the_stated_order(t: &mut Kit) -> Check {
    let (memory, table) = (t.make(object::UNTYPED, 14)?, t.make(object::CAP_TABLE, 4)?);
    let full = t.ep()?;
    let slot = t.slot();
    refused!(
        invoke(memory, label::TCB_SUSPEND, &[], &[]),
        IllegalOperation
    );
    refused!(ask(memory, &[0; 5], &[CNODE]), TruncatedMessage);
    refused!(ask(memory, &[0; 6], &[]), TruncatedMessage);
    refused!(
        ask(memory, &[99, 0, 0, 0, 0, 0], &[full]),
        InvalidArgument,
        0
    );
    for bits in [48, 64, u64::MAX] {
        refused!(
            ask(memory, &[object::UNTYPED, bits, 0, 0, 0, 0], &[full]),
            RangeError,
            0,
            47
        );
    }
    for (ty, bits) in [
        (object::CAP_TABLE, 0),
        (object::UNTYPED, 3),
        (object::SCHED_CONTEXT, 6),
    ] {
        refused!(
            ask(memory, &[ty, bits, 0, 0, 0, 0], &[full]),
            InvalidArgument,
            1
        );
    }
    let ep = object::ENDPOINT;
    refused!(
        ask(memory, &[ep, 0, 0, 0, 0, 0], &[full]),
        FailedLookup,
        0,
        2,
        0
    );
    refused!(
        ask(memory, &[ep, 0, full, 64, 0, 0], &[CNODE]),
        FailedLookup,
        0,
        2,
        64
    );
    refused!(
        ask(memory, &[ep, 0, 0, 0, 16, 0], &[table]),
        RangeError,
        0,
        15
    );
    for count in [0, 257] {
        refused!(
            ask(memory, &[ep, 0, 0, 0, 15, count], &[table]),
            RangeError,
            1,
            256
        );
    }
    refused!(
        ask(memory, &[ep, 0, 0, 0, 14, 3], &[table]),
        RangeError,
        1,
        2
    );
    refused!(ask(memory, &[ep, 0, 0, 0, full, 1], &[CNODE]), DeleteFirst);
    refused!(
        ask(memory, &[object::UNTYPED, 15, 0, 0, slot, 1], &[CNODE]),
        NotEnoughMemory,
        1 << 14
    );
    done!(ask(memory, &[ep, 0, 0, 0, 0, 16], &[table]));
    Ok(())
}

pub(crate) fn every_type_can_be_made(t: &mut Kit) -> Check {
    for (ty, bits) in [
        (object::UNTYPED, 4),
        (object::TCB, 0),
        (object::ENDPOINT, 0),
        (object::NOTIFICATION, 0),
        (object::CAP_TABLE, 1),
        (object::SCHED_CONTEXT, 7),
        (object::REPLY, 0),
        (object::X86_PDPT, 0),
        (object::X64_PML4, 0),
        (object::X86_4K, 0),
        (object::X86_LARGE_PAGE, 0),
        (object::X86_PAGE_TABLE, 0),
        (object::X86_PAGE_DIRECTORY, 0),
    ] {
        let slot = t.make(ty, bits)?;
        ensure!(!is_empty(slot));
    }
    Ok(())
}

pub(crate) fn memory_is_used_up_and_free_again_when_it_has_no_children(t: &mut Kit) -> Check {
    let memory = t.make(object::UNTYPED, 12)?;
    let (one, two) = (t.slot(), t.slot());
    done!(retype(memory, object::UNTYPED, 11, one));
    done!(retype(memory, object::UNTYPED, 11, two));
    let slot = t.slot();
    refused!(
        retype(memory, object::ENDPOINT, 0, slot),
        NotEnoughMemory,
        0
    );
    delete(one)?;
    refused!(
        retype(memory, object::ENDPOINT, 0, slot),
        NotEnoughMemory,
        0
    );
    delete(two)?;
    done!(retype(memory, object::X86_4K, 0, slot));
    Ok(())
}

pub(crate) fn objects_of_one_call_lie_in_the_order_of_their_slots(t: &mut Kit) -> Check {
    let memory = t.make(object::UNTYPED, 16)?;
    let first = t.slots(4);
    done!(ask(memory, &[object::X86_4K, 0, 0, 0, first, 4], &[CNODE]));
    let at = |slot| invoke(slot, label::X86_PAGE_GET_ADDRESS, &[], &[]).words[0];
    for n in 1..4 {
        equal!(at(first + n), at(first) + 4096 * n);
    }
    Ok(())
}

pub(crate) fn memory_used_again_is_zero(t: &mut Kit) -> Check {
    let memory = t.make(object::UNTYPED, 12)?;
    let slot = t.slot();
    for round in 0..2u64 {
        done!(retype(memory, object::X86_4K, 0, slot));
        let address = super::thread::BUFFERS + 0x10_0000;
        done!(invoke(
            slot,
            label::X86_PAGE_MAP,
            &[address, 3, 0],
            &[super::kit::VSPACE]
        ));
        for n in 0..512 {
            let word = (address + 8 * n) as *mut u64;
            // SAFETY: the frame is mapped there, writable, and nothing else uses it.
            unsafe {
                equal!(word.read_volatile(), 0);
                word.write_volatile(round + 1);
            }
        }
        delete(slot)?;
    }
    Ok(())
}

pub(crate) fn an_untyped_with_children_is_not_copied(t: &mut Kit) -> Check {
    let memory = t.make(object::UNTYPED, 13)?;
    let (child, to) = (t.slot(), t.slot());
    let copy = || cnode(label::CNODE_COPY, to, &[memory, 64, 15], &[CNODE]);
    done!(retype(memory, object::ENDPOINT, 0, child));
    refused!(copy(), RevokeFirst);
    delete(child)?;
    done!(copy());
    // The original has given everything to its copy.
    refused!(
        retype(memory, object::ENDPOINT, 0, child),
        NotEnoughMemory,
        0
    );
    done!(retype(to, object::ENDPOINT, 0, child));
    Ok(())
}

pub(crate) fn copied_memory_is_taken_back_with_all_made_of_it_and_copied_again(
    t: &mut Kit,
) -> Check {
    let memory = t.make(object::UNTYPED, 16)?;
    let (copy, table, frame) = (t.slot(), t.slot(), t.slot());
    let place = super::thread::BUFFERS + 0x10_0000;
    for _ in 0..3 {
        done!(cnode(label::CNODE_COPY, copy, &[memory, 64, 15], &[CNODE]));
        // A CNode that holds itself and what is made of the copy.
        done!(retype(copy, object::CAP_TABLE, 4, table));
        let into = |slot, source| {
            let words = [slot, 4, source, 64, 15];
            invoke(table, label::CNODE_COPY, &words, &[CNODE])
        };
        done!(into(1, table));
        done!(ask(copy, &[object::TCB, 0, 0, 0, 2, 4], &[table]));
        done!(ask(copy, &[object::ENDPOINT, 0, 0, 0, 6, 10], &[table]));
        // Whatever it was before, it is zero.
        done!(retype(copy, object::X86_4K, 0, frame));
        let words = [place, 3, 0];
        done!(invoke(
            frame,
            label::X86_PAGE_MAP,
            &words,
            &[super::kit::VSPACE]
        ));
        for n in 0..512 {
            let word = (place + 8 * n) as *mut u64;
            // SAFETY: the frame is mapped there, writable, and nothing else uses it.
            unsafe {
                equal!(word.read_volatile(), 0);
                word.write_volatile(!0);
            }
        }
        done!(cnode(label::CNODE_REVOKE, memory, &[], &[]));
        for slot in [copy, table, frame] {
            ensure!(is_empty(slot));
        }
    }
    // All of it is there again.
    done!(retype(memory, object::UNTYPED, 16, copy));
    Ok(())
}

pub(crate) fn device_memory_becomes_frames_and_untypeds_alone(t: &mut Kit) -> Check {
    let slot = t.slot();
    refused!(
        retype(t.device, object::ENDPOINT, 0, slot),
        InvalidArgument,
        1
    );
    done!(retype(t.device, object::UNTYPED, 12, slot));
    let frame = t.slot();
    done!(retype(slot, object::X86_4K, 0, frame));
    let (tcb, address) = (t.make(object::TCB, 0)?, 1024);
    refused!(
        invoke(tcb, label::TCB_SET_IPC_BUFFER, &[address], &[frame]),
        IllegalOperation
    );
    delete(frame)?;
    delete(slot)
}

pub(crate) fn every_object_takes_the_room_of_its_size(t: &mut Kit) -> Check {
    for (ty, bits, room) in [
        (object::UNTYPED, 6, 6),
        (object::TCB, 0, 11),
        (object::ENDPOINT, 0, 4),
        (object::NOTIFICATION, 0, 6),
        (object::CAP_TABLE, 3, 8),
        (object::SCHED_CONTEXT, 8, 8),
        (object::REPLY, 0, 5),
        (object::X86_PDPT, 0, 12),
        (object::X64_PML4, 0, 12),
        (object::X86_4K, 0, 12),
        (object::X86_LARGE_PAGE, 0, 21),
        (object::X86_PAGE_TABLE, 0, 12),
        (object::X86_PAGE_DIRECTORY, 0, 12),
    ] {
        // Two fit into twice the room, and then nothing is left.
        let memory = t.make(object::UNTYPED, room + 1)?;
        let first = t.slots(2);
        refused!(
            ask(memory, &[ty, bits, 0, 0, first, 3], &[CNODE]),
            NotEnoughMemory,
            2 << room
        );
        done!(ask(memory, &[ty, bits, 0, 0, first, 2], &[CNODE]));
        let more = t.slot();
        refused!(
            retype(memory, object::ENDPOINT, 0, more),
            NotEnoughMemory,
            0
        );
        for slot in [first, first + 1, memory] {
            delete(slot)?;
        }
    }
    Ok(())
}

pub(crate) fn an_object_lies_at_a_multiple_of_its_size(t: &mut Kit) -> Check {
    let memory = t.make(object::UNTYPED, 14)?;
    let [ep, frame, rest] = [t.slot(), t.slot(), t.slot()];
    done!(retype(memory, object::ENDPOINT, 0, ep));
    done!(retype(memory, object::X86_4K, 0, frame));
    let address = done!(invoke(frame, label::X86_PAGE_GET_ADDRESS, &[], &[])).words[0];
    equal!(address % 4096, 0);
    // What the alignment left out is not given out again.
    refused!(
        retype(memory, object::UNTYPED, 14, rest),
        NotEnoughMemory,
        8192
    );
    Ok(())
}
