//! Interrupt messages: what an IOAPIC, or a local APIC's command register, sends to local APICs (APM vol. 2, 16.5).
//!
//! Always: a message is plain data; who receives it decides whether it is the one meant.

/// What a message asks for (APM vol. 2, 16.5, message type; 82093AA data sheet, 3.2.4, delivery mode).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// The interrupt of the message's vector, at every destination.
    Fixed,
    /// The interrupt of the message's vector, at the destination of lowest priority.
    Lowest,
    /// A system-management interrupt.
    Smi,
    /// A non-maskable interrupt.
    Nmi,
    /// The processor's reset to its INIT state.
    Init,
    /// The start of a processor that waits for it.
    Startup,
    /// An interrupt whose vector the external controller gives.
    External,
    /// A reserved encoding: nothing.
    Reserved,
}

impl Delivery {
    /// From the three bits that encode it in redirection entries, local vector table and command register.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 7 {
            0 => Self::Fixed,
            1 => Self::Lowest,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::Startup,
            7 => Self::External,
            _ => Self::Reserved,
        }
    }
}

/// How an interrupt is triggered: whether its end is told to the IOAPICs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// By an edge: one interrupt for each.
    Edge,
    /// By a level: again after its end while the level stays.
    Level,
}

impl Trigger {
    /// `true` is level, as the trigger bits have it.
    #[must_use]
    pub const fn from_bit(level: bool) -> Self {
        if level { Self::Level } else { Self::Edge }
    }
}

/// Whom a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// The local APIC with this identifier; all of them by 0xff.
    Physical(u8),
    /// The local APICs that this set matches by their logical destination registers.
    Logical(u8),
}

impl Destination {
    /// From a destination field and the destination mode bit.
    #[must_use]
    pub const fn new(field: u8, logical: bool) -> Self {
        if logical {
            Self::Logical(field)
        } else {
            Self::Physical(field)
        }
    }
}

/// A message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// The vector, where the delivery has one.
    pub vector: u8,
    /// What is asked for.
    pub delivery: Delivery,
    /// How it was triggered.
    pub trigger: Trigger,
    /// Whom it is for.
    pub destination: Destination,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_of_16_5_has_its_meaning() {
        let modes = core::array::from_fn::<_, 8, _>(|bits| Delivery::from_bits(bits as u8));
        assert_eq!(
            modes,
            [
                Delivery::Fixed,
                Delivery::Lowest,
                Delivery::Smi,
                Delivery::Reserved,
                Delivery::Nmi,
                Delivery::Init,
                Delivery::Startup,
                Delivery::External,
            ]
        );
    }
}
