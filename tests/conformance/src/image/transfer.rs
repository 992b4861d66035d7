//! Capabilities in messages.

use super::kit::{CNODE, HIGH, Kit, at, delete, endpoint, invoke, is_empty, received, reply};
use super::report::{Check, done, ensure, equal, marks, refused};
use super::thread::mark;
use sel4::MessageInfo;
use sel4_abi::label;

/// Receives once into the slot args[2]; marks capabilities that came, which were unwrapped, the first badge.
fn taker(args: [u64; 6]) {
    sel4::with_ipc_buffer_mut(|buffer| {
        let inner = buffer.inner_mut();
        inner.receive_cnode = CNODE;
        inner.receive_index = args[2];
        inner.receive_depth = 64;
        inner.caps_or_badges = [0; 3];
    });
    let (info, _) = endpoint(args[0]).recv(reply(args[1]));
    let badges = sel4::with_ipc_buffer(|buffer| buffer.inner().caps_or_badges);
    mark(info.extra_caps() as u64);
    mark(info.caps_unwrapped() as u64);
    mark(badges[0]);
}

/// Sends capabilities through `ep` to a taker that waits.
fn send(t: &mut Kit, ep: u64, through: u64, slot: u64, caps: &[u64]) -> Check {
    let object = t.reply()?;
    t.spawn(HIGH, [ep, object, slot, 0, 0, 0], taker)?;
    sel4::with_ipc_buffer_mut(|buffer| {
        buffer.caps_or_badges_mut()[..caps.len()].copy_from_slice(caps);
    });
    endpoint(through).send(MessageInfo::new(0, 0, caps.len(), 0));
    Ok(())
}

pub(crate) fn a_capability_sent_with_grant_arrives_in_the_receive_slot(t: &mut Kit) -> Check {
    let (ep, ntfn, slot) = (t.ep()?, t.ntfn()?, t.slot());
    send(t, ep, ep, slot, &[ntfn])?;
    marks!(1, 0, 0);
    ensure!(!is_empty(slot));
    Ok(())
}

pub(crate) fn without_grant_no_capability_arrives(t: &mut Kit) -> Check {
    let (ep, ntfn, slot) = (t.ep()?, t.ntfn()?, t.slot());
    let weak = t.copy(ep, 11)?;
    send(t, ep, weak, slot, &[ntfn])?;
    marks!(0, 0, 0);
    ensure!(is_empty(slot));
    Ok(())
}

pub(crate) fn a_capability_of_the_endpoint_itself_arrives_as_its_badge(t: &mut Kit) -> Check {
    let (ep, slot) = (t.ep()?, t.slot());
    let badged = t.mint(ep, 15, 0x77)?;
    send(t, ep, ep, slot, &[badged])?;
    marks!(1, 1, 0x77);
    ensure!(is_empty(slot));
    Ok(())
}

pub(crate) fn badges_and_one_capability_arrive_together(t: &mut Kit) -> Check {
    let (ep, ntfn, slot) = (t.ep()?, t.ntfn()?, t.slot());
    let badged = t.mint(ep, 15, 0x66)?;
    send(t, ep, ep, slot, &[badged, ntfn, badged])?;
    marks!(3, 5, 0x66);
    ensure!(!is_empty(slot));
    Ok(())
}

pub(crate) fn a_second_capability_ends_the_transfer(t: &mut Kit) -> Check {
    let (ep, ntfn, slot) = (t.ep()?, t.ntfn()?, t.slot());
    let badged = t.mint(ep, 15, 0x66)?;
    send(t, ep, ep, slot, &[ntfn, ntfn, badged])?;
    marks!(1, 0, 0);
    Ok(())
}

pub(crate) fn an_occupied_receive_slot_takes_nothing(t: &mut Kit) -> Check {
    let (ep, ntfn) = (t.ep()?, t.ntfn()?);
    send(t, ep, ep, ntfn, &[ntfn])?;
    marks!(0, 0, 0);
    Ok(())
}

