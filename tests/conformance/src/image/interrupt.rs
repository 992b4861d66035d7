//! Interrupts of a device: messages, and a line that stays high. In a boot of their own, with QEMU's `edu`.

use super::authority::{IRQ_CONTROL, ioapic, message};
use super::edu::Edu;
use super::kit::{HIGH, Kit, cnode, delete, invoke, notification};
use super::report::{Check, done, equal, marks};
use super::thread::mark;
use sel4_abi::label;

/// The vector of most, and a badge of nobody else's.
const VECTOR: u64 = 60;
const BADGE: u64 = 0x10;

/// A handler, and what it signals.
#[derive(Clone, Copy)]
struct Handler {
    cap: u64,
    notification: u64,
}

impl Handler {
    /// Has it signal a notification of its own.
    fn named(t: &mut Kit, cap: u64, badge: u64) -> Check<Self> {
        let notification = t.ntfn()?;
        let badged = t.mint(notification, 15, badge)?;
        done!(invoke(cap, label::IRQ_SET_HANDLER, &[], &[badged]));
        Ok(Self { cap, notification })
    }

    /// A handler of the device's messages.
    fn of_messages(t: &mut Kit, edu: Edu, vector: u64, badge: u64) -> Check<Self> {
        let cap = t.slot();
        done!(message([cap, 64, 0, edu.number, 0, 0, vector]));
        Self::named(t, cap, badge)
    }

    /// A handler of the device's line, level-triggered or edge-triggered, active high.
    fn of_line(t: &mut Kit, edu: Edu, level: bool) -> Check<Self> {
        let cap = t.slot();
        let words = [cap, 64, 0, edu.pin, u64::from(level), 0, VECTOR];
        done!(ioapic(words));
        Self::named(t, cap, BADGE)
    }

    fn acknowledge(self) -> Check {
        done!(invoke(self.cap, label::IRQ_ACK, &[], &[]));
        Ok(())
    }

    /// What was signalled until a little later; 0 for nothing.
    fn heard(self, t: &Kit) -> u64 {
        t.sleep(100);
        notification(self.notification).poll().1
    }
}

pub(crate) fn a_message_signals_the_handler_of_its_vector(t: &mut Kit) -> Check {
    let edu = Edu::new(t)?;
    for vector in [0, VECTOR, 107] {
        let handler = Handler::of_messages(t, edu, vector, BADGE + vector)?;
        edu.use_message(vector)?;
        for _ in 0..2 {
            equal!(handler.heard(t), 0);
            edu.raise();
            equal!(notification(handler.notification).wait().1, BADGE + vector);
            handler.acknowledge()?;
        }
        equal!(handler.heard(t), 0);
    }
    Ok(())
}

pub(crate) fn a_message_comes_while_nobody_runs(t: &mut Kit) -> Check {
    let edu = Edu::new(t)?;
    let handler = Handler::of_messages(t, edu, VECTOR, BADGE)?;
    edu.use_message(VECTOR)?;
    for _ in 0..2 {
        edu.raise_later();
        equal!(notification(handler.notification).wait().1, BADGE);
        handler.acknowledge()?;
    }
    Ok(())
}

pub(crate) fn a_message_wakes_a_higher_thread(t: &mut Kit) -> Check {
    let edu = Edu::new(t)?;
    let handler = Handler::of_messages(t, edu, VECTOR, BADGE)?;
    edu.use_message(VECTOR)?;
    let args = [handler.notification, handler.cap, 0, 0, 0, 0];
    t.spawn(HIGH, args, |args| {
        loop {
            mark(notification(args[0]).wait().1);
            let _ = invoke(args[1], label::IRQ_ACK, &[], &[]);
        }
    })?;
    for _ in 0..2 {
        edu.raise();
        t.sleep(100);
        marks!(BADGE);
    }
    Ok(())
}

pub(crate) fn a_message_before_the_acknowledgement_signals_too(t: &mut Kit) -> Check {
    let edu = Edu::new(t)?;
    let handler = Handler::of_messages(t, edu, VECTOR, BADGE)?;
    edu.use_message(VECTOR)?;
    // Nothing masks a message: the acknowledgement opens nothing.
    for _ in 0..3 {
        edu.raise();
        equal!(handler.heard(t), BADGE);
    }
    // Two that nobody has heard are one signal.
    edu.raise();
    edu.raise();
    equal!(handler.heard(t), BADGE);
    equal!(handler.heard(t), 0);
    // What was signalled before it does not come again with it.
    handler.acknowledge()?;
    equal!(handler.heard(t), 0);
    Ok(())
}

pub(crate) fn handlers_of_two_vectors_hear_their_own_messages_alone(t: &mut Kit) -> Check {
    let edu = Edu::new(t)?;
    let one = Handler::of_messages(t, edu, VECTOR, 1)?;
    let two = Handler::of_messages(t, edu, VECTOR + 1, 2)?;
    for (vector, first, second) in [(VECTOR, 1, 0), (VECTOR + 1, 0, 2)] {
        edu.use_message(vector)?;
        edu.raise();
        equal!(one.heard(t), first);
        equal!(two.heard(t), second);
    }
    Ok(())
}

