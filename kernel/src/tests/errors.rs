//! Error codes in the stated order, for operations that have no file of their own.

use super::world::{Answer, World};
use crate::machine::IrqRoute;
use crate::object::tcb::State;
use crate::syscall::USER_VECTOR_BASE;
use sel4_abi::boot_info::slot as fixed;
use sel4_abi::{Error, fault, label, object, syscall};

fn error(error: Error, words: &[u64]) -> Answer {
    Answer::error(error, words)
}

#[test]
fn cnode_operations_refuse_in_the_stated_order() {
    let mut w = World::new();
    let endpoint = w.make(object::ENDPOINT, 0);
    let empty = w.empty();
    let truncated = error(Error::TruncatedMessage, &[]);
    let cnode = fixed::CNODE;
    assert_eq!(
        w.call(cnode, label::UNTYPED_RETYPE, &[], &[]),
        error(Error::IllegalOperation, &[])
    );
    assert_eq!(w.call(cnode, label::CNODE_COPY, &[0], &[]), truncated);
    assert_eq!(
        w.call(cnode, label::CNODE_COPY, &[0, 0], &[]),
        error(Error::RangeError, &[1, 64])
    );
    assert_eq!(
        w.call(cnode, label::CNODE_DELETE, &[0, 65], &[]),
        error(Error::RangeError, &[1, 64])
    );
    let guard = error(Error::FailedLookup, &[0, 4, 64, 0, 48]);
    assert_eq!(
        w.call(cnode, label::CNODE_DELETE, &[1 << 16, 64], &[]),
        guard
    );
    let deep = error(Error::FailedLookup, &[0, 3, 50, 64]);
    assert_eq!(w.call(cnode, label::CNODE_DELETE, &[0, 50], &[]), deep);
    // Target first, then message, emptiness, source.
    assert_eq!(
        w.cnode(label::CNODE_COPY, endpoint, &[endpoint], &[cnode]),
        truncated
    );
    assert_eq!(
        w.cnode(label::CNODE_COPY, endpoint, &[endpoint, 64], &[]),
        truncated
    );
    assert_eq!(
        w.cnode(label::CNODE_COPY, endpoint, &[empty, 64], &[cnode]),
        error(Error::DeleteFirst, &[])
    );
    let no_root = error(Error::FailedLookup, &[1, 1]);
    assert_eq!(
        w.cnode(label::CNODE_COPY, empty, &[empty, 64], &[endpoint]),
        no_root
    );
    let missing = error(Error::FailedLookup, &[1, 2, 64]);
    assert_eq!(
        w.cnode(label::CNODE_COPY, empty, &[empty, 64], &[cnode]),
        missing
    );
    assert_eq!(
        w.cnode(label::CNODE_COPY, empty, &[endpoint, 64], &[cnode]),
        truncated
    );
    assert_eq!(
        w.cnode(label::CNODE_MINT, empty, &[endpoint, 64, 15], &[cnode]),
        truncated
    );
    assert_eq!(
        w.cnode(label::CNODE_MUTATE, empty, &[endpoint, 64], &[cnode]),
        truncated
    );
    let illegal = error(Error::IllegalOperation, &[]);
    for source in [fixed::IRQ_CONTROL, fixed::IO_PORT_CONTROL] {
        assert_eq!(
            w.cnode(label::CNODE_COPY, empty, &[source, 64, 15], &[cnode]),
            illegal
        );
    }
    let table = w.make(object::X86_PAGE_TABLE, 0);
    assert_eq!(
        w.cnode(label::CNODE_COPY, empty, &[table, 64, 15], &[cnode]),
        illegal
    );
    let badged = w.mint(endpoint, 15, 3);
    assert_eq!(
        w.cnode(label::CNODE_MINT, empty, &[badged, 64, 15, 4], &[cnode]),
        illegal
    );
    w.cnode(label::CNODE_DELETE, empty, &[], &[]).ok();
    // Rotate: source, pivot, sameness, emptiness, what they hold.
    let rotate = |w: &mut World, dest, pivot, source| {
        w.cnode(
            label::CNODE_ROTATE,
            dest,
            &[0, pivot, 64, 0, source, 64],
            &[cnode, cnode],
        )
    };
    assert_eq!(rotate(&mut w, empty, endpoint, endpoint), illegal);
    assert_eq!(rotate(&mut w, endpoint, endpoint, badged), illegal);
    assert_eq!(
        rotate(&mut w, table, badged, endpoint),
        error(Error::DeleteFirst, &[])
    );
    let other = w.empty();
    assert_eq!(rotate(&mut w, empty, badged, other), missing);
    assert_eq!(
        rotate(&mut w, empty, other, badged),
        error(Error::FailedLookup, &[0, 2, 64])
    );
    // What has a badge cannot be rotated, whatever the data; other things can.
    assert_eq!(rotate(&mut w, endpoint, badged, endpoint), illegal);
    assert_eq!(rotate(&mut w, other, table, badged), illegal);
    let frame = w.make(object::X86_4K, 0);
    rotate(&mut w, other, table, frame).ok();
    w.check();
}

