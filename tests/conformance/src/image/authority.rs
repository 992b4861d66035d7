//! I/O ports, interrupts, debug calls.

use super::kit::{
    Answer, CNODE, HIGH, Kit, cnode, delete, invoke, is_empty, kind, notification, rest,
};
use super::report::{Check, done, ensure, equal, marks, refused};
use super::thread::mark;
use sel4_abi::{label, object};

pub(super) const IRQ_CONTROL: u64 = sel4::init_thread::slot::IRQ_CONTROL.cptr_bits();
const PORT_CONTROL: u64 = sel4::init_thread::slot::IO_PORT_CONTROL.cptr_bits();

pub(super) fn ports(first: u64, last: u64, slot: u64) -> Answer {
    invoke(
        PORT_CONTROL,
        label::X86_IO_PORT_CONTROL_ISSUE,
        &[first, last, slot, 64],
        &[CNODE],
    )
}

pub(crate) fn port_ranges_refuse_in_the_stated_order(t: &mut Kit) -> Check {
    let (slot, other) = (t.slot(), t.slot());
    let short = invoke(
        PORT_CONTROL,
        label::X86_IO_PORT_CONTROL_ISSUE,
        &[1, 2, slot],
        &[CNODE],
    );
    refused!(short, TruncatedMessage);
    refused!(
        invoke(PORT_CONTROL, 1, &[1, 2, slot, 64], &[CNODE]),
        IllegalOperation
    );
    refused!(ports(0x81, 0x80, slot), InvalidArgument, 1);
    refused!(ports(0x80, 0x81, CNODE), DeleteFirst);
    done!(ports(0x80, 0x83, slot));
    for (first, last) in [(0x80, 0x80), (0x7f, 0x80), (0x83, 0x90), (0x70, 0x90)] {
        refused!(ports(first, last, other), RevokeFirst);
    }
    done!(ports(0x84, 0x84, other));
    Ok(())
}

pub(crate) fn ports_are_read_and_written_within_the_range_alone(t: &mut Kit) -> Check {
    let slot = t.slot();
    done!(ports(0x80, 0x81, slot));
    let ask = |label, words: &[u64]| invoke(slot, label, words, &[]);
    refused!(ask(label::X86_IO_PORT_IN8, &[]), TruncatedMessage);
    refused!(ask(label::X86_IO_PORT_OUT8, &[0x80]), TruncatedMessage);
    refused!(ask(label::X86_IO_PORT_IN8, &[0x7f]), IllegalOperation);
    refused!(ask(label::X86_IO_PORT_IN8, &[0x82]), IllegalOperation);
    refused!(ask(label::X86_IO_PORT_IN16, &[0x81]), IllegalOperation);
    refused!(ask(label::X86_IO_PORT_OUT32, &[0x80, 1]), IllegalOperation);
    refused!(ask(label::X86_PAGE_MAP, &[0x80, 1]), IllegalOperation);
    equal!(done!(ask(label::X86_IO_PORT_OUT8, &[0x80, 1])).length, 0);
    equal!(done!(ask(label::X86_IO_PORT_IN16, &[0x80])).length, 1);
    Ok(())
}

pub(crate) fn a_range_is_free_again_with_its_last_capability(t: &mut Kit) -> Check {
    let (slot, other) = (t.slot(), t.slot());
    done!(ports(0x80, 0x80, slot));
    let copy = t.copy(slot, 15)?;
    delete(slot)?;
    refused!(ports(0x80, 0x80, other), RevokeFirst);
    delete(copy)?;
    done!(ports(0x80, 0x80, other));
    Ok(())
}

pub(super) fn ioapic(words: [u64; 7]) -> Answer {
    invoke(
        IRQ_CONTROL,
        label::X86_IRQ_ISSUE_IRQ_HANDLER_IOAPIC,
        &words,
        &[CNODE],
    )
}

pub(super) fn message(words: [u64; 7]) -> Answer {
    invoke(
        IRQ_CONTROL,
        label::X86_IRQ_ISSUE_IRQ_HANDLER_MSI,
        &words,
        &[CNODE],
    )
}

