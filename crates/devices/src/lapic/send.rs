//! The interrupt command register: messages that the processor sends, of which those to itself arrive (APM vol. 2, 16.5).

use super::registers::{command, error};
use super::{Effect, FIRST_VECTOR, LocalApic};
use crate::message::{Delivery, Destination, Message, Trigger};

/// Whom the shorthand field names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shorthand {
    None,
    Itself,
    AllWithSelf,
    AllButSelf,
}

impl Shorthand {
    const fn from_command(low: u32) -> Self {
        match low >> command::SHORTHAND_SHIFT & 3 {
            0 => Self::None,
            1 => Self::Itself,
            2 => Self::AllWithSelf,
            _ => Self::AllButSelf,
        }
    }
}

impl LocalApic {
    /// Sends what the command register says.
    pub(super) fn send(&mut self) -> Effect {
        let low = self.command_low;
        let delivery = Delivery::from_bits((low >> command::DELIVERY_SHIFT) as u8);
        let vector = low as u8;
        if matches!(delivery, Delivery::Fixed | Delivery::Lowest) && vector < FIRST_VECTOR {
            self.fail(error::SENT_ILLEGAL_VECTOR);
            return Effect::None;
        }
        let level = low & command::LEVEL != 0;
        // A level that is taken back: once the synchronization of arbitration identifiers, which has no effect.
        if level && low & command::ASSERT == 0 {
            return Effect::None;
        }
        let Some(destination) = self.own_destination(low) else {
            return Effect::None;
        };
        if delivery == Delivery::Init && self.is_for_us(destination) {
            return Effect::Init;
        }
        self.receive(Message {
            vector,
            delivery,
            trigger: Trigger::from_bit(level),
            destination,
        });
        Effect::None
    }

    /// The destination with the shorthand resolved; `None` if it leaves the sender out.
    const fn own_destination(&self, low: u32) -> Option<Destination> {
        match Shorthand::from_command(low) {
            Shorthand::None => Some(Destination::new(
                (self.command_high >> 24) as u8,
                low & command::LOGICAL != 0,
            )),
            Shorthand::Itself | Shorthand::AllWithSelf => Some(Destination::Physical(self.id)),
            Shorthand::AllButSelf => None,
        }
    }
}