#[test]
fn cancelling_badged_sends_needs_all_rights() {
    let mut w = World::new();
    let endpoint = w.make(object::ENDPOINT, 0);
    let weak = w.mint(endpoint, 7, 1);
    let notification = w.make(object::NOTIFICATION, 0);
    for slot in [weak, notification] {
        let answer = w.cnode(label::CNODE_CANCEL_BADGED_SENDS, slot, &[], &[]);
        assert_eq!(answer, error(Error::IllegalOperation, &[]));
    }
    w.cnode(label::CNODE_CANCEL_BADGED_SENDS, endpoint, &[], &[])
        .ok();
}

#[test]
fn mapping_a_page_refuses_in_the_stated_order() {
    let mut w = World::new();
    let frame = w.make(object::X86_4K, 0);
    let large = w.make(object::X86_LARGE_PAGE, 0);
    let space = w.make(object::X64_PML4, 0);
    let map = |w: &mut World, frame, address, space| {
        w.call(frame, label::X86_PAGE_MAP, &[address, 3, 0], &[space])
    };
    let capability = |n| error(Error::InvalidCapability, &[n]);
    let answer = w.call(frame, label::X86_PAGE_MAP, &[0, 3], &[fixed::VSPACE]);
    assert_eq!(answer, error(Error::TruncatedMessage, &[]));
    assert_eq!(map(&mut w, frame, 0, fixed::CNODE), capability(1));
    assert_eq!(map(&mut w, frame, 0, space), capability(1), "no number yet");
    w.call(fixed::ASID_POOL, label::X86_ASID_POOL_ASSIGN, &[], &[space])
        .ok();
    assert_eq!(
        map(&mut w, frame, sel4_abi::USER_TOP, space),
        error(Error::InvalidArgument, &[0])
    );
    assert_eq!(
        map(&mut w, frame, u64::MAX, space),
        error(Error::InvalidArgument, &[0])
    );
    assert_eq!(
        map(&mut w, frame, 8, space),
        error(Error::AlignmentError, &[])
    );
    for (bits_left, ty, table) in [
        (39, object::X86_PDPT, label::X86_PDPT_MAP),
        (
            30,
            object::X86_PAGE_DIRECTORY,
            label::X86_PAGE_DIRECTORY_MAP,
        ),
        (21, object::X86_PAGE_TABLE, label::X86_PAGE_TABLE_MAP),
    ] {
        assert_eq!(
            map(&mut w, frame, 0, space),
            error(Error::FailedLookup, &[0, 2, bits_left])
        );
        let slot = w.make(ty, 0);
        w.call(slot, table, &[0, 0], &[space]).ok();
        assert_eq!(
            w.call(slot, table, &[0, 0], &[space]),
            capability(0),
            "mapped already"
        );
        let another = w.make(ty, 0);
        assert_eq!(
            w.call(another, table, &[0, 0], &[fixed::CNODE]),
            capability(1)
        );
        assert_eq!(
            w.call(another, table, &[1 << 47, 0], &[space]),
            error(Error::InvalidArgument, &[0])
        );
        assert_eq!(
            w.call(another, table, &[0, 0], &[space]),
            error(Error::DeleteFirst, &[])
        );
        let copy = w.copy(slot, 15);
        assert_eq!(
            w.call(slot, table + 1, &[], &[]),
            error(Error::RevokeFirst, &[])
        );
        w.delete(copy);
    }
    map(&mut w, frame, 0, space).ok();
    map(&mut w, frame, 0, space).ok();
    assert_eq!(
        map(&mut w, frame, 0x1000, space),
        error(Error::InvalidArgument, &[0])
    );
    assert_eq!(map(&mut w, frame, 0, fixed::VSPACE), capability(1));
    assert_eq!(map(&mut w, large, 0, space), error(Error::DeleteFirst, &[]));
    let guest = w.make(object::GUEST_PML4, 0);
    w.call(fixed::ASID_POOL, label::X86_ASID_POOL_ASSIGN, &[], &[guest])
        .ok();
    assert_eq!(
        map(&mut w, frame, 0, guest),
        capability(1),
        "a guest's space is no address space"
    );
    w.call(frame, label::X86_PAGE_UNMAP, &[], &[]).ok();
    w.call(frame, label::X86_PAGE_UNMAP, &[], &[]).ok();
    w.check();
}