pub(crate) fn interrupt_lines_refuse_in_the_stated_order(t: &mut Kit) -> Check {
    let slot = t.slot();
    let get = invoke(
        IRQ_CONTROL,
        label::IRQ_ISSUE_IRQ_HANDLER,
        &[1, slot, 64],
        &[CNODE],
    );
    refused!(get, IllegalOperation);
    let label = label::X86_IRQ_ISSUE_IRQ_HANDLER_IOAPIC;
    refused!(
        invoke(IRQ_CONTROL, label, &[slot, 64, 0, 1, 0, 0], &[CNODE]),
        TruncatedMessage
    );
    refused!(ioapic([slot, 64, 9, 99, 9, 9, 108]), RangeError, 0, 107);
    refused!(ioapic([CNODE, 64, 9, 99, 9, 9, 50]), DeleteFirst);
    equal!(
        ioapic([slot, 64, 9, 99, 9, 9, 50]).label,
        sel4::Error::RangeError as u64
    );
    refused!(ioapic([slot, 64, 0, 99, 9, 9, 50]), RangeError, 0, 23);
    refused!(ioapic([slot, 64, 0, 13, 2, 0, 50]), RangeError, 0, 1);
    refused!(ioapic([slot, 64, 0, 13, 0, 2, 50]), RangeError, 0, 1);
    done!(ioapic([slot, 64, 0, 13, 0, 0, 50]));
    refused!(ioapic([CNODE, 64, 9, 99, 9, 9, 50]), RevokeFirst);
    delete(slot)?;
    done!(ioapic([slot, 64, 0, 13, 0, 0, 50]));
    Ok(())
}

pub(crate) fn message_interrupts_refuse_in_the_stated_order(t: &mut Kit) -> Check {
    let slot = t.slot();
    let msi = |words: &[u64]| {
        invoke(
            IRQ_CONTROL,
            label::X86_IRQ_ISSUE_IRQ_HANDLER_MSI,
            words,
            &[CNODE],
        )
    };
    refused!(msi(&[slot, 64, 0, 0, 0, 0]), TruncatedMessage);
    refused!(msi(&[slot, 64, 256, 32, 8, 0, 108]), RangeError, 0, 107);
    refused!(msi(&[slot, 64, 256, 32, 8, 0, 60]), RangeError, 0, 255);
    refused!(msi(&[slot, 64, 0, 32, 8, 0, 60]), RangeError, 0, 31);
    refused!(msi(&[slot, 64, 0, 0, 8, 0, 60]), RangeError, 0, 7);
    done!(msi(&[slot, 64, 0, 0, 0, 0, 60]));
    done!(invoke(slot, label::IRQ_ACK, &[], &[]));
    Ok(())
}

pub(crate) fn a_handler_takes_a_notification_it_may_signal(t: &mut Kit) -> Check {
    let (slot, ntfn, ep) = (t.slot(), t.ntfn()?, t.ep()?);
    done!(ioapic([slot, 64, 0, 13, 0, 0, 50]));
    let set = |caps: &[u64]| invoke(slot, label::IRQ_SET_HANDLER, &[], caps);
    refused!(set(&[]), TruncatedMessage);
    refused!(set(&[ep]), InvalidCapability, 0);
    let weak = t.copy(ntfn, 2)?;
    refused!(set(&[weak]), InvalidCapability, 0);
    done!(set(&[ntfn]));
    done!(set(&[ntfn]));
    done!(invoke(slot, label::IRQ_CLEAR_HANDLER, &[], &[]));
    done!(invoke(slot, label::IRQ_CLEAR_HANDLER, &[], &[]));
    refused!(invoke(slot, label::CNODE_COPY, &[], &[]), IllegalOperation);
    Ok(())
}

/// Writes a byte to the interval timer.
fn tell_timer(port: u64, at: u64, byte: u64) -> Check {
    done!(invoke(port, label::X86_IO_PORT_OUT8, &[at, byte], &[]));
    Ok(())
}

/// The interval timer's channel 0, which the firmware left running, waits to be told when to fire.
fn silence(port: u64) -> Check {
    tell_timer(port, 0x43, 0x30)
}

/// It fires once, after so many of its ticks.
fn fire(port: u64, ticks: u64) -> Check {
    silence(port)?;
    tell_timer(port, 0x40, ticks & 255)?;
    tell_timer(port, 0x40, ticks >> 8)
}

pub(crate) fn an_interrupt_signals_until_it_is_acknowledged_only_once(t: &mut Kit) -> Check {
    let (port, slot, ntfn) = (t.slot(), t.slot(), t.ntfn()?);
    done!(ports(0x40, 0x43, port));
    silence(port)?;
    done!(ioapic([slot, 64, 0, 2, 0, 0, 2]));
    let badged = t.mint(ntfn, 15, 0x10)?;
    done!(invoke(slot, label::IRQ_SET_HANDLER, &[], &[badged]));
    done!(invoke(slot, label::IRQ_ACK, &[], &[]));
    for _ in 0..3 {
        fire(port, 2000)?;
        equal!(notification(ntfn).wait().1, 0x10);
        // Not acknowledged: what comes now is not heard.
        fire(port, 500)?;
        t.sleep(3000);
        equal!(notification(ntfn).poll().1, 0);
        done!(invoke(slot, label::IRQ_ACK, &[], &[]));
        t.sleep(1000);
        let _ = notification(ntfn).poll();
        done!(invoke(slot, label::IRQ_ACK, &[], &[]));
    }
    Ok(())
}