pub(crate) fn what_cannot_be_derived_is_not_transferred(t: &mut Kit) -> Check {
    let (ep, slot) = (t.ep()?, t.slot());
    let control = sel4::init_thread::slot::IRQ_CONTROL.cptr_bits();
    send(t, ep, ep, slot, &[control])?;
    marks!(0, 0, 0);
    ensure!(is_empty(slot));
    Ok(())
}

pub(crate) fn a_received_capability_is_a_child_of_the_senders_original(t: &mut Kit) -> Check {
    let (ep, ntfn, slot) = (t.ep()?, t.ntfn()?, t.slot());
    send(t, ep, ep, slot, &[ntfn])?;
    super::kit::revoke(ntfn)?;
    ensure!(is_empty(slot));
    delete(ntfn)
}

fn answered_with_a_capability(t: &mut Kit, rights: u64) -> Check<u64> {
    let (ep, ntfn, slot) = (t.ep()?, t.ntfn()?, t.slot());
    let object = t.reply()?;
    let weak = t.copy(object, rights)?;
    t.spawn(HIGH, [ep, object, weak, ntfn, 0, 0], |args| {
        let _ = endpoint(args[0]).recv(reply(args[1]));
        sel4::with_ipc_buffer_mut(|buffer| buffer.caps_or_badges_mut()[0] = args[3]);
        at(args[2]).send(MessageInfo::new(0, 0, 1, 0));
    })?;
    sel4::with_ipc_buffer_mut(|buffer| {
        let inner = buffer.inner_mut();
        inner.receive_cnode = CNODE;
        inner.receive_index = slot;
        inner.receive_depth = 64;
    });
    let answer = received(endpoint(ep).call(MessageInfo::new(0, 0, 0, 0)));
    equal!(answer.label, 0);
    Ok(answer.info.extra_caps() as u64 + 2 * u64::from(!is_empty(slot)))
}

pub(crate) fn a_reply_object_with_grant_transfers(t: &mut Kit) -> Check {
    equal!(answered_with_a_capability(t, 15)?, 3);
    Ok(())
}

pub(crate) fn a_reply_object_without_grant_does_not(t: &mut Kit) -> Check {
    equal!(answered_with_a_capability(t, 11)?, 0);
    Ok(())
}

pub(crate) fn too_few_capabilities_are_a_truncated_message(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    let words = [ntfn, 64, ntfn, 64, 15];
    refused!(
        invoke(CNODE, label::CNODE_COPY, &words, &[]),
        TruncatedMessage
    );
    done!(invoke(ntfn, 0, &[], &[]));
    Ok(())
}

pub(crate) fn the_first_failure_ends_the_transfer(t: &mut Kit) -> Check {
    let (ep, slot) = (t.ep()?, t.slot());
    let badged = t.mint(ep, 15, 0x66)?;
    let control = sel4::init_thread::slot::IRQ_CONTROL.cptr_bits();
    send(t, ep, ep, slot, &[badged, control, badged])?;
    marks!(1, 1, 0x66);
    Ok(())
}

pub(crate) fn a_receive_slot_that_cannot_be_found_takes_badges_alone(t: &mut Kit) -> Check {
    let (ep, ntfn) = (t.ep()?, t.ntfn()?);
    let badged = t.mint(ep, 15, 0x66)?;
    send(t, ep, ep, 1 << 40, &[badged, ntfn])?;
    marks!(1, 1, 0x66);
    Ok(())
}

pub(crate) fn a_transferred_capability_keeps_its_badge_and_rights(t: &mut Kit) -> Check {
    let (ep, ntfn, slot) = (t.ep()?, t.ntfn()?, t.slot());
    let badged = t.mint(ntfn, 1, 0x21)?;
    send(t, ep, ep, slot, &[badged])?;
    marks!(1, 0, 0);
    super::kit::notification(slot).signal();
    equal!(super::kit::notification(ntfn).poll().1, 0x21);
    // It may signal and not wait.
    refused!(
        super::notification::bind(super::kit::TCB, slot),
        IllegalOperation
    );
    Ok(())
}