#[test]
fn interrupt_control_refuses_in_the_stated_order() {
    let mut w = World::new();
    let slot = w.empty();
    let ask = |w: &mut World, words: [u64; 5], slot| {
        let [ioapic, pin, level, polarity, vector] = words;
        let words = [slot, 64, ioapic, pin, level, polarity, vector];
        w.call(
            fixed::IRQ_CONTROL,
            label::X86_IRQ_ISSUE_IRQ_HANDLER_IOAPIC,
            &words,
            &[fixed::CNODE],
        )
    };
    let range = |max| error(Error::RangeError, &[0, max]);
    let answer = w.call(
        fixed::IRQ_CONTROL,
        label::IRQ_ISSUE_IRQ_HANDLER,
        &[0, 0, 64],
        &[fixed::CNODE],
    );
    assert_eq!(answer, error(Error::IllegalOperation, &[]));
    assert_eq!(ask(&mut w, [9, 99, 9, 9, 108], fixed::CNODE), range(107));
    assert_eq!(
        ask(&mut w, [9, 99, 9, 9, 107], fixed::CNODE),
        error(Error::DeleteFirst, &[])
    );
    assert_eq!(ask(&mut w, [9, 99, 9, 9, 107], slot), range(0));
    assert_eq!(ask(&mut w, [0, 24, 9, 9, 107], slot), range(23));
    assert_eq!(ask(&mut w, [0, 23, 2, 9, 107], slot), range(1));
    assert_eq!(ask(&mut w, [0, 23, 1, 2, 107], slot), range(1));
    ask(&mut w, [0, 23, 1, 1, 107], slot).ok();
    assert_eq!(
        ask(&mut w, [0, 23, 1, 1, 107], slot),
        error(Error::RevokeFirst, &[])
    );
    let route = IrqRoute {
        ioapic: 0,
        pin: 23,
        level: true,
        active_low: true,
    };
    assert_eq!(w.kernel.machine.routed, [(route, USER_VECTOR_BASE + 107)]);
    let weak = w.make(object::NOTIFICATION, 0);
    let weak = w.copy(weak, 2);
    for cap in [weak, fixed::CNODE] {
        assert_eq!(
            w.call(slot, label::IRQ_SET_HANDLER, &[], &[cap]),
            error(Error::InvalidCapability, &[0])
        );
    }
    w.delete(slot);
    let answer = w.call(
        fixed::IRQ_CONTROL,
        label::X86_IRQ_ISSUE_IRQ_HANDLER_MSI,
        &[slot, 64, 256, 0, 0, 0, 107],
        &[fixed::CNODE],
    );
    assert_eq!(answer, range(255));
    ask(&mut w, [0, 23, 1, 1, 107], slot).ok();
    w.check();
}

#[test]
fn an_interrupt_is_masked_signalled_and_masked_until_it_is_acknowledged() {
    let mut w = World::new();
    let gate = w.gate();
    let open = |w: &World| !w.kernel.machine.unmasked.is_empty();
    assert!(open(&w), "a pin is open from its issue on, as in seL4");
    for _ in 0..2 {
        w.interrupt();
        assert!(!open(&w));
        w.wait(gate);
        w.call(gate + 1, label::IRQ_ACK, &[], &[]).ok();
        assert!(open(&w));
    }
    w.delete(gate + 1);
    assert!(!open(&w));
    w.interrupt();
    w.check();
}