pub(crate) fn a_handlers_thread_works_on_its_notifications_time(t: &mut Kit) -> Check {
    let (port, slot, ntfn) = (t.slot(), t.slot(), t.ntfn()?);
    done!(ports(0x40, 0x43, port));
    silence(port)?;
    done!(ioapic([slot, 64, 0, 2, 0, 0, 2]));
    done!(invoke(slot, label::IRQ_SET_HANDLER, &[], &[ntfn]));
    done!(invoke(slot, label::IRQ_ACK, &[], &[]));
    let thread = t.spawn(HIGH, [ntfn, slot, 0, 0, 0, 0], |args| {
        loop {
            notification(args[0]).wait();
            mark(1);
            let _ = invoke(args[1], label::IRQ_ACK, &[], &[]);
        }
    })?;
    t.unbind(thread.sc)?;
    t.bind(thread.sc, ntfn)?;
    for _ in 0..3 {
        fire(port, 1000)?;
        t.sleep(3000);
        marks!(1);
    }
    delete(thread.sc)?;
    fire(port, 1000)?;
    t.sleep(3000);
    marks!();
    Ok(())
}

pub(crate) fn revoking_interrupt_control_takes_the_handlers(t: &mut Kit) -> Check {
    let slot = t.slot();
    done!(ioapic([slot, 64, 0, 13, 0, 0, 50]));
    done!(cnode(label::CNODE_REVOKE, IRQ_CONTROL, &[], &[]));
    ensure!(is_empty(slot));
    Ok(())
}

pub(crate) fn every_kind_of_capability_has_its_number(t: &mut Kit) -> Check {
    for (ty, bits, number) in [
        (object::UNTYPED, 4, 2),
        (object::ENDPOINT, 0, 4),
        (object::NOTIFICATION, 0, 6),
        (object::REPLY, 0, 8),
        (object::CAP_TABLE, 1, 10),
        (object::TCB, 0, 12),
        (object::SCHED_CONTEXT, 8, 22),
        (object::X86_4K, 0, 1),
        (object::X86_PAGE_TABLE, 0, 3),
        (object::X86_PAGE_DIRECTORY, 0, 5),
        (object::X86_PDPT, 0, 7),
        (object::X64_PML4, 0, 9),
    ] {
        let slot = t.make(ty, bits)?;
        equal!(kind(slot), number);
    }
    equal!(kind(IRQ_CONTROL), 14);
    equal!(kind(t.sched_control), 24);
    equal!(kind(sel4::init_thread::slot::DOMAIN_SET.cptr_bits()), 20);
    equal!(kind(1 << 40), 0);
    Ok(())
}

pub(crate) fn a_thread_can_be_named_and_the_debug_calls_come_back(t: &mut Kit) -> Check {
    let thread = t.thread(1, [0; 6], |_| {})?;
    sel4::Cap::<sel4::cap_type::Tcb>::from_bits(thread.tcb).debug_name(b"conformance");
    sel4::debug_dump_scheduler();
    sel4::debug_snapshot();
    rest();
    Ok(())
}

pub(crate) fn a_vector_belongs_to_one_handler_of_either_kind(t: &mut Kit) -> Check {
    let (slot, other) = (t.slot(), t.slot());
    let msi = |slot, vector| message([slot, 64, 0, 0, 0, 0, vector]);
    done!(ioapic([slot, 64, 0, 13, 0, 0, 50]));
    refused!(msi(other, 50), RevokeFirst);
    done!(msi(other, 0));
    delete(other)?;
    done!(msi(other, 107));
    refused!(ioapic([CNODE, 64, 0, 13, 0, 0, 107]), RevokeFirst);
    refused!(msi(CNODE, 51), DeleteFirst);
    Ok(())
}

pub(crate) fn revoking_port_control_takes_the_ranges(t: &mut Kit) -> Check {
    let (one, two) = (t.slot(), t.slot());
    done!(ports(0x80, 0x81, one));
    done!(ports(0x82, 0x83, two));
    let copy = t.copy(one, 15)?;
    done!(cnode(label::CNODE_REVOKE, PORT_CONTROL, &[], &[]));
    for slot in [one, two, copy] {
        ensure!(is_empty(slot));
    }
    done!(ports(0x80, 0x83, one));
    Ok(())
}