pub(crate) fn a_message_without_handler_or_notification_is_silent(t: &mut Kit) -> Check {
    let edu = Edu::new(t)?;
    let old = Handler::of_messages(t, edu, VECTOR, BADGE)?;
    edu.use_message(VECTOR)?;
    edu.raise();
    equal!(old.heard(t), BADGE);
    done!(invoke(old.cap, label::IRQ_CLEAR_HANDLER, &[], &[]));
    edu.raise();
    equal!(old.heard(t), 0);
    // A copy is the handler as well; with the last one the vector is free.
    let copy = t.copy(old.cap, 15)?;
    delete(old.cap)?;
    let old = Handler::named(t, copy, BADGE + 1)?;
    edu.raise();
    equal!(old.heard(t), BADGE + 1);
    delete(old.cap)?;
    edu.raise();
    equal!(old.heard(t), 0);
    // What came in between is nobody's.
    let new = Handler::of_messages(t, edu, VECTOR, BADGE + 2)?;
    equal!(new.heard(t), 0);
    edu.raise();
    equal!(new.heard(t), BADGE + 2);
    equal!(old.heard(t), 0);
    done!(cnode(label::CNODE_REVOKE, IRQ_CONTROL, &[], &[]));
    edu.raise();
    equal!(new.heard(t), 0);
    Ok(())
}

pub(crate) fn a_message_to_a_vector_beyond_the_users_interrupts_nobody(t: &mut Kit) -> Check {
    let edu = Edu::new(t)?;
    let handler = Handler::of_messages(t, edu, VECTOR, BADGE)?;
    // The timer's vector is lower: it does not come while one of these awaits its end.
    for vector in [110, 160, 206] {
        edu.use_message(vector)?;
        edu.raise();
        equal!(handler.heard(t), 0);
        edu.use_message(VECTOR)?;
        edu.raise();
        equal!(handler.heard(t), BADGE);
    }
    Ok(())
}

pub(crate) fn a_pin_is_open_from_its_issue_on(t: &mut Kit) -> Check {
    let edu = Edu::new(t)?;
    for level in [false, true] {
        let handler = Handler::of_line(t, edu, level)?;
        equal!(handler.heard(t), 0);
        edu.raise();
        equal!(handler.heard(t), BADGE);
        edu.lower();
        delete(handler.cap)?;
    }
    Ok(())
}

pub(crate) fn a_level_line_that_is_high_signals_at_each_acknowledgement(t: &mut Kit) -> Check {
    let edu = Edu::new(t)?;
    let handler = Handler::of_line(t, edu, true)?;
    edu.raise();
    for _ in 0..3 {
        equal!(handler.heard(t), BADGE);
        // Masked, though the line is high.
        equal!(handler.heard(t), 0);
        handler.acknowledge()?;
    }
    equal!(handler.heard(t), BADGE);
    edu.lower();
    handler.acknowledge()?;
    equal!(handler.heard(t), 0);
    edu.raise();
    equal!(handler.heard(t), BADGE);
    Ok(())
}

/// The line has risen twice, the second time unheard, and is acknowledged.
fn raised_again_while_masked(t: &mut Kit, level: bool) -> Check<(Edu, Handler)> {
    let edu = Edu::new(t)?;
    let handler = Handler::of_line(t, edu, level)?;
    edu.raise();
    equal!(handler.heard(t), BADGE);
    edu.lower();
    edu.raise();
    equal!(handler.heard(t), 0);
    handler.acknowledge()?;
    Ok((edu, handler))
}

pub(crate) fn a_level_line_raised_while_masked_is_not_lost(t: &mut Kit) -> Check {
    let (edu, handler) = raised_again_while_masked(t, true)?;
    equal!(handler.heard(t), BADGE);
    // One that has gone again is not told.
    edu.lower();
    edu.raise();
    edu.lower();
    handler.acknowledge()?;
    equal!(handler.heard(t), 0);
    Ok(())
}

pub(crate) fn an_edge_while_masked_is_lost(t: &mut Kit) -> Check {
    let (edu, handler) = raised_again_while_masked(t, false)?;
    equal!(handler.heard(t), 0);
    edu.lower();
    edu.raise();
    equal!(handler.heard(t), BADGE);
    Ok(())
}

pub(crate) fn a_high_line_waits_for_a_handler_with_notification(t: &mut Kit) -> Check {
    let edu = Edu::new(t)?;
    // QEMU's IOAPIC sees a line rise only where it has been told that the pin is level-triggered.
    let last = Handler::of_line(t, edu, true)?;
    delete(last.cap)?;
    edu.raise();
    // Signals nobody when it is issued, and is masked by that.
    let handler = Handler::of_line(t, edu, true)?;
    equal!(handler.heard(t), 0);
    handler.acknowledge()?;
    equal!(handler.heard(t), BADGE);
    // What it signalled is there when its handler has gone; the line, still high, waits for the next.
    handler.acknowledge()?;
    delete(handler.cap)?;
    equal!(handler.heard(t), BADGE);
    equal!(handler.heard(t), 0);
    let next = Handler::of_line(t, edu, true)?;
    next.acknowledge()?;
    equal!(next.heard(t), BADGE);
    equal!(handler.heard(t), 0);
    Ok(())
}