#[test]
fn a_message_to_a_vector_of_nobody_is_ended_and_no_system_call() {
    let mut w = World::new();
    let (current, rip) = (w.kernel.current, w.current().context.rip.get());
    w.kernel.machine.in_service = Some(200);
    w.kernel.handle_unknown_vector(200);
    w.settle();
    assert_eq!(w.kernel.machine.in_service, None);
    assert!(w.kernel.current == current && current.state.get() == State::Running);
    assert_eq!(current.context.rip.get(), rip);
    // INT 200 is one: a fault, here of a thread without handler.
    w.kernel.handle_unknown_vector(200);
    assert!(current.state.get() != State::Running);
    assert_eq!(current.context.rip.get(), rip.wrapping_sub(2));
}

#[test]
fn a_message_masks_nothing_and_is_silent_without_its_handler() {
    let mut w = World::new();
    w.gate();
    let (one, other, handler) = (
        w.make(object::NOTIFICATION, 0),
        w.make(object::NOTIFICATION, 0),
        w.empty(),
    );
    let issue = |w: &mut World, notification, badge| {
        let words = [handler, 64, 0, 0, 0, 0, 9];
        let control = label::X86_IRQ_ISSUE_IRQ_HANDLER_MSI;
        w.call(fixed::IRQ_CONTROL, control, &words, &[fixed::CNODE])
            .ok();
        let badged = w.mint(notification, 15, badge);
        w.call(handler, label::IRQ_SET_HANDLER, &[], &[badged]).ok();
    };
    // What a message signals.
    let send = |w: &mut World, notification| {
        w.kernel.machine.pending = true;
        w.kernel.handle_interrupt(USER_VECTOR_BASE + 9);
        assert!(!w.kernel.machine.pending, "no end of interrupt");
        w.settle();
        w.current().context.rdi.set(notification);
        w.syscall(syscall::NB_WAIT);
        w.current().context.rdi.get()
    };
    assert_eq!(send(&mut w, one), 0);
    issue(&mut w, one, 5);
    assert_eq!(send(&mut w, one), 5);
    assert_eq!(send(&mut w, one), 5, "not acknowledged");
    w.call(handler, label::IRQ_ACK, &[], &[]).ok();
    assert_eq!(send(&mut w, one), 5);
    w.call(handler, label::IRQ_CLEAR_HANDLER, &[], &[]).ok();
    assert_eq!(send(&mut w, one), 0);
    w.delete(handler);
    assert_eq!(send(&mut w, one), 0);
    issue(&mut w, other, 6);
    assert_eq!(send(&mut w, other), 6);
    assert_eq!(send(&mut w, one), 0);
    assert_eq!(w.kernel.machine.unmasked.len(), 1, "the pin of another");
    w.check();
}

#[test]
fn io_ports_are_issued_once_and_reach_no_further() {
    let mut w = World::new();
    let (slot, other) = (w.empty(), w.empty());
    let issue = |w: &mut World, first, last, slot| {
        w.call(
            fixed::IO_PORT_CONTROL,
            label::X86_IO_PORT_CONTROL_ISSUE,
            &[first, last, slot, 64],
            &[fixed::CNODE],
        )
    };
    assert_eq!(
        issue(&mut w, 0x3ff, 0x3f8, slot),
        error(Error::InvalidArgument, &[1])
    );
    issue(&mut w, 0x3f8, 0x3ff, slot).ok();
    assert_eq!(
        issue(&mut w, 0x3ff, 0x400, fixed::CNODE),
        error(Error::RevokeFirst, &[])
    );
    assert_eq!(
        issue(&mut w, 0x400, 0x400, fixed::CNODE),
        error(Error::DeleteFirst, &[])
    );
    let illegal = error(Error::IllegalOperation, &[]);
    for (label, port) in [
        (label::X86_IO_PORT_IN8, 0x3f7),
        (label::X86_IO_PORT_IN8, 0x400),
        (label::X86_IO_PORT_IN16, 0x3ff),
        (label::X86_IO_PORT_OUT32, 0x3fd),
    ] {
        assert_eq!(w.call(slot, label, &[port, 0], &[]), illegal);
    }
    assert_eq!(
        w.call(slot, label::X86_IO_PORT_OUT8, &[0x3f8], &[]),
        error(Error::TruncatedMessage, &[])
    );
    w.kernel.machine.input = 0x1234_5678;
    assert_eq!(
        w.call(slot, label::X86_IO_PORT_IN16, &[0x3f8], &[]).ok(),
        [0x5678]
    );
    w.call(slot, label::X86_IO_PORT_OUT32, &[0x3fc, 7], &[])
        .ok();
    assert_eq!(w.kernel.machine.written, [(0x3fc, 4, 7)]);
    // The range is free again with its last capability.
    let copy = w.copy(slot, 15);
    w.delete(slot);
    assert_eq!(
        issue(&mut w, 0x3f8, 0x3f8, other),
        error(Error::RevokeFirst, &[])
    );
    w.delete(copy);
    issue(&mut w, 0x3f8, 0x3f8, other).ok();
    w.revoke(fixed::IO_PORT_CONTROL);
    assert!(w.cap(other).is_null());
    w.check();
}

#[test]
fn asid_operations_refuse_in_the_stated_order() {
    let mut w = World::new();
    let memory = w.make(object::UNTYPED, 12);
    let wrong = w.make(object::UNTYPED, 13);
    let slot = w.empty();
    let make = |w: &mut World, slot, untyped| {
        w.call(
            fixed::ASID_CONTROL,
            label::X86_ASID_CONTROL_MAKE_POOL,
            &[slot, 64],
            &[untyped, fixed::CNODE],
        )
    };
    assert_eq!(
        make(&mut w, slot, wrong),
        error(Error::InvalidCapability, &[1])
    );
    let child = w.retype(memory, object::ENDPOINT, 0);
    assert_eq!(
        make(&mut w, fixed::CNODE, memory),
        error(Error::RevokeFirst, &[])
    );
    w.delete(child);
    assert_eq!(
        make(&mut w, fixed::CNODE, memory),
        error(Error::DeleteFirst, &[])
    );
    make(&mut w, slot, memory).ok();
    let space = w.make(object::X64_PML4, 0);
    let assign = |w: &mut World, space| w.call(slot, label::X86_ASID_POOL_ASSIGN, &[], &[space]);
    assert_eq!(
        assign(&mut w, memory),
        error(Error::InvalidCapability, &[1])
    );
    assign(&mut w, space).ok();
    assert_eq!(
        assign(&mut w, space),
        error(Error::InvalidCapability, &[1]),
        "assigned already"
    );
    for _ in 2..8 {
        let memory = w.make(object::UNTYPED, 12);
        let slot = w.empty();
        make(&mut w, slot, memory).ok();
    }
    let last = w.make(object::UNTYPED, 12);
    assert_eq!(
        make(&mut w, slot, last),
        error(Error::DeleteFirst, &[]),
        "no pool left"
    );
    w.check();
}

#[test]
fn a_threads_space_is_not_replaced_while_it_holds_the_last_capability_of_its_cnode() {
    let mut w = World::new();
    let thread = w.thread(100, true);
    let table = w.make(object::CAP_TABLE, 4);
    let endpoint = w.make(object::ENDPOINT, 0);
    let set = |w: &mut World, cnode| {
        w.call(
            thread.cap,
            label::TCB_SET_SPACE,
            &[0, 0],
            &[endpoint, cnode, fixed::VSPACE],
        )
    };
    set(&mut w, table).ok();
    set(&mut w, fixed::CNODE).ok();
    set(&mut w, table).ok();
    w.delete(table);
    assert_eq!(
        set(&mut w, fixed::CNODE),
        error(Error::IllegalOperation, &[])
    );
    w.check();
    w.delete(thread.cap);
    w.check();
}

#[test]
fn priorities_are_limited_by_the_authority() {
    let mut w = World::new();
    let thread = w.thread(100, true);
    let weak = w.thread(100, true);
    w.call(weak.cap, label::TCB_SET_MC_PRIORITY, &[50], &[fixed::TCB])
        .ok();
    let ask =
        |w: &mut World, label, words: &[u64], caps: &[u64]| w.call(thread.cap, label, words, caps);
    assert_eq!(
        ask(&mut w, label::TCB_SET_PRIORITY, &[51], &[weak.cap]),
        error(Error::RangeError, &[0, 50])
    );
    assert_eq!(
        ask(&mut w, label::TCB_SET_PRIORITY, &[u64::MAX], &[fixed::TCB]),
        error(Error::RangeError, &[0, 255])
    );
    assert_eq!(
        ask(&mut w, label::TCB_SET_PRIORITY, &[1], &[weak.sc]),
        error(Error::InvalidCapability, &[1])
    );
    let empty = w.empty();
    let all = |w: &mut World, mcp, priority, sc, handler| {
        w.call(
            thread.cap,
            label::TCB_SET_SCHED_PARAMS,
            &[mcp, priority],
            &[weak.cap, sc, handler],
        )
    };
    assert_eq!(
        all(&mut w, 51, 1, thread.sc, empty),
        error(Error::RangeError, &[0, 50])
    );
    assert_eq!(
        all(&mut w, 1, 51, thread.sc, empty),
        error(Error::RangeError, &[0, 50])
    );
    assert_eq!(
        all(&mut w, 1, 1, weak.sc, empty),
        error(Error::IllegalOperation, &[])
    );
    assert_eq!(
        all(&mut w, 1, 1, weak.cap, empty),
        error(Error::InvalidCapability, &[2])
    );
    assert_eq!(
        all(&mut w, 1, 1, thread.sc, weak.cap),
        error(Error::InvalidCapability, &[3])
    );
    all(&mut w, 1, 1, empty, empty).ok();
    assert!(thread.tcb.sc.get().is_none());
    all(&mut w, 1, 1, thread.sc, empty).ok();
    w.check();
}

#[test]
fn registers_are_written_made_harmless() {
    let mut w = World::new();
    let thread = w.thread(100, true);
    let mut words = vec![0, 20];
    words.extend([u64::MAX >> 1; 20]);
    w.call(thread.cap, label::TCB_WRITE_REGISTERS, &words, &[])
        .ok();
    let read = w
        .call(thread.cap, label::TCB_READ_REGISTERS, &[0, 20], &[])
        .ok();
    assert_eq!(
        (read[0], read[18], read[19]),
        (0, 0, 0),
        "addresses that are not canonical"
    );
    assert_eq!(read[2], 0xed7, "no trap, interrupts on");
    let ask = |w: &mut World, cap, label, words: &[u64]| w.call(cap, label, words, &[]);
    let (read, write) = (label::TCB_READ_REGISTERS, label::TCB_WRITE_REGISTERS);
    assert_eq!(
        ask(&mut w, thread.cap, read, &[0, 0]),
        error(Error::RangeError, &[1, 20])
    );
    assert_eq!(
        ask(&mut w, thread.cap, read, &[0, 21]),
        error(Error::RangeError, &[1, 20])
    );
    assert_eq!(
        ask(&mut w, fixed::TCB, read, &[0, 1]),
        error(Error::IllegalOperation, &[])
    );
    assert_eq!(
        ask(&mut w, fixed::TCB, write, &[0, 0]),
        error(Error::IllegalOperation, &[])
    );
    assert_eq!(
        ask(&mut w, thread.cap, write, &[0, 1]),
        error(Error::TruncatedMessage, &[])
    );
}

#[test]
fn registers_are_read_in_their_order_and_only_by_a_call() {
    let mut w = World::new();
    let thread = w.thread(100, true);
    let mut values: Vec<u64> = (0x1000..0x1014).collect();
    let words: Vec<u64> = [0, 20].into_iter().chain(values.clone()).collect();
    w.call(thread.cap, label::TCB_WRITE_REGISTERS, &words, &[])
        .ok();
    values[2] = 0x202;
    let read = label::TCB_READ_REGISTERS;
    for count in [1, 3, 4, 5, 20] {
        let answer = w.call(thread.cap, read, &[0, count as u64], &[]).ok();
        assert_eq!(answer, values[..count]);
    }
    w.send(thread.cap, read, &[0, 20]);
    let untouched = Answer {
        label: read,
        words: vec![0, 20],
    };
    assert_eq!(w.received(w.current()), untouched);
    w.check();
}

#[test]
fn domain_operations_refuse_in_the_stated_order() {
    let mut w = World::new();
    let thread = w.thread(100, true);
    let ask = |w: &mut World, label, words: &[u64], caps: &[u64]| {
        w.call(fixed::DOMAIN_SET, label, words, caps)
    };
    let truncated = error(Error::TruncatedMessage, &[]);
    let set = label::DOMAIN_SET_SET;
    assert_eq!(ask(&mut w, set, &[], &[thread.cap]), truncated);
    let no_such = error(Error::InvalidArgument, &[0]);
    assert_eq!(
        ask(&mut w, set, &[1], &[]),
        no_such,
        "before the thread is asked for"
    );
    assert_eq!(ask(&mut w, set, &[0], &[]), truncated);
    let no_thread = error(Error::InvalidArgument, &[1]);
    assert_eq!(ask(&mut w, set, &[0], &[thread.sc]), no_thread);
    ask(&mut w, set, &[0], &[thread.cap]).ok();
    ask(&mut w, set, &[0], &[fixed::TCB]).ok();
    let configure = label::DOMAIN_SCHEDULE_CONFIGURE;
    assert_eq!(ask(&mut w, configure, &[0, 0], &[]), truncated);
    let only_one = error(Error::RangeError, &[0, 0]);
    assert_eq!(ask(&mut w, configure, &[1, 0, 0], &[]), only_one);
    assert_eq!(ask(&mut w, configure, &[0, 1, 5], &[]), only_one);
    for duration in [0, 1 << 56] {
        let wrong = error(Error::InvalidArgument, &[2]);
        assert_eq!(ask(&mut w, configure, &[0, 0, duration], &[]), wrong);
    }
    ask(&mut w, configure, &[0, 0, 1000], &[]).ok();
    let start = label::DOMAIN_SCHEDULE_SET_START;
    assert_eq!(ask(&mut w, start, &[], &[]), truncated);
    assert_eq!(
        ask(&mut w, start, &[2], &[]),
        error(Error::RangeError, &[0, 1])
    );
    assert_eq!(
        ask(&mut w, start, &[1], &[]),
        error(Error::InvalidArgument, &[0])
    );
    ask(&mut w, start, &[0], &[]).ok();
    assert_eq!(
        ask(&mut w, 33, &[0], &[]),
        error(Error::IllegalOperation, &[])
    );
    w.check();
}

#[test]
fn a_thread_put_into_its_domain_again_goes_to_the_head_of_its_queue() {
    let mut w = World::new();
    let gate = w.gate();
    let peers = [w.thread(50, true), w.thread(50, true)];
    peers.iter().for_each(|peer| w.resume(*peer));
    w.call(
        fixed::DOMAIN_SET,
        label::DOMAIN_SET_SET,
        &[0],
        &[peers[0].cap],
    )
    .ok();
    w.check();
    w.wait(gate);
    w.expect_running(peers[0]);
}

#[test]
fn a_space_whose_number_is_gone_is_a_failed_lookup() {
    let mut w = World::new();
    let memory = w.make(object::UNTYPED, 12);
    let pool = w.empty();
    let (make, assign) = (
        label::X86_ASID_CONTROL_MAKE_POOL,
        label::X86_ASID_POOL_ASSIGN,
    );
    w.call(
        fixed::ASID_CONTROL,
        make,
        &[pool, 64],
        &[memory, fixed::CNODE],
    )
    .ok();
    let space = w.make(object::X64_PML4, 0);
    w.call(pool, assign, &[], &[space]).ok();
    w.delete(pool);
    let gone = error(Error::FailedLookup, &[0, 1]);
    let table = w.make(object::X86_PDPT, 0);
    assert_eq!(w.call(table, label::X86_PDPT_MAP, &[0, 0], &[space]), gone);
    let frame = w.make(object::X86_4K, 0);
    assert_eq!(
        w.call(frame, label::X86_PAGE_MAP, &[0, 3, 0], &[space]),
        gone
    );
    w.check();
}

#[test]
fn a_signal_with_an_extra_capability_that_is_not_there_is_a_fault() {
    let mut w = World::new();
    let gate = w.gate();
    let (notification, endpoint) = (w.make(object::NOTIFICATION, 0), w.make(object::ENDPOINT, 0));
    let thread = w.thread(100, true);
    w.set_handler(thread, endpoint);
    w.resume(thread);
    w.wait(gate);
    w.expect_running(thread);
    w.message(0, &[], &[1 << 40]);
    w.current().context.rdi.set(notification);
    w.syscall(syscall::SEND);
    assert_eq!(w.state(thread), State::BlockedOnSend);
    assert_eq!(thread.tcb.fault.get().label, fault::CAP_FAULT);
    w.check();
}

#[test]
fn the_halting_call_stops_the_machine_of_a_kernel_built_with_it() {
    let halted = std::panic::catch_unwind(|| {
        World::new().syscall(syscall::DEBUG_HALT);
    });
    let why = *halted
        .expect_err("the machine goes on")
        .downcast::<String>()
        .expect("a text");
    assert!(why.contains("the machine was halted"), "{why}");
}
